"""One frozen RunConfig: everything a run is told.

The table of fields below is the single source of every flag: its name, help text, type and limits.
The command line and the config file are both read from it (flags.py). Knows nothing of what the
flags do.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def _flag(
    default: Any,
    help: str,
    *,
    metavar: str | None = None,
    choices: tuple[str, ...] | None = None,
    minimum: int | None = None,
    group: str,
    identity: bool = True,
) -> Any:
    """A field that is a flag. `identity` False: the flag doesn't change what a run measures."""
    return field(
        default=default,
        metadata={
            "help": help,
            "metavar": metavar,
            "choices": choices,
            "minimum": minimum,
            "group": group,
            "identity": identity,
        },
    )


def default_store() -> Path:
    """The store's place when no flag names one: the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "evalsuite" / "store.db"


@dataclass(frozen=True)
class RunConfig:
    """Everything a run is told. Field names are the flags' names with `_` for `-`."""

    models: tuple[str, ...] = _flag(
        (),
        "a name that `evalsuite models` lists, a local folder, a hub repo id, demo-small or "
        "demo-large, openai:MODEL or openai:MODEL@URL; LABEL=MODEL gives a name of your own, "
        "MODEL+ADAPTER merges a LoRA adapter. "
        "Default: the embedded demo pair",
        metavar="NAME",
        group="what",
    )
    tasks: tuple[str, ...] = _flag(
        (),
        "suites or tasks, or paths of lm-eval YAML files; lm-eval:NAME is that library's own task. "
        "Default: core; with the demo pair: starter. `evalsuite tasks` lists them",
        metavar="NAME",
        group="what",
    )
    limit: int | None = _flag(
        None,
        "only the first N documents of each task (for trying things out)",
        metavar="N",
        minimum=1,
        group="what",
    )
    num_fewshot: int | None = _flag(
        None,
        "worked examples before each question; default: the task's own number",
        metavar="N",
        minimum=0,
        group="what",
    )
    data_dir: Path | None = _flag(
        None,
        "folder with the benchmarks' data, for machines without a hub: DIR/org__name or "
        "DIR/org/name a data set",
        metavar="DIR",
        group="what",
    )
    unsafe_code_execution: bool = _flag(
        False,
        "run programs that models wrote without a sandbox, and say so in every result; without it "
        "tasks that run them are skipped where no sandbox works",
        group="what",
    )
    chat: str = _flag(
        "auto",
        "tasks as conversations in the model's prompt format. auto: for instruction models (one "
        "that the registry knows, or a folder with a chat template), never for base models",
        choices=("auto", "always", "never"),
        group="models",
    )
    chat_fewshot: str = _flag(
        "turns",
        "with a prompt format, worked examples are turns of the conversation, or stand in one "
        "message with the question",
        choices=("turns", "one"),
        group="models",
    )
    revision: str | None = _flag(
        None, "commit, tag or branch of hub models", metavar="REV", group="models"
    )
    template: str | None = _flag(
        None,
        "prompt format of conversations for all models; default: the registry's, else the "
        "folder's own",
        metavar="NAME",
        group="models",
    )
    max_length: int | None = _flag(
        None,
        "context in tokens; default: the checkpoint's own. Longer requests lose tokens on the "
        "left, which the report counts",
        metavar="N",
        minimum=2,
        group="models",
    )
    engine: str = _flag(
        "torch",
        "what computes: torch is evalsuite's own LLaMA, hf whatever transformers runs (slower: it "
        "shares no prefixes)",
        choices=("torch", "hf"),
        group="models",
    )
    device: str = _flag(
        "auto", "auto (the first GPU, else the CPU), cpu, cuda, cuda:N", group="models"
    )
    dtype: str = _flag(
        "auto",
        "numbers to compute in; auto: the checkpoint's own, where the device can",
        choices=("auto", "float32", "bfloat16", "float16"),
        group="models",
    )
    quantize: str | None = _flag(
        None,
        "keep the layers' weights as int8, or int4 (NVIDIA GPUs only): a half or a quarter of "
        "bfloat16's memory, and slightly other numbers; needs torchao",
        choices=("int8", "int4"),
        group="models",
    )
    workers: int | None = _flag(
        None,
        "processes that compute side by side, a GPU each; default: one for every GPU, one on a "
        "CPU. A model too large for one GPU is divided over several",
        metavar="N",
        minimum=1,
        group="models",
        identity=False,
    )
    seed: int = _flag(
        0,
        "seed of sampled answers and of the resampling behind the intervals",
        metavar="N",
        minimum=0,
        group="models",
    )
    judge: tuple[str, ...] = _flag(
        (),
        "who compares the models' answers: gpt-4, openai:MODEL, openai:MODEL@URL, local:MODEL, "
        "reference (checks answers against known ones, no model) or none; several are a panel. "
        "Default: gpt-4 when OPENAI_API_KEY is set and models are named, else reference",
        metavar="NAME",
        group="judge",
    )
    judge_preset: str = _flag(
        "pairwise",
        "how answers are judged: pairwise (both orders, agreement decides), five-level, score "
        "(1 to 10, each answer alone), vicuna-2023 (two scores in one reply), logprob",
        metavar="NAME",
        group="judge",
    )
    judge_prompts: Path | None = _flag(
        None,
        "prompts of a FastChat judge_prompts.jsonl in place of the preset's",
        metavar="FILE",
        group="judge",
    )
    judge_questions: Path | None = _flag(
        None,
        "questions in FastChat's question.jsonl format, its reference_answer/ folder beside it, or "
        "alpaca_eval's list of instructions; default: our own",
        metavar="FILE",
        group="judge",
    )
    judge_answers: tuple[str, ...] = _flag(
        (),
        "answers from files, as of further models: FastChat's model_answer or alpaca_eval's "
        "model_outputs; LABEL=FILE gives a name of your own",
        metavar="FILE",
        group="judge",
    )
    judge_temperature: str = _flag(
        "0",
        "temperature at which models answer the judge's questions: a number for all, or category "
        "for FastChat's own of each category",
        metavar="T",
        group="judge",
    )
    judge_baseline: str | None = _flag(
        None,
        "compare every model with this one only, not every pair",
        metavar="MODEL",
        group="judge",
    )
    judge_games: int | None = _flag(
        None,
        "play so many games only, where they narrow the ratings' intervals most",
        metavar="N",
        minimum=1,
        group="judge",
    )
    judge_repeats: int = _flag(
        1, "how often each game is judged", metavar="N", minimum=1, group="judge"
    )
    judge_batch: bool = _flag(
        False,
        "judge through OpenAI's Batch API: half the price, within a day; until it is done the "
        "exit code is 4, and the same command goes on",
        group="judge",
        identity=False,
    )
    judge_labels: Path | None = _flag(
        None,
        "verdicts of people, or known ones, to hold the judge's against: FastChat's "
        "human_judgments or lines with question_id, turn, a, b, winner",
        metavar="FILE",
        group="judge",
        identity=False,
    )
    judge_prices: Path | None = _flag(
        None,
        "a price table in place of tasks/judge/prices.yaml",
        metavar="FILE",
        group="judge",
        identity=False,
    )
    budget: float | None = _flag(
        None,
        "dollars that judging may cost at most; without it a paid judge asks at a terminal",
        metavar="USD",
        minimum=0,
        group="judge",
        identity=False,
    )
    api_key_env: str | None = _flag(
        None,
        "environment variable with the API key of openai:MODEL@URL (OPENAI_API_KEY itself goes to "
        "api.openai.com only)",
        metavar="VAR",
        group="judge",
        identity=False,
    )
    baseline: tuple[str, ...] = _flag(
        (),
        "a run's folder or a file of `evalsuite baseline` to compare with; exit code 1 when the "
        "run has regressed. Several are pooled",
        metavar="RUN",
        group="gate",
        identity=False,
    )
    margin: float = _flag(
        1.0,
        "points (hundredths) that may be lost without it being a regression",
        metavar="POINTS",
        minimum=0,
        group="gate",
        identity=False,
    )
    critical: tuple[str, ...] = _flag(
        (),
        "tasks that must hold by themselves: they get half of the error rate that all tasks share, "
        "and the verdict is no better than theirs",
        metavar="TASK",
        group="gate",
        identity=False,
    )
    strict: bool = _flag(
        False,
        "exit code 3 unless it is shown that there is no drop beyond the margin",
        group="gate",
        identity=False,
    )
    output: Path | None = _flag(
        None,
        "folder of the run; default: reports/<date>-<models>. An unfinished run there is resumed, "
        "a finished one is never overwritten",
        metavar="DIR",
        group="where",
        identity=False,
    )
    store: Path | None = _flag(
        None,
        "file that keeps what was computed; default: evalsuite/store.db in your cache folder",
        metavar="FILE",
        group="where",
        identity=False,
    )
    refresh: bool = _flag(
        False, "compute again what the store already has", group="where", identity=False
    )
    single_file: bool = _flag(
        False,
        "one report.html with all samples in it, however many; else past about 20,000 they lie "
        "in report_data/ beside it",
        group="where",
        identity=False,
    )
    progress: str = _flag(
        "auto",
        "auto: a bar at a terminal, else plain lines",
        choices=("auto", "plain", "json", "none"),
        group="where",
        identity=False,
    )
    debug: bool = _flag(False, "show tracebacks of errors", group="where", identity=False)

    def identity(self) -> dict[str, Any]:
        """The flags that decide what is measured: two runs with equal ones are the same run."""
        return {
            f.name: _plain(getattr(self, f.name))
            for f in dataclasses.fields(self)
            if f.metadata["identity"]
        }

    def flags(self) -> dict[str, Any]:
        """Every flag that differs from its default, by its name, in YAML's types."""
        return {
            f.name.replace("_", "-"): _plain(getattr(self, f.name))
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value

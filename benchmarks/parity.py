"""Whether our tasks give what lm-eval's own hf backend gives, item by item, on a small real model.

For every task of a suite, zero-shot and at its standard shots: prompts to the byte, all metrics.
Prints a table; goes on where it stopped, since each line is kept. Needs a checkpoint and a data
folder:

    python benchmarks/parity.py --model DIR --data-dir DIR [--max-length 8192] [--limit 50]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalsuite.harness.catalog import TaskSpec, resolve
from evalsuite.harness.library import library

TOLERANCE = 1e-5  # of metrics that are probabilities; counts have to be equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["core"])
    parser.add_argument("--limit", type=int, default=50, help="items a task")
    parser.add_argument("--max-length", type=int, help="context; default: the checkpoint's")
    parser.add_argument("--keep", type=Path, default=Path("parity.jsonl"))
    options = parser.parse_args()
    done = {}
    if options.keep.is_file():
        lines = [json.loads(line) for line in options.keep.read_text().splitlines()]
        done = {(line["task"], line["shots"], line["max_length"]): line for line in lines}
    rig = Rig(options)
    print(f"{'task':24}{'shots':>6}{'items':>7}{'prompts':>9}{'metrics':>9}{'cut':>7}  largest gap")
    wrong = 0
    for spec in resolve(options.tasks):
        for shots in shot_numbers(spec, rig):
            key = (spec.name, shots, rig.max_length)
            if key not in done:
                done[key] = rig.compare(spec, shots)
                with options.keep.open("a") as file:
                    file.write(json.dumps(done[key]) + "\n")
            line = done[key]
            wrong += not (line["prompts"] and line["metrics"] and line["counted"])
            print(
                f"{spec.name:24}{shots:>6}{line['items']:>7}"
                f"{'equal' if line['prompts'] else 'DIFFER':>9}"
                f"{'equal' if line['metrics'] else 'DIFFER':>9}{line['cut']:>7}"
                f"{'' if line['counted'] else ' WRONG':6}  {line['gap']:.1e}",
                flush=True,
            )
    return 1 if wrong else 0


def shot_numbers(spec: TaskSpec, rig: Rig) -> list[int]:
    """0 and the task's standard number; only 0 where the task sets it, none for code tasks."""
    task_set = rig.load(spec, None, limit=1)
    if task_set.code:
        # lm-eval's own module of such a task fetches its metric from the hub when it is imported.
        print(f"{spec.name:24}runs programs: its prompts and texts are compared in the tests")
        return []
    return sorted({0, task_set.infos[spec.name].num_fewshot})


class Rig:
    """The same weights behind both: our engine and lm-eval's hf backend, in float32 on the CPU."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch
        from lm_eval.models.huggingface import HFLM
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from evalsuite.engine.llama.engine import LlamaEngine

        self.data_dir, self.limit = options.data_dir.resolve(), options.limit
        self.tokenizer = AutoTokenizer.from_pretrained(options.model)
        self.engine = LlamaEngine.load(
            options.model,
            self.tokenizer,
            dtype="float32",
            device="cpu",
            max_length=options.max_length,
        )
        self.max_length = self.engine.max_length
        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
        self.hf = HFLM(
            pretrained=model,
            tokenizer=self.tokenizer,
            batch_size=8,
            device="cpu",
            max_length=self.max_length,
        )

    def load(self, spec: TaskSpec, shots: int | None, limit: int) -> Any:
        from evalsuite.harness.tasks import load_tasks

        return load_tasks([spec], data_dir=self.data_dir, num_fewshot=shots, limit=limit)

    def compare(self, spec: TaskSpec, shots: int) -> dict[str, Any]:
        """One line of the table."""
        began = time.monotonic()
        members = self.load(spec, None, limit=1).infos[spec.name].members
        limit = math.ceil(self.limit / len(members)) if members else self.limit
        ours = self._ours(spec, shots, limit)
        theirs = self._theirs(spec, shots, limit)
        prompts, metrics, gap, items = True, True, 0.0, 0
        for name in members or (spec.name,):
            mine, other = ours.samples[name], theirs["samples"][name]
            items += len({sample["doc_id"] for sample in mine})
            prompts &= [s["arguments"] for s in mine] == [s["arguments"] for s in other]
            metrics &= len(mine) == len(other)
        cut = sum(result.truncated for result in ours.results)
        counted = cut == sum(self._cut(theirs["samples"][name]) for name in members or (spec.name,))
        for name in (spec.name, *members):
            for key, value in theirs["results"][name].items():
                if "," not in key or not isinstance(value, int | float):
                    continue
                distance = abs(ours.raw["results"][name][key] - value)
                gap = max(gap, distance)
                metrics &= distance <= (TOLERANCE if spec.name == "truthfulqa_mc2" else 1e-12)
        return {
            "task": spec.name,
            "shots": shots,
            "max_length": self.max_length,
            "items": items,
            "prompts": bool(prompts),
            "metrics": bool(metrics),
            "gap": float(gap),
            "cut": cut,
            "counted": counted,
            "seconds": round(time.monotonic() - began, 1),
        }

    def _ours(self, spec: TaskSpec, shots: int, limit: int) -> Any:
        from evalsuite.harness.adapter import EngineLM
        from evalsuite.harness.evaluate import evaluate

        def answer(requests: Any, plan: Any, compute: Any) -> list[Any]:
            answers: dict[int, Any] = {}
            for batch in plan(requests):
                its = compute([requests[i] for i in batch.requests])
                answers.update(zip(batch.requests, its, strict=True))
            return [answers[i] for i in range(len(requests))]

        engine = self.engine
        lm = EngineLM(
            self.tokenizer,
            self.max_length,
            lambda requests: answer(requests, engine.plan_scoring, engine.score),
            lambda requests: answer(requests, engine.plan_generation, engine.generate),
        )
        return evaluate(self.load(spec, shots, limit), lm, model="parity")

    def _cut(self, samples: Any) -> int:
        """How many requests lose tokens, by lm-eval's own tokens and its rules."""
        cut = 0
        first = [s for s in samples if s["filter"] == samples[0]["filter"]]  # each filter repeats
        for given in (arguments for sample in first for arguments in sample["arguments"]):
            if isinstance(given[1], dict):
                room = self.max_length - given[1].get("max_gen_toks", self.hf.max_gen_toks)
                cut += len(self.hf.tok_encode(given[0])) > room
            else:
                cut += sum(map(len, self.hf._encode_pair(*given))) > self.max_length + 1
        return cut

    def _theirs(self, spec: TaskSpec, shots: int, limit: int) -> Mapping[str, Any]:
        import lm_eval
        from lm_eval.tasks import TaskManager

        path = library().tasks.get(spec.name)
        manager = TaskManager(include_defaults=path is None)
        silent = io.StringIO()
        with (
            hub_at(self.data_dir),
            contextlib.redirect_stdout(silent),
            contextlib.redirect_stderr(silent),
        ):
            result: Mapping[str, Any] = lm_eval.simple_evaluate(
                model=self.hf,
                tasks=[str(path or spec.name)],
                task_manager=manager,
                num_fewshot=shots,
                limit=limit,
                bootstrap_iters=0,
            )
        return result


@contextlib.contextmanager
def hub_at(folder: Path) -> Iterator[None]:
    """`datasets` itself reads the folder's copies: nothing of ours is between it and lm-eval."""
    import datasets

    original = datasets.load_dataset

    def load(path: str, name: str | None = None, **options: Any) -> Any:
        return original(str(folder / path.replace("/", "__")), name, **options)

    datasets.load_dataset = load
    try:
        yield
    finally:
        datasets.load_dataset = original


if __name__ == "__main__":
    raise SystemExit(main())

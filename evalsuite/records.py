"""The dataclasses that travel between the rooms: the whole contract on a page or two.

requests -> responses -> task results -> leaderboard. Knows no torch, no lm-eval, no file.
Every record is frozen; what a room adds, it adds by making the next record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


class UserError(Exception):
    """An error that a person caused or can mend: shown as one or two lines, never as a traceback.

    The message says what was wrong and what to do. `exit_code` follows the README's table.
    """

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


# ---- requests and responses: what an engine is asked, and what it answers -----------------------


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """How likely is `continuation` after `context`? Token ids; both have one token at least."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ScoreResponse:
    """The answer to a ScoreRequest.

    `logprob` is the sum over the continuation's tokens, natural logarithm. `is_greedy` says whether
    each of them was the most likely one. `truncated` counts the tokens cut off the left because
    context and continuation were longer than the model's context.
    """

    logprob: float
    is_greedy: bool
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Continue `prompt` (token ids) until a stop string, EOS or `max_new_tokens`.

    `temperature` 0 is greedy. The sampled text depends on `seed` and the prompt alone, never on
    what else is in the batch.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GenerateResponse:
    """`text` ends before the first stop string. `tokens` are all new ids, EOS left out."""

    text: str
    tokens: tuple[int, ...]
    finish: Literal["stop", "eos", "length"]
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class TextRequest:
    """What a model behind a server is asked, as text: it has the tokenizer.

    `prompt` is a text to go on with, or with `chat` a JSON list of messages. With a `continuation`
    the question is how likely that is after the prompt; else an answer is wanted, as in a
    GenerateRequest.
    """

    prompt: str
    chat: bool = False
    continuation: str | None = None
    max_new_tokens: int = 0
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TextReply:
    """A server's answer to a TextRequest: `text`, or for a continuation `logprob` and `is_greedy`.

    `finish` is the server's reason, `served` the model id that it returned; token counts are None
    when it told none.
    """

    text: str = ""
    finish: str | None = None
    served: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprob: float | None = None
    is_greedy: bool | None = None


@dataclass(frozen=True, slots=True)
class NoReply:
    """A request that got no answer after all retries, and why: never a wrong answer."""

    error: str


Request = ScoreRequest | GenerateRequest
Response = ScoreResponse | GenerateResponse


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that an engine computes in one go and that are committed together.

    `requests` are indices into the sequence that was planned. `distinct_tokens` is what will be
    computed, `total_tokens` what a tool without prefix sharing would compute (for generation both
    include the most tokens that may be generated).
    """

    requests: tuple[int, ...]
    distinct_tokens: int
    total_tokens: int


# ---- what was measured --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """What a task is, for the manifest and the report. `primary` names the metric that ranks.

    `members` are the tasks of lm-eval that one result stands for (MMLU's subjects), in the order of
    its items; their samples are kept by their own names.
    """

    name: str
    capability: str  # commonsense | qa | math | code | language | other
    version: str
    output_type: str  # lm-eval's: multiple_choice, generate_until, loglikelihood, ...
    num_fewshot: int
    primary: str
    description: str = ""
    source: str = ""  # hub id or local file of its data
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of one task for one model.

    `name` is lm-eval's, with `,filter` appended when the filter is not "none".
    `items` has one number a document when the metric is the mean of per-document numbers, else None
    (then only lm-eval's own standard error is known).
    """

    name: str
    value: float
    stderr: float | None
    higher_is_better: bool
    unit: str  # "share" for 0..1, else the metric's own: "perplexity", ...
    items: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class TaskResult:
    """All metrics of one task for one model, and what has to be known to trust them.

    `item_ids` are stable names of the documents (their hashes), in the order of `items`: runs and
    models are paired by them. `truncated` counts requests that lost tokens, `errors` items without
    a result.
    """

    model: str
    info: TaskInfo
    metrics: tuple[MetricResult, ...]
    n: int
    item_ids: tuple[str, ...] = ()
    truncated: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that was asked for and is not in the numbers."""

    model: str
    task: str  # "" when it concerns the whole model
    stage: str  # "load", "plan", "infer", "score"
    error: str


# ---- judged games -------------------------------------------------------------------------------

Verdict = Literal["first", "second", "tie", "invalid"]
QuestionId = int | str


@dataclass(frozen=True, slots=True)
class Game:
    """One judged game. Two orders of a pair are two games. `turn` and `repeat` count from 1.

    `verdict` is by position, `winner` the name it means. `scores` are the judge's own numbers when
    its protocol has any. Where one answer is judged alone, `second` is None, `scores` has one
    number and the verdict is "tie", as nobody won, or "invalid". `preference` is the share of the
    win, 0 to 1, that a protocol which weighs its verdict gives the first answer.

    `tokens` and `cost` (US dollars, None when no price is known) cover every call this game took;
    games that share a call, because their answers are equal, share its tokens and count it once
    each. `lengths` are the judged answers' characters. `served` is the model id that the server
    returned, `error` why there is no reply.
    """

    question_id: QuestionId
    category: str
    turn: int
    first: str
    second: str | None
    repeat: int
    judge: str
    preset: str
    verdict: Verdict
    winner: str | None
    scores: tuple[float, ...] | None
    raw_reply: str | None
    tokens: Mapping[str, int]  # {"prompt": …, "completion": …}
    cost: float | None
    key: str
    lengths: tuple[int, int]
    calls: int = 0
    served: str | None = None
    delimiter: str | None = None
    error: str | None = None
    preference: float | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The models whose answers were judged, in the order shown."""
        return (self.first,) if self.second is None else (self.first, self.second)

    def line(self) -> dict[str, Any]:
        """The game as matches.jsonl holds it; its values are the game's own, not copies."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Game:
        """The game of one line of matches.jsonl.

        Raises:
            TypeError: the line has other fields.
        """
        pairs = {k: tuple(line[k]) for k in ("scores", "lengths") if line.get(k) is not None}
        return cls(**{**line, **pairs})


# ---- leaderboard.json ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval; both None when it could not be computed."""

    value: float | None
    ci: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class MetricScore:
    value: float
    ci: tuple[float, float] | None
    n: int
    stderr: float | None
    unit: str
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class PaperValue:
    """What a paper reports for one metric of a task, and how the measured value stands to it.

    `difference` is measured minus paper. `inside`: the measured value's interval holds the paper's;
    None without an interval.
    """

    metric: str
    value: float
    difference: float
    inside: bool | None
    source: str


@dataclass(frozen=True, slots=True)
class TaskScore:
    primary: str
    metrics: Mapping[str, MetricScore]
    truncated: int
    errors: int
    paper: PaperValue | None = None


@dataclass(frozen=True, slots=True)
class ModelScore:
    """`rank` is a range: (1, 2) means that the data don't tell first from second place."""

    name: str
    rank: tuple[int, int] | None
    overall: Estimate
    capabilities: Mapping[str, Estimate]
    tasks: Mapping[str, TaskScore]
    judges: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """What leaderboard.json holds; `models` are ordered best first.

    `code_execution` says what held the programs that models wrote: a protection's name, "unsafe"
    for none, None when no program was to be run.
    """

    models: tuple[ModelScore, ...]
    failed: tuple[Failure, ...] = ()
    pairs: tuple[Mapping[str, Any], ...] = ()
    judge_audit: Mapping[str, Any] = field(default_factory=dict)
    times: Mapping[str, Any] = field(default_factory=dict)
    code_execution: str | None = None
    schema: int = 1

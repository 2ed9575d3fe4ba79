"""What the page shows, as frozen records: texts and numbers in the order in which they are placed.

Knows nothing but a chart's scale: no run, no HTML. page.py, leagues.py and facts.py make these
records, the templates place them.
"""

from __future__ import annotations

from dataclasses import dataclass

from evalsuite.report.charts import Scale


@dataclass(frozen=True, slots=True)
class Score:
    """A number ready to be shown; `value` and `ci` for charts, `text` and `interval` to be read."""

    value: float | None
    ci: tuple[float, float] | None
    text: str
    interval: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    name: str
    place: str
    tied: str
    about: str
    leads: bool  # nobody is surely better
    overall: Score
    capabilities: tuple[Score, ...]  # in the order of the page's cards
    judge: Score | None  # only where the page has a JudgeColumn


@dataclass(frozen=True, slots=True)
class CapabilityCard:
    title: str
    tasks: str
    call: str  # who is ahead, or that it is too close
    scores: tuple[tuple[ModelRow, Score], ...]
    chance: float | None


@dataclass(frozen=True, slots=True)
class TaskColumn:
    name: str
    capability: str
    metric: str
    detail: str  # items and examples
    description: str
    chance: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A model's number for a task; `heat` 0..10 shades it, `flags` are (mark, meaning)."""

    score: Score
    n: int | None  # only where it is not the task's own
    heat: int | None
    flags: tuple[tuple[str, str], ...]
    link: str


@dataclass(frozen=True, slots=True)
class MetricLine:
    model: str
    task: str
    metric: str
    score: Score
    n: int
    stderr: str
    unit: str
    direction: str


@dataclass(frozen=True, slots=True)
class PaperLine:
    """A measured value beside the one that a paper reports; `inside` in words."""

    model: str
    task: str
    metric: str
    paper: str
    measured: Score
    difference: str
    inside: str
    source: str


@dataclass(frozen=True, slots=True)
class SpeedLine:
    model: str
    requests: str
    from_store: str
    total: str
    distinct: str
    part: float | None  # of the total, what had to be computed
    saved: str
    new_tokens: str
    seconds: str
    rate: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run's manifest in groups of (name, value), and how to run it again."""

    path: str
    when: str
    took: str
    command: str
    seed: str
    models: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    notes: tuple[str, ...]


# ---- judged games -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JudgeColumn:
    """The judge's column of the first screen: what its numbers are, and who judged."""

    title: str
    judge: str  # in short: without the address of its server
    note: str
    share: bool = True  # its numbers are win rates; else they stand on `scale`
    scale: Scale | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One model in a league; the counts are of comparisons (a pair on a turn of a question)."""

    name: str
    leads: bool  # nobody is surely better
    rank: str  # in words
    place: tuple[int, int] | None
    rating: Score
    win: Score
    controlled: Score  # the win rate at equal length
    won: int
    tied: int
    lost: int
    invalid: int


@dataclass(frozen=True, slots=True)
class DuelCell:
    """How often the row's model beats the column's; `shade` 0..10, 5 is even."""

    text: str
    shade: int | None
    title: str
    n: int
    link: str


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """A category and each model's (win rate, shade, comparisons), in the order of standings.

    Of answers that were scored alone: (mean score, None, answers).
    """

    name: str
    cells: tuple[tuple[Score, int | None, int], ...]


@dataclass(frozen=True, slots=True)
class ScoreSums:
    """What a judge gave the answers of two models in all their games; `share` is b's of a's sum."""

    a: str
    b: str
    sums: tuple[str, str]
    share: Score
    comparisons: tuple[str, str, str]  # won by a, won by b, tied


@dataclass(frozen=True, slots=True)
class AuditLine:
    label: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True)
class League:
    """One judge's games in one run; `run` is named only where the page has several."""

    key: str
    judge: str
    run: str
    kind: str  # "reference" or "model"
    about: str
    verdict: str
    played: str
    standings: tuple[Standing, ...]  # best first
    scale: Scale | None  # of the rating plot; None when there is none to draw
    no_rating: str
    matrix: tuple[tuple[DuelCell | None, ...], ...]  # rows and columns as standings
    categories: tuple[CategoryRow, ...]
    audit: tuple[AuditLine, ...]
    cost: str
    controlled: str  # what the win rates at equal length are, or why there are none
    alone: str  # what answers scored alone came to, beside games
    sums: tuple[ScoreSums, ...] = ()  # of two scores a game
    scored: bool = False  # all answers were scored alone: the ratings are mean scores, nobody met
    bounds: str = ""  # what comparisons without a verdict could have made of the win rates
    marks: tuple[str, ...] = ()  # what makes its verdicts doubtful as a whole
    range: str = ""  # of scores: between which numbers they lie
    win_note: str = ""  # what its win rates are made of


@dataclass(frozen=True, slots=True)
class GateRow:
    """A line of the gate's table, every cell as text."""

    name: str
    verdict: str
    bad: bool
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GateView:
    """What the gate said of this run; `tables` are (model and its verdict, rows).

    `verdict` and `worst` are for the first screen: "regressed", and which tasks have. `level` is
    "bad", "good" or "open".
    """

    headline: str
    level: str
    verdict: str
    worst: str
    differences: tuple[str, ...]
    tables: tuple[tuple[str, tuple[GateRow, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    verdict: str
    facts: tuple[str, ...]
    demo: str
    problems: tuple[str, ...]
    models: tuple[ModelRow, ...]
    capabilities: tuple[CapabilityCard, ...]
    tasks: tuple[TaskColumn, ...]
    table: tuple[tuple[ModelRow, tuple[Cell | None, ...]], ...]
    metrics: tuple[MetricLine, ...]
    paper: tuple[PaperLine, ...]
    speed: tuple[SpeedLine, ...]
    runs: tuple[RunFacts, ...]
    samples_shown: int
    samples_note: str
    judge: JudgeColumn | None
    leagues: tuple[League, ...]
    games_shown: int
    games_note: str
    packed: str  # texts of samples and games, gzip in base64
    evalsuite: str
    cost: tuple[str, ...] = ()  # what judging took, a sentence a run and judge
    compared: bool = False  # two models at least stand against each other
    gate: GateView | None = None
    judged_only: bool = False  # no task was measured: the judge's numbers are the leaderboard

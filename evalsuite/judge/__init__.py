"""Judges models' answers in pairs: questions and answers in, games out.

`judge_run` is the entry; `resolve_judge` says what a --judge value means, `read_questions` and
`answer_prompts` serve the making of answers. Importing this loads no HTTP client.
"""

from evalsuite.judge.answer_files import GivenAnswers, read_answers
from evalsuite.judge.batch import check_batches
from evalsuite.judge.batch_sending import BatchRules
from evalsuite.judge.budget import CostEstimate, agree
from evalsuite.judge.calls import check_affordable, estimate_calls, estimate_questions, plan_calls
from evalsuite.judge.client import Patience, reach_judge
from evalsuite.judge.fastchat import with_fastchat_prompts
from evalsuite.judge.judges import (
    JudgeSpec,
    check_budget,
    default_judge,
    for_batch,
    resolve_judge,
)
from evalsuite.judge.local import LocalJudge, LocalReply
from evalsuite.judge.matches import check_baseline, count_matches
from evalsuite.judge.play import Rules, judge_run
from evalsuite.judge.prices import load_prices
from evalsuite.judge.prompts import Preset, load_preset
from evalsuite.judge.questions import (
    answer_prompts,
    demo_questions,
    is_plain,
    own_questions,
    read_questions,
    references_beside,
)
from evalsuite.judge.records import Answer, Question
from evalsuite.judge.table import JudgeResult

__all__ = [
    "Answer",
    "BatchRules",
    "CostEstimate",
    "GivenAnswers",
    "JudgeResult",
    "JudgeSpec",
    "LocalJudge",
    "LocalReply",
    "Patience",
    "Preset",
    "Question",
    "Rules",
    "agree",
    "answer_prompts",
    "check_affordable",
    "check_baseline",
    "check_batches",
    "check_budget",
    "count_matches",
    "default_judge",
    "demo_questions",
    "estimate_calls",
    "estimate_questions",
    "for_batch",
    "is_plain",
    "judge_run",
    "load_preset",
    "load_prices",
    "own_questions",
    "plan_calls",
    "reach_judge",
    "read_answers",
    "read_questions",
    "references_beside",
    "resolve_judge",
    "with_fastchat_prompts",
]

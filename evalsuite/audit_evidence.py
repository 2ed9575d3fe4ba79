"""What a run's audit takes beside its games: labels read, families told, answers compared.

Everything that can be wrong in it is found before a model is loaded. Knows models and judges by
name and the models' answers; plays nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evalsuite.config import RunConfig
from evalsuite.judge import Answer, JudgeSpec, Question
from evalsuite.judge.references import is_right
from evalsuite.judging import JudgePlan
from evalsuite.leaderboard.constant import GivenAnswer, Sameness, sameness
from evalsuite.leaderboard.doubts import family_warning
from evalsuite.leaderboard.evidence import Evidence, Kin
from evalsuite.leaderboard.labels import Label, read_labels
from evalsuite.models import ModelSpec
from evalsuite.models.family import relations


def labels_of(config: RunConfig) -> tuple[Label, ...]:
    """The labels of --judge-labels; none without the flag.

    Raises:
        UserError: the file can't be used.
    """
    return () if config.judge_labels is None else read_labels(config.judge_labels)


def family_notes(
    judges: Sequence[JudgePlan], models: Sequence[ModelSpec], given: Sequence[str] = ()
) -> tuple[str, ...]:
    """A warning for every judge that is to judge its own family, before anything is run.

    `given` are the names of models whose answers come from files.
    """
    names = {**{name: (name,) for name in given}, **_names(models)}
    found = []
    for plan in judges:
        kin = _kin_of(plan.spec, (), names, models)
        if plan.plays and kin.members:
            found.append(family_warning(plan.spec.name, str(kin.family), kin.members))
    return tuple(found)


def gather(
    judges: Sequence[JudgePlan],
    models: Sequence[ModelSpec],
    labels: Sequence[Label],
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[Answer]],
    served: Mapping[str, Sequence[str]] = {},
) -> Evidence:
    """The evidence of a run that has been played. `answers` are by model.

    Models that are not among `models` (answers from files) are known by their names alone.
    `served` are the ids that each judge's server returned.
    """
    names = {**{model: (model,) for model in answers}, **_names(models)}
    kin = {
        plan.spec.name: _kin_of(plan.spec, served.get(plan.spec.name, ()), names, models)
        for plan in judges
    }
    same = {model: sameness_of(questions, given) for model, given in answers.items()}
    return Evidence(labels, kin, same)


def named_evidence(
    judges: Sequence[str],
    models: Sequence[str],
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[Answer]],
    labels: Sequence[Label] = (),
) -> Evidence:
    """The evidence of judgments made elsewhere, where judges and models are names."""
    names = {model: (model,) for model in models}
    same = {model: sameness_of(questions, given) for model, given in answers.items() if given}
    kin = {j: _kin((j,), names, [model for model in models if model == j]) for j in judges}
    return Evidence(labels, kin, same)


def sameness_of(questions: Sequence[Question], answers: Sequence[Answer]) -> Sameness:
    """How much of a model's answers is one text, right ones left aside (see `sameness`)."""
    by_id = {str(question.question_id): question for question in questions}
    return sameness(
        GivenAnswer("\n".join(question.turns[: turn + 1]), text, _is_right(question, turn, text))
        for answer in answers
        if (question := by_id.get(str(answer.question_id))) is not None
        for turn, text in enumerate(answer.turns[: len(question.turns)])
    )


def _is_right(question: Question, turn: int, text: str) -> bool:
    check = question.check(turn)
    if check is not None:
        return is_right(check, text)
    reference = question.reference[turn] if turn < len(question.reference) else ""
    return bool(reference) and " ".join(text.lower().split()) == " ".join(reference.lower().split())


def _names(models: Sequence[ModelSpec]) -> dict[str, tuple[str, ...]]:
    """What each model goes by, the surest first; of a folder's path only its last part counts."""
    found: dict[str, tuple[str, ...]] = {}
    for spec in models:
        folder = spec.kind in ("folder", "demo")
        own = (spec.label, Path(spec.source).name) if folder else (spec.source, spec.label)
        found[spec.label] = (spec.entry or "", *own)
    return found


def _kin_of(
    judge: JudgeSpec,
    served: Sequence[str],
    names: Mapping[str, Sequence[str]],
    models: Sequence[ModelSpec],
) -> Kin:
    local = judge.kind == "local"
    own = (Path(judge.model).name,) if local else (*served, judge.model, judge.name)
    itself = [spec.label for spec in models if spec.source in (judge.model, judge.name)]
    return _kin(own, names, itself)


def _kin(judge: Sequence[str], models: Mapping[str, Sequence[str]], itself: Sequence[str]) -> Kin:
    """The judge's family and its members; a model that judges itself is one, whatever its name."""
    family, members = relations(judge, models)
    same = dict.fromkeys(itself, "weights")
    return Kin(family or ("the same model" if same else None), {**members, **same})

"""The games of a run: every judge in turn plays what the models' answers make possible.

Whatever fails here costs no score. Knows models in memory and the judge's room; writes the games'
files of a run, no other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.config import RunConfig
from evalsuite.files import safe_name, write_atomically
from evalsuite.inference import Inference
from evalsuite.judge import (
    Answer,
    BatchRules,
    JudgeResult,
    LocalJudge,
    LocalReply,
    Question,
    Rules,
    judge_run,
)
from evalsuite.judge.letters import CANDIDATES, keep_probabilities
from evalsuite.judging import JudgePlan, too_few
from evalsuite.loading import LoadedModel, load
from evalsuite.measuring import Measured, one_line, show_traceback
from evalsuite.models import ChatEncoder, ChatTemplate
from evalsuite.preparation import Prepared
from evalsuite.progress import Progress
from evalsuite.records import Failure, GenerateRequest, ScoreRequest
from evalsuite.store import Store
from evalsuite.store.run_folder import RunFolder

_SHOWN = 60  # characters of a reply in an error


@dataclass(frozen=True, slots=True)
class Judged:
    """What one judge of a run came to."""

    plan: JudgePlan
    result: JudgeResult


def judge_all(
    config: RunConfig,
    prepared: Prepared,
    measured: Mapping[str, Measured],
    folder: RunFolder,
    store: Store,
    progress: Progress,
) -> tuple[list[Judged], list[Failure]]:
    """Every judge's games between the models that answered, written into the run's folder."""
    failed = [
        Failure(label, "", "judge", f"no answers to the judge's questions: {part.unanswered}")
        for label, part in measured.items()
        if part.unanswered
    ]
    answers = {label: part.answers for label, part in measured.items() if not part.unanswered}
    answers |= {its.label: its.answers for its in prepared.given}
    judged: list[Judged] = []
    for plan in prepared.judges:
        if not plan.plays or len(answers) < plan.fewest:
            if plan.spec.kind != "none" and config.judge:
                progress.note(f"note: {too_few(plan)}")
            judged.append(Judged(plan, JudgeResult(())))
            continue
        try:
            result = _play(plan, answers, config, store, folder.run, progress)
        except Exception as error:
            show_traceback(config, error)
            result = JudgeResult(())
            failed.append(Failure("", "", "judge", f"{plan.spec.name}: {one_line(error)}"))
        else:
            failed += _missing(plan.spec.name, result)
            for note in result.notes:
                progress.note(f"note: {plan.spec.name}: {note}")
        judged.append(Judged(plan, result))
    if any(one.result.games for one in judged):
        folders = {label: part.about["folder"] for label, part in measured.items()}
        folders |= {its.label: safe_name(its.label) for its in prepared.given}
        _write_games(folder.path, prepared.questions, answers, judged, folders)
    return judged, failed


def _missing(judge: str, result: JudgeResult) -> list[Failure]:
    """What a judge left open, or that it said nothing that can be read."""
    left = result.failed + result.pending
    if left:
        why = result.stopped or "no reply after all retries; the same command asks again"
        return [Failure("", "", "judge", f"{judge}: {left} games are missing: {why}")]
    if all(game.verdict == "invalid" for game in result.games):
        said = next((game.raw_reply for game in result.games if game.raw_reply), None)
        shown = f"one of them ends: {said.strip()[-_SHOWN:]!r}" if said else "they are empty"
        why = f"none of its replies holds a verdict that can be read ({shown})"
        return [
            Failure("", "", "judge", f"{judge}: {why}; --refresh with another --output asks again")
        ]
    return []


def _play(
    plan: JudgePlan,
    answers: Mapping[str, Sequence[Answer]],
    config: RunConfig,
    store: Store,
    run: str,
    progress: Progress,
) -> JudgeResult:
    """All games between the models that answered.

    Raises:
        UserError: the judge could not be used at all.
    """
    local = None
    if plan.local is not None:
        judge = load(plan.local.model, plan.local.weights, config, store)
        inference = Inference(judge.engine, store, run, progress, refresh=config.refresh)
        local = as_judge(judge, plan.local.template, inference)
    return judge_run(
        plan.questions,
        answers,
        plan.spec,
        store,
        progress,
        run=run,
        preset=plan.preset,
        budget=config.budget,
        rules=Rules(
            repeats=config.judge_repeats,
            refresh=config.refresh,
            baseline=config.judge_baseline,
            games=config.judge_games,
            seed=config.seed,
            batch=BatchRules() if config.judge_batch else None,
        ),
        local=local,
    )


def as_judge(model: LoadedModel, template: ChatTemplate, inference: Inference) -> LocalJudge:
    """A loaded model as a judge: chats in, replies out."""
    encoder = ChatEncoder(model.tokenizer, template)

    def generate(
        chats: Sequence[Sequence[Mapping[str, str]]], most_new_tokens: int, temperature: float
    ) -> list[LocalReply]:
        most = min(most_new_tokens, model.engine.max_length // 2)
        requests = [
            GenerateRequest(encoder.encode(chat).tokens, most, template.stop_strings, temperature)
            for chat in chats
        ]
        return [
            LocalReply(
                text=response.text,
                finished=response.finish != "length" and not response.truncated,
                prompt_tokens=len(request.prompt),
                completion_tokens=len(response.tokens),
            )
            for request, response in zip(requests, inference.generate(requests), strict=True)
        ]

    def weigh(chats: Sequence[Sequence[Mapping[str, str]]]) -> list[LocalReply]:
        letters = {
            text: tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"])
            for text in CANDIDATES
        }
        # A tokenizer may write a letter the same with and without the space before it.
        distinct = {tokens: text for text, tokens in reversed(letters.items())}
        prompts = [encoder.encode(chat).tokens for chat in chats]
        asked = [ScoreRequest(prompt, tokens) for prompt in prompts for tokens in distinct]
        answers = iter(inference.score(asked))
        replies = []
        for prompt in prompts:
            own = [(text, next(answers)) for text in distinct.values()]
            # Of a prompt that was cut nothing counts: the judge has not seen the whole game.
            cut = any(answer.truncated for _, answer in own)
            kept = "" if cut else keep_probabilities((text, one.logprob) for text, one in own)
            replies.append(LocalReply(kept, not cut, len(prompt), 1))
        return replies

    identity = f"{dict(model.engine.identity)} {template.name} {template.source}"
    return LocalJudge(identity, generate, weigh)


def _write_games(
    folder: Path,
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[Answer]],
    judged: Sequence[Judged],
    folder_of: Mapping[str, str],
) -> None:
    """matches.jsonl and questions.jsonl of a run, and each model's answers.jsonl in its folder."""
    _write_lines(
        folder / "matches.jsonl", (game.line() for one in judged for game in one.result.games)
    )
    _write_lines(
        folder / "questions.jsonl",
        (
            {
                "question_id": question.question_id,
                "category": question.category,
                "turns": list(question.turns),
                "reference": list(question.reference),
            }
            for question in questions
        ),
    )
    for model, its in answers.items():
        rows = ({"question_id": a.question_id, "turns": list(a.turns)} for a in its)
        place = folder / folder_of[model]
        place.mkdir(exist_ok=True)
        _write_lines(place / "answers.jsonl", rows)


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write_atomically(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

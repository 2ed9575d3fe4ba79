"""Answers of an earlier run for a plan: what a model said to the judge, where it is known.

The one place that says which answers are a model's. Knows names made sure of and the store; loads
no model and reads no weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from evalsuite.config import RunConfig
from evalsuite.judge import Answer, Question
from evalsuite.models import ModelSpec, Weights, choose_template, fingerprint
from evalsuite.servers import Server
from evalsuite.store import Store
from evalsuite.store.answers import KnownAnswers, answer_key


def remember(
    store: Store,
    config: RunConfig,
    spec: ModelSpec,
    place: Weights | Server,
    questions: Sequence[Question],
    answers: Sequence[Answer],
) -> None:
    """Keeps a model's answers for later plans."""
    who = _identity(store, config, spec, place)
    if who is None:
        return
    turns = {str(answer.question_id): answer.turns for answer in answers}
    KnownAnswers(store).keep(
        {
            answer_key(who, question.turns): turns[str(question.question_id)]
            for question in questions
            if str(question.question_id) in turns
        }
    )


def recall(
    store: Store,
    config: RunConfig,
    spec: ModelSpec,
    place: Weights | Server,
    questions: Sequence[Question],
) -> list[Answer] | None:
    """A model's answers to all of the questions; None when one of them is not known."""
    who = _identity(store, config, spec, place)
    if who is None:
        return None
    keys = [answer_key(who, question.turns) for question in questions]
    found = KnownAnswers(store).get(keys)
    if len(found) < len(set(keys)):
        return None
    return [
        Answer(question.question_id, found[key])
        for question, key in zip(questions, keys, strict=True)
    ]


class _UnknownError(Exception):
    """A file's hash is not in the store, and reading 100 GB for a plan is too much."""


def _identity(
    store: Store, config: RunConfig, spec: ModelSpec, place: Weights | Server
) -> str | None:
    """What decides a model's answers, as far as it is known without loading it."""
    if isinstance(place, Server):
        who = ["server", place.endpoint.url, place.endpoint.model, config.chat]
    else:

        def known(path: Path) -> str:
            kept = store.file_hash(path)
            if kept is None:
                raise _UnknownError
            return kept

        try:
            hashes = fingerprint(place.folder, known, lambda *_: None, adapter=place.adapter)
        except _UnknownError:
            return None
        template = choose_template(spec, place.folder)
        format_ = [template.name, template.source] if template else []
        who = ["local", hashes.weights, hashes.tokenizer, config.engine, *format_]
    drawn = config.seed if config.judge_temperature != "0" else 0
    settings = [config.dtype, config.quantize, config.max_length, config.judge_temperature, drawn]
    return json.dumps([who, settings])

"""Models' answers to judge questions: conversations to token requests, generated text back.

Knows prompt formats and how a question is asked turn by turn; who computes the tokens is a function
that it is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evalsuite.judge.questions import answer_prompts, is_plain
from evalsuite.judge.records import Answer, Question
from evalsuite.models import ChatEncoder, ChatTemplate
from evalsuite.records import (
    GenerateRequest,
    GenerateResponse,
    NoReply,
    TextRequest,
    UserError,
)

# FastChat's temperatures of its categories; all others have its default.
_TEMPERATURES = {
    **dict.fromkeys(("extraction", "math", "coding", "reasoning"), 0.0),
    **dict.fromkeys(("stem", "humanities"), 0.1),
}
_DEFAULT_TEMPERATURE = 0.7
BY_CATEGORY = "category"

# What MT-bench gives an answer; a small context gives half of itself.
MOST_NEW_TOKENS = 1024
# A text of the form "Question: …\nAnswer:" is answered by a line.
_LINE_TOKENS = 48

Generate = Callable[[Sequence[GenerateRequest]], list[GenerateResponse]]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn: one `temperature`, or None for FastChat's of each category."""

    temperature: float | None = 0.0
    seed: int = 0

    @classmethod
    def parse(cls, temperature: str, seed: int) -> Sampling:
        """What a --judge-temperature means.

        Raises:
            UserError: it is neither a number from 0 to 2 nor `category`.
        """
        if temperature == BY_CATEGORY:
            return cls(None, seed)
        try:
            value = float(temperature)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 2:
            raise UserError(
                f"--judge-temperature takes a number from 0 to 2 or {BY_CATEGORY}, not "
                f"{temperature!r}"
            )
        return cls(value, seed)

    def of(self, question: Question) -> tuple[float, int]:
        """The temperature and the seed of a question's answers; greedy ones need no seed."""
        value = self.temperature
        if value is None:
            value = _TEMPERATURES.get(question.category, _DEFAULT_TEMPERATURE)
        return value, self.seed if value else 0


GREEDY = Sampling()


@dataclass(frozen=True)
class Asker:
    """Puts questions to one model: its tokenizer, its prompt format, its context in tokens.

    Questions of the form "Question: …\\nAnswer:" are put as they stand and answered by one line;
    all others are conversations in the model's prompt format.
    """

    tokenizer: Any
    template: ChatTemplate
    max_length: int
    sampling: Sampling = GREEDY

    def request(
        self, question: Question, turn: int, previous: Sequence[str] = ()
    ) -> GenerateRequest:
        """The request for a turn (0 is the first), given the model's earlier answers.

        Raises:
            UserError: the tokenizer or the template can't take the conversation.
        """
        most = min(MOST_NEW_TOKENS, self.max_length // 2)
        temperature, seed = self.sampling.of(question)
        if is_plain(question):
            tokens = tuple(self.tokenizer(question.turns[turn])["input_ids"])
            return GenerateRequest(
                tokens, min(_LINE_TOKENS, most), ("\n",), temperature=temperature, seed=seed
            )
        prompt = self._encoder.encode(answer_prompts(question, turn, previous))
        return GenerateRequest(
            prompt.tokens, most, self.template.stop_strings, temperature=temperature, seed=seed
        )

    def answers(
        self, questions: Sequence[Question], generate: Generate
    ) -> tuple[list[Answer], int]:
        """The model's answers to all turns, and how many prompts lost tokens to the context.

        `generate` is called once a turn.
        """
        given: list[list[str]] = [[] for _ in questions]
        cut = 0
        for turn in range(max((len(question.turns) for question in questions), default=0)):
            asked = [i for i, question in enumerate(questions) if turn < len(question.turns)]
            requests = [self.request(questions[i], turn, given[i]) for i in asked]
            for i, response in zip(asked, generate(requests), strict=True):
                given[i].append(response.text.strip())
                cut += response.truncated > 0
        answers = [
            Answer(question.question_id, tuple(turns))
            for question, turns in zip(questions, given, strict=True)
        ]
        return answers, cut

    @cached_property
    def _encoder(self) -> ChatEncoder:
        return ChatEncoder(self.tokenizer, self.template)


@dataclass(frozen=True)
class TextAsker:
    """Puts questions to a model behind a server: as messages (`chat`), or by a template as text."""

    chat: bool
    template: ChatTemplate | None
    sampling: Sampling = GREEDY

    def answers(
        self, questions: Sequence[Question], ask: Callable[[list[TextRequest]], Sequence[Any]]
    ) -> tuple[Answer, ...]:
        """The model's answers to all turns; `ask` is called once a turn.

        Raises:
            UserError: a question got no reply.
        """
        given: list[list[str]] = [[] for _ in questions]
        for turn in range(max((len(question.turns) for question in questions), default=0)):
            asked = [i for i, question in enumerate(questions) if turn < len(question.turns)]
            requests = [self._request(questions[i], turn, given[i]) for i in asked]
            for i, reply in zip(asked, ask(requests), strict=True):
                if isinstance(reply, NoReply):
                    raise UserError(reply.error)
                given[i].append(reply.text.strip())
        return tuple(
            Answer(question.question_id, tuple(turns))
            for question, turns in zip(questions, given, strict=True)
        )

    def _request(self, question: Question, turn: int, previous: Sequence[str]) -> TextRequest:
        messages = answer_prompts(question, turn, previous)
        temperature, seed = self.sampling.of(question)
        stop: tuple[str, ...] = ()
        most = MOST_NEW_TOKENS
        if self.chat:
            text = json.dumps([dict(message) for message in messages], ensure_ascii=False)
        elif is_plain(question) or self.template is None:
            text, most, stop = question.turns[turn], _LINE_TOKENS, ("\n",)
        else:
            text, stop = self.template.render(messages), self.template.stop_strings
        return TextRequest(
            text,
            chat=self.chat,
            max_new_tokens=most,
            stop=stop,
            temperature=temperature,
            seed=seed,
        )

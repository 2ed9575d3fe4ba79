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

# What MT-bench gives an answer; a small context gives half of itself.
MOST_NEW_TOKENS = 1024
# A text of the form "Question: …\nAnswer:" is answered by a line.
_LINE_TOKENS = 48

Generate = Callable[[Sequence[GenerateRequest]], list[GenerateResponse]]


@dataclass(frozen=True)
class Asker:
    """Puts questions to one model: its tokenizer, its prompt format, its context in tokens.

    Questions of the form "Question: …\\nAnswer:" are put as they stand and answered by one line;
    all others are conversations in the model's prompt format.
    """

    tokenizer: Any
    template: ChatTemplate
    max_length: int

    def request(
        self, question: Question, turn: int, previous: Sequence[str] = ()
    ) -> GenerateRequest:
        """The greedy request for a turn (0 is the first), given the model's earlier answers.

        Raises:
            UserError: the tokenizer or the template can't take the conversation.
        """
        most = min(MOST_NEW_TOKENS, self.max_length // 2)
        if is_plain(question):
            tokens = tuple(self.tokenizer(question.turns[turn])["input_ids"])
            return GenerateRequest(tokens, min(_LINE_TOKENS, most), ("\n",))
        prompt = self._encoder.encode(answer_prompts(question, turn, previous))
        return GenerateRequest(prompt.tokens, most, self.template.stop_strings)

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
        if self.chat:
            text = json.dumps([dict(message) for message in messages], ensure_ascii=False)
            return TextRequest(text, chat=True, max_new_tokens=MOST_NEW_TOKENS)
        if is_plain(question) or self.template is None:
            return TextRequest(question.turns[turn], max_new_tokens=_LINE_TOKENS, stop=("\n",))
        stop = self.template.stop_strings
        text = self.template.render(messages)
        return TextRequest(text, max_new_tokens=MOST_NEW_TOKENS, stop=stop)

"""Models' answers to judge questions: conversations to token requests, generated text back.

Knows prompt formats and how a question is asked turn by turn; who computes the tokens is a function
that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evalsuite.judge.questions import answer_prompts, is_plain
from evalsuite.judge.records import Answer, Question
from evalsuite.models import ChatEncoder, ChatTemplate
from evalsuite.records import GenerateRequest, GenerateResponse

# What MT-bench gives an answer; a small context gives half of itself.
MOST_NEW_TOKENS = 1024
# A text of the form "Question: …\nAnswer:" is answered by a line.
_LINE_TOKENS = 48

Generate = Callable[[Sequence[GenerateRequest]], list[GenerateResponse]]


def answer_questions(
    questions: Sequence[Question],
    tokenizer: Any,
    template: ChatTemplate,
    max_length: int,
    generate: Generate,
) -> list[Answer]:
    """A model's greedy answers to all turns of all questions, in their order.

    Questions of the form "Question: …\\nAnswer:" are put as they stand and answered by one line;
    all others are conversations in the model's prompt format. `generate` is called once a turn.

    Raises:
        UserError: the tokenizer or the template can't take a conversation.
    """
    encoder: ChatEncoder | None = None
    given: list[list[str]] = [[] for _ in questions]
    most = min(MOST_NEW_TOKENS, max_length // 2)
    for turn in range(max((len(question.turns) for question in questions), default=0)):
        asked = [i for i, question in enumerate(questions) if turn < len(question.turns)]
        requests = []
        for i in asked:
            question = questions[i]
            if is_plain(question):
                tokens = tuple(tokenizer(question.turns[turn])["input_ids"])
                requests.append(GenerateRequest(tokens, min(_LINE_TOKENS, most), ("\n",)))
                continue
            encoder = encoder or ChatEncoder(tokenizer, template)
            prompt = encoder.encode(answer_prompts(question, turn, given[i]))
            requests.append(GenerateRequest(prompt.tokens, most, template.stop_strings))
        for i, response in zip(asked, generate(requests), strict=True):
            given[i].append(response.text.strip())
    return [Answer(q.question_id, tuple(turns)) for q, turns in zip(questions, given, strict=True)]

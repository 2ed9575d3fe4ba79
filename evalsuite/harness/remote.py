"""An lm-eval model over a server: its prompts go out as text, since the server has the tokenizer.

A request that gets no answer takes its document out of the numbers, counted, never as a wrong
answer. Knows lm-eval's requests and one callable that asks; no HTTP, no store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from lm_eval.api.model import LM
from lm_eval.models.utils import postprocess_generated_text

from evalsuite.harness.plans import by_kind
from evalsuite.harness.sampling import generation_settings, request_seed
from evalsuite.harness.task_set import TaskSet
from evalsuite.records import NoReply, TextReply, TextRequest

Ask = Callable[[list[TextRequest]], Sequence[TextReply | NoReply]]

# What a server can be asked for without, and with, log-probabilities of a prompt.
_GENERATES = frozenset({"generate_until"})
_SCORES = frozenset({"generate_until", "loglikelihood"})


class ServerLM(LM):
    """What lm-eval takes for a model: rank 0 of 1, every answer fetched beforehand.

    `chat` are the tasks whose prompts are JSON lists of messages. `lost` are the documents without
    a result, by task and number; `reasons` says why, by task.
    """

    def __init__(self, ask: Ask, *, chat: Collection[str] = (), run_seed: int = 1234) -> None:
        super().__init__()
        self.tokenizer: Any = None
        self.truncated: Counter[tuple[str, int]] = Counter()
        self.lost: set[tuple[str, int]] = set()
        self.reasons: dict[str, str] = {}
        self._ask, self._chat, self._run_seed = ask, chat, run_seed
        self._answers: dict[str, list[tuple[Any, Any]]] = {}  # an instance and its answer

    def prefetch(self, task_set: TaskSet) -> dict[str, str]:
        """Ask for everything that `task_set` needs. No task is impossible: `unaskable` tells."""
        kinds = by_kind(task_set.instances)
        asked = [
            (kind, instance, request)
            for kind, items in kinds.items()
            for instance, request in self._requests(kind, items)
        ]
        replies = self._ask([request for _, _, request in asked])
        self.lost.clear()
        for (_, instance, _), reply in zip(asked, replies, strict=True):
            if isinstance(reply, NoReply):
                self.lost.add((instance.task_name, instance.doc_id))
                self.reasons.setdefault(instance.task_name, reply.error)
        self._answers = {kind: [] for kind in kinds}
        for (kind, instance, request), reply in zip(asked, replies, strict=True):
            # One request without an answer leaves its document without a result.
            lost = (instance.task_name, instance.doc_id) in self.lost
            if not lost and isinstance(reply, TextReply):
                self._answers[kind].append((instance, _answer(request, reply)))
        return {}

    def keep(self, tasks: Collection[str]) -> None:
        """Forget the answers of other tasks: lm-eval won't ask for them."""
        for kind, items in self._answers.items():
            self._answers[kind] = [item for item in items if item[0].task_name in tasks]

    def generated(self, task_set: TaskSet) -> list[tuple[Any, str]]:
        """The answers there are: pairs of an instance of `task_set` and its text, once a repeat."""
        answers = self._answers.get("generate_until", ())
        return [item for item in answers if item[0].task_name in task_set.tasks]

    def seed_of(self, instance: Any, repeat: int) -> int | None:
        """The seed of one sample of a generation; None where nothing is drawn."""
        if instance.request_type != "generate_until":
            return None
        if not generation_settings(instance).temperature:
            return None
        return request_seed(self._run_seed, instance, repeat)

    def _requests(self, kind: str, items: Sequence[Any]) -> list[tuple[Any, TextRequest]]:
        made: list[tuple[Any, TextRequest]] = []
        repeat, previous = 0, None
        for instance in items:
            repeat = repeat + 1 if instance is previous else 0
            previous = instance
            if kind == "loglikelihood":
                made.append((instance, _score_request(*instance.args)))
            else:
                made.append((instance, self._generation(instance, repeat)))
        return made

    def _generation(self, instance: Any, repeat: int) -> TextRequest:
        settings = generation_settings(instance)
        return TextRequest(
            prompt=instance.args[0],
            chat=instance.task_name in self._chat,
            max_new_tokens=settings.max_new_tokens,
            stop=settings.until,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=self.seed_of(instance, repeat) or 0,
        )

    def _given(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        answers = self._answers.pop(kind)
        if len(answers) != len(requests):
            raise RuntimeError(f"{len(requests)} {kind} requests, {len(answers)} answers")
        return [answer for _, answer in answers]

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log probability, whether greedy) of each instance's continuation."""
        return self._given("loglikelihood", requests)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """The text that follows each instance's prompt, up to its first stop string."""
        return self._given("generate_until", requests)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Never asked for: `unaskable` names tasks that need it."""
        raise NotImplementedError


def unaskable(task_set: TaskSet, *, scores: bool) -> list[str]:
    """The tasks that a server can't be asked; `scores`: it gives log-probabilities of prompts."""
    possible = _SCORES if scores else _GENERATES
    return [
        name
        for name, items in task_set.instances.items()
        if not {instance.request_type for instance in items} <= possible
    ]


def _score_request(context: str, continuation: str) -> TextRequest:
    # lm-eval's rule for every model: spaces that end a context belong to what follows.
    kept = context.rstrip()
    return TextRequest(kept, continuation=context[len(kept) :] + continuation)


def _answer(request: TextRequest, reply: TextReply) -> Any:
    if request.continuation is not None:
        return reply.logprob, reply.is_greedy
    # A server may take fewer stop strings than the task has.
    return postprocess_generated_text(reply.text, list(request.stop), None)

"""An lm-eval model over an engine: texts become token requests, responses become lm-eval's answers.

Tokenises by the rules of lm-eval's hf backend, so that requests equal its own. It knows a tokenizer
and two callables that score and generate; it must not know which engine is behind them, nor how
requests are batched or stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evalsuite.harness.sampling import generation_settings, request_seed
from evalsuite.harness.tasks import TaskSet
from evalsuite.records import (
    GenerateRequest,
    GenerateResponse,
    ScoreRequest,
    ScoreResponse,
    UserError,
)

Score = Callable[[list[ScoreRequest]], Sequence[ScoreResponse]]
Generate = Callable[[list[GenerateRequest]], Sequence[GenerateResponse]]

CHUNK = 1024  # instances tokenised at a time; bounds the memory that their texts' tokens take


@dataclass
class TokenPlan:
    """All requests of a run in the order in which they are asked.

    `parts` holds for each of lm-eval's request kinds its instances, one entry a repeat, each with
    the slice of `score` or `generate` that answers it (rolling likelihoods take several windows).
    """

    score: list[ScoreRequest] = field(default_factory=list)
    generate: list[GenerateRequest] = field(default_factory=list)
    parts: dict[str, list[tuple[Any, slice]]] = field(default_factory=dict)


class _SameObject(dict[int, int]):
    """One int object a token id: a plan holds millions of ids, and each new int takes 32 bytes."""

    def __missing__(self, token: int) -> int:
        self[token] = token
        return token


class EngineLM(TemplateLM):
    """What lm-eval takes for a model: rank 0 of 1, exact, without caches of its own.

    `tokenizer` is a transformers tokenizer, `max_length` the model's context in tokens. `score` and
    `generate` answer lists of requests in order. `run_seed` and a request's task, document and
    repeat give the seed of a sampled generation. `stop` ends answers besides a task's own stop
    strings: where a turn of a chat format ends. `truncated` counts, by task and document, the
    requests that lost tokens because they were longer than the context.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        score: Score,
        generate: Generate,
        *,
        run_seed: int = 1234,
        stop: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.run_seed = run_seed
        self._stop = tuple(stop)
        self.truncated: Counter[tuple[str, int]] = Counter()
        self.lost: set[tuple[str, int]] = set()  # an engine answers everything, or raises
        self._score, self._generate = score, generate
        self._encoded: dict[str, list[int]] = {}
        self._answers: dict[str, list[Any]] = {}
        self._ids = _SameObject()
        self._too_long: dict[str, dict[int, int]] = {}  # tokens by task and document

    # ---- tokens: the hf backend's rules ----------------------------------------------------------

    @property
    def eot_token_id(self) -> int:
        """EOS, the hf backend's end of text. Raises UserError for a tokenizer without one."""
        if self.tokenizer.eos_token_id is None:
            raise UserError("The model's tokenizer has no end-of-sequence token.")
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that has no context: BOS, or EOS where there is none."""
        bos = self.tokenizer.bos_token_id
        return int(bos) if bos is not None else self.eot_token_id

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Token ids of a text; special tokens by the tokenizer's default unless told.

        A text that begins with the BOS text already gets no second one.
        """
        if add_special_tokens is not None:
            return list(self.tokenizer.encode(string, add_special_tokens=add_special_tokens))
        if string not in self._encoded:
            self._encode_all([string])
        return self._encoded[string]

    def _encode_all(self, texts: Iterable[str]) -> None:
        """Tokenise distinct texts in one call, which a fast tokenizer spreads over the cores."""
        prefix = self.tokenizer.decode(self.prefix_token_id)
        new = [text for text in dict.fromkeys(texts) if text not in self._encoded]
        for options, group in (
            ({}, [text for text in new if not has_bos_prefix(text, prefix)]),
            ({"add_special_tokens": False}, [text for text in new if has_bos_prefix(text, prefix)]),
        ):
            if group:
                batch = self.tokenizer(group, return_attention_mask=False, verbose=False, **options)
                self._encoded.update(zip(group, batch["input_ids"], strict=True))

    def _kept(self, tokens: Iterable[int]) -> tuple[int, ...]:
        return tuple(map(self._ids.__getitem__, tokens))

    # ---- planning --------------------------------------------------------------------------------

    def plan(self, instances: Mapping[str, Sequence[Any]]) -> TokenPlan:
        """Token requests for instances by lm-eval's request kind, one entry a repeat.

        Scores come before rolling windows, whatever the tasks' order. Raises UserError for requests
        that no engine here can answer, naming the task.
        """
        plan = TokenPlan()
        self._too_long.clear()
        for kind in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
            items = instances.get(kind, ())
            if not items:
                continue
            part = plan.parts[kind] = []
            add = getattr(self, f"_plan_{kind}")
            repeat, previous = 0, None
            for start in range(0, len(items), CHUNK):
                chunk = items[start : start + CHUNK]
                self._encode_all(_texts(kind, chunk))
                contexts: dict[str, tuple[int, ...]] = {}
                for instance in chunk:
                    repeat = repeat + 1 if instance is previous else 0
                    previous = instance
                    part.append((instance, add(plan, instance, repeat, contexts)))
                self._encoded.clear()
        if self._too_long:
            raise UserError(self._context_too_short())
        return plan

    def _context_too_short(self) -> str:
        """Every task whose continuations don't fit, how many documents these are, and advice."""
        tasks = ", ".join(
            f"{task} ({len(documents)} document{'s' * (len(documents) != 1)}, up to "
            f"{max(documents.values())} tokens)"
            for task, documents in self._too_long.items()
        )
        return (
            f"The context of {self.max_length} tokens is shorter than continuations of {tasks}.\n"
            f"Use a larger --max-length or leave the task{'s' * (len(self._too_long) > 1)} out."
        )

    def _plan_loglikelihood(
        self, plan: TokenPlan, instance: Any, _: int, contexts: dict[str, tuple[int, ...]]
    ) -> slice:
        context, continuation = instance.args
        left, right = self._pair(context, continuation)
        if not left or not right:
            raise UserError(
                f"The task {instance.task_name}, document {instance.doc_id}: the continuation "
                f"{continuation!r} has no tokens of its own and can't be scored."
            )
        if len(right) > self.max_length:
            documents = self._too_long.setdefault(instance.task_name, {})
            documents[instance.doc_id] = max(len(right), documents.get(instance.doc_id, 0))
            return slice(0, 0)  # planning goes on, to name all tasks at its end
        if context not in contexts:  # choices share their context's tuple, as they share its text
            contexts[context] = self._kept(left)
        plan.score.append(ScoreRequest(contexts[context], self._kept(right)))
        return slice(len(plan.score) - 1, len(plan.score))

    def _pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokens of context and continuation by lm-eval's rules, for an empty context too."""
        if context:
            left, right = self._encode_pair(context, continuation)
            if left:
                return left, right
            # White space alone, moved to the continuation, and a tokenizer that adds no BOS.
        right = self.tok_encode(context + continuation, add_special_tokens=False)
        if right and right[0] == self.prefix_token_id:
            return right[:1], right[1:]
        return [self.prefix_token_id], right

    def _plan_loglikelihood_rolling(
        self, plan: TokenPlan, instance: Any, _: int, __: Mapping[str, tuple[int, ...]]
    ) -> slice:
        start = len(plan.score)
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(instance.args[0]),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        for window in windows:
            left, right = make_disjoint_window(window)
            plan.score.append(ScoreRequest(self._kept(left), self._kept(right)))
        return slice(start, len(plan.score))

    def _plan_generate_until(
        self, plan: TokenPlan, instance: Any, repeat: int, contexts: dict[str, tuple[int, ...]]
    ) -> slice:
        context, settings = instance.args[0], generation_settings(instance)
        if context not in contexts:
            contexts[context] = self._kept(self.tok_encode(context)) or (self.prefix_token_id,)
        prompt = contexts[context]
        plan.generate.append(
            GenerateRequest(
                prompt=prompt,
                max_new_tokens=settings.max_new_tokens,
                stop=self._stops(settings.until),
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=request_seed(self.run_seed, instance, repeat) if settings.temperature else 0,
            )
        )
        return slice(len(plan.generate) - 1, len(plan.generate))

    def _stops(self, until: Sequence[str]) -> tuple[str, ...]:
        """Stop strings as the hf backend has them: the task's and EOS as text, no empty ones."""
        eos = self.tokenizer.decode(self.eot_token_id, skip_special_tokens=False)
        stops = handle_stop_sequences([*until, *self._stop], eos=eos)
        return tuple(dict.fromkeys(stop for stop in stops if stop))

    # ---- asking the engine -----------------------------------------------------------------------

    def prefetch(self, task_set: TaskSet) -> None:
        """Ask for everything that `task_set` needs, in one call each of `score` and `generate`.

        lm-eval asks kind by kind afterwards and gets these answers, so that the requests of a run
        are exactly those of `token_requests`.
        """
        self._answers = self._run(self.plan(by_kind(task_set.instances)))

    def _run(self, plan: TokenPlan) -> dict[str, list[Any]]:
        scored = self._score(plan.score) if plan.score else ()
        generated = self._generate(plan.generate) if plan.generate else ()
        answers: dict[str, list[Any]] = {}
        for kind, part in plan.parts.items():
            responses: Sequence[Any] = generated if kind == "generate_until" else scored
            answers[kind] = [self._answer(kind, i, responses[where]) for i, where in part]
        return answers

    def _answer(self, kind: str, instance: Any, responses: Sequence[Any]) -> Any:
        cut = sum(response.truncated > 0 for response in responses)
        if cut:
            self.truncated[instance.task_name, instance.doc_id] += cut
        if kind == "loglikelihood":
            return responses[0].logprob, responses[0].is_greedy
        if kind == "loglikelihood_rolling":
            return sum(response.logprob for response in responses)
        # An engine ends at the first stop string; cutting by lm-eval's own rule costs nothing and
        # holds for any engine.
        until = self._stops(generation_settings(instance).until)
        return postprocess_generated_text(responses[0].text, list(until), None)

    def _ask(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        if kind in self._answers:
            answers = self._answers.pop(kind)
            if len(answers) != len(requests):
                raise RuntimeError(f"{len(requests)} {kind} requests, {len(answers)} planned")
            return answers
        return self._run(self.plan({kind: requests}))[kind]

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log probability, whether greedy) of each instance's continuation."""
        return self._ask("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Log probability of each instance's whole text, in windows of the context's length."""
        return self._ask("loglikelihood_rolling", requests)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """The text that follows each instance's prompt, up to its first stop string."""
        return self._ask("generate_until", requests)

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
        pairs = [ScoreRequest(tuple(left), tuple(right)) for _, left, right in requests]
        return [(response.logprob, response.is_greedy) for response in self._score(pairs)]


# ---- plain functions -----------------------------------------------------------------------------


def token_requests(
    task_set: TaskSet,
    tokenizer: Any,
    max_length: int,
    run_seed: int = 1234,
    stop: Sequence[str] = (),
) -> tuple[list[ScoreRequest], list[GenerateRequest]]:
    """Every token request of a run, in the order in which it will be asked; nothing is computed."""

    def never(_: Any) -> Any:
        raise RuntimeError("planning asks no engine")

    lm = EngineLM(tokenizer, max_length, never, never, run_seed=run_seed, stop=stop)
    plan = lm.plan(by_kind(task_set.instances))
    return plan.score, plan.generate


def by_kind(instances: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Instances by request kind, each as often as it repeats: the lists that lm-eval will ask."""
    kinds: dict[str, list[Any]] = {}
    for items in instances.values():
        for instance in items:
            kinds.setdefault(instance.request_type, []).extend([instance] * instance.repeats)
    return kinds


def _texts(kind: str, instances: Sequence[Any]) -> Iterable[str]:
    """The texts whose tokens planning will ask for."""
    for instance in instances:
        if kind != "loglikelihood":
            yield instance.args[0]
            continue
        context, continuation = instance.args
        if context:
            yield context.rstrip()
            yield context + continuation

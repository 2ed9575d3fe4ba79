"""An lm-eval model over an engine: texts become token requests, responses become lm-eval's answers.

Tokenises by the rules of lm-eval's hf backend, so that requests equal its own. It knows a tokenizer
and two callables that score and generate; it must not know which engine is behind them, nor how
requests are batched or stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evalsuite.harness.collector import resting
from evalsuite.harness.encoding import TextEncoder
from evalsuite.harness.plans import TokenPlan, TooLongError, by_kind
from evalsuite.harness.sampling import generation_settings, request_seed
from evalsuite.harness.task_set import TaskSet
from evalsuite.records import (
    GenerateRequest,
    GenerateResponse,
    ScoreRequest,
    ScoreResponse,
    UserError,
)

Score = Callable[[list[ScoreRequest]], Sequence[ScoreResponse]]
Generate = Callable[[list[GenerateRequest]], Sequence[GenerateResponse]]

CHUNK = 8192  # instances tokenised at a time: enough for all cores, and their texts fit in memory


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
        self._encoder: TextEncoder | None = None
        self._answers: dict[str, list[tuple[Any, Any]]] = {}  # an instance and its answer

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
        return list(self._texts.encode(string))

    @property
    def _texts(self) -> TextEncoder:
        if self._encoder is None:
            self._encoder = TextEncoder(self.tokenizer, self.tokenizer.decode(self.prefix_token_id))
        return self._encoder

    # ---- planning --------------------------------------------------------------------------------

    def plan(self, instances: Mapping[str, Sequence[Any]]) -> TokenPlan:
        """Token requests for instances by lm-eval's request kind, one entry a repeat.

        Scores come before rolling windows, whatever the tasks' order. A task that no engine here
        can answer is in `impossible`, and the others are planned as if it were not there.
        """
        impossible: dict[str, str] = {}
        while True:  # again without the tasks that turned out to be impossible
            plan = TokenPlan(impossible=impossible)
            with resting():
                faults = self._plan_all(plan, instances)
            if not faults:
                return plan
            impossible |= faults

    def plan_tasks(self, task_set: TaskSet) -> TokenPlan:
        """The plan of a task set: a family that a member is impossible of is not asked at all."""
        plan = self.plan(by_kind(task_set.instances))
        left = task_set.without(plan.impossible)
        if len(left.tasks) + len(plan.impossible) == len(task_set.tasks):
            return plan
        impossible = plan.impossible
        plan = self.plan(by_kind(left.instances))
        plan.impossible = impossible
        return plan

    def _plan_all(self, plan: TokenPlan, instances: Mapping[str, Sequence[Any]]) -> dict[str, str]:
        """Fills a plan; what is wrong with tasks, by name, makes the plan void."""
        faults: dict[str, str] = {}
        too_long: dict[str, dict[int, int]] = {}  # tokens by task and document
        for kind in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
            items = [i for i in instances.get(kind, ()) if i.task_name not in plan.impossible]
            if not items:
                continue
            part = plan.parts[kind] = []
            add = getattr(self, f"_plan_{kind}")
            repeat, previous = 0, None
            for start in range(0, len(items), CHUNK):
                chunk = items[start : start + CHUNK]
                if kind == "loglikelihood":
                    self._texts.learn_pairs(map(_parted, chunk))
                else:
                    self._texts.learn(instance.args[0] for instance in chunk)
                contexts: dict[str, tuple[int, ...]] = {}
                for instance in chunk:
                    repeat = repeat + 1 if instance is previous else 0
                    previous = instance
                    try:
                        part.append((instance, add(plan, instance, repeat, contexts)))
                    except TooLongError as error:
                        documents = too_long.setdefault(instance.task_name, {})
                        tokens = max(error.tokens, documents.get(instance.doc_id, 0))
                        documents[instance.doc_id] = tokens
                    except UserError as error:
                        faults.setdefault(instance.task_name, str(error))
        self._encoder = None  # the plan holds the tokens
        for task, documents in too_long.items():
            faults[task] = (
                f"The context of {self.max_length} tokens is shorter than continuations of {task} "
                f"({len(documents)} document{'s' * (len(documents) != 1)}, up to "
                f"{max(documents.values())} tokens): use a larger --max-length or leave it out."
            )
        return faults

    def _plan_loglikelihood(
        self, plan: TokenPlan, instance: Any, _: int, contexts: dict[str, tuple[int, ...]]
    ) -> slice:
        continuation = instance.args[1]
        left, right = self._pair(instance, contexts)
        if not left or not right:
            raise UserError(
                f"The task {instance.task_name}, document {instance.doc_id}: the continuation "
                f"{continuation!r} has no tokens of its own and can't be scored."
            )
        if len(right) > self.max_length:
            raise TooLongError(len(right))
        plan.score.append(ScoreRequest(left, right))
        return slice(len(plan.score) - 1, len(plan.score))

    def _pair(
        self, instance: Any, contexts: dict[str, tuple[int, ...]]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of context and continuation by lm-eval's rules, for an empty context too."""
        bare, rest = _parted(instance)
        if bare:
            if bare not in contexts:  # choices share their context's tuple, as they share its text
                contexts[bare] = self._texts.encode(bare)
            if left := contexts[bare]:
                return left, self._texts.continuation(bare, rest)
            # A tokenizer that adds no BOS and has no token for the text.
        right = self.tok_encode(bare + rest, add_special_tokens=False)
        if right and right[0] == self.prefix_token_id:
            return tuple(right[:1]), tuple(right[1:])
        return (self.prefix_token_id,), tuple(right)

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
            plan.score.append(ScoreRequest(tuple(left), tuple(right)))
        return slice(start, len(plan.score))

    def _plan_generate_until(
        self, plan: TokenPlan, instance: Any, repeat: int, contexts: dict[str, tuple[int, ...]]
    ) -> slice:
        context, settings = instance.args[0], generation_settings(instance)
        if context not in contexts:
            contexts[context] = self._texts.encode(context) or (self.prefix_token_id,)
        prompt = contexts[context]
        plan.generate.append(
            GenerateRequest(
                prompt=prompt,
                max_new_tokens=settings.max_new_tokens,
                stop=self._stops(settings.until),
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=self.seed_of(instance, repeat) or 0,
            )
        )
        return slice(len(plan.generate) - 1, len(plan.generate))

    def _stops(self, until: Sequence[str]) -> tuple[str, ...]:
        """Stop strings as the hf backend has them: the task's and EOS as text, no empty ones."""
        eos = self.tokenizer.decode(self.eot_token_id, skip_special_tokens=False)
        stops = handle_stop_sequences([*until, *self._stop], eos=eos)
        return tuple(dict.fromkeys(stop for stop in stops if stop))

    # ---- asking the engine -----------------------------------------------------------------------

    def prefetch(self, task_set: TaskSet) -> dict[str, str]:
        """Ask for everything that `task_set` needs, in one call each of `score` and `generate`.

        lm-eval asks kind by kind afterwards and gets these answers, so that the requests of a run
        are exactly those of `token_requests`. Returns of the tasks that can't be asked why not:
        lm-eval must not ask for them. Raises UserError when that is all of them.
        """
        plan = self.plan_tasks(task_set)
        if plan.impossible and not any(plan.parts.values()):
            raise UserError("\n".join(plan.impossible.values()))
        self._answers = self._run(plan)
        return plan.impossible

    def generated(self, task_set: TaskSet) -> list[tuple[Any, str]]:
        """The prefetched generations: pairs of an instance of `task_set` and its text.

        An instance comes once a repeat, as lm-eval will ask for it.
        """
        answers = self._answers.get("generate_until", ())
        return [item for item in answers if item[0].task_name in task_set.tasks]

    def keep(self, tasks: Collection[str]) -> None:
        """Forget the answers of other tasks: lm-eval won't ask for them."""
        for kind, items in self._answers.items():
            self._answers[kind] = [item for item in items if item[0].task_name in tasks]

    def seed_of(self, instance: Any, repeat: int) -> int | None:
        """The seed of one sample of a generation; None where nothing is drawn."""
        if instance.request_type != "generate_until":
            return None
        if not generation_settings(instance).temperature:
            return None
        return request_seed(self.run_seed, instance, repeat)

    def _run(self, plan: TokenPlan) -> dict[str, list[tuple[Any, Any]]]:
        scored = self._score(plan.score) if plan.score else ()
        generated = self._generate(plan.generate) if plan.generate else ()
        answers: dict[str, list[tuple[Any, Any]]] = {}
        for kind, part in plan.parts.items():
            responses: Sequence[Any] = generated if kind == "generate_until" else scored
            answers[kind] = [(i, self._answer(kind, i, responses[where])) for i, where in part]
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
            return [answer for _, answer in answers]
        plan = self.plan({kind: requests})
        if plan.impossible:
            raise UserError("\n".join(plan.impossible.values()))
        return [answer for _, answer in self._run(plan)[kind]]

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


def _parted(instance: Any) -> tuple[str, str]:
    """Context and continuation by lm-eval's rule: white space between goes to the latter."""
    context, continuation = instance.args
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation

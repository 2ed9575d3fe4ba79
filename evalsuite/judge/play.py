"""Plays all games: the store first, then the judge, every reply kept the moment it comes.

The one entry of the room. Knows the client, the budget and the store; must not know how answers
were made, nor files of a run.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from evalsuite.judge.batch import BatchPlay, mark_sent, relevant
from evalsuite.judge.batch_sending import BatchRules
from evalsuite.judge.budget import Budget, BudgetSpentError, agree
from evalsuite.judge.calls import plan_calls, worst_cost
from evalsuite.judge.client import CallFailedError, ChatClient, Patience, ServerError
from evalsuite.judge.games import reference_games
from evalsuite.judge.judges import JudgeSpec, check_budget, for_batch
from evalsuite.judge.local import LocalJudge, play_local
from evalsuite.judge.matchmaking import Matchmaking
from evalsuite.judge.prompts import Preset, load_preset
from evalsuite.judge.records import Answers, Question
from evalsuite.judge.table import JudgeResult, Table
from evalsuite.progress import Progress
from evalsuite.records import UserError, Verdict
from evalsuite.remote import MOST, Permit
from evalsuite.remote.waiting import wait_for
from evalsuite.store import Store
from evalsuite.store.batches import Batches
from evalsuite.store.judgments import Judgments

# So many calls in a row that failed for good, none between that worked: the server is gone.
_FAILURES_IN_A_ROW = 8
# Workers that keep a reply, or wait after a refusal, hold no slot at the server.
_WORKERS_A_SLOT = 2


@dataclass(frozen=True, slots=True)
class Rules:
    """How a judge is asked. `invalid_retries`: a reply without a verdict is asked for again.

    `concurrency` is the most calls at once; how many there are adapts to the server. With a
    `baseline` every other model meets it alone. `games` is how many are played at most, chosen
    where they narrow the ratings most; `seed` draws their questions. `batch`: by OpenAI's Batch
    API.
    """

    repeats: int = 1
    invalid_retries: int = 2
    concurrency: int = MOST
    refresh: bool = False
    patience: Patience = Patience()
    baseline: str | None = None
    games: int | None = None
    seed: int = 0
    batch: BatchRules | None = None


def judge_run(
    questions: Sequence[Question],
    answers: Answers,
    spec: JudgeSpec,
    store: Store,
    progress: Progress,
    *,
    run: str,
    preset: Preset | None = None,
    budget: float | None = None,
    rules: Rules = Rules(),
    local: LocalJudge | None = None,
    ask: Callable[[str], str] | None = None,
) -> JudgeResult:
    """Judges all games that the preset makes of the models' answers, "pairwise" without one.

    `rules` may leave games out: all pairs but those with a baseline, or all games but so many.

    `run` is the id that stays the same when a run is resumed. Every reply is in the store when
    this returns or raises; what is there is not asked again. A server that can't be used doesn't
    raise once games are there: `stopped` says why, and `pending` how many are missing.

    Raises:
        UserError: answers are missing, nobody agreed to the cost, or the server could not be used
            and there is no game at all.
    """
    preset = preset or load_preset()
    if spec.kind == "none" or len(answers) < (
        1 if preset.alone and spec.kind != "reference" else 2
    ):
        return JudgeResult(())
    if spec.kind == "reference":
        games, skipped = reference_games(questions, answers, baseline=rules.baseline)
        note = f"{skipped} games have no checkable reference and were not played"
        return JudgeResult(tuple(games), notes=(note,) if skipped else ())
    if spec.kind == "local" and (local is None or (preset.top_logprobs and local.weigh is None)):
        raise ValueError("a local judge needs a LocalJudge that can do what the preset asks for")
    preset.check(questions)
    identity = local.identity if local is not None and spec.kind == "local" else ""
    if rules.batch is not None:
        spec = for_batch(spec)
    matches, calls = plan_calls(
        questions, answers, spec, preset, rules.repeats, identity, baseline=rules.baseline
    )
    judgments = Judgments(store, run, refresh=rules.refresh)
    table = Table(spec, preset, judgments, [], 1 + rules.invalid_retries)
    making = None
    if rules.games is None:
        table.extend(calls)
    else:
        making = Matchmaking(matches, calls, rules.games, rules.seed, store, run)
        matches = []
        while not table.missing() and (chosen := making.choose(table.games(making.chosen))):
            table.extend(chosen)
    batches = None
    if spec.kind == "openai":
        batches = Batches(store, spec.endpoint, spec.model)
        mark_sent(table, relevant(batches, table, run, refresh=rules.refresh))

    check_budget(spec, budget)
    estimate = making.estimate(table) if making else table.estimate()
    agree(estimate, spec.name, budget, paid=spec.paid, ask=ask)
    progress.note(f"judging: {estimate.describe(spec.name, billed=spec.paid)}")
    limit = budget
    if limit is None and spec.paid and estimate.dollars_at_most is not None:
        # A yes was said to this much, and no more.
        limit = judgments.spent() + estimate.dollars_at_most * (1 + 1e-9)
    while True:
        progress.start("judging", table.prompt_tokens(), table.prompt_tokens(done=True))
        if local is not None and spec.kind == "local":
            play_local(table, local, progress)
        elif batches is not None:
            try:
                _play_server(table, batches, limit, progress, run, rules)
            finally:
                table.close()
        progress.finish()
        if (
            making is None
            or table.stopped
            or not (chosen := making.choose(table.games(making.chosen)))
        ):
            break
        table.extend(chosen)
    result = table.result(making.chosen if making else matches, estimate)
    if making is not None:
        note = making.note()
        result = replace(result, pending=result.pending + making.left, notes=(*result.notes, note))
    if result.stopped and len(result.games) == result.failed and not table.under_way:
        raise UserError(result.stopped)
    return result


def _play_server(
    table: Table,
    batches: Batches,
    limit: float | None,
    progress: Progress,
    run: str,
    rules: Rules,
) -> None:
    """Everything that a judge behind HTTP has to be asked, by batches or call by call."""
    spec = table.spec if rules.batch is not None else for_batch(table.spec)
    batch_rules = rules.batch or BatchRules()
    if rules.batch is not None or relevant(batches, table, run, refresh=rules.refresh):
        if not table.missing() and not table.under_way:
            return
        play = BatchPlay(
            table,
            batches,
            spec,
            progress,
            run=run,
            refresh=rules.refresh,
            rules=batch_rules,
            patience=rules.patience,
        )
        # Without --judge-batch, too: what a batch has brought meanwhile is paid already.
        wait_for(play.play(limit, send=rules.batch is not None))
    if rules.batch is not None:
        return
    if table.under_way:
        table.remarks.append(
            f"{len(table.under_way)} calls are in a batch as well and were asked directly, as "
            "--judge-batch was left out: both are paid"
        )
    table.under_way, table.stopped = set(), None
    if table.missing():
        with _plan_out_of_the_collectors_way():
            wait_for(_play_remote(table, limit, progress, rules))


@contextmanager
def _plan_out_of_the_collectors_way() -> Iterator[None]:
    """Keeps what was planned out of garbage collections: ten thousand calls stay till the end.

    Each collection would go through all of them again, and every call in flight waits meanwhile.
    """
    frozen = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not frozen:  # else somebody else's are among them
            gc.unfreeze()


# ---- a judge behind HTTP ------------------------------------------------------------------------


async def _play_remote(table: Table, limit: float | None, progress: Progress, rules: Rules) -> None:
    """Workers take one call after another; a fatal error lets those in flight end."""
    todo = iter(table.missing())
    budget = Budget(limit, table.judgments.spent())
    failures = 0

    async def worker(client: ChatClient) -> None:
        permit = Permit(client.pace)
        while table.stopped is None:
            await permit.take()
            # Workers share the iterator: each call is taken once. None is taken after a stop.
            key = None if table.stopped else next(todo, None)
            if key is None:
                break
            await one(client, key, permit)
        permit.give("unsent")

    async def one(client: ChatClient, key: bytes, permit: Permit) -> None:
        nonlocal failures
        try:
            await _settle_call(table, key, client, budget, permit)
            failures = 0
            progress.advance(table.expected(key))
        except CallFailedError as error:
            table.errors[key] = str(error)
            failures += 1
            if failures == _FAILURES_IN_A_ROW:
                table.stopped = f"{error}; {failures} calls failed in a row: run again to go on"
        except BudgetSpentError as error:
            table.stopped = f"{error}; a larger --budget goes on from here"
        except ServerError as error:
            table.stopped = str(error)

    client = ChatClient(
        table.spec,
        temperature=table.preset.temperature,
        max_tokens=table.preset.max_tokens,
        patience=rules.patience,
        top_logprobs=table.preset.top_logprobs,
        concurrency=rules.concurrency,
    )
    async with client, asyncio.TaskGroup() as group:
        for _ in range(min(_WORKERS_A_SLOT * rules.concurrency, len(table.distinct))):
            group.create_task(worker(client))


async def _settle_call(
    table: Table, key: bytes, client: ChatClient, budget: Budget, permit: Permit
) -> None:
    """Asks until there is a verdict or no attempt is left; each reply is kept as it comes."""
    call = table.distinct[key]
    verdict: Verdict = "invalid"
    while verdict == "invalid" and not (standing := table.standing(key)).settled:
        delimiter = call.delimiter()
        messages = call.messages(table.preset, delimiter)
        worst = worst_cost(table.spec, table.preset, messages)
        attempt_key = call.key(len(standing.attempts))

        async def begin(attempt_key: bytes = attempt_key, worst: float = worst) -> int:
            await budget.reserve(worst)
            table.sent += 1
            return table.judgments.begin(attempt_key, worst)

        async def settle(number: int, billed: bool, worst: float = worst) -> None:
            cost = worst if billed else 0.0
            table.judgments.settle(number, cost)
            await budget.settle(worst, cost)

        try:
            number, reply = await client.ask(messages, begin, settle, permit)
        except CallFailedError as error:
            # Some servers refuse such calls, or break off, rather than leave them out.
            if table.preset.top_logprobs and "logprob" in str(error).lower():
                raise _no_probabilities(table, str(error)) from error
            raise
        table.count(sum(len(message["content"]) for message in messages), reply.prompt_tokens)
        verdict, cost = table.keep(number, key, call, delimiter, reply, worst)
        await budget.settle(worst, cost)
        if reply.lacks:
            raise _no_probabilities(table, f"{table.spec.endpoint} gives no {reply.lacks}")


def _no_probabilities(table: Table, what: str) -> ServerError:
    return ServerError(
        f"{what}, and preset {table.preset.name} judges by them: choose another --judge-preset"
    )

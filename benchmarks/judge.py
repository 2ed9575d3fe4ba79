"""The judge's client against a server with 200 ms of latency that takes 64 calls at once.

    python benchmarks/judge.py            everything (10,000 calls; some minutes)
    python benchmarks/judge.py --calls 2000 --parts speed

Server and client are processes of their own and speak HTTP. `speed`: the whole way from planning
to read verdicts, in store and budget, beside the openai package alone with 64 workers; the ideal
is limit / latency. `faults`: 5 % refusals, 2 % errors, 1 % cut connections, 1 % garbage. `budget`:
the same with money for half of it. `kill`: kill -9 at random moments.
Exit code 1 when a line misses its target.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

LIMIT, LATENCY = 64, 0.2
MODELS = 5
GAMES_A_QUESTION = MODELS * (MODELS - 1)
PRICE = (2.0, 8.0)  # dollars a million tokens, in and out
WORDS = ["the", "a", "of", "to", "and", "in", "is", "it", "that", "on", "for", "as", "with"]


def league(questions: int, seed: int) -> tuple[list[Any], dict[str, list[Any]]]:
    """Questions, and answers of about 250 tokens that carry their quality as a mark."""
    from evalsuite.judge import Answer, Question

    rng = random.Random(seed)
    asked = [Question(f"q{i}", "writing", (f"Request number {i}?",)) for i in range(questions)]
    answers: dict[str, list[Any]] = {}
    for model in (f"m{i}" for i in range(MODELS)):
        answers[model] = []
        for question in asked:
            text = " ".join(rng.choices(WORDS, k=250))
            mark = f"[quality {question.question_id} {model} {rng.randrange(10)}]"
            answers[model].append(Answer(question.question_id, (f"{text} {mark}",)))
    return asked, answers


@contextmanager
def server(**settings: Any) -> Iterator[str]:
    """A judge_server in a process of its own; gives its address."""
    command = [sys.executable, str(HERE / "judge_server.py"), json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/stats") as reply:
        loaded: dict[str, Any] = json.load(reply)
    return loaded


# ---- clients, each a process of its own ----------------------------------------------------------


def ours(url: str, calls: int, seed: int, store_path: str, budget: float) -> dict[str, Any]:
    """Plays all games through judge_run."""
    from evalsuite.judge import Rules, judge_run, resolve_judge
    from evalsuite.judge.prices import Price, PriceTable
    from evalsuite.progress import make_progress
    from evalsuite.store import Store

    questions, answers = league(calls // GAMES_A_QUESTION, seed)
    prices = PriceTable("today", {}, {"judge": Price(*PRICE)})
    spec = resolve_judge(f"openai:judge@{url}/v1", {}, prices=prices)
    import openai  # noqa: F401  (both clients are timed without it)

    with Store(Path(store_path)) as store:
        began, cpu = time.perf_counter(), time.process_time()
        result = judge_run(
            questions, answers, spec, store, make_progress("none"),
            run="bench", budget=budget, rules=Rules(),
        )  # fmt: skip
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    verdicts = {f"{g.question_id} {g.first} {g.second}": g.verdict for g in result.games}
    return {
        "seconds": seconds,
        "cpu": cpu,
        "games": len(result.games),
        "dollars": result.dollars,
        "verdicts": verdicts,
    }


def bare(url: str, calls: int, seed: int) -> dict[str, Any]:
    """The same chats through the openai package alone: 64 workers, nothing kept, nothing read."""
    import openai

    from evalsuite.judge import load_preset, resolve_judge
    from evalsuite.judge.calls import plan_calls
    from evalsuite.judge.prices import PriceTable

    questions, answers = league(calls // GAMES_A_QUESTION, seed)
    spec = resolve_judge(f"openai:judge@{url}/v1", {}, prices=PriceTable("", {}, {}))
    preset = load_preset()
    _, planned = plan_calls(questions, answers, spec, preset, 1)
    chats: Any = iter([call.messages(preset, "0" * 16) for call in planned])

    async def go() -> None:
        client = openai.AsyncOpenAI(api_key="x", base_url=f"{url}/v1", max_retries=0)

        async def worker() -> None:
            for chat in chats:
                await client.chat.completions.create(
                    model="judge", messages=chat, temperature=0, max_tokens=1024
                )

        async with client, asyncio.TaskGroup() as group:
            for _ in range(LIMIT):
                group.create_task(worker())

    began, cpu = time.perf_counter(), time.process_time()
    asyncio.run(go())
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "games": 0}


def child(*arguments: Any) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "judge.py"), "--child", json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    loaded: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return loaded


# ---- the parts -----------------------------------------------------------------------------------

FAULTS = {"429": 0.05, "500": 0.02, "cut": 0.01, "garbage": 0.01}
TARGET = 0.88


@dataclass(frozen=True)
class Line:
    """A line of the table."""

    what: str
    value: str
    good: bool


def speed(calls: int, seed: int, store: Path) -> list[Line]:
    """The rate of the whole way, and of the openai package alone, against the ideal."""
    ideal = calls * LATENCY / LIMIT
    lines = []
    with server(latency=LATENCY, limit=LIMIT, seed=seed) as url:
        alone = child("bare", url, calls, seed)
    with server(latency=LATENCY, limit=LIMIT, seed=seed) as url:
        whole = child("ours", url, calls, seed, str(store), 1e6)
        seen = stats(url)
    for name, done in (("openai alone, 64 workers", alone), ("evalsuite", whole)):
        rate = ideal / done["seconds"]
        text = f"{rate:.1%} of ideal, {done['seconds']:.1f} s, {done['cpu']:.1f} s of CPU"
        lines.append(Line(name, text, name != "evalsuite" or rate >= TARGET))
    lines.append(Line("refused", f"{seen['refused']} of {seen['requests']}", True))
    return [*lines, *check(calls, seed, whole, seen, 1e6)]


def faults(calls: int, seed: int, store: Path) -> list[Line]:
    """The same with a server that fails in every way."""
    with server(latency=LATENCY, limit=LIMIT, seed=seed, rates=FAULTS) as url:
        done = child("ours", url, calls, seed, str(store), 1e6)
        seen = stats(url)
    rate = calls * LATENCY / LIMIT / done["seconds"]
    first = Line("with faults", f"{rate:.1%} of ideal, {seen['requests']} sends", True)
    return [first, *check(calls, seed, done, seen, 1e6)]


def budgeted(calls: int, seed: int, store: Path) -> list[Line]:
    """A budget for about half of the calls, with the same faults: never passed."""
    budget = calls * (800 * PRICE[0] + 40 * PRICE[1]) / 1e6 / 2
    with server(latency=LATENCY, limit=LIMIT, seed=seed, rates=FAULTS) as url:
        done = child("ours", url, calls, seed, str(store), budget)
        seen = stats(url)
    billed = (seen["billed"][0] * PRICE[0] + seen["billed"][1] * PRICE[1]) / 1e6
    text = f"billed ${billed:.3f} of ${budget:.3f}, {len(done['verdicts'])} games"
    return [Line("budget", text, 0 < billed <= budget)]


def killed(calls: int, seed: int, store: Path) -> list[Line]:
    """kill -9 at random moments: only calls in flight are answered twice."""
    rng = random.Random(seed)
    kills, held = 0, 0
    with server(latency=LATENCY, limit=LIMIT, seed=seed) as url:
        arguments = ("ours", url, calls, seed, str(store), 1e6)
        command = [sys.executable, str(HERE / "judge.py"), "--child", json.dumps(arguments)]
        for _ in range(3):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            began = len(stats(url)["answered"])
            most = calls // 8
            while process.poll() is None and len(stats(url)["answered"]) - began < most:
                time.sleep(rng.uniform(0.05, 0.3))
            if process.poll() is None:
                process.kill()
                process.wait()
                kills += 1
                held += LIMIT
            time.sleep(2 * LATENCY)
        done = child(*arguments)
        seen = stats(url)
    twice = sum(count - 1 for count in seen["answered"].values())
    text = f"{kills} kills, {twice} of {calls} calls answered again (at most {held} were in flight)"
    return [Line("kill -9", text, twice <= held), *check(calls, seed, done, seen, 1e6)]


def check(
    calls: int, seed: int, done: dict[str, Any], seen: dict[str, Any], budget: float
) -> list[Line]:
    """Every game is there once with the true verdict, and what was billed was booked."""
    truth = true_verdicts(calls, seed)
    wrong = sum(truth[key] != verdict for key, verdict in done["verdicts"].items())
    lost = len(truth) - len(done["verdicts"])
    double = done["games"] - len(done["verdicts"])
    billed = (seen["billed"][0] * PRICE[0] + seen["billed"][1] * PRICE[1]) / 1e6
    text = f"{lost} lost, {double} double, {wrong} wrong of {len(truth)}"
    return [
        Line("games", text, not (lost or double or wrong)),
        Line(
            "booked",
            f"${done['dollars']:.4f}, billed ${billed:.4f}",
            billed <= done["dollars"] + 1e-9,
        ),
    ]


def true_verdicts(calls: int, seed: int) -> dict[str, str]:
    """What a judge by content says of each game, by "question first second"."""
    _, answers = league(calls // GAMES_A_QUESTION, seed)
    marks: dict[str, dict[str, int]] = {
        model: {str(a.question_id): int(a.turns[0].split()[-1][:-1]) for a in given}
        for model, given in answers.items()
    }
    truth = {}
    for first in marks:
        for second in set(marks) - {first}:
            for question, value in marks[first].items():
                other = marks[second][question]
                verdict = "tie" if value == other else "first" if value > other else "second"
                truth[f"{question} {first} {second}"] = verdict
    return truth


PARTS = {"speed": speed, "faults": faults, "budget": budgeted, "kill": killed}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=10_000, help="a multiple of 20")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        for part in options.parts:
            for line in PARTS[part](options.calls, options.seed, Path(scratch) / f"{part}.db"):
                mark = "ok" if line.good else "MISSED"
                print(f"{part:<7} {line.what:<26} {line.value:<64} {mark}", flush=True)
                good &= line.good
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, *rest = json.loads(sys.argv[2])
        print(json.dumps({"ours": ours, "bare": bare}[name](*rest)))
    else:
        sys.exit(main())

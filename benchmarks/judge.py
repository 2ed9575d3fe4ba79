"""The judge's client against a server with 200 ms of latency that takes 64 calls at once.

    python benchmarks/judge.py            everything (10,000 calls; some minutes)
    python benchmarks/judge.py --calls 2000 --parts speed

Server and client are processes of their own and speak HTTP. `speed`: the whole way from planning
to read verdicts, in store and budget, beside the openai package alone with 64 workers; the ideal
is limit / latency. Exit code 1 when a line misses its target.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

LIMIT, LATENCY = 64, 0.2
MODELS = 5
GAMES_A_QUESTION = MODELS * (MODELS - 1)
PRICE = (2.0, 8.0)  # dollars a million tokens, in and out
WORDS = "the a of to and in is it that on for as with was at by be this are or".split()


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
    return {"seconds": seconds, "cpu": cpu, "games": len(result.games)}


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


def child(*arguments: Any, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    command = [*prefix, sys.executable, str(HERE / "judge.py"), "--child", json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    loaded: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return loaded


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        name, *rest = json.loads(sys.argv[2])
        print(json.dumps({"ours": ours, "bare": bare}[name](*rest)))
    else:
        calls = int(sys.argv[1])
        ideal = calls * LATENCY / LIMIT
        with tempfile.TemporaryDirectory() as scratch:
            for n in range(int(sys.argv[2])):
                with server(
                    latency=LATENCY, limit=LIMIT, queues=sys.argv[3] == "q", retry_after=None
                ) as url:
                    r = child("bare", url, calls, 1)
                    print(
                        "bare",
                        r,
                        f"{ideal / r['seconds']:.1%}",
                        {k: v for k, v in stats(url).items() if k not in ("sent", "answered")},
                        flush=True,
                    )
                with server(
                    latency=LATENCY, limit=LIMIT, queues=sys.argv[3] == "q", retry_after=None
                ) as url:
                    r = child("ours", url, calls, 1, f"{scratch}/{n}.db", 1000.0)
                    print(
                        "ours",
                        r,
                        f"{ideal / r['seconds']:.1%}",
                        {k: v for k, v in stats(url).items() if k not in ("sent", "answered")},
                        flush=True,
                    )

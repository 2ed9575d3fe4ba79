"""A simulated judge behind OpenAI's chat protocol, for benchmarks/judge.py: one process, asyncio.

Answers every call after a fixed latency, takes a limited number at once, fails as often as it is
told, and writes down what it answered and billed. It decides by content: each answer carries a
mark "[quality QUESTION MODEL VALUE]", and the larger value wins. Knows HTTP and nothing of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

MODEL = "judge-0001"
REPLY_TOKENS = 40  # every verdict is of this length
_MARK = re.compile(r"\[quality (\S+) (\S+) (\d+)\]")
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_FILLER = "The first keeps to what was asked and the second does so, too. " * 2


@dataclass
class Judge:
    """What the server is like, and what it has done so far."""

    latency: float = 0.2
    limit: int = 64
    queues: bool = False  # beyond the limit: wait, instead of 429
    retry_after: float | None = None
    rates: dict[str, float] = field(default_factory=dict)  # of "429", "500", "cut", "garbage"
    seed: int = 0
    in_flight: int = 0
    most: int = 0
    requests: int = 0
    refused: int = 0
    busy_seconds: float = 0.0  # sum over calls of the time in flight
    billed: list[int] = field(default_factory=lambda: [0, 0])
    answered: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    waiting: deque[tuple[Connection, bytes]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def fault(self) -> str:
        drawn = self.rng.random()
        for kind, share in self.rates.items():
            drawn -= share
            if drawn < 0:
                return kind
        return ""

    def stats(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "refused": self.refused,
            "most_in_flight": self.most,
            "busy_seconds": self.busy_seconds,
            "billed": self.billed,
            "sent": dict(self.sent),
            "answered": dict(self.answered),
            "in_flight": self.in_flight,
        }


class Connection(asyncio.Protocol):
    """One client's connection: requests one after another, each answered when its time is up."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[:end])
            found = _LENGTH.search(head)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self.buffer) < size:
                return
            body = bytes(self.buffer[end + 4 : size])
            del self.buffer[:size]
            if head.startswith(b"GET /stats"):
                self.send(200, json.dumps(self.judge.stats()).encode())
            elif head.startswith(b"GET"):
                self.send(200, b'{"object": "list", "data": []}')
            else:
                self.ask(body)

    def ask(self, body: bytes) -> None:
        judge = self.judge
        judge.requests += 1
        if judge.in_flight < judge.limit:
            self.begin(body)
        elif judge.queues:
            judge.waiting.append((self, body))
        else:
            self.refuse()

    def refuse(self) -> None:
        judge = self.judge
        judge.refused += 1
        header = "" if judge.retry_after is None else f"Retry-After: {judge.retry_after:g}\r\n"
        self.send(429, b'{"error": {"message": "too many at once"}}', header)

    def begin(self, body: bytes) -> None:
        judge = self.judge
        judge.in_flight += 1
        judge.most = max(judge.most, judge.in_flight)
        kind = judge.fault()
        latency = 0.0 if kind == "429" else judge.latency
        self.loop.call_later(latency, self.end, body, kind, self.loop.time())

    def end(self, body: bytes, kind: str, began: float) -> None:
        judge = self.judge
        judge.in_flight -= 1
        judge.busy_seconds += self.loop.time() - began
        if judge.waiting and judge.in_flight < judge.limit:
            connection, waiting = judge.waiting.popleft()
            connection.begin(waiting)
        if kind == "429":
            self.refuse()
            return
        if kind == "500":
            self.send(500, b'{"error": {"message": "something broke"}}')
            return
        text = json.loads(body)["messages"][-1]["content"]
        first, second = _MARK.findall(text)[-2:]
        key = f"{first[0]} {first[1]} {second[1]}"
        judge.sent[key] += 1
        # What follows was worked for, and is billed, whether or not it arrives.
        prompt = sum(len(m["content"]) for m in json.loads(body)["messages"]) // 4
        judge.billed[0] += prompt
        judge.billed[1] += REPLY_TOKENS
        if kind == "garbage":
            self.send(200, b"<html>\xff it works! </html>")
            return
        better = "A" if int(first[2]) > int(second[2]) else "B"
        reply = f'{_FILLER}\n{{"verdict": "{better if first[2] != second[2] else "tie"}"}}'
        usage = {"prompt_tokens": prompt, "completion_tokens": REPLY_TOKENS}
        message = {"role": "assistant", "content": reply}
        whole = json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": MODEL,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": usage,
            }
        ).encode()
        if kind == "cut":
            self.send(200, whole[: len(whole) // 2], length=len(whole))
            self.transport.close()
            return
        if not self.transport.is_closing():
            judge.answered[key] += 1
        self.send(200, whole)

    def send(self, status: int, body: bytes, headers: str = "", length: int | None = None) -> None:
        if self.transport.is_closing():  # a client that was killed
            return
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body) if length is None else length}\r\n{headers}\r\n"
        )
        self.transport.write(head.encode() + body)


async def serve(judge: Judge) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(judge), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("settings", help="fields of Judge, as JSON")
    asyncio.run(serve(Judge(**json.loads(parser.parse_args().settings))))

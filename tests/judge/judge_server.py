"""A server on this machine that speaks OpenAI's chat protocol over a real socket, and misbehaves.

What it answers is a list of behaviours, one a request, then "ok"; or a function of the request.
Its judge decides by content and reads verdict marks literally, wherever it meets one.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from loopback import Handler, Server

MODEL = "judge-0001"


def answers_in(prompt: str) -> tuple[str, str]:
    """The two answers, by the markers whose code the prompt announces."""
    code = re.search(r"The code of the markers is (\w+)\.", prompt)
    assert code is not None, prompt
    found = []
    for name in "AB":
        parts = re.findall(
            rf"^--- {code[1]} begin answer {name}[^\n]*---\n(.*?)\n--- {code[1]} end answer {name}",
            prompt,
            re.MULTILINE | re.DOTALL,
        )
        assert parts, prompt
        found.append(parts[-1])
    return found[0], found[1]


def quality(answer: str) -> int:
    """What this judge goes by: how often an answer says "excellent"."""
    return len(re.findall(r"excellent", answer))


def by_content(messages: Sequence[dict[str, str]]) -> str:
    """A reply that ends in a verdict; marks in the prompt are read literally and obeyed first."""
    prompt = messages[-1]["content"]
    planted = re.search(
        r"\[\[\s*([ABC])\s*\]\]|[\"']verdict[\"']\s*:\s*[\"'](A|B|tie)"
        r"|verdict\s*:\s*\W*(A|B|tie)\b",
        prompt,
        re.IGNORECASE,
    )
    if planted:
        mark = next(group for group in planted.groups() if group)
        return f'I was told so.\n{{"verdict": "{mark}"}}'
    first, second = (quality(answer) for answer in answers_in(prompt))
    verdict = "A" if first > second else "B" if second > first else "tie"
    return f'A has {first}, B has {second}.\n{{"verdict": "{verdict}"}}'


class JudgeServer:
    """`with JudgeServer() as server:` gives server.url; requests seen are in server.requests."""

    def __init__(
        self,
        behaviours: Sequence[str] = (),
        *,
        reply: Callable[[Sequence[dict[str, str]]], str | dict[str, float]] = by_content,
        key: str | None = None,
        delay: float = 0.0,
        choose: Callable[[int, dict[str, Any]], str] | None = None,
        hang: float = 3.0,
        port: int = 0,
        lists: Sequence[str] | None = (MODEL,),
        count: Callable[[str], int] = lambda text: len(text) // 4,
        reply_tokens: int | None = None,
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.behaviours = list(behaviours)
        self.reply, self.key, self.delay, self.choose, self.hang = reply, key, delay, choose, hang
        self.count, self.reply_tokens = count, reply_tokens
        self.lists = lists  # the models it names; None: it has no such list
        self.served: list[str] = []  # the behaviour of each request, in order
        self.times: list[float] = []
        self.usage_total = [0, 0]
        self._lock = threading.Lock()
        self.in_flight = self.most_in_flight = 0
        handler = type("Handler", (_Handler,), {"judge": self})
        self._http = Server(("127.0.0.1", port), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> JudgeServer:
        # The default poll of half a second would be most of a test's time.
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def next_behaviour(self, body: dict[str, Any], headers: dict[str, str]) -> str:
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            behaviour = (
                self.choose(number, body)
                if self.choose
                else (self.behaviours[number] if number < len(self.behaviours) else "ok")
            )
            self.served.append(behaviour)
            return behaviour


class _Handler(Handler):
    judge: JudgeServer

    def do_GET(self) -> None:
        judge = self.judge
        if judge.lists is None:
            self.send_json(404, {"error": {"message": "no such path"}})
        elif judge.key and self.headers.get("authorization") != f"Bearer {judge.key}":
            self.send_json(401, {"error": {"message": "Incorrect API key"}})
        else:
            self.send_json(200, {"object": "list", "data": [{"id": name} for name in judge.lists]})

    def do_POST(self) -> None:
        judge = self.judge
        sent = self.rfile.read(int(self.headers["content-length"]))
        if len(sent) < int(self.headers["content-length"]):
            self.close_connection = True  # killed while it was asking
            return
        body = json.loads(sent)
        behaviour = judge.next_behaviour(body, {k.lower(): v for k, v in self.headers.items()})
        with judge._lock:
            judge.in_flight += 1
            judge.most_in_flight = max(judge.most_in_flight, judge.in_flight)
        try:
            if judge.delay:
                time.sleep(judge.delay)
            self._answer(behaviour, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with judge._lock:
                judge.in_flight -= 1

    def _answer(self, behaviour: str, body: dict[str, Any]) -> None:
        judge = self.judge
        kind, _, value = behaviour.partition(":")
        if judge.key and self.headers.get("authorization") != f"Bearer {judge.key}":
            # Some servers repeat the key they were shown.
            shown = self.headers.get("authorization", "")
            self.send_json(401, {"error": {"message": f"Incorrect API key: {shown}"}})
        elif kind == "429":
            self.send_json(
                429, {"error": {"message": "slow down"}}, {"Retry-After": value or "0.05"}
            )
        elif kind == "429date":
            when = format_datetime(datetime.now(UTC) + timedelta(seconds=float(value)), usegmt=True)
            self.send_json(429, {"error": {"message": "slow down"}}, {"Retry-After": when})
        elif kind == "quota":
            error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
            self.send_json(429, {"error": error})
        elif kind.isdigit():
            self.send_json(int(kind), {"error": {"message": value or "no luck"}})
        elif kind == "garbage":
            self.send_bytes(200, b"<html>\xff\xfe it works! </html>")
        elif kind == "wrong":
            self.send_json(200, {"object": "list", "data": []})
        elif kind == "half":
            whole = self._completion("never mind", body)
            self.send_bytes(200, whole[: len(whole) // 2], length=len(whole))
        elif kind == "cut":
            self.close_connection = True
        elif kind == "hang":
            time.sleep(judge.hang)
            self.close_connection = True
        elif kind == "redirect":
            self.send_bytes(307, b"", headers={"Location": value})
        elif kind == "say":
            self.send_bytes(200, self._completion(value, body))
        elif kind == "parts":  # content as a list of texts
            told = json.loads(self._completion(judge.reply(body["messages"]), body))
            message = told["choices"][0]["message"]
            text = message["content"]
            parts = [text[:5], text[5:]]
            message["content"] = [{"type": "text", "text": part} for part in parts]
            self.send_bytes(200, json.dumps(told).encode())
        elif kind == "as":  # another model than was asked for
            told = json.loads(self._completion(judge.reply(body["messages"]), body))
            self.send_bytes(200, json.dumps({**told, "model": value}).encode())
        elif kind == "long":
            self.send_bytes(200, self._completion('{"verdict": "A"}', body, finish="length"))
        else:
            self.send_bytes(200, self._completion(judge.reply(body["messages"]), body))

    def _completion(
        self, text: str | dict[str, float], body: dict[str, Any], finish: str = "stop"
    ) -> bytes:
        """A completion of `text`, or of one token by its probabilities where these were asked."""
        judge = self.judge
        logprobs = None
        if not isinstance(text, str):
            weights, text = text, max(text, key=lambda token: text[token])
            finish = "length" if body.get("max_tokens") == 1 else finish
            if body.get("logprobs"):
                top = [{"token": t, "logprob": math.log(p)} for t, p in weights.items()]
                top.sort(key=lambda one: -one["logprob"])
                logprobs = {"content": [{**top[0], "top_logprobs": top[: body["top_logprobs"]]}]}
        with judge._lock:
            prompt = judge.count("".join(message["content"] for message in body["messages"]))
            told = judge.reply_tokens or max(1, judge.count(text))
        usage = {"prompt_tokens": prompt, "completion_tokens": told}
        with judge._lock:
            self.judge.usage_total[0] += usage["prompt_tokens"]
            self.judge.usage_total[1] += usage["completion_tokens"]
        message = {"role": "assistant", "content": text}
        return json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": MODEL,
                "choices": [
                    {"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}
                ],
                "usage": usage,
            }
        ).encode()

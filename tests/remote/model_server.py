"""A server on this machine that speaks OpenAI's two protocols with a real small LLaMA behind it.

Completions echo their prompt with its log-probabilities, as vLLM does; `mode` makes them wrong or
leaves them out, as other servers do. `behaviour` answers a request otherwise, by its body.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from loopback import Handler, Server
from transformers import AutoModelForCausalLM, AutoTokenizer

SERVED = "tiny-0001"


class ModelServer:
    """`with ModelServer(folder) as server:` gives server.url; bodies seen are in server.requests.

    mode: "right", "no_echo" (an error), "shifted" (off by one), "unscored" (no logprobs at all).
    `kinds` are the protocols it has: "chat", "plain" or both.
    """

    def __init__(
        self,
        folder: Path,
        *,
        mode: str = "right",
        kinds: tuple[str, ...] = ("chat", "plain"),
        key: str | None = None,
        behaviour: Callable[[dict[str, Any]], tuple[int, dict[str, Any]] | None] | None = None,
    ) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.mode, self.kinds, self.key, self.behaviour = mode, kinds, key, behaviour
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"server_": self})
        self._http = Server(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @torch.inference_mode()
    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """[n, V]: row i is of the token after ids[i]."""
        return self.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        text = body["prompt"]
        ids = self.tokenizer(text)["input_ids"]
        pieces = [self.tokenizer.decode([token]) for token in ids]
        new: list[int] = []
        answer = ""
        for _ in range(body["max_tokens"]):
            token = int(self.logprobs(ids + new)[-1].argmax())
            if token == self.tokenizer.eos_token_id:
                break
            new.append(token)
            before, answer = answer, self.after(ids, new)
            pieces.append(answer[len(before) :])
            if any(stop in answer for stop in body.get("stop", ())):
                break
        for stop in body.get("stop", ()):
            answer = answer.split(stop)[0]
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length", "logprobs": None}
        if body.get("logprobs") and self.mode != "unscored":
            choice["logprobs"] = self.told(ids + new, pieces, len(ids), bool(body.get("echo")))
        choice["text"] = text + answer if body.get("echo") else answer
        return {"choices": [choice], **self.usage(len(ids), len(new))}

    def after(self, ids: list[int], new: list[int]) -> str:
        """What `new` adds to the text of `ids`."""
        whole = self.tokenizer.decode(ids + new, skip_special_tokens=True)
        return whole[len(self.tokenizer.decode(ids, skip_special_tokens=True)) :]

    def told(self, ids: list[int], pieces: list[str], border: int, echo: bool) -> dict[str, Any]:
        table = self.logprobs(ids)
        chosen = [None, *(float(table[i, ids[i + 1]]) for i in range(len(ids) - 1))]
        best = [None, *({"best": float(table[i].max())} for i in range(len(ids) - 1))]
        if self.mode == "shifted":  # each token of the prompt has its neighbour's
            chosen[1:border] = chosen[2:border] + chosen[1:2]
        first = 0 if echo else border
        return {
            "tokens": pieces[first:],
            "token_logprobs": chosen[first:],
            "top_logprobs": best[first:],
            "text_offset": [0] * len(pieces[first:]),
        }

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        said = body["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"{said.split()[-1]} yes\nand more"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return {"choices": [choice], **self.usage(len(said) // 4, 3)}

    def usage(self, prompt: int, new: int) -> dict[str, Any]:
        return {
            "id": "x",
            "model": SERVED,
            "usage": {"prompt_tokens": prompt, "completion_tokens": new},
        }


class _Handler(Handler):
    server_: ModelServer

    def do_POST(self) -> None:
        server = self.server_
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = "chat" if self.path.endswith("/chat/completions") else "plain"
        with server.lock:
            server.requests.append((kind, body))
        self.send_json(*self._answer(kind, body))

    def _answer(self, kind: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        server = self.server_
        if server.key and self.headers.get("authorization") != f"Bearer {server.key}":
            return 401, {"error": {"message": "Incorrect API key"}}
        if kind not in server.kinds:
            return 404, {"error": {"message": "no such path"}}
        special = server.behaviour(body) if server.behaviour else None
        if special is not None:
            return special
        if kind == "chat":
            return 200, server.chat(body)
        if body.get("echo") and server.mode == "no_echo":
            return 400, {"error": {"message": "only no echo is supported"}}
        with server.lock:
            return 200, server.completion(body)

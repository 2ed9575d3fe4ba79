"""A server on this machine with OpenAI's Batch API: files, batches, results, over a real socket.

What became of each batch is kept, so that a test can see what was sent, done and billed. It does a
batch after `looks` retrievals; tests can make it fail, expire, cut its files short or hang.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs, urlsplit

from judge_server import MODEL, by_content
from loopback import Handler, Server

Reply = Callable[[list[dict[str, str]]], str]


class BatchServer:
    """`with BatchServer() as server:` gives server.url.

    `outcome(custom_id, body)` says what becomes of a call: "ok", "say:TEXT", "500", "expired",
    "missing". `spoil(text)` changes a result file before it is handed out. `hold` lists moments
    ("files", "create", "retrieve", "content") at which it hangs until it is let go, and tells by
    `reached`. `after` True: it has done its part by then.
    """

    def __init__(
        self,
        *,
        looks: int = 0,
        reply: Reply = by_content,
        outcome: Callable[[str, dict[str, Any]], str] = lambda name, body: "ok",
        spoil: Callable[[int, bytes], bytes] = lambda number, content: content,
        has_batches: bool = True,
        refuse: str | None = None,
        status: str = "completed",
        page: int = 2,
        strangers: int = 5,
        troubles: dict[str, list[str]] | None = None,
        key: str | None = None,
    ) -> None:
        self.looks, self.reply, self.outcome, self.spoil = looks, reply, outcome, spoil
        self.has_batches, self.refuse, self.status = has_batches, refuse, status
        self.page, self.key = page, key
        self.troubles = troubles or {}
        self.files: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {
            f"batch_other{i}": {**_SHAPE, "id": f"batch_other{i}", "metadata": None, "looks": 0}
            for i in range(strangers)
        }
        self.billed: dict[str, int] = {}  # by custom id: how often the work was done
        self.tokens = [0, 0]
        self.created: list[str] = []
        self.asked: list[str] = []  # method and path of every request
        self.headers: list[dict[str, str]] = []
        self.downloads = 0
        self.chats: list[dict[str, Any]] = []  # direct calls
        self.hold: tuple[str, bool] | None = None
        self.reached, self.go = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._http = Server(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> BatchServer:
        thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self._http.shutdown()
        self._http.server_close()

    def stop_at(self, moment: str, *, after: bool) -> None:
        """The next request of this kind hangs until `let_go`, before or after its work."""
        self.reached.clear()
        self.go.clear()
        self.hold = (moment, after)

    def let_go(self) -> None:
        self.hold = None
        self.go.set()

    def wait_here(self, moment: str, *, after: bool) -> None:
        if self.hold == (moment, after):
            self.reached.set()
            self.go.wait(30)

    def trouble(self, moment: str) -> str | None:
        with self._lock:
            its = self.troubles.get(moment)
            return its.pop(0) if its else None

    # ---- what it does

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        with self._lock:
            file = f"file-{len(self.files)}"
            self.files[file], self.names[file] = content, name
        return {"id": file, "object": "file", "purpose": "batch", "filename": name}

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["endpoint"] == "/v1/chat/completions"
        assert body["completion_window"] == "24h"
        with self._lock:
            name = f"batch_{len(self.batches)}"
            self.created.append(name)
            lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
            batch = {
                **_SHAPE,
                "id": name,
                "input_file_id": body["input_file_id"],
                "metadata": body.get("metadata"),
                "created_at": int(time.time()),
                "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
                "looks": self.looks,
            }
            self.batches[name] = batch
        return batch

    def look(self, name: str) -> dict[str, Any]:
        with self._lock:
            batch = self.batches[name]
            if batch["status"] in ("validating", "in_progress"):
                if batch["looks"] > 0:
                    batch["looks"] -= 1
                    batch["status"] = "in_progress"
                else:
                    self._work(batch)
            return batch

    def _work(self, batch: dict[str, Any]) -> None:
        if self.refuse is not None:
            row = {"code": "x", "message": self.refuse, "line": None, "param": None}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [row]}}
            return
        done: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        for number, line in enumerate(reversed(lines)):  # in no order anybody may rely on
            name, body = line["custom_id"], line["body"]
            kind, _, value = self.outcome(name, body).partition(":")
            row = {"id": f"req_{number}", "custom_id": name, "response": None, "error": None}
            if kind == "expired":
                error = {"code": "batch_expired", "message": "not done in time"}
                errors.append({**row, "error": error})
            elif kind.isdigit():
                answer = {"error": {"message": value or "no luck"}}
                response = {"status_code": int(kind), "request_id": "r", "body": answer}
                errors.append({**row, "response": response})
            elif kind != "missing":
                text = value if kind == "say" else self.reply(body["messages"])
                self.billed[name] = self.billed.get(name, 0) + 1
                answer = self.completion(text, body)
                response = {"status_code": 200, "request_id": "r", "body": answer}
                done.append({**row, "response": response})
        batch["status"] = self.status
        batch["request_counts"] = {
            "total": len(lines),
            "completed": len(done),
            "failed": len(errors),
        }
        for field, rows in (("output_file_id", done), ("error_file_id", errors)):
            if rows:
                file = f"file-{len(self.files)}"
                self.files[file] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
                batch[field] = file

    def completion(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        usage = {"prompt_tokens": prompt, "completion_tokens": max(1, len(text) // 4)}
        self.tokens[0] += usage["prompt_tokens"]
        self.tokens[1] += usage["completion_tokens"]
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage}


_SHAPE: dict[str, Any] = {
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
    "status": "validating",
    "input_file_id": None,
    "output_file_id": None,
    "error_file_id": None,
    "errors": None,
    "created_at": 1,
    "request_counts": {"total": 0, "completed": 0, "failed": 0},
}


class _Handler(Handler):
    server_of: BatchServer

    def do_GET(self) -> None:
        self._guarded(b"")

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["content-length"]))
        self._guarded(sent)

    def _guarded(self, sent: bytes) -> None:
        server = self.server_of
        url = urlsplit(self.path)
        server.asked.append(f"{self.command} {url.path}")
        server.headers.append({k.lower(): v for k, v in self.headers.items()})
        try:
            if server.key and self.headers.get("authorization") != f"Bearer {server.key}":
                shown = self.headers.get("authorization")
                self.send_json(401, {"error": {"message": f"Incorrect API key: {shown}"}})
            else:
                self._route(url.path.removeprefix("/v1"), parse_qs(url.query), sent)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, path: str, query: dict[str, list[str]], sent: bytes) -> None:
        server = self.server_of
        if path == "/chat/completions":
            body = json.loads(sent)
            server.chats.append(body)
            self.send_json(200, server.completion(server.reply(body["messages"]), body))
            return
        if not server.has_batches:
            self.send_json(404, {"error": {"message": "no such path"}})
            return
        if self.command == "POST" and path == "/files":
            self._moment("files", lambda: server.upload(*_multipart(self.headers, sent)))
        elif self.command == "POST" and path == "/batches":
            self._moment("create", lambda: server.create(json.loads(sent)))
        elif path == "/batches":
            self._moment("list", lambda: self._page(query))
        elif match := re.fullmatch(r"/batches/(\w+)", path):
            if match[1] in server.batches:
                self._moment("retrieve", lambda: server.look(match[1]))
            else:
                self.send_json(404, {"error": {"message": "No batch found"}})
        elif (match := re.fullmatch(r"/files/([\w-]+)/content", path)) and match[1] in server.files:
            server.downloads += 1
            content = server.spoil(server.downloads, server.files[match[1]])
            server.wait_here("content", after=True)
            trouble = server.trouble("content")
            part = content[: len(content) // 2] if trouble else content
            self.send_bytes(200, part, length=len(content))
        else:
            self.send_json(404, {"error": {"message": f"no {path}"}})

    def _moment(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Does the work of a request; trouble comes before it, or "cut-after" behind it."""
        server = self.server_of
        trouble = server.trouble(name)
        server.wait_here(name, after=False)
        if trouble and trouble.isdigit():
            self.send_json(int(trouble), {"error": {"message": "no luck"}}, {"Retry-After": "0.01"})
            return
        if trouble == "cut":
            self.close_connection = True
            return
        answer = work()
        server.wait_here(name, after=True)
        if trouble == "cut-after":
            self.close_connection = True
        elif trouble == "garbage":
            self.send_bytes(200, b"<html>it works</html>")
        else:
            self.send_json(200, answer)

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        server = self.server_of
        rows = list(reversed(server.batches.values()))  # the newest first
        if after := query.get("after"):
            rows = rows[[row["id"] for row in rows].index(after[0]) + 1 :]
        size = min(server.page, int(query["limit"][0]))
        return {"object": "list", "data": rows[:size], "has_more": len(rows) > size}


def _multipart(headers: Any, sent: bytes) -> tuple[str, bytes]:
    """The file's name and content in an upload; its purpose must be a batch."""
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    parts = {
        part.get_param("name", header="content-disposition"): part
        for part in BytesParser(policy=HTTP).parsebytes(head + sent).iter_parts()
    }
    assert parts["purpose"].get_payload(decode=True) == b"batch"
    content = parts["file"].get_payload(decode=True)
    return parts["file"].get_filename(), content

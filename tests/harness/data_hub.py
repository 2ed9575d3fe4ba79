"""A hub of data sets on this machine: folders served by the protocol that downloads speak."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loopback import Handler, Server

COMMIT = "c" * 40


@dataclass
class DataHub:
    root: Path  # root/org/name/files
    endpoint: str = ""
    sent: list[str] = field(default_factory=list)  # files whose bytes went out
    broken: set[str] = field(default_factory=set)  # data sets that get 503


@contextmanager
def data_hub(root: Path) -> Iterator[DataHub]:
    hub = DataHub(root)
    server = Server(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _handler(hub: DataHub) -> type[Handler]:
    class Asked(Handler):
        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            if path.startswith("/api/datasets/"):
                owner, name, *more = path.removeprefix("/api/datasets/").split("/")
                return self._listing(f"{owner}/{name}", tree=more[:1] == ["tree"])
            if path.startswith("/datasets/"):
                owner, name, _, _, file = path.removeprefix("/datasets/").split("/", 4)
                return self._file(f"{owner}/{name}", file)
            return self.send_bytes(404, b"none")

        def _listing(self, name: str, tree: bool) -> None:
            folder = hub.root / name
            if name in hub.broken or not folder.is_dir():
                code = "RepoNotFound" if not folder.is_dir() else ""
                return self.send_bytes(503 if not code else 404, b"no", {"X-Error-Code": code})
            files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
            names = {str(p.relative_to(folder)): p for p in files}
            listing: object = [
                {"type": "file", "path": n, "size": p.stat().st_size, "oid": _digest(p)}
                for n, p in names.items()
            ]
            if not tree:
                listing = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
            return self.send_bytes(
                200, json.dumps(listing).encode(), {"Content-Type": "application/json"}
            )

        def _file(self, name: str, file: str) -> None:
            path = hub.root / name / file
            if name in hub.broken:
                return self.send_bytes(503, b"no")
            if not path.is_file():
                code = "EntryNotFound" if (hub.root / name).is_dir() else "RepoNotFound"
                return self.send_bytes(404, b"no", {"X-Error-Code": code, "X-Repo-Commit": COMMIT})
            if self.command == "GET":
                hub.sent.append(f"{name}/{file}")
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{_digest(path)}"'}
            return self.send_bytes(200, path.read_bytes(), headers)

    return Asked


def _digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()

"""A small hub on this machine: the part of the hub's protocol that a download speaks.

Repositories are folders; weights are served by a second server, as the hub's own are, under signed
addresses that must not see a token. Every request is kept with the Authorization it carried.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from loopback import Handler, Server

TOKEN = "hf_aVerySecretTokenOfTheTests"


@dataclass
class Repo:
    """`open_to`: None for everybody, else the token that opens it. `gated`: its list is public."""

    folder: Path
    open_to: str | None = None
    gated: bool = False

    @property
    def commit(self) -> str:
        names = sorted(path.name for path in self.folder.iterdir())
        return hashlib.sha1(repr((self.folder.name, names)).encode()).hexdigest()


@dataclass
class Seen:
    server: str
    method: str
    path: str
    authorization: str | None


@dataclass
class LoopbackHub:
    repos: dict[str, Repo] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    # What every request is answered with instead, or how long it is kept waiting.
    status: int | None = None
    silent: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    endpoint: str = ""
    storage: str = ""

    def answered(self, server: str) -> list[Seen]:
        """What concerned a repository: the hub's client also looks things up for itself."""
        own = "/api/agent-harnesses"
        return [r for r in self.seen if r.server == server and r.path != own]


@contextmanager
def loopback_hub() -> Iterator[LoopbackHub]:
    """Both servers, running."""
    hub = LoopbackHub()
    servers = {name: Server(("127.0.0.1", 0), _handler(hub, name)) for name in ("hub", "storage")}
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint, hub.storage = (
        f"http://127.0.0.1:{servers[name].server_address[1]}" for name in ("hub", "storage")
    )
    try:
        yield hub
    finally:
        hub.stop.set()
        for server in servers.values():
            server.shutdown()
            server.server_close()


def _handler(hub: LoopbackHub, server: str) -> type[Handler]:
    class Asked(Handler):
        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            authorization = self.headers.get("Authorization")
            hub.seen.append(Seen(server, self.command, path, authorization))
            if hub.silent:
                hub.stop.wait(60)
            if hub.status is not None:
                return self.send_bytes(hub.status, b"busy", {"X-Error-Message": "busy"})
            if server == "storage":
                owner, name, file = path.removeprefix("/").split("/")
                return self.send_bytes(
                    200, (hub.repos[f"{owner}/{name}"].folder / file).read_bytes()
                )
            if path.startswith("/api/models/"):
                return self._api(path.removeprefix("/api/models/").split("/"), authorization)
            return self._file(path.removeprefix("/").split("/"), authorization)

        def _repo(self, parts: list[str], authorization: str | None, file: bool) -> Repo | None:
            """The repository, or None once a refusal was sent: the hub's own rules."""
            repo = hub.repos.get("/".join(parts[:2]))
            allowed = repo is not None and (
                repo.open_to is None
                or authorization == f"Bearer {repo.open_to}"
                or (repo.gated and not file)
            )
            if repo is not None and allowed:
                return repo
            if repo is not None and repo.gated:
                status = 401 if authorization is None else 403
                self.send_bytes(status, b"gated", {"X-Error-Code": "GatedRepo"})
            else:
                # Strangers can't tell a private repository from one that doesn't exist.
                status = 401 if authorization is None else 404
                self.send_bytes(status, b"none", {"X-Error-Code": "RepoNotFound"})
            return None

        def _api(self, parts: list[str], authorization: str | None) -> None:
            repo = self._repo(parts, authorization, file=False)
            if repo is None:
                return None
            revision = parts[3] if len(parts) > 3 else "main"
            if revision not in ("main", repo.commit):
                return self.send_bytes(404, b"none", {"X-Error-Code": "RevisionNotFound"})
            files = sorted(repo.folder.iterdir())
            if len(parts) > 2 and parts[2] == "tree":
                listing: Any = [
                    {
                        "type": "file",
                        "path": path.name,
                        "size": path.stat().st_size,
                        "oid": _digest(path),
                    }
                    for path in files
                ]
            else:
                listing = {
                    "id": "/".join(parts[:2]),
                    "sha": repo.commit,
                    "private": False,
                    "gated": "manual" if repo.gated else False,
                    "tags": [],
                    "downloads": 0,
                    "siblings": [{"rfilename": path.name} for path in files],
                }
            return self.send_bytes(
                200, json.dumps(listing).encode(), {"Content-Type": "application/json"}
            )

        def _file(self, parts: list[str], authorization: str | None) -> None:
            repo = self._repo(parts, authorization, file=True)
            if repo is None:
                return None
            name, revision = parts[4], parts[3]
            headers = {"X-Repo-Commit": repo.commit}
            if revision not in ("main", repo.commit):
                return self.send_bytes(404, b"none", {"X-Error-Code": "RevisionNotFound"})
            path = repo.folder / name
            if not path.is_file():
                return self.send_bytes(404, b"none", {**headers, "X-Error-Code": "EntryNotFound"})
            if path.suffix not in (".safetensors", ".bin"):
                return self.send_bytes(
                    200, path.read_bytes(), {**headers, "ETag": f'"{_digest(path)}"'}
                )
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(path.read_bytes()).hexdigest()}"'
            headers["X-Linked-Size"] = str(path.stat().st_size)
            headers["Location"] = f"{hub.storage}/{parts[0]}/{parts[1]}/{name}"
            return self.send_bytes(302, b"", headers)

    return Asked


def _digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()

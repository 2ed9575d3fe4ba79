"""What the test servers share: HTTP/1.1 on this machine, as quick as a real server's."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """A thread a connection, with room for many that are made together."""

    request_queue_size = 256  # else the last of them wait seconds for their turn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the server's."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Connections that stay open, silent about what they serve."""

    protocol_version = "HTTP/1.1"
    # A head and a body in two packets wait for an acknowledgement between them, 40 ms a call, and
    # a client that adapts takes that for a server with a queue.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def send_json(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        self.send_bytes(status, json.dumps(body).encode(), headers)

    def send_bytes(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        length: int | None = None,
    ) -> None:
        """Sends JSON, unless `headers` say otherwise; cut when `length` is not the body's own."""
        self.send_response(status)
        said = len(body) if length is None else length
        own = {"Content-Type": "application/json", "Content-Length": str(said)}
        for name, value in {**own, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if said != len(body):
            self.close_connection = True

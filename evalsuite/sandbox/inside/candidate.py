"""The candidate's process: runs the model's program and answers what the tests ask of it.

From the first line of the program on, nothing in this process can be believed: it holds no verdict
and no test, and what it sends is checked by the other side.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from .peer import Peer

LOAD, MODULE = 0, 1  # the handles that the tests begin with


def serve(source: str, read: int, write: int) -> None:
    """Serves the program's functions over the wire until the tests close it."""
    # A real module, because dataclasses and typing look their class's module up. Not "__main__":
    # a program's own demonstration under `if __name__ == "__main__"` is not part of the answer.
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module

    def load() -> list[str]:
        exec(compile(source, "<candidate>", "exec"), vars(module))
        return [name for name in vars(module) if not name.startswith("__")]

    peer = Peer(read, write, _may)
    peer.export(load)
    peer.export(module)
    peer.serve_forever()


def _may(operation: str, target: Any, name: str) -> bool:
    return True

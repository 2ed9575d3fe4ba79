"""The tests' process: runs the tests against stand-ins for the candidate and finds the verdict.

It holds the tests and the prompt's own helpers, never a line of the candidate's program. Passing
means that the tests ran to their end here, over values that arrived as data.
"""

from __future__ import annotations

import ast
import builtins
import sys
import traceback
import types
from typing import Any

from .candidate import LOAD, MODULE
from .peer import Peer
from .remote import Remote

_MODULE = "tests"
_OWN = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
_DRAWN = ("iter", "next", "len", "item", "bool", "str", "repr")
_LONGEST_DETAIL = 500  # characters


def verdict(job: dict[str, Any], read: int, write: int) -> dict[str, str]:
    """Runs the tests; returns {"status", "detail", "candidate"}.

    status is "passed", "failed" or "infra_error"; candidate is "ended" when its process did.
    `job` has `tests`, `helpers` (sources) and `names` (what the tests must take from the
    candidate, even where Python or the helpers have a thing of that name).
    """
    module = types.ModuleType(_MODULE)
    sys.modules[_MODULE] = module
    space = vars(module)
    try:
        tests = compile(job["tests"], "<tests>", "exec")
        exec(compile(job["helpers"], "<helpers>", "exec"), space)
    except BaseException as error:
        return _told("infra_error", f"the tests or helpers themselves fail: {_line(error)}")
    peer = Peer(read, write, _may)
    try:
        offered = peer.ask("call", LOAD)
        if not isinstance(offered, list):
            return _told("failed", "the candidate's process does not keep to the protocol")
        for name in _wanted(job, set(space), {n for n in offered if type(n) is str}):
            space[name] = peer.ask("get", MODULE, name)
        exec(tests, space)
    except BaseException as error:
        if peer.unsendable is not None and peer.lost is None:
            return _told("infra_error", peer.unsendable)
        if peer.lost is None:
            return _told("failed", _line(error))
    if peer.lost is not None:  # even if the tests caught everything
        ended = "ended" if peer.ended else "talks"
        return _told("failed", f"the candidate's process {peer.lost}", ended)
    return _told("passed", "")


def _wanted(job: dict[str, Any], have: set[str], offered: set[str]) -> list[str]:
    """The candidate's names that the tests use. Python's own and the helpers' names stay theirs.

    So a program can't put its own `isinstance` or `abs` under the tests.
    """
    tree = ast.parse(job["tests"])
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    free = {n for n in used & offered if n not in have and not hasattr(builtins, n)}
    return sorted(free | (set(job["names"]) & offered))


def _may(operation: str, target: Any, name: str) -> bool:
    """What the candidate may do with objects that the tests gave it."""
    kind = type(target)
    own = kind.__module__ == _MODULE
    if operation == "export":
        return own or isinstance(target, (*_OWN, Remote)) or hasattr(kind, "__next__")
    if operation == "call":
        return callable(target)
    if operation in ("get", "set"):
        # Data and methods of the tests' own objects; an underscore leads to frames and globals.
        return own and not name.startswith("_")
    if operation == "is_instance":
        return isinstance(target, type)
    return operation in _DRAWN and (own or hasattr(kind, "__next__"))


def _told(status: str, detail: str, candidate: str = "talks") -> dict[str, str]:
    return {"status": status, "detail": detail[:_LONGEST_DETAIL], "candidate": candidate}


def _line(error: BaseException) -> str:
    """The error, and the line of the tests where it came up."""
    try:
        what = "".join(traceback.format_exception_only(type(error), error)).strip()
    except Exception:
        what = type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if f.filename == "<tests>"]
    return f"{what} (line {lines[-1]} of the tests)" if lines else what

"""The wire between the candidate's process and the tests' process: calls one way, callbacks back.

Both ends are the same Peer, and neither trusts the other: what arrives is decoded as data or is
garbage, and garbage ends the conversation for good. After a call the changes that it made to its
arguments come back with the result. Which operations a peer serves is its `may` function's choice.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from typing import Any

from .codec import Decoder, Element, Encoder, Garbage, Node, Unsendable, exception_class
from .operations import END, OPERATIONS
from .remote import Remote, remote_for

LONGEST_MESSAGE = 32 << 20  # bytes
_LENGTH = struct.Struct(">I")
_LONGEST_TEXT = 2000  # characters of an exception's message


class PeerGone(BaseException):
    """The other process ended, or sent what is no message. No `except Exception` catches it."""


class CandidateError(Exception):
    """An exception in the other process that has no safe counterpart here."""


class Peer:
    """One end of the wire. `may(operation, object, name)` says what the other side may do here."""

    def __init__(self, read: int, write: int, may: Callable[[str, Any, str], bool]) -> None:
        self._read, self._write, self._may = read, write, may
        self._exports: list[Any] = []  # also keeps every id() in _export_ids alive
        self._export_ids: dict[int, int] = {}
        self._imports: dict[int, Remote] = {}
        self.lost: str | None = None  # why the conversation is over, once it is
        self.ended = False  # whether that was the other process's end
        self.unsendable: str | None = None  # a value of this side that could not cross

    # ---- asking -------------------------------------------------------------------------------

    def ask(self, operation: str, handle: int | None, *values: Any, **named: Any) -> Any:
        """Lets the other side do `operation` on its object number `handle`; returns its result.

        Raises:
            PeerGone: the other side is gone or sent garbage, now or earlier.
            Exception: what the operation raised over there, as the nearest built-in class.
        """
        if self.lost is not None:
            raise PeerGone(self.lost)
        encoder = Encoder(self)
        message = {
            "do": operation,
            "on": handle,
            "v": [encoder.element(value) for value in values],
            "k": {name: encoder.element(value) for name, value in named.items()},
            "nodes": encoder.nodes,
        }
        self._send(message)
        while True:
            answer = self._receive()
            if answer is None:
                raise self._lose("ended")
            if "do" not in answer:
                break
            self._serve(answer)
        try:
            return self._result(answer, encoder)
        except Garbage as garbage:
            raise self._lose(f"sent what is no value: {garbage}") from None

    def _result(self, answer: dict[str, Any], asked: Encoder) -> Any:
        decoder = Decoder(answer.get("nodes"), self, asked.objects)
        changed = answer.get("changed", [])
        if not isinstance(changed, list):
            raise Garbage("malformed changes")
        for change in changed:
            if not isinstance(change, list) or len(change) != 2 or type(change[0]) is not int:
                raise Garbage("malformed changes")
            if not 0 <= change[0] < len(asked.objects):
                raise Garbage("a change to no argument")
            _replace(asked.objects[change[0]], decoder.value(change[1]))
        if "raise" in answer:
            raise _exception(answer["raise"], decoder)
        return END if answer.get("end") is True else decoder.value(answer.get("ok"))

    # ---- serving ------------------------------------------------------------------------------

    def serve_forever(self) -> None:
        """Answers until the other side closes the wire."""
        while (message := self._receive()) is not None:
            self._serve(message)

    def _serve(self, message: dict[str, Any]) -> None:
        try:
            decoder = Decoder(message.get("nodes"), self)
            given = decoder.objects
            values = [decoder.value(v) for v in _a_list(message.get("v"))]
            named = {str(k): decoder.value(v) for k, v in _a_dict(message.get("k")).items()}
            operation, handle = message["do"], message["on"]
            target = None if handle is None else self.receive(["k", handle])
        except (Garbage, KeyError) as garbage:
            raise self._lose(f"sent what is no request: {garbage}") from None
        before = [_snapshot(value) for value in given]
        answer: dict[str, Any] = {}
        encoder = Encoder(self, {id(v): ["p", i] for i, v in enumerate(given)})
        try:
            name = values[0] if values and type(values[0]) is str else ""
            if operation not in OPERATIONS or not self._may(operation, target, name):
                raise TypeError(f"the operation {operation!r} is not served for this object")
            result = OPERATIONS[operation](target, *values, **named)
            answer = {"end": True} if result is END else {"ok": encoder.element(result)}
        except PeerGone:
            raise
        except BaseException as error:
            answer = {"raise": _describe(error, encoder)}
        changed: list[tuple[int, Element]] = [
            (i, encoder.state(value))
            for i, value in enumerate(given)
            if before[i] is not None and not _same(before[i], _snapshot(value))
        ]
        self._send(answer | {"changed": changed, "nodes": encoder.nodes})

    # ---- handles (codec.Handles) --------------------------------------------------------------

    def send(self, value: Any) -> Node:
        if isinstance(value, Remote):
            return ["k", value._handle]
        if not self._may("export", value, ""):
            self.unsendable = f"a {type(value).__name__} can't cross to the candidate"
            raise Unsendable(self.unsendable)
        if id(value) not in self._export_ids:
            self.export(value)
        kind = "c" if callable(value) else "i" if hasattr(value, "__next__") else "o"
        return ["h", self._export_ids[id(value)], kind]

    def receive(self, node: Node) -> Any:
        if len(node) < 2 or type(node[1]) is not int or node[1] < 0:
            raise Garbage("a malformed handle")
        if node[0] == "k":
            if node[1] >= len(self._exports):
                raise Garbage("a handle that was never given")
            return self._exports[node[1]]
        if node[1] not in self._imports:
            self._imports[node[1]] = remote_for(node[2:])(self, node[1])
        return self._imports[node[1]]

    def export(self, value: Any) -> int:
        """Gives the other side a handle on an object before it asks; returns its number."""
        self._export_ids[id(value)] = len(self._exports)
        self._exports.append(value)
        return self._export_ids[id(value)]

    # ---- bytes --------------------------------------------------------------------------------

    def _send(self, message: dict[str, Any]) -> None:
        try:
            data = json.dumps(message, separators=(",", ":")).encode("ascii")
        except (ValueError, RecursionError) as error:
            raise Unsendable(f"a value can't cross: {error}") from None
        if len(data) > LONGEST_MESSAGE:
            raise ValueError(f"a value of {len(data)} bytes is too large to cross")
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        try:
            while rest:
                rest = rest[os.write(self._write, rest) :]
        except OSError:
            raise self._lose("ended") from None

    def _receive(self) -> dict[str, Any] | None:
        head = self._exactly(_LENGTH.size)
        if not head:
            return None
        (length,) = _LENGTH.unpack(head)
        if length > LONGEST_MESSAGE:
            raise self._lose("sent a message that is too long")
        try:
            message = json.loads(self._exactly(length))
        except (ValueError, RecursionError):
            raise self._lose("sent what is no message") from None
        if not isinstance(message, dict):
            raise self._lose("sent what is no message")
        return message

    def _exactly(self, count: int) -> bytes:
        """`count` bytes, or none at all when the wire was closed before the first of them."""
        parts: list[bytes] = []
        missing = count
        while missing:
            try:
                part = os.read(self._read, min(missing, 1 << 20))
            except OSError:
                part = b""
            if not part:
                if missing == count:
                    return b""
                raise self._lose("ended in the middle of a message")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _lose(self, why: str) -> PeerGone:
        self.ended = self.ended or (self.lost is None and why.startswith("ended"))
        self.lost = self.lost or why
        return PeerGone(self.lost)


def _a_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Garbage("malformed arguments")
    return value


def _a_dict(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise Garbage("malformed arguments")
    return value


def _describe(error: BaseException, encoder: Encoder) -> dict[str, Any]:
    """An exception as data: the built-in classes it is one of, the nearest first."""
    names = [c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins"]
    try:
        text = str(error)[:_LONGEST_TEXT]
        plain = all(type(a) in (str, int, float, bool) for a in error.args)
        arguments = [encoder.element(a) for a in (error.args if plain else (text,))]
    except Exception as second:  # a class of the candidate's may raise from anything
        text = f"(its message can't be had: {type(second).__name__})"
        arguments = [encoder.element(text)]
    return {"names": names, "class": type(error).__name__, "text": text, "args": arguments}


def _exception(described: Any, decoder: Decoder) -> Exception:
    if not isinstance(described, dict):
        raise Garbage("a malformed exception")
    name, text = str(described.get("class"))[:200], str(described.get("text"))[:_LONGEST_TEXT]
    for known in _a_list(described.get("names")):
        found = exception_class(known) if isinstance(known, str) else None
        # A StopIteration out of a call would quietly end a map() or a for over it.
        if found is None or issubclass(found, (StopIteration, StopAsyncIteration)):
            continue
        if found is Exception:
            break
        try:
            return found(*(decoder.value(a) for a in _a_list(described.get("args"))))
        except TypeError:  # UnicodeDecodeError and its like want arguments of their own
            continue
    return CandidateError(f"{name}: {text}")


def _snapshot(value: Any) -> tuple[Any, ...] | bytes | None:
    """What a mutable container holds now; None for everything else."""
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, dict):
        return tuple(part for pair in dict.items(value) for part in pair)
    if isinstance(value, (list, set)) or type(value).__name__ in ("deque", "array"):
        return tuple(value)
    return None


def _same(before: Any, now: Any) -> bool:
    if isinstance(before, bytes):
        return bool(before == now)
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))


def _replace(target: Any, contents: Any) -> None:
    """Gives a mutable argument the contents that the call left it with."""
    if type(contents) is not type(target) and not isinstance(target, type(contents)):
        raise Garbage("a change of an argument's type")
    if isinstance(target, dict):
        dict.clear(target)
        dict.update(target, contents)
    elif isinstance(target, set):
        set.clear(target)
        set.update(target, contents)
    elif isinstance(target, (list, bytearray)) or type(target).__name__ == "array":
        target[:] = contents
    elif type(target).__name__ == "deque":
        target.clear()
        target.extend(contents)
    else:
        raise Garbage("a change of what can't change")

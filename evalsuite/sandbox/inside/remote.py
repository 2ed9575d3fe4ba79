"""Stand-ins for objects that live in the other process: attributes and calls go there.

Two stand-ins are equal when they are one object, and equal to nothing else: an `==` written by the
candidate decides nothing here. `in` compares on this side, item by item, for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .operations import END

if TYPE_CHECKING:
    from .peer import Peer


class Remote:
    """An opaque object of the other process."""

    __slots__ = ("_handle", "_peer")

    def __init__(self, peer: Peer, handle: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_handle", handle)

    def __getattr__(self, name: str) -> Any:
        return self._peer.ask("get", self._handle, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self._handle, name, value)

    def __delattr__(self, name: str) -> None:
        self._peer.ask("delete", self._handle, name)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return self._peer.ask("bool", self._handle) is True

    def __len__(self) -> int:
        length = self._peer.ask("len", self._handle)
        if type(length) is not int:
            raise TypeError("len() of the candidate's object is no int")
        return length

    def __iter__(self) -> Iterator[Any]:
        iterator = self._peer.ask("iter", self._handle)
        # Data crosses whole, so what iterating gives is either that or a remote iterator.
        return iterator if isinstance(iterator, RemoteIterator) else iter(iterator)

    def __contains__(self, value: Any) -> bool:
        return any(item is value or item == value for item in self)

    def __getitem__(self, key: Any) -> Any:
        return self._peer.ask("item", self._handle, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._peer.ask("set_item", self._handle, key, value)

    def __delitem__(self, key: Any) -> None:
        self._peer.ask("delete_item", self._handle, key)

    def __str__(self) -> str:
        return str(self._peer.ask("str", self._handle))

    def __repr__(self) -> str:
        return str(self._peer.ask("repr", self._handle))

    # Copies of a stand-in, and pickles, would be stand-ins without a peer.
    def __copy__(self) -> Remote:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Remote:
        return self


class RemoteCallable(Remote):
    """A function, a method or a class of the other process."""

    __slots__ = ()

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._peer.ask("call", self._handle, *values, **named)

    def __instancecheck__(self, instance: Any) -> bool:
        return self._peer.ask("is_instance", self._handle, instance) is True


class RemoteIterator(Remote):
    """An iterator or generator of the other process, drawn from one value at a time."""

    __slots__ = ()

    def __iter__(self) -> RemoteIterator:
        return self

    def __next__(self) -> Any:
        value = self._peer.ask("next", self._handle)
        if value is END:
            raise StopIteration
        return value


def remote_for(kind: list[Any]) -> type[Remote]:
    """The stand-in's class for what the other side says its object can do."""
    if kind == ["c"]:
        return RemoteCallable
    return RemoteIterator if kind == ["i"] else Remote

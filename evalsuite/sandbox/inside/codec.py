"""Values as data: a typed encoding of plain Python values that never unpickles and never evaluates.

A value is an element: an int points at a container in a table of nodes, a string is a scalar whose
first character names its type. So shared and cyclic containers keep their shape, and depth costs no
recursion. Objects that are not plain data cross as handles; what a handle means is peer.py's.
"""

from __future__ import annotations

import array
import collections
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

Element = int | str
Node = list[Any]


class Garbage(Exception):  # noqa: N818
    """What arrived is not a value in this encoding."""


class Unsendable(TypeError):  # noqa: N818
    """A value that can't cross, and why."""


class Handles(Protocol):
    """Where opaque objects go to become handles, and handles become objects."""

    def send(self, value: Any) -> Node: ...

    def receive(self, node: Node) -> Any: ...


NAMED_TYPES: dict[str, type] = {
    t.__name__: t
    for t in (
        int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset, object,
        type, range, slice, type(None),
    )
}  # fmt: skip
_TYPE_NAMES = {t: name for name, t in NAMED_TYPES.items()}
CONSTANTS: dict[str, Any] = {
    "n": None, "t": True, "f": False, "e": Ellipsis, "x": NotImplemented,
}  # fmt: skip
MUTABLE: dict[str, type] = {
    "l": list,
    "s": set,
    "d": dict,
    "o": collections.OrderedDict,
    "C": collections.Counter,
}


def _flat(pairs: Any) -> Iterator[Any]:
    for key, value in pairs:
        yield key
        yield value


# How each container is read, by its own class's method whatever a subclass has made of it.
_ITEMS: dict[type, Callable[[Any], Iterator[Any]]] = {
    list: list.__iter__,
    tuple: tuple.__iter__,
    set: set.__iter__,
    frozenset: frozenset.__iter__,
    dict: lambda value: _flat(dict.items(value)),
    collections.OrderedDict: lambda value: _flat(collections.OrderedDict.items(value)),
    collections.Counter: lambda value: _flat(dict.items(value)),
}
_TAGS: dict[type, str] = {t: tag for tag, t in MUTABLE.items()} | {tuple: "u", frozenset: "z"}
_VIEW_TAGS: dict[type, str] = {type({}.keys()): "K", type({}.items()): "I", type({}.values()): "V"}
# Standard types that are rebuilt by calling them; a module is imported only to rebuild its values.
REBUILT: dict[str, tuple[str, str, Callable[[Any], tuple[Any, ...]]]] = {
    "Fraction": ("fractions", "Fraction", lambda v: (v.numerator, v.denominator)),
    "Decimal": ("decimal", "Decimal", lambda v: (str(v),)),
    "date": ("datetime", "date", lambda v: (v.year, v.month, v.day)),
    "timedelta": ("datetime", "timedelta", lambda v: (v.days, v.seconds, v.microseconds)),
    "datetime": (
        "datetime",
        "datetime",
        lambda v: (v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond),
    ),
    "time": ("datetime", "time", lambda v: (v.hour, v.minute, v.second, v.microsecond)),
}


class Encoder:
    """Turns values into elements over one table of nodes. `known` maps id(object) -> element."""

    def __init__(self, handles: Handles, known: dict[int, Node] | None = None) -> None:
        self.nodes: list[Node] = []
        self.objects: list[Any] = []  # objects[i] became nodes[i]; also keeps every id() alive
        self._handles = handles
        self._index: dict[int, int] = {}
        self._known = known or {}
        self._waiting: list[tuple[int, Any]] = []

    def element(self, value: Any) -> Element:
        """The element of a value; its nodes are added to the table."""
        result = self._element(value)
        while self._waiting:
            index, container = self._waiting.pop()
            self.nodes[index] = self._contents(container)
        return result

    def state(self, container: Any) -> Element:
        """The element of a container's present contents, even when the container is known."""
        index = self._new(container, remember=False)
        self.nodes[index] = self._contents(container)
        while self._waiting:
            waiting, inner = self._waiting.pop()
            self.nodes[waiting] = self._contents(inner)
        return index

    def _element(self, value: Any) -> Element:
        scalar = _scalar(value)
        if scalar is not None:
            return scalar
        if id(value) in self._index:
            return self._index[id(value)]
        index = self._new(value)
        if id(value) in self._known:
            self.nodes[index] = self._known[id(value)]
        elif _is_container(value):
            self._waiting.append((index, value))
        else:
            self.nodes[index] = self._handles.send(value)
        return index

    def _new(self, value: Any, remember: bool = True) -> int:
        index = len(self.nodes)
        self.nodes.append([])
        self.objects.append(value)
        if remember:
            self._index[id(value)] = index
        return index

    def _contents(self, value: Any) -> Node:
        kind = type(value)
        for special in (_special, _rebuilt):
            found = special(value)
            if found is not None:
                return [found[0], *map(self._element, found[1])]
        for base in kind.__mro__:  # a subclass crosses as the data that its base holds
            if base in _ITEMS:
                items = [self._element(item) for item in _ITEMS[base](value)]
                fields = getattr(kind, "_fields", ())
                if base is tuple and are_fields(fields, len(items)):
                    return ["N", kind.__name__, list(fields), *items]
                return [_TAGS[base], *items]
        raise Unsendable(f"{kind.__name__} is no plain data")


def _scalar(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return "s" + value
    if kind is bool or value is None or value is Ellipsis or value is NotImplemented:
        return next(tag for tag, constant in CONSTANTS.items() if constant is value)
    if kind is int:
        return f"i{value:x}"
    if kind is float:
        return "r" + value.hex()
    if kind is complex:
        return f"c{value.real.hex()},{value.imag.hex()}"
    if kind is bytes:
        return "b" + value.hex()
    if isinstance(value, type):
        return _type_name(value)
    # A subclass crosses as what its base holds, read by the base's own methods.
    if isinstance(value, int):
        return _scalar(int.__int__(value))
    if isinstance(value, float):
        return _scalar(float.__float__(value))
    if isinstance(value, str):
        return _scalar(str.__str__(value))
    if isinstance(value, bytes):
        return _scalar(bytes.__getitem__(value, slice(None)))
    return None


def _type_name(value: type) -> str | None:
    if value in _TYPE_NAMES:
        return "T" + _TYPE_NAMES[value]
    if issubclass(value, BaseException) and value.__module__ == "builtins":
        return "E" + value.__name__
    return None


def _is_container(value: Any) -> bool:
    if isinstance(value, (list, tuple, set, frozenset, dict, bytearray, range, slice)):
        return True
    if isinstance(value, (collections.deque, array.array)):
        return True
    return type(value) in _VIEW_TAGS or _rebuilt(value) is not None


def _special(value: Any) -> tuple[str, list[Any]] | None:
    """Containers whose node is a tag and a few values."""
    if isinstance(value, collections.defaultdict):
        factory = value.default_factory
        return "D", [factory if factory in _TYPE_NAMES else None, *_flat(dict.items(value))]
    if isinstance(value, collections.deque):
        return "q", [value.maxlen, *value]
    if isinstance(value, bytearray):
        return "B", [bytes(value)]
    if isinstance(value, array.array):
        return "a", [value.typecode, *value]
    if isinstance(value, range):
        return "R", [value.start, value.stop, value.step]
    if isinstance(value, slice):
        return "S", [value.start, value.stop, value.step]
    if type(value) in _VIEW_TAGS:
        tag = _VIEW_TAGS[type(value)]
        return tag, [*(_flat(value) if tag == "I" else value)]
    return None


def _rebuilt(value: Any) -> tuple[str, list[Any]] | None:
    kind = type(value)
    found = REBUILT.get(kind.__name__)
    if found is None:
        return None
    module, name, taken_apart = found
    if getattr(sys.modules.get(module), name, None) is not kind:
        return None
    if getattr(value, "tzinfo", None) is not None:
        return None
    return "M", [name, *taken_apart(value)]


def are_fields(fields: Any, length: int) -> bool:
    """Whether these can be the field names of a named tuple of that length."""
    return (
        isinstance(fields, tuple)
        and len(fields) == length
        and all(type(f) is str and f.isidentifier() and not f.startswith("_") for f in fields)
    )

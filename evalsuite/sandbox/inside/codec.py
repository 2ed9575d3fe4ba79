"""Values as data: a typed encoding of plain Python values that never unpickles and never evaluates.

A value is an element: an int points at a container in a table of nodes, a string is a scalar whose
first character names its type. So shared and cyclic containers keep their shape, and depth costs no
recursion. Objects that are not plain data cross as handles; what a handle means is peer.py's.
"""

from __future__ import annotations

import array
import collections
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Protocol

Element = int | str
Node = list[Any]


class Garbage(Exception):
    """What arrived is not a value in this encoding."""


class Unsendable(TypeError):
    """A value that can't cross, and why."""


class Handles(Protocol):
    """Where opaque objects go to become handles, and handles become objects."""

    def send(self, value: Any) -> Node: ...

    def receive(self, node: Node) -> Any: ...


_NAMED_TYPES: dict[str, type] = {
    t.__name__: t
    for t in (
        int, float, complex, bool, str, bytes, bytearray, list, tuple, dict, set, frozenset, object,
        type, range, slice, type(None),
    )
}  # fmt: skip
_TYPE_NAMES = {t: name for name, t in _NAMED_TYPES.items()}
_CONSTANTS: dict[str, Any] = {
    "n": None, "t": True, "f": False, "e": Ellipsis, "x": NotImplemented,
}  # fmt: skip
# Containers that hold a sequence of elements and are complete before anything can hold them.
_FROZEN: dict[str, Callable[[list[Any]], Any]] = {"u": tuple, "z": frozenset}
_MUTABLE = {"l": list, "s": set, "d": dict, "o": collections.OrderedDict, "C": collections.Counter}
_TAGS: dict[type, str] = {t: tag for tag, t in _MUTABLE.items()}
_VIEWS = {"K": {}.keys, "I": {}.items, "V": {}.values}
# Standard types that are rebuilt by calling them; a module is imported only to rebuild its values.
_REBUILT: dict[str, tuple[str, str, Callable[[Any], tuple[Any, ...]]]] = {
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
            if base in _TAGS:
                tag = _TAGS[base]
                items = _flat(dict.items(value)) if issubclass(base, dict) else base.__iter__(value)
                return [tag, *map(self._element, items)]
            if base is tuple:
                fields = getattr(kind, "_fields", None)
                items = list(map(self._element, tuple.__iter__(value)))
                if _are_fields(fields, len(items)):
                    return ["N", kind.__name__, list(fields), *items]
                return ["u", *items]
            if base is frozenset:
                return ["z", *map(self._element, frozenset.__iter__(value))]
        raise Unsendable(f"{kind.__name__} is no plain data")


def _scalar(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return "s" + value
    if kind is bool or value is None or value is Ellipsis or value is NotImplemented:
        return next(tag for tag, constant in _CONSTANTS.items() if constant is value)
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
    for base, plain in ((int, int.__int__), (float, float.__float__), (str, str.__str__)):
        if isinstance(value, base):
            return _scalar(plain(value))
    return "b" + bytes.__getitem__(value, slice(None)).hex() if isinstance(value, bytes) else None


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
    return isinstance(value, _VIEW_TYPES) or _rebuilt(value) is not None


_VIEW_TYPES = tuple(type(view()) for view in _VIEWS.values())


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
    for tag, view in zip(_VIEWS, _VIEW_TYPES, strict=True):
        if type(value) is view:
            return tag, list(_flat(value) if tag == "I" else value)
    return None


def _rebuilt(value: Any) -> tuple[str, list[Any]] | None:
    kind = type(value)
    found = _REBUILT.get(kind.__name__)
    if found is None:
        return None
    module, name, taken_apart = found
    if getattr(sys.modules.get(module), name, None) is not kind:
        return None
    if getattr(value, "tzinfo", None) is not None:
        return None
    return "M", [name, *taken_apart(value)]


def _flat(pairs: Any) -> Iterator[Any]:
    for key, value in pairs:
        yield key
        yield value


def _are_fields(fields: Any, length: int) -> bool:
    return (
        isinstance(fields, tuple)
        and len(fields) == length
        and all(type(f) is str and f.isidentifier() and not f.startswith("_") for f in fields)
    )


class Decoder:
    """Turns elements back into values. `given` are the objects that "p" nodes point at.

    Raises:
        Garbage: from every method, whatever is wrong with what arrived.
    """

    def __init__(self, nodes: Any, handles: Handles, given: list[Any] | None = None) -> None:
        if not isinstance(nodes, list) or not all(isinstance(n, list) and n for n in nodes):
            raise Garbage("the table of nodes is malformed")
        self._nodes: list[Node] = nodes
        self._handles = handles
        self._given = given or []
        self._built: dict[int, Any] = {}
        self._building: set[int] = set()
        self._to_fill: list[tuple[Any, str, list[Any]]] = []

    @property
    def objects(self) -> list[Any]:
        """The value of every node, in the table's order."""
        return [self.value(index) for index in range(len(self._nodes))]

    def value(self, element: Any) -> Any:
        """The value of an element."""
        try:
            result = self._value(element)
            while self._to_fill:
                container, tag, elements = self._to_fill.pop()
                _fill(container, tag, [self._value(e) for e in elements])
        except Garbage:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise Garbage(f"malformed value ({error})") from None
        except (RecursionError, OverflowError) as error:
            raise Garbage(f"a value nested too deeply or too large ({error})") from None
        return result

    def _value(self, element: Any) -> Any:
        if type(element) is str:
            return _from_scalar(element)
        if type(element) is not int or not 0 <= element < len(self._nodes):
            raise Garbage("an element points nowhere")
        if element in self._built:
            return self._built[element]
        if element in self._building:
            raise Garbage("an immutable value that contains itself")
        self._building.add(element)
        value = self._node(self._nodes[element])
        self._building.discard(element)
        self._built[element] = value
        return value

    def _node(self, node: Node) -> Any:
        tag, *rest = node
        if tag in _MUTABLE:
            return self._later(_MUTABLE[tag](), tag, rest)
        if tag == "p":
            if type(rest[0]) is not int or rest[0] < 0:
                raise Garbage("no such argument")
            return self._given[rest[0]]
        if tag in ("h", "k"):
            return self._handles.receive(node)
        if tag == "N":
            return _named_tuple(rest[0], rest[1], [self._value(e) for e in rest[2:]])
        if tag in _FROZEN:
            return _FROZEN[tag]([self._hashable(e) if tag == "z" else self._value(e) for e in rest])
        if tag == "D":
            return self._later(collections.defaultdict(self._value(rest[0])), "d", rest[1:])
        if tag == "q":
            return self._later(collections.deque(maxlen=self._value(rest[0])), "q", rest[1:])
        return _from_values(tag, [self._value(e) for e in rest])

    def _later(self, container: Any, tag: str, elements: list[Any]) -> Any:
        self._to_fill.append((container, tag, elements))
        return container

    def _hashable(self, element: Any) -> Any:
        value = self._value(element)
        hash(value)
        return value


def _from_scalar(text: str) -> Any:
    tag, rest = text[:1], text[1:]
    if tag == "s":
        return rest
    if tag == "i":
        return int(rest, 16)
    if tag == "r":
        return float.fromhex(rest)
    if tag == "c":
        real, imaginary = rest.split(",")
        return complex(float.fromhex(real), float.fromhex(imaginary))
    if tag == "b":
        return bytes.fromhex(rest)
    if tag == "T":
        return _NAMED_TYPES[rest]
    if tag == "E":
        return exception_class(rest) or Exception
    if rest:
        raise Garbage("an unknown scalar")
    return _CONSTANTS[tag]


def _from_values(tag: str, values: list[Any]) -> Any:
    if tag == "B":
        return bytearray(values[0])
    if tag == "a":
        return array.array(values[0], values[1:])
    if tag == "R":
        return range(*values)
    if tag == "S":
        return slice(*values)
    if tag == "K":
        return dict.fromkeys(values).keys()
    if tag == "V":
        return dict(enumerate(values)).values()
    if tag == "I":
        return _pairs(values).items()
    if tag == "M":
        module, name, _ = _REBUILT[values[0]]
        return getattr(__import__(module), name)(*values[1:])
    raise Garbage("a node of unknown kind")


def _pairs(values: list[Any]) -> dict[Any, Any]:
    return dict(zip(values[::2], values[1::2], strict=True))


def _fill(container: Any, tag: str, values: list[Any]) -> None:
    if tag in ("d", "o", "C"):
        dict.update(container, _pairs(values)) if tag != "o" else container.update(_pairs(values))
    elif tag == "s":
        container.update(values)
    else:
        container.extend(values)


def _named_tuple(name: Any, fields: Any, values: list[Any]) -> Any:
    if type(name) is not str or not isinstance(fields, list):
        raise Garbage("a malformed named tuple")
    if not _are_fields(tuple(fields), len(values)):
        raise Garbage("a malformed named tuple")
    # Not collections.namedtuple: that one evaluates the names it is given.
    members: dict[str, Any] = {
        field: property(lambda self, index=index: tuple.__getitem__(self, index))
        for index, field in enumerate(fields)
    }
    kind = types.new_class(name, (tuple,), {}, lambda space: space.update(members))
    kind._fields = tuple(fields)  # type: ignore[attr-defined]
    return kind(values)


def exception_class(name: str) -> type[Exception] | None:
    """The built-in exception class of that name, if there is one below Exception."""
    import builtins

    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None

"""The way back: elements and nodes of codec.py become values again, or are refused as garbage.

Whatever arrives is treated as an attack: nothing is looked up by name but in closed tables, nothing
is evaluated, every kind of malformed table ends in `Garbage`.
"""

from __future__ import annotations

import array
import builtins
import collections
import operator
import types
from collections.abc import Callable
from typing import Any

from .codec import CONSTANTS, MUTABLE, NAMED_TYPES, REBUILT, Garbage, Handles, Node, are_fields

# Containers that are complete before anything can hold them.
_FROZEN: dict[str, Callable[[list[Any]], Any]] = {"u": tuple, "z": frozenset}


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
        if tag in MUTABLE:
            return self._later(MUTABLE[tag](), tag, rest)
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
        return NAMED_TYPES[rest]
    if tag == "E":
        return exception_class(rest) or Exception
    if rest:
        raise Garbage("an unknown scalar")
    return CONSTANTS[tag]


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
        module, name, _ = REBUILT[values[0]]
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
    if not are_fields(tuple(fields), len(values)):
        raise Garbage("a malformed named tuple")
    # Not collections.namedtuple: that one evaluates the names it is given.
    members = {field: property(operator.itemgetter(i)) for i, field in enumerate(fields)}
    kind = types.new_class(name, (tuple,), {}, lambda space: space.update(members))
    kind._fields = tuple(fields)  # type: ignore[attr-defined]
    return kind(values)


def exception_class(name: str) -> type[Exception] | None:
    """The built-in exception class of that name, if there is one below Exception."""
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None

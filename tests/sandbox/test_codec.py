"""The encoding alone: hypothesis values come back, garbage of every kind is refused as garbage."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.sandbox.inside.codec import Encoder, Garbage, Node
from evalsuite.sandbox.inside.decoder import Decoder


class NoHandles:
    def send(self, value: Any) -> Node:
        raise AssertionError(f"{value!r} should have been data")

    def receive(self, node: Node) -> Any:
        raise Garbage("no handles here")


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.binary()
    | st.text(st.characters(exclude_categories=[]))
)  # fmt: skip
hashable = st.recursive(scalars, lambda x: st.tuples(x, x) | st.frozensets(x, max_size=3))
values = st.recursive(
    hashable,
    lambda x: (
        st.lists(x, max_size=4)
        | st.dictionaries(hashable, x, max_size=4)
        | st.tuples(x, x)
        | st.sets(hashable, max_size=3)
    ),
)


def crossed(value: Any) -> Any:
    encoder = Encoder(NoHandles())
    element = encoder.element(value)
    element, nodes = json.loads(json.dumps([element, encoder.nodes]))
    return Decoder(nodes, NoHandles()).value(element)


@settings(max_examples=100, deadline=None)
@given(values)
def test_any_value_comes_back(value: Any) -> None:
    back = crossed(value)
    assert type(back) is type(value)
    # repr tells -0.0 from 0.0 and NaN from nothing; sets may be listed in another order.
    if "{" not in repr(value) and "frozenset" not in repr(value):
        assert repr(back) == repr(value)
    elif "nan" not in repr(value):
        assert back == value


def test_depth_needs_no_recursion() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    back, depth = crossed(value), 0
    while back:
        back, depth = back[0], depth + 1
    assert depth == 100_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats() | st.text(max_size=4)
    | st.sampled_from([*"luzdDqNMaRShpi", "Tint"]),
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=2), x, max_size=2),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(json_values, json_values)
def test_garbage_is_a_value_or_garbage(nodes: Any, element: Any) -> None:
    with contextlib.suppress(Garbage):
        Decoder(nodes, NoHandles()).value(element)


@pytest.mark.parametrize(
    "nodes",
    [
        [["u", 0]],  # a tuple in itself
        [["u", 5]],
        [["s", 1], ["l"]],  # a list in a set
        [["d", "i1"]],  # a key without a value
        [["N", "x", ["__class__"], "i1"]],
        [["N", "x", ["a b"], "i1"]],
        [["M", "os", "s"]],
        [["p", -1]],
        [["p", 3]],
        [["nothing"]],
        ["l"],
        [[]],
        None,
    ],
)
def test_malformed_values_are_refused(nodes: Any) -> None:
    with pytest.raises(Garbage):
        Decoder(nodes, NoHandles()).value(0)


@pytest.mark.parametrize("text", ["", "q", "i", "izz", "n1", "c1", "b1", "Tos", "r--"])
def test_malformed_scalars_are_refused(text: str) -> None:
    with pytest.raises(Garbage):
        Decoder([], NoHandles()).value(text)

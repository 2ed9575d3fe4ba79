"""Asynchronous work is waited for with and without a running event loop."""

from __future__ import annotations

import asyncio

import pytest

from evalsuite.remote.waiting import wait_for


async def _answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def _fail() -> None:
    raise ValueError("as it is")


def test_without_a_loop() -> None:
    assert wait_for(_answer(7)) == 7


def test_inside_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> int:
        return wait_for(_answer(8))

    assert asyncio.run(cell()) == 8


def test_errors_come_through() -> None:
    async def cell() -> None:
        wait_for(_fail())

    with pytest.raises(ValueError, match="as it is"):
        asyncio.run(cell())

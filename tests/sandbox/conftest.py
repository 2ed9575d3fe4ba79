"""The two protections as fixtures; one that this machine can't give is skipped with its reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evalsuite.sandbox import MODES, Limits, Sandbox

# Enough for every right answer here, little for an endless loop.
SMALL = Limits(cpu_seconds=1, wall_seconds=4.0, memory_bytes=512 << 20)


@pytest.fixture(scope="session", params=MODES, ids=["bwrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(SMALL, only=request.param) as made:
        if not made.protection.contained:
            pytest.skip("; ".join(made.protection.reasons))
        yield made


@pytest.fixture(scope="session")
def any_sandbox() -> Iterator[Sandbox]:
    """The strongest protection of this machine, for tests of what doesn't depend on it."""
    with Sandbox(SMALL) as made:
        if not made.protection.contained:
            pytest.skip("; ".join(made.protection.reasons))
        yield made


@pytest.fixture(scope="session")
def bare() -> Iterator[Sandbox]:
    with Sandbox(SMALL, unsafe=True) as made:
        yield made

"""The two protections as fixtures; one that this machine can't give is skipped with its reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hostile import SMALL

from evalsuite.sandbox import MODES, Sandbox


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

"""Python's garbage collector kept out of the way while millions of small objects are made.

Knows nothing of what is made; reference counts free everything without cycles meanwhile.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting() -> Iterator[None]:
    """No collections while this is open: each would look at all that was made so far again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()

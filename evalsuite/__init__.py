"""evalsuite: evaluates LLaMA-family models exactly, once, and says how sure the numbers are.

`evaluate`, `compare` and `load_run` are imported when they are first used, so that the command
line answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalsuite.records import UserError

if TYPE_CHECKING:
    from evalsuite.api import compare, evaluate, load_run

__version__ = "0.1.0"
__all__ = ["UserError", "__version__", "compare", "evaluate", "load_run"]


def __getattr__(name: str) -> Any:
    if name in ("compare", "evaluate", "load_run"):
        from evalsuite import api

        return getattr(api, name)
    raise AttributeError(f"module 'evalsuite' has no attribute {name!r}")

"""What one process may ask of an object in the other, by name. Comparing is not among them.

Nothing here decides whether it is allowed: peer.py asks its `may` first.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

END = object()  # what `next` answers when there is no next


def _next(iterator: Any) -> Any:
    try:
        return next(iterator)
    except StopIteration:
        return END


OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda target, *values, **named: target(*values, **named),
    "get": getattr,
    "set": setattr,
    "delete": delattr,
    "iter": iter,
    "next": _next,
    "len": len,
    "item": operator.getitem,
    "set_item": operator.setitem,
    "delete_item": operator.delitem,
    "bool": bool,
    "str": str,
    "repr": repr,
    "is_instance": lambda kind, value: isinstance(value, kind),
    "global": lambda module, name: getattr(module, name),
    "names": lambda module: [name for name in vars(module) if not name.startswith("__")],
}

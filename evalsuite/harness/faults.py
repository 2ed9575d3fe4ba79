"""What goes wrong in a task's own definition, as one line for its author.

Knows where lm-eval was (lmeval.Place) and what definitions raise; it must not know data sources
or models.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jinja2
import yaml

from evalsuite.harness import lmeval
from evalsuite.records import UserError

# What a task's own definition can raise, whose author is the one to mend it.
_TASK_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    jinja2.TemplateError,
    yaml.YAMLError,
)


@contextmanager
def task_errors(name: str, place: lmeval.Place) -> Iterator[None]:
    """What goes wrong in a task's own definition, as one line that names the task."""
    vars(place).update(vars(lmeval.Place()), splits=place.splits)
    try:
        yield
    except UserError:
        raise
    except ModuleNotFoundError as error:
        missing = f"the Python package {error.name}" if error.name else _one_line(error)
        raise UserError(f"The task {name} needs what is not installed: {missing}") from error
    except lmeval.NoDocumentsError as error:
        raise UserError(
            f"The task {name} can't be prepared: its data holds no documents."
        ) from error
    except _TASK_ERRORS as error:
        raise UserError(f"The task {name} can't be prepared: {_reason(error, place)}") from error


def _reason(error: BaseException, place: lmeval.Place) -> str:
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if place.formatted is None and key in place.splits:
        return f"its data set has no split {key!r}."
    if isinstance(error, IndexError) and place.target_out_of_range():
        return (
            f"{place.describe(error)}doc_to_target is {place.target}, but the choices are "
            f"{len(place.choices)}, counted from 0."
        )
    return f"{place.describe(error)}{type(error).__name__}: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]

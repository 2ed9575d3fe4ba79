"""Jinja chat templates, rendered where they can do no harm.

Knows jinja2 and the standard library alone, because it is also the program of a second process:
a repository's template is a program by a stranger, and jinja's sandbox keeps it from the machine's
files but not from looping for ever or filling the memory. Limits of the operating system do that.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# A prompt of 131,072 tokens has about half a million characters.
MOST_CHARACTERS = 4_000_000
MOST_SECONDS = 5.0
# Python and jinja2 take about 100 MB of address space of this.
_MOST_BYTES = 1 << 30

# Templates that ask for the day get this one, so that a prompt is the same on every day. It is the
# day that Llama 3.1's template writes when nobody gives it another.
PINNED_DAY = datetime(2024, 7, 26)


class RenderError(Exception):
    """A template refused its messages, has a mistake, or broke a limit; the text says which."""


class _GenerationBlock(Extension):
    """`{% generation %}` marks answers for training; to render it is as if it weren't there."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    """A sandbox with what transformers gives to chat templates (and the day pinned)."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"],
    )
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = PINNED_DAY.strftime
    made.globals["date_string"] = PINNED_DAY.strftime("%d %b %Y")
    return made


def render(source: str, variables: Mapping[str, Any]) -> str:
    """Render a template within the limit of output, but not of time: for our own templates.

    Raises:
        RenderError: the template can't be read, refuses, or writes too much.
    """
    try:
        template = _compiled(source)
        parts, length = [], 0
        for part in template.generate(**variables):
            length += len(part)
            if length > MOST_CHARACTERS:
                raise RenderError(f"it writes more than {MOST_CHARACTERS:,} characters")
            parts.append(part)
        return "".join(parts)
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise RenderError(_one_line(error)) from error
    except (ArithmeticError, RecursionError, MemoryError) as error:
        raise RenderError(f"it fails with {type(error).__name__}") from error


@lru_cache(maxsize=32)
def _compiled(source: str) -> jinja2.Template:
    return _environment().from_string(source)


class Worker:
    """A second process that renders templates of strangers, within limits of time and memory.

    It starts at the first `render`, without this process's environment variables, ends with this
    object, and is started again after a template made it end.
    """

    def __init__(self, seconds: float = MOST_SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def render(self, source: str, variables: Mapping[str, Any]) -> str:
        """As `render`, and raises RenderError when the template takes too long or too much."""
        asked = json.dumps([self._seconds, source, dict(variables)])
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(asked + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = ""
            if not answer:
                self._process = None
                raise RenderError(self._how_it_ended(process))
        text, error = json.loads(answer)
        if error is not None:
            raise RenderError(error)
        return str(text)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            kept = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # what Python itself may need to start
            self._process = subprocess.Popen(
                [sys.executable, "-I", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in kept if name in os.environ},
                text=True,
                encoding="utf-8",
            )
            weakref.finalize(self, _end, self._process)
        return self._process

    def _how_it_ended(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        if code == -signal.SIGPROF:
            return f"it takes more than {self._seconds:g} seconds"
        return f"its process ended ({code}), probably for lack of memory"


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _serve() -> None:
    """The second process: one JSON line in, one out, until its input ends."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        seconds, source, variables = json.loads(line)
        # Seconds of computing, so that a busy machine is no reason to refuse. The signal is left to
        # end this process: nothing in a template can catch it, not even one long call in C.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = [render(source, variables), None]
        except RenderError as error:
            answer = [None, str(error)]
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja's own filter escapes for HTML, which a prompt is not.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__


if __name__ == "__main__":
    _serve()

"""How far a run is: a bar at a terminal, plain lines in a log, JSON lines for programs.

Knows stages and counts, of tokens unless a stage says otherwise, not what they are for. Everything
goes to standard error, so that standard output holds results only.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Protocol, TextIO

from evalsuite.terminal import harmless

# A log wants a line now and then, not one a batch.
_SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """What a stage of work reports to."""

    def note(self, text: str) -> None:
        """Something a person may want to know: a stage that begins, a warning."""

    def start(
        self, stage: str, total_tokens: int, done_tokens: int = 0, unit: str = "tokens"
    ) -> None:
        """A stage begins; `done_tokens` of its work were found in the store.

        Work that is not counted in tokens names its `unit` and counts in that.
        """

    def advance(self, tokens: int, computed: int | None = None) -> None:
        """`tokens` of the stage's total are dealt with; `computed` of them took work.

        Answers are planned at their longest; most are shorter.
        """

    def finish(self) -> None:
        """The stage is over."""


def make_progress(kind: str, stream: TextIO | None = None) -> Progress:
    """The Progress for a --progress value: auto, plain, json or none."""
    stream = stream or sys.stderr
    if kind == "auto":
        kind = "bar" if stream.isatty() else "plain"
    return {"bar": _Bar, "plain": _Plain, "json": _Json, "none": _Silent}[kind](stream)


def duration(seconds: float) -> str:
    """A time as a person says it: 7 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _Stage:
    """The arithmetic that all kinds share."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._reset("", 0, 0)
        self._unit = "tokens"

    def _reset(self, stage: str, total: int, done: int) -> None:
        self._stage, self._total, self._found, self._done = stage, total, done, done
        self._computed = 0
        self._began = time.monotonic()

    def _rate(self) -> float:
        """Tokens computed a second since this stage began."""
        return self._computed / max(time.monotonic() - self._began, 1e-9)

    def _seconds_left(self) -> float | None:
        dealt_with = self._done - self._found
        if dealt_with <= 0:
            return None
        return (self._total - self._done) * (time.monotonic() - self._began) / dealt_with

    def note(self, text: str) -> None:
        print(harmless(text), file=self._stream, flush=True)

    def start(
        self, stage: str, total_tokens: int, done_tokens: int = 0, unit: str = "tokens"
    ) -> None:
        self._reset(stage, total_tokens, done_tokens)
        self._unit = unit

    def advance(self, tokens: int, computed: int | None = None) -> None:
        self._done += tokens
        self._computed += tokens if computed is None else computed

    def finish(self) -> None:
        self._done = self._total


class _Silent(_Stage):
    def note(self, text: str) -> None:
        pass


class _Plain(_Stage):
    def start(
        self, stage: str, total_tokens: int, done_tokens: int = 0, unit: str = "tokens"
    ) -> None:
        super().start(stage, total_tokens, done_tokens, unit)
        self._next_line = self._began + _SECONDS_BETWEEN_LINES
        found = f", {done_tokens:,} of them in the store" if done_tokens else ""
        self.note(f"{stage}: {total_tokens:,} {unit}{found}")

    def advance(self, tokens: int, computed: int | None = None) -> None:
        super().advance(tokens, computed)
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            left = self._seconds_left()
            eta = f", {duration(left)} left" if left is not None else ""
            share = 100 * self._done / max(self._total, 1)
            self.note(f"{self._stage}: {share:.0f} %, {self._rate():,.0f} {self._unit}/s{eta}")

    def finish(self) -> None:
        if self._computed:
            seconds = duration(time.monotonic() - self._began)
            self.note(f"{self._stage}: done in {seconds}, {self._rate():,.0f} {self._unit}/s")
        super().finish()


class _Bar(_Stage):
    def start(
        self, stage: str, total_tokens: int, done_tokens: int = 0, unit: str = "tokens"
    ) -> None:
        from tqdm import tqdm

        super().start(stage, total_tokens, done_tokens, unit)
        self._bar = tqdm(
            total=total_tokens,
            initial=done_tokens,
            desc=stage,
            unit="tok" if unit == "tokens" else f" {unit}",
            unit_scale=True,
            file=self._stream,
            dynamic_ncols=True,
        )

    def advance(self, tokens: int, computed: int | None = None) -> None:
        super().advance(tokens, computed)
        self._bar.update(tokens)

    def finish(self) -> None:
        super().finish()
        self._bar.close()


class _Json(_Stage):
    def _event(self, event: str, **fields: object) -> None:
        print(json.dumps({"event": event, **fields}), file=self._stream, flush=True)

    def note(self, text: str) -> None:
        self._event("note", text=text)

    def start(
        self, stage: str, total_tokens: int, done_tokens: int = 0, unit: str = "tokens"
    ) -> None:
        super().start(stage, total_tokens, done_tokens, unit)
        self._event(
            "start",
            stage=stage,
            **{f"total_{unit}": total_tokens, f"done_{unit}": done_tokens},
        )

    def advance(self, tokens: int, computed: int | None = None) -> None:
        super().advance(tokens, computed)
        self._event(
            "advance",
            stage=self._stage,
            **{
                f"done_{self._unit}": self._done,
                f"total_{self._unit}": self._total,
                f"{self._unit}_per_second": round(self._rate(), 1),
            },
            seconds_left=self._seconds_left(),
        )

    def finish(self) -> None:
        self._event("finish", stage=self._stage, seconds=time.monotonic() - self._began)
        super().finish()

"""Runs code that a model wrote, contained, under tests that it can't reach.

Knows Python programs, their tests and this machine's ways to hold a process; knows no benchmark's
data, no model and no task.
"""

from evalsuite.sandbox.cases import humaneval_case, mbpp_case
from evalsuite.sandbox.records import Case, Limits, Outcome, Protection
from evalsuite.sandbox.sandbox import MODES, Sandbox, probe

__all__ = [
    "MODES",
    "Case",
    "Limits",
    "Outcome",
    "Protection",
    "Sandbox",
    "humaneval_case",
    "mbpp_case",
    "probe",
]

"""Cases out of rows of HumanEval and MBPP: which part is the candidate's and which the tests'.

Knows the two benchmarks' columns; reads no file.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from evalsuite.sandbox.records import Case


def humaneval_case(row: Mapping[str, Any], program: str) -> Case:
    """A HumanEval row (prompt, test, entry_point) and a whole program, the prompt included.

    The prompt is also the tests' helper: it is Python as it stands, and three rows' tests call
    functions that it brings along. The entry point is always the candidate's.
    """
    entry = row["entry_point"]
    tests = f"{row['test']}\ncheck({entry})\n"
    return Case(program, tests, helpers=row["prompt"], names=(entry,))


def mbpp_case(row: Mapping[str, Any], program: str) -> Case:
    """An MBPP row (code, test_setup_code, test_list) and a program.

    The set-up may build objects of the candidate's own classes, so it belongs to the tests.
    """
    tests = "\n".join([row["test_setup_code"], *row["test_list"]])
    called = {
        node.func.id
        for node in ast.walk(ast.parse(tests))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    # The reference's functions, so that a `sum` of the candidate's is called where one is meant.
    defined = {n.name for n in ast.parse(row["code"]).body if isinstance(n, ast.FunctionDef)}
    return Case(program, tests, names=tuple(sorted(called & defined)))

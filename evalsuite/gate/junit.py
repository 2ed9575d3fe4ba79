"""A comparison as JUnit XML: a test case for each model and task, for CI servers to show.

Knows the gate's records and XML. A regression is a failure, what could not be compared or failed an
error; what is not shown or could not have been seen is skipped, under --strict a failure.
"""

from __future__ import annotations

from xml.etree import ElementTree

from evalsuite.gate.escape import xml_text
from evalsuite.gate.records import HELD, REGRESSED, UNSEEN, GateResult, Line
from evalsuite.gate.words import headline, sentence


def to_junit(result: GateResult) -> str:
    """The text of junit.xml."""
    suite = ElementTree.Element("testsuite", name="evalsuite gate")
    for model in result.models:
        # What decides the model's verdict is what --strict is about.
        decisive = [line for line in model.lines if line.critical]
        for line in (*([model.mean] if model.mean else ()), *model.lines):
            binding = line.kind == "mean" or line in decisive
            _line(suite, model.name, line, strict=result.strict and binding)
    for difference in result.differences:
        _case(suite, "comparison", difference, "error", "can't be compared", difference)
    for failed in result.failed:
        _case(suite, "run", failed, "error", "failed", failed)
    for kind in ("failure", "error", "skipped"):
        total = len(suite.findall(f"testcase/{kind}"))
        suite.set({"failure": "failures", "error": "errors"}.get(kind, kind), str(total))
    suite.set("tests", str(len(suite.findall("testcase"))))
    out = ElementTree.SubElement(suite, "system-out")
    out.text = xml_text("\n".join([headline(result), *result.notes]))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(
        root, encoding="unicode"
    ) + "\n"  # fmt: skip


def _line(suite: ElementTree.Element, model: str, line: Line, *, strict: bool) -> None:
    said = sentence(line)
    if line.verdict == REGRESSED:
        _case(suite, model, line.name, "failure", "regressed", said)
    elif line.verdict == HELD:
        case = _case(suite, model, line.name)
        ElementTree.SubElement(case, "system-out").text = xml_text(said)
    elif strict:
        _case(suite, model, line.name, "failure", line.verdict, said)
    else:
        why: str = line.verdict
        if line.verdict == UNSEEN and line.visible_drop is not None:
            why = f"{why}: smallest visible drop {line.visible_drop:.1f} {line.unit}"
        _case(suite, model, line.name, "skipped", why, said)


def _case(
    suite: ElementTree.Element,
    group: str,
    name: str,
    outcome: str = "",
    message: str = "",
    text: str = "",
) -> ElementTree.Element:
    case = ElementTree.SubElement(suite, "testcase", classname=xml_text(group), name=xml_text(name))
    if outcome:
        part = ElementTree.SubElement(case, outcome, message=xml_text(message))
        part.text = xml_text(text)
    return case

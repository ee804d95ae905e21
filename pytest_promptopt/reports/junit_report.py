"""The report of a session as JUnit XML: what it measured of prompts, for servers that show tests.

pytest's own ``--junitxml`` has every test of the session; this has a suite for each prompt, with its gates
and cases, and as properties what only this plugin knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import CaseResult, Status
from pytest_promptopt.reports.baseline_wording import verdict_words
from pytest_promptopt.reports.check_report import gate_verdicts
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.reports.wording import junit_name

#: What no XML may hold, also not escaped.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def write_junit(path: Path, report: SessionReport) -> None:
    """Write the report, whole or not at all; missing folders are made. Raises `OSError`."""
    content = ElementTree.tostring(junit(report), encoding="utf-8", xml_declaration=True)
    replace_file(path, content + b"\n")


def junit(report: SessionReport) -> ElementTree.Element:
    """The report as ``<testsuites>``."""
    root = ElementTree.Element("testsuites", name="prompts")
    for check in report.checks:
        root.append(_suite(check, report))
    _count(root)
    return root


def _suite(check: PromptCheck, report: SessionReport) -> ElementTree.Element:
    suite = _element("testsuite", name=check.prompt)
    figures = {"promptopt.rate": check.rate, "promptopt.min_pass_rate": check.min_pass_rate}
    _add_properties(suite, {name: f"{value:.6g}" for name, value in figures.items() if value is not None})
    suite.extend(_decided(check, report))
    suite.extend(_case(result, check, report) for result in check.results)
    _count(suite)
    return suite


def _decided(check: PromptCheck, report: SessionReport) -> Iterator[ElementTree.Element]:
    """A test case for each gate, and for each comparison with a baseline, which fails if that does."""
    for gate in gate_verdicts(check):
        yield _verdict(check.prompt, gate.name, gate.line.text, held=gate.held)
    compared, rule = report.compared_of(check.prompt), report.compare_rule
    for found in compared:
        name = junit_name("compare", found.model if len(compared) > 1 else None)
        yield _verdict(check.prompt, name, verdict_words(found, rule), held=not rule.why_failed(found))


def _verdict(prompt: str, name: str, said: str, *, held: bool | None) -> ElementTree.Element:
    case = _element("testcase", classname=prompt, name=name)
    _add_text(case, "system-out" if held else "skipped" if held is None else "failure", said)
    return case


def _case(result: CaseResult, check: PromptCheck, report: SessionReport) -> ElementTree.Element:
    calls = [call for outcome in result.outcomes for call in outcome.calls if call.prompt == check.prompt]
    seconds = sum(call.latency for call in calls)
    case = _element("testcase", classname=check.prompt, name=result.case.id, time=f"{seconds:.3f}")
    feedback = report.feedbacks.get(check.prompt)
    failed = None if feedback is None else feedback.by_case.get(result.case.id)
    tolerated = report.tolerance(result)
    costs = [call.cost for call in calls if call.cost is not None]
    properties = {
        "promptopt.split": str(result.case.split),
        "promptopt.model": result.case.model_of(check.prompt),
        "promptopt.rate": "" if result.rate is None else f"{result.rate:.6g}",
        "promptopt.samples": str(len(result.outcomes)),
        "promptopt.unanswered": str(result.lost or ""),
        "promptopt.cost": f"{sum(costs):.6g}" if costs and len(costs) == len(calls) else "",
        "promptopt.category": "" if failed is None else failed.category,
        "promptopt.tolerated": tolerated,
    }
    _add_properties(case, {name: value for name, value in properties.items() if value})
    if result.status is Status.FAILED:
        _add_text(case, "system-out" if tolerated else "failure", _why(result))
    elif result.status in (Status.ERRORED, Status.SKIPPED):
        _add_text(case, "error" if result.status is Status.ERRORED else "skipped", _why(result))
    return case


def _why(result: CaseResult) -> str:
    outcome = result.failing or next(iter(result.outcomes), None)
    if outcome is None:
        return ""
    failure = outcome.failure
    return outcome.error or ("" if failure is None else failure.message) or ""


def _element(tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.Element(tag, {name: _legal(value) for name, value in attributes.items()})


def _add_properties(element: ElementTree.Element, values: dict[str, str]) -> None:
    if values:
        properties = ElementTree.SubElement(element, "properties")
        properties.extend(_element("property", name=name, value=value) for name, value in values.items())


def _add_text(element: ElementTree.Element, tag: str, text: str) -> None:
    """With the first line as the message, where such an element has one."""
    legal = _legal(text)
    attributes = {} if tag == "system-out" else {"message": legal.partition("\n")[0]}
    ElementTree.SubElement(element, tag, attributes).text = legal


def _count(element: ElementTree.Element) -> None:
    """Say how many test cases an element has, and how they ended."""
    element.set("tests", str(len(list(element.iter("testcase")))))
    for tag, attribute in _COUNTED.items():
        element.set(attribute, str(len(list(element.iter(tag)))))


def _legal(text: str) -> str:
    return _ILLEGAL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

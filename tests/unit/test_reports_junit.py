"""JUnit XML of prompts: gates and cases are test cases, what only the plugin knows is properties."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.gate import check_prompts
from pytest_promptopt.records import Split
from pytest_promptopt.reports.junit_report import junit, write_junit
from pytest_promptopt.settings import Mode
from tests.injections import INJECTIONS
from tests.reported_session import CHECKS, ROUTE, compared_report, comparison, session_report
from tests.unit.test_reports_html import evil_report

UNGATED = check_prompts({ROUTE: CHECKS[0].results}, {})


def parsed(element: ElementTree.Element) -> ElementTree.Element:
    """As whoever reads the file has it."""
    return ElementTree.fromstring(ElementTree.tostring(element, encoding="utf-8"))


def cases(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {case.get("name", ""): case for case in root.iter("testcase")}


def ends(root: ElementTree.Element) -> dict[str, list[str]]:
    """The name of each test case, and what stands in it besides properties."""
    return {name: [e.tag for e in case if e.tag != "properties"] for name, case in cases(root).items()}


def properties(element: ElementTree.Element) -> dict[str, str]:
    return {each.get("name", ""): each.get("value", "") for each in element.findall("./properties/property")}


def test_a_gate_is_a_test_case_and_tolerates_the_failures_of_its_prompt() -> None:
    root = parsed(junit(session_report(run=None)))
    assert ends(root) == {
        "gate": ["failure"],
        "test_route.py::passes": [],
        "test_route.py::fails": ["system-out"],
        "test_route.py::errors": ["error"],
    }
    assert [root.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "0"]
    assert properties(cases(root)["test_route.py::fails"]) == {
        "promptopt.split": "heldout",
        "promptopt.rate": "0.5",
        "promptopt.samples": "2",
        "promptopt.category": "format violation",
        "promptopt.tolerated": "held-out",
    }


def test_without_a_gate_a_failing_case_fails() -> None:
    report = session_report(checks=UNGATED, run=None)
    root = parsed(junit(replace(report, settings=replace(report.settings, mode=Mode.CHECK))))
    failure = cases(root)["test_route.py::fails"].find("failure")
    assert failure is not None
    assert failure.get("message") == "assert 'Billing.' == 'billing'"
    assert "gate" not in cases(root)


def test_a_case_of_several_prompts_is_tolerated_only_where_each_has_a_gate() -> None:
    failing = CHECKS[0].results[1]
    both = replace(failing, case=replace(failing.case, prompts=(ROUTE, "other.md"), split=Split.TRAIN))
    asked = {ROUTE: dict(CHECKS[0].thresholds)}
    report = session_report(checks=check_prompts({ROUTE: [both], "other.md": [both]}, asked), run=None)
    tags = [case[-1].tag for case in junit(report).iter("testcase") if "::" in str(case.get("name"))]
    assert tags == ["failure", "failure"], "the other prompt has none, so the case fails the session"
    asked["other.md"] = asked[ROUTE]
    report = session_report(checks=check_prompts({ROUTE: [both], "other.md": [both]}, asked), run=None)
    tags = [case[-1].tag for case in junit(report).iter("testcase") if "::" in str(case.get("name"))]
    assert tags == ["system-out", "system-out"]


def test_a_suite_has_the_figures_of_its_prompt() -> None:
    (suite,) = parsed(junit(session_report(run=None))).findall("testsuite")
    assert suite.get("name") == ROUTE
    assert properties(suite) == {"promptopt.rate": "0.75", "promptopt.min_pass_rate": "0.9"}


def test_a_comparison_is_a_test_case_too() -> None:
    assert ends(parsed(junit(compared_report())))["compare"] == ["failure"]
    told = parsed(junit(session_report(run=None, compared=(comparison(),))))
    assert cases(told)["compare"].findtext("system-out") == "no change", "it fails nothing"


def test_with_several_models_each_comparison_has_the_name_that_pytests_own_report_gives_it() -> None:
    both = [replace(comparison(), model=model) for model in ("house/a", "")]
    assert {"compare[house/a]", "compare[no model]"} <= ends(junit(compared_report(compared=both))).keys()


@pytest.mark.parametrize("text", INJECTIONS.values(), ids=INJECTIONS.keys())
def test_what_others_wrote_is_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "out" / "prompts.xml"
    write_junit(path, evil_report(text))
    assert len(list(ElementTree.parse(path).iter("testcase"))) == 2, "a case and a comparison"


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_makes_an_xml_that_can_be_read(text: str) -> None:
    assert len(list(parsed(junit(evil_report(text))).iter("testcase"))) == 2, "a case and a comparison"

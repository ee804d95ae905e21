"""What a job on GitHub Actions is told: a summary that fits, and annotations that are read as meant."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_promptopt.gate import check_prompts
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import Failure, Outcome, Status
from pytest_promptopt.reports import github_actions
from pytest_promptopt.reports.github_actions import annotation_lines, append_summary, summary_file
from pytest_promptopt.thresholds import GateName, Threshold
from tests.injections import INJECTIONS
from tests.reported_session import CHECKS, FAILED, FEEDBACKS, PASSED, ROUTE, case, session_report

EVERY = frozenset(result.case.id for result in CHECKS[0].results)
UNGATED = check_prompts({ROUTE: CHECKS[0].results}, {})


def told(checks: tuple[PromptCheck, ...], *, cases: bool = True, workspace: str = "/home/repo") -> list[str]:
    environment = {"GITHUB_WORKSPACE": workspace}
    root = Path("/home/repo/sub")
    failed = frozenset(result.case.id for check in checks for result in check.results)
    return list(annotation_lines(checks, FEEDBACKS, failed, root=root, environment=environment, cases=cases))


def read(line: str) -> tuple[dict[str, str], str]:
    """A command as GitHub reads it."""
    assert len(line.splitlines()) == 1
    match = re.fullmatch(r"::error (.*?)::(.*)", line)
    assert match is not None
    properties = dict(part.split("=", 1) for part in match[1].split(","))
    return {name: unescape(value) for name, value in properties.items()}, unescape(match[2])


def unescape(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, character)
    return text


def test_a_failing_case_is_annotated_at_its_assert() -> None:
    _, fails, errors = UNGATED[0].results
    checks = check_prompts({ROUTE: [fails, errors]}, {})
    first, second = map(read, told(checks))
    assert first == (
        {"file": "sub/test_route.py", "line": "9", "title": ROUTE},
        "test_route.py::fails: format violation\nexpected: billing\ngot: Billing.",
    )
    assert second == (
        {"title": ROUTE},
        "test_route.py::errors: no usable answer: timeout: no answer within 60 s",
    )


def test_a_place_outside_of_the_workspace_is_named_whole() -> None:
    checks = check_prompts({ROUTE: [UNGATED[0].results[1]]}, {})
    (line,) = told(checks, workspace="/elsewhere")
    assert read(line)[0]["file"] == "/home/repo/sub/test_route.py"


def test_a_gate_that_does_not_hold_is_one_annotation_where_it_was_asked_for() -> None:
    (line,) = annotation_lines(CHECKS, FEEDBACKS, frozenset(), root=Path("/r"), environment={}, cases=True)
    properties, text = read(line)
    assert properties == {"file": "/r/test_route.py", "line": "3", "title": ROUTE}
    assert text.startswith(f"gate: {ROUTE} 75.0% < 90.0% required: FAILED")


def test_gates_are_told_also_where_another_plugin_tells_the_cases() -> None:
    (line,) = told(CHECKS, cases=False)
    assert "gate: " in line


def test_no_prompt_has_more_than_ten_and_no_case_two() -> None:
    results = [case(f"fails[{number}]", FAILED) for number in range(30)]
    checks = check_prompts({ROUTE: results, "other.md": results}, {})
    assert len(told(checks)) == github_actions.MAX_ANNOTATIONS


@pytest.mark.parametrize("text", [*INJECTIONS.values(), "100 %0A,:\r\n::error::x", "\n::stop-commands::x"])
def test_nothing_that_a_model_wrote_is_a_command(text: str) -> None:
    failure = Failure("AssertionError", text, "a,b:c%.py:7")
    results = [
        replace(case(text, Outcome("", Status.FAILED, 0.0, failure=failure))),
        case("e", Outcome("", Status.ERRORED, 0.0, error=text)),
    ]
    asked = {text: {GateName.PASS_RATE: Threshold(1.0, f"{text}:3")}}
    lines = told(check_prompts({text: results}, asked))
    assert len(lines) == 3
    for line in lines:
        assert line.startswith("::error ")
        read(line)
    assert read(lines[1])[0]["file"] == "sub/a,b:c%.py"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "summary.md"
    path.write_text("# Before\n", encoding="utf-8")
    return path


def test_the_summary_is_added_to_what_is_there(page: Path) -> None:
    append_summary(page, session_report())
    append_summary(page, session_report(checks=check_prompts({ROUTE: [case("a", PASSED)]}, {})))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Before\n\n## ❌ Prompts: 1 of 1 improved, gate held by 0 of 1\n")
    assert "\n\n## Prompts: 1 of 1 improved\n" in text


def test_a_step_never_gets_more_than_it_may_have(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github_actions, "MAX_SUMMARY", 900)
    append_summary(page, session_report())
    assert len(page.read_bytes()) <= 900
    assert page.read_text(encoding="utf-8").endswith("left out: a page here has a largest size.**\n")
    page.write_bytes(b"x" * 900)
    with pytest.raises(OSError, match="a step may have 900"):
        append_summary(page, session_report())


def test_there_is_no_summary_outside_of_a_job() -> None:
    assert summary_file({}) is None
    assert summary_file({"GITHUB_STEP_SUMMARY": ""}) is None
    assert summary_file({"GITHUB_STEP_SUMMARY": "/x/y"}) == Path("/x/y")

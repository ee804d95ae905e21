"""The HTML report as a file: it needs nothing from outside, and what others wrote is data in it."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.baselines.comparison import compare_measured
from pytest_promptopt.baselines.measured import Measured
from pytest_promptopt.gate import check_prompts
from pytest_promptopt.journal import Journal
from pytest_promptopt.records import (
    Call,
    Case,
    CaseResult,
    Failure,
    Outcome,
    Split,
    StageGrade,
    Status,
    Usage,
)
from pytest_promptopt.reports import html_report
from pytest_promptopt.reports.html_cases import CHUNK, ROW
from pytest_promptopt.reports.html_compared import MAX_CHANGED, MAX_NAMED
from pytest_promptopt.reports.html_report import SCRIPTS, html
from pytest_promptopt.reports.html_run import side_by_side
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.settings import Settings
from tests.injections import INJECTIONS
from tests.reported_session import (
    CHECKS,
    FEEDBACKS,
    ROUTE,
    RUN,
    compared_report,
    comparison,
    comparison_of,
    session_report,
)

SOURCES = files("pytest_promptopt.reports") / "page"


class Parts(HTMLParser):
    """The elements of a page: name, attributes, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}, ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attrs, text = self.found[-1]
            self.found[-1] = (tag, attrs, text + data)

    def data(self, name: str) -> Any:
        return json.loads(next(text for _, attrs, text in self.found if attrs.get("id") == name))

    def texts(self, tag: str) -> list[str]:
        return [text for name, attrs, text in self.found if name == tag and "type" not in attrs]


def details_of(parts: Parts) -> list[dict[str, Any]]:
    chunks = [json.loads(gzip.decompress(b64decode(chunk))) for chunk in parts.data("details")]
    return [case for chunk in chunks for case in chunk]


def rows_of(parts: Parts) -> list[dict[str, Any]]:
    return [dict(zip(ROW, row, strict=True)) for row in parts.data("data")["rows"]]


def evil_report(text: str) -> SessionReport:
    """A session in which everything that others write is `text`."""
    call = Call(text, {text: text}, "k", text, text, Usage(1, 1), 0.1, 0.1, False)
    failure = Failure("AssertionError", text, "test_it.py:1", "==", text, text, check=text)
    outcome = Outcome(
        "",
        Status.FAILED,
        0.0,
        failure=failure,
        calls=(call,),
        error=text,
        parameters={text: text},
        check=text,
        grades=(StageGrade(text, 0.5, text),),
    )
    case = Case(f"test_it.py::{text}", (ROUTE,), Split.TRAIN, models=(text,))
    category = replace(
        FEEDBACKS[ROUTE].categories[0], name=text, observed=text, cause=text, confusion=((text, text, 1),)
    )
    failed = replace(FEEDBACKS[ROUTE].failed[0], case=case.id, category=text, difference=(text,), remark=text)
    candidate = replace(RUN.prompts[0].iterations[0].candidates[0], direction=text, reason=text, why=text)
    iteration = replace(RUN.prompts[0].iterations[0], candidates=(candidate,))
    prompt = replace(RUN.prompts[0], before=f"a {text}", after=text, why=text, iterations=(iteration,))
    return session_report(
        checks=check_prompts({ROUTE: [CaseResult(case, (outcome,))]}, {}),
        run=replace(RUN, prompts=(prompt,), errors=(text,), notes=(text,)),
        feedbacks={ROUTE: replace(FEEDBACKS[ROUTE], categories=(category,), failed=(failed,))},
        notes=(text,),
        compared=(comparison_of(text),),
        compared_with=text,
    )


def test_the_page_allows_its_own_script_and_style_only() -> None:
    parts = Parts(html(session_report()))
    (script,), (style,) = parts.texts("script"), parts.texts("style")
    policy = next(
        attrs["content"] or ""
        for _, attrs, _ in parts.found
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )

    def hashed(text: str) -> str:
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    assert policy == (
        f"default-src 'none'; script-src {hashed(script)}; style-src {hashed(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not [attrs for _, attrs, _ in parts.found if {"src", "href", "style"} & set(attrs)]


def test_the_scripts_make_elements_and_texts_and_nothing_else() -> None:
    names = {path.name for path in SOURCES.iterdir()}
    assert names == {*SCRIPTS, "report.css"}
    sources = "".join((SOURCES / name).read_text(encoding="utf-8") for name in names)
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|DOMParser|srcdoc|import\("
    )
    assert not re.search(forbidden, sources)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|XMLHttpRequest|@import|url\(", sources)
    assert "</" not in sources, "nothing in them ends the element that they stand in"


def test_the_rows_and_the_details_of_cases() -> None:
    parts = Parts(html(session_report()))
    passes, fails, errors = rows_of(parts)
    assert (passes["status"], fails["status"], errors["status"]) == ("passed", "failed", "errored")
    assert (fails["split"], fails["passed"], fails["samples"], fails["flaky"]) == ("held-out", 1, 2, 1)
    assert (fails["expected"], fails["got"]) == ("billing", "Billing.")
    data = parts.data("data")
    assert data["categories"][fails["category"]] == "format violation"
    assert (passes["category"], passes["model"]) == (-1, -1)
    first, second, third = details_of(parts)
    assert [run["status"] for run in second["runs"]] == ["failed", "passed"]
    assert second["runs"][0]["failure"]["expected"] == "billing"
    assert third["runs"][0]["error"] == "timeout: no answer within 60 s"
    assert first["runs"][0]["calls"] == []


def test_the_last_call_of_a_stage_has_its_grade() -> None:
    calls = [Call(name, {"q": name}, "k", name, "end", None, None, 0.1, False) for name in ("a", "b", "a")]
    grades = (StageGrade("a", 0.25, "too short"),)
    outcome = Outcome("", Status.FAILED, 0.0, calls=tuple(calls), grades=grades)
    case = Case("t", ("a", "b"), Split.TRAIN)
    report = session_report(checks=check_prompts({"a": [CaseResult(case, (outcome,))]}, {}))
    (details,) = details_of(Parts(html(report)))
    shown = details["runs"][0]["calls"]
    assert [call.get("grade") for call in shown] == [None, None, {"score": 0.25, "why": "too short"}]


def test_the_figures_are_those_of_the_other_reports() -> None:
    report = session_report()
    (prompt,) = Parts(html(report)).data("data")["prompts"]
    (check,) = CHECKS
    assert (prompt["rate"], prompt["cases"], prompt["failing"], prompt["errored"]) == (
        check.rate,
        check.cases,
        check.failing,
        check.errored,
    )
    assert (prompt["least"], prompt["held"]) == (0.9, False)
    assert [part["name"] for part in prompt["splits"]] == ["train", "held-out"]


def test_a_comparison_has_both_answers_and_the_places_of_its_cases() -> None:
    data = Parts(html(compared_report())).data("data")
    assert data["compared_with"] == "promptopt-baseline.json"
    ((found,),) = (prompt["compared"] for prompt in data["prompts"])
    assert (found["model"], found["words"]) == ("no model named", "FAILED: 1 case broken")
    assert (found["failed"], found["kind"], found["same"]) == (True, "failed", True)
    assert (found["change"], found["p"]) == ("+0.0 points", "p = 0.75, exact sign test")
    assert found["broken"] == {
        "count": 1,
        "cases": [
            {
                "id": "test_route.py::fails",
                "kind": "format violation",
                "before": "billing",
                "now": "Billing.",
                "same": False,
            }
        ],
    }
    assert [(each["words"], each["count"]) for each in found["named"]] == [
        ("Flaky: passed and failed under one text", 1),
        ("New", 1),
        ("Removed", 1),
        ("Not compared: its test has changed", 1),
        ("Not compared: no usable answer, before or now", 1),
        ("Not compared: left out of this run", 1),
    ]
    assert data["prompts"][0]["noise"][0].startswith("noise: prompts/route.md: 1 of 1 case flips")


def test_a_changed_case_leads_to_the_row_of_its_model() -> None:
    """A comparison names it without the model."""
    models = ("house/a", "house/b")
    results = [
        CaseResult(
            Case(f"test_it.py::a[{model}]", (ROUTE,), Split.TRAIN, models=(model,), pair="test_it.py::a"),
            (Outcome("", Status.FAILED, 0.0),),
        )
        for model in models
    ]
    before = [Measured(ROUTE, "test_it.py::a", model, (1.0,)) for model in models]
    compared = compare_measured(before, [replace(each, scores=(0.0,)) for each in before])
    report = compared_report(checks=check_prompts({ROUTE: results}, {}), feedbacks={}, compared=compared)
    (prompt,) = Parts(html(report)).data("data")["prompts"]
    assert [found["broken"]["cases"][0]["id"] for found in prompt["compared"]] == [
        "test_it.py::a[house/a]",
        "test_it.py::a[house/b]",
    ]


def test_of_many_changed_cases_the_first_are_in_the_page_and_all_are_counted() -> None:
    (pair,) = comparison().broken
    many = replace(comparison(), pairs=(pair,) * (MAX_CHANGED + 1), new=("test_route.py::new",) * 500)
    (prompt,) = Parts(html(compared_report(compared=(many,)))).data("data")["prompts"]
    (found,) = prompt["compared"]
    assert (found["broken"]["count"], len(found["broken"]["cases"])) == (MAX_CHANGED + 1, MAX_CHANGED)
    assert (found["named"][0]["count"], len(found["named"][0]["ids"])) == (500, MAX_NAMED)


def test_a_case_of_two_prompts_has_its_details_once() -> None:
    case = Case("test_it.py::a", ("a.md", "b.md"), Split.TRAIN)
    result = CaseResult(case, (Outcome("", Status.PASSED, 1.0),))
    checks = check_prompts({"a.md": [result], "b.md": [result]}, {})
    parts = Parts(html(session_report(checks=checks, feedbacks={})))
    assert [row["details"] for row in rows_of(parts)] == [0, 0]
    assert len(details_of(parts)) == 1


def test_many_cases_are_in_chunks_in_order() -> None:
    results = [
        CaseResult(
            Case(f"test_it.py::a[{n}]", (ROUTE,), Split.TRAIN, where=f"x:{n}"),
            (Outcome("", Status.PASSED, 1.0),),
        )
        for n in range(2 * CHUNK + 5)
    ]
    parts = Parts(html(session_report(checks=check_prompts({ROUTE: results}, {}), feedbacks={})))
    assert [each["where"] for each in details_of(parts)] == [f"x:{n}" for n in range(2 * CHUNK + 5)]


@pytest.mark.parametrize("name", INJECTIONS)
def test_what_others_wrote_is_data(name: str) -> None:
    text = INJECTIONS[name]
    parts = Parts(html(evil_report(text)))
    harmless = Parts(html(evil_report("x")))
    assert [tag for tag, _, _ in parts.found] == [tag for tag, _, _ in harmless.found]
    assert parts.texts("script") == harmless.texts("script")
    (case,) = details_of(parts)
    assert case["check"][:20] == text[:20]
    assert parts.data("data")["notes"] == [text]


def test_texts_are_cut_where_the_page_would_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = " ".join(map(str, range(20_000)))
    whole = html(evil_report(numbers))
    monkeypatch.setattr(html_report, "MAX_SIZE", len(whole) - 1)
    cut = html(evil_report(numbers))
    assert len(cut) < len(whole)
    assert Parts(cut).data("data")["limit"] < Parts(whole).data("data")["limit"]


def test_the_journal_tells_texts_and_parents_of_candidates(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "run", "run-1")
    journal.append("candidate", id="1.1", texts={ROUTE: "Route very well."})
    journal.append("iteration", number=1, prompts=[ROUTE], incumbent="1.1")
    journal.append("candidate", id="2.1", texts={ROUTE: "Route best of all."})
    # Another group of prompts is searched after it, and its candidates are called alike.
    journal.append("candidate", id="1.1", texts={"other.md": "Other."})
    journal.append("iteration", number=1, prompts=["other.md"], incumbent="0")
    journal.close()
    (first,) = RUN.prompts[0].iterations
    second = replace(first, number=2, candidates=(replace(first.candidates[0], id="2.1"),))
    run = replace(
        RUN, journal="run/journal.jsonl", prompts=(replace(RUN.prompts[0], iterations=(first, second)),)
    )
    settings = Settings(rootdir=tmp_path)
    one, two = Parts(html(session_report(run=run, settings=settings))).data("data")["run"]["prompts"][0][
        "iterations"
    ]
    assert (one["parent"], two["parent"]) == ("0", "1.1")
    assert one["candidates"][0]["diff"] == ["@@ -1 +1 @@", "-Route.", "+Route very well."]
    assert two["candidates"][0]["diff"] == ["@@ -1 +1 @@", "-Route very well.", "+Route best of all."]


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b"\xff\xfe"])
def test_without_a_journal_the_tree_follows_what_was_accepted(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "journal.jsonl").write_bytes(content)
    (first,) = RUN.prompts[0].iterations
    prompt = replace(RUN.prompts[0], iterations=(first, replace(first, number=2)))
    run = replace(RUN, journal="journal.jsonl", prompts=(prompt,))
    page = html(session_report(run=run, settings=Settings(rootdir=tmp_path)))
    iterations = Parts(page).data("data")["run"]["prompts"][0]["iterations"]
    assert [each["parent"] for each in iterations] == ["0", "1.1"]
    assert iterations[0]["candidates"][0]["diff"] == []


def test_two_texts_side_by_side() -> None:
    assert side_by_side("a\nb c d\ne", "a\nb x d\nf\ng") == [
        ["=", 1, ["a"], 1, ["a"]],
        ["~", 2, ["b ", "c", " d"], 2, ["b ", "x", " d"]],
        ["~", 3, ["", "e"], 3, ["", "f"]],
        ["+", None, None, 4, ["g"]],
    ]
    assert side_by_side("a\nb", "b") == [["-", 1, ["a"], None, None], ["=", 2, ["b"], 1, ["b"]]]

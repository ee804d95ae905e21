"""The report as Markdown: what a forge makes of it, and that nothing that others wrote does anything."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pytest_promptopt.gate import check_prompts
from pytest_promptopt.gate_rule import GateRule
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import Case, CaseResult, Failure, Outcome, Split, Status
from pytest_promptopt.reports.markdown_compared import MAX_BROKEN, MAX_BROKEN_IN_ALL
from pytest_promptopt.reports.markdown_report import MAX_BODY, markdown
from pytest_promptopt.reports.markdown_text import code, fenced, fit, table, words
from pytest_promptopt.reports.session_report import interval
from pytest_promptopt.results import Confirmation, ConfirmationVerdict
from pytest_promptopt.settings import GateMode
from pytest_promptopt.statistics import wilson_interval
from pytest_promptopt.thresholds import GateName, Threshold
from tests.injections import INJECTIONS
from tests.reported_session import (
    CHECKS,
    FEEDBACKS,
    PASSED,
    ROUTE,
    RUN,
    compared_report,
    comparison,
    comparison_of,
    session_report,
)

EVIL = (
    "<img src=x onerror=alert(1)> @octocat #12 GH-3 https://evil.example www.evil.example a@b.example "
    "**bold** [link](javascript:x) ![i](http://x.example/i.png) | cell ` code "
    "``` fence \x1b[31m \u202e \u200b"
)


def without_code(text: str) -> str:
    """`text` without blocks and spans of code, where a forge does nothing."""
    text = re.sub(r"^(`{3,})diff\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`|<code>[^<]*</code>", "", text)


def assert_harmless(text: str) -> None:
    shown = without_code(text).replace("&#8203;", " ")
    assert set(re.findall(r"<[^>]*>", shown)) <= {"<sub>", "</sub>"}
    assert not re.search(r"(?<!\\)[@#]\w", re.sub("^#+ ", "", shown, flags=re.MULTILINE))
    assert not re.search(r"://|\bwww\.|(?<!\\)\[|(?<!\\)!\\?\[|(?<!\\)`", shown)
    assert not re.search("[\x00-\x08\x0b-\x1f\u200b\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize(
    "text", [EVIL, *INJECTIONS.values(), "", " ", "`", "``", "a`b|c\\", "1. x", "- x", "=="]
)
def test_words_and_code_of_others_do_nothing(text: str) -> None:
    assert_harmless(f"* {words(text)}")
    assert_harmless(table([("a", "b"), (words(text), code(text))]))
    assert "\n" not in words(text) + code(text)
    assert words(f"    {text}") == words(text), "four spaces begin a block of code"
    assert not re.match(r"[-=+*]|\d+[.)]", words(text))


def test_a_cell_stays_one_cell() -> None:
    row = table([("a", "b"), (words("x | y \\| z"), code("p | q \\| r"))]).splitlines()[-1]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_code_shows_what_is_there() -> None:
    assert code("refund") == "`refund`"
    assert code("") == '`""`'
    assert code("a\nb") == "<code>a&#92;nb</code>"
    assert code("x" * 900, 10) == "`" + "x" * 9 + "…`"


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    block = fenced("diff", ["+```python", "+````", " \u202eevil\u200b"], 1_000)
    assert block.splitlines() == ["`````diff", "+```python", "+````", " \\u202eevil\\u200b", "`````"]


def test_a_long_diff_is_cut_and_the_rest_counted() -> None:
    block = fenced("diff", [f"+line {number}" for number in range(100)], 50)
    assert block.splitlines()[-1] == "94 more lines left out here."
    assert block.count("```") == 2


def test_a_page_that_is_too_long_ends_with_a_sentence() -> None:
    assert fit(["a", "b"], 100) == "a\n\nb\n"
    page = fit(["ä" * 20] * 10, 200)
    assert len(page.encode()) <= 200
    assert page.endswith("left out: a page here has a largest size.**\n")
    assert page.startswith("ä" * 20 + "\n\n")


def test_the_page_has_rates_categories_and_the_gate() -> None:
    page = markdown(session_report(run=None, notes=("judged by demo",)), MAX_BODY)
    assert page.startswith("## ❌ Prompts: gate held by 0 of 1\n")
    low, high = wilson_interval(0.75, 2)
    assert f"| `{ROUTE}` | **75.0%** | {low:.1%} to {high:.1%} | 1 of 2 | 1 | ❌ 90.0% required | – |" in page
    assert "| train | **100.0%** |" in page
    assert "| held-out | **50.0%** |" in page
    assert "**format violation**: 1 case" in page
    assert "* `test_route.py::fails`: expected `billing`, got `Billing.`" in page
    assert "| `billing` | `Billing.` | 1 |" in page
    assert "timeout: no answer within 60 s" in page
    assert "* judged by demo" in page


def test_after_an_optimization_it_has_the_evidence_and_the_diff() -> None:
    shown = Confirmation(ConfirmationVerdict.IMPROVED, 0.4, 0.0002, 30, 12, 0, 60, 0.1)
    run = replace(RUN, prompts=(replace(RUN.prompts[0], confirmation=shown),))
    page = markdown(session_report(run=run), MAX_BODY)
    assert page.startswith("## ❌ Prompts: 1 of 1 improved, gate held by 0 of 1\n")
    assert f"### `{ROUTE}`: improved" in page
    assert "| **held-out** | 60.0% | 82.5% | 67.6% to 91.4% | 40 (2 errored) | 9 | 0 |" in page
    assert (
        "* Confirmed: \\+40.0 points on fresh answers \\(p &lt; 0.001; 30 pairs: 12 better, 0 worse;" in page
    )
    assert "* Held-out: the gain carries over: 9 cases fixed, 0 broken" in page
    assert "```diff\n--- prompts/route.md\n+++ prompts/route.md (optimized)\n" in page
    assert "-Route.\n+Route well.\n```" in page
    assert "| optimizer | 1 | 50 | 20 | price unknown |" in page


def test_a_comparison_is_a_table_and_the_broken_cases_with_both_answers() -> None:
    page = markdown(compared_report(), MAX_BODY)
    assert page.startswith("## ❌ Prompts: gate held by 0 of 1, comparison failed by 1 of 1\n")
    head, rest = page.split("### Compared with `promptopt-baseline.json`\n\n")
    assert "noise: prompts/route.md: 1 of 1 case flips under the same text; no change of any size" in head
    lines = rest.splitlines()
    assert lines[0] == "| prompt | before | now | change | p | fixed | broken | verdict |"
    figures = "50.0% | **50.0%** | \\+0.0 points | 0\\.75 | 1 | 1"
    assert lines[2] == f"| `prompts/route.md` | {figures} | ❌ FAILED: 1 case broken |"
    name, *details = lines[4].split(" · ")
    assert name == "* `prompts/route.md`: 3 cases compared, the same text"
    assert details == [
        "not compared: 1 case \\(its test has changed\\), 1 case \\(no usable answer, before or now\\), "
        "1 case \\(left out of this run\\)",
        *("flaky: 1 case", "new: 1 case", "removed: 1 case"),
        "kinds of failure: format violation 0 -&gt; 1; wrong label 1 -&gt; 0",
        "cost \\$0.2000 -&gt; \\$0.4000, latency p50 0.50s -&gt; 0.70s",
    ]
    assert "| `test_route.py::fails` | format violation | `billing` | `Billing.` |" in lines
    assert "Compared with" not in markdown(session_report(), MAX_BODY)


def test_several_models_are_told_apart_and_a_told_comparison_has_no_mark() -> None:
    both = [replace(comparison(), model=model) for model in ("house/a", "")]
    page = markdown(session_report(run=None, compared=both, compared_with="git:main"), MAX_BODY)
    assert "| `prompts/route.md` with `house/a` | 50.0% |" in page
    assert "| `prompts/route.md` with `no model named` | 50.0% |" in page
    assert page.count("| no change |") == 2


def test_of_many_broken_cases_the_first_are_shown() -> None:
    (pair,) = comparison().broken
    many = replace(comparison(), pairs=(pair,) * 60)
    page = markdown(compared_report(compared=(many,) * 6), MAX_BODY)
    assert page.count("| `test_route.py::fails` |") == MAX_BROKEN_IN_ALL
    assert page.count(f"And {60 - MAX_BROKEN} more broken cases.") == MAX_BROKEN_IN_ALL // MAX_BROKEN
    assert "**format violation**" in page, "what comes after them has its room"


@pytest.mark.parametrize("name", [*INJECTIONS, "all at once"])
def test_nothing_that_a_model_wrote_does_anything(name: str) -> None:
    text = INJECTIONS.get(name, EVIL)
    failure = Failure("AssertionError", text, "test_it.py:1", "==", text, text)
    results = [
        CaseResult(Case(f"test_it.py::test[{text}]", (ROUTE,), Split.TRAIN), (outcome,))
        for outcome in (
            Outcome("", Status.FAILED, 0.0, failure=failure),
            Outcome("", Status.ERRORED, 0.0, error=text),
        )
    ]
    category = replace(
        FEEDBACKS[ROUTE].categories[0],
        name=text,
        observed=text,
        cause=text,
        fix=text,
        examples=(text,),
        confusion=((text, text, 1),),
    )
    failed = replace(FEEDBACKS[ROUTE].failed[0], case=text, expected=text, actual=text, remark=text)
    prompt = replace(RUN.prompts[0], after=f"```\n{text}\n```", why=text, note=text, fixed=(text,))
    report = session_report(
        checks=check_prompts({ROUTE: results}, {}),
        run=replace(RUN, prompts=(prompt,), errors=(text,), notes=(text,)),
        feedbacks={ROUTE: replace(FEEDBACKS[ROUTE], categories=(category,), failed=(failed,))},
        notes=(text,),
        compared=(comparison_of(text), comparison_of(text)),
        compared_with=text,
    )
    page = markdown(report, MAX_BODY)
    assert "| broken case |" in page
    assert_harmless(page)
    assert re.search(r"^(`{4,})diff\n.*?^\1$", page, re.DOTALL | re.MULTILINE), (
        "a longer fence than the text's"
    )


def test_it_fits_into_the_body_of_a_pull_request() -> None:
    results = [
        CaseResult(Case(f"test_it.py::test[{n}]", (f"prompts/{n}.md",), Split.TRAIN), (PASSED,))
        for n in range(2_000)
    ]
    checks = check_prompts({result.case.prompts[0]: [result] for result in results}, {})
    page = markdown(session_report(checks=checks, feedbacks={}), MAX_BODY)
    assert len(page.encode()) <= MAX_BODY
    assert "The rest of this report was left out" in page


def test_without_a_rate_there_is_no_interval() -> None:
    assert interval(PromptCheck.of(ROUTE, ())) is None


def test_an_undecided_gate_is_said_to_be_one() -> None:
    rule = GateRule(GateMode.INTERVAL)
    check = PromptCheck.of(
        ROUTE, CHECKS[0].results, {GateName.PASS_RATE: Threshold(0.7, "test_route.py:3")}, rule
    )
    page = markdown(session_report(checks=(check,), run=None), MAX_BODY)
    assert page.startswith("## ❌ Prompts: gate held by 0 of 1\n")
    assert "❌ 70.0% required (undecided)" in page
    assert "UNDECIDED" in page
    decision = check.decision
    assert decision is not None
    assert decision.interval is not None
    assert interval(check) == (decision.interval.low, decision.interval.high), "as the gate says it"

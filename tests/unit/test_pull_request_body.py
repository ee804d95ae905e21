"""The body of a pull request: a title, what was written and why, the diff, and the way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_promptopt.reports.markdown_report import MAX_BODY
from pytest_promptopt.reports.pull_request_body import pull_request_body, title, write_pull_request_body
from pytest_promptopt.results import PromptOutcome, PromptResult, SplitScore
from tests.injections import INJECTIONS
from tests.reported_session import ROUTE, RUN, session_report
from tests.unit.test_reports_markdown import EVIL, assert_harmless

WRITTEN = RUN.prompts[0]
LEFT = replace(
    WRITTEN, prompt="prompts/sum.md", after=WRITTEN.before, outcome=PromptOutcome.UNCHANGED, written=False
)


def body(*prompts: PromptResult) -> str:
    return pull_request_body(session_report(run=replace(RUN, prompts=prompts)), MAX_BODY)


def test_it_has_a_title_the_evidence_the_diff_the_spend_and_the_way_back() -> None:
    page = body(WRITTEN)
    assert page.startswith(f"Improve {ROUTE}: held-out 60.0% -> 82.5%\n\n")
    assert "`pytest --promptopt-restore=run-1` puts the files back" in page
    assert "| **held-out** | 60.0% | 82.5% | 67.6% to 91.4% | 40 (2 errored) | 9 | 0 |" in page
    assert "* Held-out: the gain carries over: 9 cases fixed, 0 broken" in page
    assert "-Route.\n+Route well.\n```" in page
    assert "| optimizer | 1 | 50 | 20 | price unknown |" in page
    assert "❌ 90.0% required" in page, "the gate of the session"


def test_the_failures_of_the_session_are_left_to_the_report() -> None:
    assert "format violation" not in body(WRITTEN)
    assert "no answer within 60 s" not in body(WRITTEN)


def test_a_prompt_that_was_not_written_is_named_without_a_diff() -> None:
    unshown = replace(WRITTEN, prompt="prompts/other.md", after="Lost text.", written=False, unwritten="x")
    page = body(WRITTEN, LEFT, unshown)
    assert "* `prompts/sum.md`: unchanged\n" in page
    assert "* `prompts/other.md`: improved, not written" in page
    assert "Lost text." not in page


@pytest.mark.parametrize("prompts", [(), (LEFT,), (replace(WRITTEN, written=False),)])
def test_it_is_empty_where_nothing_was_written(prompts: tuple[PromptResult, ...], tmp_path: Path) -> None:
    path = tmp_path / "new" / "pr.md"
    assert not write_pull_request_body(path, session_report(run=replace(RUN, prompts=prompts)))
    assert path.read_bytes() == b""
    assert write_pull_request_body(path, session_report())
    assert path.stat().st_size
    assert not write_pull_request_body(path, session_report(run=None))
    assert path.read_bytes() == b"", "nothing of an earlier run is left"


def test_the_title_says_what_is_known() -> None:
    assert title([replace(WRITTEN, scores=())]) == f"Improve {ROUTE}"
    lost = SplitScore(WRITTEN.scores[0].split, 40, None, None)
    assert title([replace(WRITTEN, scores=(lost,))]) == f"Improve {ROUTE}"
    assert title([WRITTEN, LEFT]) == "Rewrite 2 prompts"
    assert title([WRITTEN, WRITTEN]) == "Improve 2 prompts"
    assert title([replace(WRITTEN, prompt="a_b/c.py::D.e_f")]).startswith("Improve a_b/c.py::D.e_f: held-out")


@pytest.mark.parametrize(
    "name", [EVIL, "a`b.md", "x" * 200, "@me.md", "a\nb.md", "<b>.md", "https://a.example"]
)
def test_a_name_that_a_forge_would_not_show_as_it_is_is_not_in_the_title(name: str) -> None:
    page = body(replace(WRITTEN, prompt=name))
    assert page.startswith("Improve a prompt: held-out 60.0% -> 82.5%\n\n")


@pytest.mark.parametrize("text", [*INJECTIONS.values(), EVIL])
def test_nothing_that_others_wrote_does_anything(text: str) -> None:
    page = body(
        replace(WRITTEN, prompt=text, after=f"```\n{text}\n```", why=text, note=text, fixed=(text,)),
        replace(LEFT, prompt=text, worse_with=text),
    )
    assert_harmless(page)


def test_a_long_body_keeps_the_title_and_the_way_back() -> None:
    page = pull_request_body(session_report(), 900)
    assert len(page.encode()) <= 900
    assert page.startswith("Improve ")
    assert "--promptopt-restore=run-1" in page

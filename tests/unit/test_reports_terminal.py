"""A developer reads why the prompt fails and what ``--optimize`` did about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.failures import Category, FailedCase, Feedback
from pytest_promptopt.gate import Threshold, check
from pytest_promptopt.records import (
    CandidateResult,
    Case,
    CaseResult,
    Iteration,
    Outcome,
    PromptCheck,
    PromptResult,
    Role,
    RunResult,
    Spend,
    Split,
    SplitScore,
    Status,
)
from pytest_promptopt.reports.terminal import (
    BAD,
    GOOD,
    MAX_DIFF_LINES,
    Line,
    Writer,
    failure_section,
    gate_lines,
    run_summary,
    show,
)

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    def pytest_s_reporter_is_a_writer(reporter: TerminalReporter) -> Writer:
        return reporter


ROUTE = "prompts/route.md"


class Screen:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write_line(self, line: str, **markup: bool) -> None:
        self.lines.append(line)

    def section(self, title: str, sep: str = "=", **markup: bool) -> None:
        self.lines.append(f"{sep} {title} {sep}")


def text(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


def markup_of(lines: list[Line], part: str) -> dict[str, bool]:
    (found,) = [line for line in lines if part in line.text]
    return dict(found.markup)


def result(number: int, status: Status, *, error: str | None = None) -> CaseResult:
    case = Case(f"test_route.py::test_queue[{number}]", (ROUTE,), Split.TRAIN)
    return CaseResult(case, (Outcome(case.id, status, float(status is Status.PASSED), error=error),))


def measured(passed: int, failed: int = 0, errored: int = 0, *, least: float | None = None) -> PromptCheck:
    statuses = [Status.PASSED] * passed + [Status.FAILED] * failed
    results = [result(number, status) for number, status in enumerate(statuses)]
    results += [
        result(len(results) + number, Status.ERRORED, error="timeout: no answer within 60 s")
        for number in range(errored)
    ]
    asked = {} if least is None else {ROUTE: Threshold(least, "min_pass_rate at tests/test_x.py:12")}
    (only,) = check({ROUTE: results}, asked)
    return only


def category(name: str = "format violation", count: int = 14, **changed: object) -> Category:
    ids = tuple(f"test_route.py::test_queue[{n}]" for n in range(37, 37 + count))
    plain = Category(
        name, count, "prose around the label", ids[:3], "no format is stated", "state the format", ids
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


def feedback(*categories: Category) -> Feedback:
    failed = tuple(
        FailedCase(c, kind.name, {}, "billing", "The queue is\nbilling.", (), "assert ...")
        for kind in categories
        for c in kind.cases
    )
    return Feedback(60, sum(c.count for c in categories), 0, categories, failed)


class TestFailureSection:
    def test_the_heading_says_how_many_cases_pass(self) -> None:
        lines = failure_section([measured(37, 23)], {ROUTE: feedback(category())})
        assert lines[0].text == "prompts/route.md: 37/60 cases pass (61.7%)"

    def test_a_rate_with_partial_credit_is_called_so(self) -> None:
        half = Outcome("test_route.py::test_queue[0]", Status.FAILED, 0.5)
        (only,) = check({ROUTE: [CaseResult(Case(half.case, (ROUTE,), Split.TRAIN), (half,))]}, {})
        lines = failure_section([only], {})
        assert lines[0].text == "prompts/route.md: 0/1 cases pass (pass rate with partial credit: 50.0%)"

    def test_each_kind_of_failure_is_counted_explained_and_shown(self) -> None:
        lines = failure_section([measured(37, 14)], {ROUTE: feedback(category())})
        assert text(lines[2:9]).splitlines() == [
            "  format violation: 14 cases",
            "    observed:      prose around the label",
            "    likely cause:  no format is stated",
            "    suggested fix: state the format",
            "    examples:      test_route.py::test_queue[37]",
            r'                     expected "billing", got "The queue is\nbilling."',
            "                   test_route.py::test_queue[38]",
        ]

    def test_confused_labels_are_a_table_with_the_top_rows(self) -> None:
        pairs: tuple[tuple[str, str, int], ...] = (
            ("account", "billing", 6),
            ("technical", "billing ", 3),
            ("billing", "", 2),
        )
        pairs += tuple((f"label {n}", "other", 1) for n in range(5))
        lines = failure_section([measured(37, 14)], {ROUTE: feedback(category(confusion=pairs))})
        assert text(lines[4:12]).splitlines() == [
            "      expected   actual      cases",
            "      account    billing         6",
            '      technical  "billing "      3',
            '      billing    ""              2',
            "      label 0    other           1",
            "      label 1    other           1",
            "      label 2    other           1",
            "      ... and 2 more pairs (2 cases)",
        ]

    def test_rare_kinds_are_summed_up(self) -> None:
        kinds = [category(f"kind {n}", 10 - n) for n in range(8)]
        shown = text(failure_section([measured(37, 52)], {ROUTE: feedback(*kinds)}))
        assert "kind 5: 5 cases" in shown
        assert "kind 6" not in shown
        assert "and 2 more kinds of failure (7 cases)" in shown

    def test_a_failing_prompt_without_feedback_still_names_cases(self) -> None:
        lines = failure_section([measured(1, 5)], {})
        assert [line.text for line in lines[1:5]] == [
            "    test_route.py::test_queue[1]",
            "    test_route.py::test_queue[2]",
            "    test_route.py::test_queue[3]",
            "    ... and 2 more",
        ]

    def test_errored_cases_are_named_and_are_no_failures(self) -> None:
        lines = failure_section([measured(3, 0, 4)], {})
        assert text(lines).splitlines() == [
            "prompts/route.md: 3/3 cases pass (100.0%), 4 further cases errored",
            "",
            "  4 cases errored: no usable answer, so in no pass rate",
            "    test_route.py::test_queue[3]: timeout: no answer within 60 s",
            "    test_route.py::test_queue[4]: timeout: no answer within 60 s",
            "    test_route.py::test_queue[5]: timeout: no answer within 60 s",
            "    ... and 1 more",
        ]
        assert "--optimize" not in text(lines), "nothing that a rewrite could mend"

    def test_without_any_answer_there_is_no_rate(self) -> None:
        lines = failure_section([measured(0, 0, 2)], {})
        assert lines[0].text == "prompts/route.md: no case has a usable answer"

    def test_the_way_out_is_said_once(self) -> None:
        shown = text(failure_section([measured(1, 1), measured(2, 2)], {}))
        assert shown.count("pytest --optimize") == 1

    def test_nothing_is_printed_when_all_cases_pass(self) -> None:
        screen = Screen()
        show(screen, "prompts", failure_section([measured(3)], {}))
        assert screen.lines == []

    @given(st.text(st.characters(), min_size=1), st.integers(min_value=20, max_value=200))
    def test_what_models_and_users_wrote_cannot_move_the_cursor(self, foreign: str, width: int) -> None:
        kind = category(foreign, observed=foreign, cause=foreign, fix=foreign, examples=(foreign,))
        kind = replace(kind, confusion=((foreign, foreign, 2),))
        errored = result(9, Status.ERRORED, error=foreign)
        checked = replace(measured(1, 1), prompt=foreign, errored=1, cases=3, results=(errored,))
        lines = failure_section([checked], {foreign: feedback(kind)}, width=width)
        assert all(line.text.isprintable() for line in lines)


class TestGate:
    def test_a_missed_threshold_names_figures_and_line(self) -> None:
        (line,) = gate_lines([measured(37, 23, least=0.8)])
        assert line.text == (
            "gate: prompts/route.md 61.7% < 80.0% required: FAILED "
            "(37 of 60 cases passed; min_pass_rate at tests/test_x.py:12)"
        )
        assert line.markup.items() >= BAD.items()

    def test_a_reached_threshold_holds(self) -> None:
        (line,) = gate_lines([measured(9, 1, least=0.9)])
        assert "90.0% >= 90.0% required: holds (9 of 10 cases passed;" in line.text
        assert line.markup == GOOD

    def test_a_near_miss_shows_the_digits_that_decide(self) -> None:
        (line,) = gate_lines([replace(measured(1, 1, least=0.8), rate=0.79996)])
        assert "79.996% < 80.000% required: FAILED" in line.text

    def test_errored_cases_are_named(self) -> None:
        lines = gate_lines([measured(4, 1, 1, least=0.8)])
        assert "holds (4 of 5 cases passed, 1 errored;" in lines[0].text
        assert lines[1].text == "      errored: test_route.py::test_queue[5]"

    def test_no_answer_at_all_fails(self) -> None:
        lines = gate_lines([measured(0, 0, 1, least=0.5)])
        assert (
            "has no pass rate, 50.0% required: FAILED (no case has a usable answer, 1 errored;"
            in lines[0].text
        )

    def test_prompts_without_a_threshold_are_left_out(self) -> None:
        assert gate_lines([measured(1, 1)]) == []


BEFORE = "You route tickets.\n\n{{ ticket }}\n"
AFTER = "You route tickets.\nAnswer with one word.\n\n{{ ticket }}\n"
CANDIDATES = tuple(
    CandidateResult(f"1.{n}", ROUTE, "state the format", "clearer", 0.9, "accepted", "") for n in range(3)
)
IMPROVED = PromptResult(
    prompt=ROUTE,
    before=BEFORE,
    after=AFTER,
    outcome="improved",
    stop="target reached",
    why="100% of the training cases pass; the target is 100%",
    scores=(
        SplitScore(Split.TRAIN, 36, 0.611, 1.0),
        SplitScore(Split.VALIDATION, 12, 0.583, 0.917),
        SplitScore(Split.HELDOUT, 40, 0.6, 0.825, errored=2, fixed=9, broken=0),
    ),
    iterations=(Iteration(1, "training", ROUTE, CANDIDATES, 0.9, Spend(), 2.0),),
    fixed=tuple(f"test_route.py::test_queue[{n}]" for n in range(14)),
    broken=tuple(f"test_route.py::test_queue[{n}]" for n in range(20, 25)),
    written=True,
)


def summary(prompt: PromptResult = IMPROVED, **changed: object) -> list[Line]:
    run = RunResult(
        "run-1", (prompt,), {Role.TARGET: Spend(120, 4000, 500, 0.05, 0)}, 65.0, journal="j.jsonl"
    )
    return run_summary(replace(run, **changed))  # type: ignore[arg-type]


def with_heldout(score: SplitScore | None) -> PromptResult:
    return replace(IMPROVED, scores=IMPROVED.scores[:2] + (() if score is None else (score,)))


class TestRunSummary:
    def test_it_reads_from_the_gain_to_the_file(self) -> None:
        assert text(summary()).splitlines() == [
            "prompts/route.md: improved, train 61.1% -> 100.0%, validation 58.3% -> 91.7%, "
            "held-out 60.0% -> 82.5%",
            "  pass rate   before         after          cases",
            "  train       61.1%          100.0%         36",
            "  validation  58.3%          91.7%          12",
            "  held-out    60.0% [44-74]  82.5% [68-91]  40 "
            "(2 errored, in no rate; in brackets: 95% interval)",
            "  changed:  14 cases fixed, 5 broken:",
            "            test_route.py::test_queue[20]",
            "            test_route.py::test_queue[21]",
            "            test_route.py::test_queue[22]",
            "            ... and 2 more",
            "  held-out: the gain carries over: 9 cases fixed, 0 broken (p = 0.002, exact sign test)",
            "  tried:    1 iteration, 3 candidates",
            "  stopped:  target reached: 100% of the training cases pass; the target is 100%",
            "  diff:",
            "    @@ -1,4 +1,5 @@",
            "     You route tickets.",
            "    +Answer with one word.",
            "     ",
            "     {{ ticket }}",
            "     ",
            "  written:  prompts/route.md",
            "",
            "spend   calls  input tokens  output tokens  cost",
            "target    120         4,000            500  $0.0500",
            "elapsed: 1m 05s",
            "journal: j.jsonl",
        ]

    @pytest.mark.parametrize(
        ("fixed", "broken", "verdict"),
        [
            (9, 0, "the gain carries over: 9 cases fixed, 0 broken (p = 0.002, exact sign test)"),
            (30, 0, "the gain carries over: 30 cases fixed, 0 broken (p < 0.001, exact sign test)"),
            (
                3,
                1,
                "gain not shown: 3 cases fixed, 1 broken, which may be chance (p = 0.31, exact sign test)",
            ),
            (0, 6, "worse on cases it never saw: 0 cases fixed, 6 broken (p = 0.016, exact sign test)"),
            (0, 0, "gain not shown: no case changed its verdict"),
        ],
    )
    def test_held_out_cases_decide_whether_the_gain_is_more_than_chance(
        self, fixed: int, broken: int, verdict: str
    ) -> None:
        score = SplitScore(Split.HELDOUT, 40, 0.5, 0.6, fixed=fixed, broken=broken)
        assert f"  held-out: {verdict}" in text(summary(with_heldout(score))).splitlines()

    def test_without_held_out_cases_it_says_that_there_is_no_evidence(self) -> None:
        shown = " ".join(text(summary(with_heldout(None))).split())
        assert "no evidence that this carries over to new inputs: there are no held-out cases" in shown
        assert "@pytest.mark.heldout" in shown
        assert "promptopt_split = 60/20/20" in shown

    def test_unmeasured_held_out_cases_are_no_evidence_either(self) -> None:
        shown = " ".join(text(summary(with_heldout(SplitScore(Split.HELDOUT, 20, 0.5, None)))).split())
        assert "the held-out cases were not measured" in shown
        assert "held-out 50.0% [30-70] not measured 20" in shown

    def test_few_held_out_cases_are_warned_of(self) -> None:
        few = SplitScore(Split.HELDOUT, 9, 0.3, 0.9, fixed=6)
        assert "only 9 held-out cases: too few to show much" in text(summary(with_heldout(few)))
        assert "too few" not in text(summary(with_heldout(replace(few, cases=10))))

    def test_a_prompt_that_passes_takes_little_room(self) -> None:
        passing = PromptResult(ROUTE, BEFORE, BEFORE, "passing", "nothing failing", "all pass", ())
        assert summary(passing)[0].text == "prompts/route.md: no failing case, left alone"
        assert summary(passing)[1].text == ""

    def test_an_unchanged_prompt_shows_no_diff(self) -> None:
        scores = (SplitScore(Split.TRAIN, 36, 0.611, 0.611),)
        same = replace(
            IMPROVED,
            after=BEFORE,
            outcome="unchanged",
            scores=scores,
            written=False,
            stop="plateau",
            why="no rise",
        )
        shown = text(summary(same))
        assert "unchanged, no candidate was better" in shown
        assert "stopped:  plateau: no rise" in shown
        assert "diff" not in shown
        assert "written" not in shown

    def test_no_candidate_is_called_worse_that_was_never_measured(self) -> None:
        stopped = PromptResult(ROUTE, BEFORE, BEFORE, "unchanged", "budget used up", "the ceiling", ())
        assert summary(stopped)[0].text == "prompts/route.md: unchanged, no candidate was measured"

    def test_the_gain_of_a_pipeline_is_not_credited_to_its_unchanged_prompt(self) -> None:
        other = replace(IMPROVED, after=BEFORE, outcome="unchanged", written=False, note="see the other")
        assert summary(other)[0].text == "prompts/route.md: unchanged"

    def test_a_text_that_was_not_written_says_so_and_why(self) -> None:
        dry = replace(IMPROVED, written=False, note="dry run")
        shown = text(summary(dry))
        assert "written:  nothing, prompts/route.md is as it was" in shown
        assert "note:     dry run" in shown

    def test_a_long_diff_is_cut_with_a_note(self) -> None:
        long = replace(IMPROVED, after="\n".join(f"rule {n}" for n in range(100)))
        lines = summary(long)
        diff = [line for line in lines if line.text.startswith("    ") and line.markup in (GOOD, BAD)]
        assert len(diff) < MAX_DIFF_LINES
        assert "more lines; the whole text is in j.jsonl" in text(lines)

    def test_a_change_at_the_end_of_a_long_paragraph_is_seen(self) -> None:
        paragraph = "Route the ticket. " * 50
        shown = text(summary(replace(IMPROVED, before=f"{paragraph}Old.", after=f"{paragraph}New.")))
        assert f"    -{paragraph}Old." in shown
        assert f"    +{paragraph}New." in shown

    def test_the_diff_is_coloured(self) -> None:
        assert markup_of(summary(), "+Answer with one word.") == GOOD

    def test_an_unknown_price_is_said_and_roles_are_added_up(self) -> None:
        spend = {Role.TARGET: Spend(1200, 4000, 500, 1.25, 0), Role.OPTIMIZER: Spend(3, 900, 80, 0.0, 3)}
        assert [line.text for line in summary(spend=spend)[-6:-2]] == [
            "spend      calls  input tokens  output tokens  cost",
            "target     1,200         4,000            500  $1.25",
            "optimizer      3           900             80  price unknown",
            "total      1,203         4,900            580  $1.25 + 3 calls of unknown price",
        ]

    def test_a_run_from_the_cache_paid_nothing(self) -> None:
        assert "spend: no model call was paid for" in text(summary(spend={Role.TARGET: Spend()}))

    def test_an_interrupted_run_says_so_first(self) -> None:
        assert summary(interrupted=True)[0].text.startswith("interrupted: ")

    def test_notes_are_shown(self) -> None:
        assert "note: 2 cases call their model by themselves" in text(
            summary(notes=("2 cases call their model by themselves",))
        )

    @given(st.text(st.characters(), min_size=1))
    def test_a_candidate_cannot_write_to_the_terminal(self, foreign: str) -> None:
        hostile = replace(
            IMPROVED,
            prompt=foreign,
            after=foreign,
            why=foreign,
            stop=foreign,
            note=foreign,
            broken=(foreign,),
        )
        lines = summary(hostile, notes=(foreign,), journal=foreign)
        assert all(line.text.isprintable() for line in lines)
        unknown = summary(replace(hostile, outcome=foreign))
        assert all(line.text.isprintable() for line in unknown)


def test_a_section_has_its_title_first() -> None:
    screen = Screen()
    show(screen, "prompts", [Line("one"), Line()])
    assert screen.lines == ["= prompts =", "one", ""]

"""A developer reads why the prompt fails, and whether the gate holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.failures import Category, FailedCase, Feedback
from pytest_promptopt.gate import check_prompts
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.reports.check_report import failure_section, gate_lines
from pytest_promptopt.reports.lines import BAD, GOOD, Line, Writer, print_section
from pytest_promptopt.thresholds import GateName, Threshold

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
    where = "min_pass_rate at tests/test_x.py:12"
    asked = {} if least is None else {ROUTE: {GateName.PASS_RATE: Threshold(least, where)}}
    (only,) = check_prompts({ROUTE: results}, asked)
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
        (only,) = check_prompts({ROUTE: [CaseResult(Case(half.case, (ROUTE,), Split.TRAIN), (half,))]}, {})
        lines = failure_section([only], {})
        assert lines[0].text == "prompts/route.md: 0/1 cases pass (pass rate with partial credit: 50.0%)"

    def test_a_case_that_ran_several_times_is_named_with_its_samples_and_a_flaky_one_so_called(self) -> None:
        statuses = {0: "++", 1: "--", 2: "+-", 3: "-+e"}
        words = {"+": Status.PASSED, "-": Status.FAILED, "e": Status.ERRORED}
        results = [
            CaseResult(
                one.case, tuple(Outcome(one.case.id, words[word], float(word == "+")) for word in samples)
            )
            for one, samples in ((result(n, Status.PASSED), samples) for n, samples in statuses.items())
        ]
        (only,) = check_prompts({ROUTE: results}, {})
        ids = [r.case.id for r in results]
        lines = text(failure_section([only], {})).splitlines()
        assert lines[1:8] == [
            f"    {ids[1]} (0 of 2 samples passed)",
            f"    {ids[2]} (1 of 2 samples passed)",
            f"    {ids[3]} (1 of 2 samples passed)",
            "",
            "  flaky: 2 cases both passed and failed under this very text",
            f"    {ids[2]} (1 of 2 samples passed)",
            f"    {ids[3]} (1 of 2 samples passed)",
        ]
        explained = category(count=3, examples=tuple(ids[1:]), cases=tuple(ids[1:]))
        shown = text(failure_section([only], {ROUTE: feedback(explained)}))
        assert f"    examples:      {ids[1]} (0 of 2 samples passed)\n" in shown

    def test_each_kind_of_failure_is_counted_explained_and_shown(self) -> None:
        lines = failure_section([measured(37, 14)], {ROUTE: feedback(category())})
        assert text(lines[2:10]).splitlines() == [
            "  format violation: 14 cases",
            "    observed:      prose around the label",
            "    likely cause:  no format is stated",
            "    suggested fix: state the format",
            "    examples:      test_route.py::test_queue[37]",
            r'                     expected "billing", got "The queue is\nbilling."',
            "                   test_route.py::test_queue[38]",
            "                   test_route.py::test_queue[39]",
        ], "what is the same in all examples is said once"

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

    def test_a_table_of_confused_labels_is_not_said_again_in_a_sentence(self) -> None:
        confused = category("boundary confusion", confusion=(("account", "billing", 14),))
        shown = text(failure_section([measured(37, 14)], {ROUTE: feedback(confused)}))
        assert "observed" not in shown
        assert "account   billing     14" in shown

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
        print_section(screen, "prompts", failure_section([measured(3)], {}))
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
        case = Case("test_route.py::test_queue[0]", (ROUTE,), Split.TRAIN)
        close = CaseResult(case, (Outcome(case.id, Status.FAILED, 0.79996),))
        (line,) = gate_lines(
            check_prompts({ROUTE: [close]}, {ROUTE: {GateName.PASS_RATE: Threshold(0.8, "")}})
        )
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


def test_a_section_has_its_title_first() -> None:
    screen = Screen()
    print_section(screen, "prompts", [Line("one"), Line()])
    assert screen.lines == ["= prompts =", "one", ""]

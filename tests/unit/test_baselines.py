"""Baselines: the file and back, what is compared with what, and what chance explains."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.baselines.baseline_file import (
    BaselineError,
    baseline_text,
    parse_baseline,
    read_baseline,
    write_baseline,
)
from pytest_promptopt.baselines.compare_rule import CompareRule
from pytest_promptopt.baselines.comparison import PromptComparison, compare_measured
from pytest_promptopt.baselines.measured import MAX_ANSWER, Circumstances, Measured, measure
from pytest_promptopt.baselines.noise import suite_noise
from pytest_promptopt.records import Call, Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.reports.baseline_report import compare_lines, comparison_section
from pytest_promptopt.reports.baseline_wording import noise_sentence
from pytest_promptopt.settings import FailOn
from pytest_promptopt.statistics import least_changes
from pytest_promptopt.verdicts import Verdict
from tests.benchmarks.regression_power import WORLDS, failures, hardly_chance

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
AMOUNTS = st.none() | st.floats(0, 1e6, allow_nan=False)
MEASURED = st.builds(
    Measured,
    prompt=NAMES,
    case=NAMES,
    model=TEXTS,
    scores=st.lists(st.floats(0, 1), max_size=4).map(tuple),
    text=TEXTS,
    inputs=TEXTS,
    test=TEXTS,
    judge=TEXTS,
    category=TEXTS,
    answer=TEXTS,
    answers=TEXTS,
    cost=AMOUNTS,
    latency=AMOUNTS,
)
SEVERAL = st.lists(MEASURED, max_size=6, unique_by=lambda case: case.key)


class TestFile:
    @given(SEVERAL)
    def test_what_is_written_is_read(self, cases: list[Measured]) -> None:
        assert sorted(
            parse_baseline(baseline_text(cases), name="b.json"), key=lambda case: case.key
        ) == sorted(cases, key=lambda case: case.key)

    @given(SEVERAL, st.randoms())
    def test_the_order_of_the_run_does_not_matter(self, cases: list[Measured], luck: random.Random) -> None:
        mixed = list(cases)
        luck.shuffle(mixed)
        assert baseline_text(mixed) == baseline_text(cases)

    @given(SEVERAL)
    def test_each_case_is_a_line_of_its_own(self, cases: list[Measured]) -> None:
        """Also one whose answer has line ends of every kind: two branches merge line by line."""
        lines = baseline_text(cases).split("\n")
        assert len(lines) == len(cases) + 3
        for number in range(1, len(cases) + 1):
            fewer = [*lines[:number], *lines[number + 1 :]]
            assert len(parse_baseline("\n".join(fewer), name="b.json")) == len(cases) - 1

    @given(SEVERAL.filter(bool), st.floats(0, 1, exclude_max=True))
    def test_a_torn_file_is_never_read(self, cases: list[Measured], share: float) -> None:
        text = baseline_text(cases).rstrip("\n")
        with pytest.raises(BaselineError, match=r"^b\.json:[0-9]+: "):
            parse_baseline(text[: int(share * len(text))], name="b.json")

    @given(st.text(max_size=200))
    def test_any_other_text_is_refused_by_name(self, text: str) -> None:
        with pytest.raises(BaselineError, match=r"^b\.json"):
            parse_baseline(text, name="b.json")

    @given(st.dictionaries(st.sampled_from(list(Measured.__dataclass_fields__)), st.none() | st.integers()))
    def test_any_other_value_is_refused_at_its_line(self, values: dict[str, Any]) -> None:
        good = {"prompt": "a.md", "case": "t.py::t", "model": "m", "scores": [1.0]}
        first, _, last, _ = baseline_text([Measured("a.md", "t.py::t", "m", (1.0,))]).split("\n")
        text = "\n".join((first, f"{json.dumps(good | values)},", last))
        if values.keys() <= {"cost", "latency"} and all(
            value is not None and value >= 0 for value in values.values()
        ):
            assert len(parse_baseline(text, name="b.json")) == 1
            return
        with pytest.raises(BaselineError, match=r"^b\.json:2: `\w+` cannot be "):
            parse_baseline(text, name="b.json")

    def test_a_case_that_stands_there_twice_is_named(self) -> None:
        first, case, last, _ = baseline_text([Measured("a.md", "t.py::t", "m", (1.0,))]).split("\n")
        with pytest.raises(BaselineError, match=r"b\.json:3: t\.py::t stands in it twice"):
            parse_baseline("\n".join((first, case, case, last)), name="b.json")

    def test_a_file_that_was_formatted_is_read_as_well(self) -> None:
        cases = [Measured("a.md", f"t.py::t[{n}]", "m", (1.0,)) for n in range(2)]
        text = json.dumps(json.loads(baseline_text(cases)), indent=4)
        assert parse_baseline(text, name="b.json") == cases

    def test_fields_of_later_versions_are_passed_over(self) -> None:
        text = baseline_text([Measured("a.md", "t.py::t", "m", (1.0,))])
        assert len(parse_baseline(text.replace('"case"', '"later": 1, "case"'), name="b.json")) == 1

    def test_it_is_read_from_the_disk(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "b.json"
        cases = [Measured("a.md", "t.py::t", "m", (1.0,), answer="ä\u2028b\r\n")]
        write_baseline(path, cases)
        assert read_baseline(path, name="b.json") == cases
        path.write_bytes(b'{"promptopt_baseline": 1,\n\xff')
        with pytest.raises(BaselineError, match=r"b\.json:2: is not text in UTF-8"):
            read_baseline(path, name="b.json")
        with pytest.raises(BaselineError, match=r"b\.json: cannot be read: "):
            read_baseline(tmp_path, name="b.json")


def outcome(passed: bool, text: str = "yes", **more: Any) -> Outcome:
    call = Call("a.md", {}, "k", text, "end_turn", None, 0.25, 0.5, cached=False)
    status = Status.PASSED if passed else Status.FAILED
    return Outcome("t.py::t", status, float(passed), calls=(call,), **more)


def measured_of(*outcomes: Outcome, judge: str = "", **case: Any) -> Measured:
    case = {"id": "t.py::t", "prompts": ("a.md",), "split": Split.TRAIN, "models": ("m",)} | case
    known = Circumstances({"a.md": "text"}, {"t.py::t": "inputs"}, {"a.md": {"t.py::t": "wrong"}}, judge)
    [found] = measure("a.md", [CaseResult(Case(**case), outcomes)], known)
    return found


class TestMeasured:
    def test_a_long_answer_is_kept_in_part_and_known_as_a_whole(self) -> None:
        one, two = (measured_of(outcome(True, "long " * 200 + end)) for end in ("a", "b" * 600 + "a"))
        assert len(one.answer) < MAX_ANSWER + 40
        assert "\n" not in one.answer
        assert one.answers != two.answers

    def test_the_answer_of_a_failed_sample_is_the_one_to_see(self) -> None:
        found = measured_of(outcome(True, "right"), outcome(False, "wrong"))
        assert (found.answer, found.scores, found.flaky) == ("wrong", (1.0, 0.0), True)
        assert (found.cost, found.latency, found.category) == (0.5, 0.5, "wrong")

    def test_layout_and_comments_of_a_test_do_not_count(self) -> None:
        checks = ("assert a == 1", "assert a  == 1  # so", "assert a == 2", "not ( python")
        one, same, other, odd = (measured_of(outcome(True, check=check)).test for check in checks)
        assert one == same
        assert len({one, other, odd}) == 3

    def test_who_has_judged_is_told(self) -> None:
        verdict = Verdict(1.0, (), (), (), "", "", model="house/judge")
        assert measured_of(outcome(True, verdicts=(verdict,)), judge="ab12").judge == "house/judge ab12"
        assert measured_of(outcome(True), judge="ab12").judge == ""

    def test_errored_cases_have_no_score_and_skipped_ones_are_none(self) -> None:
        assert measured_of(Outcome("t.py::t", Status.ERRORED, 0.0, error="away")).rate is None
        skipped = CaseResult(
            Case("t.py::t", ("a.md",), Split.TRAIN), (Outcome("t.py::t", Status.SKIPPED, 0.0),)
        )
        assert measure("a.md", [skipped], Circumstances({}, {}, {})) == []


def run_of(*scores: tuple[float, ...], start: int = 0, **more: Any) -> list[Measured]:
    return [Measured("a.md", f"t.py::t[{n + start}]", "m", each, **more) for n, each in enumerate(scores)]


P, F = (1.0,), (0.0,)


def compared(before: list[Measured], now: list[Measured], **more: Any) -> PromptComparison:
    [found] = compare_measured(before, now, **more)
    return found


class TestComparison:
    def test_each_case_is_what_became_of_it(self) -> None:
        found = compared(run_of(P, F, P, (1.0, 0.0), P), run_of(F, P, P, P, (0.0, 1.0)))
        assert [pair.now.case[-2] for pair in found.broken] == ["0"]
        assert [pair.now.case[-2] for pair in found.fixed] == ["1"]
        assert [pair.now.case[-2] for pair in found.flaky] == ["3", "4"]
        assert found.change == pytest.approx(0.0)

    @pytest.mark.parametrize("name", ["inputs", "test", "judge"])
    def test_what_is_another_case_now_is_removed_and_new(self, name: str) -> None:
        one, other = ({name: cast("Any", value)} for value in "xy")
        before = [replace(case, **one) for case in run_of(P, P)]
        now = [replace(case, **each) for case, each in zip(run_of(F, F), (other, one), strict=True)]
        found = compared(before, now)
        assert (found.new, found.removed) == (("t.py::t[0]",), ("t.py::t[0]",))
        assert list(found.changed.values()) == [("t.py::t[0]",)]
        assert len(found.pairs) == 1

    def test_a_judge_that_came_or_went_is_another_judge(self) -> None:
        assert compared(run_of(P), run_of(P, judge="house/judge")).changed
        assert not compared(run_of(()), run_of(P, judge="house/judge")).changed

    def test_what_is_not_known_is_not_held_against_it(self) -> None:
        assert len(compared(run_of(P), run_of(P, inputs="y", test="z")).pairs) == 1

    def test_a_case_without_an_answer_is_in_no_rate(self) -> None:
        found = compared(run_of(P, P), run_of((), F))
        assert (found.unanswered, len(found.pairs)) == (("t.py::t[0]",), 1)

    def test_what_was_left_out_is_not_removed(self) -> None:
        found = compared(run_of(P, P, P), run_of(P), is_left_out=lambda case: case.endswith("[2]"))
        assert (found.removed, found.left_out) == (("t.py::t[1]",), ("t.py::t[2]",))

    def test_weights_count_in_the_change_and_in_the_test(self) -> None:
        heavy = {("a.md", "t.py::t[0]", "m"): 3.0}
        found = compared(run_of(P, P), run_of(F, P), weights=heavy)
        assert found.change == -0.75
        assert found.rates == (1.0, 0.25)

    def test_other_models_are_named_and_nothing_is_compared(self) -> None:
        found = compared([replace(case, model="old") for case in run_of(P)], run_of(F))
        assert (found.other_models, found.pairs, found.incomparable) == (("old",), (), True)

    def test_a_prompt_that_is_new_is_no_failure(self) -> None:
        found = compared([], run_of(F))
        assert not found.incomparable
        assert CompareRule(FailOn.ANY).why_failed(found) == ""

    @given(st.lists(st.booleans(), min_size=1, max_size=30), st.lists(st.booleans(), min_size=30))
    def test_turned_round_a_loss_is_a_gain(self, one: list[bool], two: list[bool]) -> None:
        first, second = run_of(*((float(e),) for e in one)), run_of(*((float(e),) for e in two[: len(one)]))
        there, back = compared(first, second), compared(second, first)
        assert there.change == pytest.approx(-back.change)
        assert (there.test.worse, len(there.broken)) == (back.test.better, len(back.fixed))


class TestRule:
    def test_significant_takes_as_many_cases_as_the_exact_test(self) -> None:
        rule, least = CompareRule(FailOn.SIGNIFICANT, 0.05), least_changes(0.05)
        for count in (least - 1, least):
            found = compared(run_of(*[P] * 20), run_of(*[F] * count, *[P] * (20 - count)))
            assert bool(rule.why_failed(found)) is (count == least)
            assert CompareRule(FailOn.ANY).why_failed(found) == f"{count} cases broken"
            assert CompareRule().why_failed(found) == ""

    def test_a_margin_is_what_may_be_lost(self) -> None:
        found = compared(run_of(*[P] * 20), run_of(*[F] * 5, *[P] * 15))
        assert not CompareRule(FailOn.SIGNIFICANT, 0.05, 0.25).why_failed(found)
        assert CompareRule(FailOn.SIGNIFICANT, 0.05, 0.24).why_failed(found)

    @pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
    def test_false_alarms_are_as_seldom_as_stated(self, world: Any) -> None:
        assert not hardly_chance(failures(world, 0.0, 100).significant, 100)


class TestNoise:
    def test_without_repeats_nothing_is_known(self) -> None:
        assert suite_noise([(1, 1), (0, 1)], 0.05) is None

    def test_a_steady_suite_shows_as_little_as_the_sign_test_allows(self) -> None:
        noise = suite_noise([(2, 2)] * 100, 0.05)
        assert noise is not None
        assert (noise.cases, noise.flipping, noise.smallest) == (100, 0, 0.05)

    def test_more_flips_hide_larger_changes(self) -> None:
        smallest = []
        for flipping in (0, 10, 40):
            noise = suite_noise([(1, 2)] * flipping + [(2, 2)] * (100 - flipping), 0.05)
            assert noise is not None
            assert noise.smallest is not None
            smallest.append(noise.smallest)
        assert smallest == sorted(smallest)
        assert smallest[-1] > smallest[0]

    @pytest.mark.parametrize("samples", [2, 5])
    def test_what_it_says_can_be_shown_is_what_noise_does_not_reach(self, samples: int) -> None:
        """Of two runs of one text, whatever they are, so large a difference is seen in one of twenty."""
        luck = random.Random(samples)
        chances = [0.5] * 60 + [0.9] * 60 + [1.0] * 80
        cases = len(chances)

        def run() -> list[int]:
            return [sum(luck.random() < chance for _ in range(samples)) for chance in chances]

        said, differences = [], []
        for _ in range(300):
            one, two = run(), run()
            noise = suite_noise([(passed, samples) for passed in one], 0.05)
            assert noise is not None
            assert noise.smallest is not None
            said.append(noise.smallest)
            differences.append((sum(two) - sum(one)) / samples / cases)
        typical = sum(said) / len(said)
        beyond = sum(difference >= typical for difference in differences) / len(differences)
        assert 0.005 <= beyond <= 0.08

    def test_a_suite_may_be_too_small_to_show_anything(self) -> None:
        noise = suite_noise([(2, 2)] * 4, 0.05)
        assert noise is not None
        assert noise.smallest is None
        assert "no change of any size" in noise_sentence("a.md", noise)

    @given(st.lists(st.sampled_from([(2, 2), (1, 2), (0, 2), (1, 3), (3, 3)]), min_size=1, max_size=60))
    def test_no_more_cases_change_than_there_are_steady_ones(self, samples: list[tuple[int, int]]) -> None:
        noise = suite_noise(samples, 0.05)
        assert noise is not None
        if noise.smallest is not None:
            assert 0 < round(noise.smallest * noise.cases) <= noise.cases - noise.flipping


class TestReport:
    def test_what_a_model_wrote_does_nothing(self) -> None:
        evil = "\x1b[2J\u202e<script>"
        found = compared(run_of(P, answer="ok", answers="1"), run_of(F, answer=evil, answers="2"))
        shown = "\n".join(line.text for line in comparison_section([found]))
        assert "\x1b" not in shown
        assert "\u202e" not in shown

    def test_the_same_answer_is_shown_once(self) -> None:
        found = compared(run_of(P, answer="ok", answers="1"), run_of(F, answer="ok", answers="1"))
        assert "      both    ok" in [line.text for line in comparison_section([found])]

    def test_many_broken_cases_are_counted(self) -> None:
        found = compared(run_of(*[P] * 30), run_of(*[F] * 30))
        lines = [line.text for line in comparison_section([found])]
        assert "    ... and 20 more" in lines
        assert len(lines) < 60

    def test_a_gain_is_said_as_well(self) -> None:
        [line] = compare_lines([compared(run_of(*[F] * 5), run_of(*[P] * 5))], CompareRule(FailOn.ANY))
        assert "+100.0 points over 5 cases: a gain is shown (5 fixed, 0 broken; p = 0.031" in line.text

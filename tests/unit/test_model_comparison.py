"""Several models on the same cases: figures, paired tests, and which differences are named."""

from __future__ import annotations

import random

import pytest

from pytest_promptopt.gate import check_prompts
from pytest_promptopt.model_comparison import compare_models
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import Call, Case, CaseResult, Outcome, Split, Status, Usage
from pytest_promptopt.reports.model_table import model_tables
from pytest_promptopt.statistics import PERMUTATION_TEST, SIGN_TEST, adjusted_for_pairs
from tests.benchmarks.model_table import WORLDS, World, measure, most_by_chance, single_test_power, suite


def result(
    case: str, model: str, *scores: float | None, cost: float | None = 0.01, latency: float = 1.0
) -> CaseResult:
    """A case under a model, with the score of each sample; None is an error."""
    id = f"{case}[{model}]"
    call = Call("route.md", {}, id, "text", "end_turn", Usage(1, 1), cost, latency, False)
    outcomes = tuple(
        Outcome(id, Status.ERRORED, 0.0, n, error="away")
        if score is None
        else Outcome(id, Status.PASSED if score == 1 else Status.FAILED, score, n, calls=(call,))
        for n, score in enumerate(scores)
    )
    return CaseResult(Case(id, ("route.md",), Split.TRAIN, models=(model,), pair=case), outcomes)


def check(*results: CaseResult) -> PromptCheck:
    return PromptCheck.of("route.md", results)


class TestPairsOfThings:
    def test_of_two_things_nothing_is_corrected(self) -> None:
        assert adjusted_for_pairs([0.04], 2) == [0.04]

    def test_of_three_the_smallest_counts_thrice_and_the_others_once(self) -> None:
        assert adjusted_for_pairs([0.04, 0.01, 0.5], 3) == pytest.approx([0.04, 0.03, 0.5])
        # None of them is smaller than one before it.
        assert adjusted_for_pairs([0.015, 0.3, 0.012], 3) == pytest.approx([0.036, 0.3, 0.036])

    def test_of_four_the_factors_are_those_of_shaffer(self) -> None:
        p = [0.001, 0.002, 0.003, 0.004, 0.005, 0.5]
        assert adjusted_for_pairs(p, 4) == pytest.approx([0.006, 0.006, 0.009, 0.012, 0.012, 0.5])

    def test_none_is_above_one(self) -> None:
        assert adjusted_for_pairs([0.6, 0.9, 0.7], 3) == [1.0, 1.0, 1.0]

    def test_all_pairs_are_needed(self) -> None:
        with pytest.raises(ValueError, match="3 things make 3 pairs, got 2"):
            adjusted_for_pairs([0.1, 0.2], 3)


class TestComparison:
    def test_cost_and_latency_are_those_of_the_answers(self) -> None:
        [compared] = compare_models(
            [
                check(
                    result("a", "house/x", 1, cost=0.25, latency=2),
                    result("b", "house/x", 1, cost=None, latency=4),
                    result("c", "house/x", 1, cost=0.5, latency=9),
                    result("a", "house/y", 0, cost=None),
                )
            ]
        )
        first, second = compared.models
        assert (first.model, first.cost, first.unpriced, first.latency) == ("house/x", 0.75, 1, 4)
        assert (second.model, second.cost, second.unpriced, second.latency) == ("house/y", None, 1, 1.0)

    def test_models_stand_in_the_order_asked_for_whichever_answered_first(self) -> None:
        answered = (result("a", "house/z", 1), result("a", "house/y", 1), result("a", "house/x", 1))
        (whole,) = check_prompts({"route.md": answered}, {}, models=("house/x", "house/none", "house/z"))
        assert [*whole.by_model] == ["house/x", "house/z", "house/y"]
        [compared] = compare_models([whole])
        assert [figures.model for figures in compared.models] == ["house/x", "house/z", "house/y"]

    def test_only_cases_that_both_have_answered_are_compared(self) -> None:
        [compared] = compare_models(
            [
                check(
                    *(result(name, "house/x", 1) for name in "abcd"),
                    result("a", "house/y", 0),
                    result("b", "house/y", None),
                    result("c", "house/y", 1),
                )
            ]
        )
        [difference] = compared.differences
        assert (difference.first, difference.second, difference.cases) == ("house/x", "house/y", 2)
        assert (difference.gain, difference.better, difference.worse) == (0.5, 1, 0)
        assert list(compared.differing) == ["a"]
        assert compared.rates["b"] == {"house/x": 1.0}

    def test_samples_are_tested_by_permutation(self) -> None:
        cases = [f"case{number}" for number in range(8)]
        [compared] = compare_models(
            [
                check(
                    *(result(case, "house/x", 1, 1, 0) for case in cases),
                    *(result(case, "house/y", 1, 0, 0) for case in cases),
                )
            ]
        )
        [difference] = compared.differences
        assert difference.test == PERMUTATION_TEST
        assert difference.p == pytest.approx(2 / 2**8)
        assert difference.gain == pytest.approx(1 / 3)

    def test_a_model_without_any_answer_makes_the_others_no_less_sure(self) -> None:
        some = [result(f"{n}", m, m == "house/y") for n in range(7) for m in ("house/x", "house/y")]
        [two] = compare_models([check(*some)])
        [three] = compare_models([check(*some, *(result(f"{n}", "house/z", None) for n in range(7)))])
        assert three.differences == two.differences
        assert two.differences[0].test == SIGN_TEST

    def test_the_same_name_twice_under_one_model_is_no_pair(self) -> None:
        twice = [result("a", "house/x", 1), result("a", "house/x", 0), result("a", "house/y", 1)]
        assert compare_models([check(*twice)]) == []

    def test_stages_of_a_pipeline_are_one_comparison(self) -> None:
        def stage(name: str) -> PromptCheck:
            cases = [
                Case(f"a[{m}]", ("one.md", "two.md"), Split.TRAIN, models=(m, m), pair="a")
                for m in ("house/x", "house/y")
            ]
            return PromptCheck.of(
                name, tuple(CaseResult(c, (Outcome(c.id, Status.PASSED, 1.0),)) for c in cases)
            )

        [compared] = compare_models([stage("one.md"), stage("two.md")])
        assert compared.prompts == ("one.md", "two.md")


class TestTable:
    def test_a_price_that_is_not_known_is_never_taken_as_free(self) -> None:
        compared = compare_models(
            [
                check(
                    result("a", "house/x", 1, cost=2.0),
                    result("b", "house/x", 1, cost=None),
                    result("a", "house/y", 1, cost=None),
                )
            ]
        )
        [cost] = [line.text for line in model_tables(compared, alpha=0.05) if "cost" in line.text]
        assert cost.split() == ["cost", ">", "$2.00", "unknown"]

    def test_each_model_has_its_own_rate_cost_and_latency(self) -> None:
        of_model = {"house/x": (1, 0.5, 2.0), "house/y": (0, 0.25, 31.0), "house/z": (1, 2.0, 0.125)}
        results = [
            result(case, model, score, cost=cost, latency=latency)
            for case in "abc"
            for model, (score, cost, latency) in of_model.items()
        ]
        rows = [line.text.split() for line in model_tables(compare_models([check(*results)]), alpha=0.05)]
        told = {" ".join(row[:-3]): row[-3:] for row in rows}
        assert told["pass rate"] == ["100.0%", "0.0%", "100.0%"]
        assert told["cost"] == ["$1.50", "$0.7500", "$6.00"]
        assert told["latency p50"] == ["2.00s", "31.0s", "0.12s"]

    @pytest.mark.parametrize(("models", "named"), [(2, True), (3, False)])
    def test_with_more_models_less_is_named(self, models: int, named: bool) -> None:
        """Six cases fixed and none broken: p is .031, and .094 among three pairs."""
        cases = [f"case{number}" for number in range(6)]
        results = [result(case, "house/weak", 0) for case in cases]
        results += [result(case, "house/good", 1) for case in cases]
        if models == 3:
            results += [result(case, "house/even", number % 2) for number, case in enumerate(cases)]
        [compared] = compare_models([check(*results)])
        assert compared.differences[0].p == pytest.approx(2 / 2**6)
        shown = [line.text for line in model_tables([compared], alpha=0.05, width=200)]
        assert any("house/good is better than house/weak" in line for line in shown) is named
        assert any("no difference shown: house/good and house/weak" in line for line in shown) is not named

    def test_partial_credit_is_shown_as_a_rate(self) -> None:
        compared = compare_models([check(result("a", "house/x", 0.25), result("a", "house/y", 1))])
        assert "  25.0%    pass     a" in [line.text for line in model_tables(compared, alpha=0.05)]

    def test_a_long_id_loses_its_beginning(self) -> None:
        case = "tests/" * 20 + "test_it.py::test_it[the end]"
        compared = compare_models([check(result(case, "house/x", 0), result(case, "house/y", 1))])
        last = model_tables(compared, alpha=0.05, width=80)[-1].text
        assert len(last) == 80
        assert last.endswith("test_it.py::test_it[the end]")
        assert "  ...ests/tests" in last

    @pytest.mark.parametrize("count", [2, 3, 5, 9])
    def test_it_fits_into_80_columns(self, count: int) -> None:
        models = [f"a-provider/a-model-with-a-long-name-{number}" for number in range(count)]
        compared = compare_models(
            [check(*(result(f"{n}", model, n % 2) for n in range(12) for model in models))]
        )
        assert all(len(line.text) <= 80 for line in model_tables(compared, alpha=0.05, width=80))


class TestSimulatedSuites:
    """The worlds of ``tests/benchmarks/model_table.py``, in fewer runs."""

    def test_a_real_difference_is_named_with_its_power_and_a_false_one_at_alpha(self) -> None:
        found = measure(WORLDS[0], 60)
        assert sum(bool(each.real) for each in found) >= 20
        assert sum(bool(each.false) for each in found) <= most_by_chance(60)

    def test_what_is_equal_is_named_as_seldom(self) -> None:
        found = measure(World("equal", (0.7, 0.7, 0.7)), 60)
        assert sum(bool(each.false) for each in found) <= most_by_chance(60)

    def test_the_worlds_have_the_rates_that_they_say(self) -> None:
        luck = random.Random(0)
        for world in WORLDS[:3]:
            parts = suite(world, luck, cases=4000).by_model.values()
            assert [part.rate for part in parts] == pytest.approx(list(world.rates), abs=0.03)

    def test_the_power_of_one_test_is_that_of_textbooks(self) -> None:
        # By the normal approximation .55: 20 / sqrt(92) standard errors. The exact test has a bit less.
        assert single_test_power(0.6, 0.7) == pytest.approx(0.53, abs=0.02)

    def test_chance_allows_some(self) -> None:
        assert most_by_chance(500) == 41

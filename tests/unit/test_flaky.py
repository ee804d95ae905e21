"""Cases that pass and fail by chance: they are named, and teach the optimizer nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from pytest_promptopt.optimizer.flaky_cases import flaky_cases, steady_results
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.records import Case, CaseResult, FlakyCase, Outcome, Split, Status
from pytest_promptopt.strategies.hybrid import Hybrid
from tests.refine_world import HELDOUT, VALIDATION, Need, World, needs

WORDS = {"+": Status.PASSED, "-": Status.FAILED, "e": Status.ERRORED, "s": Status.SKIPPED}


def result(name: str, samples: str) -> CaseResult:
    """A case with such samples: ``+-e`` is one passed, one failed, one without an answer."""
    outcomes = tuple(Outcome(name, WORDS[word], float(word == "+")) for word in samples)
    return CaseResult(Case(name, ("route.md",), Split.TRAIN, samples=len(samples)), outcomes)


@pytest.mark.parametrize("samples", ["+", "-", "++", "---", "+e", "-s", "e", ""])
def test_a_case_that_always_does_the_same_is_not_flaky(samples: str) -> None:
    assert flaky_cases([result("a", samples)]) == ()


def test_a_case_that_passes_and_fails_is_flaky_with_its_counts() -> None:
    found = flaky_cases([result("a", "+-+e"), result("b", "--"), result("c", "-+")])
    assert found == (FlakyCase("a", 2, 3), FlakyCase("c", 1, 2))


def test_partial_credit_that_differs_is_still_a_failure() -> None:
    half, third = (Outcome("a", Status.FAILED, score) for score in (0.5, 0.3))
    assert flaky_cases([CaseResult(Case("a", ("route.md",), Split.TRAIN), (half, third))]) == ()


def test_results_of_the_same_case_are_counted_together() -> None:
    assert flaky_cases([result("a", "+"), result("b", "+"), result("a", "--")]) == (FlakyCase("a", 1, 3),)


def test_the_failures_that_teach_are_those_of_steady_cases() -> None:
    sound, broken, noisy = result("a", "++"), result("b", "--"), result("c", "+-")
    assert steady_results([sound, broken, noisy]) == (sound, broken)
    assert steady_results([sound, broken, result("d", "--")], ["d"]) == (sound, broken)


def test_where_nothing_else_fails_a_flaky_case_is_better_than_none() -> None:
    results = (result("a", "++"), result("b", "+-"), result("c", "--"))
    assert steady_results(results[:2]) == results[:2]
    assert steady_results(results, ["c"]) == results


@dataclass
class Shaky(World):
    """With three samples each; `noisy` cases fail the first of them, whatever the text.

    :param fresh_passes: cases whose fresh answers pass, whatever the text.
    """

    noisy: tuple[str, ...] = ()
    fresh_passes: tuple[str, ...] = ()

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        return tuple(self._samples(found, trial) for found in super()._results(trial))

    def _samples(self, found: CaseResult, trial: Trial) -> CaseResult:
        name, (outcome,) = found.case.id, found.outcomes
        passed = Outcome(name, Status.PASSED, 1.0)
        if trial.samples is not None:
            return CaseResult(found.case, (passed if name in self.fresh_passes else outcome,))
        samples = (outcome, outcome, outcome)
        if name in self.noisy:
            failed = replace(Need(name, "unheard").run({"route.md": ""}), case=name)
            samples = (failed, passed, passed)
        return CaseResult(replace(found.case, samples=3), samples)


class ShakyAtFirst(Shaky):
    """Under every other text than the original `noisy` cases fail for good."""

    def _samples(self, found: CaseResult, trial: Trial) -> CaseResult:
        found = super()._samples(found, trial)
        if found.case.id not in self.noisy or not trial.overlay:
            return found
        return replace(found, outcomes=found.outcomes[:1] * 3)


class TestASearch:
    def test_what_is_flaky_is_told_by_the_original_though_another_text_is_refined(self) -> None:
        replies = ["a", "a b", "a b c", "a b c d"]
        world = ShakyAtFirst(needs("a b c d n"), replies, noisy=("train-5-n",), strategy=Hybrid)
        world.run(max_iterations=3)
        assert len(world.requests()) == 3
        assert "train-5-n" not in "".join(world.requests())

    def test_it_shows_the_optimizer_no_flaky_case_while_others_fail(self) -> None:
        world = Shaky(needs("a b n"), ["a", "a b"], noisy=("train-3-n",))
        world.run(max_iterations=2)
        first, second = world.requests()
        assert "train-1-a" in first
        assert "train-2-b" in second
        assert "train-3-n" not in first + second
        assert '<failures failing="2" total="2">' in first

    def test_with_nothing_else_to_learn_from_it_shows_them(self) -> None:
        world = Shaky(needs("a n"), ["a", "x"], noisy=("train-2-n",))
        world.run(max_iterations=2)
        first, second = world.requests()
        assert "train-2-n" not in first
        assert "train-2-n" in second

    def test_it_is_told_no_pattern_of_a_flaky_validation_case(self) -> None:
        steady_ones, noisy = needs("- v", VALIDATION), needs("n n n", VALIDATION)
        ids = tuple(need.id for need in noisy)
        alone, with_noise = (
            Shaky(needs("- -") + cases, ["x"], noisy=ids) for cases in (steady_ones, steady_ones + noisy)
        )
        for world in (alone, with_noise):
            world.run(max_iterations=1)
        assert alone.requests() == with_noise.requests()

    def test_it_names_them_in_the_end_whatever_became_of_the_prompt(self) -> None:
        cases = needs("a b") + needs("n", VALIDATION) + needs("n", HELDOUT)
        world = Shaky(cases, ["a b"], noisy=("validation-1-n", "heldout-1-n"))
        found = world.result()
        assert found.outcome == "improved"
        assert [case.case for case in found.flaky] == ["validation-1-n", "heldout-1-n"]
        world = Shaky(needs("a n"), ["x"], noisy=("train-2-n",))
        found = world.result(max_iterations=1)
        assert found.outcome == "unchanged"
        assert found.flaky == (FlakyCase("train-2-n", 2, 3),)

    def test_fresh_answers_of_the_original_count_as_well(self) -> None:
        world = Shaky(needs("a b - -"), ["a b"], fresh_passes=("train-1-a",))
        found = world.result()
        (case,) = found.flaky
        assert (case.case, case.passed) == ("train-1-a", case.samples - 3)

    def test_the_rates_of_what_changed_are_over_all_samples(self) -> None:
        world = Shaky(needs("a -"), ["a"])
        assert world.result().rates == {"train-1-a": (0.0, 1.0)}

"""Is a gain more than noise? Worlds whose truth is known; the full table is in benchmarks/confirmation.py."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_promptopt.journal import Journal, read_events
from pytest_promptopt.optimizer.alpha_spending import AlphaSpending
from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.confirmation import (
    ConfirmationProgress,
    ConfirmationTest,
    first_sample_number,
)
from pytest_promptopt.optimizer.confirmation_power import (
    detectable_gain,
    foreseen_calls,
    least_pairs,
    most_pairs,
    usual_calls,
)
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.records import Call, Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.results import Confirmation
from tests.confirmation_world import WINNER, Chances, Tosses, confirmed
from tests.refine_world import SETTINGS

Found = Sequence[tuple[Confirmation, int]]


def many(
    chances: Chances,
    *,
    runs: int,
    candidates: int = 1,
    alpha: float = 0.05,
    ceiling: int | None = None,
    begun: ConfirmationProgress = ConfirmationProgress(0),  # noqa: B008  # frozen
    parts: int = 1,
    missing: float = 0.0,
) -> Found:
    """The confirmations, with their calls, of the runs whose search has a winner."""
    found = (
        confirmed(
            chances,
            seed=seed,
            candidates=candidates,
            alpha=alpha,
            ceiling=ceiling,
            begun=begun,
            parts=parts,
            missing=missing,
        )
        for seed in range(runs)
    )
    return [(confirmation, calls) for confirmation, calls in found if confirmation is not None]


def improved(found: Found, *, within: int = 1200) -> int:
    return sum(confirmation.verdict == "improved" and calls <= within for confirmation, calls in found)


def spread_loss(fixed: int, cases: int) -> Chances:
    """So many cases are fixed for sure, and the others lose as much together."""
    return [(0.0, 1.0)] * fixed + [(1.0, 1 - fixed / (cases - fixed))] * (cases - fixed)


def group(cases: int, *, heldout: int = 0, prompts: int = 1) -> PromptGroup:
    splits = [Split.TRAIN] * cases + [Split.HELDOUT] * heldout
    names = tuple(f"{number}.md" for number in range(prompts))
    return PromptGroup((), tuple(Case(str(number), names, split) for number, split in enumerate(splits)))


class TestNoGainIsShownWhereThereIsNone:
    @pytest.mark.parametrize("chance", [0.5, 0.9])
    def test_the_best_of_many_candidates_without_effect_is_hardly_ever_confirmed(self, chance: float) -> None:
        found = many([(chance, chance)] * 40, runs=100, candidates=10)
        assert len(found) > 80
        assert improved(found) <= 10

    @pytest.mark.parametrize(("alpha", "most"), [(0.01, 4), (0.2, 25)])
    def test_alpha_is_how_often_luck_is_confirmed(self, alpha: float, most: int) -> None:
        found = many([(0.5, 0.5)] * 20, runs=60, candidates=10, alpha=alpha)
        assert len(found) > 50
        assert improved(found) <= most
        assert all((one.verdict == "improved") == (one.p <= alpha) for one, _ in found)

    @pytest.mark.parametrize(("fixed", "cases"), [(1, 10), (3, 10), (1, 30), (10, 30), (2, 100)])
    def test_some_sure_fixes_do_not_hide_that_the_others_lose_as_much(self, fixed: int, cases: int) -> None:
        """As often as one in three was confirmed when the cases that had changed counted by themselves."""
        found = many(spread_loss(fixed, cases), runs=60, candidates=20)
        assert len(found) > 10
        assert improved(found) <= 6

    def test_a_loss_spread_over_the_cases_that_looked_unchanged_is_seen(self) -> None:
        chances = [(0.0, 1.0)] * 3 + [(1.0, 0.95)] * 97
        found = many(chances, runs=40, candidates=20)
        assert len(found) > 30
        assert improved(found) == 0
        assert sum(confirmation.estimate < 0 for confirmation, _ in found) > 25

    def test_rates_between_0_and_1_count_by_their_mean(self) -> None:
        """Most cases rise by a little and a few fall by much: many signs for a gain, and no gain."""
        chances = [(0.5, 0.6)] * 18 + [(0.9, 0.0)] * 2
        found = many(chances, runs=100, candidates=10, parts=10)
        assert len(found) > 20
        assert sum(confirmation.better > 2 * confirmation.worse for confirmation, _ in found) > 10
        assert improved(found) <= 5
        assert {confirmation.test for confirmation, _ in found} == {"randomized sign test"}

    def test_answers_that_do_not_come_in_are_no_evidence(self) -> None:
        found = many([(0.5, 0.5)] * 30, runs=100, candidates=10, missing=0.4)
        assert improved(found) <= 11
        assert all(confirmation.pairs < calls / 2 for confirmation, calls in found)

    def test_going_on_under_a_higher_ceiling_errs_no_more_often(self) -> None:
        """First with 30 pairs, then to the end; the looks of the first time are made again."""
        found = many([(0.5, 0.5)] * 40, runs=150, candidates=10, begun=ConfirmationProgress(30, (17,)))
        assert len(found) > 100
        assert improved(found) <= 15
        account, whole = AlphaSpending(0.05, 30, 240), AlphaSpending(0.05, 240, 240)
        assert account.allowed(30) < account.allowed(100) < account.allowed(240) == whole.allowed(240) < 0.05


class TestAGainIsShown:
    @pytest.mark.parametrize(("before", "within"), [(0.5, 1200), (0.7, 900), (0.85, 500)])
    def test_ten_points_of_a_hundred_noisy_cases_are_mostly_shown(self, before: float, within: int) -> None:
        found = many([(before, before + 0.1)] * 100, runs=60)
        assert improved(found, within=within) >= 0.8 * len(found)

    @pytest.mark.parametrize("cases", [30, 75, 100])
    def test_thirty_points_take_a_few_looks(self, cases: int) -> None:
        found = many([(0.5, 0.8)] * cases, runs=60)
        assert improved(found) == len(found)
        assert statistics.median(calls for _, calls in found) <= 96

    @pytest.mark.parametrize("alpha", [0.001, 0.01, 0.5])
    def test_one_case_fixed_for_good_is_shown_at_every_alpha(self, alpha: float) -> None:
        for same in (0, 1, 49):
            assert improved(many([(0.0, 1.0)] + [(1.0, 1.0)] * same, runs=2, alpha=alpha)) == 2

    @pytest.mark.parametrize(
        ("fixed", "broken", "same", "most"),
        [
            (3, 0, 7, 60),
            (1, 0, 0, 12),
            (1, 0, 99, 1200),
            (60, 0, 0, 24),
            (40, 0, 35, 72),
            (3, 2, 20, 300),
            (12, 9, 79, 700),
        ],
    )
    def test_a_net_gain_of_a_model_that_always_answers_the_same_is_confirmed_each_time(
        self, fixed: int, broken: int, same: int, most: int
    ) -> None:
        chances = [(0.0, 1.0)] * fixed + [(1.0, 0.0)] * broken + [(1.0, 1.0)] * same
        found = many(chances, runs=5)
        assert improved(found) == 5
        assert all(calls <= most for _, calls in found)

    def test_gains_in_a_part_of_each_case_are_shown(self) -> None:
        found = many([(0.5, 0.8)] * 40, runs=40, parts=5)
        assert improved(found) == len(found)
        assert {confirmation.test for confirmation, _ in found} == {"randomized sign test"}

    def test_the_test_that_showed_it_is_named(self) -> None:
        """Many fixes by their signs, a small gain among losses by coming out the same again and again."""
        for chances, test in (
            ([(0.0, 1.0)] * 40, "sign test"),
            ([(0.0, 1.0)] * 12 + [(1.0, 0.0)] * 9 + [(1.0, 1.0)] * 79, "test of repeated results"),
        ):
            found, _ = confirmed(chances, seed=0)
            assert found is not None
            assert (found.verdict, found.test) == ("improved", test)

    def test_a_loss_beyond_chance_is_told_as_one(self) -> None:
        found = many([(0.6, 0.3)] * 10, runs=60, candidates=20)
        assert len(found) > 10, "some searches are that lucky"
        assert {confirmation.verdict for confirmation, _ in found} <= {"worse", "not shown"}
        assert sum(confirmation.verdict == "worse" for confirmation, _ in found) > len(found) / 8

    def test_a_part_of_many_cases_does(self) -> None:
        found, calls = confirmed([(0.0, 1.0)] * 200 + [(1.0, 1.0)] * 600, seed=1)
        assert found is not None
        assert found.verdict == "improved"
        assert calls <= 100
        assert found.estimate == pytest.approx(0.25, abs=0.2)

    def test_a_case_that_is_always_skipped_hides_no_gain(self) -> None:
        world = Skipping([(0.0, 1.0)] * 2 + [(1.0, 0.0)] + [(1.0, 1.0)] * 40, seed=0)
        context = RunContext(world, lambda requests: [], SETTINGS, SearchHooks(), None, lambda: {})
        found = ConfirmationTest(
            PromptGroup((), tuple(world.cases)), *world.searched(), context, first=1
        ).run()
        assert found.verdict == "improved"
        assert all("42" not in trial.cases for trial in world.trials), "nobody asks it again"


class Skipping(Tosses):
    """The last case is always skipped."""

    def _answer(self, number: int, *, winner: bool) -> CaseResult:
        if number == len(self.cases) - 1:
            return CaseResult(self.cases[number], (Outcome(str(number), Status.SKIPPED, 0.0),))
        return super()._answer(number, winner=winner)


class CutOff(Tosses):
    """More than three fresh answers at a time do not come in."""

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        if sum(len(trial.cases) for trial in trials if trial.samples is not None) > 3:
            raise StopRun("budget used up", "all calls are used")
        return super().evaluate(trials)


class TestWhatIsAsked:
    def asked(self, run: str) -> list[tuple[int, str]]:
        world = Tosses([(0.5, 0.5)] * 20, seed=1)
        original, winner = world.searched()
        context = RunContext(world, lambda requests: [], SETTINGS, SearchHooks(), None, lambda: {})
        first = first_sample_number(run, WINNER)
        ConfirmationTest(PromptGroup((), tuple(world.cases)), original, winner, context, first=first).run()
        return [(trial.samples[0], case) for trial in world.trials if trial.samples for case in trial.cases]

    def test_each_run_asks_in_an_order_and_with_samples_of_its_own_and_so_does_who_continues_it(self) -> None:
        assert self.asked("r1") == self.asked("r1")
        assert not {*self.asked("r1")} & {*self.asked("r2")}
        assert [case for _, case in self.asked("r1")][:40] != [case for _, case in self.asked("r2")][:40]

    def test_all_cases_have_their_turn_before_one_has_its_second(self) -> None:
        pairs = self.asked("r1")
        first = Counter(case for sample, case in pairs if sample == min(pairs)[0])
        assert len(first) == 20
        assert set(first.values()) == {2}, "once under either text"

    def test_pairs_are_asked_in_the_order_of_the_suite_in_which_they_are_sent(self) -> None:
        """Else those that came in before a stop are no beginning of what was asked."""
        world = Tosses([(0.5, 0.5)] * 20, seed=1)
        by_split = (Split.TRAIN, Split.VALIDATION)
        world.cases = [replace(case, split=by_split[int(case.id) % 2]) for case in world.cases]
        original, winner = [
            replace(
                version,
                results={
                    split: tuple(r for r in version.evidence(Split.TRAIN) if r.case.split is split)
                    for split in by_split
                },
            )
            for version in world.searched()
        ]
        context = RunContext(world, lambda requests: [], SETTINGS, SearchHooks(), None, lambda: {})
        ConfirmationTest(PromptGroup((), tuple(world.cases)), original, winner, context, first=1).run()
        asked = [[int(case) for case in trial.cases] for trial in world.trials]
        assert any({case % 2 for case in cases} == {0, 1} for cases in asked)
        assert asked == [sorted(cases) for cases in asked]

    @pytest.mark.parametrize(("cached", "asked"), [(False, 1), (True, 2)])
    def test_an_answer_that_an_earlier_run_has_seen_serves_for_no_pair(
        self, cached: bool, asked: int
    ) -> None:
        world = Tosses([(0.0, 1.0)] * 20, seed=1)
        original, winner = world.searched()
        call = Call("route.md", {}, "k", "a", "end_turn", None, None, 0.0, cached=cached)
        spared = [
            replace(result, outcomes=(replace(result.outcomes[0], calls=(call,)),))
            for result in winner.evidence(Split.TRAIN)
        ]
        context = RunContext(world, lambda requests: [], SETTINGS, SearchHooks(), None, lambda: {})
        world.trials.clear()
        cases = PromptGroup((), tuple(world.cases))
        found = ConfirmationTest(cases, original, winner, context, first=1, served=spared).run()
        assert found.pairs <= 20
        assert world.calls == asked * found.pairs

    def test_a_case_that_the_winner_was_spared_is_run_once_though_its_pairs_are_cut_off(self) -> None:
        world = CutOff([(0.0, 1.0)] * 20, seed=1)
        original, winner = world.searched()
        context = RunContext(world, lambda requests: [], SETTINGS, SearchHooks(), None, lambda: {})
        world.trials.clear()
        cases, spared = PromptGroup((), tuple(world.cases)), [case.id for case in world.cases]
        test = ConfirmationTest(cases, original, winner, context, first=1, spared=spared)
        found = test.run()
        assert (found.pairs, found.why, len(test.caught_up)) == (6, "all calls are used", 6)
        new = [case for trial in world.trials if trial.overlay for case in trial.cases]
        assert sorted(new) == sorted(test.caught_up), "each once, for both purposes"

    def test_what_the_search_has_seen_of_the_original_serves_for_no_pair(self) -> None:
        """The winner was chosen by it: where the original had bad luck, a fresh answer says so."""
        world = Tosses([(1.0, 1.0)] * 20, seed=1)
        original, winner = world.searched()
        failed = tuple(CaseResult(case, (Outcome(case.id, Status.FAILED, 0.0),)) for case in world.cases)
        original = replace(original, results={Split.TRAIN: failed})
        context = RunContext(world, lambda requests: [], SETTINGS, SearchHooks(), None, lambda: {})
        cases, spared = PromptGroup((), tuple(world.cases)), winner.evidence(Split.TRAIN)
        found = ConfirmationTest(cases, original, winner, context, first=1, served=spared).run()
        assert found.pairs >= 20
        assert (found.better, found.worse, found.verdict) == (0, 0, "not shown")

    def test_half_of_the_pairs_are_spared_where_the_winner_is_not_ahead_by_then(self) -> None:
        found = many([(0.5, 0.4)] * 50, runs=40, candidates=20)
        assert statistics.median(confirmation.pairs for confirmation, _ in found) <= 160
        assert most_pairs(50, 0.05) == 300

    def test_where_no_answer_comes_in_few_are_asked_for(self) -> None:
        world = Tosses([(0.0, 1.0)] * 50, seed=1)
        original, winner = world.searched()
        world.missing, paid = 1.0, world.calls
        context = RunContext(world, lambda requests: [], SETTINGS, SearchHooks(), None, lambda: {})
        test = ConfirmationTest(PromptGroup((), tuple(world.cases)), original, winner, context, first=1)
        found = test.run()
        assert (found.verdict, found.pairs) == ("not shown", 0)
        assert found.why == "none of 6 pairs of fresh answers has a result"
        assert found.needed, "it may be asked again"
        assert world.calls - paid == 12


class TestUnderACeiling:
    def test_every_call_that_is_left_may_be_used_and_none_more(self) -> None:
        found = many([(0.5, 0.6)] * 100, runs=20, ceiling=201)
        assert max(calls for _, calls in found) == 200
        assert {one.why for one, _ in found if one.verdict == "not shown" and one.pairs == 100} == {
            "the ceiling on calls is reached"
        }

    def test_forty_of_seventy_five_are_shown_with_forty_calls(self) -> None:
        found = many([(0.0, 1.0)] * 40 + [(1.0, 1.0)] * 35, runs=40, ceiling=40)
        assert improved(found) >= 38

    def test_what_is_too_little_is_not_begun(self) -> None:
        found, calls = confirmed([(0.0, 1.0)] * 10, seed=1, ceiling=9)
        assert found is not None
        assert (found.verdict, calls, found.needed) == ("not shown", 0, 12)
        assert found.why == "the ceiling leaves too few calls for it"

    def test_it_says_how_many_more_calls_would_do_and_they_mostly_do(self) -> None:
        """The estimate is as rough as the few pairs that it comes from."""
        short = many([(0.4, 0.6)] * 75, runs=60, ceiling=60)
        needed = sorted(one.needed for one, _ in short if one.verdict == "not shown" and one.estimate > 0)
        assert needed
        assert 40 <= statistics.median(needed) <= 800
        enough = int(60 + statistics.median(needed))
        more = many([(0.4, 0.6)] * 75, runs=60, ceiling=enough, begun=ConfirmationProgress(30))
        assert improved(more) >= 0.6 * len(more)

    def test_no_calls_are_said_to_do_where_nothing_is_gained(self) -> None:
        found = many([(0.5, 0.4)] * 50, runs=40, candidates=20, ceiling=100)
        assert all(one.needed == 0 for one, _ in found if one.estimate <= 0)

    def test_every_look_that_was_not_planned_is_noted_for_a_process_that_goes_on(
        self, tmp_path: Path
    ) -> None:
        """Half of what is left is for another prompt, again and again, so there are several."""
        world = Tosses([(0.4, 0.6)] * 60, seed=3)
        journal = Journal.create(tmp_path / "run", "run")
        call_budget = CallBudget(lambda: 56 - world.calls)
        context = RunContext(
            world, lambda requests: [], SETTINGS, SearchHooks(), journal, lambda: {}, call_budget
        )
        versions = world.searched(20)
        world.trials.clear()
        begun = ConfirmationProgress(limit=18, looked=(5,))
        ConfirmationTest(group(60), *versions, context, first=1, share=2, begun=begun).run()
        journal.close()
        noted = [event.data["looked"] for event in read_events(journal.path) if event.event == "confirming"]
        assert len(noted) > 2
        assert [looked[: len(earlier)] for earlier, looked in pairwise(noted)] == noted[:-1]


class TestWhatIsForeseen:
    def test_it_grows_with_the_cases_up_to_a_limit_and_with_a_smaller_alpha(self) -> None:
        assert [most_pairs(cases, 0.05) for cases in (0, 1, 10, 500)] == [0, 6, 60, 600]
        assert [least_pairs(alpha) for alpha in (0.5, 0.05, 0.01, 0.001)] == [2, 5, 8, 11]
        assert [most_pairs(cases, 0.001) for cases in (1, 10, 500)] == [11, 110, 600]
        assert most_pairs(1, 1e-300) == 997

    def test_a_large_gain_takes_a_handful_of_looks_and_a_small_one_more(self) -> None:
        calls = [foreseen_calls(75, fixed, 0, 0.05, each=1) for fixed in (75, 40, 22, 8)]
        assert calls == sorted(calls)
        assert calls[0] == 12
        assert 20 <= calls[1] <= 40
        assert 50 <= calls[2] <= 80
        assert foreseen_calls(75, 22, 8, 0.05, each=1) > calls[2], "what breaks by chance counts"
        assert foreseen_calls(75, 40, 0, 0.05, each=2) == 2 * calls[1]

    def test_what_cannot_be_shown_sensibly_is_foreseen_as_nothing(self) -> None:
        assert foreseen_calls(75, 8, 8, 0.05, each=1) == 0
        assert foreseen_calls(75, 8, 9, 0.05, each=1) == 0
        assert foreseen_calls(75, 20, 18, 0.05, each=1) == 0
        assert foreseen_calls(0, 3, 0, 0.05, each=1) == 0

    @pytest.mark.parametrize(("before", "after"), [(0.0, 1.0), (0.5, 0.8), (0.3, 0.9), (0.6, 0.8)])
    def test_the_calls_foreseen_show_it_about_nine_times_out_of_ten(
        self, before: float, after: float
    ) -> None:
        fixed, broken = 75 * after * (1 - before), 75 * before * (1 - after)
        ceiling = foreseen_calls(75, fixed, broken, 0.05, each=1)
        found = many([(before, after)] * 75, runs=100, ceiling=ceiling)
        assert 0.8 * len(found) <= improved(found)

    @pytest.mark.parametrize("further", [0, 400])
    def test_what_is_known_of_a_sample_is_taken_to_be_so_of_all(self, further: int) -> None:
        world = Tosses([(0.0, 1.0)] * 20 + [(1.0, 1.0)] * 80, seed=0)
        context = RunContext(
            world, lambda requests: [], SETTINGS, SearchHooks(), None, lambda: {}, CallBudget(lambda: 0)
        )
        found = ConfirmationTest(group(100 + further), *world.searched(), context, first=1).run()
        assert found.needed == foreseen_calls(100, 20, 0, SETTINGS.alpha, each=1)

    def test_before_anything_is_known_thirty_points_are_planned_for(self) -> None:
        assert usual_calls([group(75)], None, 0.05) == foreseen_calls(75, 22.5, 0, 0.05, each=1)
        assert usual_calls([group(75)], 100, 0.05) == 25
        assert usual_calls([group(1), group(1)], None, 0.05) == 24, "all that are ever asked of one case"

    def test_the_gain_it_shows_is_ten_points_for_a_hundred_noisy_cases(self) -> None:
        noisy = partial(detectable_gain, differing=0.5)
        assert noisy(600, 0.05) == pytest.approx(0.1, abs=0.01)
        assert noisy(150, 0.05) == pytest.approx(2 * noisy(600, 0.05))
        assert noisy(1, 0.05) == 1.0
        assert noisy(600, 0.5) < noisy(600, 0.05) < noisy(600, 0.001)

    def test_where_no_pair_differs_a_few_must_be_won(self) -> None:
        assert detectable_gain(100, 0.05, differing=0.0) == least_pairs(0.05) / 100
        assert detectable_gain(3, 0.05, differing=0.0) == 1.0

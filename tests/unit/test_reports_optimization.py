"""A developer reads what ``--optimize`` did about a prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.prompts.examples import Example, with_examples
from pytest_promptopt.records import FlakyCase, Role, Spend, Split
from pytest_promptopt.reports.lines import BAD, BOLD, GOOD, WARN, Line
from pytest_promptopt.reports.optimization import MAX_DIFF_LINES, run_summary
from pytest_promptopt.results import (
    CandidateResult,
    CandidateVerdict,
    Confirmation,
    ConfirmationVerdict,
    Iteration,
    PromptOutcome,
    PromptResult,
    RunResult,
    SplitScore,
)
from pytest_promptopt.statistics import PERMUTATION_TEST, PairedTest

ROUTE = "prompts/route.md"


def text(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


def markup_of(lines: list[Line], part: str) -> dict[str, bool]:
    (found,) = [line for line in lines if part in line.text]
    return dict(found.markup)


BEFORE = "You route tickets.\n\n{{ ticket }}\n"
AFTER = "You route tickets.\nAnswer with one word.\n\n{{ ticket }}\n"
CANDIDATES = tuple(
    CandidateResult(f"1.{n}", (ROUTE,), "state the format", "clearer", 0.9, CandidateVerdict.ACCEPTED, "")
    for n in range(3)
)
IMPROVED = PromptResult(
    prompt=ROUTE,
    before=BEFORE,
    after=AFTER,
    outcome=PromptOutcome.IMPROVED,
    stop="target reached",
    why="100% of the training cases pass; the target is 100%",
    scores=(
        SplitScore(Split.TRAIN, 36, 0.611, 1.0),
        SplitScore(Split.VALIDATION, 12, 0.583, 0.917),
        SplitScore(Split.HELDOUT, 40, 0.6, 0.825, errored=2, fixed=9, broken=0),
    ),
    iterations=(Iteration(1, "training", (ROUTE,), CANDIDATES, 0.9, Spend(), 2.0),),
    fixed=tuple(f"test_route.py::test_queue[{n}]" for n in range(14)),
    broken=tuple(f"test_route.py::test_queue[{n}]" for n in range(20, 25)),
    written=True,
)

CONFIRMED = Confirmation(ConfirmationVerdict.IMPROVED, 0.3821, 0.0021, 48, 19, 1, 96, 0.2)


def summary(prompt: PromptResult = IMPROVED, **changed: object) -> list[Line]:
    run = RunResult(
        "run-1", (prompt,), {Role.TARGET: Spend(120, 4000, 500, 0.05, 0)}, 65.0, journal="j.jsonl"
    )
    return run_summary(replace(run, **changed), alpha=0.05)  # type: ignore[arg-type]


def with_heldout(score: SplitScore | None) -> PromptResult:
    return replace(IMPROVED, scores=IMPROVED.scores[:2] + (() if score is None else (score,)))


class TestRunSummary:
    def test_cases_that_the_text_was_not_run_on_are_counted_beside_the_rate(self) -> None:
        train, *others = IMPROVED.scores
        prompt = replace(IMPROVED, scores=(replace(train, unverified=9), *others))
        assert "  train       61.1%          100.0%         36 (9 not run with this text)" in text(
            summary(prompt)
        )

    def test_cases_that_are_examples_are_told_beside_the_others_and_above_the_diff(self) -> None:
        train, *others = IMPROVED.scores
        shown = [Example({"ticket": "Where is it? " * 20}, "delivery")] * 6
        prompt = replace(
            IMPROVED,
            after=with_examples(AFTER, shown),
            scores=(replace(train, cases=24, examples=6), *others),
            examples=tuple(f"test_route.py::test_queue[{n}]" for n in range(6)),
        )
        lines = text(summary(prompt)).splitlines()
        assert (
            "  train       61.1%          100.0%         24 (6 are examples, each run without its own)"
            in lines
        )
        place = lines.index(
            "  examples: 6 of your training cases now stand in the prompt, about 510 tokens in each call"
        )
        assert lines[place + 1] == "  diff:"
        one = replace(prompt, scores=(replace(train, unverified=3, examples=1),), examples=("a",))
        assert "36 (3 not run with this text; 1 is an example, run without it)" in text(summary(one))
        assert "1 of your training cases now stands in the prompt" in text(summary(one))
        assert "stand in the prompt" not in text(summary())

    def test_it_reads_from_the_gain_to_the_file(self) -> None:
        assert text(summary()).splitlines() == [
            "prompts/route.md: improved, train 61.1% -> 100.0%, validation 58.3% -> 91.7%, "
            "held-out 60.0% -> 82.5%",
            "  pass rate   before         after          cases",
            "  train       61.1%          100.0%         36",
            "  validation  58.3%          91.7%          12",
            "  held-out    60.0% [44-74]  82.5% [68-91]  40 "
            "(2 errored, in no rate; in brackets: 95% interval)",
            "  changed:  14 cases fixed, 5 broken in train and validation:",
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

    def test_a_confirmed_gain_says_what_it_rests_on(self) -> None:
        shown = summary(replace(IMPROVED, confirmation=CONFIRMED))
        line = (
            "  confirmed: +38.2 points on fresh answers (p = 0.0021; 48 pairs: 19 better, 1 worse; 96 calls)"
        )
        assert line in text(shown).splitlines()
        assert markup_of(shown, "confirmed:") == GOOD

    def test_a_gain_that_is_not_shown_says_what_could_be(self) -> None:
        noise = replace(
            CONFIRMED, verdict=ConfirmationVerdict.NOT_SHOWN, estimate=0.021, p=0.4, detectable=0.134
        )
        prompt = replace(
            IMPROVED,
            outcome=PromptOutcome.NOT_SHOWN,
            written=False,
            unwritten="it may be noise",
            confirmation=noise,
        )
        shown = summary(prompt)
        assert shown[0].text.startswith("prompts/route.md: gain not shown, left alone, train 61.1%")
        words = " ".join(text(shown).split())
        told = "not shown: +2.1 points on fresh answers, a gain of 13 points would be significant (p = 0.4; "
        assert f"{told}48 pairs: 19 better" in words
        assert "no evidence that this carries over" not in text(shown)
        cut = replace(noise, pairs=0, why="all calls are used")
        assert "  not shown: all calls are used" in text(summary(replace(prompt, confirmation=cut)))

    def test_what_is_written_without_being_shown_to_be_better_is_called_so(self) -> None:
        noise = replace(
            CONFIRMED, verdict=ConfirmationVerdict.NOT_SHOWN, estimate=0.021, p=0.4, detectable=0.134
        )
        best = replace(IMPROVED, outcome=PromptOutcome.NOT_SHOWN, accepted=True, confirmation=noise)
        shown = summary(best)
        assert shown[0].text.startswith("prompts/route.md: gain not shown, written all the same, train 61.1%")
        assert shown[0].markup == {**BOLD, **WARN}
        words = " ".join(text(shown).split())
        assert "not shown: +2.1 points on fresh answers" in words
        assert "accepted: the new text is not shown to be better; --promptopt-accept=best takes it" in words
        assert "held-out: the gain carries over: 9 cases fixed" in words
        assert "written: prompts/route.md" in words
        dry = summary(replace(best, written=False, unwritten="dry run"))
        assert dry[0].text == "prompts/route.md: gain not shown, not written: dry run"

    def test_the_verdict_of_held_out_cases_follows_alpha(self) -> None:
        score = SplitScore(Split.HELDOUT, 12, 0.5, 0.9, fixed=5, broken=0)
        strict, plain = (
            " ".join(text(run_summary(RunResult("r", (with_heldout(score),), {}, 1.0), alpha=alpha)).split())
            for alpha in (0.01, 0.05)
        )
        assert "gain not shown: 5 cases fixed, 0 broken, which may be chance (p = 0.031" in strict
        assert "only 12 held-out cases: too few to show much; 14 is the least" in strict
        assert "the gain carries over: 5 cases fixed, 0 broken (p = 0.031" in plain
        assert "too few" not in plain

    def test_flaky_cases_are_named_with_what_their_samples_did(self) -> None:
        noisy = tuple(FlakyCase(f"test_route.py::test_queue[{n}]", n + 1, 7) for n in range(4))
        shown = summary(replace(IMPROVED, flaky=noisy))
        start = (
            text(shown).splitlines().index("  flaky:    4 cases both passed and failed under the first text:")
        )
        assert [line.text.strip() for line in shown[start + 1 : start + 5]] == [
            "test_route.py::test_queue[0] (1 of 7 samples passed)",
            "test_route.py::test_queue[1] (2 of 7 samples passed)",
            "test_route.py::test_queue[2] (3 of 7 samples passed)",
            "... and 1 more",
        ]
        unchanged = summary(replace(IMPROVED, after=BEFORE, outcome=PromptOutcome.UNCHANGED, flaky=noisy))
        assert "  flaky:    4 cases" in text(unchanged)
        assert "flaky" not in text(summary())

    def test_a_broken_case_has_its_pass_rate_where_some_samples_pass(self) -> None:
        first, second, *_ = IMPROVED.broken
        shown = text(summary(replace(IMPROVED, rates={first: (1.0, 1 / 3), second: (1.0, 0.0)}))).splitlines()
        assert f"            {first} (pass rate 33.3%)" in shown
        assert f"            {second}" in shown

    def test_a_loss_on_fresh_answers_is_told_from_one_on_held_out_cases(self) -> None:
        loss = replace(CONFIRMED, verdict=ConfirmationVerdict.WORSE, estimate=-0.2, p=1.0)
        shown = summary(replace(IMPROVED, outcome=PromptOutcome.WORSE, written=False, confirmation=loss))
        assert shown[0].text.startswith("prompts/route.md: worse on fresh answers, left alone")
        assert markup_of(shown, "  worse: -20.0 points") == BAD

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

    def test_scores_that_rise_without_a_pass_carry_over_as_well(self) -> None:
        tested = PairedTest(0.004, 0.99, PERMUTATION_TEST)
        score = SplitScore(Split.HELDOUT, 40, 0.4, 0.8, raised=38, lowered=2, tested=tested)
        told = " ".join(text(summary(with_heldout(score))).split())
        assert (
            "held-out: the gain carries over: 0 cases fixed, 0 broken, 38 raised, 2 lowered "
            "(p = 0.004, exact paired permutation test)"
        ) in told
        fallen = replace(score, tested=PairedTest(0.99, 0.004, PERMUTATION_TEST))
        assert "  held-out: worse on cases it never saw: 0 cases fixed" in text(summary(with_heldout(fallen)))

    def test_what_rose_in_the_search_without_a_pass_is_counted(self) -> None:
        train = replace(IMPROVED.scores[0], raised=7, lowered=1)
        told = text(summary(replace(IMPROVED, scores=(train,))))
        assert "broken, 7 raised, 1 lowered in train" in told

    def test_a_confirmation_names_a_test_that_is_not_the_sign_test(self) -> None:
        graded = replace(CONFIRMED, test="randomized sign test")
        told = " ".join(text(summary(replace(IMPROVED, confirmation=graded))).split())
        assert "(p = 0.0021, randomized sign test; 48 pairs: 19 better, 1 worse; 96 calls)" in told

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
        passing = PromptResult(
            ROUTE, BEFORE, BEFORE, PromptOutcome.PASSING, "nothing failing", "all pass", ()
        )
        assert summary(passing)[0].text == "prompts/route.md: no failing case, left alone"
        assert summary(passing)[1].text == ""

    def test_an_unchanged_prompt_shows_no_diff(self) -> None:
        scores = (SplitScore(Split.TRAIN, 36, 0.611, 0.611),)
        same = replace(
            IMPROVED,
            after=BEFORE,
            outcome=PromptOutcome.UNCHANGED,
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

    def test_refused_candidates_are_counted_with_their_reasons(self) -> None:
        whys = ["It was tried before."] * 4 + [
            "It is too long.",
            "No text.",
            "It lost a variable.",
            "Odd\x1b.",
        ]
        refused = [
            replace(CANDIDATES[0], rate=None, verdict=CandidateVerdict.REFUSED, why=why) for why in whys
        ]
        candidates = (*CANDIDATES, *refused)
        told = text(
            summary(replace(IMPROVED, iterations=(replace(IMPROVED.iterations[0], candidates=candidates),)))
        )
        assert (
            "  tried:    1 iteration, 11 candidates\n"
            "  refused:  8 candidates, before any call was made:\n"
            "            4 x It was tried before.\n"
            "            1 x It is too long.\n"
            "            1 x No text.\n"
            "            ... and 2 further reasons\n"
        ) in told

    def test_no_candidate_is_called_worse_that_was_never_measured(self) -> None:
        stopped = PromptResult(
            ROUTE, BEFORE, BEFORE, PromptOutcome.UNCHANGED, "budget used up", "the ceiling", ()
        )
        assert summary(stopped)[0].text == "prompts/route.md: unchanged, no candidate was measured"

    def test_the_prompts_of_a_pipeline_have_one_account_of_their_search_and_a_fate_each(self) -> None:
        both = ("prompts/plan.md", ROUTE)
        route = replace(IMPROVED, pipeline=both, scores=IMPROVED.scores[:2], broken=(), note="one note")
        plan = replace(
            route, prompt=both[0], after=BEFORE, outcome=PromptOutcome.UNCHANGED, written=False, fixed=()
        )
        lines = run_summary(RunResult("run-1", (plan, route), {}, 65.0), alpha=0.05)
        shown = text(lines).splitlines()
        assert shown[0] == (
            "pipeline of prompts/plan.md and prompts/route.md, "
            "train 61.1% -> 100.0%, validation 58.3% -> 91.7%"
        )
        fates = shown.index("prompts/plan.md: unchanged")
        assert shown[fates + 1 : fates + 3] == ["prompts/route.md: improved", "  diff:"]
        for once in ("  train ", "  changed: ", "  held-out: ", "  tried: ", "  stopped: ", "  note: "):
            assert [line.startswith(once) for line in shown].count(True) == 1, once
            assert any(line.startswith(once) for line in shown[:fates]), once

    def test_a_pipeline_without_a_better_candidate_says_so_once(self) -> None:
        both = ("prompts/plan.md", ROUTE)
        route = replace(IMPROVED, pipeline=both, after=BEFORE, outcome=PromptOutcome.UNCHANGED, written=False)
        run = RunResult("run-1", (replace(route, prompt=both[0]), route), {}, 65.0)
        assert text(run_summary(run, alpha=0.05)).count("no candidate was better") == 1

    @pytest.mark.parametrize("why", ["dry run", "prompts/route.md: the file changed on disk"])
    def test_what_was_not_written_is_no_plain_success(self, why: str) -> None:
        lines = summary(replace(IMPROVED, written=False, unwritten=why))
        assert lines[0] == Line(f"{ROUTE}: improved, not written: {why}", {**BOLD, **WARN})
        assert "  written:  no; the new text is in j.jsonl" in text(lines).splitlines()
        assert GOOD.items() <= summary()[0].markup.items()

    def test_a_fall_on_held_out_cases_is_red_and_what_was_interrupted_is_yellow(self) -> None:
        worse = summary(
            replace(IMPROVED, written=False, outcome=PromptOutcome.WORSE, unwritten="it is worse")
        )
        assert worse[0].text.startswith("prompts/route.md: worse on held-out cases, left alone, train 61.1%")
        assert worse[0].markup == {**BOLD, **BAD}
        cut = summary(
            replace(IMPROVED, written=False, outcome=PromptOutcome.INTERRUPTED, unwritten="interrupted")
        )
        assert cut[0].markup == {**BOLD, **WARN}
        assert "  written:  no; the new text is in j.jsonl" in text(cut).splitlines()

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
            unwritten=foreign,
            written=False,
            broken=(foreign,),
            flaky=(FlakyCase(foreign, 1, 2),),
        )
        lines = summary(hostile, notes=(foreign,), journal=foreign)
        assert all(line.text.isprintable() for line in lines)
        together = summary(replace(hostile, pipeline=(foreign, foreign)))
        assert all(line.text.isprintable() for line in together)

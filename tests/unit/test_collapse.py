"""A text that answers the same to everything is seen, however good its rate looks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pytest_promptopt.optimizer.acceptance import compare, compare_estimates, rank_key
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.label_rates import (
    answers_all_the_same,
    balanced_accuracy,
    find_dominant_answers,
    label_scores,
    one_answer_without_gain,
)
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.rate_posterior import RatePosterior, posterior_of
from pytest_promptopt.optimizer.verdict_model import VerdictModel
from pytest_promptopt.records import Call, Case, CaseResult, Failure, Outcome, Split, Status
from pytest_promptopt.reports.labels import label_table
from pytest_promptopt.reports.lines import BAD
from pytest_promptopt.reports.optimization import run_summary
from pytest_promptopt.results import LabelScore, PromptOutcome, PromptResult, RunResult, SameAnswer
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.refine_world import VALIDATION, FakePrompt, Need, World, needs

TRAIN = Split.TRAIN


def answered(expected: str, answers: str, *, stated: bool = True, split: Split = TRAIN) -> list[CaseResult]:
    """Cases that expect one label, with these answers; a letter is short for ``positive``, ``negative``.

    :param stated: whether a test that passes says what it expects.
    """
    words = {"p": "positive", "n": "negative", "?": "Well, that depends."}
    found = []
    for number, letter in enumerate(answers):
        answer = words.get(letter, letter)
        passed, id = answer == expected, f"t.py::test[{expected}-{number}]"
        call = Call("p.md", {}, id, answer, "end_turn", None, None, 0.1, False)
        failure = None if passed else Failure("AssertionError", "m", "t.py:1", "==", expected, answer)
        outcome = Outcome(
            id,
            Status.PASSED if passed else Status.FAILED,
            float(passed),
            failure=failure,
            calls=(call,),
            expected=expected if stated else None,
        )
        found.append(CaseResult(Case(id, ("p.md",), split), (outcome,)))
    return found


def run(positive: str, negative: str, *, stated: bool = True) -> list[CaseResult]:
    return answered("positive", positive, stated=stated) + answered("negative", negative, stated=stated)


@pytest.mark.parametrize(
    ("positive", "negative", "same"),
    [("ppp", "ppp", True), ("pp", "ppp", False), ("ppppp", "ppppn", False), ("pppppp", "p", False)],
    ids=["one answer to all", "too few cases", "another one came as well", "nearly all expect it"],
)
def test_that_one_answer_comes_to_all_cases_is_seen(positive: str, negative: str, same: bool) -> None:
    assert answers_all_the_same(run(positive, negative)) is same


class TestWhichTextIsTaken:
    """Both are right in 6 of 12 cases."""

    before = run("pppppp", "pppppp")
    collapsed = run("nn", "nnnnnnnnnn")
    even = run("pn", "nnnnnnnnnp")

    def test_of_equal_rates_the_one_that_knows_more_labels_goes_first(self) -> None:
        before = run("pp", "pppppppppp")
        same, both = (
            compare(before, after, growth=growth, by_label=True)
            for after, growth in ((self.collapsed, 0), (self.even, 500))
        )
        assert (same.after, same.balanced) == (both.after, 0.5)
        assert both.balanced == pytest.approx(0.7)
        assert sorted([same, both], key=rank_key) == [both, same]

    def test_the_larger_gain_goes_before_all(self) -> None:
        small, large = (
            replace(compare(self.before, self.before), balanced=balanced, after=after)
            for balanced, after in ((1.0, 0.5), (0.2, 0.6))
        )
        assert sorted([small, large], key=rank_key) == [large, small]

    def test_a_race_knows_it_of_every_candidate(self) -> None:
        learning = VerdictModel()
        base = posterior_of({r.case.id: r.rate or 0.0 for r in self.before}, learning)
        after = RatePosterior(base.cases, learning, base=base)
        after.add(self.before[:8])
        found = compare_estimates(base, after, self.before, self.before[:8])
        assert found.balanced == balanced_accuracy(self.before[:8]) == 0.5

    def test_without_labels_nothing_changes(self) -> None:
        texts = [*answered("one", "p"), *answered("two", "n"), *answered("three", "p")]
        assert balanced_accuracy(texts) is None
        assert rank_key(compare(texts, texts, growth=3))[1:] == (0.0, 3)

    def test_so_it_is_among_the_best_texts_of_a_search(self) -> None:
        world = World([])
        group = PromptGroup((FakePrompt(),), ())
        search = RefineSearch(group, world.search_context(group))
        same = EvaluatedCandidate("1.1", {}, {TRAIN: tuple(self.collapsed)})
        both = EvaluatedCandidate("1.2", {"route.md": "A much longer text. " * 9}, {TRAIN: tuple(self.even)})
        assert search.merit(same)[:2] == (round(both.rate, 9), 0.5)
        assert search.best_of([same, both]) is both
        assert search.best_of([both, same]) is both


class TestOneAnswerWithoutGain:
    """A text that answers the same to everything."""

    collapsed = run("nnnnnn", "nnnnnn")

    def test_is_no_gain_over_one_that_gives_another_answer_or_tells_some_apart(self) -> None:
        why = 'it answered "negative" to 12 of 12, whatever was expected; by label it is no better'
        for before in (run("pppppp", "pppppp"), run("pppnnn", "nnnppp"), self.collapsed):
            assert one_answer_without_gain(before, self.collapsed) == why

    def test_is_one_over_a_text_that_is_right_for_fewer_labels_or_answers_none(self) -> None:
        for before in (run("??????", "??????"), run("pp????", "nn????"), []):
            assert not one_answer_without_gain(before, self.collapsed)

    def test_is_not_judged_so_where_cases_have_scores(self) -> None:
        wrong = run("pppppp", "pppppp")
        half = [replace(each, outcomes=(replace(each.outcomes[0], score=0.5),)) for each in wrong]
        assert not one_answer_without_gain(half, self.collapsed)

    def test_is_told_from_one_that_gives_several_answers(self) -> None:
        assert not one_answer_without_gain(run("pppppp", "nnnnnn"), run("pppnnn", "nnnnpp"))


class TestRightAndWrongOfEachLabel:
    def test_before_and_after_with_what_came_instead(self) -> None:
        found = list(label_scores(run("ppppp?", "pppppn"), run("nnnnp?", "nnnnnn")))
        assert found == [
            LabelScore("", "positive", 6, 5, 1, (("negative", 4), ("", 1))),
            LabelScore("", "negative", 6, 1, 6),
        ]

    def test_a_label_is_known_when_it_fails_under_either_text(self) -> None:
        before, after = run("pppp", "pppp", stated=False), run("nnnn", "nnnn", stated=False)
        rows = {
            score.label: (score.cases, score.before, score.after) for score in label_scores(before, after)
        }
        assert rows == {"positive": (4, 4, 0), "negative": (4, 0, 4)}

    def test_only_cases_with_a_result_under_both_texts_count(self) -> None:
        found = list(label_scores(run("ppp", "ppp"), run("pp", "nn")))
        assert [(score.label, score.cases) for score in found] == [("negative", 2), ("positive", 2)]
        errored = CaseResult(
            Case("t.py::test[positive-0]", ("p.md",), TRAIN), (Outcome("", Status.ERRORED, 0.0),)
        )
        found = list(label_scores(run("ppp", "ppp"), [errored, *run("ppp", "nnn")[1:]]))
        assert {score.label: score.cases for score in found} == {"positive": 2, "negative": 3}

    def test_labels_that_differ_in_form_only_are_one(self) -> None:
        cases = [*answered("positive", "pp"), *answered("Positive", "Pp"), *answered("negative", "nn")]
        assert {score.label.casefold() for score in label_scores(cases, cases)} == {"positive", "negative"}
        assert sum(score.cases for score in label_scores(cases, cases)) == 6

    def test_of_json_answers_each_key_has_its_own(self) -> None:
        def reply(mood: str, lang: str) -> str:
            return json.dumps({"mood": mood, "lang": lang})

        wanted = [("good", "en"), ("bad", "de"), ("good", "de"), ("bad", "en")]
        before = [r for pair in wanted for r in answered(reply(*pair), "?")]
        after = [r for mood, lang in wanted for r in answered(reply(mood, lang), [reply(mood, "en")])]  # type: ignore[arg-type]
        found = {(s.field, s.label): (s.before, s.after) for s in label_scores(before, after)}
        assert found == {
            ("mood", "good"): (0, 2),
            ("mood", "bad"): (0, 2),
            ("lang", "en"): (0, 2),
            ("lang", "de"): (0, 0),
        }

    def test_texts_are_no_labels(self) -> None:
        long = [*answered("a long sentence that nobody takes for a label " * 3, "?"), *answered("other", "?")]
        assert list(label_scores(long, long)) == []
        assert list(label_scores([], [])) == []


class TestTheSameAnswerToEverything:
    def test_it_is_told_with_its_counts(self) -> None:
        assert list(find_dominant_answers(run("n" * 11, "n" * 33))) == [SameAnswer("", "negative", 44, 44)]
        assert list(find_dominant_answers(run("p" + "n" * 10, "n" * 33))) == [
            SameAnswer("", "negative", 43, 44)
        ]

    def test_not_where_that_is_what_the_cases_expect(self) -> None:
        assert list(find_dominant_answers(run("n", "n" * 43))) == []
        assert list(find_dominant_answers(run("n" * 8 + "p" * 14, "n" * 22))) == []


def summary(prompt: PromptResult) -> list[str]:
    return [line.text for line in run_summary(RunResult("r", (prompt,), {}, 1.0), alpha=0.05)]


PROMPT = PromptResult(
    "p.md",
    "Sort. {{ x }}",
    "Sort well. {{ x }}",
    PromptOutcome.IMPROVED,
    "plateau",
    "no gain",
    (),
    written=True,
)
SCORES = (
    LabelScore("", "positive", 22, 20, 1, (("negative", 20), ("", 1))),
    LabelScore("", "negative", 1022, 0, 1022),
)


class TestTheReport:
    def test_the_warning_stands_beside_the_gain(self) -> None:
        prompt = replace(PROMPT, same_answers=(SameAnswer("", "negative", 43, 44),))
        first, second, *_ = run_summary(RunResult("r", (prompt,), {}, 1.0), alpha=0.05)
        assert first.text == "p.md: improved"
        assert second.text == '  warning:  answers "negative" to 43 of 44 cases, whatever is expected'
        assert second.markup == BAD
        assert "warning" not in "\n".join(
            summary(replace(prompt, after=prompt.before, outcome=PromptOutcome.UNCHANGED))
        )

    def test_each_label_has_a_row(self) -> None:
        assert [
            line for line in summary(replace(PROMPT, labels=SCORES)) if "label" in line or "tive" in line
        ] == [
            "  label     cases  right       most common wrong answer",
            '  positive     22  20 -> 1     "negative" (20)',
            "  negative  1,022  0 -> 1,022",
        ]

    def test_a_label_that_stays_has_one_figure(self) -> None:
        scores = [LabelScore("", "a", 3, 2, 2, (("", 1),)), LabelScore("", "b", 3, 3, 3)]
        rows = [line.text for line in label_table(scores)][1:]
        assert rows == ["  a          3  2      no label (1)", "  b          3  3"]

    def test_keys_of_json_answers_are_named_and_those_that_are_right_left_out(self) -> None:
        scores = [LabelScore(field, label, 4, 1, after) for field, label, after in JSON_SCORES]
        headers = [line.text for line in label_table(scores) if "cases" in line.text]
        assert [header.split("  ")[1] for header in headers] == ["label of lang", "label of mood"]

    def test_a_table_of_many_labels_is_left_to_the_json_report(self) -> None:
        many = [LabelScore("", f"label-{number}", 3, 1, 2) for number in range(13)]
        assert list(label_table(many)) == []
        assert len(list(label_table(many[:12]))) == 13
        assert list(label_table(())) == []

    def test_what_a_model_wrote_steers_no_terminal(self) -> None:
        evil = "\x1b[31mred\n"
        prompt = replace(
            PROMPT,
            labels=(LabelScore(evil, evil, 3, 1, 2, ((evil, 1),)), LabelScore(evil, "b", 3, 1, 2)),
            same_answers=(SameAnswer(evil, evil, 9, 9),),
        )
        lines = summary(prompt)
        assert [line for line in lines if not line.isprintable()] == []
        assert any(r"\x1b[31mred" in line for line in lines)


JSON_SCORES: Sequence[tuple[str, str, int]] = (
    ("mood", "good", 4),
    ("mood", "bad", 3),
    ("lang", "en", 2),
    ("lang", "de", 0),
)


def test_a_run_tells_right_and_wrong_of_train_and_validation_cases() -> None:
    cases: list[Need] = [*needs("a a a b b b"), *needs("a b", VALIDATION), *needs("a", Split.HELDOUT)]
    result = World(cases, ["a", "a b"]).result(max_iterations=2, examples=0)
    rows = {score.label: (score.cases, score.before, score.after) for score in result.labels}
    assert rows == {"label-a": (4, 0, 4), "label-b": (4, 0, 4 * ("b" in result.after))}
    assert result.same_answers == ()


class Stuck(World):
    """A target that answers the last label that its prompt names, a or b, to all that it cannot tell."""

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        return tuple(map(self._answered, super()._results(trial)))

    def _answered(self, result: CaseResult) -> CaseResult:
        (outcome,) = result.outcomes
        outcome = replace(outcome, expected=f"label-{result.case.id[-1]}")
        last = outcome.calls[0].key[-2:]
        if outcome.failure is not None and last in (" a", " b"):
            answer = f"label-{last[1]}"
            calls = (replace(outcome.calls[0], text=answer),)
            outcome = replace(outcome, failure=replace(outcome.failure, actual=answer), calls=calls)
        return CaseResult(result.case, (outcome,))


def test_a_run_warns_of_a_text_that_answers_the_same_to_everything_however_much_better_it_is() -> None:
    cases = needs("a a a b " * 6) + needs("a a a b", VALIDATION)
    result = Stuck(cases, ["a", *["out of ideas"] * 20]).result(max_iterations=2)
    assert (result.outcome, result.written) == ("improved", True)
    assert result.same_answers == (SameAnswer("", "label-a", 28, 28),)
    assert 'answers "label-a" to 28 of 28 cases, whatever is expected' in summary(result)[1]
    told = {score.label: (score.before, score.after, score.instead) for score in result.labels}
    assert told == {"label-a": (0, 21, ()), "label-b": (0, 0, (("label-a", 7),))}


def test_another_answer_to_everything_is_no_gain_and_telling_them_apart_is() -> None:
    cases = needs("a b " * 12 + "b")
    first, second, third = Stuck(cases, ["a", "b", "a b"]).result(max_iterations=3, examples=0).iterations
    assert first.candidates[0].verdict == "accepted", "it is right for a label more than the original"
    (other,) = second.candidates
    assert other.verdict == "rejected"
    assert re.match(
        r'it answered "label-b" to (\d+) of \1, whatever was expected; by label it is no better: ', other.why
    )
    assert third.candidates[0].verdict == "accepted"

"""Longer answers that only the judge likes better are pointed out."""

from __future__ import annotations

from pytest_promptopt.optimizer.verbosity import verbosity_warning
from pytest_promptopt.records import Call, Case, CaseResult, Failure, Outcome, Split, Status
from pytest_promptopt.verdicts import Verdict


def result(
    number: int, *, words: int, score: float, other_check: bool = True, judged: bool = True
) -> CaseResult:
    case = Case(f"t.py::test[{number}]", ("p.md",), Split.TRAIN)
    call = Call("p.md", {}, "key", " ".join(["word"] * words), "end_turn", None, None, 0.1, cached=False)
    verdicts = (Verdict(score, (), (), (), "", ""),) if judged else ()
    failure = None
    if not other_check:
        failure = Failure("AssertionError", "", "t.py:1", "in", constraint="'x' in answer")
    elif score < 0.7:
        failure = Failure("AssertionError", "", "t.py:1", ">=", actual=score)
    status = Status.PASSED if failure is None else Status.FAILED
    outcome = Outcome(case.id, status, score, failure=failure, calls=(call,), verdicts=verdicts)
    return CaseResult(case, (outcome,))


def results(count: int = 8, **what: object) -> list[CaseResult]:
    return [result(number, **what) for number in range(count)]  # type: ignore[arg-type]


def test_longer_and_better_liked_and_nothing_else() -> None:
    found = verbosity_warning(results(words=10, score=0.4), results(words=30, score=0.9), 0.05)
    assert found == (
        "answers got longer (10 to 30 words, median) and judged scores rose (0.40 to 0.90), while no other "
        "check passes more often: judges prefer long answers, so read some"
    )


def test_other_checks_that_pass_more_often_speak_for_the_text() -> None:
    before = results(words=10, score=0.4, other_check=False)
    assert verbosity_warning(before, results(words=30, score=0.9), 0.05) == ""


def test_answers_of_the_same_length_or_scores_that_do_not_rise_are_no_matter() -> None:
    assert verbosity_warning(results(words=10, score=0.4), results(words=10, score=0.9), 0.05) == ""
    assert verbosity_warning(results(words=10, score=0.9), results(words=30, score=0.9), 0.05) == ""
    assert verbosity_warning(results(words=30, score=0.4), results(words=10, score=0.9), 0.05) == ""


def test_a_few_cases_may_be_chance() -> None:
    assert verbosity_warning(results(4, words=10, score=0.4), results(4, words=30, score=0.9), 0.05) == ""


def test_nothing_is_said_where_nothing_was_judged() -> None:
    before, after = results(words=10, score=0.4, judged=False), results(words=30, score=0.9, judged=False)
    assert verbosity_warning(before, after, 0.05) == ""
    assert verbosity_warning([], [], 0.05) == ""

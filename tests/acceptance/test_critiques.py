"""`--promptopt-critique`: a model reads the worst answers before candidates are asked for."""

from __future__ import annotations

import pytest

from pytest_promptopt.optimizer.proposal.quoting import CRITIQUE
from tests.acceptance.desk import GOOD, HOPELESS, TRAIN, WEAK, Desk
from tests.acceptance.test_resume import answered, cut_off, decisions, resume, uninterrupted


def test_a_run_with_critiques_says_how_many_and_counts_them_among_the_requests(
    pytester: pytest.Pytester,
) -> None:
    desk = Desk(pytester)
    result = desk.optimize("--promptopt-critique=on")
    result.stdout.fnmatch_lines(["  tried:    1 iteration, * candidate*, 1 critique of the worst answers"])
    (iteration,) = desk.report["run"]["prompts"][0]["iterations"]
    assert iteration["critiques"] == 1
    requests = [text for text in desk.told if "<current_prompt>" in text]
    assert desk.report["run"]["spend"]["optimizer"]["calls"] == len(requests)
    assert [f"<{CRITIQUE}>" in text for text in requests] == [False, *[True] * (len(requests) - 1)]
    assert desk.text == GOOD


def test_where_tests_say_what_they_expect_automatic_asks_for_none(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    desk.optimize("--promptopt-critique=auto")
    assert "critique" not in "".join(desk.told)


def test_a_wrong_value_is_refused_before_anything_is_paid(pytester: pytest.Pytester) -> None:
    desk = Desk(pytester)
    result = desk.run("--optimize", "--promptopt-critique=yes")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--promptopt-critique: 'yes' is not one of auto, on, off*"])


@pytest.mark.parametrize("share", [0.45, 0.9])
def test_a_run_that_was_cut_off_pays_for_no_critique_twice(pytester: pytest.Pytester, share: float) -> None:
    desk = Desk(pytester)
    desk.cases(train=[*TRAIN, HOPELESS])
    desk.ini("promptopt_model = demo", "promptopt_optimizer_model = demo", "promptopt_critique = on")
    decided, asked, text = uninterrupted(desk)
    assert any("<critique>" in each for each in asked)
    cut_off(desk, round(share * (len(asked) - 2)) + 1)
    assert desk.text == WEAK
    resume(desk)
    assert decisions(desk) == decided
    assert desk.text == text
    assert set(answered(desk).values()) == {1}

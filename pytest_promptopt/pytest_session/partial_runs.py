"""Prompts of which the command line has only a part of the cases run: no gate can be decided on these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_session.known_files import files_left_out, in_words
from pytest_promptopt.text import plural

#: The exit status of a session that nothing has broken off.
CAME_TO_ITS_END = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)

_FAILED_LAST = "only what failed last was run"


def partial_prompts(
    config: pytest.Config, run: Iterable[PromptCase], left_out: Iterable[PromptCase]
) -> dict[str, str]:
    """Prompt -> how many of its cases are run, in words, for each that lacks some.

    :param left_out: of those that were collected.
    """
    run = list(run)
    counted, lacking = count_cases(run), count_cases(left_out)
    if choice := _named(config) or (_FAILED_LAST if internals.left_out_by_lf(config) else ""):
        return dict.fromkeys(counted, choice)
    shares = {
        prompt: share_in_words(counted[prompt], counted[prompt] + lacking[prompt])
        for prompt in counted
        if lacking[prompt]
    }
    elsewhere = {
        prompt: f"its cases in {in_words(files)} were not run"
        for prompt, files in files_left_out(config).items()
        if prompt in counted
    }
    return {**elsewhere, **shares}


def share_in_words(run: int, whole: int) -> str:
    return f"{run} of its {plural(whole, 'case')} were run"


def unseen_choice(config: pytest.Config) -> str:
    """How the command line may leave out cases that nobody hears of, in words; empty when it does not.

    Of others, as those of ``-k``, pytest tells. It is asked in any process and at any time, so it also holds
    for ``--lf`` where nothing of what failed last is there any more, and everything runs.
    """
    # There is no such option without pytest's cache.
    failed_last = config.getoption("lf", False) and bool(config.cache.get("cache/lastfailed", {}))
    return _named(config) or (_FAILED_LAST if failed_last else "")


def _named(config: pytest.Config) -> str:
    named = any("::" in arg for arg in config.args)
    return "only tests that the command line names were run" if named else ""


def count_cases(cases: Iterable[PromptCase]) -> Counter[str]:
    """Prompt -> how many cases it has, without those of a migration with the model that it leaves."""
    own = (each.case for each in cases if not each.case.reference)
    each = {(prompt, case.id) for case in own for prompt in case.prompts}
    return Counter(prompt for prompt, _ in each)

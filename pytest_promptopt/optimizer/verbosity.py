"""A tripwire: judges like long answers, so a judged gain that comes with longer answers is looked at twice.

The bias is described by Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", and by
Dubois et al. 2024, "Length-Controlled AlpacaEval".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from pytest_promptopt.partial_credit import unmet_verdicts
from pytest_promptopt.records import EPSILON, CaseResult, Outcome, Status
from pytest_promptopt.statistics import sign_test


@dataclass(frozen=True)
class _Judged:
    """One case: the words of its answer, the mean score of its verdicts, whether all other checks hold."""

    words: int
    score: float
    checks_hold: bool


def verbosity_warning(before: Sequence[CaseResult], after: Sequence[CaseResult], alpha: float) -> str:
    """What is to be said where answers got longer and judged scores rose, and no other check speaks for it.

    Empty otherwise, and where nothing was judged. Longer and higher are sign tests at `alpha`.
    """
    old = {result.case.id: found for result in before if (found := _judged(result))}
    pairs = [(one, two) for result in after if (two := _judged(result)) and (one := old.get(result.case.id))]
    longer = sum(two.words > one.words for one, two in pairs)
    shorter = sum(two.words < one.words for one, two in pairs)
    higher = sum(two.score > one.score + EPSILON for one, two in pairs)
    lower = sum(two.score < one.score - EPSILON for one, two in pairs)
    if max(sign_test(longer, shorter), sign_test(higher, lower)) > alpha:
        return ""
    held, hold = (sum(pair[side].checks_hold for pair in pairs) for side in (0, 1))
    if hold > held:
        return ""
    words = [median(pair[side].words for pair in pairs) for side in (0, 1)]
    scores = [sum(pair[side].score for pair in pairs) / len(pairs) for side in (0, 1)]
    return (
        f"answers got longer ({words[0]:g} to {words[1]:g} words, median) and judged scores rose "
        f"({scores[0]:.2f} to {scores[1]:.2f}), while no other check passes more often: judges prefer long "
        "answers, so read some"
    )


def _judged(result: CaseResult) -> _Judged | None:
    outcome = next((each for each in result.counted if each.verdicts and each.calls), None)
    if outcome is None:
        return None
    scores = [verdict.score for verdict in outcome.verdicts]
    return _Judged(len(outcome.calls[-1].text.split()), sum(scores) / len(scores), _others_hold(outcome))


def _others_hold(outcome: Outcome) -> bool:
    """Whether nothing but a verdict failed."""
    return outcome.status is Status.PASSED or bool(unmet_verdicts(outcome.failure, outcome.verdicts))

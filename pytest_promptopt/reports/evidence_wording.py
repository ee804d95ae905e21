"""How a run ended for a prompt and what speaks for its new text, in the same words in every report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_promptopt.records import Split
from pytest_promptopt.results import (
    Confirmation,
    ConfirmationVerdict,
    PromptOutcome,
    PromptResult,
    SplitScore,
)
from pytest_promptopt.statistics import SIGN_TEST
from pytest_promptopt.text import plural

_OUTCOMES: Mapping[PromptOutcome, str] = {
    PromptOutcome.IMPROVED: "improved",
    PromptOutcome.UNCHANGED: "unchanged",
    PromptOutcome.NOT_SHOWN: "gain not shown",
    PromptOutcome.WORSE: "worse on held-out cases, left alone",
    PromptOutcome.PASSING: "no failing case, left alone",
    PromptOutcome.INTERRUPTED: "interrupted",
}

_CONFIRMED: Mapping[ConfirmationVerdict, str] = {
    ConfirmationVerdict.IMPROVED: "confirmed",
    ConfirmationVerdict.NOT_SHOWN: "not shown",
    ConfirmationVerdict.WORSE: "worse",
}


def outcome_words(prompt: PromptResult) -> str:
    """How a prompt's run ended: ``improved``, ``improved, not written``, ``gain not shown, left alone``."""
    fresh = prompt.confirmation
    if (
        prompt.outcome is PromptOutcome.WORSE
        and fresh is not None
        and fresh.verdict is ConfirmationVerdict.WORSE
    ):
        return "worse on fresh answers, left alone"
    if prompt.worse_with:
        return f"worse with {prompt.worse_with}, left alone"
    words = _OUTCOMES[prompt.outcome]
    if prompt.outcome is PromptOutcome.NOT_SHOWN:
        words += ", written all the same" if prompt.written else ", left alone" * (not prompt.accepted)
    return words + ", not written" * bool(why_unwritten(prompt))


def why_unwritten(prompt: PromptResult) -> str:
    """Why a text that may be written was not; else empty."""
    taken = prompt.outcome is PromptOutcome.IMPROVED or (
        prompt.outcome is PromptOutcome.NOT_SHOWN and prompt.accepted
    )
    return (prompt.unwritten or "not known") if taken and not prompt.written else ""


def confirmation_sentence(found: Confirmation) -> str:
    """``confirmed: +40.0 points on fresh answers (p < 0.001; 30 pairs: 12 better, 0 worse; 60 calls)``."""
    text = found.why
    if found.pairs:
        chance = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.2g}"
        chance += f", {found.test}" * (found.test != SIGN_TEST)
        unshown = found.detectable and found.verdict is ConfirmationVerdict.NOT_SHOWN
        least = 100 * (found.detectable or 0.0)
        enough = f", a gain of {least:.0f} points would be significant" if unshown else ""
        text = (
            f"{100 * found.estimate:+.1f} points on fresh answers{enough} "
            f"({chance}; {plural(found.pairs, 'pair')}: {found.better:,} better, {found.worse:,} worse; "
            f"{plural(found.calls, 'call')})"
        )
        text += f"; it ended early: {found.why}" * bool(found.why)
    return f"{_CONFIRMED[found.verdict]}: {text}"


def heldout_score(scores: Sequence[SplitScore]) -> SplitScore | None:
    """The score of the held-out cases, where they were scored under both texts."""
    score = next((s for s in scores if s.split is Split.HELDOUT and s.cases), None)
    return None if score is None or score.before is None or score.after is None else score


def heldout_sentence(scores: Sequence[SplitScore], alpha: float) -> str:
    """What the held-out cases say of a change, or why they say nothing."""
    score = heldout_score(scores)
    if score is not None:
        return f"held-out: {heldout_verdict(score, alpha)}"
    missing = not any(s.split is Split.HELDOUT and s.cases for s in scores)
    why = "there are no held-out cases" if missing else "the held-out cases were not measured"
    advice = " Mark some tests with @pytest.mark.heldout, or set promptopt_split = 60/20/20." * missing
    return f"held-out: no evidence that this carries over to new inputs: {why}.{advice}"


def heldout_verdict(score: SplitScore, alpha: float) -> str:
    """Whether the change carries over to cases that the search never saw, in words."""
    counts = f"{plural(score.fixed, 'case')} fixed, {score.broken} broken"
    counts += graded_changes(score.raised, score.lowered)
    if not (score.fixed or score.broken or score.raised or score.lowered):
        return "gain not shown: no case changed its verdict"
    gain, loss, test = score.chance.better, score.chance.worse, score.chance.test
    if gain <= alpha:
        return f"the gain carries over: {counts} ({_chance(gain, test)})"
    if loss <= alpha:
        return f"worse on cases it never saw: {counts} ({_chance(loss, test)})"
    return f"gain not shown: {counts}, which may be chance ({_chance(gain, test)})"


#: What is to be said of held-out cases that were scored before.
SEEN_AGAIN = "the more often they decide, the less they are unseen"


def asked_again(alpha: float) -> str:
    """What is to be said of cases on which a gain was tested before."""
    return f"chance alone confirms one of {1 / alpha:.0f}"


def upper(sentence: str) -> str:
    """`sentence` with a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def graded_changes(raised: int, lowered: int) -> str:
    """The cases whose scores changed though they fail as before."""
    return f", {raised:,} raised, {lowered:,} lowered" if raised or lowered else ""


def _chance(p: float, test: str) -> str:
    return f"{'p < 0.001' if p < 0.001 else f'p = {p:.2g}'}, exact {test}"

"""What judges have said of an answer, in lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_promptopt.text import cut_middle, quote
from pytest_promptopt.verdicts import Suggestion, Verdict

#: Issues, and suggestions, of one case that are shown.
MAX_ISSUES, MAX_SUGGESTIONS = 4, 3
#: Characters of each.
MAX_SAID = 240


def verdict_lines(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """What judges have said, ready to print: scores, issues, suggestions."""
    for verdict in verdicts:
        criterion = quote(verdict.criterion, MAX_SAID)
        if verdict.better:
            found = "a tie" if verdict.better == "tie" else f"{verdict.better} is better"
            yield f"two answers compared for {criterion}: {found}"
        else:
            yield f"judged {verdict.score:.2f} (1 is best) for {criterion}"
        yield from (f"issue: {cut_middle(each, MAX_SAID)}" for each in verdict.issues[:MAX_ISSUES])
        if not verdict.issues and verdict.reasons:
            yield f"reasons: {cut_middle(verdict.reasons, MAX_SAID)}"
        yield from map(suggestion_line, verdict.suggestions[:MAX_SUGGESTIONS])


def suggestion_line(suggestion: Suggestion) -> str:
    """``suggestion (high, tone): ...``"""
    weight = ", ".join(filter(None, (suggestion.impact, suggestion.category)))
    return f"suggestion{f' ({weight})' if weight else ''}: {cut_middle(suggestion.text, MAX_SAID)}"

"""What a model says of the worst answers: issues and suggestions, read from its reply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_promptopt.failures.verdict_lines import MAX_SAID, suggestion_line
from pytest_promptopt.marked_lines import read_marked
from pytest_promptopt.records import Answer, StopReason
from pytest_promptopt.text import cut_end, one_line, without_unseen
from pytest_promptopt.verdicts import Suggestion

#: Items of a critique that are told; more would crowd out the cases, which a candidate is judged by.
MAX_ISSUES, MAX_SUGGESTIONS = 3, 4

#: Characters of a category: a word or two.
MAX_CATEGORY = 40

_BLOCK = re.compile(r"<critique>(.*?)</critique>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class Critique:
    """What a model says of the worst answers under a text.

    :param suggestions: what would mend them, sorted by the expected impact, then by category.
    """

    issues: tuple[str, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()

    def lines(self) -> Iterator[str]:
        """It in lines, what is expected to do most first."""
        yield from map(suggestion_line, self.suggestions)
        yield from (f"issue: {issue}" for issue in self.issues)


def read_critique(answer: Answer) -> Critique | str:
    """The critique in a reply; why there is none, in words, when it cannot be read."""
    if answer.stop_reason == StopReason.REFUSAL:
        return "the model refused to answer"
    text = answer.text
    if answer.stop_reason == StopReason.MAX_TOKENS:  # the last line is not whole
        text = text.rpartition("\n")[0]
    blocks = _BLOCK.findall(text)
    marked = read_marked(blocks[-1] if blocks else text)
    issues = dict.fromkeys(filter(None, (_told(each, MAX_SAID) for each in marked.issues)))
    suggestions = dict.fromkeys(
        Suggestion(said, _told(each.category, MAX_CATEGORY), each.impact)
        for each in marked.suggestions
        if (said := _told(each.text, MAX_SAID))
    )
    if not issues and not suggestions:
        return "it has neither a line ISSUE: nor a line SUGGESTION:"
    ranked = sorted(suggestions, key=lambda each: each.rank)
    return Critique((*issues,)[:MAX_ISSUES], (*ranked,)[:MAX_SUGGESTIONS])


def _told(text: str, most: int) -> str:
    """`text` on one line, without Markdown at its end and without what nobody sees."""
    return cut_end(one_line(without_unseen(text)).strip("*_` "), most)

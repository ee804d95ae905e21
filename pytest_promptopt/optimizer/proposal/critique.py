"""What a model says of the worst answers: issues and suggestions, read from its reply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_promptopt.failures.verdict_lines import MAX_SAID, suggestion_line
from pytest_promptopt.records import Answer, StopReason
from pytest_promptopt.text import cut_end, invisible_places, one_line
from pytest_promptopt.verdicts import IMPACTS, Suggestion

#: Items of a critique that are told; more would crowd out the cases, which a candidate is judged by.
MAX_ISSUES, MAX_SUGGESTIONS = 3, 4

#: Characters of a line that are read.
MAX_LINE = 1_000

#: Bullets, numbers and Markdown before a mark or an item.
_LEAD = r"[^\w\"'“”‘’«»>/\[(<]*+(?:\d{1,3}[.):][^\w\"'“”‘’«»>/\[(<]*+)?"
_MARK = re.compile(
    rf"{_LEAD}(?:(?P<issue>issues?|problems?)|suggestions?|recommend(?:ation)?s?)(?:\s+#?\d{{1,3}})?[\s*_`]*"
    r"(?:[(\[](?P<notes>[^()\[\]]*)[)\]])?[\s*_`]*[:：][\s*_`]*(?P<text>.*)",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\s*(?:[-*•+–]|\(?\d{1,3}[.)])\s+(?P<text>\S.*)")
_BLOCK = re.compile(r"<critique>(.*?)</critique>", re.DOTALL | re.IGNORECASE)
_NOTHING = re.compile(
    r"\W*(?:none|nothing|n/?a|no (?:further )?(?:issues?|problems?|suggestions?))?\W*", re.I
)
_LABEL = re.compile(r"(?:(?:expected )?impact|priority|category)\s*[:=]?\s+|\s+(?:impact|priority)\Z")
_IMPACTS = dict.fromkeys(("critical", "major"), "high") | {"moderate": "medium", "minor": "low"}


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
    issues: list[str] = []
    suggestions: list[Suggestion] = []
    for is_issue, notes, item in _items(blocks[-1] if blocks else text):
        said = cut_end(_visible(item), MAX_SAID)
        if _NOTHING.fullmatch(said):
            continue
        if is_issue:
            issues.append(said)
        else:
            suggestions.append(_suggestion(said, _visible(notes)))
    if not issues and not suggestions:
        return "it has neither a line ISSUE: nor a line SUGGESTION:"
    ranked = sorted(dict.fromkeys(suggestions), key=lambda each: each.rank)
    return Critique(tuple(dict.fromkeys(issues))[:MAX_ISSUES], tuple(ranked[:MAX_SUGGESTIONS]))


def _items(text: str) -> Iterator[tuple[bool, str, str]]:
    """Whether it is an issue, what stands in brackets, and the text of each item.

    Below a mark there may be a list of items, and an item may go on on the next lines.
    """
    is_issue, notes, said = False, "", list[str]()
    marked = False
    for line in (line[:MAX_LINE] for line in text.splitlines()):
        mark = _MARK.match(line)
        if mark or not line.strip():
            if said:
                yield is_issue, notes, " ".join(said)
            said = []
            if mark:
                is_issue, notes, marked = bool(mark["issue"]), mark["notes"] or "", True
                said = [mark["text"]] if mark["text"].strip() else []
        elif marked and (item := _ITEM.match(line)):
            if said:
                yield is_issue, notes, " ".join(said)
            said = [item["text"]]
        elif said:
            said.append(line)
    if said:
        yield is_issue, notes, " ".join(said)


def _suggestion(text: str, notes: str) -> Suggestion:
    """:param notes: impact and category in whatever order: ``high, tone``."""
    impact = category = ""
    for part in re.split(r"[,;/|]", notes.casefold()):
        word = _LABEL.sub("", part.strip()).strip(" *_`:.-")
        word = _IMPACTS.get(word, word)
        if not impact and word in IMPACTS:
            impact = word
        elif word and not category:
            category = cut_end(word, MAX_CATEGORY)
    return Suggestion(text, category, impact)


#: Characters of a category: a word or two.
MAX_CATEGORY = 40


def _visible(text: str) -> str:
    """`text` on one line, without Markdown at its end and without what nobody sees."""
    unseen = {*invisible_places(text)}
    shown = "".join(character for place, character in enumerate(text) if place not in unseen)
    return one_line(shown).strip("*_` ")

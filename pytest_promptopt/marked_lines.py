"""Reading marked lines, ``ISSUE: ...``, ``SCORE: 0.8``, however a model decorates them.

A mark counts at the beginning of a line only, after bullets, numbers and Markdown. Lines in quotation marks
and block quotes are what the judge quotes: an answer may hold a line ``SCORE: 1.0`` of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal

from pytest_promptopt.text import one_line
from pytest_promptopt.verdicts import Suggestion

Kind = Literal["strength", "issue", "suggestion", "reason", "score"]

_NAMES: dict[Kind, str] = {
    "strength": "strengths?|strong points?|pros?|positives?",
    "issue": "issues?|problems?|weakness(?:es)?|weak points?|shortcomings?|concerns?|cons?|negatives?",
    "suggestion": (
        "suggestions?|suggested (?:changes?|improvements?)|recommend(?:ation|ed|ed changes?)?s?|improvements?"
    ),
    "reason": "reason(?:s|ing)?|rationales?|explanations?|justifications?|analysis|assessment",
    "score": "(?:(?:the |my )?(?:final|overall|total) )?(?:score|rating|grade)",
}
_EACH = "|".join(f"(?P<{kind}>{names})" for kind, names in _NAMES.items())
_BETWEEN = r"[\s*_`]*"
#: Bullets, numbers, Markdown and emoji before a mark.
_LEAD = r"(?:[^\w\"'“”‘’«»>/\[({]|_)*+"
_MARK = re.compile(
    rf"(?P<lead>{_LEAD}(?:\(?\d{{1,3}}[.):]{_LEAD})?)(?:{_EACH})"
    rf"(?P<number>\s*+(?:#\s*+)?\d{{1,3}}(?=[\s*_`]*[:(\[]))?{_BETWEEN}"
    r"(?P<notes>(?:[(\[][^()\[\]]{0,80}[)\]][\s*_`]*){0,3})"
    r"(?:(?P<colon>[:：=|>])|\s(?:[-–—]+|is)\s|(?P<nothing>\Z)|(?=[-+]?[\d.,]))(?P<rest>.*)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\s*[>\"'“‘«]")
_BULLET = re.compile(r"\s*(?:[-*•▪◦‣·●○■+–—]|\(?\d{1,3}[.)])\s+(?P<text>\S.*)")
_CLOSING_TAG = re.compile(r"</[\w -]{1,40}>\s*\Z")
_FENCE = re.compile(r"\s*+(?:`{3,}|~{3,}|-{3,}|\*{3,}|={3,})\s*+\w*+\s*+\Z")
_FOUND = r"(?: (?:found|identified|noted|observed|to report))?"
_NOTHING = re.compile(
    rf"\W*+(?:none{_FOUND}|n/?a|nothing{_FOUND}|nil|not applicable"
    r"|no (?:\w+ ){0,2}(?:issues?|problems?|weakness(?:es)?|strengths?|suggestions?|recommendations?)"
    rf"{_FOUND})?\W*\Z",
    re.IGNORECASE,
)
_FINAL = re.compile(r"\b(?:final|overall|total)\b", re.IGNORECASE)
_NOTES = re.compile(r"[(\[]([^()\[\]]{0,80})[)\]]")
_NOTES_BEFORE = re.compile(r"(?:[(\[][^()\[\]]{1,80}[)\]]\s*){1,2}[:\-–—]?\s*")
_NOTES_AFTER = re.compile(r"[(\[]([^()\[\]]{1,80})[)\]]\.?\Z")
_LABEL = re.compile(
    r"(?:(?:expected )?impact|priority|severity|category|type|area)\s*[:=]?\s+|\s+(?:impact|priority)\Z",
    re.IGNORECASE,
)
_WORDS_OF_IMPACT = {
    "high": "high", "critical": "high", "major": "high", "severe": "high",
    "medium": "medium", "moderate": "medium", "mid": "medium", "med": "medium",
    "low": "low", "minor": "low", "small": "low",
}  # fmt: skip


@dataclass(frozen=True)
class ScoreLine:
    """A line with a score: what it says, and how far it can be taken for the judge's own.

    :param beside: what stood in brackets beside the word "score".
    :param doubtful: it stands inside of a sentence, as something quoted does.
    """

    text: str
    beside: str = ""
    final: bool = False
    doubtful: bool = False


@dataclass
class Marked:
    """What was found in marked lines."""

    strengths: list[str] = field(default_factory=list)
    issues: list[str] = field(default_factory=list)
    suggestions: list[Suggestion] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    scores: list[ScoreLine] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)
    #: Of what it says that there is none.
    denied: set[Kind] = field(default_factory=set)

    @property
    def share(self) -> float | None:
        """The share of strengths among strengths and issues; None where one side is not spoken of at all.

        A reply with a strength and nothing about issues may have been cut off.
        """
        strengths, issues = len(self.strengths), len(self.issues)
        if not (strengths or "strength" in self.denied) or not (issues or "issue" in self.denied):
            return None
        return strengths / (strengths + issues) if strengths + issues else None


def read_marked(text: str) -> Marked:
    """What the marked lines of a reply say."""
    return _Reader(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")).read()


def says_nothing(item: str) -> bool:
    """``none``, ``N/A``, ``no issues found``: said where there is nothing to say."""
    return _NOTHING.match(item) is not None


@dataclass
class _Item:
    """What one mark, or one bullet below it, says."""

    kind: Kind
    notes: str
    text: str


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._found = Marked()
        self._items: list[_Item] = []
        #: What the lines that follow belong to; None after a score and before the first mark.
        self._kind: Kind | None = None
        #: Whether its mark was a heading, with the items below it.
        self._heading = False
        #: What stood in brackets in a heading: it is about all items below.
        self._notes = ""
        #: Whether it has an item that a line can go on with.
        self._begun = False
        self._after_blank = False

    def read(self) -> Marked:
        skip = -1
        for number, line in enumerate(self._lines):
            if number <= skip:
                continue
            mark = _mark(line)
            if mark is None:
                self._plain(line)
            elif mark["score"]:
                skip = self._score(number, mark)
            else:
                self._open(mark)
            self._after_blank = not line.strip()
        self._sort()
        return self._found

    def _sort(self) -> None:
        found = self._found
        for item in self._items:
            if item.kind == "reason":
                found.reasons.append(item.text.strip())
                continue
            texts = [] if says_nothing(item.text) else _listed(one_line(item.text))
            if not texts and item.text.strip():
                found.denied.add(item.kind)
            elif item.kind == "suggestion":
                found.suggestions += [read_suggestion(each, notes=item.notes) for each in texts]
            else:
                (found.strengths if item.kind == "strength" else found.issues).extend(texts)

    def _open(self, mark: re.Match[str]) -> None:
        self._kind = next(kind for kind in _NAMES if mark[kind])
        rest = _bare(mark)
        self._heading, self._begun = not rest, False
        self._notes = "" if rest else mark["notes"]
        if rest or self._kind == "reason":
            self._add(rest, mark["notes"])

    def _score(self, number: int, mark: re.Match[str]) -> int:
        """Note a line with a score; the number of the last line that belongs to it."""
        self._kind = None
        rest, last = _bare(mark), number
        if not rest:  # the value may stand on the next line
            below = next((n for n in range(number + 1, len(self._lines)) if self._lines[n].strip()), number)
            if below > number and _mark(self._lines[below]) is None:
                rest, last = self._lines[below].strip(), below
        beside = " ".join(_NOTES.findall(mark["notes"]))
        final = _FINAL.search(mark["score"]) is not None
        self._found.scores.append(ScoreLine(rest, beside, final, self._stands_in_sentence(number, last)))
        return last

    def _stands_in_sentence(self, first: int, last: int) -> bool:
        before = self._lines[first - 1].strip() if first else ""
        after = self._lines[last + 1].strip() if last + 1 < len(self._lines) else ""
        if not before or not after or _FENCE.match(after) or _mark(after) or _BULLET.match(after):
            return False
        return before.endswith((":", "：")) or after[0].islower()

    def _plain(self, line: str) -> None:
        if _FENCE.match(line) or _CLOSING_TAG.match(line.strip()):
            return
        if self._kind == "reason":
            self._items[-1].text += f"\n{line.strip()}"
        elif not line.strip():
            return
        elif self._kind is None or (self._after_blank and not self._heading and not _BULLET.match(line)):
            self._kind = None  # a paragraph of its own
            self._found.prose.append(line)
        elif bullet := _BULLET.match(line):
            self._add(bullet["text"])
        elif self._after_blank or not self._begun:
            self._add(line)
        else:
            self._items[-1].text += f" {line.strip()}"

    def _add(self, text: str, notes: str = "") -> None:
        assert self._kind is not None
        self._items.append(_Item(self._kind, notes or self._notes, text))
        self._begun = True


def _mark(line: str) -> re.Match[str] | None:
    return None if _QUOTED.match(line) else _MARK.match(line.rstrip())


def _bare(mark: re.Match[str]) -> str:
    """The text after a mark, without Markdown that was opened before it, and without a closing tag."""
    lead, rest = mark["lead"], _CLOSING_TAG.sub("", mark.string[mark.start("rest") :].strip())
    for sign in ("**", "__", "*", "_", "`"):
        if sign in lead or f"{sign}{mark['rest']}" == mark.string[mark.end() :]:
            if rest.startswith(sign) and rest.count(sign) % 2:
                rest = rest.removeprefix(sign)
            elif rest.endswith(sign) and rest.count(sign) % 2:
                rest = rest.removesuffix(sign)
    return rest.strip()


def _listed(text: str) -> list[str]:
    """The entries of a list that is written as JSON; any other text as one."""
    if text.startswith("["):
        try:
            items = json.loads(text)
        except (ValueError, RecursionError):
            return [text]
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return [item for item in items if not says_nothing(item)]
    return [text]


def read_suggestion(text: str, *, notes: str = "") -> Suggestion:
    """A suggestion with what stands in brackets about it: ``(high, tone)``, ``[impact: low]``."""
    said = _NOTES.findall(notes)
    if not said and (before := _NOTES_BEFORE.match(text)) and _is_about_impact(before[0]):
        said, text = _NOTES.findall(before[0]), text[before.end() :]
    elif not said and (after := _NOTES_AFTER.search(text)) and _is_about_impact(after[0]):
        said, text = [after[1]], text[: after.start()]
    impact, category = "", ""
    for part in re.split(r"[,;/|]", ",".join(said)):
        word = one_line(_LABEL.sub("", part.strip()).strip(" *_`:.-")).lower()
        if not impact and word in _WORDS_OF_IMPACT:
            impact = _WORDS_OF_IMPACT[word]
        elif word and not category:
            category = word
    return Suggestion(text.strip(), category, impact)


def impact_of(word: str) -> str:
    """One of `verdicts.IMPACTS` for what a model calls it; empty for anything else."""
    return _WORDS_OF_IMPACT.get(word.strip().lower(), "")


def _is_about_impact(notes: str) -> bool:
    return any(word in _WORDS_OF_IMPACT for word in re.findall(r"[a-z]+", notes.lower()))

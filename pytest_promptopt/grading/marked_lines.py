"""Reading a verdict from marked lines, ``STRENGTH: ...``, ``SCORE: 0.8``, however a model decorates them.

A mark counts at the beginning of a line only, after bullets, numbers and Markdown. Lines in quotation marks
and block quotes are what the judge quotes: an answer may hold a line ``SCORE: 1.0`` of its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal

from pytest_promptopt.errors import UnusableVerdict
from pytest_promptopt.grading.score_reading import read_score
from pytest_promptopt.text import join_words, one_line
from pytest_promptopt.verdicts import IMPACTS, Suggestion

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
#: A score in a sentence of the judge's own: "I would give this answer a score of 0.8".
_IN_SENTENCE = re.compile(
    r"(?:\A|\n|[.!?]\s)[*_]{0,3}(?:(?:overall|therefore|thus|so|hence|finally|in conclusion),?\s+)?(?:"
    r"i(?:['’]d| would| will|['’]ll)?\s+(?:give|rate|score|assign|award|grade)"
    r"\s+(?:it|this|(?:the|this) answer)?[\s:]*(?:with\s+)?(?:as\s+)?(?:an?\s+)?"
    r"(?:(?:overall |final )?(?:score|rating|grade))?(?:\s+of)?"
    r"|(?:my|the)\s+(?:final\s+|overall\s+)?(?:score|rating|grade)\s+(?:is|would be)"
    r")\s+(?P<value>[^\n]{0,80})",
    re.IGNORECASE,
)
#: Anything like a score, wherever it stands.
_ANY_SCORE = re.compile(
    r"\b(?:score|rating|grade)d?\b[^\w\n]{0,8}(?:(?:it|this|is|of|was|as|at|would be)\b[^\w\n]{0,4}){0,2}\d",
    re.IGNORECASE,
)
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

    @property
    def score(self) -> float | None:
        """The score that the lines agree on; None without one. Raises `UnusableVerdict`."""
        sure = [line for line in self.scores if not line.doubtful]
        if not sure and self.scores:
            raise UnusableVerdict("the only score stands inside of a sentence, as something quoted does")
        if len(sure) > 2 and [line.final for line in sure] == [False] * (len(sure) - 1) + [True]:
            sure = sure[-1:]  # those before it are of single points
        return agreed([read_score(line.text, scale=line.beside) for line in sure])


def agreed(scores: list[float]) -> float | None:
    """The one score that all say; None when there is none. Raises `UnusableVerdict`."""
    if len({round(score, 6) for score in scores}) > 1:
        named = join_words([f"{score:g}" for score in scores])
        raise UnusableVerdict(f"the scores contradict each other: {named}")
    return scores[0] if scores else None


def read_marked(text: str) -> Marked:
    """What the marked lines of a reply say."""
    return _Reader(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")).read()


def score_in_sentence(text: str) -> float | None:
    """The score that a sentence of the judge names; None without one. Raises `UnusableVerdict`."""
    spaced = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text))
    return agreed([read_score(found["value"]) for found in _IN_SENTENCE.finditer(spaced)])


def mentions_score(text: str) -> bool:
    """Whether something like a score stands anywhere."""
    return _ANY_SCORE.search(text) is not None


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
        self._items.append(_Item(self._kind, notes, text))
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
    """One of `IMPACTS` for what a model calls it; empty for anything else."""
    found = _WORDS_OF_IMPACT.get(word.strip().lower(), "")
    return found if found in IMPACTS else ""


def _is_about_impact(notes: str) -> bool:
    return any(word in _WORDS_OF_IMPACT for word in re.findall(r"[a-z]+", notes.lower()))

"""Reading a score as a number from 0 to 1: ``0.8``, ``85 %``, ``7/10``, ``3 out of 5``.

What could mean two things is refused: a lone ``8`` has no scale, ``0.7-0.8`` is a range.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from pytest_promptopt.errors import UnusableVerdict
from pytest_promptopt.marked_lines import ScoreLine
from pytest_promptopt.text import join_words, quote

_NUMBER = r"[-+\u2212]?(?:\d+(?:[.,]\d+)?|[.,]\d+)(?:[eE][-+]?\d+)?"
_HEDGE = r"(?:about|around|approximately|approx\.?|roughly|circa|ca\.?|maybe|probably|~|≈|=)"
#: What models put around a number: Markdown, brackets, quotation marks, LaTeX.
_OPENING = r"(?:[\s*_`\[({<\"'“‘$]|\\boxed\{|\\text(?:bf)?\{){0,12}"
_VALUE = re.compile(rf"{_OPENING}(?:{_HEDGE}\s*)?{_OPENING}(?P<number>{_NUMBER})(?P<rest>.*)", re.DOTALL)
_CLOSING = re.compile(r"[\s*_`\])}>\"'”’$]*")
#: A number goes on in a way that is not understood: ``1.2.3``, ``0.8x``, ``8/``.
_GOES_ON = re.compile(r"\w|[.,]\d|\s*/")
_DIGITS_AFTER = re.compile(r"[^\w\s(]+\d")
#: A whole number that may have been cut off: of ``0.`` and ``1 (ou`` nobody knows how they go on.
_CUT_OFF = re.compile(r"[.,](?!\s+[^\W\d_])|\s+[.,]?\d|[^(]*\([^)]*\Z")
_PERCENT = re.compile(r"\s*(?:%|per ?cent\b)", re.IGNORECASE)
_OUT_OF = re.compile(
    rf"[\s*_`\])}}\"']*[(\[]?\s*(?:/|\u2044|out\s+of\b|of\b)\s*[*_`\[(\"']*(?P<scale>{_NUMBER})(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
#: More numbers that belong to the value, so that it is a range, a sum or a change.
_MORE = re.compile(
    rf"\s*(?:[-\u2010-\u2015\u2212]\s*(?=[\d.])|(?:to|or|and|\.\.+|[+×*=~→⇒]|[-=]>|/)\s*)"
    rf"[*_`(\[]*{_NUMBER}(?!\s*[A-Za-z])",
    re.IGNORECASE,
)
#: After a lone 0 or 1 these say that the scale may be another one.
_OTHER_SCALE = re.compile(
    r"\A\W*(?:points?|stars?|pts?)\b|\A\s*(?!because|since|as\b|for\b)[^\W\d_]"
    r"|\bscale\b|\bmax\b|\bout\b|/\s*\d|\b(?:of|von|sur|de|di|van|av|z)\s+\d",
    re.IGNORECASE,
)
_UNIT_SCALE = re.compile(
    r"(?:\bscale (?:of|from) )?\b0(?:\.0)?\s*(?:to|[-\u2010-\u2015])\s*1(?:\.0)?\b(?![.,]\d)"
    r"|\b(?:out )?of 1\b",
    re.IGNORECASE,
)
#: A scale beside the word "score": ``(out of 10)``, ``(0-100)``, ``(/5)``.
_SCALE = re.compile(
    r"(?:on a scale (?:of|from)\s*)?(?:out of|of|/|0(?:[.,]0)?\s*(?:to|[-\u2010-\u2015])|max\.?)\s*"
    rf"(?P<scale>{_NUMBER})",
    re.IGNORECASE,
)
#: What tells the scale of a score stands near it.
_LONGEST = 300
_FIGURE = re.compile(r"\d")
_UNSURE = "is no number that can be read for sure"
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


def read_score(value: object, *, scale: str = "") -> float:
    """The score that `value` says. Raises `UnusableVerdict` when it says none, or could mean another.

    :param value: a text, or what stood in JSON.
    :param scale: what stood in brackets beside the word "score", such as ``out of 10``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _refused(value, "is no number")
    if isinstance(value, str):
        return _of_text(unicodedata.normalize("NFKC", value), value, scale)
    return _within(float(value) if abs(value) < 10**300 else math.inf, value)


def _of_text(text: str, said: str, scale: str) -> float:
    found = _VALUE.match(text.strip()[:_LONGEST])
    if found is None:
        raise _refused(said, "is no number")
    number, rest = found["number"], found["rest"]
    if re.fullmatch(r"[1-9]\d*,\d{3}", number):  # a thousand or more, for some
        raise _refused(said, _UNSURE)
    figure = _figure(number)
    if percent := _PERCENT.match(rest):
        rest, most = rest[percent.end() :], 100.0
    elif out_of := _OUT_OF.match(rest):
        rest, most = out_of["rest"], _figure(out_of["scale"])
    else:
        most = _scale(scale, said)
        if number.isdigit() and _CUT_OFF.match(rest):
            raise _refused(said, _UNSURE)
        if most == 1 and float(figure).is_integer() and _may_have_other_scale(number, rest):
            raise _refused(said, "does not say of how much")
    if _GOES_ON.match(rest) or _DIGITS_AFTER.match(rest):
        raise _refused(said, _UNSURE)
    if _MORE.match(_CLOSING.sub("", rest, count=1)) or _MORE.match(rest):
        raise _refused(said, "names several numbers")
    if not most > 0 or not math.isfinite(most):
        raise _refused(said, "has no scale that can be")
    if most > 1 and 0 < figure < 1:
        raise _refused(said, f"could be a share, or of {most:g}")
    return _within(figure / most, said)


def _figure(number: str) -> float:
    return float(number.replace(",", ".").replace("\u2212", "-"))


def _scale(said_beside: str, said: str) -> float:
    """The most that a score can be by what stood in brackets; 1 when nothing there is about a scale."""
    beside = unicodedata.normalize("NFKC", said_beside)
    if not _FIGURE.search(beside) and "%" not in beside:
        return 1.0
    if "%" in beside and not _FIGURE.search(beside):
        return 100.0
    found = _SCALE.fullmatch(beside.strip().rstrip("%").strip())
    if found is None:
        raise _refused(f"({said_beside}) {said}", "does not say of how much")
    return _figure(found["scale"])


def _may_have_other_scale(number: str, rest: str) -> bool:
    beside = _UNIT_SCALE.sub("", rest[:80])
    return number.isdigit() and _OTHER_SCALE.search(beside) is not None


def _within(score: float, said: object) -> float:
    if not 0 <= score <= 1:
        raise _refused(said, "is not from 0 to 1")
    return score + 0.0  # a minus before 0 is taken off


def _refused(said: object, why: str) -> UnusableVerdict:
    return UnusableVerdict(f"the score {quote(said)} {why}")


def score_of(lines: Sequence[ScoreLine]) -> float | None:
    """The score that all lines agree on; None without one. Raises `UnusableVerdict`."""
    sure = [line for line in lines if not line.doubtful]
    if not sure and lines:
        raise UnusableVerdict("the only score stands inside of a sentence, as something quoted does")
    if len(sure) > 2 and [line.final for line in sure] == [False] * (len(sure) - 1) + [True]:
        sure = sure[-1:]  # those before it are of single points
    return agreed([read_score(line.text, scale=line.beside) for line in sure])


def score_in_sentence(text: str) -> float | None:
    """The score that a sentence of the judge names; None without one. Raises `UnusableVerdict`."""
    spaced = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text))
    return agreed([read_score(found["value"]) for found in _IN_SENTENCE.finditer(spaced)])


def mentions_score(text: str) -> bool:
    """Whether something like a score stands anywhere."""
    return _ANY_SCORE.search(text) is not None


def agreed(scores: list[float]) -> float | None:
    """The one score that all say; None when there is none. Raises `UnusableVerdict`."""
    if len({round(score, 6) for score in scores}) > 1:
        named = join_words([f"{score:g}" for score in scores])
        raise UnusableVerdict(f"the scores contradict each other: {named}")
    return scores[0] if scores else None

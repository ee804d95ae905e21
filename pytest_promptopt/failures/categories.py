"""Which kind of failure a case is: an ordered list of rules, the first that recognises the case names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_promptopt.failures.answer_format import json_faults, strip_wrapping, wrapping, wrapping_around
from pytest_promptopt.failures.failure_context import FailureContext, first_line
from pytest_promptopt.failures.label_vocabulary import MAX_SEARCHED, LabelVocabulary, fold, is_short
from pytest_promptopt.failures.lookalikes import lookalike, plain
from pytest_promptopt.failures.refusals import first_sentence, is_refusal, wants_refusal
from pytest_promptopt.records import StopReason
from pytest_promptopt.text import cut_middle, quote, value_text

TRUNCATED = "truncated"
REFUSAL = "refusal"
FORMAT = "format violation"
CONFUSION = "boundary confusion"
FORBIDDEN = "forbidden content"
MISSING = "missing information"
INVENTED = "hallucinated content"
VERBOSE = "too verbose"
TERSE = "too terse"
WRONG = "wrong value"
OTHER = "other failure"

#: An answer this many times longer (or shorter) than the expected text fails by its length, whatever it says.
LENGTH_RATIO = 2.0
#: ... if that is at least so many words; below, "twice as long" is one more word.
MIN_LENGTH_GAP = 5
#: Items named per case (paths, missing facts): more only repeat that the answer is another one.
MAX_SIGNS = 5
#: Characters of a check that stand for it.
MAX_CONSTRAINT = 120


@dataclass(frozen=True)
class Finding:
    """What a rule saw in one case.

    :param signs: what is wrong, in words that fold: equal words, equal sign.
    :param pair: (expected, answered), for labels.
    :param size: (wanted, given, unit), for lengths and measures; `wanted` may be a limit.
    """

    category: str
    signs: tuple[str, ...] = ()
    pair: tuple[str, str] | None = None
    size: tuple[float, float, str] | None = None


def _stopped(subject: FailureContext) -> Finding | None:
    reasons = [call.stop_reason for call in subject.calls]
    if StopReason.REFUSAL in reasons and not _expects_refusal(subject):
        return Finding(REFUSAL, ("the provider's stop reason is refusal",))
    if StopReason.MAX_TOKENS in reasons:
        return Finding(TRUNCATED, ("the answer was cut at max_tokens",))
    return None


def _refused(subject: FailureContext) -> Finding | None:
    if not is_refusal(subject.answer) or _expects_refusal(subject):
        return None
    return Finding(REFUSAL, (f"opens with {quote(first_sentence(subject.answer))}",))


def _expects_refusal(subject: FailureContext) -> bool:
    wanted = value_text(subject.expected) if subject.operator == "==" else ""
    if subject.membership and subject.membership[0] == "in":
        wanted = subject.membership[1]
    return wants_refusal(wanted, test=subject.case.partition("[")[0].rpartition("::")[2])


_NUMBER_ERROR = re.compile(r"invalid literal for int\(\)|could not convert string to float|ConversionSyntax")
_FORM_METHODS = re.compile(
    r"(?:\.|method )(startswith|endswith|fullmatch|match|is(?:lower|upper|title|digit|decimal|alpha))\b"
)
_CHOICES = re.compile(r"(?:'[^']*' in answer or )+'[^']*' in answer")
_MARKUP = re.compile(r"\A(?:`{1,3}\w*|\*{1,2}|#{1,6} ?|\n+|[\"'{}\[\]<>]+)\Z")


def _badly_formed(subject: FailureContext) -> Finding | None:
    if subject.operator == "==":
        return _badly_formed_value(subject)
    if subject.operator in ("in", "not in"):
        return _badly_formed_member(subject)
    if subject.asserted:
        checked = subject.failure.constraint or subject.failure.message
        method = _FORM_METHODS.search(checked) if subject.operator is None else None
        if checked.removeprefix("assert ").startswith("not "):  # a form that the answer must not have
            return None
        return Finding(FORMAT, (f"the check {method[1]}() on its form does not hold",)) if method else None
    return _unreadable(subject) if subject.calls else None


def _badly_formed_member(subject: FailureContext) -> Finding | None:
    operator, looked_for = subject.membership or ("", "")
    if operator == "not in" and _MARKUP.match(looked_for):
        return Finding(FORMAT, (f"{quote(looked_for)} in the answer",))
    if operator == "in" and looked_for.strip() and (sign := _is_there_otherwise(subject, looked_for)):
        return Finding(FORMAT, (sign,))
    allowed, answer = _allowed(subject), value_text(subject.actual)
    inside = allowed.find(strip_wrapping(answer)[0])
    signs = wrapping_around(inside, answer) if inside else ()
    if not signs and allowed and not is_short(answer):
        signs = ("prose around the value" if allowed.within(answer) else "prose instead of a label",)
    return Finding(FORMAT, signs) if signs else None


def _is_there_otherwise(subject: FailureContext, looked_for: str) -> str:
    """How the searched text holds `looked_for` all the same; empty when it does not."""
    if not (subject.failure.constraint or "").endswith(" in answer"):
        return ""
    searched = (subject.actual if isinstance(subject.actual, str) else subject.answer)[:MAX_SEARCHED]
    if looked_for in searched:
        return ""
    if fold(looked_for) in fold(searched):
        return f"{quote(looked_for)} in other case or spacing"
    same = fold(plain(looked_for)) in fold(plain(searched))
    return f"{quote(looked_for)} in characters that look the same" if same else ""


def _unreadable(subject: FailureContext) -> Finding | None:
    """An exception that reading the answer raised, since it is not in the form that the test reads."""
    message = subject.failure.message
    if _NUMBER_ERROR.search(message):
        return Finding(FORMAT, ("not a bare number",))
    if "JSON" in subject.kind + message or re.search(r"^Expecting .*char \d+", message):
        faults = json_faults(subject.answer)
        return Finding(FORMAT, faults) if faults else None
    return None


def _badly_formed_value(subject: FailureContext) -> Finding | None:
    if subject.changes is not None:
        if not subject.changes:
            return Finding(FORMAT, ("the same JSON written differently",))
        if all(change.spelling for change in subject.changes):
            return Finding(
                FORMAT, _folded(f"another type or case at {change.field}" for change in subject.changes)
            )
        return None
    if subject.texts is None:
        if isinstance(subject.actual, str):
            return Finding(FORMAT, json_faults(subject.actual) or ("no JSON object or array",))
        inside = isinstance(subject.actual, (dict, list)) and isinstance(subject.expected, str)
        return Finding(FORMAT, ("JSON around the value",)) if inside else None
    expected, actual = subject.texts
    if expected == actual:
        return Finding(
            FORMAT, (f"a {type(subject.actual).__name__} instead of a {type(subject.expected).__name__}",)
        )
    if sign := lookalike(expected, actual):
        return Finding(FORMAT, (sign,))
    signs = wrapping_around(expected, actual) or wrapping(expected, actual, subject.vocabulary)
    if signs:
        return Finding(FORMAT, signs, pair=_inner_pair(expected, actual, subject.vocabulary))
    value, signs = strip_wrapping(actual)
    other = subject.vocabulary.find(value)
    if other and signs:  # another label, and dressed: no answer in this form can pass
        return Finding(FORMAT, signs, pair=(expected, other))
    return None


def _inner_pair(expected: str, actual: str, vocabulary: LabelVocabulary) -> tuple[str, str] | None:
    """The label inside a dressed answer, where it is one and the wrong one."""
    inside = vocabulary.within(actual)
    return (expected, inside[0]) if len(inside) == 1 and fold(inside[0]) != fold(expected) else None


def _allowed(subject: FailureContext) -> LabelVocabulary:
    """The values of ``answer in ['billing', 'refunds']``, when that is the check that failed."""
    _, found, container = (subject.failure.constraint or "").partition(" in ")
    looked_for = subject.membership[1] if subject.membership else None
    elsewhere = looked_for is not None and fold(looked_for) not in fold(subject.answer[:MAX_SEARCHED])
    if subject.operator != "in" or container[:1] not in ("[", "(", "{") or not found or elsewhere:
        return LabelVocabulary()
    return LabelVocabulary.of(match[2] for match in re.finditer(r"(['\"])(.+?)\1", container))


def _confused(subject: FailureContext) -> Finding | None:
    if subject.texts is None:
        return None
    expected, actual = (subject.vocabulary.find(text) for text in subject.texts)
    return (
        Finding(CONFUSION, (), pair=(expected, actual))
        if expected and actual and expected != actual
        else None
    )


def _forbidden(subject: FailureContext) -> Finding | None:
    if subject.membership and subject.membership[0] == "not in":
        return Finding(FORBIDDEN, (quote(subject.membership[1]),))
    # Of `find(...) != -1` and of `is not None` nothing is forbidden that an answer could hold.
    said = subject.failure.actual
    if subject.operator in ("!=", "is not", "not in") and isinstance(said, str) and said.strip():
        answers = (subject.answer, *(call.text for call in subject.calls))
        answered = any(fold(said) in fold(text[:MAX_SEARCHED]) for text in answers)
        return Finding(FORBIDDEN, (quote(said),)) if answered else None
    return None


def _incomplete(subject: FailureContext) -> Finding | None:
    if subject.membership and subject.membership[0] == "in" and not _allowed(subject):
        return Finding(MISSING, (quote(subject.membership[1]),))
    if subject.kind == "KeyError" and subject.operator is None:
        key = first_line(subject.failure.message).removeprefix("KeyError: ").strip("'\"")
        held = re.search(rf"[\"']{re.escape(key)}[\"']\s*:", subject.answer[:MAX_SEARCHED])
        return Finding(MISSING, (f"the key {quote(key)}",)) if key and not held and subject.calls else None
    required = re.findall(r"^(\S+)\n\s+Field required", subject.failure.message, re.MULTILINE)
    if required:  # pydantic
        return Finding(MISSING, _folded(f"the key {quote(name)}" for name in required))
    if subject.changes:
        absent_fields = [
            change.field
            for change in subject.changes
            if change.kind == "missing" or _is_blanked(change.expected, change.actual)
        ]
        return Finding(MISSING, _folded(map(_named, absent_fields))) if absent_fields else None
    if subject.operator == "or" and (choices := _CHOICES.fullmatch(subject.failure.constraint or "")):
        texts = re.split(r" in answer(?: or |\Z)", choices[0])[:-1]
        return Finding(MISSING, (f"one of {', '.join(quote(text[1:-1]) for text in texts)}",))
    wanted = subject.operator == "!=" or bool(subject.texts and subject.texts[0].strip())
    if wanted and isinstance(subject.actual, str) and not subject.actual.strip():
        return Finding(MISSING, ("the whole answer (it is empty)",))
    absent, added = subject.facts
    return Finding(MISSING, _folded(map(quote, absent))) if absent and not added else None


def _named(field: str) -> str:
    return f"elements of {quote(field[:-2])}" if field.endswith("[]") and field != "[]" else quote(field)


def _is_blanked(expected: object, actual: object) -> bool:
    return _is_blank(actual) and not _is_blank(expected)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def _invented(subject: FailureContext) -> Finding | None:
    outside = re.search(r"(?P<value>'[^']*'|\"[^\"]*\") is not a valid \w+", subject.failure.message)
    if outside and not subject.asserted:  # an Enum
        return Finding(INVENTED, (quote(outside["value"][1:-1]),))
    allowed = _allowed(subject)
    if allowed:
        return Finding(INVENTED, (quote(value_text(subject.actual)),))
    if subject.changes:
        extra = [
            change
            for change in subject.changes
            if change.kind == "extra" or _is_blanked(change.actual, change.expected)
        ]
        return (
            Finding(INVENTED, _folded(_named(change.field) for change in extra))
            if len(extra) == len(subject.changes)
            else None
        )
    closed = subject.vocabulary.complete  # else the answer may be what a case expects that nobody knows of
    if closed and subject.texts and subject.vocabulary.find(subject.texts[0]) and is_short(subject.texts[1]):
        value = strip_wrapping(subject.texts[1])[0] or subject.texts[1].strip()
        return Finding(INVENTED, (quote(value),), pair=(subject.texts[0], value))
    absent, added = subject.facts
    return Finding(INVENTED, _folded(map(quote, added))) if added and not absent else None


def _wrong_length(subject: FailureContext) -> Finding | None:
    size = _measured_length(subject)
    if size:
        return Finding(VERBOSE if subject.operator in ("<", "<=") else TERSE, size=size)
    if subject.texts is None or subject.operator != "==":
        return None
    wanted, given = (len(text.split()) for text in subject.texts)
    if abs(given - wanted) < MIN_LENGTH_GAP:
        return None
    if given >= LENGTH_RATIO * wanted:
        return Finding(VERBOSE, size=(wanted, given, "words"))
    return Finding(TERSE, size=(wanted, given, "words")) if wanted >= LENGTH_RATIO * given else None


def _measured_length(subject: FailureContext) -> tuple[float, float, str] | None:
    """(limit, length, unit) when the failed check bounds the length of the answer."""
    given = subject.actual
    if (
        subject.operator not in ("<", "<=", ">", ">=")
        or isinstance(given, bool)
        or not isinstance(given, (int, float))
    ):
        return None
    limit = _limit(subject, given)
    units = {
        "characters": (len(subject.answer), len(subject.answer.strip())),
        "words": (len(subject.answer.split()),),
        "lines": (len(subject.answer.splitlines()), len(subject.answer.strip().splitlines())),
        "sentences": (len(re.findall(r"[.!?]+(?:\s|\Z)", subject.answer)),),
    }
    for unit, sizes in units.items():
        if limit is not None and given in sizes and subject.calls:
            return limit, given, unit
    return (
        (limit, given, "in the test's own measure")
        if limit is not None and "len(" in f"{subject.failure.constraint} {subject.failure.message}"
        else None
    )


def _limit(subject: FailureContext, given: float) -> float | None:
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", subject.failure.constraint or "")]
    others = [number for number in numbers if number != given] or numbers
    return others[-1] if others else None


def _differing(subject: FailureContext) -> Finding | None:
    if subject.changes:
        return Finding(
            WRONG, _folded(quote(change.field) for change in subject.changes if change.kind == "changed")
        )
    if subject.texts:
        short = all(map(is_short, subject.texts))
        expected, actual = subject.texts
        return Finding(
            WRONG, (f"{quote(actual)} for {quote(expected)}",) if short else ("the wording of a longer text",)
        )
    if subject.operator == "==":
        return Finding(
            WRONG, (f"a {type(subject.actual).__name__} instead of a {type(subject.expected).__name__}",)
        )
    if subject.operator is None:
        return None
    given = subject.actual
    measured = isinstance(given, (int, float)) and not isinstance(given, bool)
    measured = measured and subject.operator in ("<", "<=", ">", ">=")
    limit = _limit(subject, given) if measured else None
    size = (limit, float(given), subject.operator) if measured and limit is not None else None
    return Finding(
        WRONG,
        (f"a measure that must be {subject.operator} {limit:g}" if limit is not None else _gist_of(subject),),
        size=size,
    )


def _gist_of(subject: FailureContext) -> str:
    """The check that does not hold, in words that fold."""
    if subject.operator in ("or", "matches", "!=", "is not", "not in") and subject.failure.constraint:
        return cut_middle(subject.failure.constraint, MAX_CONSTRAINT)
    return f"a check with {subject.operator}"


def _other(subject: FailureContext) -> Finding:
    place = f" at {subject.failure.where}" if subject.failure.where else ""
    told = first_line(subject.failure.constraint or subject.failure.message)
    return Finding(OTHER, (f"{subject.kind or 'failure'} {quote(told)}{place}",))


def _folded(signs: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(signs))[:MAX_SIGNS]


#: The most specific first. How the model stopped explains everything after it; a form that no test can read
#: hides the value; a value from the label set says more than "wrong"; content is judged before length, since
#: "too long" is what is left to say of an answer that says the right things; the last takes what is left.
_RULES: tuple[Callable[[FailureContext], Finding | None], ...] = (
    _stopped,
    _refused,
    _badly_formed,
    _confused,
    _forbidden,
    _incomplete,
    _invented,
    _wrong_length,
    _differing,
)


def find(subject: FailureContext) -> Finding:
    """The one category of a failed case."""
    for rule in _RULES:
        finding = rule(subject)
        if finding is not None:
            return finding
    return _other(subject)

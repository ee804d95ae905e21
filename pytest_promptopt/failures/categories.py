"""Which kind of failure a case is: an ordered list of rules, the first that recognises the case names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_promptopt.failures.answer_format import (
    compare_wrapping,
    find_buried_value,
    find_json_faults,
    strip_wrapping,
)
from pytest_promptopt.failures.failure_context import FailureContext, first_line
from pytest_promptopt.failures.label_vocabulary import (
    MAX_SEARCHED,
    LabelVocabulary,
    could_be_label,
    fold_label,
)
from pytest_promptopt.failures.lookalikes import lookalike_symptom, visible_form
from pytest_promptopt.failures.symptoms import Symptom, SymptomKind, symptoms_of
from pytest_promptopt.failures.tool_faults import tool_faults
from pytest_promptopt.records import StopReason, function_of
from pytest_promptopt.refusals import first_sentence, is_refusal, wants_refusal
from pytest_promptopt.text import MAX_QUOTE, cut_end, cut_middle, value_text

TRUNCATED = "truncated"
REFUSAL = "refusal"
UNMET = "criterion not met"
TOOL_CALL = "wrong tool call"
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
MAX_SYMPTOMS = 5
#: Characters of a check that stand for it.
MAX_CONSTRAINT = 120


@dataclass(frozen=True)
class Finding:
    """What a rule saw in one case.

    :param symptoms: what is wrong; what cases have in common is the symptoms that are equal.
    :param pair: (expected, answered), for labels.
    :param size: (wanted, given, unit), for lengths and measures; `wanted` may be a limit.
    :param told: the symptoms with the values of this answer, where they say more than its difference.
    """

    category: str
    symptoms: tuple[Symptom, ...] = ()
    pair: tuple[str, str] | None = None
    size: tuple[float, float, str] | None = None
    told: tuple[str, ...] = ()


def _stopped(subject: FailureContext) -> Finding | None:
    reasons = [call.stop_reason for call in subject.calls]
    if StopReason.REFUSAL in reasons and not _expects_refusal(subject):
        return Finding(REFUSAL, (Symptom(SymptomKind.STOPPED_AS_REFUSAL),))
    if StopReason.MAX_TOKENS in reasons:
        return Finding(TRUNCATED, (Symptom(SymptomKind.CUT_AT_MAX_TOKENS),))
    return None


def _refused(subject: FailureContext) -> Finding | None:
    if not is_refusal(subject.answer) or _expects_refusal(subject):
        return None
    opening = cut_end(first_sentence(subject.answer), MAX_QUOTE)
    return Finding(REFUSAL, (Symptom.of(SymptomKind.OPENS_AS_REFUSAL, opening),))


def _expects_refusal(subject: FailureContext) -> bool:
    wanted = value_text(subject.expected) if subject.operator == "==" else ""
    if subject.membership and subject.membership[0] == "in":
        wanted = subject.membership[1]
    return wants_refusal(wanted, test=function_of(subject.case).rpartition("::")[2])


def _judged(subject: FailureContext) -> Finding | None:
    """What a judge found wanting is told in its own words; other rules only see that a number is too low."""
    if not subject.verdicts:
        return None
    criteria = (cut_middle(verdict.criterion, MAX_CONSTRAINT) for verdict in subject.verdicts)
    return Finding(UNMET, _about_each(SymptomKind.CRITERION, criteria))


def _called_wrongly(subject: FailureContext) -> Finding | None:
    faults = tool_faults(subject)[:MAX_SYMPTOMS]
    symptoms = _distinct(fault.symptom for fault in faults)
    return Finding(TOOL_CALL, symptoms, told=tuple(fault.told for fault in faults)) if faults else None


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
        return Finding(FORMAT, (Symptom.of(SymptomKind.FORM_CHECK, method[1]),)) if method else None
    return _unreadable(subject) if subject.calls else None


def _badly_formed_member(subject: FailureContext) -> Finding | None:
    operator, looked_for = subject.membership or ("", "")
    if operator == "not in" and _MARKUP.match(looked_for):
        return Finding(FORMAT, (Symptom.of(SymptomKind.MARKUP, looked_for),))
    if operator == "in" and looked_for.strip() and (symptom := _is_there_otherwise(subject, looked_for)):
        return Finding(FORMAT, (symptom,))
    allowed, answer = _allowed(subject), value_text(subject.actual)
    inside = allowed.find(strip_wrapping(answer)[0])
    kinds = compare_wrapping(inside, answer) if inside else ()
    if not kinds and allowed and not could_be_label(answer):
        around = allowed.within(answer)
        kinds = (SymptomKind.PROSE_AROUND_VALUE if around else SymptomKind.PROSE_INSTEAD_OF_LABEL,)
    return Finding(FORMAT, symptoms_of(kinds)) if kinds else None


def _is_there_otherwise(subject: FailureContext, looked_for: str) -> Symptom | None:
    """How the searched text holds `looked_for` all the same; None when it does not."""
    if not (subject.failure.constraint or "").endswith(" in answer"):
        return None
    searched = (subject.actual if isinstance(subject.actual, str) else subject.answer)[:MAX_SEARCHED]
    if looked_for in searched:
        return None
    if fold_label(looked_for) in fold_label(searched):
        return Symptom.of(SymptomKind.TEXT_IN_OTHER_CASE, looked_for)
    same = fold_label(visible_form(looked_for)) in fold_label(visible_form(searched))
    return Symptom.of(SymptomKind.LOOKALIKE_OF_TEXT, looked_for) if same else None


def _unreadable(subject: FailureContext) -> Finding | None:
    """An exception that reading the answer raised, since it is not in the form that the test reads."""
    message = subject.failure.message
    if subject.kind.endswith("AdapterParseError"):
        return Finding(FORMAT, (Symptom(SymptomKind.NO_FIELDS),))
    if _NUMBER_ERROR.search(message):
        return Finding(FORMAT, (Symptom(SymptomKind.NO_BARE_NUMBER),))
    if "JSON" in subject.kind + message or re.search(r"^Expecting .*char \d+", message):
        faults = find_json_faults(subject.answer)
        return Finding(FORMAT, symptoms_of(faults)) if faults else None
    return None


def _badly_formed_value(subject: FailureContext) -> Finding | None:
    if subject.changes is not None:
        if not subject.changes:
            return Finding(FORMAT, (Symptom(SymptomKind.JSON_WRITTEN_DIFFERENTLY),))
        if all(change.spelling for change in subject.changes):
            fields = (change.field for change in subject.changes)
            return Finding(FORMAT, _about_each(SymptomKind.FIELD_SPELLED_DIFFERENTLY, fields))
        return None
    if subject.texts is None:
        if isinstance(subject.actual, str):
            return Finding(
                FORMAT, symptoms_of(find_json_faults(subject.actual) or [SymptomKind.NO_JSON_STRUCTURE])
            )
        inside = isinstance(subject.actual, (dict, list)) and isinstance(subject.expected, str)
        return Finding(FORMAT, (Symptom(SymptomKind.JSON_AROUND_VALUE),)) if inside else None
    expected, actual = subject.texts
    if expected == actual:
        return Finding(FORMAT, (_other_type(subject),))
    if symptom := lookalike_symptom(expected, actual):
        return Finding(FORMAT, (symptom,))
    kinds = compare_wrapping(expected, actual) or find_buried_value(expected, actual, subject.vocabulary)
    if kinds:
        return Finding(FORMAT, symptoms_of(kinds), pair=_inner_pair(expected, actual, subject.vocabulary))
    value, kinds = strip_wrapping(actual)
    other = subject.vocabulary.find(value)
    if other and kinds:  # another label, and wrapped: no answer in this form can pass
        return Finding(FORMAT, symptoms_of(kinds), pair=(expected, other))
    return None


def _inner_pair(expected: str, actual: str, vocabulary: LabelVocabulary) -> tuple[str, str] | None:
    """The label inside a dressed answer, where it is one and the wrong one."""
    inside = vocabulary.within(actual)
    return (
        (expected, inside[0]) if len(inside) == 1 and fold_label(inside[0]) != fold_label(expected) else None
    )


def _allowed(subject: FailureContext) -> LabelVocabulary:
    """The values of ``answer in ['billing', 'refunds']``, when that is the check that failed."""
    _, found, container = (subject.failure.constraint or "").partition(" in ")
    looked_for = subject.membership[1] if subject.membership else None
    elsewhere = looked_for is not None and fold_label(looked_for) not in fold_label(
        subject.answer[:MAX_SEARCHED]
    )
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
        return Finding(FORBIDDEN, (Symptom.of(SymptomKind.TEXT, subject.membership[1]),))
    # Of `find(...) != -1` and of `is not None` nothing is forbidden that an answer could hold.
    said = subject.failure.actual
    if subject.operator in ("!=", "is not", "not in") and isinstance(said, str) and said.strip():
        answers = (subject.answer, *(call.text for call in subject.calls))
        answered = any(fold_label(said) in fold_label(text[:MAX_SEARCHED]) for text in answers)
        return Finding(FORBIDDEN, (Symptom.of(SymptomKind.TEXT, said),)) if answered else None
    return None


def _incomplete(subject: FailureContext) -> Finding | None:
    if subject.membership and subject.membership[0] == "in" and not _allowed(subject):
        return Finding(MISSING, (Symptom.of(SymptomKind.TEXT, subject.membership[1]),))
    if subject.kind == "KeyError" and subject.operator is None:
        key = first_line(subject.failure.message).removeprefix("KeyError: ").strip("'\"")
        held = re.search(rf"[\"']{re.escape(key)}[\"']\s*:", subject.answer[:MAX_SEARCHED])
        missing = key and not held and subject.calls
        return Finding(MISSING, (Symptom.of(SymptomKind.KEY, key),)) if missing else None
    required = re.findall(r"^(\S+)\n\s+Field required", subject.failure.message, re.MULTILINE)
    if required:  # pydantic
        return Finding(MISSING, _about_each(SymptomKind.KEY, required))
    if subject.changes:
        absent_fields = [
            change.field
            for change in subject.changes
            if change.kind == "missing" or _is_blanked(change.expected, change.actual)
        ]
        return Finding(MISSING, _distinct(map(_field, absent_fields))) if absent_fields else None
    if subject.operator == "or" and (choices := _CHOICES.fullmatch(subject.failure.constraint or "")):
        texts = re.split(r" in answer(?: or |\Z)", choices[0])[:-1]
        return Finding(MISSING, (Symptom.of(SymptomKind.ONE_OF, *(text[1:-1] for text in texts)),))
    wanted = subject.operator == "!=" or bool(subject.texts and subject.texts[0].strip())
    if wanted and isinstance(subject.actual, str) and not subject.actual.strip():
        return Finding(MISSING, (Symptom(SymptomKind.WHOLE_ANSWER),))
    absent, added = subject.facts
    return Finding(MISSING, _about_each(SymptomKind.TEXT, absent)) if absent and not added else None


def _field(path: str) -> Symptom:
    if path.endswith("[]") and path != "[]":
        return Symptom.of(SymptomKind.ELEMENTS, path[:-2])
    return Symptom.of(SymptomKind.FIELD, path)


def _is_blanked(expected: object, actual: object) -> bool:
    return _is_blank(actual) and not _is_blank(expected)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def _invented(subject: FailureContext) -> Finding | None:
    outside = re.search(r"(?P<value>'[^']*'|\"[^\"]*\") is not a valid \w+", subject.failure.message)
    if outside and not subject.asserted:  # an Enum
        return Finding(INVENTED, (Symptom.of(SymptomKind.TEXT, outside["value"][1:-1]),))
    allowed = _allowed(subject)
    if allowed:
        return Finding(INVENTED, (Symptom.of(SymptomKind.TEXT, value_text(subject.actual)),))
    if subject.changes:
        extra = [
            change
            for change in subject.changes
            if change.kind == "extra" or _is_blanked(change.actual, change.expected)
        ]
        return (
            Finding(INVENTED, _distinct(_field(change.field) for change in extra))
            if len(extra) == len(subject.changes)
            else None
        )
    closed = subject.vocabulary.complete  # else the answer may be what a case expects that nobody knows of
    if (
        closed
        and subject.texts
        and subject.vocabulary.find(subject.texts[0])
        and could_be_label(subject.texts[1])
    ):
        value = strip_wrapping(subject.texts[1])[0] or subject.texts[1].strip()
        return Finding(INVENTED, (Symptom.of(SymptomKind.TEXT, value),), pair=(subject.texts[0], value))
    absent, added = subject.facts
    return Finding(INVENTED, _about_each(SymptomKind.TEXT, added)) if added and not absent else None


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
        changed = (change.field for change in subject.changes if change.kind == "changed")
        return Finding(WRONG, _about_each(SymptomKind.FIELD, changed))
    if subject.texts:
        expected, actual = subject.texts
        if all(map(could_be_label, subject.texts)):
            return Finding(WRONG, (Symptom.of(SymptomKind.OTHER_VALUE, actual, expected),))
        return Finding(WRONG, (Symptom(SymptomKind.OTHER_WORDING),))
    if subject.operator == "==":
        return Finding(WRONG, (_other_type(subject),))
    if subject.operator is None:
        return None
    given = subject.actual
    measured = isinstance(given, (int, float)) and not isinstance(given, bool)
    measured = measured and subject.operator in ("<", "<=", ">", ">=")
    limit = _limit(subject, given) if measured else None
    if limit is None:
        return Finding(WRONG, (_unmet_check(subject, subject.operator),))
    symptom = Symptom.of(SymptomKind.MEASURE, subject.operator, f"{limit:g}")
    return Finding(WRONG, (symptom,), size=(limit, float(given), subject.operator))


def _other_type(subject: FailureContext) -> Symptom:
    types = type(subject.actual).__name__, type(subject.expected).__name__
    return Symptom(SymptomKind.OTHER_TYPE, types)


def _unmet_check(subject: FailureContext, operator: str) -> Symptom:
    """The check that does not hold, such that cases of the same check have the same symptom."""
    if operator in ("or", "matches", "!=", "is not", "not in") and subject.failure.constraint:
        return Symptom.of(SymptomKind.CONDITION, cut_middle(subject.failure.constraint, MAX_CONSTRAINT))
    return Symptom.of(SymptomKind.OPERATOR, operator)


def _other(subject: FailureContext) -> Finding:
    place = f" at {subject.failure.where}" if subject.failure.where else ""
    told = first_line(subject.failure.constraint or subject.failure.message)
    return Finding(OTHER, (Symptom.of(SymptomKind.ERROR, subject.kind or "failure", told, place),))


def _about_each(kind: SymptomKind, values: Iterable[str]) -> tuple[Symptom, ...]:
    return _distinct(Symptom.of(kind, value) for value in values)


def _distinct(symptoms: Iterable[Symptom]) -> tuple[Symptom, ...]:
    return tuple(dict.fromkeys(symptoms))[:MAX_SYMPTOMS]


#: The most specific first. How the model stopped explains everything after it; a form that no test can read
#: hides the value; a value from the label set says more than "wrong"; content is judged before length, since
#: "too long" is what is left to say of an answer that says the right things; the last takes what is left.
_RULES: tuple[Callable[[FailureContext], Finding | None], ...] = (
    _stopped,
    _refused,
    _judged,
    _called_wrongly,
    _badly_formed,
    _confused,
    _forbidden,
    _incomplete,
    _invented,
    _wrong_length,
    _differing,
)


def categorize_failure(subject: FailureContext) -> Finding:
    """The one category of a failed case."""
    for rule in _RULES:
        finding = rule(subject)
        if finding is not None:
            return finding
    return _other(subject)

"""One failed case as the rules see it: its operands, what went in, what came out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pytest_promptopt.failures.differences import Change, describe_changes, structure_changes, text_diff
from pytest_promptopt.failures.label_vocabulary import (
    MAX_SEARCHED,
    LabelVocabulary,
    PromptBody,
    could_be_label,
    split_words,
)
from pytest_promptopt.failures.lookalikes import lookalike_symptom
from pytest_promptopt.failures.verdict_lines import verdict_lines
from pytest_promptopt.partial_credit import unmet_verdicts
from pytest_promptopt.records import Call, Failure, Outcome, StageGrade
from pytest_promptopt.text import cut_middle, quote, value_text, without_addresses
from pytest_promptopt.verdicts import Verdict

#: Calls of one case whose variables are shown; a loop of hundreds adds nothing that the first few do not say.
MAX_CALLS = 5
#: Texts longer than this are not parsed as JSON a second time here (the test did that already).
MAX_PARSED = 200_000

#: Begins the line with the answer of an earlier stage.
OWN_ANSWER = "this prompt's own answer, before the last call"

#: ``'refund' in answer``: a literal on the left of a membership test.
_MEMBERSHIP = re.compile(r"(?P<quote>['\"])(?P<left>.*?)(?P=quote) (?P<operator>(?:not )?in) ", re.DOTALL)
#: unittest's own sentences, for suites whose failures have no operands.
_UNITTEST_EQUAL = re.compile(
    r"(?P<one>'[^'\n]*'|\"[^\"\n]*\"|[\w.+-]+) != (?P<two>'[^'\n]*'|\"[^\"\n]*\"|[\w.+-]+)"
)
_UNITTEST_IN = re.compile(
    r"(?P<quote>['\"])(?P<left>.*?)(?P=quote) (?P<negated>unexpectedly |not )found in ", re.DOTALL
)
#: Numbers, and words after another word: a capital at the start of a sentence makes no name.
_FACT = re.compile(r"\d[\d.,:/-]*\d|\d|(?<=[\w,;:(] )[^\W\d_][\w'’-]+")
#: Explanations that explain nothing.
_EMPTY = ("assert False", "assert None", "assert 0", "assert []", "assert {}", "assert ''", "assert not True")
_ESCAPES = {"\\n": "\n", "\\t": "\t", "\\'": "'", '\\"': '"', "\\\\": "\\"}


@dataclass(frozen=True)
class FailureContext:
    """What is known about one failed case.

    :param operator: the comparison that failed; None when there is none to judge by.
    :param expected: with ``==`` the expected value, JSON text parsed; where nothing was compared, what the
        test states; else None.
    :param actual: what was compared; the answer where the comparison had no text of its own.
    :param answer: the text of the last call, what the test judged; empty without calls.
    :param judged: that call; None without calls.
    :param verdicts: of a judge, that were not enough.
    :param stage_answer: the last answer of the prompt in question, when another prompt's call came after it.
    :param grade: what the test says of this prompt's stage.
    """

    case: str
    failure: Failure
    operator: str | None
    expected: Any
    actual: Any
    answer: str
    stage_answer: str | None = None
    judged: Call | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    grade: StageGrade | None = None
    prose: PromptBody = field(default_factory=lambda: PromptBody(""))
    vocabulary: LabelVocabulary = field(default_factory=LabelVocabulary)

    @cached_property
    def texts(self) -> tuple[str, str] | None:
        """Expected and actual as text, when both are plain values under ``==``."""
        if self.operator != "==" or any(
            isinstance(side, (dict, list)) for side in (self.expected, self.actual)
        ):
            return None
        return value_text(self.expected), value_text(self.actual)

    @cached_property
    def changes(self) -> tuple[Change, ...] | None:
        """The paths that differ, when both sides are structures under ``==``."""
        if self.operator != "==" or not all(
            isinstance(side, (dict, list)) for side in (self.expected, self.actual)
        ):
            return None
        return structure_changes(self.expected, self.actual)

    @property
    def said_text(self) -> bool:
        """Whether the answer has a text, and not only calls of tools."""
        return self.judged is None or not self.judged.only_calls

    @property
    def kind(self) -> str:
        """The exception's name without its module."""
        return self.failure.kind.rpartition(".")[2]

    @property
    def asserted(self) -> bool:
        """Whether a check failed, as opposed to an exception on the way to it."""
        return self.kind in ("AssertionError", "Failed", "")

    @property
    def message(self) -> str:
        """What the failure says; where it says nothing about the values, the statement that failed."""
        said = self.failure.message.strip()
        unexplained = self.operator is None and not self.failure.constraint
        if self.asserted and unexplained and self.failure.check and said in ("", *_EMPTY):
            return self.failure.check
        return said

    @cached_property
    def membership(self) -> tuple[str, str] | None:
        """``("in" or "not in", the text looked for)``, when a literal inside the answer was checked."""
        found = _MEMBERSHIP.match(self.failure.constraint or "")
        if found and self.operator in ("in", "not in"):
            return found["operator"], _unescape(found["left"])
        unexplained = self.operator is None and not self.failure.constraint
        found = _UNITTEST_IN.match(self.failure.message) if unexplained else None
        if found:
            return "not in" if found["negated"] == "unexpectedly " else "in", _unescape(found["left"])
        return None

    @cached_property
    def known_words(self) -> frozenset[str]:
        """The words of the inputs and of the prompt: what an answer may draw on."""
        return frozenset(
            word for text in (*self.inputs.values(), self.prose.text) for word in split_words(text)
        )

    @cached_property
    def facts(self) -> tuple[list[str], list[str]]:
        """Numbers and names that a longer answer lacks, and those that neither the test nor the input has."""
        if self.texts is None or all(map(could_be_label, self.texts)):
            return [], []
        expected, actual = (text[:MAX_SEARCHED] for text in self.texts)
        wanted, given = _facts(expected), _facts(actual)
        in_actual, known = frozenset(split_words(actual)), self.known_words | frozenset(split_words(expected))
        absent = [
            fact for fact in wanted if fact not in given and not in_actual.issuperset(split_words(fact))
        ]
        added = [fact for fact in given if fact not in wanted and not known.issuperset(split_words(fact))]
        return absent, added

    @property
    def requirement(self) -> str:
        """The check that had to hold, when no expected value was compared; empty without one."""
        return "" if self.operator == "==" else cut_middle(self.failure.constraint or "", 300)

    def difference(self) -> tuple[str, ...]:
        """The lines that say how the answer differs from what the test wants."""
        lines: list[str] = []
        if self.verdicts:
            lines += verdict_lines(self.verdicts)
        elif self.changes is not None:
            lines += describe_changes(self.changes) or ("the same value, written differently",)
        elif self.texts is not None:
            lines += _text_lines(self.expected, self.actual, *self.texts)
        elif self.operator == "==":
            lines.append(f"expected {quote(self.expected)} but got {quote(self.actual)}")
        elif self.requirement:
            lines.append(f"must hold: {self.requirement}")
            if not isinstance(self.failure.actual, (str, type(None))):
                lines.append(f"was: {quote(self.failure.actual)}")
        elif not self.asserted or self.message:
            lines.append(f"{self.kind or 'failed'}: {first_line(self.message)}")
        lines += self._whereabouts()
        return tuple(lines)

    def _whereabouts(self) -> list[str]:
        lines = []
        part = self.operator == "==" and not isinstance(self.actual, (dict, list))
        if part and self.calls and value_text(self.actual).strip() not in self.answer:
            lines.append(f"the whole answer: {quote(self.answer, 300)}")
        if self.stage_answer is not None:
            lines.append(f"{OWN_ANSWER}: {quote(self.stage_answer, 300)}")
        return lines


def first_line(message: str) -> str:
    """What a message says, on one line, such that messages of the same check are equal."""
    lines = [line.strip() for line in message.strip().splitlines()]
    if len(lines) > 1 and re.fullmatch(r"assert (?:False|None|not True|0|\[\])", lines[0]):
        check = re.search(r"where .*? = (?P<call>.{1,80}?)(?:\(|\Z)", lines[1])
        if check:  # pytest shows the arguments: they differ from case to case
            return f"assert {check['call']}(…)"
    return cut_middle(lines[0], 300) if lines else "no message"


def _facts(text: str) -> dict[str, None]:
    return dict.fromkeys(fact for fact in _FACT.findall(text) if fact[0].isdigit() or fact[0].isupper())


def _text_lines(wanted: Any, given: Any, expected: str, actual: str) -> list[str]:
    lines = [f"expected {quote(wanted)} but got {quote(given)}"]
    if symptom := lookalike_symptom(expected, actual):
        return [f"{lines[0]}: {symptom}"]
    if quote(expected) == quote(actual) and expected != actual:  # they differ past what a line shows
        lines = [f"expected a text of {len(expected):,} characters but got another of {len(actual):,}"]
    # Texts without a word in common are replaced as a whole: a diff would only repeat both.
    return [*lines, *text_diff(expected, actual)] if _is_close(expected, actual) else lines


def _is_close(expected: str, actual: str) -> bool:
    one, two = set(split_words(expected)), set(split_words(actual))
    return bool(one & two) or expected.casefold().strip() == actual.casefold().strip()


def _unescape(literal: str) -> str:
    return re.sub(r"\\[nt'\"\\]", lambda found: _ESCAPES[found[0]], literal)


def parse_structure(value: Any) -> Any:
    """JSON text of an object or array as its value; anything else unchanged."""
    if not isinstance(value, str) or len(value) > MAX_PARSED or value.strip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def failure_context_of(
    outcome: Outcome,
    *,
    prompt: str | None = None,
    prose: PromptBody,
    vocabulary: LabelVocabulary | None = None,
) -> FailureContext:
    """Read a failed outcome. `prompt` picks whose calls are the inputs; None, or one not called: all."""
    failure = outcome.failure or Failure("", "", "")
    calls = tuple(call for call in outcome.calls if call.prompt == prompt) or outcome.calls
    judged = _judged(outcome.calls, failure)
    answer = judged.words if judged is not None else ""
    operator, expected, actual = _operands(failure, answer)
    if operator is None and not failure.constraint:
        expected = outcome.expected
    return FailureContext(
        case=outcome.case,
        failure=failure,
        operator=operator,
        expected=expected,
        actual=actual,
        answer=answer,
        judged=judged,
        stage_answer=calls[-1].words if calls and judged not in calls else None,
        inputs={name: without_addresses(text) for name, text in (_inputs(calls) or outcome.inputs).items()},
        calls=calls,
        verdicts=unmet_verdicts(outcome.failure, outcome.verdicts),
        grade=outcome.grade_of(prompt) if prompt is not None else None,
        prose=prose,
        vocabulary=vocabulary or LabelVocabulary(),
    )


def _judged(calls: Sequence[Call], failure: Failure) -> Call | None:
    """The call whose answer the failed check is about: the last, unless it compared another one's."""
    if isinstance(failure.actual, str) and (said := failure.actual.strip().casefold()):
        for call in reversed(calls):
            if call.text.strip().casefold() == said:
                return call
    return calls[-1] if calls else None


def _operands(failure: Failure, answer: str) -> tuple[str | None, Any, Any]:
    if failure.operator == "==":
        return "==", parse_structure(failure.expected), parse_structure(failure.actual)
    if failure.operator is not None:
        return failure.operator, None, answer if failure.actual is None else failure.actual
    found = _UNITTEST_EQUAL.match(first_line(failure.message))
    if found and answer:
        sides = [side[1:-1] if side[0] in "'\"" else side for side in (found["one"], found["two"])]
        own = [side for side in sides if side.casefold().strip() == answer.casefold().strip()]
        if len(own) == 1:
            return "==", sides[1 - sides.index(own[0])], own[0]
    return None, None, answer


def _inputs(calls: Sequence[Call]) -> dict[str, str]:
    """The variables of the calls; a name that takes another value in a later call says which call."""
    inputs: dict[str, str] = {}
    for number, call in enumerate(calls[:MAX_CALLS], 1):
        for name, value in call.variables.items():
            text = value_text(value)
            if inputs.setdefault(name, text) != text:
                inputs[f"{name} (call {number})"] = text
    return inputs

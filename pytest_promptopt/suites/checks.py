"""`Check`: what must hold for an answer, and how a check that does not hold is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from pytest_promptopt.assertions.assert_reason import TURNED
from pytest_promptopt.assertions.plain_values import readable_value
from pytest_promptopt.records import Failure
from pytest_promptopt.text import quote
from pytest_promptopt.verdicts import Verdict

if TYPE_CHECKING:
    from pytest_promptopt.suites.file_case import FileCase
    from pytest_promptopt.suites.similar_check import Embedder

NEGATION = "not-"


class Judging(Protocol):
    """A judge of answers, as the fixture ``judge`` is one."""

    def __call__(
        self, answer: str, criterion: str, /, *, reference: str | None = None, context: str | None = None
    ) -> Verdict: ...


@dataclass(frozen=True)
class CheckContext:
    """What a check may look at besides the answer.

    :param judge: None where nobody can be asked.
    :param embedder: the same for embeddings.
    """

    case: FileCase
    judge: Judging | None = None
    embedder: Embedder | None = None


@dataclass(frozen=True)
class Found:
    """What was compared: ``left operator right``, and whether it holds.

    :param operator: as in `records.Failure`; None when it was no comparison: then `left` says it all.
    :param actual: the value that was compared.
    :param expected: with ``==`` the value that was expected.
    :param why: why it does not hold, where the values alone do not say it.
    :param kind: the name of the error that a test would have ended with.
    :param failure: why it does not hold, where code of the user's has decided.
    """

    holds: bool
    operator: str | None
    left: str
    right: str
    actual: Any
    expected: Any = None
    why: str = ""
    kind: str = "AssertionError"
    failure: Failure | None = None

    def constraint(self, *, negated: bool) -> str:
        """What must hold, in words."""
        told = f"{self.left} {self.operator} {self.right}" if self.right else self.left
        if not negated:
            return told
        turned = TURNED.get(self.operator or "")
        return f"not ({told})" if turned is None else f"{self.left} {turned} {self.right}"


#: Compares one answer with what a check asks.
Evaluate = Callable[["Check", str, CheckContext], Found]


@dataclass(frozen=True)
class Check:
    """One thing that must hold for an answer.

    :param type: one of `check_types.CHECK_TYPES`, without ``not-``.
    :param value: what it compares with; its form depends on the type.
    :param where: ``file:line``.
    :param negated: it must not hold.
    :param threshold: for types that measure a share.
    :param options: further values of the type.
    """

    type: str
    value: Any = None
    where: str = field(default="", compare=False)
    negated: bool = False
    threshold: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The type as it is written."""
        return NEGATION + self.type if self.negated else self.type


def failure_of_check(check: Check, found: Found) -> Failure:
    """Why `check` does not hold, as data."""
    message = f"{check.name}{_shown(check)}{': ' if found.why else ''}{found.why}"
    if found.failure is not None and not check.negated:
        return replace(found.failure, message=found.failure.message or message, where=check.where)
    constraint = found.constraint(negated=check.negated)
    failure = Failure(
        found.kind,
        message,
        check.where,
        found.operator,
        actual=readable_value(found.actual),
        constraint=constraint,
        check=f"assert {constraint}",
    )
    if check.negated:
        return replace(failure, operator=TURNED.get(found.operator or ""))
    if found.operator == "==":
        return replace(failure, expected=readable_value(found.expected), constraint=None)
    return failure


def _shown(check: Check) -> str:
    """The value of a check behind its name; what an `==` expects stands behind it anyway."""
    parts = [str(check.options["path"])] if "path" in check.options else []
    if (
        check.value is not None
        and not isinstance(check.value, dict)
        and (check.type != "equals" or check.negated)
    ):
        parts.append(quote(check.value))
    if check.threshold is not None:
        parts.append(f"(at least {check.threshold:g})")
    return "".join(f" {part}" for part in parts)

"""Why an assert does not hold: which of its comparisons, read in the direction in which the test asks for it.

pytest explains every comparison of a failed assert, whatever its result and whatever stands around it: under
``not``, or as one part of several, the one explained last may well be what the test wants.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.assertions.matchers import is_matcher
from pytest_promptopt.assertions.static_values import (
    COMPARED,
    NoValue,
    chosen_branch,
    symbol_of,
    value_of,
)

#: Parts of one assert that are told apart; there are as many ways for it to fail as 2 to the power of this.
MAX_PARTS = 8

TURNED = {
    "==": "!=", "!=": "==", "in": "not in", "not in": "in", "is": "is not", "is not": "is",
    "<": ">=", ">=": "<", ">": "<=", "<=": ">",
}  # fmt: skip
#: The same comparison read from the other side.
MIRRORED = {
    "==": "==",
    "!=": "!=",
    "is": "is",
    "is not": "is not",
    "<": ">",
    ">": "<",
    "<=": ">=",
    ">=": "<=",
}

#: What pytest explains of a comparison: its operator and both sides.
Explained = tuple[str, Any, Any]


@dataclass(frozen=True)
class Comparison:
    """A comparison that the test asks for and that does not hold.

    :param nodes: both sides as they are written, where that is known.
    """

    operator: str
    left: Any
    right: Any
    nodes: tuple[ast.expr, ast.expr] | None = None


@dataclass(frozen=True)
class Reason:
    """What the test asks for and did not get.

    :param comparisons: one of these had to hold; empty when it is another kind of check.
    :param check: the source of that check; it has to be false when `negated`.
    """

    comparisons: tuple[Comparison, ...] = ()
    check: ast.expr | None = None
    negated: bool = False


def comparison_holds(symbol: str, left: Any, right: Any) -> bool | None:
    """Whether a comparison holds; None when it cannot be compared once more."""
    if is_matcher(left) or is_matcher(right):  # a snapshot counts how often it is compared
        return None
    try:
        return bool(COMPARED[symbol](left, right))
    except Exception:  # a user's own operator
        return None


def reason_of(
    test: ast.expr | None, compared: Sequence[Explained] | None, names: Mapping[str, Any]
) -> Reason | None:
    """Why the assert of `test` does not hold; None when that cannot be told.

    :param test: what is asserted, None without a source.
    :param compared: (operator, left, right) of what pytest has explained, in order; None where it explains
        nothing.
    :param names: what the names of the test mean, where nothing was explained.
    """
    if test is not None:
        assignments = list(_failing_assignments(test, compared, names))
        if assignments:  # several cannot be told apart
            return assignments[0].blame(test, wanted=True) if len(assignments) == 1 else Reason(check=test)
    failed = [each for each in compared or () if comparison_holds(*each) is False]
    return Reason((Comparison(*failed[-1]),)) if failed else None


def _failing_assignments(
    test: ast.expr, compared: Sequence[Explained] | None, names: Mapping[str, Any]
) -> Iterator[_TruthAssignment]:
    """The ways in which the assert can have failed."""
    parts = list(_parts(test))
    for truths in itertools.product((True, False), repeat=len(parts)) if len(parts) <= MAX_PARTS else ():
        assignment = _TruthAssignment(dict(zip(map(id, parts), truths, strict=True)), compared, names)
        if assignment.fits(test):
            yield assignment


def _parts(test: ast.expr) -> Iterator[ast.expr]:
    """What is put together by ``and``, ``or`` and ``not``."""
    if isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _parts(value)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _parts(test.operand)
    else:
        yield test


def _explained(node: ast.expr) -> Iterator[ast.Compare]:
    """The comparisons inside `node` that pytest explains, in its order."""
    inside: Sequence[ast.expr] = ()
    if isinstance(node, ast.Compare):
        inside = (node.left, *node.comparators)
    elif isinstance(node, ast.BoolOp):
        inside = node.values
    elif isinstance(node, ast.UnaryOp):
        inside = (node.operand,)
    elif isinstance(node, ast.BinOp):
        inside = (node.left, node.right)
    elif isinstance(node, ast.Call):
        inside = (node.func, *node.args, *(each.value for each in node.keywords))
    elif isinstance(node, (ast.Attribute, ast.Starred)):
        inside = (node.value,)
    for each in inside:
        yield from _explained(each)
    if isinstance(node, ast.Compare):
        yield node


class _TruthAssignment:
    """One way in which an assert can have failed: which of its parts were true."""

    def __init__(
        self,
        truths: Mapping[int, bool],
        compared: Sequence[Explained] | None,
        names: Mapping[str, Any],
    ) -> None:
        self._truths = truths
        self._compared = compared
        self._names = names
        self._seen: list[ast.expr] = []
        self._operands: dict[int, tuple[str, Any, Any]] = {}

    def fits(self, test: ast.expr) -> bool:
        """Whether the assert fails this way, and what was compared agrees with it."""
        if self._value(test):
            return False
        unseen = (part for part in _parts(test) if part not in self._seen)
        if not all(self._truths[id(part)] for part in unseen):
            return False  # what was never evaluated tells no cases apart: one of them is enough
        return self._aligns() and all(map(self._agrees, self._seen))

    def _value(self, node: ast.expr) -> bool:
        if isinstance(node, ast.BoolOp):
            stops = isinstance(node.op, ast.Or)
            return stops if any(self._value(each) is stops for each in node.values) else not stops
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return not self._value(node.operand)
        self._seen.append(node)
        return self._truths[id(node)]

    def _aligns(self) -> bool:
        """Give each comparison what pytest has explained of it."""
        explained = [each for part in self._seen for each in _explained(part)]
        if self._compared is None:
            return True  # what can be read must do
        if len(explained) != len(self._compared):
            return False
        for node, operands in zip(explained, self._compared, strict=True):
            if operands[0] not in map(symbol_of, node.ops):
                return False
            self._operands[id(node)] = operands
        return True

    def _agrees(self, part: ast.expr) -> bool:
        operands = self._operands.get(id(part))
        if operands is not None:
            return comparison_holds(*operands) in (self._truths[id(part)], None)
        try:
            return bool(value_of(part, self._names)) is self._truths[id(part)]
        except NoValue:
            return True

    def blame(self, node: ast.expr, *, wanted: bool) -> Reason:
        """Why `node` is not `wanted`."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.blame(node.operand, wanted=not wanted)
        if (inside := _judged(node)) is not None:
            truth, wrapped = inside
            return self.blame(wrapped, wanted=wanted is truth)
        if isinstance(node, ast.BoolOp):
            return self._blame_parts(node, wanted=wanted)
        if isinstance(node, ast.IfExp) and (chosen := chosen_branch(node, self._names)) is not None:
            return self.blame(chosen, wanted=wanted)
        found = self._comparison(node, wanted=wanted) if isinstance(node, ast.Compare) else None
        return Reason(check=node, negated=not wanted) if found is None else Reason((found,))

    def _blame_parts(self, node: ast.BoolOp, *, wanted: bool) -> Reason:
        if isinstance(node.op, ast.Or) is not wanted:  # one part alone decided it: the last evaluated
            seen = [each for each in node.values if any(part in self._seen for part in _parts(each))]
            if not seen:  # it stands inside of what was told apart
                return Reason(check=node, negated=not wanted)
            return self.blame(seen[-1], wanted=wanted)
        reasons = [self.blame(each, wanted=wanted) for each in node.values]
        if all(len(reason.comparisons) == 1 for reason in reasons):
            return Reason(tuple(reason.comparisons[0] for reason in reasons))
        return Reason(check=node, negated=not wanted)

    def _comparison(self, node: ast.Compare, *, wanted: bool) -> Comparison | None:
        sides = [node.left, *node.comparators]
        links = list(zip(map(symbol_of, node.ops), sides, sides[1:], strict=False))
        if len(links) > 1 and not wanted:
            return None  # all of a chain held, and must not: no link is to blame
        for symbol, left, right in links:
            operands = self._operands.get(id(node)) or self._read(symbol, left, right)
            if operands is None or operands[0] != symbol:
                continue
            if len(links) > 1 and not (
                comparison_holds(*operands) is False and self._may_be(operands, left, right)
            ):
                continue
            return Comparison(symbol if wanted else TURNED[symbol], *operands[1:], (left, right))
        return None

    def _read(self, symbol: str, left: ast.expr, right: ast.expr) -> tuple[str, Any, Any] | None:
        try:
            return symbol, value_of(left, self._names), value_of(right, self._names)
        except NoValue:
            return None

    def _may_be(self, operands: tuple[str, Any, Any], left: ast.expr, right: ast.expr) -> bool:
        """Whether these are the operands of this link of a chain, by the sides that can be read."""
        for node, value in ((left, operands[1]), (right, operands[2])):
            try:
                if comparison_holds("==", value_of(node, self._names), value) is False:
                    return False
            except NoValue:
                continue
        return True


def _judged(node: ast.expr) -> tuple[bool, ast.expr] | None:
    """Of ``(one == two) is False`` the truth that is asked for, and of what; the same of ``bool(...)``."""
    match node:
        case ast.Compare(
            left=(ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not())) as inside,
            ops=[ast.Is() | ast.Eq() | ast.IsNot() | ast.NotEq() as symbol],
            comparators=[ast.Constant(value=bool() as truth)],
        ):
            return truth is isinstance(symbol, (ast.Is, ast.Eq)), inside
        case ast.Call(func=ast.Name("bool"), args=[inside], keywords=[]):
            return True, inside
    return None

"""Whatever is put together with and, or and not: the reason is never a comparison that holds."""

from __future__ import annotations

import ast
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_promptopt.assertions.assert_reason import MAX_PARTS, comparison_holds, reason_of
from pytest_promptopt.assertions.static_values import symbol_of

NAMES = {"a": 1, "b": 2, "c": "x", "d": "xyz", "e": [1, "x"]}
PARTS = st.sampled_from(
    [
        "a == 1", "a == b", "a != b", "b < a", "a <= b", "c in d", "d in c", "a not in e", "c in e", "a is b",
        "a < b < 3", "2 < b < 3", "hash(a) == 1", "hash(b) != 2", "yes()", "no()", "a", "not_there",
    ]
)  # fmt: skip
TESTS = st.recursive(
    PARTS,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})"),
    ),
    max_leaves=5,
)


class _Run:
    """An assert as pytest runs it: what it explains are the comparisons that were evaluated, in order."""

    def __init__(self) -> None:
        self.explained: list[tuple[str, Any, Any]] = []
        self.names = {**NAMES, "hash": hash, "yes": lambda: True, "no": lambda: False, "not_there": ""}

    def value(self, node: ast.expr) -> bool:
        if isinstance(node, ast.BoolOp):
            stop = isinstance(node.op, ast.Or)
            return stop if any(self.value(each) is stop for each in node.values) else not stop
        if isinstance(node, ast.UnaryOp):
            return not self.value(node.operand)
        result = bool(self._read(node))
        if isinstance(node, ast.Compare):
            sides = [self._read(each) for each in (node.left, *node.comparators)]
            links = list(zip(map(symbol_of, node.ops), sides, sides[1:], strict=False))
            self.explained.append(next((link for link in links if not comparison_holds(*link)), links[-1]))
        return result

    def _read(self, node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), "test", "eval"), dict(self.names))


@settings(max_examples=500)
@given(TESTS)
def test_a_comparison_that_holds_is_never_the_reason(source: str) -> None:
    test = ast.parse(source, mode="eval").body
    run = _Run()
    if run.value(test):
        return
    for names in (NAMES, {}):
        reason = reason_of(test, run.explained, names)
        assert reason is not None
        assert [
            each for each in reason.comparisons if comparison_holds(each.operator, each.left, each.right)
        ] == []
        assert bool(reason.comparisons) is (reason.check is None)


@given(TESTS)
def test_without_a_source_it_is_the_last_that_does_not_hold(source: str) -> None:
    run = _Run()
    run.value(ast.parse(source, mode="eval").body)
    failed = [each for each in run.explained if not comparison_holds(*each)]
    reason = reason_of(None, run.explained, {})
    found = None if reason is None else reason.comparisons[0]
    assert (found and (found.operator, found.left, found.right)) == (failed[-1] if failed else None)


def test_an_assert_of_very_many_parts_ends_at_once() -> None:
    test = ast.parse(" and ".join(f"x{number} == 1" for number in range(MAX_PARTS * 5)), mode="eval").body
    reason = reason_of(test, [("==", 1, 1)] * 10 + [("==", 2, 1)], {})
    assert reason is not None
    assert (reason.comparisons[0].left, reason.comparisons[0].right) == (2, 1)

"""How two values differ, in lines to read: difflib for text, DeepDiff for structures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.failures.lookalikes import lookalike_symptom
from pytest_promptopt.failures.symptoms import Symptom
from pytest_promptopt.text import (
    MAX_QUOTE,
    cut_middle,
    encodable,
    fold_case_and_space,
    one_line,
    quote,
    value_text,
)

#: Lines of one difference: past a dozen a reader stops, and the counts of the category say the rest.
MAX_LINES = 12
#: Characters compared from the first difference on: SequenceMatcher is quadratic at worst.
MAX_COMPARED = 1_600
#: Nodes given to DeepDiff (0.1 ms each at worst); larger structures are compared at their top level.
MAX_NODES = 1_000
#: Words of equal text shown on either side of a changed place, enough to find it.
CONTEXT_WORDS = 3
#: Below this similarity two short texts are other words altogether, and a character diff of them is noise.
MIN_SIMILARITY = 0.6

_MISSING = object()


def text_diff(expected: str, actual: str) -> tuple[str, ...]:
    """The places where `actual` differs from `expected`: ``()`` when equal.

    Texts of several lines give a unified diff; single lines give marked changes, ``{-removed-}{+added+}``, by
    character when they are short and alike and by word otherwise, with a little context.
    """
    if expected == actual:
        return ()
    expected, actual, before, cut = _window(encodable(expected), encodable(actual))
    if "\n" in expected.strip() or "\n" in actual.strip():
        lines = list(_unified(expected, actual))
    else:
        lines = [_marked(expected, actual, cut=cut)]
    if before:
        lines.insert(0, f"(the first {before:,} characters are equal)")
    return _capped(lines)


def _window(expected: str, actual: str) -> tuple[str, str, int, bool]:
    """Both texts from their first difference on, the equal characters before it, whether more comes."""
    if max(len(expected), len(actual)) <= MAX_COMPARED:
        return expected, actual, 0, False
    limit = min(len(expected), len(actual))
    low, high = 0, limit
    while low < high:  # the longest common start, by halves: slices compare at C speed
        middle = (low + high + 1) // 2
        low, high = (middle, high) if expected[:middle] == actual[:middle] else (low, middle - 1)
    start = max(0, low - MAX_COMPARED // 8)
    end = start + MAX_COMPARED
    return expected[start:end], actual[start:end], start, max(len(expected), len(actual)) > end


def _unified(expected: str, actual: str) -> Iterator[str]:
    pairs = difflib.unified_diff(
        expected.splitlines(), actual.splitlines(), "expected", "actual", n=1, lineterm=""
    )
    for line in pairs:
        yield cut_middle(line, 2 * MAX_QUOTE)


def _marked(expected: str, actual: str, *, cut: bool) -> str:
    short = len(expected) + len(actual) <= 2 * MAX_QUOTE
    by_character = short and difflib.SequenceMatcher(None, expected, actual).ratio() >= MIN_SIMILARITY
    one, two = (list(text) if by_character else _tokens(text) for text in (expected, actual))
    margin = len(expected) if short else CONTEXT_WORDS
    parts: list[str] = []
    operations = difflib.SequenceMatcher(None, one, two, autojunk=False).get_opcodes()
    if cut and len(operations) > 1 and operations[-1][0] != "equal":
        operations.pop()  # where the cut fell is no difference
    for operation, i1, i2, j1, j2 in operations:
        removed, added = "".join(one[i1:i2]), "".join(two[j1:j2])
        if operation == "equal":
            parts.append(removed if i2 - i1 <= 2 * margin else _gap(one[i1:i2], margin))
        else:
            parts.append((f"{{-{removed}-}}" if removed else "") + (f"{{+{added}+}}" if added else ""))
    return cut_middle(one_line("".join(parts)) + (" …" if cut else ""), 6 * MAX_QUOTE)


def _tokens(text: str) -> list[str]:
    """Words and marks with the space before them; one space in front makes the first word like any other."""
    return re.findall(r"\s*\w+|\s*[^\w\s]|\s+", f" {text}")


def _gap(equal: Sequence[str], margin: int) -> str:
    return "".join(equal[:margin]) + " … " + "".join(equal[len(equal) - margin :])


def _capped(lines: Sequence[str]) -> tuple[str, ...]:
    if len(lines) <= MAX_LINES:
        return tuple(lines)
    return (*lines[: MAX_LINES - 1], f"… and {len(lines) - MAX_LINES + 1:,} more lines")


@dataclass(frozen=True)
class Change:
    """One path at which two structures differ.

    :param path: ``items[0].name``; the empty string is the whole value.
    :param kind: ``missing`` (expected, not there), ``extra`` (there, not expected) or ``changed``.
    """

    path: str
    kind: str
    expected: Any
    actual: Any

    @property
    def field(self) -> str:
        """The path without list positions, so that a field of every element folds: ``items[].name``."""
        return re.sub(r"\[\d+\]", "[]", self.path) or "the whole value"

    @property
    def spelling(self) -> bool:
        """Whether both sides are the same value in another type, case or spacing, or look the same."""
        if self.kind != "changed" or isinstance(self.expected, (dict, list)):
            return False
        same = _bare(self.expected) == _bare(self.actual) or bool(self.lookalike)
        return same and not isinstance(self.actual, (dict, list))

    @property
    def lookalike(self) -> Symptom | None:
        """What tells two texts apart that look the same; None for others."""
        texts = isinstance(self.expected, str) and isinstance(self.actual, str)
        return lookalike_symptom(self.expected, self.actual) if texts else None

    def __str__(self) -> str:
        place = f"at {self.path}" if self.path else "as a whole"
        if self.kind == "missing":
            return f"{place}: expected {quote(self.expected)} but it is missing"
        if self.kind == "extra":
            return f"{place}: nothing was expected but got {quote(self.actual)}"
        told = f"{place}: expected {quote(self.expected)} but got {quote(self.actual)}"
        return f"{told}: {self.lookalike}" if self.lookalike else told


def _bare(value: Any) -> str:
    return fold_case_and_space(value_text(value))


def structure_changes(expected: Any, actual: Any) -> tuple[Change, ...]:
    """Every path at which two JSON-like structures differ, in a fixed order; ``()`` when they are equal."""
    if _equal(expected, actual):
        return ()
    if _nodes(expected, MAX_NODES) + _nodes(actual, MAX_NODES) > MAX_NODES:
        return _top_level(expected, actual)
    try:
        return _deep(expected, actual) or (Change("", "changed", expected, actual),)
    except Exception:  # DeepDiff met an object that it cannot compare: say what can be said
        return _top_level(expected, actual)


def _deep(expected: Any, actual: Any) -> tuple[Change, ...]:
    from deepdiff import DeepDiff  # 0.2 s: paid by the first structure that differs

    # Order counts and 1 equals 1.0, as for `==` in the test itself; level 2 keeps the values of added items.
    found = DeepDiff(
        expected, actual, ignore_order=False, ignore_numeric_type_changes=True, verbose_level=2, view="tree"
    )
    changes = []
    for report, items in found.items():
        kind = (
            "missing" if report.endswith("_removed") else "extra" if report.endswith("_added") else "changed"
        )
        for item in items:
            one = None if kind == "extra" else item.t1
            two = None if kind == "missing" else item.t2
            if kind != "changed" or not _equal(one, two):  # True equals 1 for `==`, not for DeepDiff
                changes.append(Change(_path(item.path(output_format="list")), kind, one, two))
    return tuple(
        sorted(changes, key=lambda change: [_sortable(part) for part in re.split(r"(\d+)", change.path)])
    )


def _sortable(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() and len(part) < 10 else (-1, part)


def _path(keys: Sequence[Any]) -> str:
    path = ""
    for key in keys:
        if isinstance(key, str) and re.fullmatch(r"[\w-]+", key):
            path += f".{key}" if path else key
        else:
            path += f"[{quote(key, 40)}]"
    return path


def _nodes(value: Any, limit: int) -> int:
    """How many values `value` holds, counted to just past `limit`."""
    waiting, count = [value], 0
    while waiting and count <= limit:
        node = waiting.pop()
        count += 1
        if isinstance(node, dict):
            waiting.extend(list(node.values())[:limit])
        elif isinstance(node, list):
            waiting.extend(node[:limit])
    return count


def _top_level(expected: Any, actual: Any) -> tuple[Change, ...]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        one: dict[Any, Any] = expected
        two: dict[Any, Any] = actual
    elif isinstance(expected, list) and isinstance(actual, list):
        one, two = dict(enumerate(expected)), dict(enumerate(actual))
    else:
        return (Change("", "changed", expected, actual),)
    changes = []
    for key in dict.fromkeys([*one, *two]):
        left, right = one.get(key, _MISSING), two.get(key, _MISSING)
        if right is _MISSING:
            changes.append(Change(_path([key]), "missing", left, None))
        elif left is _MISSING:
            changes.append(Change(_path([key]), "extra", None, right))
        elif not _equal(left, right):
            changes.append(Change(_path([key]), "changed", left, right))
    return tuple(changes)


def _equal(one: Any, two: Any) -> bool:
    try:
        return bool(one == two)
    except Exception:  # a user's `__eq__`, or nesting too deep to compare
        return False


def describe_changes(changes: Sequence[Change]) -> tuple[str, ...]:
    """One line per path, capped."""
    return _capped([str(change) for change in changes[: 10 * MAX_LINES]])

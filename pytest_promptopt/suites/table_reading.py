"""CSV files as cases: one a row, with the prompt's variables as columns."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.case_reading import OWN_KEYS, slip_of
from pytest_promptopt.suites.check_reading import known_type, unknown_type
from pytest_promptopt.suites.check_types import CHECK_TYPES
from pytest_promptopt.suites.checks import NEGATION
from pytest_promptopt.suites.located import Located
from pytest_promptopt.text import plural, quote, value_of_json

#: What separates the cells of the header is taken from the header; the first wins where two fit.
DELIMITERS = (",", ";", "\t", "|")
CHECK = "check:"
INPUT = "inputs."
#: Columns besides inputs; `checks` and `messages` have a structure that no cell has.
_PLAIN = tuple(key for key in OWN_KEYS if key not in ("checks", "messages"))
_LIST_SEPARATOR = "|"
#: How other programs call columns of checks.
_OTHERS = frozenset({"checks", "assert", "asserts", "assertions", "__expected"})
#: Types whose value is a number, and those whose value is a list.
_NUMBERS = frozenset(
    name for name, kind in CHECK_TYPES.items() if kind.schema.get("type") in ("integer", "number")
)
_LISTS = frozenset(name for name, kind in CHECK_TYPES.items() if kind.schema.get("type") == "array")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)")


@dataclass(frozen=True)
class _Column:
    """What a column is for.

    :param key: ``inputs``, ``check`` or one of the own keys of a case.
    :param name: of the input or of the type of the check.
    :param option: what stands beside the type: a path, or a threshold.
    """

    header: str
    key: str
    name: str = ""
    option: str = ""

    def repeats(self, other: _Column) -> bool:
        """Whether both say the same; a type of checks may have columns with other paths or thresholds."""
        if self.key == "check":
            return (self.name, self.option) == (other.name, other.option)
        return (self.key, self.name) == (other.key, other.name)


def read_csv(text: str, name: str, *, dialect: str | None = None) -> Iterator[Located]:
    """The rows below the header, each as a case is written. Raises `SettingsError` with ``file:line``.

    :param dialect: one of `csv.list_dialects`; None finds out what separates the cells.
    """
    text = text.removeprefix("\ufeff")
    options: Mapping[str, Any] = (
        {"delimiter": delimiter_of(text, name)} if dialect is None else {"dialect": dialect}
    )
    rows = _rows(text, name, options)
    line, header = next(rows, (1, []))
    if not header:
        raise SettingsError(f"{name}:1: the table is empty; its first row names the columns")
    columns = _columns(Located(name, header, {(): line}))
    for line, cells in rows:
        row = Located(name, cells, {(): line})
        if len(cells) != len(columns):
            more = ""
            if len(cells) > len(columns):
                more = "; a cell that holds a separator stands in quotation marks"
            raise row.wrong(
                f"the row has {plural(len(cells), 'cell')}, the header {plural(len(columns), 'column')}{more}"
            )
        yield Located(name, _case(row, columns), {(): line})


def delimiter_of(text: str, name: str) -> str:
    """What separates the cells: with it the header has the most columns."""
    if name.lower().endswith(".tsv"):
        return "\t"
    first = next((line for line in text.splitlines() if line.strip()), "")
    counts = {}
    for delimiter in DELIMITERS:
        try:
            counts[delimiter] = len(next(csv.reader([first], delimiter=delimiter), ()))
        except csv.Error:
            counts[delimiter] = 0
    return max(DELIMITERS, key=lambda delimiter: counts[delimiter])


def _rows(text: str, name: str, options: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, and its first line."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **options)
    line = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            hint = ": a quotation mark is opened and not closed" if "end of data" in str(error) else ""
            raise SettingsError(f"{name}:{line}: the row cannot be read: {error}{hint}") from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = reader.line_num + 1


def _columns(header: Located) -> list[_Column]:
    columns: list[_Column] = []
    for number, written in enumerate(header.value, start=1):
        column = _column(header, written.strip(), number)
        if any(map(column.repeats, columns)):
            raise header.wrong(f"there are two columns {quote(column.header)}")
        columns.append(column)
    return columns


def _column(header: Located, written: str, number: int) -> _Column:
    if not written:
        raise header.wrong(f"column {number} has no name")
    if written.startswith(INPUT):
        return _Column(written, "inputs", written.removeprefix(INPUT))
    if written.startswith(CHECK):
        type_, _, option = written.removeprefix(CHECK).strip().partition(" ")
        if known_type(type_) is None:
            raise unknown_type(header, type_)
        return _Column(written, "check", type_, _option(header, type_, option.strip()))
    if written in _PLAIN:
        return _Column(written, written)
    known = known_type(written)
    if known is not None and written != known[0]:
        raise header.wrong(f"the column {quote(written)} is no input; a check is called `{CHECK}{written}`")
    meant = written.lower() if written.lower() in _PLAIN else _slip(written)
    if meant is not None:
        raise header.wrong(
            f"there is no column {quote(written)}; did you mean `{meant}`? An input of this name is called "
            f"`{INPUT}{written}`"
        )
    return _Column(written, "inputs", written)


def _slip(written: str) -> str | None:
    """What a column is probably meant to be that is called otherwise."""
    return f"{CHECK}TYPE" if written in _OTHERS else slip_of(written, _PLAIN)


def _option(header: Located, type_: str, option: str) -> str:
    name = type_.removeprefix(NEGATION)
    if name == "json-path" and not option:
        raise header.wrong(f"the column `{CHECK}{type_}` names no path; write `{CHECK}{type_} $.total`")
    if option and not (name == "json-path" or CHECK_TYPES[name].threshold):
        raise header.wrong(f"the column `{CHECK}{type_} {option}`: `{type_}` takes nothing besides its value")
    if CHECK_TYPES[name].threshold and option and _number(option) is None:
        raise header.wrong(f"the column `{CHECK}{type_} {option}`: the threshold must be a number")
    return option


def _case(row: Located, columns: Sequence[_Column]) -> dict[str, Any]:
    """A row as a case is written in YAML."""
    case: dict[str, Any] = {"inputs": {}}
    checks = []
    for column, cell in zip(columns, row.value, strict=True):
        text = cell.strip()
        if column.key == "inputs":
            case["inputs"][column.name] = cell
        elif not text:
            continue
        elif column.key == "check":
            checks.append(_check(row, column, text))
        elif column.key == "weight":
            case["weight"] = _number_in(row, column, text)
        elif column.key == "expected":
            case["expected"] = _structure(text)
        elif column.key == "tags":
            case["tags"] = [tag.strip() for tag in re.split("[,;]", text) if tag.strip()]
        else:
            case[column.key] = text
    return {**case, **({"checks": checks} if checks else {})}


def _check(row: Located, column: _Column, text: str) -> dict[str, Any]:
    name = column.name.removeprefix(NEGATION)
    value: Any = text
    if name in _NUMBERS:
        value = _number_in(row, column, text)
    elif name in _LISTS:
        value = _structure(text) if text.startswith("[") else _listed(text)
    elif name == "is-json":
        value = _structure(text) if text.startswith("{") else text if text.endswith(".json") else None
    elif name in ("json-path", "equals"):
        value = _json(text)
    check: dict[str, Any] = {"type": column.name, "value": value}
    if name == "json-path":
        check["path"] = column.option
    elif column.option:
        check["threshold"] = _number(column.option)
    return check


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(_LIST_SEPARATOR) if part.strip()]


def _structure(text: str) -> Any:
    """A JSON object or list as its value; any other text as it is."""
    return _json(text) if text[:1] in "{[" else text


def _json(text: str) -> Any:
    try:
        return value_of_json(text)
    except ValueError:
        return text


def _number(text: str) -> float | int | None:
    if _NUMBER.fullmatch(text) is None or len(text) > 300:
        return None
    value = float(text)
    return int(value) if value.is_integer() else value if math.isfinite(value) else None


def _number_in(row: Located, column: _Column, text: str) -> float | int:
    value = _number(text)
    if value is None:
        raise row.wrong(f"the column {quote(column.header)} holds {quote(text)}, it must be a number")
    return value

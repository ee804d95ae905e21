"""The JSON values of an export file, one after the other, each with its line.

An export is one JSON document, JSON lines, documents written one after the other (as OpenTelemetry's console
exporters do), or a table in CSV; also compressed with gzip. JSON lines are read line by line: most spans of
an export are no calls of a model, and are forgotten at once.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pytest_promptopt.errors import SettingsError

#: Bytes of a document that is not in lines, or of one line: it has to be in the memory as a whole.
MAX_DOCUMENT = 256 * 1024 * 1024

#: Characters of a cell: what a model was asked may be long.
MAX_CELL = 64 * 1024 * 1024

_WORDS = {"NaN": None, "Infinity": None, "-Infinity": None}

#: A value and the line on which it begins.
Numbered = tuple[int, Any]


def read_values(path: Path, name: str) -> Iterator[Numbered]:
    """Raises `SettingsError` with ``file:line`` at what is no JSON, while it is read.

    :param name: of the file, for messages.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
            yield from _values(stream, name, is_table=_is_table(path))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SettingsError(f"{name}: it cannot be unpacked, so it was cut off or damaged: {error}") from None
    except OSError as error:
        raise SettingsError(f"{name}: it cannot be read: {error.strerror or error}") from None


def _is_table(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(".csv")


def _values(stream: BinaryIO, name: str, *, is_table: bool) -> Iterator[Numbered]:
    if is_table:
        yield from _rows(_document(stream.read(MAX_DOCUMENT + 1), name, 1), name)
        return
    number, in_lines = 0, False
    while line := stream.readline(MAX_DOCUMENT + 1):
        number += 1
        if not line.strip(b" \t\r\n\xef\xbb\xbf"):
            continue
        found = _whole_line(line, name, number)
        if found is not None:
            in_lines = True
            yield number, found[0]
        elif in_lines:
            yield from _documents(_document(line, name, number), name, number)  # says what is wrong with it
        else:  # the line only begins a value, so no line is one
            rest = stream.read(MAX_DOCUMENT + 1 - min(len(line), MAX_DOCUMENT))
            yield from _documents(_document(line + rest, name, number), name, number)
            return


def _whole_line(line: bytes, name: str, number: int) -> tuple[Any] | None:
    """The value that a line is; None where it is none. Raises `SettingsError`."""
    text = _document(line, name, number)
    try:
        return (_loads(text),)
    except (ValueError, RecursionError):
        return None


def _document(content: bytes, name: str, line: int) -> str:
    if len(content) > MAX_DOCUMENT:
        raise SettingsError(
            f"{name}:{line}: it is larger than {MAX_DOCUMENT // 2**20} MiB and not in lines; export it as "
            "JSON lines (one span or observation a line), or in parts"
        )
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        number = line + content.count(b"\n", 0, error.start)
        raise SettingsError(f"{name}:{number}: it is not UTF-8") from None


def _documents(text: str, name: str, first: int) -> Iterator[Numbered]:
    """Values that stand one after the other, with nothing but blanks between them."""
    decoder = json.JSONDecoder(parse_constant=_WORDS.get)
    place, line, counted = 0, first, 0
    while True:
        while place < len(text) and text[place] in " \t\r\n":
            place += 1
        if place == len(text):
            return
        line, counted = line + text.count("\n", counted, place), place
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise _no_json(text, error, name, first) from None
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"{name}:{line}: it cannot be read as JSON: {error}") from None
        yield line, value


def _no_json(text: str, error: json.JSONDecodeError, name: str, first: int) -> SettingsError:
    line = first + text.count("\n", 0, error.pos)
    said = f"{name}:{line}: it is not JSON: {error.msg} at column {error.colno}"
    is_cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
    return SettingsError(f"{said}; the file ends in the middle of a value" if is_cut else said)


def _loads(text: str) -> Any:
    return json.loads(text, parse_constant=_WORDS.get)


def _rows(text: str, name: str) -> Iterator[Numbered]:
    """The rows of a table as mappings; a cell that is JSON stays a text."""
    limit = csv.field_size_limit(MAX_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        head: list[str] | None = None
        line = 1
        for row in reader:
            if head is None:
                head = row
            elif row:
                if len(row) != len(head):
                    has = f"it has {len(row)} cells, and the first row has {len(head)}"
                    raise SettingsError(f"{name}:{line}: the row cannot be read: {has}")
                yield line, dict(zip(head, row, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise SettingsError(f"{name}:{line}: the row cannot be read: {error}") from None
    finally:
        csv.field_size_limit(limit)

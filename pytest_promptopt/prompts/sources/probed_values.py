"""``app.json::triage.system``, ``pyproject.toml::tool.triage.system``: strings of JSON and TOML files.

Which of the strings in a file is the one that is meant is asked of the parser itself: a string is it when the
parser finds another one at its place after it was replaced by that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.layout import FramedText, decode, usual_line_end
from pytest_promptopt.prompts.sources.key_paths import KeyPath, type_of
from pytest_promptopt.prompts.sources.source import SourceText

#: Stands in for the string that is looked for; no file holds it.
_PROBE = '"promptopt looks for this string"'

Parse = Callable[[str], Any]

#: Ways to write a text in place of a literal, the most alike first.
Write = Callable[[str, str, str], Iterator[str]]


@dataclass(frozen=True)
class ProbedValue:
    """A string in a file that a parser reads without telling where.

    :param kind: how messages call such a file.
    :param parse: raises `ValueError`.
    :param literals: finds the string literals; a named group `skipped` is none.
    :param write: given the literal, the text for its place and the file's line end.
    """

    path: KeyPath
    kind: str
    parse: Parse
    literals: re.Pattern[str]
    write: Write

    def read(self, content: bytes, *, name: str) -> SourceText:
        text = decode(content, name=name)
        start = len(text) - len(text.removeprefix("\ufeff"))
        try:
            value = self.path.value_in(self.parse(text[start:]))
        except RecursionError:
            raise PromptFileError(name, None, "it is nested too deeply") from None
        except ValueError as error:
            line = getattr(error, "lineno", None)
            wrong = f"is not valid {self.kind}: {error}" if _of_parser(error) else str(error)
            raise PromptFileError(name, line, wrong) from None
        if not isinstance(value, str):
            raise PromptFileError(name, None, f"`{self.path}` is {type_of(value)}; a prompt is a text")
        start, end = self._place(text, start, value, name=name)
        line, frame = text.count("\n", 0, start) + 1, FramedText.of(value)
        if not frame.body.strip():
            raise PromptFileError(name, line, f"the prompt is empty: `{self.path}` has no text")

        def replaced(prose: str) -> str:
            wanted = frame.with_prose(prose)
            for literal in self.write(text[start:end], wanted, usual_line_end(text)):
                changed = text[:start] + literal + text[end:]
                if self._value(changed) == wanted:
                    return changed
            raise ValueError(f"it cannot be written as a string of {self.kind}")

        return SourceText(frame.prose, line, replaced, frame.edges)

    def _place(self, text: str, start: int, value: str, *, name: str) -> tuple[int, int]:
        for found in self.literals.finditer(text, start):
            if found.lastgroup == "skipped" or self._meaning(found[0]) != value:
                continue
            if self._value(text[: found.start()] + _PROBE + text[found.end() :]) == _PROBE[1:-1]:
                return found.span()
        raise PromptFileError(name, None, f"the text of `{self.path}` was not found in the file")

    def _value(self, text: str) -> Any:
        try:
            return self.path.value_in(self.parse(text.removeprefix("\ufeff")))
        except (ValueError, RecursionError):
            return None

    def _meaning(self, literal: str) -> Any:
        return self.parse(literal) if self.kind == "JSON" else self.parse(f"x = {literal}")["x"]


def _of_parser(error: ValueError) -> bool:
    return type(error) is not ValueError


# ---------------------------------------------------------------------------------------------------- JSON

_JSON_LITERALS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def json_value(path: KeyPath) -> ProbedValue:
    """A string of a JSON file."""
    return ProbedValue(path, "JSON", json.loads, _JSON_LITERALS, _json_written)


def _json_written(literal: str, text: str, line_end: str) -> Iterator[str]:
    yield json.dumps(text, ensure_ascii="\\u" in literal)
    yield json.dumps(text)


# ---------------------------------------------------------------------------------------------------- TOML

_TOML_LITERALS = re.compile(
    r'(?P<skipped>#[^\n]*)|"""(?:\\.|[^\\])*?"{3,5}(?!")|'
    r"'''.*?'{3,5}(?!')|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'",
    re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def toml_value(path: KeyPath) -> ProbedValue:
    """A string of a TOML file."""
    import tomllib

    return ProbedValue(path, "TOML", tomllib.loads, _TOML_LITERALS, _toml_written)


def _toml_written(literal: str, text: str, line_end: str) -> Iterator[str]:
    quote = literal[0]
    several = literal.startswith(quote * 3)
    first = re.match(r"\r\n|\n", literal[3:]) if several else None
    opened = first[0] if first else ""
    lines = line_end.join(text.split("\n"))
    if "\n" not in text or several:
        if quote == "'" and several:
            yield f"'''{opened}{lines}'''"
        elif quote == "'":
            yield f"'{text}'"
    if several or ("\n" in text and "\\n" not in literal):
        opened = opened if several else line_end
        for start in dict.fromkeys((opened, line_end)):
            yield f'"""{start}{_toml_escaped(text, line_end)}"""'
    yield json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_escaped(text: str, line_end: str) -> str:
    if text.endswith('"'):  # the closing quotes follow at once
        return _toml_escaped(text[:-1], line_end) + '\\"'
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    text = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return line_end.join(text.split("\n"))

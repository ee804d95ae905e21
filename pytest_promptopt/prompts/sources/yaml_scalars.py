"""Texts of YAML: how another text is written in place of one, after the fashion of the one that was there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = re.compile(r"(?P<style>[|>])(?P<marks>[-+0-9]*)(?P<rest>[^\r\n]*)(?:\r\n|\r|\n|\Z)")
_LINE_END = re.compile(r"\r\n|\r|\n")

#: Texts that YAML of any version reads as text without quotes: words, none of which could be something else.
_PLAIN = re.compile(r"[^\W\d_][^\n:#{}\[\],&*!|>'\"%@`]*[^\W_ ][^\n:#{}\[\],&*!|>'\"%@`]*\S")

#: What a block or a plain text cannot hold, or not as it is.
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True)
class Scalar:
    """A text where it is written.

    :param text: of the file.
    :param start, end: of the scalar, without what a block has of empty lines after it.
    :param indent: spaces before the lines of a block here.
    :param line_end: how the file ends its lines.
    """

    text: str
    start: int
    end: int
    indent: int
    line_end: str

    @property
    def written(self) -> str:
        return self.text[self.start : self.end]

    def rewritten(self, value: str) -> Iterator[str]:
        """The whole file with `value` in its place, in several ways: the most alike first.

        Not each of them is YAML of this text: who asks looks.
        """
        style = self.written[:1]
        if style in ("|", ">"):
            yield from self._in_block(style, value)
        elif "\n" not in value:
            if style == "'":
                yield self._put("'" + value.replace("'", "''") + "'")
            elif style != '"' and _PLAIN.fullmatch(value):
                yield self._put(value)
        elif not (style == '"' and "\\n" in self.written) and not _ESCAPED.search(value):
            yield from self._as_block(value)
        quoted = json.dumps(value, ensure_ascii=False)
        yield self._put(_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted))
        yield self._put(json.dumps(value))

    def _put(self, written: str, *, end: int | None = None) -> str:
        return self.text[: self.start] + written + self.text[self.end if end is None else end :]

    def _in_block(self, style: str, value: str) -> Iterator[str]:
        """In the block that there is."""
        header = _HEADER.match(self.written)
        if header is None or _ESCAPED.search(value):
            return
        first, marks, rest = header["style"], header["marks"], header["rest"]
        chomps = (re.sub(r"\d", "", marks), _chomping(value))
        digits = dict.fromkeys((re.sub(r"\D", "", marks), "", *map(str, range(1, 10))))
        for kind in dict.fromkeys((first, "|")):
            body = self._folded(value) if kind == ">" else value
            for chomp in dict.fromkeys(chomps):
                for digit in digits:
                    yield self._put(f"{kind}{digit}{chomp}{rest}" + self._lines(body, chomp))

    def _as_block(self, value: str) -> Iterator[str]:
        """As a new block; what stands behind the text on its line stays behind the head of the block."""
        found = _LINE_END.search(self.text, self.end)
        end = found.start() if found else len(self.text)
        rest = self.text[self.end : end].rstrip()
        for digit in ("", *map(str, range(1, 10))):
            chomp = _chomping(value)
            yield self._put(f"|{digit}{chomp}{rest}" + self._lines(value, chomp), end=end)

    def _lines(self, value: str, chomp: str) -> str:
        """The lines of a block, each after a line end."""
        body = value if chomp == "+" else value.removesuffix("\n")
        lines = (" " * self.indent + line if line else "" for line in body.split("\n"))
        return "".join(self.line_end + line for line in lines)

    def _folded(self, value: str) -> str:
        """The lines for a ``>`` block: single line ends are doubled, long lines are broken as they were."""
        width = max(len(line) for line in _LINE_END.split(self.written)) - self.indent
        folded: list[str] = []
        before = ""
        for number, line in enumerate(value.split("\n")):
            if number and before and line and not before.startswith((" ", "\t")) and line[0] not in " \t":
                folded.append("")
            folded += _broken(line, max(width, 40))
            before = line or before
        return "\n".join(folded)


def _chomping(value: str) -> str:
    """How a block says with how many line ends it ends."""
    if not value.endswith("\n"):
        return "-"
    return "+" if value.endswith("\n\n") else ""


def _broken(line: str, width: int) -> list[str]:
    """A line in several, cut at single spaces."""
    if line.startswith((" ", "\t")):
        return [line]
    lines = [""]
    for word in re.split(r"(?<=\S) (?=\S)", line):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines

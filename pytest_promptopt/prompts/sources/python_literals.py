"""String literals of Python: what they hold, and how another text is written in their place."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache

from pytest_promptopt.prompts.sources.kept_lines import WrittenLine, written_anew

_OPENING = re.compile(r"(?P<prefix>[rRuU]?)(?P<quote>'''|\"\"\"|'|\")")
_ESCAPE = re.compile(
    r"\\(?:\r\n|N\{[^}]*\}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", re.DOTALL
)
_GAP = re.compile(r"(?:\s|\\(?:\r\n|\r|\n)|#[^\r\n]*)*")
_LINE_END = re.compile(r"\r\n|\r|\n")
_LAST_LINE = re.compile(r"(?:\r\n|\r|\n)[ \t]*\Z")

#: What no editor shows as it is; a tab is shown.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class StringToken:
    """One literal: ``r'''text'''``.

    :param body: what stands between the quotes.
    """

    prefix: str
    quote: str
    body: str

    @property
    def source(self) -> str:
        return f"{self.prefix}{self.quote}{self.body}{self.quote}"

    @property
    def is_raw(self) -> bool:
        return self.prefix in ("r", "R")

    @property
    def is_triple(self) -> bool:
        return len(self.quote) == 3

    @property
    def lines(self) -> list[WrittenLine]:
        """Its text by lines."""
        found: list[WrittenLine] = []
        text, written = "", ""
        for piece, said in self._pieces():
            if piece == "\n":
                found.append(WrittenLine(text, written, said))
                text, written = "", ""
            else:
                text, written = text + piece, written + said
        return [*found, WrittenLine(text, written)]

    @property
    def text(self) -> str:
        return "".join(piece for piece, _ in self._pieces())

    def _pieces(self) -> Iterator[tuple[str, str]]:
        """Each character with how it is written."""
        place = 0
        while place < len(self.body):
            pattern = _LINE_END if self.is_raw or self.body[place] != "\\" else _ESCAPE
            found = pattern.match(self.body, place)
            written = found[0] if found else self.body[place]
            place += len(written)
            if pattern is _ESCAPE:
                yield _meaning(written), written
            else:
                yield ("\n" if found else written), written

    def with_text(self, text: str, *, line_end: str) -> StringToken:
        """A literal of `text`; prefix and quotes stay where they can. Raises `ValueError`.

        :param line_end: how the file ends its lines.
        """
        several = "\n" in text and not self.is_triple and "\n" not in self.text
        quote = self.quote * 3 if several else self.quote
        plain = "" if self.is_raw else self.prefix
        for prefix, keeps in ((self.prefix, True), (plain, True), (plain, False)):
            same = keeps and (prefix, quote) == (self.prefix, self.quote)
            body = written_anew(
                self.lines if same else [],
                text,
                lambda line, last, prefix=prefix: _written(line, prefix, quote, last=last),  # type: ignore[misc]
                line_end if len(quote) == 3 else "\\n",
            )
            token = StringToken(prefix, quote, body)
            if _value(token.source) == text:
                return token
        raise ValueError("it cannot be written as a string literal of Python")


def _written(text: str, prefix: str, quote: str, *, last: bool = True) -> str:
    """`text` between these quotes.

    :param last: whether the closing quotes follow at once.
    """
    if prefix in ("r", "R"):
        return text
    if len(quote) == 3 and last and text.endswith(quote[0]):
        return f"{_written(text[:-1], prefix, quote, last=False)}\\{quote[0]}"
    text = text.replace("\\", "\\\\").replace(quote, f"\\{quote[0]}" * len(quote))
    if len(quote) == 1:
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return _CONTROL.sub(lambda found: "\\r" if found[0] == "\r" else f"\\x{ord(found[0]):02x}", text)


@dataclass(frozen=True)
class Literal:
    """A string as it is written in a module: one literal, or several that Python joins.

    :param between: what stands between them: blanks, and comments, none of which is ever lost.
    :param line_end: how its file ends lines.
    :param ends_its_line: whether a comment may follow it on its line.
    """

    tokens: tuple[StringToken, ...]
    between: tuple[str, ...]
    line_end: str
    ends_its_line: bool = False

    @classmethod
    def parse(cls, source: str, *, line_end: str, ends_its_line: bool = False) -> Literal:
        """Raises `ValueError`, with the reason in a sentence, for what cannot be rewritten."""
        tokens, between, place = [], [], 0
        while place < len(source):
            opening = _OPENING.match(source, place)
            if opening is None:
                raise ValueError(f"{source[place : place + 20]!r} is no plain string literal")
            end = _closing(source, opening)
            body = source[opening.end() : end]
            tokens.append(StringToken(opening["prefix"], opening["quote"], body))
            place = end + len(opening["quote"])
            gap = _GAP.match(source, place)
            assert gap is not None  # it may be empty
            between.append(gap[0])
            place = gap.end()
        return cls(tuple(tokens), tuple(between[: len(tokens) - 1]), line_end, ends_its_line)

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    @property
    def source(self) -> str:
        gaps = (*self.between, "")
        return "".join(token.source + gap for token, gap in zip(self.tokens, gaps, strict=True))

    def with_text(self, text: str) -> str:
        """Its source with another text. Raises `ValueError` when Python cannot write it."""
        if text == self.text:
            return self.source
        if len(self.tokens) == 1:
            return self.tokens[0].with_text(text, line_end=self.line_end).source
        if any("\n" in gap or "\r" in gap for gap in self.between):
            by_line = self._joined_anew(text)
            if _value(f"({by_line}\n)") == text:
                return by_line
        if any("#" in gap for gap in self.between):
            raise ValueError("a comment between its strings would be lost")
        quote = self.tokens[0].quote
        joined = StringToken("", quote, _written(self.text, "", quote))
        return joined.with_text(text, line_end=self.line_end).source

    def _joined_anew(self, text: str) -> str:
        """A literal for each line; what stood on literals of its own stays as it was written.

        A comment stays behind the literal that takes the place of the one it stood behind.
        """
        units = list(self._units())
        lines = re.findall(r"[^\n]*\n|[^\n]+\Z", text)
        prefix, quote = "" if self.tokens[0].is_raw else self.tokens[0].prefix, self.tokens[0].quote[0]
        above = list[str]()
        pieces: list[tuple[str, list[str]]] = []
        matcher = SequenceMatcher(None, [unit.text for unit, _ in units], lines, autojunk=False)
        for kind, start, end, place, until in matcher.get_opcodes():
            if kind == "equal":
                pieces += [(unit.source, [gap]) for unit, gap in units[start:end]]
                continue
            new = [StringToken(prefix, quote, _written(line, prefix, quote)) for line in lines[place:until]]
            pieces += [(token.source, []) for token in new]
            for number, (unit, gap) in enumerate(units[start:end]):
                near = pieces[min(number - len(new), -1)][1] if pieces else above
                near += [each for each in (*unit.between, gap) if "#" in each]
        *others, (source, gaps) = pieces
        first = self._gap(above).lstrip() if above else ""
        return first + "".join(each + self._gap(gaps) for each, gaps in others) + source + self._end(gaps)

    def _gap(self, gaps: Sequence[str]) -> str:
        """What stands between two literals: one of the gaps if it will do, else all comments in them."""
        if len(gaps) == 1 and gaps[0]:
            return gaps[0]
        comments = _comments(gaps, self._line_break)
        return comments + self._line_break if comments else self._plain_gap

    def _end(self, gaps: Sequence[str]) -> str:
        """What stands behind the last literal."""
        comments = _comments(gaps, self._line_break)
        return comments if self.ends_its_line or not comments else comments + self._line_break

    @property
    def _plain_gap(self) -> str:
        """A gap for a new literal: one that breaks the line, and says nothing."""
        plain = (gap for gap in self.between if "#" not in gap and _LINE_END.search(gap))
        return next(plain, self._line_break)

    @property
    def _line_break(self) -> str:
        return next(found[0] for gap in self.between if (found := _LAST_LINE.search(gap)))

    def _units(self) -> Iterator[tuple[Literal, str]]:
        """The literals that make a line together, and what stands after them."""
        start = 0
        for number, token in enumerate(self.tokens):
            last = number == len(self.tokens) - 1
            if last or token.text.endswith("\n"):
                unit = Literal(self.tokens[start : number + 1], self.between[start:number], self.line_end)
                yield unit, "" if last else self.between[number]
                start = number + 1


def _comments(gaps: Sequence[str], line_break: str) -> str:
    """The comments in some gaps, each on its line."""
    told = [gap.rstrip() for gap in gaps if "#" in gap]
    starts = [each if each.lstrip(" \t")[0] in "\r\n" else line_break + each.lstrip() for each in told[1:]]
    return "".join([*told[:1], *starts])


def _closing(source: str, opening: re.Match[str]) -> int:
    """Where the closing quotes begin; a backslash keeps a quote open in raw literals too."""
    quote, place = opening["quote"], opening.end()
    while not source.startswith(quote, place):
        if place >= len(source):
            raise ValueError("a string literal is not closed")
        place += 2 if source[place] == "\\" else 1
    return place


@cache
def _meaning(escape: str) -> str:
    return _value(f'"""{escape}"""') or ""


def _value(source: str) -> str | None:
    """The text of a literal; None when it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that are none, which are text
        try:
            value = ast.literal_eval(source)
        except (SyntaxError, ValueError):
            return None
    return value if isinstance(value, str) else None

"""The bytes of a prompt file in three parts, so that a new prose leaves everything around it as it was."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher

from pytest_promptopt.errors import PromptFileError

#: A prompt is read by a model with a limited context; anything above is the wrong file.
MAX_FILE_BYTES = 1_000_000

# Jinja counts the same three; `str.splitlines` knows more (form feed, U+2028), which editors do not count.
_LINE_END = re.compile(r"\r\n|\r|\n")
_OPENING = re.compile(r"\ufeff?---[ \t]*(?:[\r\n]|\Z)")
_FRONT_MATTER = re.compile(
    r"\ufeff?---[ \t]*(?:\r\n|\r|\n)((?:.*?(?:\r\n|\r|\n))??)---[ \t]*(?:\r\n|\r|\n|\Z)", re.DOTALL
)
_LENIENT_OPENING = re.compile(r"\ufeff?\s*(?:---|\+\+\+)[ \t]*(?:[\r\n]|\Z)")
_LENIENT = re.compile(
    r"\ufeff?\s*(?:---|\+\+\+)[ \t]*(?:\r\n|\r|\n)((?:.*?(?:\r\n|\r|\n))??)"
    r"(?:---|\+\+\+)[ \t]*(?:\r\n|\r|\n|\Z)",
    re.DOTALL,
)


def unify_newlines(text: str) -> str:
    """`text` with ``\\n`` as its only line end."""
    return _LINE_END.sub("\n", text)


def usual_line_end(text: str) -> str:
    """The line end that `text` has most of; ``\\n`` when it has none."""
    found = Counter(_LINE_END.findall(text))
    return found.most_common(1)[0][0] if found else "\n"


@dataclass(frozen=True)
class FramedText:
    """A text that a new prose is put into: ``before + body + after``, line ends as read.

    :param body: from the first to the last line of the prose that is not empty.
    """

    before: str
    body: str
    after: str

    @classmethod
    def of(cls, text: str) -> FramedText:
        """`text`, framed by the line ends around it."""
        body = text.lstrip("\r\n")
        start = len(text) - len(body)
        body = body.rstrip("\r\n")
        return cls(text[:start], body, text[start + len(body) :])

    @property
    def prose(self) -> str:
        return unify_newlines(self.body)

    @property
    def edges(self) -> tuple[str, str]:
        """The empty lines around the prose, with ``\\n`` line ends."""
        return unify_newlines(self.before), unify_newlines(self.after)

    @property
    def first_line(self) -> int:
        """The line of the text, from 1, on which the prose starts."""
        return len(_LINE_END.findall(self.before)) + 1

    def with_prose(self, prose: str) -> str:
        """The whole with another prose; lines that stay keep their line end, new ones get the usual."""
        lines = prose.split("\n")
        old_lines, old_ends = _LINE_END.split(self.body), _LINE_END.findall(self.body)
        counted = Counter(old_ends or _LINE_END.findall(self.before + self.after) or ["\n"])
        usual = counted.most_common(1)[0][0]
        ends = [usual] * len(lines)
        if len(counted) > 1:
            old_ends.append(usual)
            for old, new, size in SequenceMatcher(None, old_lines, lines).get_matching_blocks():
                ends[new : new + size] = old_ends[old : old + size]
            for i in reversed(range(len(lines) - 1)):
                # Once neighbours, the two would be read as one line end.
                if ends[i] == "\r" and not lines[i + 1] and ends[i + 1] == "\n":
                    ends[i] = "\n"
        ends[-1] = self.after
        return self.before + "".join(line + end for line, end in zip(lines, ends, strict=True))


@dataclass(frozen=True)
class Layout(FramedText):
    """A prompt file as text.

    :param before: byte order mark, front matter and the blank lines above the prose.
    :param after: the line ends at the end of the file.
    :param front: the YAML between the ``---`` lines, line ends as read; None without front matter.
    :param front_start: where in the file it begins.
    """

    front: str | None = None
    front_start: int = 0

    @property
    def edges(self) -> tuple[str, str]:
        before = unify_newlines(self.before)
        above = before[len(before.rstrip("\n")) :]
        return above if self.front is None else above.removeprefix("\n"), unify_newlines(self.after)

    @classmethod
    def read(cls, data: bytes, *, name: str, lenient: bool = False) -> Layout:
        """Raises `PromptFileError` for what is too big, binary, not UTF-8, empty or left unclosed.

        :param lenient: white space above the front matter, and ``+++`` around it, are accepted.
        """
        text = decode(data, name=name)
        opening, whole = (_LENIENT_OPENING, _LENIENT) if lenient else (_OPENING, _FRONT_MATTER)
        matter = whole.match(text)
        if matter is None and opening.match(text):
            raise PromptFileError(
                name, 1, "the front matter that starts with `---` is not closed by a second `---` line"
            )
        start = matter.end() if matter else len(text) - len(text.removeprefix("\ufeff"))
        framed = FramedText.of(text[start:])
        layout = cls(
            before=text[:start] + framed.before,
            body=framed.body,
            after=framed.after,
            front=matter[1] if matter else None,
            front_start=matter.start(1) if matter else 0,
        )
        if not layout.body.strip():
            below = " below the front matter" if matter else ""
            raise PromptFileError(name, layout.first_line, f"the prompt is empty: there is no text{below}")
        return layout


def decode(data: bytes, *, name: str) -> str:
    """Raises `PromptFileError` for what is too big, binary or not UTF-8."""
    if len(data) > MAX_FILE_BYTES:
        raise PromptFileError(
            name, None, f"the file has {len(data):,} bytes; a prompt file has at most {MAX_FILE_BYTES:,}"
        )
    if (offset := data.find(b"\0")) >= 0:
        raise PromptFileError(
            name, _line_at(data, offset), f"byte {offset} is NUL: a binary file is no prompt"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PromptFileError(
            name,
            _line_at(data, error.start),
            f"byte {error.start} (0x{data[error.start]:02x}) is not UTF-8: {error.reason}",
        ) from None


def _line_at(data: bytes, offset: int) -> int:
    return len(re.findall(rb"\r\n|\r|\n", data[:offset])) + 1

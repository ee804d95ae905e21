"""How text is shortened, counted, quoted and made harmless, for a person, a terminal, a file or a model."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

#: Characters of a quoted value inside a sentence: enough for a label or a short sentence, one terminal line.
MAX_QUOTE = 80
#: Characters of a text kept for a case: two pages show what went wrong, and the optimizer pays for each.
MAX_TEXT = 4_000
#: Enough for any sensible `repr`; a longer text tells nobody more.
MAX_REPR = 20_000

#: Where an object lives, in its `repr`: not what a text says of a crash at 0x7f00.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+(?=[^<>\n]*>)")

# Inside a character class: separators of lines, turns of the direction of writing, the byte order mark,
# halves of characters, and tag characters, which nobody sees and models read.
_HIDDEN = "\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f"
_HIDDEN_OR_CONTROL = re.compile(f"[\x00-\x1f\x7f-\x9f{_HIDDEN}]")
# Colors, and everything hidden but the tab and the line end.
_COLOR_OR_HIDDEN = re.compile(f"(\x1b\\[[0-9;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f{_HIDDEN}]")


def plural(count: int, noun: str, /) -> str:
    """``1 case``, ``1,024 cases``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def join_words(items: Sequence[str], limit: int = 4) -> str:
    """``a, b and c``; of more than `limit` items the first ones and how many follow: ``a, b and 3 more``."""
    if len(items) > limit:
        return ", ".join(items[:limit]) + f" and {len(items) - limit} more"
    return ", ".join(items[:-1]) + (" and " if len(items) > 1 else "") + items[-1] if items else ""


def did_you_mean(word: str, known: Sequence[str], *, otherwise: str = "") -> str:
    """``did you mean `input`?`` for a word that is nearly one of `known`; else what is accepted.

    :param otherwise: to be said in the place of all that is accepted.
    """
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1)
    return f"did you mean `{near[0]}`?" if near else otherwise or f"accepted: {', '.join(known)}"


def braces_hint(text: str, index: int) -> str:
    """What to do about a line of YAML that begins a value with a variable; empty where none is there.

    :param index: of the character that the parser complains of; it may be on the line after.
    """
    lines = text[: text.find("\n", index) if "\n" in text[index:] else None].splitlines()[-2:]
    return "; quote a value that begins with {{" if any("{{" in line for line in lines) else ""


def unused_name(name: str, used: Container[str]) -> str:
    """`name`, with a number behind it where it is one of those that are `used`."""
    found, number = name, 1
    while found in used:
        number += 1
        found = f"{name}-{number}"
    return found


def cut_end(text: str, limit: int, *, mark: str = "…") -> str:
    """`text` of at most `limit` characters; one that is cut ends with `mark`."""
    return text if len(text) <= limit else text[: limit - len(mark)] + mark


def cut_middle(text: str, limit: int = MAX_TEXT) -> str:
    """`text` with its middle left out, and said so, when it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    left_out = f" … {len(text) - limit:,} characters left out … "
    return text[: limit * 2 // 3] + left_out + text[len(text) - limit // 3 :]


def one_line(text: str) -> str:
    """`text` with every run of white space as one space."""
    return " ".join(text.split())


def fold_case_and_space(text: str) -> str:
    """`text` for comparison, with differences of case and white space taken out."""
    return one_line(text.casefold())


def json_text(value: object) -> str:
    """`value` as JSON on one line, with letters of all languages as they are.

    :raises TypeError, ValueError, RecursionError: as `json.dumps` does.
    """
    return json.dumps(value, ensure_ascii=False)


def value_of_json(text: str, **options: Any) -> Any:
    """The value of a JSON text. Raises `ValueError`, also for ``NaN`` and ``Infinity``, which Python accepts.

    :param options: of `json.loads`.
    """
    try:
        return json.loads(text, parse_constant=_no_json, **options)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no value of JSON")


def value_text(value: Any) -> str:
    """Any object as text: a string as it is, anything else as JSON, else its `repr`. Never raises."""
    try:
        text = str.__str__(value) if isinstance(value, str) else json_text(value)
    except Exception:  # a user's object: its own methods may raise anything
        text = without_addresses(safe_repr(value))
    return encodable(text)


def quote(value: Any, limit: int = MAX_QUOTE) -> str:
    """`value` on one line, cut at `limit` characters: strings as JSON strings, anything else as JSON."""
    text = cut_end(value_text(value), limit)
    return json_text(text) if isinstance(value, str) else text


def safe_repr(value: object) -> str:
    """`repr` that cannot fail and has an end."""
    try:
        return repr(value)[:MAX_REPR]
    except Exception as error:
        return f"<{type(value).__name__} at {id(value):#x} whose repr raises {type(error).__name__}>"


def without_addresses(text: str) -> str:
    """`text` without the addresses of objects, so that it is the same in every process."""
    return _ADDRESS.sub("", text)


def encodable(text: str) -> str:
    """`text` as UTF-8 can hold it: halves of characters (lone surrogates) are written as ``\\udc80``."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(text: str) -> str:
    r"""`text` on one line and harmless for a terminal.

    What is not printable (escape sequences, line ends, controls of the writing direction, lone surrogates) is
    written as Python would: ``\x1b``.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def excerpt(text: str, width: int) -> str:
    """`printable` text of at most `width` characters; a cut is marked by ``...``."""
    shown = printable(text)
    return shown if len(shown) <= width else shown[: width - 3].rstrip() + "..."


def escape_controls(text: str, *, colored: bool) -> str:
    """`text` of several lines without what a terminal obeys or hides; for what others print.

    :param colored: leave colors in.
    """
    return _COLOR_OR_HIDDEN.sub(lambda found: found[0] if found[1] and colored else printable(found[0]), text)


def escape_hidden(text: str) -> str:
    """`text` on one line with hidden characters escaped as in JSON: a JSON text means the same."""
    return _HIDDEN_OR_CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], text)


#: Controls besides line end and tab, formats (zero width, direction of writing, soft hyphen), halves of
#: characters, private use, separators of lines and of paragraphs.
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_LAYOUT = "\n\t"

#: What Unicode lets be drawn as nothing besides these: fillers, joiners of marks, selectors of a variant, and
#: the whole plane of tags.
_DRAWN_AS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)

#: What nearly every text is made of, known at once.
_ORDINARY = re.compile("[ -~\n\t]+")

#: What people type with a selector after it: a symbol drawn in colors, a digit on a key.
_EMOJI_STYLE = "\ufe0f"
_KEY = re.compile("[0-9#*]\ufe0f\u20e3")
_SYMBOLS = ("So", "Sk", "Sm", "Po", "Pd")


def invisible_places(text: str) -> Iterator[int]:
    """The positions of the characters that nobody sees: who reads a diff misses them, a model reads them."""
    if _ORDINARY.fullmatch(text):
        return
    for place, character in enumerate(text):
        if not _ORDINARY.match(character) and _is_unseen(character) and not _styles_emoji(text, place):
            yield place


def shown_path(path: Path, root: Path) -> str:
    """`path` as seen from `root` where it lies below it, else as it is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def without_unseen(text: str) -> str:
    """`text` without the characters that nobody sees."""
    unseen = {*invisible_places(text)}
    return "".join(character for place, character in enumerate(text) if place not in unseen)


def code_point(character: str, *, nameless: str = "") -> str:
    """``U+202E RIGHT-TO-LEFT OVERRIDE``; `nameless` stands for the name of a character without one."""
    return f"U+{ord(character):04X} {unicodedata.name(character, nameless)}".rstrip()


def _is_unseen(character: str) -> bool:
    if character in _LAYOUT:
        return False
    return unicodedata.category(character) in _UNSEEN or _DRAWN_AS_NOTHING.match(character) is not None


def _styles_emoji(text: str, place: int) -> bool:
    before = text[place - 1] if place else " "
    if text[place] != _EMOJI_STYLE:
        return False
    if before.isascii():
        return _KEY.match(text, place - 1) is not None
    return unicodedata.category(before) in _SYMBOLS

"""YAML with the line of every value, and nothing that YAML 1.1 makes of a word.

``no`` and ``on`` are texts here, as are dates and numbers with zeros in front: an expected answer ``no`` must
not become False. Numbers are those that both YAML 1.1 and JSON know.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.located import Located, Place
from pytest_promptopt.text import braces_hint, cut_end, printable, quote

#: Values of one file; aliases can blow a few lines up to gigabytes.
MAX_VALUES = 1_000_000
#: Longer ones are no numbers to calculate with.
MAX_DIGITS = 400

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<fraction>\.[0-9]+(?:[eE][-+][0-9]+)?)?", re.ASCII)
_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAGS = "tag:yaml.org,2002:"


def read_yaml(text: str, name: str) -> Located:
    """The one document of `text`. Raises `SettingsError` with ``file:line``."""
    import yaml

    reading = _Reading(text.removeprefix("\ufeff"), name)
    try:
        root: Any = yaml.compose(reading.text, Loader=yaml.SafeLoader)
        if root is None:
            return Located(name, None, {(): 1})
        return Located(name, reading.value(root, ()), reading.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context
        if isinstance(error, yaml.scanner.ScannerError) and mark and mark.index >= len(reading.text):
            # A quotation mark that is not closed is told where it stands, not at the end of the file.
            mark, problem = error.context_mark or mark, f"{problem} {error.context or ''}".strip()
        place = mark.index if mark else 0
        said = f"it is not valid YAML: {problem}{braces_hint(reading.text, place)}"
        raise reading.wrong(place, said) from None
    except yaml.reader.ReaderError as error:
        shown = printable(text[error.position : error.position + 1])
        raise reading.wrong(error.position, f"the character {shown} is not accepted in YAML") from None
    except RecursionError:
        raise SettingsError(f"{name}:1: it is nested too deeply") from None


class _Reading:
    """One document as it is read."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.lines: dict[Place, int] = {}
        self._line_ends = [place for place, character in enumerate(text) if character == "\n"]
        self._open: list[Any] = []

    def wrong(self, index: int, what: str) -> SettingsError:
        return SettingsError(f"{self.name}:{self._line(index)}: {what}")

    def _line(self, index: int) -> int:
        """YAML's own line numbers also count U+0085 and U+2028."""
        return bisect_right(self._line_ends, index - 1) + 1

    def value(self, node: Any, place: Place) -> Any:
        import yaml

        index = node.start_mark.index
        self.lines.setdefault(place, self._line(index))
        if len(self.lines) > MAX_VALUES:
            raise self.wrong(
                index, f"the file holds more than {MAX_VALUES:,} values, with those of its aliases"
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if any(node is each for each in self._open):
            raise self.wrong(index, "an alias stands inside of what it stands for")
        self._check_tag(node, "seq" if isinstance(node, yaml.SequenceNode) else "map")
        self._open.append(node)
        if isinstance(node, yaml.SequenceNode):
            found: Any = [self.value(each, (*place, number)) for number, each in enumerate(node.value)]
        else:
            found = dict(self._pairs(node, place))
        self._open.pop()
        return found

    def _pairs(self, node: Any, place: Place) -> Iterator[tuple[str, Any]]:
        import yaml

        own: dict[str, int] = {}
        merged: list[Any] = []
        for key, value in node.value:
            index = key.start_mark.index
            if not isinstance(key, yaml.ScalarNode):
                raise self.wrong(index, "a key must be a word")
            if key.value == "<<" and not key.style:
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
                continue
            if key.value in own:
                first = self._line(own[key.value])
                raise self.wrong(index, f"`{cut_end(key.value, 80)}` is given twice, first on line {first}")
            own[key.value] = index
        for other in merged:
            if not isinstance(other, yaml.MappingNode):
                raise self.wrong(other.start_mark.index, "`<<` takes mappings")
            for key, value in self.value(other, (*place, "<<")).items():
                if key not in own:
                    own[key] = other.start_mark.index
                    yield key, value
        for key, value in node.value:
            if key.value != "<<" or key.style:
                self.lines[(*place, key.value)] = self._line(key.start_mark.index)
                yield key.value, self.value(value, (*place, key.value))

    def _scalar(self, node: Any) -> Any:
        explicit = self.text[node.start_mark.index : node.start_mark.index + 2]
        if explicit.startswith("!"):
            self._check_tag(node, "str")
            return node.value
        if node.style in ("'", '"', "|", ">"):
            return node.value
        return plain_value(node.value)

    def _check_tag(self, node: Any, expected: str) -> None:
        if node.tag not in (f"{_TAGS}{expected}", "!"):
            raise self.wrong(node.start_mark.index, f"the tag {quote(node.tag)} is not accepted")


def plain_value(text: str) -> Any:
    """What a word without quotes is: null, true, false or a number; anything else stays a text."""
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    if number is None or len(text) > MAX_DIGITS:
        return text
    if not number["fraction"]:
        return int(text)
    return value if math.isfinite(value := float(text)) else text

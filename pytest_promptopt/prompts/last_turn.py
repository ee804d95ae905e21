"""The last user turn of a prompt, as a form to fill in: what each example repeats with inputs of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from pytest_promptopt.prompts.kept_regions import line_outside
from pytest_promptopt.prompts.templates import is_role_line, plain_parts, split_turns

#: How the turns of ``messages=`` are called among the inputs of a case.
_CHAT = re.compile(r"(user|assistant)( \d+)?")


@dataclass(frozen=True)
class LastTurn:
    """The last user turn of a body: ``texts[0] {{ names[0] }} texts[1] ...``, with a text at both ends.

    :param place: the line of the body before which examples stand.
    :param opening: the lines that must follow them, where the body has no role lines.
    """

    texts: tuple[str, ...]
    names: tuple[str, ...]
    place: int
    opening: tuple[str, ...]

    def shows(self, inputs: Mapping[str, str]) -> bool:
        """Whether all these inputs stand in this turn: none of them in the turns of ``messages=``."""
        others = inputs.keys() - set(self.names)
        return {*self.names} <= inputs.keys() and not any(map(_CHAT.fullmatch, others))

    def filled(self, inputs: Mapping[str, str]) -> str:
        values = (inputs[name] for name in self.names)
        return self.texts[0] + "".join(chain(*zip(values, self.texts[1:], strict=True)))

    def inputs_of(self, text: str) -> dict[str, str] | None:
        """The inputs that make `text` of this turn; None when there are none, or when others do as well."""
        values = between(self.texts, text)
        mirrored = between([part[::-1] for part in reversed(self.texts)], text[::-1])
        if values is None or mirrored is None or values != [value[::-1] for value in reversed(mirrored)]:
            return None
        inputs = dict(zip(self.names, values, strict=True))
        return inputs if self.filled(inputs) == text else None


def last_turn(body: str, *, lines_alone: bool = False) -> LastTurn | None:
    """The last user turn of a body; None when it ends otherwise, or holds more than plain variables.

    :param lines_alone: only the lines with variables, not what is around them.
    """
    last = _whole_last_turn(body)
    if last is None or not lines_alone:
        return last
    first, *inner, end = last.texts
    return replace(last, texts=(first.rpartition("\n")[2], *inner, end.partition("\n")[0]))


def _whole_last_turn(body: str) -> LastTurn | None:
    turn, lines = split_turns(body, first_line=1)[-1], body.split("\n")
    if turn.role not in (None, "user") or (turn.role is None and any(map(is_role_line, lines))):
        return None
    texts, names = [""], []
    for part in plain_parts(turn.source) or ():
        if part.is_variable:
            names.append(part.text)
            texts.append("")
        else:
            texts[-1] += part.text
    if not names:
        return None
    if turn.role is None:
        return LastTurn(tuple(texts), tuple(names), 0, ("user:",))
    place = max(number for number, line in enumerate(lines) if is_role_line(line))
    if line_outside(body, place) != place:
        return None
    return LastTurn(tuple(texts), tuple(names), place, ())


def between(parts: Sequence[str], text: str) -> list[str] | None:
    """What stands in `text` between these parts, which begin and end it; each as short as can be."""
    first, *others, last = parts
    start, end = len(first), len(text) - len(last)
    if start > end or not text.startswith(first) or not text.endswith(last):
        return None
    values = []
    for part in others:
        found = text.find(part, start, end)
        if found < 0:
            return None
        values.append(text[start:found])
        start = found + len(part)
    return [*values, text[start:end]]

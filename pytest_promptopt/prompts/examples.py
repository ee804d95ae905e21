"""The examples of a prompt: training cases with their answers, in a region of the text that is the tool's.

The region lies between two comments of the template language, a line each. What is inside is text that can
open neither a variable, a statement or a comment nor a turn or a kept region; what is around it, the body,
stays as it is, and no kept region is cut in two by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import groupby

from pytest_promptopt.prompts.kept_regions import line_outside, mark_places
from pytest_promptopt.prompts.last_turn import LastTurn, between, last_turn
from pytest_promptopt.prompts.templates import (
    EXAMPLES_BEGIN,
    EXAMPLES_END,
    EXAMPLES_MARKS,
    INPUTS_BEGIN,
    Turn,
    is_role_line,
    plain_parts,
    split_turns,
)
from pytest_promptopt.text import fold_case_and_space, invisible_places, json_text

_BEGINNINGS = (EXAMPLES_BEGIN, INPUTS_BEGIN)

#: The first line of a block, and how it calls what is to be answered.
_HEADING, _ANSWER = "Examples:", "answer"

_CODE = re.compile(r"\{[{%#]")


class Form(StrEnum):
    """How examples stand in a prompt: as turns of the chat, or as a block of text within one of them.

    :cvar TURNS: what the user says is the whole last turn, filled in.
    :cvar INPUTS: of the last turn it is the lines with variables alone; what is around them is said once.
    """

    TURNS = "turns"
    INPUTS = "inputs"
    BLOCK = "block"


@dataclass(frozen=True)
class Example:
    """What a prompt is given, by the names of its variables, and what is to be answered."""

    inputs: Mapping[str, str]
    answer: str


def with_examples(prose: str, examples: Sequence[Example], form: Form = Form.TURNS) -> str:
    """`prose` with these examples in place of those that it has; without a region when there are none.

    As turns, each example is the last user turn of the body, or its lines with variables, with the example's
    inputs, and an assistant turn with its answer; they stand before that last turn. A body that does not end
    with a user turn of plain variables gets a block: there the inputs stand by name, before the first line
    that holds template code, else at the end of the first turn.

    :param form: `Form.BLOCK` for a text that is sent as one string.
    """
    body = without_examples(prose)
    if not examples:
        return body
    last = _last_turn(body, form)
    if last is None or not all(last.shows(example.inputs) for example in examples):
        return _placed(body, _block_place(body), _block(examples), Form.BLOCK)
    pairs = [(_escaped(last.filled(example.inputs)), _escaped(example.answer)) for example in examples]
    turns = [f"user:\n{asked}\nassistant:\n{answer}" for asked, answer in pairs]
    return _placed(body, last.place, "\n".join([*turns, *last.opening]), form)


def without_examples(prose: str) -> str:
    """The body of `prose`: all of it but the region of its examples."""
    lines = prose.split("\n")
    while (bounds := _bounds(lines)) is not None:
        del lines[slice(*bounds)]
    return "\n".join(lines)


def examples_in(prose: str) -> tuple[Example, ...]:
    """The examples in the region of `prose`; those that somebody has edited cannot always be read back."""
    region = _region(prose)
    return tuple(example for example in region.examples if example is not None) if region else ()


def form_of_examples(prose: str) -> Form | None:
    """How the examples in `prose` stand; None where there are none."""
    region = _region(prose)
    return region.form if region else None


def with_examples_of(candidate: str, parent: str) -> str:
    """The body of `candidate` with the examples of `parent`, whatever the candidate made of its own.

    The examples are written anew for the new body; where they cannot be read back, they stay as they are.
    """
    lines = without_examples(candidate).split("\n")
    body = "\n".join(line for line in lines if line.strip() not in EXAMPLES_MARKS)
    region = _region(parent)
    if region is None:
        return body
    if None not in region.examples:
        return with_examples(body, examples_in(parent), region.form)
    last = _last_turn(body, region.form)
    return _placed(body, _block_place(body) if last is None else last.place, region.text, region.form)


def cases_among_examples(prose: str, cases: Iterable[tuple[str, Mapping[str, str]]]) -> frozenset[str]:
    """Which of these cases, by id, stand in the region of `prose` as examples.

    White space and upper case make no difference. Where an example cannot be read back, since somebody has
    edited the text, a case counts when all its inputs occur in it.

    :param cases: id and inputs; a case that asks several times may come several times.
    """
    region = _region(prose)
    return frozenset(_held(region, cases)) if region else frozenset()


def has_examples(prose: str) -> bool:
    """Whether `prose` has a region of examples."""
    return _bounds(prose.split("\n")) is not None


def without_each(
    prose: str,
    cases: Iterable[tuple[str, Mapping[str, str]]],
    instead: Callable[[str, Example, Collection[str]], Example | None] = lambda case, example, shown: None,
) -> dict[str, str]:
    """For each of these cases that stands in `prose` as an example, as above: `prose` without this example.

    A region that somebody has edited, so that not all of it can be read back, goes whole.

    :param instead: for a case, its example and all cases in `prose`: another example that takes the place,
        or None.
    """
    region = _region(prose)
    if region is None:
        return {}
    read = () if None in region.examples else examples_in(prose)
    held = _held(region, cases)

    def others(case: str, places: set[int]) -> Iterator[Example]:
        for place, example in enumerate(read):
            if place not in places:
                yield example
            elif len(places) == 1 and (other := instead(case, example, held.keys())) is not None:
                yield other

    return {
        case: with_examples(prose, list(others(case, places)), region.form) for case, places in held.items()
    }


def _held(region: _Region, cases: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, set[int]]:
    """Which of the examples, by number, are which of the cases, or may be."""
    found: dict[str, set[int]] = {}
    for case, inputs in cases:
        if places := {place for place, is_case in enumerate(region.held(inputs)) if is_case}:
            found.setdefault(case, set()).update(places)
    return found


def fault_of_examples(prose: str, *, current: str = "") -> str | None:
    """Why the region of `prose` cannot be one of the tool's, in a sentence; None when it can.

    :param current: a text whose own region, if somebody has edited it, may stay as it is.
    """
    region, own = _region(prose), _region(current)
    if region is None or (own is not None and region.text == own.text):
        return None
    if sum(line.strip() in EXAMPLES_MARKS for line in prose.split("\n")) > 2:
        return "It has more than one region of examples."
    if any(_text(turn.source) is None for turn in region.turns):
        return "Its examples hold template code."
    roles = [turn.role for turn in region.turns]
    if region.form is not Form.BLOCK and roles != ["user", "assistant"] * (len(roles) // 2):
        return "Its examples are not turns of user and assistant."
    return None


# ------------------------------------------------------------------------------------------------- the region


def _last_turn(body: str, form: Form) -> LastTurn | None:
    """None for a block, or when the body cannot be shown as turns."""
    return None if form is Form.BLOCK else last_turn(body, lines_alone=form is Form.INPUTS)


@dataclass(frozen=True)
class _Region:
    """The examples of a prompt as they stand there.

    :param text: the lines between the marks.
    :param turns: of the examples alone; a block is one without a role.
    :param examples: what was read back, None for each that could not be.
    """

    body: str
    text: str
    form: Form
    turns: tuple[Turn, ...]
    examples: tuple[Example | None, ...]

    def held(self, inputs: Mapping[str, str]) -> Iterator[bool]:
        """Of each example whether it is a case with these inputs, or may be."""
        items = {(name, fold_case_and_space(text)) for name, text in inputs.items()}
        last = self._last
        filled = fold_case_and_space(last.filled(inputs)) if last and {*last.names} <= inputs.keys() else None
        for shown, read, is_own in self._folded:
            if read is not None:
                found = bool(items) and (read <= items or items <= read)
            else:
                # Of the turn as it is now, though its inputs may be cut in two ways; else it was edited.
                texts = [] if is_own else [text for _, text in items if text]
                found = bool(texts) and all(text in shown for text in texts)
            yield found or filled == shown

    @cached_property
    def _last(self) -> LastTurn | None:
        return _last_turn(self.body, self.form)

    @cached_property
    def _folded(self) -> tuple[tuple[str, frozenset[tuple[str, str]] | None, bool], ...]:
        """Of each example its text and its inputs, as they are compared; whether it is a filled last turn.

        The inputs are None where they cannot be read back.
        """
        last, found = self._last, []
        for number, example in enumerate(self.examples):
            source = self.text if last is None else self.turns[2 * number].source
            shown = _text(source) or source
            inputs = example.inputs.items() if example is not None else ()
            read = frozenset((name, fold_case_and_space(text)) for name, text in inputs)
            is_own = last is not None and between(last.texts, shown) is not None
            found.append((fold_case_and_space(shown), read if example is not None else None, is_own))
        return tuple(found)


def _region(prose: str) -> _Region | None:
    lines = prose.split("\n")
    bounds = _bounds(lines)
    if bounds is None:
        return None
    body, text = without_examples(prose), "\n".join(lines[bounds[0] + 1 : bounds[1] - 1])
    turns = split_turns(text, first_line=bounds[0] + 2)
    if turns[0].role is None:
        return _Region(body, text, Form.BLOCK, turns, _read_block(_text(text)))
    turns = turns if turns[-1].source else turns[:-1]  # the opening of the turn that follows
    form = Form.INPUTS if lines[bounds[0]].strip() == INPUTS_BEGIN else Form.TURNS
    last = _last_turn(body, form)
    examples = (_read_turns(last, *pair) for pair in zip(turns[::2], turns[1::2], strict=False))
    return _Region(body, text, form, turns, tuple(examples))


def _bounds(lines: Sequence[str]) -> tuple[int, int] | None:
    """The first line of the first region and the line after its last."""
    marks = [line.strip() for line in lines]
    begin = next((number for number, mark in enumerate(marks) if mark in _BEGINNINGS), None)
    if begin is None:
        return None
    return (begin, marks.index(EXAMPLES_END, begin) + 1) if EXAMPLES_END in marks[begin:] else None


def _placed(body: str, place: int, text: str, form: Form) -> str:
    lines = body.split("\n")
    begin = INPUTS_BEGIN if form is Form.INPUTS else EXAMPLES_BEGIN
    return "\n".join([*lines[:place], begin, text, EXAMPLES_END, *lines[place:]])


def _read_turns(last: LastTurn | None, user: Turn, assistant: Turn) -> Example | None:
    asked, answer = _text(user.source), _text(assistant.source)
    inputs = last.inputs_of(asked) if last is not None and asked is not None else None
    return Example(inputs, answer) if inputs is not None and answer is not None else None


# -------------------------------------------------------------------------------------------------- the block


def _block_place(body: str) -> int:
    return line_outside(body, _line_of_code_or_end(body))


def _line_of_code_or_end(body: str) -> int:
    """The first line that holds template code, else the end of the first turn."""
    lines = body.split("\n")
    if (code := next((i for i, line in enumerate(lines) if _CODE.search(line)), None)) is not None:
        return code
    if split_turns(body, first_line=1)[0].role is None:
        return len(lines)
    roles = [number for number, line in enumerate(lines) if is_role_line(line)]
    return roles[1] if len(roles) > 1 else len(lines)


def _block(examples: Sequence[Example]) -> str:
    """A line for each input and for the answer; an empty line before each example."""
    told = (
        "\n".join(f"{name}: {_value(text)}" for name, text in [*e.inputs.items(), (_ANSWER, e.answer)])
        for e in examples
    )
    return _escaped("\n\n".join([_HEADING, *told]))


def _value(text: str) -> str:
    """`text` on one line: as it is, else as a JSON string, so that no part of it can pose as another line."""
    is_plain = len(text.splitlines()) == 1 and text == text.strip() and not text.startswith('"')
    return text if is_plain else json_text(text)


def _read_block(text: str | None) -> tuple[Example | None, ...]:
    heading, *told = (text or "").strip("\n").split("\n\n")
    if heading != _HEADING:
        return (None,)
    return tuple(_read_lines(lines.split("\n")) for lines in told)


def _read_lines(lines: Sequence[str]) -> Example | None:
    try:
        pairs = [line.split(": ", 1) for line in lines]
        *inputs, (name, answer) = [
            (name, json.loads(value) if value.startswith('"') else value) for name, value in pairs
        ]
    except ValueError:
        return None
    return Example(dict(inputs), answer) if name == _ANSWER and len({*dict(inputs)}) == len(inputs) else None


# ----------------------------------------------------------------------------------------------------- texts


def _escaped(text: str) -> str:
    """`text` as a template, alone in its turn, that renders as exactly this text.

    What the template language or the cutting into turns would take for its own is written in quotes there, as
    is what nobody would see.
    """
    if not text.strip():
        return _quoted(text)
    quoted = {*invisible_places(text), *mark_places(text)}
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    quoted.update(place for place in (*range(start), *range(end, len(text))) if text[place] == "\n")
    line_start = 0
    for line in text.split("\n"):
        if is_role_line(line):
            quoted.add(line_start + line.index(":"))
        line_start += len(line) + 1
    for place in range(len(text) - 2, -1, -1):
        if text[place] == "{" and (text[place + 1] in "{%#" or place + 1 in quoted):
            quoted.add(place)
    runs = groupby(enumerate(text), key=lambda at: at[0] in quoted)
    return "".join(
        _quoted(run) if is_quoted else run
        for is_quoted, run in ((is_quoted, "".join(c for _, c in run)) for is_quoted, run in runs)
    )


def _quoted(text: str) -> str:
    return '{{ "' + text.encode("unicode_escape").decode() + '" }}'


def _text(source: str) -> str | None:
    """The text that a template without variables renders as; None for any other."""
    parts = plain_parts(source)
    return None if parts is None or any(p.is_variable for p in parts) else "".join(p.text for p in parts)

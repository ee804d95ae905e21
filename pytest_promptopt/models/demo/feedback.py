"""What `demo` reads in an optimizer request: the prompt, the shown cases, and the line of attack."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_PROMPT = re.compile(r"<current_prompt>\n(?P<prompt>.*)\n</current_prompt>", re.DOTALL)
_INPUT = re.compile(r"input [^:\n]*: (?P<value>\".*)")
_CASE = re.compile(r"^Case [^\n]*\n", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A case that the request shows.

    `text` is all of its input. `expected` is None when the request names no value (then `stated` is False);
    for a case that passes it is what was answered.
    """

    text: str
    expected: Any
    actual: Any
    stated: bool


@dataclass(frozen=True)
class Feedback:
    """An optimizer request, parsed; `seed` is its whole text: other words or other cases are another seed."""

    prompt: str
    keep: frozenset[str]
    failing: tuple[Shown, ...]
    passing: tuple[Shown, ...]
    direction: str
    seed: str


def is_feedback(text: str) -> bool:
    """Whether a message asks for a new prompt."""
    return "<new_prompt>" in text and _PROMPT.search(text) is not None


def parse(text: str) -> Feedback:
    """Read a request that `is_feedback` accepts. What is missing or in another form is left out."""
    match = _PROMPT.search(text)
    prompt = match["prompt"] if match else ""
    rest = text[match.end() :] if match else text
    return Feedback(
        prompt=prompt,
        keep=frozenset(line for line in _section(rest, "keep").split("\n") if line.strip()),
        failing=_cases(_section(rest, "failures")),
        passing=_cases(_section(rest, "passing"), passing=True),
        direction=_section(rest, "direction"),
        seed=text,
    )


def _section(text: str, tag: str) -> str:
    match = re.search(rf"<{tag}(?: [^>\n]*)?>\n?(.*?)\n?</{tag}>", text, re.DOTALL)
    return match[1] if match else ""


def _cases(section: str, *, passing: bool = False) -> tuple[Shown, ...]:
    return tuple(case for block in _CASE.split(section)[1:] if (case := _case(block, passing=passing)))


def _case(block: str, *, passing: bool) -> Shown | None:
    inputs = [_value(m["value"]) for m in _INPUT.finditer(block)]
    said = {
        name: _value(value) for name, value in re.findall(r"^(expected|actual): (.*)$", block, re.MULTILINE)
    }
    if not inputs:
        return None
    actual = said.get("actual")
    expected = said.get("expected", actual if passing else None)
    text = "\n".join(str(value) for value in inputs)
    return Shown(text, expected, actual, stated="expected" in said or (passing and "actual" in said))


def _value(literal: str) -> Any:
    try:
        return json.loads(literal)
    except (ValueError, RecursionError):
        return literal

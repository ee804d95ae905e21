"""What `demo` reads in an optimizer request: the prompt, the shown cases, and the line of attack."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_promptopt.verdicts import Suggestion

_PROMPT = re.compile(r"<current_prompt>\n(?P<prompt>.*)\n</current_prompt>", re.DOTALL)
_VERSION = re.compile(r"<version>\n(.*?)\n</version>", re.DOTALL)
_INPUT = re.compile(r"input(?: (?P<name>[^:\n]*))?: (?P<value>\".*)")
_SAID = re.compile(r"^(?P<name>expected|actual|answer): (?P<value>.*)$", re.MULTILINE)
_DIFFERENCE = re.compile(r"^difference: expected (?P<both>.*)$", re.MULTILINE)
_WHOLE = re.compile(r"^expected, whole: (?P<value>.*)$", re.MULTILINE)
_SUGGESTION = re.compile(
    r"(?:^message: |; )suggestion(?: \((?P<weight>[^)\n]*)\))?: (?P<text>.+?)"
    r"(?=; (?:suggestion\b|issue: |judged )|$)",
    re.MULTILINE,
)
#: What the request tells of one stage of a pipeline, and how a test says what it should have answered.
_STAGE_ANSWER = re.compile(r"^answer of this stage: (?P<value>.*)$", re.MULTILINE)
_GRADE = re.compile(
    r"^grade of this stage, from 0 to 1: (?P<score>\d(?:\.\d+)?)(?:, (?P<why>.*))?$", re.MULTILINE
)
_WANTED = re.compile(r"\bexpected:? [\"'`]?(?P<value>[^;\"'`\n]+)")

#: The id of a candidate that was tried.
_TRIED = re.compile(r"^#(\S+) ", re.MULTILINE)

_CASE = re.compile(r"^Case [^\n]*\n", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A case that the request shows.

    `text` is all of its input. `expected` is None when the request names no value (then `stated` is False);
    for a case that passes it is what was answered. `named` are the inputs by their names; "" is none.
    `advice` is what a judge suggests, the most important first.
    """

    text: str
    expected: Any
    actual: Any
    stated: bool
    named: Mapping[str, str] = field(default_factory=dict)
    advice: tuple[Suggestion, ...] = ()


@dataclass(frozen=True)
class Feedback:
    """An optimizer request, parsed.

    :param seed: what it is about, whatever words that is put in: other cases, another line of attack, or
        another text that was tried are another seed.
    :param versions: improved versions of `prompt` that are to be merged.
    """

    prompt: str
    keep: frozenset[str]
    failing: tuple[Shown, ...]
    passing: tuple[Shown, ...]
    direction: str
    seed: str
    versions: tuple[str, ...] = ()


def is_feedback(text: str) -> bool:
    """Whether a message asks for a new prompt."""
    return "<new_prompt>" in text and _PROMPT.search(text) is not None


def asks_for_critique(text: str) -> bool:
    """Whether a message asks what is wrong with the answers under a prompt."""
    return "<critique>" in text and "<new_prompt>" not in text and _PROMPT.search(text) is not None


def parse(text: str) -> Feedback:
    """Read a request that `is_feedback` or `asks_for_critique` accepts.

    What is missing or in another form is left out.
    """
    match = _PROMPT.search(text)
    prompt = match["prompt"] if match else ""
    rest = text[: match.start()] + text[match.end() :] if match else text
    failing, passing = _cases(_section(rest, "failures")), _cases(_section(rest, "passing"), passing=True)
    direction, versions = _section(rest, "direction"), tuple(_VERSION.findall(rest))
    told = [(case.text, case.expected, case.actual) for case in (*failing, *passing)]
    return Feedback(
        prompt=prompt,
        keep=frozenset(line for line in _section(rest, "keep").split("\n") if line.strip()),
        failing=failing,
        passing=passing,
        direction=direction,
        seed=repr((prompt, told, direction, versions, _TRIED.findall(_section(rest, "tried")))),
        versions=versions,
    )


def _section(text: str, tag: str) -> str:
    match = re.search(rf"<{tag}(?: [^>\n]*)?>\n?(.*?)\n?</{tag}>", text, re.DOTALL)
    return match[1] if match else ""


def _cases(section: str, *, passing: bool = False) -> tuple[Shown, ...]:
    return tuple(case for block in _CASE.split(section)[1:] if (case := _case(block, passing=passing)))


def _case(block: str, *, passing: bool) -> Shown | None:
    found = [(m["name"] or "", str(_value(m["value"]))) for m in _INPUT.finditer(block)]
    if not found:
        return None
    said = {match["name"]: _value(match["value"]) for match in _SAID.finditer(block)}
    if passing:
        said = {name: said.get("answer") for name in ("expected", "actual") if "answer" in said}
    elif both := _DIFFERENCE.search(block):
        said |= _sides(both["both"])
        if whole := _WHOLE.search(block):
            said["expected"] = _value(whole["value"])
    if graded := _GRADE.search(block):
        said = _of_stage(block, graded, said)
    text = "\n".join(value for _, value in found)
    advice = tuple(
        Suggestion(m["text"].rstrip(" ."), impact=(m["weight"] or "").partition(",")[0])
        for m in _SUGGESTION.finditer(block)
    )
    return Shown(
        text,
        said.get("expected"),
        said.get("actual"),
        stated="expected" in said,
        named=dict(found),
        advice=advice,
    )


def _of_stage(block: str, graded: re.Match[str], said: Mapping[str, Any]) -> dict[str, Any]:
    """What the grade says of the stage's own answer: what the check says is of the last stage."""
    own = _STAGE_ANSWER.search(block)
    found = {"actual": _value(own["value"]) if own else said.get("actual")}
    wanted = _WANTED.search(str(_value(graded["why"] or "")))
    if float(graded["score"]) == 1:
        return {**found, "expected": found["actual"]}
    return {**found, "expected": wanted["value"].strip()} if wanted else found


def _sides(both: str) -> dict[str, Any]:
    """What ``VALUE but got VALUE`` says."""
    try:
        expected, end = json.JSONDecoder().raw_decode(both)
        return {"expected": expected, "actual": json.loads(both[end:].removeprefix(" but got "))}
    except ValueError:
        return {}


def _value(literal: str) -> Any:
    try:
        return json.loads(literal)
    except (ValueError, RecursionError):
        return literal

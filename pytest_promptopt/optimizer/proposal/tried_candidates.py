"""Describes the candidates that were tried: counts, text or change, answers, and verdict."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import groupby

from pytest_promptopt.optimizer.proposal.example_lines import mix_of_examples
from pytest_promptopt.optimizer.proposal.memory import Try
from pytest_promptopt.optimizer.proposal.quoting import (
    MAX_SHOWN,
    json_differences,
    quote_block,
    quote_line,
    quote_text,
    quote_value,
)
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.prompts.examples import Example
from pytest_promptopt.text import cut_end


def tried_candidate_texts(
    tried: Sequence[Try], prose: str, room: int, current: Sequence[Example] = ()
) -> list[str]:
    """The candidates in at most `room` characters, as far as there is any for the later ones.

    Those of one iteration share the room that is left, and what a short one leaves is shared by the others;
    the tool's own sets of examples share what these leave.

    :param tried: as `Memory.recent` orders them; `prose` is the text that is to be improved now.
    :param current: the examples before it.
    """
    texts: list[str] = []
    for _, group in groupby(tried, key=lambda one: (one.kind == Kind.EXAMPLES, one.id.partition(".")[0])):
        candidates = list(group)
        told = [""] * len(candidates)
        wanted = [len(_candidate_text(one, prose, room, current)) for one in candidates]
        for done, place in enumerate(sorted(range(len(told)), key=wanted.__getitem__)):
            share = room // (len(told) - done) - 1
            told[place] = _candidate_text(candidates[place], prose, share, current)
            room -= len(told[place]) + 1 if told[place] else 0
        texts += filter(None, told)
    return texts


def _candidate_text(one: Try, prose: str, room: int, current: Sequence[Example]) -> str:
    """`one` in at most `room` characters, in lines; empty when not even its counts fit.

    What there is no room for is left out: what it fixed first, its counts never.

    :param prose: the text that is to be improved now, and `current` the examples before it.
    """
    head = f"#{one.id} {one.kind}, {one.verdict}: {quote_line(one.measured)}"
    if mix := mix_of_examples(one.examples, current):
        head += f"\n{mix}"
    if one.text == prose:
        # What it answers where it fails stands among the failures, and what it fixed passes now. Why it was
        # written tells less than its text.
        whole = f"{head}\nit is the current prompt"
        return next((told for told in (whole, head) if len(told) <= room), "")
    answers = list(_answers(one))
    said = f"it said: {quote_line(one.reason)}" if one.reason else ""
    text = _text(one, prose)
    fixed = "fixed " + ", ".join(map(_shown, one.fixed)) if one.fixed else ""
    for parts in (
        (said, text, fixed, *answers),
        (said, text, *answers),
        (text, *answers),
        (text, *answers[:1]),
        (said, *answers),
        answers,
        (text,),
        answers[:1],
        (said,),
        (),
    ):
        told = "\n".join(filter(None, (head, *parts)))
        if len(told) <= room:
            return told
    return ""


def _text(one: Try, prose: str) -> str:
    """The text whole, or against `prose` where that is shorter."""
    if not one.text:
        return ""
    # The first two lines name the files.
    difference = [*difflib.unified_diff(prose.splitlines(), one.text.splitlines(), n=0, lineterm="")][2:]
    changed = [f"{change[0]} {change[1:]}" for change in difference if not change.startswith("@@")]
    if sum(map(len, changed)) < len(one.text):
        return "its text, against the current prompt:\n" + quote_block("\n".join(changed))
    return "its text:\n" + quote_block(one.text, "| ")


def _answers(one: Try) -> Iterator[str]:
    yield from map(quote_line, one.given)
    for answer in one.answers:
        sides = json_differences(answer.expected, answer.actual) or (answer.expected, answer.actual)
        wanted = f" (expected {_shown(sides[0])})" if sides[0] else ""
        yield f"{'broke' if answer.broken else 'failed'} {_shown(answer.input)}: {_shown(sides[1])}{wanted}"


def _shown(text: str) -> str:
    return quote_value(text) if len(text) <= MAX_SHOWN else quote_text(cut_end(text, MAX_SHOWN))

"""Which passage of a candidate breaks what passed? Leave one out at a time, and see.

A candidate that fixes much and breaks something often owes the harm to a single sentence. It is found as a
fault in a program is, by running what broke without one part after the other (delta debugging: Zeller &
Hildebrandt, IEEE Trans. Softw. Eng. 28, 2002), and costs a few single calls instead of a new candidate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_promptopt.records import Overlay
from pytest_promptopt.refine.acceptance import EPSILON
from pytest_promptopt.refine.evaluator import Prompt, Trial
from pytest_promptopt.refine.race import Run

#: Cases that broke; more do not say more.
MAX_BROKEN = 2

#: Parts that a candidate's new passages are cut into at most: each costs a call.
MAX_PARTS = 16

#: When so large a share of all cuts mends a case, any change of the wording does, and no passage is to blame.
CHANCE = 1 / 3

#: Passages end with a line or a sentence, where no white space need follow a CJK stop.
_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])(?![。！？；」』”）])\s*|\n+")

#: A passage with template syntax is never cut, and never ends inside of it.
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


@dataclass(frozen=True)
class Cut:
    """A candidate without one of its passages.

    :param prompt: the prompt that it was cut from.
    :param prose: its text without the passage.
    """

    prompt: str
    prose: str
    passage: str


def cuts(prompt: str, before: str, after: str) -> list[Cut]:
    """`after` without each of the passages that it has and `before` has not, one at a time."""
    pieces = passages(after)
    known = {piece.strip() for piece in passages(before)}
    new = [
        number
        for number, piece in enumerate(pieces)
        if piece.strip() and piece.strip() not in known and not _TEMPLATE.search(piece)
    ]
    count = min(len(new), MAX_PARTS)
    parts = [new[len(new) * part // count : len(new) * (part + 1) // count] for part in range(count)]
    return [
        Cut(
            prompt,
            "".join(piece for number, piece in enumerate(pieces) if number not in part),
            "".join(pieces[number] for number in part).strip(),
        )
        for part in parts
    ]


def passages(text: str) -> list[str]:
    """`text` in passages, each with the white space after it."""
    syntax = [match.span() for match in _TEMPLATE.finditer(text)]
    ends = [
        match.end()
        for match in _END.finditer(text)
        if not any(start < match.end() < end for start, end in syntax)
    ]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def culprit(
    prompts: Sequence[Prompt], before: Overlay, after: Overlay, broken: Sequence[str], run: Run
) -> Cut | None:
    """The cut after which most of the `broken` cases pass again; None if no single passage is to blame.

    :param before: the incumbent's texts; `after` those of the candidate that broke these cases.
    """
    tried = [
        cut
        for prompt in prompts
        if prompt.name in after
        for cut in cuts(prompt.name, before.get(prompt.name, prompt.prose), after[prompt.name])
    ]
    first, *others = broken[:MAX_BROKEN]
    suspects = _mending(tried, after, (first,), run)
    if len(suspects) > max(1, CHANCE * len(tried)):
        return None
    if others:
        suspects = _mending(suspects, after, tuple(others), run)
    return next(iter(suspects), None)


def _mending(tried: Sequence[Cut], after: Overlay, cases: tuple[str, ...], run: Run) -> list[Cut]:
    """The cuts with which at least half of `cases` pass."""
    measured = run([Trial({**after, cut.prompt: cut.prose}, cases) for cut in tried]) if tried else []
    return [
        cut
        for cut, results in zip(tried, measured, strict=True)
        if 2 * sum((result.rate or 0.0) >= 1.0 - EPSILON for result in results) >= len(cases)
    ]

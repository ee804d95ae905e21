"""Which passage of a text makes cases fail? Leave one out at a time, and see.

When a text fixes much and breaks something, a single sentence often does the harm. It is found as a fault in
a program is found: by running the failing cases without one part after the other (delta debugging: Zeller &
Hildebrandt, IEEE Trans. Softw. Eng. 28, 2002), and costs a few single calls instead of a new candidate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_promptopt.optimizer.protocols import Prompt, Run, Trial
from pytest_promptopt.prompts.examples import with_examples_of, without_examples
from pytest_promptopt.records import EPSILON, Overlay

#: Failing cases that are run without one passage after the other.
MAX_EXAMINED = 2

#: Further failing cases (witnesses) that a suspect cut is checked with.
MAX_WITNESSES = 6

#: Parts that the new passages are cut into at most: each costs a call for every case examined.
MAX_PARTS = 16

#: Cuts tried at once.
ROUND = 5

#: When a larger share of the cuts mends a case, any change of the wording does: it is no evidence.
CHANCE = 1 / 2

#: Control cuts that a witness case is run under: if it passes there too, it passes by chance.
CONTROLS = 2

#: Passages end with a line or a sentence, where no white space need follow a CJK stop.
_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])(?![。！？；」』”）])\s*|\n+")

#: A passage with template syntax is never cut, and never ends inside of it.
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


@dataclass(frozen=True)
class Cut:
    """A text without one of its passages.

    :param prompt: the prompt that it was cut from.
    :param prose: its text without the passage.
    """

    prompt: str
    prose: str
    passage: str


def cut_each_passage(prompt: str, before: str, after: str) -> list[Cut]:
    """`after` without each of the passages that it has and `before` has not, one at a time."""
    pieces = split_passages(without_examples(after))
    known = {piece.strip() for piece in split_passages(without_examples(before))}
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
            with_examples_of(_without(pieces, part), after),
            "".join(pieces[number] for number in part).strip(),
        )
        for part in parts
    ]


def _without(pieces: Sequence[str], part: Sequence[int]) -> str:
    """The text without these pieces; a line that is cut in part keeps its end of line."""
    text = ""
    for number, piece in enumerate(pieces):
        if number not in part:
            text += piece
        elif "\n" in (space := piece[len(piece.rstrip()) :]) and text and not text.endswith("\n"):
            text = text.rstrip() + space.lstrip(" \t")
    return text


def split_passages(text: str) -> list[str]:
    """`text` in passages, each with the white space after it."""
    syntax = [match.span() for match in _TEMPLATE.finditer(text)]
    ends = [
        match.end()
        for match in _END.finditer(text)
        if not any(start < match.end() < end for start, end in syntax)
    ]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def find_harmful_passage(
    prompts: Sequence[Prompt],
    before: Overlay,
    after: Overlay,
    failing: Sequence[str],
    run: Run,
    fault: Callable[[Prompt, str], str | None] = lambda prompt, prose: None,
) -> Cut | None:
    """The cut that mends at least two of the `failing` cases; None if no single passage is to blame.

    A case that also passes without other passages is no evidence: a mere change of the wording mends it.

    :param before: texts whose passages are not to blame; `after` those under which the cases fail.
    :param failing: the cases most likely to be broken by a passage first.
    :param fault: why a text cannot be tried; such a cut is not.
    """
    tried = [
        cut
        for prompt in prompts
        if prompt.name in after
        for cut in cut_each_passage(prompt.name, before.get(prompt.name, prompt.prose), after[prompt.name])
        if fault(prompt, cut.prose) is None
    ]
    for case in failing[:MAX_EXAMINED]:
        witnesses = tuple(other for other in failing if other != case)[:MAX_WITNESSES]
        suspects = _suspects(tried, after, case, run) if witnesses else []
        if suspects and (found := _most_harmful(suspects, tried, after, witnesses, run)):
            return found
    return None


def _suspects(tried: Sequence[Cut], after: Overlay, case: str, run: Run) -> list[Cut]:
    """The cuts that mend `case`; none when too many of them do."""
    suspects: list[Cut] = []
    for start in range(0, len(tried), ROUND):
        cuts = tried[start : start + ROUND]
        suspects += [
            cut for cut, passed in zip(cuts, _passed(cuts, after, (case,), run), strict=True) if passed
        ]
        if len(suspects) > CHANCE * min(start + ROUND, len(tried)):
            return []
    return suspects


def _most_harmful(
    suspects: Sequence[Cut], tried: Sequence[Cut], after: Overlay, witnesses: tuple[str, ...], run: Run
) -> Cut | None:
    """The suspect that mends most witnesses that no control mends; None if none mends any."""
    controls = [cut for cut in tried if cut not in suspects][:CONTROLS]
    passed = _passed([*suspects, *controls], after, witnesses, run)
    by_chance = frozenset[str]().union(*passed[len(suspects) :])
    evidence = {cut: len(mended - by_chance) for cut, mended in zip(suspects, passed, strict=False)}
    found = max(evidence, key=lambda cut: evidence[cut])
    return found if evidence[found] else None


def _passed(tried: Sequence[Cut], after: Overlay, cases: tuple[str, ...], run: Run) -> list[frozenset[str]]:
    """Which of `cases` pass under each cut."""
    measured = run([Trial({**after, cut.prompt: cut.prose}, cases) for cut in tried]) if tried else []
    return [
        frozenset(result.case.id for result in results if (result.rate or 0.0) >= 1.0 - EPSILON)
        for results in measured
    ]

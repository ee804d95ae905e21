"""Learning cue words for labels from shown cases, the way a person with a highlighter would.

A cue is at most two words and no line is filled beyond `LONGEST_LINE` cues, so what is learned is what the
cases of a label have in common, not the cases.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_promptopt.models.demo.feedback import Shown
from pytest_promptopt.models.demo.reading import classify, weigh
from pytest_promptopt.models.demo.words import MODIFIERS, STOP_WORDS, stems, words

LONGEST_LINE = 14
_EPOCHS = 3


@dataclass
class LabelLines:
    """The cues of every label, in the order of the prompt."""

    cues: dict[str, list[str]]

    def choose(self, text: str, default: str | None) -> str:
        names = list(self.cues)
        return classify(weigh(self.cues), text, default=default if default is not None else names[0])

    def copy(self) -> LabelLines:
        return LabelLines({name: list(cues) for name, cues in self.cues.items()})


@dataclass(frozen=True)
class Plan:
    """One line of attack.

    :param per_case: how many cues one misread case may add.
    :param prune: drop cues that the shown failures prove to mislead.
    """

    per_case: int
    prune: bool
    draw: random.Random


def candidates(text: str) -> list[str]:
    """Words and pairs of neighbouring words of `text` that could be cues: no stop words, numbers or names."""
    named = {word.lower() for word in _names(text)}
    plain = [w for w in words(text) if w in MODIFIERS or w not in STOP_WORDS]
    usable = [w.isalpha() and w not in named and len(w) > 2 for w in plain]
    single = [w for w, good in zip(plain, usable, strict=True) if good and w not in MODIFIERS]
    pairs = [
        f"{a} {b}"
        for (a, b), (good_a, good_b) in zip(pairwise(plain), pairwise(usable), strict=True)
        if a != b and good_a + good_b + (a in MODIFIERS or b in MODIFIERS) >= 2
    ]
    return list(dict.fromkeys([*single, *pairs]))


def _names(text: str) -> list[str]:
    """Capitalised words inside a sentence."""
    parts = text.split()
    return [
        word.strip(".,!?;:'\"()")
        for before, word in pairwise(parts)
        if word[:1].isupper() and not word.isupper() and before[-1] not in ".!?:"
    ]


def learn(
    before: LabelLines, taught: Sequence[Shown], kept: Sequence[Shown], plan: Plan, *, default: str | None
) -> tuple[LabelLines, list[str]]:
    """Cues under which more of the shown cases are read as expected, and in words what changed.

    :param taught: failing cases with the label that each should have had.
    :param kept: passing cases; a cue that speaks for one of them is not dropped.
    """
    lines = before.copy()
    if not lines.cues or not taught:
        return lines, []
    evidence = _Evidence((*taught, *kept))
    for _ in range(_EPOCHS):
        wrong = [case for case in taught if lines.choose(case.text, default) != case.expected]
        if not wrong:
            break
        plan.draw.shuffle(wrong)
        for case in wrong:
            read_as = lines.choose(case.text, default)
            if read_as == case.expected:
                continue
            if plan.prune:
                _drop_misleading(lines, read_as, case, evidence)
            _add(lines, case, evidence, plan)
    return lines, _changes(before, lines)


class _Evidence:
    """How often each phrase occurs in the shown cases of each label."""

    def __init__(self, cases: Sequence[Shown]) -> None:
        self.texts = [(stems(case.text), str(case.expected)) for case in cases]
        self.sizes = Counter(label for _, label in self.texts)

    def counts(self, cue: str, label: str) -> tuple[int, int]:
        """In how many shown cases of `label`, and of others."""
        phrase = stems(cue)
        found = [known == label for text, known in self.texts if phrase in text]
        return sum(found), len(found) - sum(found)

    def weight(self, cue: str, label: str) -> float:
        """Smoothed log-odds that a case with this cue has this label."""
        inside, outside = self.counts(cue, label)
        rest = len(self.texts) - self.sizes[label]
        return math.log((inside + 0.5) / (self.sizes[label] + 1)) - math.log((outside + 0.5) / (rest + 1))


def _add(lines: LabelLines, case: Shown, evidence: _Evidence, plan: Plan) -> None:
    """Give the expected label those cues of the case that tell it best from the other labels."""
    label = str(case.expected)
    known = {stems(cue) for cue in lines.cues[label]}
    claims = Counter(
        part
        for name, cues in lines.cues.items()
        if name != label
        for part in set(" ".join(map(stems, (name, *cues))).split())
    )

    def worth(cue: str) -> float:
        parts = stems(cue).split()
        crowding = sum(claims[part] for part in parts) / len(parts) ** 2
        length = min(sum(map(len, cue.split())), 12) / 12
        return evidence.weight(cue, label) - 0.8 * crowding + length + 0.2 * plan.draw.random()

    fresh = [cue for cue in candidates(case.text) if stems(cue) not in known]
    room = max(0, LONGEST_LINE - len(lines.cues[label]))
    lines.cues[label] += sorted(fresh, key=worth, reverse=True)[: min(plan.per_case, room)]


def _drop_misleading(lines: LabelLines, label: str, case: Shown, evidence: _Evidence) -> None:
    text = stems(case.text)
    for cue in list(lines.cues[label]):
        inside, outside = evidence.counts(cue, label)
        if stems(cue) in text and outside > inside:
            lines.cues[label].remove(cue)


def _changes(before: LabelLines, after: LabelLines) -> list[str]:
    if not after.cues:
        return []
    added = {n: [c for c in cues if c not in before.cues[n]] for n, cues in after.cues.items()}
    dropped = {n: [c for c in cues if c not in after.cues[n]] for n, cues in before.cues.items()}
    return [*_said("added", "to", added), *_said("dropped misleading", "from", dropped)]


def _said(verb: str, side: str, changed: dict[str, list[str]]) -> list[str]:
    most = max(changed, key=lambda name: len(changed[name]))
    total, labels = sum(map(len, changed.values())), sum(map(bool, changed.values()))
    shown = ", ".join(changed[most][:3])
    return [f"{verb} cues {side} {labels} labels ({total} in all; {side} {most}: {shown})"] if total else []

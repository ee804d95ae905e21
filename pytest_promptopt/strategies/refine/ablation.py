"""Which passage of a text makes cases fail? Leave one out at a time, and see.

When a text fixes much and breaks something, a single sentence often does the harm. It is found as a fault in
a program is found: by running the failing cases without one part after the other (delta debugging: Zeller &
Hildebrandt, IEEE Trans. Softw. Eng. 28, 2002), and costs a few single calls instead of a new candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.protocols import Prompt, Run, Trial
from pytest_promptopt.prompts.cutting import has_template_syntax, split_passages, without_passages
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


@dataclass(frozen=True)
class Cut:
    """A text without one of its passages.

    :param prompt: the prompt that it was cut from.
    :param prose: its text without the passage.
    """

    prompt: str
    prose: str
    passage: str

    @property
    def pieces(self) -> list[str]:
        """The lines and sentences that the passage is made of."""
        return [piece.strip() for piece in split_passages(self.passage)]


def cut_each_passage(prompt: str, before: str, after: str) -> list[Cut]:
    """`after` without each of the passages that it has and `before` has not, one at a time."""
    pieces = split_passages(without_examples(after))
    known = {piece.strip() for piece in split_passages(without_examples(before))}
    new = [
        number
        for number, piece in enumerate(pieces)
        if piece.strip() and piece.strip() not in known and not has_template_syntax(piece)
    ]
    count = min(len(new), MAX_PARTS)
    parts = [new[len(new) * part // count : len(new) * (part + 1) // count] for part in range(count)]
    return [
        Cut(
            prompt,
            with_examples_of(without_passages(pieces, part), after),
            "".join(pieces[number] for number in part).strip(),
        )
        for part in parts
    ]


#: Runs cases under cuts: which of them pass under each.
RunCuts = Callable[[Sequence[Cut], tuple[str, ...]], list[frozenset[str]]]


def find_harmful_passage(
    prompts: Sequence[Prompt],
    before: Overlay,
    after: Overlay,
    failing: Sequence[str],
    run: Run,
    fault: Callable[[Prompt, str], str | None] = lambda prompt, prose: None,
    note: Callable[[Cut, Results], None] = lambda cut, results: None,
) -> Cut | None:
    """The cut that mends at least two of the `failing` cases; None if no single passage is to blame.

    A case that also passes without other passages is no evidence: a mere change of the wording mends it.

    :param before: texts whose passages are not to blame; `after` those under which the cases fail.
    :param failing: the cases most likely to be broken by a passage first.
    :param fault: why a text cannot be tried; such a cut is not.
    :param note: told what came of each cut that was tried.
    """
    tried = [
        cut
        for prompt in prompts
        if prompt.name in after
        for cut in cut_each_passage(prompt.name, before.get(prompt.name, prompt.prose), after[prompt.name])
        if fault(prompt, cut.prose) is None
    ]

    def passed(cuts: Sequence[Cut], cases: tuple[str, ...]) -> list[frozenset[str]]:
        measured = run([Trial({**after, cut.prompt: cut.prose}, cases) for cut in cuts]) if cuts else []
        for cut, results in zip(cuts, measured, strict=True):
            note(cut, results)
        return [
            frozenset(result.case.id for result in results if (result.rate or 0.0) >= 1.0 - EPSILON)
            for results in measured
        ]

    for case in failing[:MAX_EXAMINED]:
        witnesses = tuple(other for other in failing if other != case)[:MAX_WITNESSES]
        suspects = _suspects(tried, case, passed) if witnesses else []
        if suspects and (found := _most_harmful(suspects, tried, witnesses, passed)):
            return found
    return None


def _suspects(tried: Sequence[Cut], case: str, passed: RunCuts) -> list[Cut]:
    """The cuts that mend `case`; none when too many of them do."""
    suspects: list[Cut] = []
    for start in range(0, len(tried), ROUND):
        cuts = tried[start : start + ROUND]
        suspects += [cut for cut, cases in zip(cuts, passed(cuts, (case,)), strict=True) if cases]
        if len(suspects) > CHANCE * min(start + ROUND, len(tried)):
            return []
    return suspects


def _most_harmful(
    suspects: Sequence[Cut], tried: Sequence[Cut], witnesses: tuple[str, ...], passed: RunCuts
) -> Cut | None:
    """The suspect that mends most witnesses that no control mends; None if none mends any."""
    controls = [cut for cut in tried if cut not in suspects][:CONTROLS]
    mended = passed([*suspects, *controls], witnesses)
    by_chance = frozenset[str]().union(*mended[len(suspects) :])
    evidence = {cut: len(cases - by_chance) for cut, cases in zip(suspects, mended, strict=False)}
    found = max(evidence, key=lambda cut: evidence[cut])
    return found if evidence[found] else None

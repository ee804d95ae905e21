"""Which passages of a prompt were shown to matter, by texts that a search tried with and without them.

A search writes one text after the other, and many differ from another one by a passage, or by a few of them,
that only one has. The cases that were run under both tell what these passages do; no call is made for that.
Cases were also run without a passage to find one that does harm. They were chosen since they fail, so they
are counted apart, and no test is made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from math import fsum

from pytest_promptopt.prompts.cutting import split_passages
from pytest_promptopt.prompts.examples import examples_in, without_examples
from pytest_promptopt.records import EPSILON
from pytest_promptopt.reports.tried_texts import ORIGINAL, TriedTexts
from pytest_promptopt.results import PromptResult
from pytest_promptopt.statistics import paired_test, wilson_interval
from pytest_promptopt.text import plural

#: More sets of passages than this nobody reads; the smallest are told, which say most of a single passage.
MOST_TOLD = 40

#: Texts that are compared at most, each with each.
MOST_TEXTS = 250


class PassageVerdict(StrEnum):
    """What the cases say of passages."""

    MATTERS = "matters"
    HARMS = "does harm"
    NO_DIFFERENCE = "no difference seen"
    MAY_BE_CHANCE = "may be chance"


@dataclass(frozen=True)
class PassageEvidence:
    """Cases with and without passages, all else being equal.

    :param passages: lines and sentences that were only in one of two texts, together.
    :param new: whether they stand in the text after; else in the one before only.
    :param cases: how many were run with them and without them.
    :param needed: how many of these pass only with them; `spoiled`: only without them.
    :param change: of their pass rate by these passages, from -1 to 1.
    :param every: whether these are all train and validation cases, so that nobody has chosen them.
    :param p: the exact two-sided p-value of the changes, corrected for all passages that were looked at.
    :param failing: how many cases that fail with them were run without them to find a fault, and how many of
        those `mended` pass then.
    """

    passages: tuple[str, ...]
    new: bool
    verdict: PassageVerdict
    cases: int = 0
    needed: int = 0
    spoiled: int = 0
    change: float = 0.0
    every: bool = False
    p: float = 1.0
    test: str = ""
    failing: int = 0
    mended: int = 0

    @property
    def is_shown(self) -> bool:
        """Whether they were shown to change something."""
        return self.verdict in (PassageVerdict.MATTERS, PassageVerdict.HARMS)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share of cases that need them, or that they spoil where they do harm."""
        changed = self.spoiled if self.verdict is PassageVerdict.HARMS else self.needed
        return wilson_interval(changed / self.cases if self.cases else 0.0, self.cases)


@dataclass(frozen=True)
class PromptPassages:
    """What is known of the passages of a prompt, the smallest sets of them first.

    :param untried: how many passages of the new text were never left out.
    """

    evidence: tuple[PassageEvidence, ...] = ()
    untried: int = 0


@dataclass(frozen=True)
class _Version:
    """A text that was tried, and what it was tried with."""

    pieces: tuple[str, ...]
    beside: object
    rates: Mapping[str, float]

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.pieces)


@dataclass
class _Trials:
    """What was measured of one set of passages: of each case its rates with and without them."""

    rates: dict[str, list[tuple[float, float]]]
    failing: dict[str, bool]


def passage_evidence(prompt: PromptResult, tried: TriedTexts, alpha: float) -> PromptPassages:
    """What the journal of a run says of the passages of a prompt's texts before and after.

    :param alpha: a difference counts as shown from this p-value down.
    """
    after, before = pieces_of(prompt.after), pieces_of(prompt.before)
    if before == after:
        return PromptPassages()
    versions = list(_versions(prompt, tried))[:MOST_TEXTS]
    trials: dict[tuple[str, ...], _Trials] = {}
    for whole in versions:
        for part in versions:
            fits = part.known < whole.known and part.beside == whole.beside
            if fits and (passages := left_out(whole.pieces, part.pieces)):
                _compare(trials, passages, whole, part)
    for cut in tried.cuts:
        if cut.prompt == prompt.prompt:
            failing = trials.setdefault(cut.pieces, _Trials({}, {})).failing
            failing |= {case: rate >= 1 - EPSILON for case, rate in cut.rates.items() if rate is not None}
    flaky = frozenset(each.case for each in prompt.flaky)
    known = {case for case, rate in _searched(prompt, tried, ORIGINAL).items() if rate is not None}
    found = [
        _evidence(passages, after, of_them, flaky, known)
        for passages, of_them in trials.items()
        if (of_them.rates or of_them.failing)
        and (_within(passages, after) or _only_before(passages, before, after))
    ]
    places = {piece: place for place, piece in reversed(list(enumerate((*after, *before))))}
    found.sort(key=lambda each: (len(each.passages), not each.new, places[each.passages[0]]))
    judged = [_judged(each, alpha, varies=bool(flaky)) for each in _corrected(found)]
    seen = {passage for each in judged for passage in each.passages}
    return PromptPassages(tuple(judged[:MOST_TOLD]), sum(piece not in seen for piece in after))


def pieces_of(text: str) -> tuple[str, ...]:
    """The passages of a text without its examples."""
    return tuple(piece.strip() for piece in split_passages(without_examples(text)) if piece.strip())


def left_out(whole: Sequence[str], part: Sequence[str]) -> tuple[str, ...] | None:
    """The passages that `part` lacks of `whole`; None where they differ by anything else."""
    found, place = [], 0
    for piece in whole:
        if place < len(part) and part[place] == piece:
            place += 1
        else:
            found.append(piece)
    return tuple(found) if place == len(part) else None


def _versions(prompt: PromptResult, tried: TriedTexts) -> Iterator[_Version]:
    """The texts of the prompt that were run, each with those of its pipeline."""
    together = prompt.pipeline or (prompt.prompt,)
    for candidate in (ORIGINAL, *tried.texts):
        overlay = dict(tried.overlay(candidate, together))
        if candidate != ORIGINAL and not overlay:
            continue
        text = overlay.pop(prompt.prompt, prompt.before)
        rates = {c: r for c, r in _searched(prompt, tried, candidate).items() if r is not None}
        if rates:
            yield _Version(pieces_of(text), (overlay, examples_in(text)), rates)


def _searched(prompt: PromptResult, tried: TriedTexts, candidate: str) -> dict[str, float | None]:
    """The rates of train and validation cases under a candidate."""
    rates = tried.rates.get(candidate, {})
    return {case: rates[case] for case in tried.cases.get(prompt.prompt, ()) if case in rates}


def _compare(
    trials: dict[tuple[str, ...], _Trials], passages: tuple[str, ...], whole: _Version, part: _Version
) -> None:
    rates = trials.setdefault(passages, _Trials({}, {})).rates
    for case, rate in whole.rates.items():
        if case in part.rates:
            rates.setdefault(case, []).append((rate, part.rates[case]))


def _within(passages: Sequence[str], text: Sequence[str]) -> bool:
    return all(passage in text for passage in passages)


def _only_before(passages: Sequence[str], before: Sequence[str], after: Sequence[str]) -> bool:
    return all(passage in before and passage not in after for passage in passages)


def _evidence(
    passages: tuple[str, ...], after: Sequence[str], trials: _Trials, flaky: frozenset[str], known: set[str]
) -> PassageEvidence:
    """The counts. Each case counts once, however many texts it was run under, and a flaky one not at all."""
    passes = 1 - EPSILON
    means = {
        case: (fsum(one for one, _ in pairs) / len(pairs), fsum(other for _, other in pairs) / len(pairs))
        for case, pairs in trials.rates.items()
        if case not in flaky
    }
    tested = paired_test([one - other for one, other in means.values()])
    failing = {case: mended for case, mended in trials.failing.items() if case not in flaky}
    return PassageEvidence(
        passages,
        _within(passages, after),
        PassageVerdict.MAY_BE_CHANCE,
        cases=len(means),
        needed=sum(other < passes <= one for one, other in means.values()),
        spoiled=sum(one < passes <= other for one, other in means.values()),
        change=fsum(one - other for one, other in means.values()) / max(1, len(means)),
        every=known <= trials.rates.keys(),
        p=tested.either,
        test=tested.test,
        failing=len(failing),
        mended=sum(failing.values()),
    )


def _corrected(found: Sequence[PassageEvidence]) -> list[PassageEvidence]:
    """With p-values by which any of them errs as seldom as one (Holm, Scand. J. Stat. 6, 1979)."""
    p_values, floor = [each.p for each in found], 0.0
    tested = sorted((n for n, each in enumerate(found) if each.cases), key=lambda n: p_values[n])
    for rank, number in enumerate(tested):
        floor = max(floor, min(1.0, (len(tested) - rank) * p_values[number]))
        p_values[number] = floor
    return [replace(each, p=p) for each, p in zip(found, p_values, strict=True)]


def _judged(each: PassageEvidence, alpha: float, *, varies: bool) -> PassageEvidence:
    """With its verdict.

    :param varies: whether some case was seen to pass and to fail under one text. Then cases that were chosen
        since they failed may pass under any other text, so only a comparison on all cases shows something.
    """
    if not (each.needed or each.spoiled or each.mended or (each.cases and each.p < 1)):
        return replace(each, verdict=PassageVerdict.NO_DIFFERENCE)
    if each.cases and each.p <= alpha and (each.every or not varies):
        return replace(each, verdict=PassageVerdict.MATTERS if each.change > 0 else PassageVerdict.HARMS)
    return each


def passage_sentence(each: PassageEvidence) -> str:
    """``matters: 9 of 24 cases pass only with it (21% to 57%), 0 only without (p = 0.0039)``."""
    them = "it" if len(each.passages) == 1 else f"these {len(each.passages)} together"
    said: list[str] = []
    low, high = (f"{100 * end:.0f}%" for end in each.interval)
    chance = "p < 0.001" if each.p < 0.001 else f"p = {each.p:.2g}"
    of_cases = f"of {plural(each.cases, 'case')}"
    if each.cases and each.verdict is PassageVerdict.NO_DIFFERENCE:
        said.append(f"{each.verdict} in {plural(each.cases, 'case')} (at most {high} need {them})")
    elif each.cases:
        first, second = f"{each.needed:,} {of_cases} pass only with {them}", f"{each.spoiled:,} only without"
        if each.verdict is PassageVerdict.HARMS:
            first = f"{each.spoiled:,} {of_cases} pass only without {them}"
            second = f"{each.needed:,} only with"
        said.append(f"{each.verdict}: {first} ({low} to {high}), {second} ({chance})")
    if each.failing:
        what = "" if each.cases else f"{each.verdict}: "
        said.append(
            f"{what}of {plural(each.failing, 'case')} that fail with {them} {each.mended:,} pass without"
        )
    return "; ".join(said)

"""A race of candidates against the incumbent, on no more training cases than decide it.

First come the cases that the incumbent fails: only there can a candidate win, and one that wins nowhere is
dropped. Then, a few at a time, the cases that it passes, where a candidate can only lose. They end with a
sequential probability ratio test (Wald, Ann. Math. Stat. 16, 1945) between breaking as many of them as any new
wording does and breaking as many as a harmful instruction does. Rounds have a fixed size and every candidate
completes its round, so that what is decided depends on nothing but the answers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence

from pytest_promptopt.records import Split
from pytest_promptopt.refine.acceptance import EPSILON, estimate
from pytest_promptopt.refine.attempts import REJECTED, Attempt, Results, Version
from pytest_promptopt.refine.evaluator import Trial

#: The shares of passing cases that a harmless candidate breaks by chance, and that a harmful one breaks.
BROKEN_BY_CHANCE = 0.03
BROKEN_BY_HARM = 0.13

#: Wald's bounds: of the harmless candidates one in twenty is taken for harmful; of the harmful ones three in
#: ten are taken for harmless at first, and found out when the cases they owe are run.
_HARMFUL_FROM = math.log(0.70 / 0.05)
_HARMLESS_FROM = math.log(0.30 / 0.95)
_PASSED = math.log((1 - BROKEN_BY_HARM) / (1 - BROKEN_BY_CHANCE))
_BROKEN = math.log(BROKEN_BY_HARM / BROKEN_BY_CHANCE)

#: Passing cases of the first round, as few as can show a candidate to be harmless, and of every further one.
FIRST_GUARDS = math.ceil(_HARMLESS_FROM / _PASSED)
MORE_GUARDS = 6

Run = Callable[[Sequence[Trial]], list[Results]]


def race(
    attempts: Sequence[Attempt],
    incumbent: Version,
    run: Run,
    *,
    seed: str,
    first: Iterable[str] = (),
    must_win: bool = True,
) -> None:
    """Run `attempts` on the training cases until each is decided; those that are good enough stay open.

    Sets their `results` and `compared` of `Split.TRAIN` and `harmful`, and rejects who can no longer win.

    :param seed: of the order of the passing cases.
    :param first: the passing cases that come first.
    :param must_win: reject whoever fixes none of the failing cases.
    """
    standing = incumbent.standing(Split.TRAIN)
    failing = tuple(result.case.id for result in standing if result.failing is not None)
    guards = _guards(incumbent, failing, seed, first)
    for attempt in attempts:
        attempt.results[Split.TRAIN] = ()
    _round(attempts, failing, standing, run)
    for attempt in attempts:
        if must_win and failing and not _won(attempt):
            attempt.decide(REJECTED, f"it fixes none of the {len(failing)} failing training cases")
    running, position = [attempt for attempt in attempts if not attempt.verdict], 0
    while running and position < len(guards):
        end = position + (MORE_GUARDS if position else FIRST_GUARDS)
        _round(running, guards[position:end], standing, run)
        position = end
        running = [attempt for attempt in running if not _decided(attempt, standing)]


def _guards(incumbent: Version, failing: Iterable[str], seed: str, first: Iterable[str]) -> tuple[str, ...]:
    """The cases that the incumbent passes: `first`, then those it was not run on itself, then the others."""
    urgent, owed = set(first), {result.case.id for result in incumbent.owed}
    failing = set(failing)
    cases = sorted(r.case.id for r in incumbent.standing(Split.TRAIN) if r.case.id not in failing)
    random.Random(seed).shuffle(cases)
    return tuple(sorted(cases, key=lambda case: (case not in urgent, case not in owed)))


def _round(attempts: Sequence[Attempt], cases: tuple[str, ...], standing: Results, run: Run) -> None:
    measured = run([Trial(attempt.overlay, cases) for attempt in attempts]) if cases else [()] * len(attempts)
    for attempt, results in zip(attempts, measured, strict=True):
        attempt.results[Split.TRAIN] += results
        training = attempt.results[Split.TRAIN]
        attempt.compared[Split.TRAIN] = estimate(standing, training, split=Split.TRAIN, growth=attempt.growth)


def _won(attempt: Attempt) -> bool:
    return attempt.compared[Split.TRAIN].gain > EPSILON


def _decided(attempt: Attempt, standing: Results) -> bool:
    """Whether the passing cases run so far are enough to call it harmless or harmful."""
    before = {result.case.id: result.rate or 0.0 for result in standing}
    losses = [
        before[result.case.id] - result.rate
        for result in attempt.results[Split.TRAIN]
        if result.rate is not None and before[result.case.id] >= 1.0 - EPSILON
    ]
    broken = math.fsum(losses)
    ratio = broken * _BROKEN + (len(losses) - broken) * _PASSED
    attempt.harmful = ratio >= _HARMFUL_FROM
    return attempt.harmful or ratio <= _HARMLESS_FROM

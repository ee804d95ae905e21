"""A race of candidates against the incumbent, on no more training cases than decide it.

First come the cases that the incumbent fails: only there can a candidate win, and one that wins nowhere is
dropped. Then, a few at a time, the cases that it passes, where a candidate can only lose. They end when the
gain is larger than what the cases not run may hide, when it is lost, or when a sequential probability ratio
test (Wald, Ann. Math. Stat. 16, 1945) shows that the candidate breaks more than a mere change of wording.
Rounds have a fixed size and every candidate completes its round, so that what is decided depends on nothing
but the answers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from pytest_promptopt.records import Split
from pytest_promptopt.refine.acceptance import EPSILON, estimate, rank
from pytest_promptopt.refine.attempts import REJECTED, Attempt, Results, Version, undecided
from pytest_promptopt.refine.evaluator import Trial

#: The shares of passing cases that a harmless candidate breaks by chance, and that a harmful one breaks.
BROKEN_BY_CHANCE = 0.03
BROKEN_BY_HARM = 0.13

#: Wald's bound: one in twenty harmless candidates is taken for harmful, three in ten harmful ones are not.
_HARMFUL_FROM = math.log(0.70 / 0.05)
_PASSED = math.log((1 - BROKEN_BY_HARM) / (1 - BROKEN_BY_CHANCE))
_BROKEN = math.log(BROKEN_BY_HARM / BROKEN_BY_CHANCE)

#: Broken cases that a sample without any hides no more often than not: -ln 0.5.
_HIDDEN = 0.7

#: Failing cases of the first rung of a race between several; each further rung doubles their number.
FIRST_RUNG = 25

#: Broken cases from which on a candidate that lost is worth a look at what breaks them.
FEW_BROKEN = 2

#: Passing cases of a round.
GUARDS = 6

Run = Callable[[Sequence[Trial]], list[Results]]


def race(
    attempts: Sequence[Attempt],
    incumbent: Version,
    run: Run,
    *,
    seed: str,
    sideways: bool = False,
) -> None:
    """Run `attempts` on the training cases until each is decided; those that are good enough stay open.

    Sets their `results` and `compared` of `Split.TRAIN` and `harmful`, and rejects who can no longer win.

    :param seed: of the order of the passing cases.
    :param sideways: whether a candidate may break as many cases as it fixes; else it must fix more.
    """
    standing = incumbent.standing(Split.TRAIN)
    failing = tuple(result.case.id for result in standing if result.failing is not None)
    guards = _guards(incumbent, failing, seed)
    for attempt in attempts:
        attempt.results[Split.TRAIN] = ()
    _halve(attempts, failing, standing, run)
    for attempt in undecided(attempts):
        if failing and not sideways and not _won(attempt):
            attempt.decide(REJECTED, f"it fixes none of the {len(failing)} failing training cases")
    running, position = undecided(attempts), 0
    while running and position < len(guards):
        end = position + GUARDS
        _round(running, guards[position:end], standing, run)
        position = end
        running = [attempt for attempt in running if not _decided(attempt, standing, sideways)]


def rerun(cured: Attempt, broken: Sequence[str], incumbent: Version, run: Run) -> None:
    """Run a candidate that was cut from another on the cases which that one broke; `taken` says the rest.

    Sets its `results` and `compared` of `Split.TRAIN`.
    """
    (results,) = run([Trial(cured.overlay, tuple(broken))])
    cured.results[Split.TRAIN] = results
    cured.compared[Split.TRAIN] = estimate(
        incumbent.standing(Split.TRAIN), (*results, *cured.taken), split=Split.TRAIN, growth=cured.growth
    )


def _guards(incumbent: Version, failing: Sequence[str], seed: str) -> tuple[str, ...]:
    """The cases that the incumbent passes: first those that it was not run on itself."""
    answered = {r.case.id for r in incumbent.standing(Split.TRAIN) if r.rate is not None}
    cases = sorted(answered - {*failing})
    random.Random(seed).shuffle(cases)
    owed = {result.case.id for result in incumbent.owed}
    return tuple(sorted(cases, key=lambda case: case not in owed))


def _halve(attempts: Sequence[Attempt], failing: tuple[str, ...], standing: Results, run: Run) -> None:
    """Run `attempts` on the failing cases; while there are several, the worse half leaves after each rung.

    Successive halving (Jamieson & Talwalkar, AISTATS 2016). One that fixes a share `d` more of all failing
    cases than another is ahead of it after `n` of them with a chance of at least 1 - exp(-n d² / 2)
    (Hoeffding): with 25 cases and 50 points 95 %, with 50 cases and 35 points too.
    """
    running, position, rung = list(attempts), 0, FIRST_RUNG
    while running and position < len(failing):
        end = position + rung if len(running) > 1 else len(failing)
        _round(running, failing[position:end], standing, run)
        position, rung = end, end
        if position < len(failing) and len(running) > 1:
            running.sort(key=lambda attempt: rank(attempt.compared[Split.TRAIN]))
            for attempt in running[(len(running) + 1) // 2 :]:
                why = f"others fix more of the first {position} failing training cases"
                attempt.decide(REJECTED, f"{why}: {attempt.compared[Split.TRAIN]}")
            running = undecided(running)
    if not failing:
        _round(attempts, (), standing, run)


def _round(attempts: Sequence[Attempt], cases: tuple[str, ...], standing: Results, run: Run) -> None:
    trials = [Trial(attempt.overlay, cases) for attempt in attempts if cases]
    measured = run(trials) if trials else [()] * len(attempts)
    for attempt, results in zip(attempts, measured, strict=True):
        attempt.results[Split.TRAIN] += results
        training = attempt.results[Split.TRAIN]
        attempt.compared[Split.TRAIN] = estimate(standing, training, split=Split.TRAIN, growth=attempt.growth)


def _won(attempt: Attempt) -> bool:
    return attempt.compared[Split.TRAIN].gain > EPSILON


def _decided(attempt: Attempt, standing: Results, sideways: bool) -> bool:
    """Whether it has lost already, or won so much that the passing cases not run cannot undo it."""
    before = {result.case.id: result.rate for result in standing if result.rate is not None}
    passes = 1.0 - EPSILON
    changes = [
        (before[result.case.id], result.rate)
        for result in attempt.results[Split.TRAIN]
        if result.rate is not None and result.case.id in before
    ]
    won = math.fsum(new - old for old, new in changes if old < passes)
    losses = [old - new for old, new in changes if old >= passes]
    broken, count = math.fsum(losses), len(losses)
    lost = broken > won + EPSILON if sideways else broken > won - EPSILON
    shown = broken * _BROKEN + (count - broken) * _PASSED >= _HARMFUL_FROM
    attempt.harmful = shown or (lost and broken >= FEW_BROKEN)
    if lost:
        what = "more than it fixes" if sideways else "as much as it fixes"
        attempt.decide(REJECTED, f"it breaks {what}: {attempt.compared[Split.TRAIN]}")
    guards = sum(rate >= passes for rate in before.values())
    return lost or shown or won > guards * (broken + _HIDDEN) / max(count, 1)

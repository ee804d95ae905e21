"""The Pareto front over cases: a text stays while it is the best on some case.

As GEPA does it (arXiv 2507.19457, section 3, algorithm 2): what a text is best at is not lost because another
has the better mean, and texts that lead on more cases are the parent more often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.records import EPSILON, Split

Merit = Callable[[EvaluatedCandidate], tuple[float, int]]


def pareto_front(versions: Sequence[EvaluatedCandidate], merit: Merit) -> dict[str, list[EvaluatedCandidate]]:
    """The versions that do best on each training case, without those that others make superfluous.

    A version is superfluous when each case that it leads on has another leader that stays. The worst by
    `merit` are removed first; the best of all always stays.
    """
    rates = {version.id: _rates(version) for version in versions}
    cases = dict.fromkeys(case for known in rates.values() for case in known)
    leaders = {case: _best([v for v in versions if case in rates[v.id]], rates, case) for case in cases}
    ranked = sorted(versions, key=merit)
    for version in ranked[:-1]:
        led = [case for case, best in leaders.items() if version in best]
        if all(len(leaders[case]) > 1 for case in led):
            for case in led:
                leaders[case].remove(version)
    return leaders


def front_members(
    leaders: Mapping[str, Sequence[EvaluatedCandidate]], best: EvaluatedCandidate
) -> list[EvaluatedCandidate]:
    """All versions of a front, each once, in the order of their ids' first lead; `best` is always one."""
    found = {version.id: version for versions in leaders.values() for version in versions}
    return list({best.id: best, **found}.values())


def draw_parent(
    leaders: Mapping[str, Sequence[EvaluatedCandidate]], rng: random.Random, best: EvaluatedCandidate
) -> EvaluatedCandidate:
    """A parent: a version is drawn as often as it leads on cases."""
    tickets = [version for versions in leaders.values() for version in versions]
    return rng.choice(tickets) if tickets else best


def find_complementary_pair(
    versions: Sequence[EvaluatedCandidate], rng: random.Random
) -> tuple[EvaluatedCandidate, EvaluatedCandidate] | None:
    """Two versions, each better than the other on some training case; None when there are none."""
    pairs = [
        (one, two)
        for number, one in enumerate(versions)
        for two in versions[number + 1 :]
        if cases_won(one, two) and cases_won(two, one)
    ]
    return rng.choice(pairs) if pairs else None


def cases_won(one: EvaluatedCandidate, two: EvaluatedCandidate) -> set[str]:
    """The training cases on which `one` does better than `two`."""
    theirs = _rates(two)
    return {case for case, rate in _rates(one).items() if rate > theirs.get(case, rate) + EPSILON}


def _rates(version: EvaluatedCandidate) -> dict[str, float]:
    return {r.case.id: r.rate for r in version.evidence(Split.TRAIN) if r.rate is not None}


def _best(
    versions: Sequence[EvaluatedCandidate], rates: Mapping[str, Mapping[str, float]], case: str
) -> list[EvaluatedCandidate]:
    highest = max(rates[version.id][case] for version in versions)
    return [version for version in versions if rates[version.id][case] >= highest - EPSILON]

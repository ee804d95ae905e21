"""How the failing cases are divided among requests: few in each, and as different as possible."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TypeVar

from pytest_promptopt.failures import FailedCase, Feedback
from pytest_promptopt.optimizer.proposal.requests import shown_size

Item = TypeVar("Item")

#: Characters of the failing cases of one request (about 700 tokens): of one-line failures these are dozens.
MAX_CHARACTERS = 2_800

#: Failing cases that are enough to learn from; a share with fewer of its own borrows from the others.
ENOUGH_CASES = 6


def requests_for(failing: int, most: int) -> int:
    """How many candidates are worth asking for: each needs failing cases of its own to learn from."""
    return max(1, min(most, -(-failing // ENOUGH_CASES)))


def deal_cases(
    feedback: Feedback, count: int, *, seed: str, shown: Mapping[str, int]
) -> list[tuple[FailedCase, ...]]:
    """Deal the failing cases to `count` requests: those shown least so far first, then as diverse as can be.

    Where there is room each share has all of them; else the shares are disjoint, and one that would be too
    small to learn from is filled up from the others. The same arguments give the same deal.

    :param shown: how often each case was shown before.
    """
    order = _diverse(feedback, random.Random(seed))
    order.sort(key=lambda case: shown.get(case.case, 0))
    all_fit = sum(map(shown_size, order)) <= MAX_CHARACTERS
    shares: list[tuple[FailedCase, ...]] = []
    for number in range(count):
        own = order[number::count]
        others = [case for case in order if case not in own]
        shares.append((*own, *others) if all_fit else _fitting(own, others))
    return shares


def _fitting(own: Sequence[FailedCase], others: Sequence[FailedCase]) -> tuple[FailedCase, ...]:
    """As many of `own` as there is room for, but always enough to learn from."""
    room = MAX_CHARACTERS
    share: list[FailedCase] = []
    for case in own:
        room -= shown_size(case)
        if room < 0 and len(share) >= ENOUGH_CASES:
            break
        share.append(case)
    return (*share, *others[: max(0, ENOUGH_CASES - len(share))])


def _diverse(feedback: Feedback, rng: random.Random) -> list[FailedCase]:
    """All failing cases, so ordered that every start of the list covers many categories and confusions."""
    cases = sorted(feedback.failed, key=lambda case: case.case)
    rng.shuffle(cases)
    categories: dict[str, dict[tuple[str | None, str], list[FailedCase]]] = {}
    for case in cases:
        confusions = categories.setdefault(case.category, {})
        confusions.setdefault((case.expected, case.actual), []).append(case)
    largest_first = (sorted(category.values(), key=len, reverse=True) for category in categories.values())
    by_category = sorted(map(_interleaved, largest_first), key=len, reverse=True)
    return _interleaved(by_category)


def _interleaved(queues: Iterable[Sequence[Item]]) -> list[Item]:
    missing = object()
    rows = zip_longest(*queues, fillvalue=missing)
    return [item for row in rows for item in row if item is not missing]  # type: ignore[misc]

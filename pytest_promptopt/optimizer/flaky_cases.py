"""Cases that pass and fail under one and the same text: named to the user, kept from steering a search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from pytest_promptopt.records import CaseResult, FlakyCase, Status


def flaky_cases(results: Iterable[CaseResult]) -> tuple[FlakyCase, ...]:
    """The cases with both a passed and a failed sample among `results`, which are all of one text.

    A case may come several times: its samples are counted together.
    """
    passed, counted = Counter[str](), Counter[str]()
    for result in results:
        for outcome in result.counted:
            counted[result.case.id] += 1
            passed[result.case.id] += outcome.status is Status.PASSED
    return tuple(FlakyCase(case, passed[case], n) for case, n in counted.items() if 0 < passed[case] < n)


def steady_results(results: Sequence[CaseResult], known: Collection[str] = ()) -> tuple[CaseResult, ...]:
    """`results`, which are all of one text, without those of flaky cases; all of them if no other case fails.

    :param known: cases that are flaky under another text.
    """
    noisy = {case.case for case in flaky_cases(results)}.union(known)
    kept = tuple(result for result in results if result.case.id not in noisy)
    return kept if any(result.failing for result in kept) else tuple(results)

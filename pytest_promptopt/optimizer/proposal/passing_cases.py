"""Which passing cases a request shows: they teach little, but warn the optimizer of what must not break."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, zip_longest

from pytest_promptopt.optimizer.label_rates import expected_of
from pytest_promptopt.optimizer.proposal.requests import PassingCase
from pytest_promptopt.records import CaseResult

#: Passing cases in one request: those broken lately, two per label where labels are expected, or any two.
MAX_GUARDS = 6
PER_LABEL = 2
MIN_GUARDS = 2

#: Characters of passing cases that were not broken (about 100 tokens).
MAX_CHARACTERS = 400

#: Characters of the words around a case.
LABELS = 25


def passing_cases_to_show(
    results: Sequence[CaseResult], broken: Sequence[str], prompt: str, *, confused: Collection[str] = ()
) -> tuple[PassingCase, ...]:
    """Cases that pass now, with what `prompt` answered, none twice: those of `broken` first.

    :param broken: cases that candidates broke, the most urgent first.
    :param confused: labels that failing cases expect or got; their cases go before others.
    """
    passing = _passing(results, prompt)
    urgent = [passing.pop(case) for case in broken if case in passing][:MAX_GUARDS]
    chosen = list(urgent)
    room = MAX_CHARACTERS
    for case in _by_label(passing.values(), confused, urgent):
        room -= sum(map(len, case.inputs.values())) + len(case.actual) + LABELS
        if len(chosen) >= MAX_GUARDS or (room < 0 and len(chosen) >= MIN_GUARDS):
            break
        if not any(case.inputs == other.inputs for other in chosen):
            chosen.append(case)
    return tuple(chosen)


def _passing(results: Iterable[CaseResult], prompt: str) -> dict[str, PassingCase]:
    passing: dict[str, PassingCase] = {}
    for result in results:
        calls = (
            (outcome, call) for outcome in result.counted for call in outcome.calls if call.prompt == prompt
        )
        if (result.rate or 0.0) >= 1.0 and (found := next(calls, None)):
            outcome, call = found
            expected = expected_of(outcome) or ""
            passing[result.case.id] = PassingCase(result.case.id, call.variables, call.words, expected)
    return passing


def _by_label(
    cases: Iterable[PassingCase], confused: Collection[str], chosen: Iterable[PassingCase]
) -> Iterator[PassingCase]:
    """One of each label, then another one of each; cases of no known label count as one label.

    :param chosen: cases that stand for their labels already.
    """
    labels: defaultdict[str, list[PassingCase]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: case.id):
        labels[case.expected].append(case)
    wanted = Counter({label: PER_LABEL for label in labels})
    wanted.subtract(case.expected for case in chosen)
    folded = {label.strip().casefold() for label in confused}
    order = sorted(labels, key=lambda label: (label.strip().casefold() not in folded, label))
    rows = zip_longest(*(labels[label][: max(0, wanted[label])] for label in order))
    return (case for case in chain.from_iterable(rows) if case is not None)

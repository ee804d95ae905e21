"""The stages at fault as the user is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from pytest_promptopt.optimizer.stage_faults.known_runs import KnownRun, known_runs, stage_names
from pytest_promptopt.optimizer.stage_faults.naming import StageFault, name_stages
from pytest_promptopt.optimizer.stage_faults.signs import (
    ending_signs,
    grade_signs,
    repeating_signs,
    run_signs,
)
from pytest_promptopt.records import CaseResult
from pytest_promptopt.results import StageAtFault
from pytest_promptopt.text import plural

#: What shows the stage of a case whose own runs say nothing.
OTHERS = "others"

#: What a line counts together.
_COUNTED = {"text": "run", "swap": "run", "repeats": "run", "ended": "run"}


def tell_faults(named: Mapping[str, StageFault], searched: Collection[str]) -> tuple[StageAtFault, ...]:
    """The stage at fault of each case.

    :param searched: the prompts that may be rewritten.
    """
    return tuple(_told(fault, searched) for fault in named.values())


def tell_by_results(results: Sequence[CaseResult]) -> dict[str, StageAtFault]:
    """The stages at fault of failing cases by these results alone: grades, and samples that pass."""
    failing: dict[str, KnownRun] = {}
    runs: dict[str, list[KnownRun]] = {}
    for result in results:
        runs[result.case.id] = known_runs(result.case, result.outcomes)
        if result.failing is not None and (found := known_runs(result.case, [result.failing])):
            failing[result.case.id] = found[0]
    passed = [run for each in runs.values() for run in each if run.passed]
    signs = {
        case: (
            *ending_signs(run),
            *grade_signs(run),
            *run_signs(run, runs[case]),
            *repeating_signs(run, passed),
        )
        for case, run in failing.items()
    }
    named = name_stages({case: run.names for case, run in failing.items()}, signs)
    return {case: _told(fault, fault.shares) for case, fault in named.items()}


def without_faults_of_others(prompt: str, results: Sequence[CaseResult]) -> list[CaseResult]:
    """`results` but for the failing cases that another stage than this prompt is at fault of."""
    faults = tell_by_results(results)
    stages = {case: fault.stage for case, fault in faults.items()}
    return [result for result in results if stages.get(result.case.id) in (None, "", prompt)]


def faults_line(told: Iterable[StageAtFault]) -> str:
    """``plan 9 of 12 failing cases, code 2, unclear 1 (shown by 7 runs, 3 grades, 0 judged)``."""
    faults = list(told)
    counts = Counter(fault.stage for fault in faults if fault.stage)
    if not counts:
        return f"unclear for {plural(len(faults), 'failing case')}" * bool(faults)
    names = stage_names(counts)
    frozen = {fault.stage for fault in faults if fault.frozen}
    parts = [
        f"{names[stage]}{' (frozen)' * (stage in frozen)} {count}" for stage, count in counts.most_common()
    ]
    parts[0] += f" of {plural(len(faults), 'failing case')}"
    unclear = sum(not fault.stage for fault in faults)
    parts += [f"unclear {unclear}"] * bool(unclear)
    shown = Counter(_COUNTED.get(fault.by, fault.by) for fault in faults)
    kinds = f"{plural(shown['run'], 'run')}, {plural(shown['grade'], 'grade')}, {shown['judge']} judged"
    alike = f", {shown[OTHERS]} like the others" * bool(shown[OTHERS])
    return f"{', '.join(parts)} (shown by {kinds}{alike})"


def _told(fault: StageFault, searched: Collection[str]) -> StageAtFault:
    stage, sign = fault.stage, fault.shown_by
    if stage is None:
        return StageAtFault(fault.case)
    by = OTHERS if sign is None else str(sign.kind)
    why = "cases that fail like it have it" if sign is None else sign.why
    if sign is not None and not sign.speaks_for:
        why = f"{sign.stage}: {why}"
    return StageAtFault(fault.case, stage, fault.shares[stage], by, why, stage not in searched)

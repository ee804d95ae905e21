"""What known runs say of the stages of a failing case: grades, other texts, where a passing run parts.

The counterfactual question is that of fault localization by interventions: what would have passed with
another answer of this stage and all else as it was. Compare Zeller, "Isolating cause-effect chains from
computer programs" (2002); here every run was paid for already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pytest_promptopt.optimizer.stage_faults.known_runs import KnownRun, Texts


class Kind(StrEnum):
    """Where a sign comes from."""

    GRADE = "grade"
    #: It ended before another stage was called.
    ENDED = "ended"
    #: The case was run under other texts of one stage.
    TEXT = "text"
    #: It was run with another answer of one stage.
    SWAP = "swap"
    #: The stage repeats what it is given, here and where cases pass.
    REPEATS = "repeats"
    JUDGE = "judge"


@dataclass(frozen=True)
class Sign:
    """One piece of evidence about a failing case.

    :param stage: the prompt that it is about.
    :param speaks_for: whether it says that the stage is at fault; else that it is not.
    :param tried: how many texts or answers it sums up.
    :param weight: the share of a whole piece of evidence that it is: a text that mends none of five cases
        is one bad text and not five.
    :param why: it in words.
    """

    kind: Kind
    stage: str
    speaks_for: bool
    why: str
    tried: int = 1
    weight: float = 1.0


def ending_signs(run: KnownRun) -> list[Sign]:
    """The only stage that was called, where a check of its answer ended the case."""
    if len(run.names) > 1:
        return []
    return [Sign(Kind.ENDED, run.names[0], True, "the case ends before it calls another stage")]


def grade_signs(run: KnownRun) -> list[Sign]:
    """The first stage in the order of calls that is graded below 1; full grades speak for the others."""
    lost = next((name for name in run.names if run.grades.get(name, 1.0) < 1.0), None)
    if lost is not None:
        return [Sign(Kind.GRADE, lost, True, f"its test graded it {run.grades[lost]:g}")]
    full = [name for name in run.names if name in run.grades]
    return [Sign(Kind.GRADE, name, False, "its test graded it 1") for name in full]


def repeating_signs(run: KnownRun, passed: Sequence[KnownRun]) -> list[Sign]:
    """The stages that do nothing but repeat their input, as they do where cases pass."""
    found = []
    for stage in filter(lambda each: each.repeats_input, run.stages):
        same = [other.by_name[stage.prompt] for other in passed if stage.prompt in other.by_name]
        if same and all(other.repeats_input for other in same):
            why = f"it repeats its input, as in {len(same)} runs that pass"
            found.append(Sign(Kind.REPEATS, stage.prompt, False, why, tried=len(same)))
    return found


def share_of_one(count: int) -> float:
    """The share of a whole sign that each of `count` signs from one source is worth.

    Half of what they say they have in common: the design effect of Kish, "Survey Sampling" (1965), with an
    intraclass correlation of a half.
    """
    return 2 / (1 + count)


def parted_at(failing: KnownRun, passing: KnownRun) -> str | None:
    """The first stage that answered otherwise to the same input, if no later stage had another text.

    Of these only the stage can be what made the difference.
    """
    for number, stage in enumerate(failing.stages):
        other = passing.by_name.get(stage.prompt)
        if other is None or other.given != stage.given:
            return None
        if other.answers != stage.answers:
            later = set(failing.names[number + 1 :])
            return None if later & changed_stages(failing.texts, passing.texts) else stage.prompt
    return None


def changed_stages(one: Texts, other: Texts) -> set[str]:
    """The stages whose texts differ."""
    return {name for name, _ in one ^ other}


def only_change(run: KnownRun, bases: Iterable[Texts]) -> str | None:
    """The stage whose text alone differs from one of `bases`; None where there is no such."""
    for base in bases:
        changed = changed_stages(base, run.texts) & set(run.names)
        if len(changed) == 1:
            return changed.pop()
    return None


def run_signs(
    failing: KnownRun,
    runs: Iterable[KnownRun],
    mended: Mapping[tuple[str, Texts], tuple[int, int]] | None = None,
    bases: Sequence[Texts] = (),
) -> list[Sign]:
    """What other runs of the same case say.

    :param mended: of each stage and the texts with another one for it alone: how many of the failing cases
        it mends, and of how many that were tried.
    :param bases: further texts that the case fails under, which others were made from.
    """
    passed_by, failed_by = dict[str, int](), dict[str, float]()
    parted: list[str] = []
    for run in runs:
        if (stage := only_change(run, [failing.texts, *bases])) is not None:
            passed_by.setdefault(stage, 0)
            failed_by.setdefault(stage, 0.0)
            passed_by[stage] += run.passed
            if not run.passed:
                some, tried = (mended or {}).get((stage, run.texts), (0, 1))
                failed_by[stage] += 1.0 if some else share_of_one(tried)
        elif run.passed and (found := parted_at(failing, run)) is not None:
            parted.append(found)
    return [*_text_signs(passed_by, failed_by), *_parted_signs(parted)]


def _text_signs(passed_by: Mapping[str, int], failed_by: Mapping[str, float]) -> list[Sign]:
    signs = []
    for stage, passed in passed_by.items():
        if passed:
            tried = passed + round(failed_by[stage])
            why = f"it passes under another text of this stage ({passed} of {tried})"
            signs.append(Sign(Kind.TEXT, stage, True, why, tried=tried))
        else:
            why = "no other text of this stage mends it"
            signs.append(Sign(Kind.TEXT, stage, False, why, weight=failed_by[stage]))
    return signs


def _parted_signs(parted: Sequence[str]) -> list[Sign]:
    return [
        Sign(Kind.SWAP, stage, True, "a passing run has the same input here and another answer")
        for stage in dict.fromkeys(parted)
    ]

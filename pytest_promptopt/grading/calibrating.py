"""Asking a judge what it says of labelled answers."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pytest_promptopt.errors import UnusableVerdict
from pytest_promptopt.grading.calibration import (
    Calibration,
    LabelledPreference,
    LabelledScore,
    LabelledVerdict,
    calibrate,
)
from pytest_promptopt.grading.certificates import Certificate
from pytest_promptopt.grading.judge import Judge
from pytest_promptopt.grading.judge_trust import judge_fingerprint
from pytest_promptopt.labels import AnyLabel, Label
from pytest_promptopt.models.unpatched_asyncio import asyncio

#: So many labels are judged once more, to see whether the judge repeats itself.
REPEATED = 50


@dataclass(frozen=True)
class Unusable:
    """A label that the judge gave no verdict on: it counts neither for nor against it."""

    label: AnyLabel
    why: str


@dataclass(frozen=True)
class JudgeTest:
    """What came of the labels of one file."""

    certificates: tuple[Certificate, ...]
    unusable: tuple[Unusable, ...]

    @property
    def calibrations(self) -> tuple[Calibration, ...]:
        """One for each certificate."""
        return tuple(each.calibration for each in self.certificates)


async def run_judge_test(
    judge: Judge, file: Sequence[AnyLabel], *, seen: Collection[AnyLabel] = (), seed: int
) -> JudgeTest:
    """Have the labels of a file judged, all at once. Raises `ModelError` when one gets no answer.

    :param seen: those that an optimization of the judge's prompt may have seen: they prove nothing.
    """
    setup = judge.setup
    labels = [label for label in file if label not in seen]
    again = set(random.Random(f"{seed}-repeated").sample(range(len(labels)), min(REPEATED, len(labels))))
    found = await asyncio.gather(
        *(_judged(judge, label, twice=number in again) for number, label in enumerate(labels))
    )
    verdicts = [each for each in found if not isinstance(each, Unusable)]
    certificates = tuple(
        Certificate(judge_fingerprint(setup, setup.rubric(each.criterion), each.kind, file), each)
        for each in calibrate(verdicts, threshold=setup.threshold)
    )
    unusable = tuple(each for each in found if isinstance(each, Unusable))
    return JudgeTest(certificates, unusable)


async def _judged(judge: Judge, label: AnyLabel, *, twice: bool) -> LabelledVerdict | Unusable:
    try:
        samples = [replace(judge, sample=number) for number in range(1 + twice)]
        given = {"reference": label.reference, "context": label.context}
        if isinstance(label, Label):
            first, *others = [await each.acall(label.answer, label.criterion, **given) for each in samples]
            said = "; ".join(first.issues) or first.reasons
            return LabelledScore(label, first.score, tuple(each.score for each in others), said)
        pairs = [await each.acompare(label.a, label.b, label.criterion, **given) for each in samples]
        orders = [each.preferred for each in pairs]
        return LabelledPreference(label, orders[0], tuple(orders[1:]))
    except UnusableVerdict as error:
        return Unusable(label, str(error))

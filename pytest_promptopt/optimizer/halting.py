"""When a search ends: every stop has a name and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import EPSILON, Split

#: The search is on a plateau when its pass rate rises by less than this.
PLATEAU_GAIN = 0.02

#: After so many iterations in a row without a new, usable candidate the search ends.
FRUITLESS_ITERATIONS = 3


class Phase(StrEnum):
    """Which cases decide now; the confirmation asks training and validation cases once more."""

    TRAINING = "training"
    VALIDATION = "validation"
    CONFIRMATION = "confirmation"
    HELDOUT = "heldout"


#: The cases that decide in each phase of a search.
DECIDING = {Phase.TRAINING: Split.TRAIN, Phase.VALIDATION: Split.VALIDATION}


class HaltReason(StrEnum):
    """The names of all stops."""

    PASSING = "nothing failing"
    TARGET = "target reached"
    PLATEAU = "plateau"
    RETURNS = "diminishing returns"
    ITERATIONS = "max iterations"
    NO_PROGRESS = "no progress"
    NO_EVIDENCE = "no evidence"
    BUDGET = "budget used up"
    REFUSED = "refused by the provider"
    DOWN = "provider down"
    UNREACHED = "prompt not used"
    WORKERS = "no worker left"
    ERROR = "error"
    INTERRUPTED = "interrupted"


def halt_of(error: ModelError) -> HaltReason:
    """The name of the stop that follows when `error` leaves nobody to ask."""
    return {ErrorKind.BUDGET: HaltReason.BUDGET, ErrorKind.UNAVAILABLE: HaltReason.DOWN}.get(
        error.kind, HaltReason.REFUSED
    )


@dataclass(frozen=True)
class Stop:
    """Why a search ended: the name of the rule (a `HaltReason`, or a plugin's own word) and its sentence."""

    halt: str
    why: str


@dataclass(frozen=True)
class SearchProgress:
    """Where a search stands after an iteration; what a halting rule decides on.

    :param iterations: how many were made so far, in all phases.
    :param rates: the incumbent's pass rate on the cases of `phase` when each iteration began, and now.
    :param fruitless: iterations in a row, up to now, that brought no new and usable candidate.
    """

    phase: Phase
    iterations: int
    rates: Sequence[float]
    fruitless: int
    target: float
    plateau: int
    max_iterations: int


def halt_by_default(progress: SearchProgress) -> Stop | None:
    """The default rules, the most telling first; None to go on."""
    rate, cases = progress.rates[-1], f"{progress.phase} cases"
    if rate >= progress.target - EPSILON:
        return Stop(HaltReason.TARGET, f"{rate:.0%} of the {cases} pass; the target is {progress.target:.0%}")
    if progress.fruitless >= FRUITLESS_ITERATIONS:
        why = f"{progress.fruitless} iterations in a row brought no candidate that was both usable and new"
        return Stop(HaltReason.NO_PROGRESS, why)
    gain = max(progress.rates) - max(progress.rates[: -progress.plateau], default=0.0)
    if len(progress.rates) > progress.plateau and gain < PLATEAU_GAIN - EPSILON:
        why = (
            f"the pass rate on the {cases} rose by {100 * gain:.1f} points over the last "
            f"{progress.plateau} iterations, less than {100 * PLATEAU_GAIN:.0f}"
        )
        return Stop(HaltReason.PLATEAU, why)
    if progress.iterations >= progress.max_iterations:
        return Stop(
            HaltReason.ITERATIONS,
            f"the limit --promptopt-max-iterations={progress.max_iterations} is reached",
        )
    return None

"""How near the rate that a search shows is to the truth, whenever a text becomes best."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.records import Overlay, Split
from pytest_promptopt.strategies.refine.search import RefineSearch
from tests.refine_world import watched


@dataclass(frozen=True)
class Shown:
    """One text that has become best at the end of an iteration.

    :param rate: the rate shown, of the training cases.
    :param low: and `high`: of its 90 % interval, `sd` its standard deviation.
    :param truth: the rate on all training cases.
    :param share: of the training cases that were run.
    """

    rate: float
    low: float
    high: float
    sd: float
    truth: float
    share: float

    @property
    def error(self) -> float:
        return self.rate - self.truth

    @property
    def inside(self) -> bool:
        return self.low - 1e-9 <= self.truth <= self.high + 1e-9


def watching(truth: Callable[[Overlay], float]) -> tuple[type[RefineSearch], list[Shown]]:
    """A search that notes what it shows, and the list where it does.

    :param truth: the rate of texts on all training cases.
    """
    seen: list[Shown] = []
    noted = {"0"}

    def look(best: EvaluatedCandidate, search: RefineSearch) -> None:
        if best.id not in noted:
            noted.add(best.id)
            seen.append(_shown(best, len(search.group.ids(Split.TRAIN)), truth(best.overlay)))

    return watched(look), seen


def _shown(best: EvaluatedCandidate, cases: int, truth: float) -> Shown:
    shown = best.foresight
    return Shown(shown.rate, shown.low, shown.high, shown.sd, truth, len(best.evidence(Split.TRAIN)) / cases)


@dataclass(frozen=True)
class Calibration:
    """What many of them say together.

    :param bias: the mean error; `spread`: the standard deviation of the errors over their own.
    :param held: the share of 90 % intervals that hold the truth. Both without those that were run whole,
        where there is nothing to foresee; None when there are fewer than two others.
    :param share: the median share of the training cases that were run.
    """

    events: int
    bias: float
    spread: float | None
    held: float | None
    share: float

    @classmethod
    def of(cls, shown: Sequence[Shown]) -> Calibration:
        """Raises `statistics.StatisticsError` when there is none."""
        scaled = [each.error / each.sd for each in shown if each.sd]
        inside = [each.inside for each in shown if each.sd]
        return cls(
            events=len(shown),
            bias=statistics.mean(each.error for each in shown),
            spread=statistics.stdev(scaled) if len(scaled) > 1 else None,
            held=statistics.mean(inside) if len(inside) > 1 else None,
            share=statistics.median(each.share for each in shown),
        )

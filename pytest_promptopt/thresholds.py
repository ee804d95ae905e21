"""What a prompt must reach or keep: its pass rate, cost and latency; and what was measured beside limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, fsum

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records import EPSILON, Call, CaseResult
from pytest_promptopt.settings import Settings


class GateName(StrEnum):
    """As marks, case files, settings and reports call it."""

    PASS_RATE = "min_pass_rate"
    COST = "max_cost_per_case"
    LATENCY = "p95_latency"


@dataclass(frozen=True)
class Threshold:
    """What one prompt must reach, or keep.

    :param value: a share from 0 to 1, US dollars or seconds.
    :param where: who asks for it: ``file:line`` of a mark, or the option's name.
    """

    value: float
    where: str


Thresholds = Mapping[GateName, Threshold]

#: A prompt, and what a mark asks of it.
Marked = tuple[str, GateName, Threshold]


def thresholds_of(settings: Settings) -> dict[GateName, Threshold]:
    """What the settings ask of every prompt."""
    given = {
        GateName.PASS_RATE: (settings.min_pass_rate, "--promptopt-min-pass-rate"),
        GateName.COST: (settings.max_cost_per_case, "--promptopt-max-cost-per-case"),
        GateName.LATENCY: (settings.p95_latency, "--promptopt-p95-latency"),
    }
    return {name: Threshold(value, where) for name, (value, where) in given.items() if value is not None}


def thresholds(
    prompts: Iterable[str], marked: Iterable[Marked], defaults: Thresholds | None = None
) -> dict[str, dict[GateName, Threshold]]:
    """What each prompt must reach, by its name; a mark beats `defaults`, which are of the options.

    :param marked: what every mark asks; equal ones may repeat.
    :raises SettingsError: when two marks ask for different values of one prompt; names both lines.
    """
    found: dict[str, dict[GateName, Threshold]] = {}
    for prompt, name, threshold in marked:
        first = found.setdefault(prompt, {}).setdefault(name, threshold)
        if first.value != threshold.value:
            raise SettingsError(
                f"{prompt}: two different {name}: {first.value:g} at {first.where} and "
                f"{threshold.value:g} at {threshold.where}; a prompt has one, write it once"
            )
    if defaults:
        for prompt in prompts:
            found[prompt] = {**defaults, **found.get(prompt, {})}
    return found


@dataclass(frozen=True)
class LimitGate:
    """What was measured beside a limit.

    :param model: whose answers; None where those of all models count together.
    :param measured: US dollars that one run of a case costs on average, or the seconds within which 95 of 100
        answers came; None where nothing was measured, or not every price is known.
    :param runs: of cases, that were measured; `calls` in them; `unpriced` of these have no known price.
    """

    name: GateName
    limit: Threshold
    model: str | None
    measured: float | None
    runs: int
    calls: int
    unpriced: int

    @property
    def held(self) -> bool:
        """Without evidence it does not hold."""
        return self.measured is not None and self.measured <= self.limit.value + EPSILON


def limit_gates(
    prompt: str, results: Sequence[CaseResult], asked: Thresholds, model: str | None
) -> Iterator[LimitGate]:
    """What these cases say of each limit of a prompt; nothing where all of them were skipped.

    An answer from the cache cost and took what it did when it was paid.
    """
    runs = [
        [call for call in outcome.calls if call.prompt == prompt]
        for result in results
        for outcome in result.counted
    ]
    if not runs and not any(result.errored for result in results):
        return
    calls = [call for run in runs for call in run]
    unpriced = sum(call.cost is None for call in calls)
    cost = fsum(call.cost or 0.0 for call in calls) / len(runs) if calls and not unpriced else None
    measured = {GateName.COST: cost, GateName.LATENCY: _p95(calls)}
    for name, limit in asked.items():
        if name in measured:
            yield LimitGate(name, limit, model, measured[name], len(runs), len(calls), unpriced)


def _p95(calls: Sequence[Call]) -> float | None:
    """The nearest-rank percentile: the least latency that at least 95 of 100 answers keep."""
    ordered = sorted(call.latency for call in calls)
    return ordered[ceil(0.95 * len(ordered)) - 1] if ordered else None

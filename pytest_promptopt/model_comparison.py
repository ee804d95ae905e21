"""Which model answers a prompt better: the same cases under each, and what of the difference is chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import EPSILON, Call, CaseResult, Spend, named_without_model
from pytest_promptopt.statistics import adjusted_for_pairs, paired_test


@dataclass(frozen=True)
class ModelFigures:
    """What one model did, and what it took.

    :param check: its cases.
    :param cost: US dollars that its answers were paid with, now or when they came into the cache; None where
        no price is known. Answers of unknown price are the `unpriced` of its `calls`.
    :param latency: the median over its answers, in seconds; None without one.
    """

    model: str
    check: PromptCheck
    calls: int
    cost: float | None
    unpriced: int
    latency: float | None

    @property
    def spend(self) -> Spend:
        """Its calls and what is known of their price; tokens are not counted."""
        return Spend(self.calls, cost=self.cost or 0.0, unpriced=self.unpriced)


@dataclass(frozen=True)
class ModelDifference:
    """Two models on the cases that both have answered; `first` passes at least as many.

    :param gain: how much higher the pass rate of `first` is there, a share from 0 to 1.
    :param better: on how many of the `cases` it has the higher rate; `worse` the lower one.
    :param p: exact and two-sided.
    :param adjusted: `p` corrected for all pairs of models that are compared.
    :param test: the name of the test that `p` is of.
    """

    first: str
    second: str
    cases: int
    gain: float
    better: int
    worse: int
    p: float
    adjusted: float
    test: str

    def is_shown(self, alpha: float) -> bool:
        """Whether `first` is better by more than chance explains, however many models are compared."""
        return self.adjusted <= alpha and self.gain > 0


@dataclass(frozen=True)
class ModelComparison:
    """Several models that answer the same cases of the same prompts.

    :param prompts: several where they are the stages of a pipeline, whose cases and so rates are the same.
    :param differences: of each pair of models, the least likely by chance first.
    :param rates: of each case, by the id that it has under all models, and by model; without those that have
        no usable answer.
    """

    prompts: tuple[str, ...]
    models: tuple[ModelFigures, ...]
    differences: tuple[ModelDifference, ...]
    rates: Mapping[str, Mapping[str, float]]

    @property
    def differing(self) -> Mapping[str, Mapping[str, float]]:
        """The cases that do not have the same rate under all models that answered them."""
        return {
            case: rates
            for case, rates in self.rates.items()
            if max(rates.values()) - min(rates.values()) > EPSILON
        }


def compare_models(checks: Sequence[PromptCheck]) -> list[ModelComparison]:
    """For each prompt, or all prompts of a pipeline, that has the same cases under several models."""
    together: dict[tuple[tuple[str, str], ...], list[PromptCheck]] = {}
    for check in checks:
        if len(check.by_model) > 1:
            asked = tuple((result.case.id, result.case.model_of(check.prompt)) for result in check.results)
            together.setdefault(asked, []).append(check)
    found = map(_compare, together.values())
    return [each for each in found if any(difference.cases for difference in each.differences)]


def model_figures(check: PromptCheck) -> list[ModelFigures]:
    """What each model did that answered cases of a prompt."""
    return [_figures(model, part, {check.prompt}) for model, part in check.by_model.items()]


def figures_of(check: PromptCheck) -> ModelFigures:
    """What all models together did."""
    return _figures("", check, {check.prompt})


def _compare(checks: Sequence[PromptCheck]) -> ModelComparison:
    prompts, parts = {check.prompt for check in checks}, checks[0].by_model
    rates = {model: _rates(part.results, checks[0].prompt) for model, part in parts.items()}
    cases = dict.fromkeys(case for of_model in rates.values() for case in of_model)
    return ModelComparison(
        prompts=tuple(check.prompt for check in checks),
        models=tuple(_figures(model, part, prompts) for model, part in parts.items()),
        differences=_differences({model: of_model for model, of_model in rates.items() if of_model}),
        rates={
            case: {model: of_model[case] for model, of_model in rates.items() if case in of_model}
            for case in cases
        },
    )


def _rates(results: Sequence[CaseResult], prompt: str) -> dict[str, float]:
    """By the id of a case under all models."""
    named = named_without_model(results, prompt)
    return {name: result.rate for name, result in named if result.rate is not None}


def _calls(check: PromptCheck, prompts: set[str]) -> list[Call]:
    outcomes = (outcome for result in check.results for outcome in result.outcomes)
    return [call for outcome in outcomes for call in outcome.calls if call.prompt in prompts]


def _figures(model: str, check: PromptCheck, prompts: set[str]) -> ModelFigures:
    calls = _calls(check, prompts)
    costs = [call.cost for call in calls if call.cost is not None]
    return ModelFigures(
        model=model,
        check=check,
        calls=len(calls),
        cost=math.fsum(costs) if costs else None,
        unpriced=len(calls) - len(costs),
        latency=median(call.latency for call in calls) if calls else None,
    )


def _differences(rates: Mapping[str, Mapping[str, float]]) -> tuple[ModelDifference, ...]:
    pairs = list(combinations(rates, 2))
    changes = [[rates[b][case] - rates[a][case] for case in rates[a] if case in rates[b]] for a, b in pairs]
    tests = [paired_test(each) for each in changes]
    adjusted = adjusted_for_pairs([test.either for test in tests], len(rates))
    found = []
    for (one, other), each, test, corrected in zip(pairs, changes, tests, adjusted, strict=True):
        gain = math.fsum(each) / len(each) if each else 0.0
        up, down = (sum(side * change > EPSILON for change in each) for side in (1, -1))
        turned = gain <= 0  # `one` is at least as good
        found.append(
            ModelDifference(
                first=one if turned else other,
                second=other if turned else one,
                cases=len(each),
                gain=abs(gain),
                better=down if turned else up,
                worse=up if turned else down,
                p=test.either,
                adjusted=corrected,
                test=test.test,
            )
        )
    return tuple(sorted(found, key=lambda difference: (difference.adjusted, difference.p)))

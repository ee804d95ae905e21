"""One text for several models: it may not be shown to be worse with any of them, however much others gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_promptopt.optimizer.acceptance import Comparison, compare, score_split
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.records import Case, CaseResult, Split
from pytest_promptopt.results import ModelChange
from pytest_promptopt.settings import Settings
from pytest_promptopt.statistics import paired_test
from pytest_promptopt.text import plural

#: A case under the text as it was and under the new one.
Pair = tuple[CaseResult, CaseResult]


def model_of(case: Case) -> str:
    """Who answers a case; of a pipeline the models of its stages."""
    return " and ".join(dict.fromkeys(filter(None, case.models)))


def by_model(results: Iterable[CaseResult]) -> dict[str, list[CaseResult]]:
    """The results of each model; cases that are left to the application go together as well."""
    found: dict[str, list[CaseResult]] = {}
    for result in results:
        found.setdefault(model_of(result.case), []).append(result)
    return found


def changes_by_model(
    scored: Mapping[Split, tuple[Sequence[CaseResult], Sequence[CaseResult]]],
) -> tuple[ModelChange, ...]:
    """The pass rates with each of several models.

    :param scored: of each split the results under the text as it was and under the new one.
    """
    models = list(by_model(result for before, _ in scored.values() for result in before))
    if len(models) < 2:
        return ()
    found = []
    for model in models:
        parts = (
            (split, by_model(before).get(model, ()), by_model(after).get(model, ()))
            for split, (before, after) in scored.items()
        )
        scores = (score_split(split, len(old), old, new) for split, old, new in parts if old)
        found.append(ModelChange(model, tuple(scores)))
    return tuple(found)


@dataclass(frozen=True)
class ModelFall:
    """A model with which a text is shown to be worse; `why` says so."""

    model: str
    why: str


def lost_cases(
    before: Sequence[CaseResult], after: Sequence[CaseResult], settings: Settings
) -> tuple[str, ...]:
    """The cases for which a text may not be taken: those that it breaks, where none may be broken; else those
    that it breaks with one of several models with which it is shown to be worse.
    """
    if settings.no_regressions:
        return compare(before, after).broken
    found = _fallen(before, after, settings.alpha)
    return () if found is None else found[1].broken


def newest_without_fall(
    versions: Sequence[EvaluatedCandidate],
    lost: Callable[[EvaluatedCandidate], Sequence[str]],
    notes: list[str],
) -> EvaluatedCandidate:
    """The last of `versions` that loses nothing that may not be lost; the first, if all others do.

    :param notes: told which ones were left.
    """
    for number in range(len(versions) - 1, 0, -1):
        if not (cases := lost(versions[number])):
            return versions[number]
        if versions[number].id not in {version.id for version in versions[number + 1 :]}:
            notes.append(
                f"candidate {versions[number].id} is worse with one of the models: it fails "
                f"{plural(len(cases), 'case')} that the original passed ({cases[0]})"
            )
    return versions[0]


def fall_in_search(
    before: Sequence[CaseResult], after: Sequence[CaseResult], alpha: float
) -> ModelFall | None:
    """A model with which the results that the text was chosen by show it to be worse."""
    found = _fallen(before, after, alpha)
    return None if found is None else _fall(found[0], f"on train and validation cases, {_counted(found[1])}")


def fall_on_unseen(pairs: Sequence[Pair], alpha: float) -> ModelFall | None:
    """A model with which answers show a text to be worse that nothing was chosen by: fresh and held-out ones.

    The test is that of the mean changes of the cases; a case may be in several pairs.
    """
    gains: dict[str, dict[str, list[float]]] = {}
    for before, after in pairs:
        if before.rate is not None and after.rate is not None:
            of_model = gains.setdefault(model_of(before.case), {})
            of_model.setdefault(before.case.id, []).append(after.rate - before.rate)
    for model, cases in gains.items() if len(gains) > 1 else ():
        changes = [math.fsum(each) / len(each) for each in cases.values()]
        if math.fsum(changes) < 0 and paired_test(changes).worse <= alpha:
            points = 100 * math.fsum(changes) / len(changes)
            where = f"on fresh answers and held-out cases, {points:+.1f} points over"
            return _fall(model, f"{where} {plural(len(changes), 'case')}")
    return None


def _fallen(
    before: Sequence[CaseResult], after: Sequence[CaseResult], alpha: float
) -> tuple[str, Comparison] | None:
    parts: Mapping[str, Sequence[CaseResult]] = by_model(before)
    new = by_model(after)
    for model, part in parts.items() if len(parts) > 1 else ():
        paired = compare(part, new.get(model, ()), split=Split.TRAIN)
        if paired.gain < 0 and paired_test(paired.changes).worse <= alpha:
            return model, paired
    return None


def _counted(paired: Comparison) -> str:
    return (
        f"{paired.before:.1%} to {paired.after:.1%} of {plural(paired.cases, 'case')}, {len(paired.fixed)} "
        f"fixed, {len(paired.broken)} broken"
    )


def _fall(model: str, how: str) -> ModelFall:
    return ModelFall(model, f"with {model or 'no model named'} it is worse than the original: {how}")

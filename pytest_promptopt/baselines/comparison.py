"""Two measurements of the same cases: what changed, and how much of that chance explains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

from pytest_promptopt.baselines.measured import Measured
from pytest_promptopt.records import EPSILON
from pytest_promptopt.statistics import PairedTest, paired_test

#: Why a case that stands in both is not compared, by the field of `Measured` that differs.
REASONS = {
    "inputs": "its inputs have changed",
    "test": "its test has changed",
    "judge": "its judge has changed",
}


@dataclass(frozen=True)
class Pair:
    """A case before and now, both with a usable answer.

    :param weight: how much it counts, now.
    """

    before: Measured
    now: Measured
    weight: float = 1.0

    @property
    def change(self) -> float:
        return (self.now.rate or 0.0) - (self.before.rate or 0.0)

    @property
    def flaky(self) -> bool:
        """Whether it both passed and failed under one and the same text."""
        return self.before.flaky or self.now.flaky

    @property
    def same_answers(self) -> bool:
        """Whether all answers are known to be the same, whole."""
        return bool(self.before.answers) and self.before.answers == self.now.answers

    @property
    def fixed(self) -> bool:
        return not self.flaky and not self.before.passed and self.now.passed > 0

    @property
    def broken(self) -> bool:
        return not self.flaky and self.before.passed > 0 and not self.now.passed


@dataclass(frozen=True)
class PromptComparison:
    """A prompt with one model, now and before.

    :param pairs: the cases that can be compared; `unanswered` those that one of the two has no answer of.
    :param new: cases (as named in a report) that only the present run has; `removed` those that only the
        baseline has, without those that were `left_out` of this run. Both name the `changed` cases as well.
    :param changed: why a case that both have is not compared (`REASONS`) -> these cases.
    :param other_models: who answered its cases before, where none of them was answered by this model.
    """

    prompt: str
    model: str
    pairs: tuple[Pair, ...] = ()
    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    other_models: tuple[str, ...] = ()

    @property
    def change(self) -> float:
        """Of the mean rate over all pairs, by their weights."""
        whole = math.fsum(pair.weight for pair in self.pairs)
        return math.fsum(pair.weight * pair.change for pair in self.pairs) / whole if whole else 0.0

    @cached_property
    def test(self) -> PairedTest:
        most = max((pair.weight for pair in self.pairs), default=1.0)
        return paired_test([pair.weight / most * pair.change for pair in self.pairs])

    @property
    def p(self) -> float:
        """The one-sided p-value of the change, in its own direction."""
        return self.test.worse if self.change < 0 else self.test.better

    @property
    def rates(self) -> tuple[float, float]:
        """The mean rates over all pairs, before and now."""
        whole = math.fsum(pair.weight for pair in self.pairs) or 1.0
        before, now = (
            math.fsum(pair.weight * (side(pair).rate or 0.0) for pair in self.pairs) for side in _SIDES
        )
        return before / whole, now / whole

    @property
    def same_text(self) -> bool:
        """Whether the text is known to be the same in all pairs."""
        return all(pair.before.text and pair.before.text == pair.now.text for pair in self.pairs)

    @property
    def fixed(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.fixed)

    @property
    def broken(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.broken)

    @property
    def flaky(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.flaky)

    @property
    def categories(self) -> Mapping[str, tuple[int, int]]:
        """How many pairs fail in each way, before and now; the largest change first."""
        before, now = (Counter(side(pair).category for pair in self.pairs) for side in _SIDES)
        names = sorted({*before, *now} - {""}, key=lambda name: (-abs(now[name] - before[name]), name))
        return {name: (before[name], now[name]) for name in names}

    @property
    def costs(self) -> tuple[float, float] | None:
        """Of the pairs whose price is known on both sides, before and now; None without any."""
        known = [(p.before.cost, p.now.cost) for p in self.pairs]
        both = [(b, n) for b, n in known if b is not None and n is not None]
        return (math.fsum(b for b, _ in both), math.fsum(n for _, n in both)) if both else None

    @property
    def latencies(self) -> tuple[float, float] | None:
        """The medians over the pairs, before and now; None without any."""
        known = [(p.before.latency, p.now.latency) for p in self.pairs]
        both = [(b, n) for b, n in known if b is not None and n is not None]
        return (median(b for b, _ in both), median(n for _, n in both)) if both else None

    @property
    def incomparable(self) -> bool:
        """Whether the baseline has cases of the prompt and none of them can be held against this run."""
        lost = bool(self.removed or self.changed or self.other_models or self.unanswered)
        return not self.pairs and lost

    def is_worse(self, alpha: float, margin: float) -> bool:
        """Whether a loss is shown, and is above the margin.

        :param margin: a share, not points.
        """
        return self.test.worse <= alpha and -self.change > margin + EPSILON


_SIDES: tuple[Callable[[Pair], Measured], ...] = (lambda pair: pair.before, lambda pair: pair.now)


def compare_measured(
    before: Iterable[Measured],
    now: Sequence[Measured],
    *,
    weights: Mapping[tuple[str, str, str], float] | None = None,
    is_left_out: Callable[[str], bool] = lambda case: False,
) -> list[PromptComparison]:
    """Each prompt and model of the present run against what was measured before, in the order of `now`.

    :param weights: by `Measured.key`; 1 for the others.
    :param is_left_out: whether the present run was not to run a case.
    """
    earlier: dict[tuple[str, str], dict[str, Measured]] = {}
    for case in before:
        earlier.setdefault((case.prompt, case.model), {})[case.case] = case
    present: dict[tuple[str, str], dict[str, Measured]] = {}
    for case in now:
        present.setdefault((case.prompt, case.model), {})[case.case] = case
    found = []
    for (prompt, model), cases in present.items():
        known = earlier.get((prompt, model), {})
        others = tuple(m for (p, m) in earlier if p == prompt and m != model and (p, m) not in present)
        found.append(
            _compare(prompt, model, known, cases, weights or {}, is_left_out, () if known else others)
        )
    return found


def _compare(
    prompt: str,
    model: str,
    before: Mapping[str, Measured],
    now: Mapping[str, Measured],
    weights: Mapping[tuple[str, str, str], float],
    is_left_out: Callable[[str], bool],
    others: tuple[str, ...],
) -> PromptComparison:
    pairs: list[Pair] = []
    unanswered: list[str] = []
    changed: dict[str, list[str]] = {}
    for name in [case for case in now if case in before]:
        was, is_ = before[name], now[name]
        if reason := _what_changed(was, is_):
            changed.setdefault(reason, []).append(name)
        elif was.scores and is_.scores:
            pairs.append(Pair(was, is_, weights.get(is_.key, 1.0)))
        else:
            unanswered.append(name)
    others_now = {name for some in changed.values() for name in some}
    gone = [name for name in before if name not in now]
    return PromptComparison(
        prompt=prompt,
        model=model,
        pairs=tuple(pairs),
        new=_named(now, lambda name: name not in before or name in others_now),
        removed=(*(name for name in gone if not is_left_out(name)), *_named(now, others_now.__contains__)),
        left_out=tuple(name for name in gone if is_left_out(name)),
        unanswered=tuple(unanswered),
        changed={reason: tuple(names) for reason, names in changed.items()},
        other_models=others,
    )


def _named(cases: Collection[str], which: Callable[[str], bool]) -> tuple[str, ...]:
    return tuple(filter(which, cases))


def _what_changed(before: Measured, now: Measured) -> str:
    """Why they cannot be compared; empty when they can. What is not known is not held against them."""
    for name, reason in REASONS.items():
        was, is_ = getattr(before, name), getattr(now, name)
        unknown = not (was and is_) and (name != "judge" or not (before.scores and now.scores))
        if was != is_ and not unknown:
            return reason
    return ""

"""How a judge did on answers that people have labelled: agreement, bias and repeatability, per criterion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_promptopt.grading.agreement import Confusion, Estimate, proportion
from pytest_promptopt.grading.judge_bias import (
    BiasTest,
    ComparedLengths,
    GradedLength,
    Share,
    length_bias,
    length_bias_of_pairs,
    position_bias,
)
from pytest_promptopt.labels import Kind, Label, PairLabel
from pytest_promptopt.verdicts import Better, preferred_in_both


@dataclass(frozen=True)
class LabelledScore:
    """What a judge says of a labelled answer.

    :param score: the verdict that counts, from 0 to 1.
    :param repeated: scores of further verdicts on the same answer.
    :param said: why, in the judge's words.
    """

    label: Label
    score: float
    repeated: tuple[float, ...] = ()
    said: str = ""


@dataclass(frozen=True)
class LabelledPreference:
    """What a judge says of a labelled pair.

    :param orders: which answer it preferred with `a` shown first, and with `b` shown first.
    :param repeated: further verdicts on the same pair.
    """

    label: PairLabel
    orders: tuple[Better, Better]
    repeated: tuple[tuple[Better, Better], ...] = ()

    @property
    def better(self) -> Better:
        return preferred_in_both(self.orders)


LabelledVerdict = LabelledScore | LabelledPreference


@dataclass(frozen=True)
class Calibration:
    """A judge's test on one criterion.

    :param threshold: a score from which on an answer passes; pairs have none.
    :param ties: pairs of which it prefers none in both orders. Each counts as an error.
    :param position: None for single answers.
    :param repeats: of the verdicts asked for again, those that came out the same.
    :param disagreements: verdicts that contradict the person, the farthest off first; not stored.
    """

    criterion: str
    kind: Kind
    threshold: float
    confusion: Confusion
    ties: int
    length: BiasTest
    position: BiasTest | None
    repeats: Share
    disagreements: tuple[LabelledVerdict, ...] = field(default=(), compare=False, repr=False)

    @property
    def repeatability(self) -> Estimate:
        return proportion(self.repeats.count, self.repeats.of)

    @property
    def biases(self) -> tuple[BiasTest, ...]:
        return (self.length,) if self.position is None else (self.length, self.position)

    def to_json(self) -> dict[str, Any]:
        """Counts, and for readers the figures that follow from them."""
        table = self.confusion
        figures = {
            "precision": table.precision,
            "recall": table.recall,
            "accuracy": table.accuracy,
            "kappa": table.kappa,
            "repeatability": self.repeatability,
        }
        return {
            "criterion": self.criterion,
            "kind": self.kind,
            "threshold": self.threshold,
            "labels": table.labels,
            "confusion": asdict(table),
            "ties": self.ties,
            "repeats": [self.repeats.count, self.repeats.of],
            "length_bias": self.length.to_json(),
            "position_bias": None if self.position is None else self.position.to_json(),
            "figures": {name: _rounded(figure) for name, figure in figures.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """The same calibration, its figures computed anew; raises KeyError, TypeError or ValueError."""
        if data["kind"] not in ("answers", "pairs"):
            raise ValueError(f"kind is {data['kind']!r}")
        position = data["position_bias"]
        count, of = data["repeats"]
        return cls(
            str(data["criterion"]),
            data["kind"],
            float(data["threshold"]),
            Confusion(**{name: _count(value) for name, value in data["confusion"].items()}),
            _count(data["ties"]),
            BiasTest.from_json(data["length_bias"]),
            None if position is None else BiasTest.from_json(position),
            Share(_count(count), _count(of)),
        )


def calibrate(verdicts: Iterable[LabelledVerdict], *, threshold: float) -> tuple[Calibration, ...]:
    """A calibration for each criterion, of its answers and its pairs apart, in the order of the labels."""
    answers: dict[str, list[LabelledScore]] = {}
    pairs: dict[str, list[LabelledPreference]] = {}
    for verdict in verdicts:
        if isinstance(verdict, LabelledScore):
            answers.setdefault(verdict.label.criterion, []).append(verdict)
        else:
            pairs.setdefault(verdict.label.criterion, []).append(verdict)
    return (
        *(_of_answers(criterion, group, threshold) for criterion, group in answers.items()),
        *(_of_pairs(criterion, group, threshold) for criterion, group in pairs.items()),
    )


def _of_answers(criterion: str, verdicts: Sequence[LabelledScore], threshold: float) -> Calibration:
    passed = [verdict.score >= threshold for verdict in verdicts]
    good = [verdict.label.good for verdict in verdicts]
    wrong = [v for v, passes in zip(verdicts, passed, strict=True) if passes != v.label.good]
    wrong.sort(key=lambda verdict: -abs(verdict.score - threshold))
    again = [
        (other >= threshold) == passes
        for verdict, passes in zip(verdicts, passed, strict=True)
        for other in verdict.repeated
    ]
    lengths = (len(verdict.label.answer) for verdict in verdicts)
    return Calibration(
        criterion,
        "answers",
        threshold,
        _confusion(good, passed),
        0,
        length_bias([GradedLength(*each) for each in zip(lengths, good, passed, strict=True)]),
        None,
        Share(sum(again), len(again)),
        tuple(wrong),
    )


def _of_pairs(criterion: str, verdicts: Sequence[LabelledPreference], threshold: float) -> Calibration:
    found = [verdict.better == verdict.label.better for verdict in verdicts]
    lengths = [_lengths(verdict, right) for verdict, right in zip(verdicts, found, strict=True)]
    a_is_better = [verdict.label.better == "a" for verdict in verdicts]
    # A tie is as wrong as the other answer: the person could tell.
    a_is_judged = [is_a == right for is_a, right in zip(a_is_better, found, strict=True)]
    wrong = [verdict for verdict, right in zip(verdicts, found, strict=True) if not right]
    wrong.sort(key=lambda verdict: verdict.better == "tie")
    again = [preferred_in_both(other) == verdict.better for verdict in verdicts for other in verdict.repeated]
    return Calibration(
        criterion,
        "pairs",
        threshold,
        _confusion(a_is_better, a_is_judged),
        sum(verdict.better == "tie" for verdict in verdicts),
        length_bias_of_pairs(lengths),
        position_bias(verdict.orders for verdict in verdicts),
        Share(sum(again), len(again)),
        tuple(wrong),
    )


def _lengths(verdict: LabelledPreference, found: bool) -> ComparedLengths:
    a, b = len(verdict.label.a), len(verdict.label.b)
    return ComparedLengths(*((a, b) if verdict.label.better == "a" else (b, a)), found)


def _confusion(labelled: Sequence[bool], judged: Sequence[bool]) -> Confusion:
    both = [*zip(labelled, judged, strict=True)]
    return Confusion(
        tp=both.count((True, True)),
        fp=both.count((False, True)),
        fn=both.count((True, False)),
        tn=both.count((False, False)),
    )


def _rounded(figure: Estimate) -> dict[str, Any]:
    return {
        name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(figure).items()
    }


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value

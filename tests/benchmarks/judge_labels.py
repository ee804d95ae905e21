"""Calibration on public labels: 419 pairs of LLMBar with recorded verdicts of GPT-4, beside a recount.

    python -m tests.benchmarks.judge_labels --llmbar FOLDER [--evaluators Vanilla,CoT,Swap]

FOLDER is a checkout of github.com/princeton-nlp/LLMBar (Zeng et al. 2024, "Evaluating Large Language Models
at Evaluating Instruction Following", MIT). Each pair was judged in both orders. The rows `1st` and `2nd` are
the verdicts in one order alone, `both` counts a pair only when both orders agree, as a calibration does.
The positive class is that the first answer of the file is better.

Every figure is counted twice: as `--promptopt-calibrate` would, and by `Recount`, which shares no code with
it: fractions instead of floats, kappa from disagreements, intervals by bisection over whole sums of
binomials. The interval of kappa is recounted from the same uniform numbers; `kappa, labels drawn` draws
labels with other numbers, so it only comes close. Exit status 1 when anything differs in the fourth digit, or
the share of pairs judged alike in both orders is not what the repository says (`equal` in its
`statistics.json`, "positional agreement rate" in the paper).

The repository's own kappa counts a verdict for the second answer as a class of its own ("0"), so it is not
compared.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import comb
from pathlib import Path
from typing import Any

from pytest_promptopt.grading.agreement import DRAWS, Estimate
from pytest_promptopt.grading.calibration import Calibration, LabelledPreference, calibrate
from pytest_promptopt.labels import PairLabel
from pytest_promptopt.verdicts import Better

SUBSETS = (
    "Natural",
    "Adversarial/Neighbor",
    "Adversarial/GPTInst",
    "Adversarial/GPTOut",
    "Adversarial/Manual",
)
ROWS = ("1st", "2nd", "both")
FOUR_DIGITS = 0.00005

NAMES: dict[object, Better] = {"1": "a", "2": "b", 1: "a", 2: "b"}


@dataclass(frozen=True)
class Recorded:
    """A pair and what was recorded: the better answer, and the winner in each order, by their numbers."""

    texts: tuple[str, str]
    better: int
    winners: tuple[str, str]

    def verdict(self, criterion: str, number: int) -> LabelledPreference:
        a, b = self.texts
        better = "a" if self.better == 1 else "b"
        label = PairLabel(a, b, criterion, "a" if better == "a" else "b", None, None, None, "", str(number))
        orders = [NAMES.get(winner, "tie") for winner in self.winners]
        return LabelledPreference(label, (orders[0], orders[1]))


def recorded(folder: Path, evaluator: str) -> list[Recorded]:
    results = json.loads((folder / f"evaluators/GPT-4/{evaluator}/result.json").read_text(encoding="utf-8"))
    pairs = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    found = []
    for pair, result in zip(pairs, results, strict=True):
        last = result["results"][-1]
        winners = (last["swap = False"]["winner"], last["swap = True"]["winner"])
        found.append(Recorded((pair["output_1"], pair["output_2"]), pair["label"], winners))
    return found


def counted(pairs: Sequence[Recorded], row: str) -> Calibration:
    """As the package counts; of one order alone, as if both had said the same."""
    verdicts = []
    for number, pair in enumerate(pairs):
        first, second = pair.winners
        winners = {"1st": (first, first), "2nd": (second, second), "both": (first, second)}[row]
        verdicts.append(Recorded(pair.texts, pair.better, winners).verdict("follows the instruction", number))
    (calibration,) = calibrate(verdicts, threshold=0.7)
    return calibration


class Recount:
    """The same figures from the records, in another way."""

    def __init__(self, pairs: Sequence[Recorded], row: str) -> None:
        said: list[tuple[int, int]] = []
        for pair in pairs:
            votes = {"1st": pair.winners[:1], "2nd": pair.winners[1:], "both": pair.winners}[row]
            right = all(vote == str(pair.better) for vote in votes)
            said.append((pair.better, pair.better if right else 3 - pair.better))
        self.said = said

    def figures(self) -> dict[str, tuple[float, float, float]]:
        called_first = [truth for truth, word in self.said if word == 1]
        is_first = [word for truth, word in self.said if truth == 1]
        low, high = self._kappa_bounds()
        return {
            "precision": self._share(called_first.count(1), len(called_first)),
            "recall": self._share(is_first.count(1), len(is_first)),
            "accuracy": self._share(sum(t == w for t, w in self.said), len(self.said)),
            "kappa": (kappa_by_disagreement(*self._cells(self.said)), low, high),
        }

    def _cells(self, said: Sequence[tuple[int, int]]) -> list[int]:
        return [said.count(cell) for cell in ((1, 1), (2, 1), (1, 2), (2, 2))]

    def _share(self, count: int, of: int) -> tuple[float, float, float]:
        """A bound is the chance at which what was seen, or more (less), has 2.5 %, to 2^-20."""
        low, high = Fraction(0), Fraction(1)
        if count:
            low = bisected(lambda p: binomial_tail(range(count, of + 1), of, p) > Fraction(1, 40))
        if count < of:
            high = bisected(lambda p: binomial_tail(range(count + 1), of, p) < Fraction(1, 40))
        return count / of, float(low), float(high)

    def _kappa_bounds(self) -> tuple[float, float]:
        """From the uniform numbers that the package takes: cell by cell, the first number that reaches it."""
        cells = self._cells(self.said)[:3]
        draws, rng = [], random.Random(0)
        tables: dict[tuple[int, int], list[float]] = {}
        for _ in range(DRAWS):
            left, rest, drawn = len(self.said), len(self.said), []
            for place, cell in enumerate(cells):
                table = tables.setdefault((place, left), cumulated(left, cell / rest))
                uniform = rng.random()
                drawn.append(next((k for k, chance in enumerate(table) if chance >= uniform), left))
                left, rest = left - drawn[-1], rest - cell
            draws.append(kappa_by_disagreement(*drawn, left))
        draws.sort()
        return draws[DRAWS // 40], draws[-DRAWS // 40 - 1]

    def kappa_by_labels(self, draws: int = 2000) -> tuple[float, float]:
        """Labels drawn with replacement, from other random numbers."""
        rng = random.Random(1)
        labels = (rng.choices(self.said, k=len(self.said)) for _ in range(draws))
        found = sorted(kappa_by_disagreement(*self._cells(said)) for said in labels)
        return found[draws // 40], found[-draws // 40 - 1]


@cache
def kappa_by_disagreement(both_first: int, said_first: int, is_first: int, both_second: int) -> float:
    """One minus the disagreements seen over those that chance would bring.

    :param said_first: the judge alone says that the first is better; `is_first`, the label alone.
    """
    size = both_first + said_first + is_first + both_second
    truths, words = both_first + is_first, both_first + said_first
    seen = Fraction(said_first + is_first, size)
    chance = Fraction(truths * (size - words) + (size - truths) * words, size * size)
    return float(1 - seen / chance)


def binomial_tail(counts: range, of: int, chance: Fraction) -> Fraction:
    """Exact; `chance` is a whole number over a power of two, so the sum is one of whole numbers."""
    top, bottom = chance.numerator, chance.denominator
    return Fraction(sum(comb(of, k) * top**k * (bottom - top) ** (of - k) for k in counts), bottom**of)


def bisected(is_above: Any) -> Fraction:
    low, high = 0, 1 << 20
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_above(Fraction(middle, 1 << 20)) else (middle, high)
    return Fraction(low + high, 1 << 21)


def cumulated(of: int, chance: float) -> list[float]:
    total, sums = 0.0, []
    for k in range(of):
        total += comb(of, k) * chance**k * (1 - chance) ** (of - k)
        sums.append(total)
    return sums


def published_agreement(folder: Path, evaluator: str) -> tuple[int, int]:
    statistics = json.loads(
        (folder / f"evaluators/GPT-4/{evaluator}/statistics.json").read_text(encoding="utf-8")
    )
    count, _, of = statistics["equal"].split("=")[0].strip().partition(" / ")
    return int(count), int(of)


def compare(name: str, pairs: Sequence[Recorded]) -> Iterator[str]:
    """Print the rows of a subset; what differs."""
    for row in ROWS:
        calibration, recount = counted(pairs, row), Recount(pairs, row)
        own: dict[str, Estimate] = {
            key: getattr(calibration.confusion, key) for key in ("precision", "recall", "accuracy", "kappa")
        }
        shown = []
        for key, again in recount.figures().items():
            estimate = (own[key].value, own[key].low, own[key].high)
            shown.append(f"{key} " + " ".join(f"{figure:.4f}" for figure in estimate))
            if max(abs(one - other) for one, other in zip(estimate, again, strict=True)) > FOUR_DIGITS:
                yield f"{name} {row}: {key} is {estimate}, recounted {again}"
        table = calibration.confusion
        cells = f"{table.tp}/{table.fp}/{table.fn}/{table.tn}"
        print(f"  {name:22} {row:5} {cells:16} {' | '.join(shown)}")
        if row == "both":
            low, high = recount.kappa_by_labels()
            print(f"  {'':28} kappa, labels drawn: {low:.4f} {high:.4f}; ties {calibration.ties}")
            if max(abs(low - own["kappa"].low), abs(high - own["kappa"].high)) > 0.03:
                yield f"{name}: kappa by drawing labels is {low:.3f} to {high:.3f}"
            position, length = calibration.position, calibration.length
            assert position is not None
            print(
                f"  {'':28} position: first {position.shares[0]}, second {position.shares[1]}, "
                f"p {position.p:.4f}{' REJECTED' if position.rejects else ''}; length: missed "
                f"{length.shares[0]} shorter, {length.shares[1]} longer, p {length.p:.4f}"
                f"{' REJECTED' if length.rejects else ''}"
            )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llmbar", type=Path, required=True)
    parser.add_argument("--evaluators", default="Vanilla,CoT,Swap")
    args = parser.parse_args()
    wrong: list[str] = []
    for evaluator in args.evaluators.split(","):
        print(f"GPT-4/{evaluator}: tp/fp/fn/tn, figures with 95 % intervals")
        everything: list[Recorded] = []
        same = total = 0
        for subset in SUBSETS:
            folder = args.llmbar / "Dataset/LLMBar" / subset
            pairs = recorded(folder, evaluator)
            everything += pairs
            wrong += compare(subset, pairs)
            alike = sum(pair.winners[0] == pair.winners[1] for pair in pairs)
            published = published_agreement(folder, evaluator)
            print(f"  {'':28} both orders alike: {alike} of {len(pairs)}, published {published}")
            if (alike, len(pairs)) != published:
                wrong.append(f"{subset}: {alike} of {len(pairs)} alike in both orders, published {published}")
            same, total = same + alike, total + len(pairs)
        wrong += compare("all", everything)
        print(f"  {'':28} both orders alike: {same} of {total} ({same / total:.1%})")
    print("\n".join(wrong) if wrong else "every figure agrees with its recount to four digits")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())

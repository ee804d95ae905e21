"""Judges with a known accuracy and a known bias, and the labels that they are tested with."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import median

from pytest_promptopt.grading.judge_bias import ComparedLengths, GradedLength
from pytest_promptopt.verdicts import Better, preferred_in_both


@dataclass(frozen=True)
class AnswerWorld:
    """Single answers. Logarithms of lengths are normal.

    :param good: the share of good answers.
    :param longer: by how many standard deviations good answers are longer than bad ones.
    :param limit: the share of answers that a judge finds short, when it goes by length.
    """

    good: float = 0.5
    longer: float = 0.0
    limit: float = 0.5

    def draw(
        self, rng: random.Random, labels: int, *, accuracy: float, biased: float, prefers_short: bool = False
    ) -> list[GradedLength]:
        """A judge that goes by length in a share of the answers; else it is right with `accuracy`."""
        classes = [rng.random() < self.good for _ in range(labels)]
        lengths = [int(400 * math.exp(0.5 * rng.gauss(self.longer * good, 1))) for good in classes]
        limit = median(lengths) if self.limit == 0.5 else sorted(lengths)[int(self.limit * labels)]
        answers = []
        for good, length in zip(classes, lengths, strict=True):
            by_length = (length > limit) != prefers_short
            judged = by_length if rng.random() < biased else good == (rng.random() < accuracy)
            answers.append(GradedLength(length, good, judged))
        return answers


@dataclass(frozen=True)
class PairWorld:
    """Pairs of answers.

    :param longer: the share of pairs whose better answer is the longer one.
    :param much: how many times longer an answer must be for a judge to go by that.
    """

    longer: float = 0.5
    much: float = 1.0

    def draw(
        self, rng: random.Random, pairs: int, *, accuracy: float, biased: float, prefers_short: bool = False
    ) -> tuple[list[ComparedLengths], list[tuple[Better, Better]]]:
        """A judge that takes the longer answer in a share of the pairs; else it is right with `accuracy`.

        It is asked in both orders: half of its errors come in one order only, whichever that is.
        """
        compared: list[ComparedLengths] = []
        orders: list[tuple[Better, Better]] = []
        for _ in range(pairs):
            short, long = sorted(int(400 * math.exp(0.5 * rng.gauss(0, 1))) for _ in range(2))
            long += long == short
            is_longer = rng.random() < self.longer
            better, worse = (long, short) if is_longer else (short, long)
            if rng.random() < biased and long >= self.much * short:
                right = (is_longer != prefers_short,) * 2
            else:
                right = (rng.random() < accuracy,) * 2
                if not right[0] and rng.random() < 0.5:
                    right = (True, False) if rng.random() < 0.5 else (False, True)
            asked: tuple[Better, Better] = ("a" if right[0] else "b", "a" if right[1] else "b")
            orders.append(asked)
            compared.append(ComparedLengths(better, worse, preferred_in_both(asked) == "a"))
        return compared, orders

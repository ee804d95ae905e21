"""What is kept of a case: its scores, a piece of its answer, and what it was measured with."""

from __future__ import annotations

import ast
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from textwrap import dedent

from pytest_promptopt.records import EPSILON, Call, CaseResult, Outcome, Status, named_without_model
from pytest_promptopt.text import cut_middle, encodable, one_line

#: Characters of an answer that are kept: enough to see what kind of answer it is, in one line of a file.
MAX_ANSWER = 200

#: Digits of what stands in the place of a text: two texts share them by chance once in 10**14 times.
DIGITS = 12


@dataclass(frozen=True)
class Measured:
    """One case of a prompt with one model, as it was measured.

    :param case: its id without what it says of the model.
    :param scores: of its samples that have a usable answer; 1.0 for a passed one.
    :param text: stands for the prompt, `inputs` for what the case is about, `test` for how it is checked,
        `judge` for who graded it; each is empty where it is not known or there is none.
    :param category: of its failure; empty when it passed.
    :param answer: a piece of the answer of its first failed sample, else of its first one.
    :param answers: stands for the answers of all samples, whole.
    :param cost: US dollars of its calls, those of the cache included; None when no price is known.
    :param latency: the median over its calls, in seconds; None without one.
    """

    prompt: str
    case: str
    model: str
    scores: tuple[float, ...]
    text: str = ""
    inputs: str = ""
    test: str = ""
    judge: str = ""
    category: str = ""
    answer: str = ""
    answers: str = ""
    cost: float | None = None
    latency: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by; also the order in a file."""
        return (self.prompt, self.case, self.model)

    @property
    def rate(self) -> float | None:
        return math.fsum(self.scores) / len(self.scores) if self.scores else None

    @property
    def passed(self) -> int:
        """How many of its samples passed."""
        return sum(score >= 1 - EPSILON for score in self.scores)

    @property
    def flaky(self) -> bool:
        """Whether it both passed and failed."""
        return 0 < self.passed < len(self.scores)


@dataclass(frozen=True)
class Circumstances:
    """What results do not tell by themselves.

    :param texts: prompt -> what stands for it.
    :param inputs: case (its whole id) -> what stands for what it is about.
    :param categories: prompt -> case (its whole id) -> the category of its failure.
    :param judge: what stands for the prompts of the judge.
    """

    texts: Mapping[str, str]
    inputs: Mapping[str, str]
    categories: Mapping[str, Mapping[str, str]]
    judge: str = ""


def digest(text: str) -> str:
    """What stands for a text; empty for an empty one."""
    return hashlib.sha256(encodable(text).encode()).hexdigest()[:DIGITS] if text else ""


def measure(prompt: str, results: Sequence[CaseResult], known: Circumstances) -> list[Measured]:
    """What was measured of a prompt, without cases that were skipped."""
    return [_measured(prompt, name, result, known) for name, result in named_without_model(results, prompt)]


def _measured(prompt: str, name: str, result: CaseResult, known: Circumstances) -> Measured:
    counted = result.counted
    calls = [call for outcome in counted for call in outcome.calls if call.prompt == prompt]
    costs = [call.cost for call in calls if call.cost is not None]
    answers = [_answer(outcome, prompt) for outcome in counted]
    failing = next((n for n, outcome in enumerate(counted) if outcome.status is Status.FAILED), 0)
    return Measured(
        prompt=prompt,
        case=name,
        model=result.case.model_of(prompt),
        scores=tuple(round(outcome.score, 6) for outcome in counted),
        text=known.texts.get(prompt, ""),
        inputs=known.inputs.get(result.case.id, ""),
        test=digest("\n".join(filter(None, (_source(result.outcomes), result.case.checks)))),
        judge=_judge(counted, known.judge),
        category=known.categories.get(prompt, {}).get(result.case.id, ""),
        answer=encodable(cut_middle(one_line(answers[failing]), MAX_ANSWER)) if answers else "",
        answers=digest("\0".join(answers)),
        cost=round(math.fsum(costs), 8) if costs else None,
        latency=round(median(call.latency for call in calls), 3) if calls else None,
    )


def _answer(outcome: Outcome, prompt: str) -> str:
    """The last answer of the prompt, which is what a test mostly looks at."""
    called: Iterable[Call] = (call for call in reversed(outcome.calls) if call.prompt == prompt)
    return next((call.words for call in called), "")


def _source(outcomes: Sequence[Outcome]) -> str:
    """The test without comments and layout, which change nothing."""
    written = next((outcome.check for outcome in outcomes if outcome.check), "")
    try:
        return ast.unparse(ast.parse(dedent(written)))
    except (SyntaxError, ValueError, RecursionError):
        return written


def _judge(outcomes: Sequence[Outcome], prompts: str) -> str:
    """Who has graded its answers: ``demo 3f2a...``; empty when nobody has."""
    graded = {verdict.model or "unknown" for outcome in outcomes for verdict in outcome.verdicts}
    return f"{', '.join(sorted(graded))} {prompts}".rstrip() if graded else ""

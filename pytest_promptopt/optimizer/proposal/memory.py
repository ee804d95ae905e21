"""What the optimizer is told of earlier tries: recent ones one by one, of older ones what helped."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from pytest_promptopt.failures import describe
from pytest_promptopt.optimizer.acceptance import Comparison
from pytest_promptopt.optimizer.candidates import ACCEPTED, REFUSED, Candidate
from pytest_promptopt.optimizer.label_rates import (
    describe_given_answers,
    label_tallies,
    with_expected_value,
)
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.prompts.examples import Example, examples_in, without_examples
from pytest_promptopt.records import EPSILON, CaseResult, Split
from pytest_promptopt.text import cut_end

#: Iterations whose candidates are told one by one.
RECENT_ITERATIONS = 2

#: Answers that are told of one candidate.
MAX_ANSWERS = 3

#: Characters of an older lesson.
MAX_LESSON = 160

#: The tool's own ways to make a candidate: no model gave a reason for it.
_MADE = (Kind.CUT, Kind.EXAMPLES)


@dataclass(frozen=True)
class Counts:
    """On what a candidate was run and what became of it; `str` is how it is told.

    :param failing: the cases run that failed before; `fixed` of them pass now.
    :param passing: the cases run that passed before; `broken` of them fail now.
    :param raised: how many of those that still fail have a higher rate now; `lowered` a lower one.
    """

    fixed: int = 0
    failing: int = 0
    broken: int = 0
    passing: int = 0
    raised: int = 0
    lowered: int = 0

    @property
    def gain(self) -> float:
        """In cases; one whose rate changed but not its verdict counts half."""
        return self.fixed - self.broken + (self.raised - self.lowered) / 2

    def __str__(self) -> str:
        if not self.failing and not self.passing:
            return "no case had an answer"
        fixed = f"fixed {self.fixed} of {self.failing} failing run"
        broke = f"broke {self.broken} of {self.passing} passing run"
        if self.raised or self.lowered:
            fixed += f" (of the others {self.raised} scored higher, {self.lowered} lower)"
        told = [text for text, run in ((fixed, self.failing), (broke, self.passing)) if run]
        return ", ".join(told) + ", no passing case was run" * (not self.passing)


@dataclass(frozen=True)
class Answered:
    """What came for a training case under a candidate that it fails; `expected` is empty if not known."""

    input: str
    expected: str
    actual: str
    broken: bool = False


@dataclass(frozen=True)
class Try:
    """What one candidate taught about one prompt.

    :param kind: how it was made: rewrite, merge, cut, examples.
    :param text: its text without examples; empty when it was refused, or differs in its examples only.
    :param ran: None when it was not run.
    :param further: the same for validation cases.
    :param reason: the optimizer's own words; empty where the tool made it.
    :param answers: training cases that it fails; `fixed` the inputs of some that it fixed.
    :param given: how often it answered what, in lines.
    :param rate: what share of all training cases it is expected to pass; None where nothing was foreseen.
    :param examples: those that stood in the text.
    """

    id: str
    kind: str
    accepted: bool
    verdict: str
    text: str = ""
    ran: Counts | None = None
    further: Counts | None = None
    reason: str = ""
    why: str = ""
    answers: tuple[Answered, ...] = ()
    fixed: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    rate: float | None = None
    examples: tuple[Example, ...] = ()

    @property
    def measured(self) -> str:
        """What was counted, or why nothing was."""
        if self.verdict == REFUSED:
            return self.why.rstrip(".")
        told = [str(self.ran)] if self.ran else []
        told += [f"about {self.rate:.0%} of all"] if self.ran and self.rate is not None else []
        told += [f"on cases not shown: {self.further}"] if self.further else []
        return "; ".join(told) or "not run"

    def short(self) -> str:
        """The lesson in one line."""
        mark = "✓" if self.accepted else "✗"
        said = f": {self.reason}" if self.reason else ""
        beside = f" with {len(self.examples)} examples" if self.examples else ""
        text = " ".join(f"{mark} {self.kind}{beside}: {self.measured}{said}".split())
        return cut_end(text, MAX_LESSON)


def lesson_of(candidate: Candidate, prompt: str, *, flaky: Collection[str] = ()) -> Try | None:
    """What `candidate` taught about `prompt`; None if it taught nothing useful.

    Training cases alone are told of; of validation cases only how many.

    :param flaky: cases whose answers say nothing of a text.
    """
    kind = candidate.kind
    refused = candidate.verdict == REFUSED
    if refused and kind in _MADE:
        return None  # the tool's own, refused by its own rules
    results = candidate.results.get(Split.TRAIN, ())
    text = candidate.overlay.get(prompt, "")
    trained, validated = (candidate.compared.get(split) for split in (Split.TRAIN, Split.VALIDATION))
    return Try(
        id=candidate.id,
        kind=kind,
        accepted=candidate.verdict == ACCEPTED,
        verdict=candidate.verdict,
        text="" if refused or kind == Kind.EXAMPLES else without_examples(text),
        ran=count_cases(results, trained) if trained else None,
        further=count_cases(candidate.results.get(Split.VALIDATION, ()), validated) if validated else None,
        reason="" if kind in _MADE else candidate.reason,
        why=candidate.why,
        answers=_answers(
            [result for result in results if result.case.id not in flaky],
            prompt,
            broken=trained.broken if trained else (),
        ),
        fixed=_inputs(results, prompt, trained.fixed if trained else ()),
        given=tuple(describe_given_answers(label_tallies(results))),
        rate=candidate.posterior.foresight().rate if candidate.posterior else None,
        examples=tuple(examples_in(text)),
    )


def count_cases(results: Sequence[CaseResult], compared: Comparison) -> Counts:
    """Counts of what became of the cases that were run; estimates are not counted."""
    fixed, broken = set(compared.fixed), set(compared.broken)
    run = {result.case.id: result.rate >= 1.0 - EPSILON for result in results if result.rate is not None}
    failing = {case for case, passes in run.items() if case in fixed or not (passes or case in broken)}
    return Counts(
        fixed=len(fixed & run.keys()),
        failing=len(failing),
        broken=len(broken & run.keys()),
        passing=len(run) - len(failing),
        raised=len(run.keys() & compared.raised),
        lowered=len(run.keys() & compared.lowered),
    )


def _answers(results: Sequence[CaseResult], prompt: str, *, broken: Collection[str]) -> tuple[Answered, ...]:
    """Cases that fail, those broken first, and then as different answers as there are."""
    told = [
        Answered(
            input=" ".join(case.inputs.values()),
            expected=case.expected or "",
            actual=case.answer or case.actual,
            broken=case.case in broken,
        )
        for case in with_expected_value(describe(results, prompt=prompt).failed, results)
    ]
    seen: Counter[str] = Counter()
    rank: list[tuple[bool, int, int]] = []
    for number, answer in enumerate(told):
        rank.append((not answer.broken, seen[answer.actual], number))
        seen[answer.actual] += 1
    return tuple(told[number] for *_, number in sorted(rank)[:MAX_ANSWERS])


def _inputs(results: Sequence[CaseResult], prompt: str, cases: Collection[str]) -> tuple[str, ...]:
    """What the first of `cases` put into the prompt."""
    calls = (
        next((call for outcome in result.counted for call in outcome.calls if call.prompt == prompt), None)
        for result in results
        if result.case.id in cases
    )
    return tuple(" ".join(call.variables.values()) for call in calls if call is not None)[:MAX_ANSWERS]


@dataclass
class Memory:
    """What was tried for one prompt: the last iterations apart from all before."""

    _older: list[Try] = field(default_factory=list)
    _recent: deque[tuple[int, tuple[Try, ...]]] = field(default_factory=deque)

    def remember(self, iteration: int, tries: Sequence[Try]) -> None:
        if not tries:
            return
        self._recent.append((iteration, tuple(tries)))
        if len(self._recent) > RECENT_ITERATIONS:
            self._older += self._recent.popleft()[1]

    def recent(self) -> tuple[Try, ...]:
        """The last tries, the latest iteration first, and of it those that did best.

        The tool's own sets of examples come after all others: they teach a writer least.
        """
        tries = [
            each
            for _, tries in reversed(self._recent)
            for each in sorted(tries, key=lambda one: -(one.ran.gain if one.ran else -1_000))
        ]
        return tuple(sorted(tries, key=lambda one: one.kind == Kind.EXAMPLES))

    def lessons(self) -> tuple[str, ...]:
        """The older tries that helped or did harm, and how often each kind helped."""
        told = dict.fromkeys(each.short() for each in sorted(self._older, key=_weight, reverse=True))
        return (*self._by_kind(), *told)

    def _by_kind(self) -> Iterator[str]:
        everything = [*self._older, *(each for _, tries in self._recent for each in tries)]
        kinds = Counter(each.kind for each in everything)
        paid = Counter(each.kind for each in everything if each.accepted)
        if self._older:
            yield "so far: " + ", ".join(f"{kind} {paid[kind]} of {kinds[kind]} accepted" for kind in kinds)


def _weight(one: Try) -> tuple[bool, float]:
    return one.accepted, abs(one.ran.gain) if one.ran else 0.0

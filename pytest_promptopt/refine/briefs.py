"""Who is told what: each candidate has its own line of attack and its own share of the failing cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from pytest_promptopt.failures import Feedback, describe
from pytest_promptopt.records import CaseResult, Split
from pytest_promptopt.refine.attempts import Attempt, Version
from pytest_promptopt.refine.evaluator import Prompt
from pytest_promptopt.refine.flaky import flaky, steady
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import DECIDING, Phase
from pytest_promptopt.refine.memory import Memory
from pytest_promptopt.refine.patterns import Vocabulary, patterns
from pytest_promptopt.refine.policies import Policies
from pytest_promptopt.refine.requests import Brief, PassingCase
from pytest_promptopt.refine.shares import deal
from pytest_promptopt.settings import Settings

#: Passing cases in one request; they teach nothing, they only guard.
MAX_GUARDS = 6

#: Lines of attack, the one that helps most often first. Different proposals find different rules.
DIRECTIONS = (
    "State outright the rules that the failures show to be missing, each as one clear sentence.",
    "Draw the boundaries: for answers that are confused with each other, say what tells them apart.",
    "Say exactly what a correct answer looks like: its form and spelling, and what must not stand around it.",
    "Find the one or two causes behind most failures and fix these at the root; leave the rest as it is.",
    "Turn the instructions into a short ordered procedure that settles unclear cases step by step.",
    "Define every term and label the answer can contain, in words that also fit inputs not seen here.",
    "Say what to do at the edges: empty, ambiguous or contradictory inputs, and which rule goes first.",
    "Add one or two short invented examples (not from the cases) that show the rule which fails most.",
    "Rewrite the prompt from scratch around what the failures show, shorter than it is now.",
    "Cut what misleads: remove or reword instructions that could cause these failures.",
)


def directions(iteration: int, count: int) -> tuple[str, ...]:
    """The lines of attack of an iteration's candidates; iterations (from 1) take them in turn."""
    start = (iteration - 1) * count
    return tuple(DIRECTIONS[(start + number) % len(DIRECTIONS)] for number in range(count))


class Briefing:
    """What the optimizer is told about one group of prompts, and what of it is remembered.

    It sees results of training and validation cases only; held-out cases never come here.
    """

    def __init__(self, group: Group, settings: Settings, policies: Policies) -> None:
        self._group = group
        self._settings = settings
        self._policies = policies
        self._memories = {prompt.name: Memory() for prompt in group.prompts}
        self._shown: Counter[str] = Counter()
        self._broken: list[str] = []
        self._expected: set[str] = set()
        self._flaky: Collection[str] | None = None

    def briefs(self, number: int, phase: Phase, incumbent: Version) -> tuple[Brief, ...]:
        """What each candidate of iteration `number` is told; the prompts of a pipeline take turns."""
        if self._flaky is None:  # the first incumbent is the original
            self._flaky = {case.case for case in flaky(incumbent.evidence(*Split))}
        count = self._settings.candidates
        turns = self._turns(number, phase, incumbent)
        told = {
            prompt.name: self._told(prompt, number, phase, incumbent, turns.count(prompt.name))
            for prompt in self._group.prompts
        }
        return tuple(
            replace(next(told[name]), direction=direction)
            for name, direction in zip(turns, directions(number, count), strict=True)
        )

    def learn(self, number: int, attempts: Sequence[Attempt]) -> None:
        """Remember what every candidate taught; the training cases broken last are guarded first."""
        for name, memory in self._memories.items():
            if lessons := [attempt.lesson() for attempt in attempts if attempt.prompt == name]:
                memory.remember(number, lessons)
        broken = [
            case
            for attempt in attempts
            if Split.TRAIN in attempt.compared
            for case in attempt.compared[Split.TRAIN].broken
        ]
        self._broken = list(dict.fromkeys([*broken, *self._broken]))

    def _steady(self, incumbent: Version, split: Split) -> Sequence[CaseResult]:
        """Its results without flaky cases while others fail: these say nothing of its text."""
        return steady(incumbent.results[split], self._flaky or ())

    def _turns(self, number: int, phase: Phase, incumbent: Version) -> list[str]:
        """The prompt that each candidate rewrites: those with failing cases, most failing first, in turn."""
        failing = {
            prompt.name: sum(
                result.failing is not None and prompt.name in result.case.prompts
                for result in self._steady(incumbent, DECIDING[phase])
            )
            for prompt in self._group.prompts
        }
        names = sorted((name for name in failing if failing[name]), key=lambda name: -failing[name])
        names = names or list(failing)
        first = (number - 1) * self._settings.candidates
        return [names[(first + turn) % len(names)] for turn in range(self._settings.candidates)]

    def _told(
        self, prompt: Prompt, number: int, phase: Phase, incumbent: Version, count: int
    ) -> Iterator[Brief]:
        feedback = self._feedback(prompt, Split.TRAIN, incumbent)
        self._expected.update(case.expected for case in feedback.failed if case.expected is not None)
        seed = f"{self._settings.seed}/{number}/{prompt.name}"
        shares = deal(feedback, count, seed=seed, shown=self._shown)
        self._shown.update({case.case for share in shares for case in share})
        brief = Brief(
            prompt=prompt,
            prose=incumbent.text(prompt),
            direction="",
            failing=feedback.failing,
            total=feedback.total,
            categories=feedback.categories,
            passing=guards(self._steady(incumbent, Split.TRAIN), self._broken, prompt.name),
            patterns=self._patterns(prompt, incumbent, feedback) if phase is Phase.VALIDATION else (),
            lessons=self._memories[prompt.name].lines(),
        )
        return (replace(brief, failed=share) for share in shares)

    def _feedback(self, prompt: Prompt, split: Split, incumbent: Version) -> Feedback:
        results = [r for r in self._steady(incumbent, split) if prompt.name in r.case.prompts]
        custom = self._policies.categorize
        return describe(results, prompt=prompt.name, prose=incumbent.text(prompt), custom=custom)

    def _patterns(self, prompt: Prompt, incumbent: Version, training: Feedback) -> tuple[str, ...]:
        feedback = self._feedback(prompt, Split.VALIDATION, incumbent)
        known = Vocabulary([*self._expected, prompt.prose, incumbent.text(prompt)])
        # Built-in names hold no text of cases; a hook's may, so of these only what training shows as well.
        hooked = self._policies.categorize is not None
        return patterns(feedback, known, named={c.name for c in training.categories} if hooked else None)


def guards(results: Sequence[CaseResult], broken: Sequence[str], prompt: str) -> tuple[PassingCase, ...]:
    """The cases among `broken` (the most urgent first) that pass now, with what `prompt` answered to them."""
    passing = {result.case.id: result for result in results if (result.rate or 0.0) >= 1.0}
    guarded: list[PassingCase] = []
    for case in broken:
        outcomes = passing[case].counted if case in passing else ()
        calls = (call for outcome in outcomes for call in outcome.calls if call.prompt == prompt)
        if call := next(calls, None):
            guarded.append(PassingCase(case, call.variables, call.text))
    return tuple(guarded[:MAX_GUARDS])

"""Who is told what: each candidate has its own line of attack and its own share of the failing cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from pytest_promptopt.failures import Feedback, describe
from pytest_promptopt.records import CaseResult, Split
from pytest_promptopt.refine.attempts import MERGED, Attempt, Version
from pytest_promptopt.refine.evaluator import Prompt
from pytest_promptopt.refine.flaky import flaky, steady
from pytest_promptopt.refine.groups import Group
from pytest_promptopt.refine.halting import DECIDING, Phase
from pytest_promptopt.refine.memory import Memory
from pytest_promptopt.refine.patterns import Vocabulary, patterns
from pytest_promptopt.refine.policies import Policies
from pytest_promptopt.refine.redaction import redacted
from pytest_promptopt.refine.requests import Brief, PassingCase
from pytest_promptopt.refine.shares import deal, requests_for
from pytest_promptopt.settings import Settings

#: The splits whose failing cases call for candidates.
SPLITS = {Phase.TRAINING: (Split.TRAIN,), Phase.VALIDATION: (Split.TRAIN, Split.VALIDATION)}

#: Passing cases in one request; they teach little, they guard. As many as were broken lately, within limits.
MAX_GUARDS = 6
MIN_GUARDS = 2

#: Training cases shown in the validation phase since they have an answer that validation cases confuse.
MAX_ALIKE = 8

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


#: Lines of attack of an escape from a plateau: further from the text that is stuck.
ESCAPES = (DIRECTIONS[8], DIRECTIONS[4], DIRECTIONS[7], DIRECTIONS[3], DIRECTIONS[9], *DIRECTIONS)


def directions(iteration: int, count: int, *, escape: bool = False) -> tuple[str, ...]:
    """The lines of attack of an iteration's candidates; iterations (from 1) take them in turn."""
    start = 0 if escape else (iteration - 1) * count
    lines = ESCAPES if escape else DIRECTIONS
    return tuple(lines[(start + number) % len(lines)] for number in range(count))


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

    def briefs(
        self,
        number: int,
        phase: Phase,
        incumbent: Version,
        *,
        most: int | None = None,
        escape: bool = False,
        hurried: bool = False,
    ) -> tuple[Brief, ...]:
        """What each candidate of iteration `number` is told; the prompts of a pipeline take turns, one each.

        Few failing cases are not worth many candidates, except to escape from a plateau.

        :param most: candidates to ask for at most; None for as many as the settings allow.
        :param hurried: no turns: each prompt with failing cases is rewritten now.
        """
        if self._flaky is None:  # the first incumbent is the original
            self._flaky = {case.case for case in flaky(incumbent.evidence(*Split))}
        most = most or self._settings.candidates
        failing = sum(
            result.failing is not None for split in SPLITS[phase] for result in self._steady(incumbent, split)
        )
        count = most if escape else requests_for(failing, most)
        lines = directions(number, count, escape=escape)
        prompts = self._failing(phase, incumbent)
        turns = prompts if hurried else [prompts[-1 - (number - 1) % len(prompts)]]
        return tuple(
            replace(brief, direction=line)
            for prompt in turns
            for brief, line in zip(self._told(prompt, number, phase, incumbent, count), lines, strict=True)
        )

    def guarded(self, incumbent: Version, prompt: Prompt) -> tuple[PassingCase, ...]:
        """The passing cases to show beside a request about `prompt`."""
        return guards(self._steady(incumbent, Split.TRAIN), self._broken, prompt.name)

    def learn(self, number: int, attempts: Sequence[Attempt]) -> None:
        """Remember what every candidate taught; the training cases broken last are guarded first."""
        for name, memory in self._memories.items():
            if lessons := [
                attempt.lesson()
                for attempt in attempts
                if name in attempt.prompts and attempt.verdict != MERGED
            ]:
                memory.remember(number, lessons)
        broken = [
            case
            for attempt in attempts
            if Split.TRAIN in attempt.compared
            for case in attempt.compared[Split.TRAIN].broken
        ]
        self._broken = list(dict.fromkeys([*broken, *self._broken]))

    def _steady(self, incumbent: Version, split: Split) -> Sequence[CaseResult]:
        """What it is judged by, without flaky cases while others fail: these say nothing of its text.

        All that requests tell of cases is made of these results, so they are redacted here.
        """
        results = steady(incumbent.evidence(split), self._flaky or ())
        return [redacted(result, self._policies.redact) for result in results]

    def _failing(self, phase: Phase, incumbent: Version) -> Sequence[Prompt]:
        """The prompts with failing cases, all if there is none; the last of a pipeline has the first turn.

        The answers of the prompts before it are known already and cost nothing.
        """
        failing = [
            prompt
            for prompt in self._group.prompts
            if any(
                result.failing is not None and prompt.name in result.case.prompts
                for result in self._steady(incumbent, DECIDING[phase])
            )
        ]
        return failing or self._group.prompts

    def _told(
        self, prompt: Prompt, number: int, phase: Phase, incumbent: Version, count: int
    ) -> Iterator[Brief]:
        feedback = self._feedback(prompt, Split.TRAIN, incumbent)
        validation = (
            self._feedback(prompt, Split.VALIDATION, incumbent) if phase is Phase.VALIDATION else None
        )
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
            passing=(*self.guarded(incumbent, prompt), *self._alike(prompt, incumbent, validation)),
            patterns=self._patterns(prompt, incumbent, feedback, validation) if validation else (),
            lessons=self._memories[prompt.name].lines(),
        )
        return (replace(brief, failed=share) for share in shares)

    def _feedback(self, prompt: Prompt, split: Split, incumbent: Version) -> Feedback:
        results = [r for r in self._steady(incumbent, split) if prompt.name in r.case.prompts]
        custom = self._policies.categorize
        return describe(results, prompt=prompt.name, prose=incumbent.text(prompt), custom=custom)

    def _alike(
        self, prompt: Prompt, incumbent: Version, feedback: Feedback | None
    ) -> tuple[PassingCase, ...]:
        """Training cases that pass with an answer which validation cases confuse: what tells these apart."""
        confused = {
            answer.strip().casefold()
            for case in (feedback.failed if feedback else ())
            for answer in (case.expected, case.actual)
            if answer
        }
        alike = [
            PassingCase(result.case.id, call.variables, call.text)
            for result in self._steady(incumbent, Split.TRAIN)
            if (result.rate or 0.0) >= 1.0
            for call in result.counted[0].calls
            if call.prompt == prompt.name and call.text.strip().casefold() in confused
        ]
        alike.sort(key=lambda case: (self._shown[case.id], case.id))
        self._shown.update(case.id for case in alike[:MAX_ALIKE])
        return tuple(alike[:MAX_ALIKE])

    def _patterns(
        self, prompt: Prompt, incumbent: Version, training: Feedback, feedback: Feedback
    ) -> tuple[str, ...]:
        known = Vocabulary([*self._expected, prompt.prose, incumbent.text(prompt)])
        # Built-in names hold no text of cases; a hook's may, so of these only what training shows as well.
        hooked = self._policies.categorize is not None
        return patterns(feedback, known, named={c.name for c in training.categories} if hooked else None)


def guards(results: Sequence[CaseResult], broken: Sequence[str], prompt: str) -> tuple[PassingCase, ...]:
    """Cases that pass now, with what `prompt` answered: those of `broken`, the most urgent first, or any."""
    passing: dict[str, PassingCase] = {}
    for result in results:
        calls = (call for outcome in result.counted for call in outcome.calls if call.prompt == prompt)
        if (result.rate or 0.0) >= 1.0 and (call := next(calls, None)):
            passing[result.case.id] = PassingCase(result.case.id, call.variables, call.text)
    urgent = [case for case in broken if case in passing]
    others = [case for case in sorted(passing) if case not in urgent]
    chosen = urgent[:MAX_GUARDS] + others[: max(0, MIN_GUARDS - len(urgent))]
    return tuple(passing[case] for case in chosen)

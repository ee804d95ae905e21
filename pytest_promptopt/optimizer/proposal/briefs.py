"""The content of each request: a line of attack and a share of the failing cases of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_promptopt.failures import Feedback, describe
from pytest_promptopt.optimizer.candidates import ACCEPTED, MERGED, Candidate, EvaluatedCandidate
from pytest_promptopt.optimizer.flaky_cases import flaky_cases, steady_results
from pytest_promptopt.optimizer.halting import DECIDING, Phase
from pytest_promptopt.optimizer.label_rates import (
    expected_of,
    label_table,
    label_tallies,
    with_expected_value,
)
from pytest_promptopt.optimizer.model_guard import model_of
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.proposal.case_batches import ENOUGH_CASES, deal_cases, requests_for
from pytest_promptopt.optimizer.proposal.directions import (
    DIRECTIONS,
    ESCAPES,
    Directions,
    suitable_directions,
)
from pytest_promptopt.optimizer.proposal.memory import Memory, count_cases, lesson_of
from pytest_promptopt.optimizer.proposal.passing_cases import passing_cases_to_show
from pytest_promptopt.optimizer.proposal.proposer import MergeRequest
from pytest_promptopt.optimizer.proposal.requests import Brief, Part, PassingCase
from pytest_promptopt.optimizer.proposal.shown_sources import Known, abridge_source, texts_of
from pytest_promptopt.optimizer.proposal.validation_patterns import TellableWords, validation_patterns
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.redaction import redact_result
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.stage_faults.stage_faults import FaultState, StageFaults, concerning
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.prompts.examples import examples_in, without_examples
from pytest_promptopt.records import CaseResult, Split
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import cut_middle, value_text

#: The splits whose failing cases call for candidates.
SPLITS = {Phase.TRAINING: (Split.TRAIN,), Phase.VALIDATION: (Split.TRAIN, Split.VALIDATION)}

#: Passing cases of a request in the validation phase: some have an answer that validation cases confuse.
MAX_PASSING = 10

#: Different checks whose source is shown, and functions that they call.
MAX_CHECKS = 2
MAX_HELPERS = 3


@dataclass
class BriefingState:
    """What requests have told so far, and what was learned of what came of them.

    :param memories: what was tried for each prompt, by its name; `directions` the lines of attack taken.
    :param shown: how often each case was shown; `broken` the training cases broken last.
    :param expected: all expected values of training cases, which may be told.
    :param flaky: the cases whose answers say nothing of a text; None until the first answers are known.
    """

    memories: dict[str, Memory]
    directions: dict[str, Directions]
    shown: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)
    flaky: frozenset[str] | None = None

    @classmethod
    def of(cls, group: PromptGroup) -> BriefingState:
        """That of a group about which nothing was asked yet."""
        return cls({name: Memory() for name in group.names}, {name: Directions() for name in group.names})


class Briefing:
    """What the optimizer is told about one group of prompts.

    It sees results of training and validation cases only; held-out cases never come here.
    """

    def __init__(
        self,
        group: PromptGroup,
        settings: Settings,
        hooks: SearchHooks,
        state: BriefingState | None = None,
        faults: StageFaults | None = None,
    ) -> None:
        self._group = group
        self._settings = settings
        self._hooks = hooks
        self._state = state or BriefingState.of(group)
        self._faults = faults or StageFaults(group, FaultState())

    def begin(self, original: EvaluatedCandidate) -> None:
        """Its answers tell which cases are flaky; unless this is called, those of the first incumbent do."""
        self._state.flaky = frozenset(case.case for case in flaky_cases(original.evidence(*Split)))

    def briefs(
        self,
        number: int,
        phase: Phase,
        incumbent: EvaluatedCandidate,
        *,
        most: int | None = None,
        escape: bool = False,
        hurried: bool = False,
    ) -> tuple[Brief, ...]:
        """What each candidate of iteration `number` is told: of a pipeline the stage at fault is rewritten.

        Few failing cases are not worth many candidates, except to escape from a plateau.

        :param most: candidates to ask for at most; None for as many as the settings allow.
        :param hurried: all stages that are at fault of enough cases are rewritten now.
        """
        if self._state.flaky is None:
            self.begin(incumbent)
        most = most or self._settings.candidates
        failing = sum(
            result.failing is not None for split in SPLITS[phase] for result in self._steady(incumbent, split)
        )
        count = most if escape else requests_for(failing, most)
        turns = self.next_prompts(phase, incumbent, several=hurried)
        return tuple(
            brief
            for prompt in turns
            for brief in self._told(prompt, number, phase, incumbent, count, escape=escape)
        )

    def next_prompts(
        self, phase: Phase, incumbent: EvaluatedCandidate, *, several: bool = False
    ) -> Sequence[Prompt]:
        """The prompts that are to be rewritten next.

        :param several: all stages that are at fault of enough cases to learn from, see `StageFaults.turns`.
        """
        if len(self._group.prompts) == 1:
            return self._group.prompts
        if self._state.flaky is None:
            self.begin(incumbent)
        deciding = self._seen(incumbent, DECIDING[phase])
        prompts = self._failing(phase, incumbent)
        return self._faults.turns(prompts, incumbent.overlay, deciding, several=several)

    def guarded(self, incumbent: EvaluatedCandidate, prompt: Prompt) -> tuple[PassingCase, ...]:
        """The passing cases to show beside a request about `prompt`."""
        results = self._steady(incumbent, Split.TRAIN)
        failing = [outcome for result in results if (outcome := result.failing)]
        confused = {
            value_text(text)
            for outcome in failing
            for text in (expected_of(outcome), outcome.failure and outcome.failure.actual)
            if text is not None
        }
        return passing_cases_to_show(results, self._state.broken, prompt.name, confused=confused)

    def merging(
        self, prompt: Prompt, incumbent: EvaluatedCandidate, parts: Sequence[Candidate], number: int
    ) -> MergeRequest:
        """The request for one text that does what `parts` do, which all rewrite `prompt`.

        It tells what each fixed and broke, as far as it was run, and the failing cases that none fixed.
        """
        feedback = self._feedback(prompt, Split.TRAIN, incumbent)
        fixed = {case for part in parts for one in part.compared.values() for case in one.fixed}
        (share,) = deal_cases(feedback, 1, seed=f"{self._settings.seed}/{number}/merge", shown={})
        left = tuple(case for case in share if case.case not in fixed)[:ENOUGH_CASES]
        brief = self._brief(prompt, incumbent, feedback)
        return MergeRequest(
            prompt,
            without_examples(incumbent.text(prompt)),
            tuple(without_examples(part.overlay[prompt.name]) for part in parts),
            self.guarded(incumbent, prompt),
            self._settings.optimizer_model,
            number,
            parts=tuple(self._part(part, prompt, incumbent) for part in parts),
            brief=replace(brief, failed=left, shown=tuple(replace(each, inputs={}) for each in brief.shown)),
        )

    def learn(self, number: int, candidates: Sequence[Candidate]) -> None:
        """Remember what every candidate taught; the training cases broken last are guarded first."""
        for name, memory in self._state.memories.items():
            about = (
                lesson_of(self._redacted(candidate), name, flaky=self._state.flaky or ())
                for candidate in candidates
                if name in candidate.prompts and candidate.verdict != MERGED
            )
            memory.remember(number, [each for each in about if each])
        made = [each for each in candidates if each.kind is not Kind.CUT]
        self._faults.learn(
            (name for each in made for name in each.prompts),
            (name for each in made if each.verdict == ACCEPTED for name in each.prompts),
        )
        for candidate in candidates:
            for name in candidate.prompts:
                accepted = candidate.verdict in (ACCEPTED, MERGED)
                self._state.directions[name].learn(candidate.direction, accepted=accepted)
        broken = [
            case
            for candidate in candidates
            if Split.TRAIN in candidate.compared
            for case in candidate.compared[Split.TRAIN].broken
        ]
        self._state.broken = list(dict.fromkeys([*broken, *self._state.broken]))

    def _redacted(self, candidate: Candidate) -> Candidate:
        results = {
            split: tuple(redact_result(result, self._hooks.redact) for result in part)
            for split, part in candidate.results.items()
        }
        return replace(candidate, results=results)

    def _steady(self, incumbent: EvaluatedCandidate, split: Split) -> Sequence[CaseResult]:
        """The results it is judged by, without flaky cases while others fail: these prove nothing.

        All that requests tell of cases is made of these results, so they are redacted here.
        """
        return [redact_result(result, self._hooks.redact) for result in self._seen(incumbent, split)]

    def _seen(self, incumbent: EvaluatedCandidate, split: Split) -> Sequence[CaseResult]:
        """The same as they are: nothing is told of these, they only name the stages at fault."""
        return steady_results(incumbent.evidence(split), self._state.flaky or ())

    def _failing(self, phase: Phase, incumbent: EvaluatedCandidate) -> Sequence[Prompt]:
        """The prompts with failing cases, all if there is none."""
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
        self,
        prompt: Prompt,
        number: int,
        phase: Phase,
        incumbent: EvaluatedCandidate,
        count: int,
        *,
        escape: bool,
    ) -> Iterator[Brief]:
        feedback = self._feedback(prompt, Split.TRAIN, incumbent)
        validation = (
            self._feedback(prompt, Split.VALIDATION, incumbent) if phase is Phase.VALIDATION else None
        )
        expected = (
            expected_of(outcome)
            for result in self._steady(incumbent, Split.TRAIN)
            for outcome in result.counted
        )
        self._state.expected.update(text for text in expected if text is not None)
        self._state.expected.update(case.expected for case in feedback.failed if case.expected is not None)
        seed = f"{self._settings.seed}/{number}/{prompt.name}"
        shares = deal_cases(feedback, count, seed=seed, shown=self._state.shown)
        self._state.shown.update({case.case for share in shares for case in share})
        guarded = self.guarded(incumbent, prompt)
        alike = self._alike(prompt, incumbent, validation, besides={case.id for case in guarded})
        brief = replace(
            self._brief(prompt, incumbent, feedback),
            passing=(*guarded, *alike),
            patterns=self._patterns(prompt, incumbent, feedback, validation) if validation else (),
            lessons=self._state.memories[prompt.name].lessons(),
            tried=self._state.memories[prompt.name].recent(),
        )
        about = validation if validation and validation.failing else feedback
        lines = self._lines(prompt, incumbent, about, count, escape=escape)
        for share, line in zip(shares, lines, strict=True):
            yield replace(brief, failed=share, direction=line)

    def _brief(self, prompt: Prompt, incumbent: EvaluatedCandidate, feedback: Feedback) -> Brief:
        """What every request about this prompt says of the incumbent's text."""
        results = self._results(prompt, Split.TRAIN, incumbent)
        known = Known([prompt.prose, prompt.front.description, *texts_of(results)])
        tools = _shared_tools(results, prompt.name)
        unrun = set(incumbent.unverified)
        return Brief(
            prompt=prompt,
            prose=without_examples(incumbent.text(prompt)),
            direction="",
            failing=feedback.failing,
            total=feedback.total,
            unrun=sum(prompt.name in case.prompts and case.id in unrun for case in self._group.cases),
            categories=feedback.categories,
            target=self._target(prompt),
            checks=tuple(filter(None, (abridge_source(each, known) for each in _sources(results)))),
            measured=tuple(label_table(label_tallies(results))),
            given=_given(results, feedback),
            examples=self._settings.examples > 0 and not (prompt.takes_no_examples or tools),
            shown=tuple(examples_in(incumbent.text(prompt))),
            tools=tools,
        )

    def _target(self, prompt: Prompt) -> str:
        """The model that answers, and what is fixed for it."""
        front = prompt.front
        fixed = {"max_tokens": front.max_tokens, **front.parameters}
        told = [front.model or self._settings.model or " and ".join(self._settings.models)]
        told += [f"{name} {value_text(value)}" for name, value in fixed.items() if value is not None]
        known = ", ".join(filter(None, told))
        return f"{known} (fixed)" if known else ""

    def _lines(
        self, prompt: Prompt, incumbent: EvaluatedCandidate, feedback: Feedback, count: int, *, escape: bool
    ) -> tuple[str, ...]:
        """A line of attack for each candidate."""
        collapsed = any(
            tally.collapsed for tally in label_tallies(self._results(prompt, Split.TRAIN, incumbent))
        )
        lines = ESCAPES if escape else suitable_directions(feedback, collapsed=collapsed)
        taken = self._state.directions[prompt.name].take(incumbent.text(prompt), lines, count)
        return (*taken, *DIRECTIONS)[:count]

    def _results(self, prompt: Prompt, split: Split, incumbent: EvaluatedCandidate) -> Sequence[CaseResult]:
        return [r for r in self._steady(incumbent, split) if prompt.name in r.case.prompts]

    def _feedback(self, prompt: Prompt, split: Split, incumbent: EvaluatedCandidate) -> Feedback:
        named = self._faults.named(incumbent.overlay, self._seen(incumbent, split))
        results = concerning(prompt.name, named, self._results(prompt, split, incumbent))
        custom = self._hooks.categorize
        found = describe(
            results, prompt=prompt.name, prose=without_examples(incumbent.text(prompt)), custom=custom
        )
        return replace(found, failed=with_expected_value(found.failed, results))

    def _part(self, part: Candidate, prompt: Prompt, incumbent: EvaluatedCandidate) -> Part:
        compared = part.compared.get(Split.TRAIN)
        if compared is None:
            return Part()
        inputs = {
            result.case.id: " ".join(call.variables.values())
            for result in self._steady(incumbent, Split.TRAIN)
            for outcome in result.counted[:1]
            for call in outcome.calls
            if call.prompt == prompt.name
        }
        fixed, broken = (
            tuple(inputs[case] for case in cases if case in inputs)
            for cases in (compared.fixed, compared.broken)
        )
        return Part(count_cases(part.results[Split.TRAIN], compared), fixed, broken)

    def _alike(
        self,
        prompt: Prompt,
        incumbent: EvaluatedCandidate,
        feedback: Feedback | None,
        *,
        besides: Collection[str],
    ) -> tuple[PassingCase, ...]:
        """Training cases that pass with an answer that validation cases confuse with another one.

        :param besides: cases that are shown already.
        """
        confused = {
            answer.strip().casefold()
            for case in (feedback.failed if feedback else ())
            for answer in (case.expected, case.actual)
            if answer
        }
        alike = [
            PassingCase(result.case.id, call.variables, call.words)
            for result in self._steady(incumbent, Split.TRAIN)
            if (result.rate or 0.0) >= 1.0 and result.case.id not in besides
            for call in result.counted[0].calls
            if call.prompt == prompt.name and call.text.strip().casefold() in confused
        ]
        unique = {tuple(case.inputs.items()): case for case in alike}
        chosen = sorted(unique.values(), key=lambda case: (self._state.shown[case.id], case.id))
        chosen = chosen[: max(0, MAX_PASSING - len(besides))]
        self._state.shown.update(case.id for case in chosen)
        return tuple(chosen)

    def _patterns(
        self, prompt: Prompt, incumbent: EvaluatedCandidate, training: Feedback, feedback: Feedback
    ) -> tuple[str, ...]:
        known = TellableWords([*self._state.expected, prompt.prose, incumbent.text(prompt)])
        # Built-in names hold no text of cases; a hook's may, so of these only what training shows as well.
        hooked = self._hooks.categorize is not None
        return validation_patterns(
            feedback, known, named={c.name for c in training.categories} if hooked else None
        )


def _shared_tools(results: Iterable[CaseResult], prompt: str) -> tuple[str, ...]:
    """The tools that all calls of `prompt` had; those of single cases are told with these."""
    had = [
        call.tools
        for result in results
        for outcome in result.counted
        for call in outcome.calls
        if call.prompt == prompt
    ]
    first, *others = had or [()]
    return tuple(line for line in first if all(line in lines for lines in others))


def _sources(results: Iterable[CaseResult]) -> list[str]:
    """The tests that most cases have, and then the functions of their files that these call most."""
    written = [outcome for result in results for outcome in result.counted if outcome.check.strip()]
    tests = [check for check, _ in Counter(o.check for o in written).most_common(MAX_CHECKS)]
    called = Counter(helper for o in written if o.check in tests for helper in o.helpers)
    return [*tests, *(helper for helper, _ in called.most_common(MAX_HELPERS))]


def _given(results: Sequence[CaseResult], feedback: Feedback) -> Mapping[str, Mapping[str, str]]:
    """By failing case the parameters of the test that neither input nor expected value says.

    With several models also which one has answered: the same input may pass with another.
    """
    models = {result.case.id: model_of(result.case) for result in results}
    several = len(set(models.values())) > 1
    parameters = {
        result.case.id: {
            **({"model": models[result.case.id]} if several else {}),
            **result.failing.parameters,
        }
        for result in results
        if result.failing
    }
    return {
        case.case: {
            name: cut_middle(value)
            for name, value in parameters[case.case].items()
            if value not in case.inputs.values() and value not in (case.expected or "")
        }
        for case in feedback.failed
    }

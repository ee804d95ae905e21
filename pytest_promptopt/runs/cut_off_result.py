"""The result of a run that was cut off before it could tell it, made from the events in its journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from pytest_promptopt.journal import Event
from pytest_promptopt.optimizer.acceptance import compare, paired_rates, score_split
from pytest_promptopt.optimizer.halting import HaltReason, Phase
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup, connected_groups
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.records import Case, CaseResult, Outcome, Spend, Split, Status, pass_rate
from pytest_promptopt.reports.tried_texts import ORIGINAL, TriedTexts
from pytest_promptopt.results import (
    CandidateResult,
    CandidateVerdict,
    Confirmation,
    Iteration,
    PromptOutcome,
    PromptResult,
    RunResult,
    SplitScore,
)
from pytest_promptopt.runs.past import PastRun
from pytest_promptopt.runs.stored_values import read_value

CUT_OFF = "its process was killed, or is still at work"


def cut_off_result(run: PastRun, process: Sequence[Event]) -> RunResult:
    """What is known of a run by the events of one of its processes, and the calls of all.

    Figures are of the cases that were run by then. Which of them stand in a text as examples is in no event,
    so those are counted here as well.
    """
    start = next((event.data for event in process if event.event == "start"), None)
    notes = ["calls that were in flight when it was cut off are in no figure"]
    if start is None:
        notes.append("no search had begun: no prompt was measured yet")
    return RunResult(
        id=run.id,
        prompts=tuple(_prompts(start, process)) if start is not None else (),
        spend=run.spend(),
        elapsed=_seconds(process[0], process[-1]),
        interrupted=True,
        notes=tuple(notes),
        strategy=start["settings"]["strategy"][0] if start is not None else "",
        errors=tuple(event.data["why"] for event in process if event.event == "error"),
    )


def _seconds(first: Event, last: Event) -> float:
    return (datetime.fromisoformat(last.time) - datetime.fromisoformat(first.time)).total_seconds()


@dataclass(frozen=True)
class _StoredPrompt:
    name: str
    prose: str


def _prompts(start: Mapping[str, Any], process: Sequence[Event]) -> Iterator[PromptResult]:
    """In the order in which the run was given them."""
    prompts = [_StoredPrompt(name, prose) for name, prose in start["prompts"].items()]
    cases = [case for each in start["cases"] if not (case := read_value(Case, each)).reference]
    # Their names are all that it looks at.
    groups = connected_groups(cast(Sequence[Prompt], prompts), cases)
    tried = TriedTexts.of(process)
    found = {result.prompt: result for group in groups for result in _Search(group, tried, process).results()}
    return (found[prompt.name] for prompt in prompts)


@dataclass
class _Search:
    """The search of a group of prompts, as far as it came.

    :param final: the candidate that the run would have gone on with.
    """

    group: PromptGroup
    tried: TriedTexts
    events: Sequence[Event]
    iterations: dict[int, Iteration] = field(default_factory=dict)
    final: str = ORIGINAL
    stop: str = HaltReason.INTERRUPTED
    why: str = CUT_OFF
    confirmation: Confirmation | None = None
    written: set[str] = field(default_factory=set)
    unwritten: dict[str, str] = field(default_factory=dict)
    #: The events since the last iteration, or since the original was measured.
    open: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        for event in self.events:
            self._take(event)

    def _take(self, event: Event) -> None:
        data, names = event.data, self.group.names
        about = data.get("prompts", ())
        mine = any(name in names for name in about)
        self.open.append(event)
        match event.event:
            case "results" if data["candidate"] == ORIGINAL:
                self.open.clear()
            case "iteration":
                self.open.clear()  # also at one of another group, which is searched before or after
                if mine:
                    self.iterations[data["number"]] = read_value(Iteration, data)
                    self.final = str(data["incumbent"])
            case "overfitted" if self.final == str(data["candidate"]) and not self._over:
                self.final = str(data["kept"])
            case "stop" if mine:
                self.stop, self.why = data["halt"], data["why"]
            case "confirmation" if mine:
                self.confirmation = read_value(Confirmation, data)
                self.final = str(data["candidate"])
            case "written" if data["prompt"] in names:
                self.written.add(data["prompt"])
            case "not written" if data["prompt"] in names:
                self.unwritten[data["prompt"]] = data["why"]

    @property
    def _over(self) -> bool:
        return self.why != CUT_OFF

    def text(self, prompt: Prompt) -> str:
        """The final text of a prompt: the last one for it on the way from the original."""
        candidate = self.final
        for number in range(int(candidate.partition(".")[0]), 0, -1):
            if (text := self.tried.text(candidate, prompt.name)) is not None:
                return text
            candidate = self.tried.incumbent(number - 1, self.group.names) or ORIGINAL
        return prompt.prose

    def results(self) -> Iterator[PromptResult]:
        """What is known of each prompt of the group."""
        before, after = self._results(ORIGINAL), self._results(self.final)
        old, new = ([r for r in results if r.case.split in SEARCHED] for results in (before, after))
        paired = compare(old, new)
        scores = tuple(self._scores(before, after))
        iterations = [*self.iterations.values(), *self._open_iteration()]
        for prompt in self.group.prompts:
            text = self.text(prompt)
            changed = text != prompt.prose
            unwritten = "" if prompt.name in self.written else HaltReason.INTERRUPTED
            yield PromptResult(
                prompt=prompt.name,
                before=prompt.prose,
                after=text,
                outcome=self._outcome(prompt.name),
                stop=self.stop,
                why=self.why,
                scores=scores,
                iterations=tuple(
                    each
                    for each in iterations
                    if any(prompt.name in candidate.prompts for candidate in each.candidates)
                ),
                fixed=paired.fixed if changed else (),
                broken=paired.broken if changed else (),
                rates=paired_rates(old, new, {*paired.fixed, *paired.broken}) if changed else {},
                accepted=prompt.name in self.written,
                written=prompt.name in self.written,
                unwritten=self.unwritten.get(prompt.name, unwritten) if changed else "",
                pipeline=self.group.names if len(self.group.names) > 1 else (),
                confirmation=self.confirmation if changed else None,
            )

    def _outcome(self, prompt: str) -> PromptOutcome:
        """What was decided before it was cut off stays."""
        if self.stop == HaltReason.PASSING:
            return PromptOutcome.PASSING
        if prompt in self.written and self.confirmation is not None:
            return PromptOutcome(self.confirmation.verdict)
        return PromptOutcome.INTERRUPTED

    def _results(self, candidate: str) -> list[CaseResult]:
        rates = self.tried.rates.get(candidate, {})
        return [_result(case, rates[case.id]) for case in self.group.cases if case.id in rates]

    def _scores(self, before: Sequence[CaseResult], after: Sequence[CaseResult]) -> Iterator[SplitScore]:
        ran = {result.case.id for result in after}
        for split in Split:
            one, other = ([r for r in results if r.case.split is split] for results in (before, after))
            cases = len(self.group.ids(split))
            missing = sum(r.case.id not in ran for r in one) if split in SEARCHED else 0
            score = score_split(split, cases, one, other, unverified=missing)
            if score.cases:
                yield score

    def _open_iteration(self) -> Iterator[Iteration]:
        """The candidates that were made and not judged any more."""
        names = self.group.names
        events = [
            event
            for event in self.open
            if event.event == "candidate" and any(name in names for name in event.data["prompts"])
        ]
        candidates = {event.data["id"]: event for event in events}
        if self._over or not candidates:
            return
        last = max(self.iterations.values(), key=lambda each: each.number, default=None)
        rate = pass_rate([r for r in self._results(ORIGINAL) if r.case.split is Split.TRAIN]) or 0.0
        calls = (Spend(*event.data["spend"]) for event in self.open if event.event == "call")
        yield Iteration(
            number=1 if last is None else last.number + 1,
            phase=Phase.TRAINING if last is None else last.phase,
            prompts=tuple(dict.fromkeys(n for event in candidates.values() for n in event.data["prompts"])),
            candidates=tuple(self._undecided(event) for event in candidates.values()),
            best=rate if last is None else last.best,
            spend=sum(calls, Spend()),
            elapsed=_seconds(self.open[0], self.open[-1]),
            before=rate if last is None else last.best,
        )

    def _undecided(self, made: Event) -> CandidateResult:
        old, new = (
            [r for r in self._results(each) if r.case.split is Split.TRAIN]
            for each in (ORIGINAL, str(made.data["id"]))
        )
        paired = compare(old, new)
        return CandidateResult(
            id=str(made.data["id"]),
            prompts=tuple(made.data["prompts"]),
            direction=made.data["direction"],
            reason=made.data["reason"],
            rate=pass_rate(new),
            verdict=CandidateVerdict.UNDECIDED,
            why="the run was cut off before it was judged",
            fixed=paired.fixed,
            broken=paired.broken,
            split=Split.TRAIN if new else None,
            run=len(new),
        )


def _result(case: Case, rate: float | None) -> CaseResult:
    """A case by its rate, which is all that a journal has of its runs."""
    if rate is None:
        return CaseResult(case, (Outcome(case.id, Status.ERRORED, 0.0),))
    return CaseResult(case, (Outcome(case.id, Status.PASSED if rate >= 1.0 else Status.FAILED, rate),))

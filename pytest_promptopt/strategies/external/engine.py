"""Other libraries' engines on our cases: what an adapter to one of them builds on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.failures import FailedCase, describe
from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import (
    ACCEPTED,
    REFUSED,
    REJECTED,
    Candidate,
    Results,
)
from pytest_promptopt.optimizer.confirmation_power import calls_each
from pytest_promptopt.optimizer.halting import DECIDING, FRUITLESS_ITERATIONS, HaltReason, Phase, Stop
from pytest_promptopt.optimizer.prompt_groups import SEARCHED, PromptGroup
from pytest_promptopt.optimizer.proposal.requests import REPLY_TOKENS
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.redaction import redact_result
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.strategy import ScoringNeeds
from pytest_promptopt.prompts.placeholders import find_placeholders
from pytest_promptopt.records import EPSILON, Answer, CaseResult, Message, Overlay, Request, Split, pass_rate

#: Scores of the cases under a text that was refused before a call was spent on it.
REFUSED_SCORE = 0.0


class Ended(BaseException):
    """Leaves an engine, which would take any `Exception` for one bad example and go on."""


class ExternalSearch(BaseSearch, ABC):
    """A search that an engine of another library makes.

    The engine decides what to ask, what to try and on which cases. It gets scores and texts of training cases
    and scores of validation cases, and nothing else; every call goes through the run's evaluator and its
    optimizer model. An iteration is over when the engine has asked for as many runs of cases as an iteration
    of ours does, which has all its candidates run on all training cases.

    An engine writes instructions and knows nothing of variables, so it is given the text up to the first line
    with a variable; what follows stays as it is.

    It makes no steps, and another search cannot go on where it stands: the engine has the control, and how
    far it is stands nowhere else.
    """

    scoring_needs = ScoringNeeds(validation_each_iteration=True)

    def __init__(self, group: PromptGroup, context: SearchContext) -> None:
        super().__init__(group, context)
        self._phase = Phase.VALIDATION if group.ids(Split.VALIDATION) else Phase.TRAINING
        self._candidates: dict[tuple[tuple[str, str], ...], Candidate] = {}
        self._open = self.open_iteration(self._phase)
        self._runs = 0
        self._repeats: Counter[str] = Counter()
        self._end: Stop | None = None
        self._error: PromptoptError | None = None
        self._unanswered = 0
        #: Proposals of the engine since the last that was both usable and new.
        self.fruitless = 0

    @abstractmethod
    def engine(self) -> None:
        """Run the engine until `over`, or until it has made all its steps."""

    def search(self) -> Stop:
        if stop := self.halted(self._phase, self.best):
            return stop
        try:
            self.engine()
        except Ended:
            pass
        except PromptoptError:
            raise
        except Exception as error:  # what it cannot cope with, such as a reply in another form
            said = next(iter(str(error).splitlines()), "")
            self._end = Stop("engine failed", f"{type(error).__name__}: {said}")
        if self._open:
            self._close_iteration()
        if self._error is not None:
            raise self._error
        return self._end or Stop("engine done", "the engine made all steps that it plans")

    # ----------------------------------------------------------------------------------- for an engine's use

    def instructions(self) -> dict[str, str]:
        """The part of each prompt that the engine may rewrite."""
        return {prompt.name: split_instruction(prompt.prose)[0].strip() for prompt in self.group.prompts}

    def deciding(self) -> list[str]:
        """The cases that decide between texts: of validation, or of training where there are none."""
        return list(self.group.ids(self._split))

    def trained(self) -> Results:
        """What the original's training cases may tell."""
        redact = self.context.hooks.redact
        return tuple(redact_result(result, redact) for result in self.original.evidence(Split.TRAIN))

    def results(self, instructions: Mapping[str, str], cases: Sequence[str]) -> Results | None:
        """Run cases under these instructions; None when a text is refused. Results are in the order asked."""
        self._runs += len(cases)
        overlay = self._overlay(instructions)
        try:
            candidate = self._get_or_create_candidate(overlay)
            if candidate is not None and candidate.verdict == REFUSED:
                return None
            (found,) = self.evaluate([overlay], cases)
            if candidate is not None:
                (candidate,) = self.refuse([candidate])
                if candidate.verdict != REFUSED:
                    candidate = self._with_results(candidate, found)
                self._keep(candidate)
                if candidate.verdict == REFUSED:
                    return None
        except PromptoptError as error:
            self.leave(error)
        by_id = {result.case.id: redact_result(result, self.context.hooks.redact) for result in found}
        return tuple(by_id[case] for case in cases)

    def answer(self, *messages: Message) -> str:
        """The optimizer model's answer; asking the same again gets another one. Raises `ModelError`.

        It is not asked on and on without an answer, nor for a text that the ceiling leaves no calls to judge.
        """
        decided = math.ceil(len(self.deciding()) * calls_each(self.group, self.original.evidence(*SEARCHED)))
        if (stop := self.context.call_budget.stop_below(1 + decided)) is not None:
            self._end = stop
            raise Ended
        text = "\n".join(message.content for message in messages)
        request = Request(
            model=self.context.settings.optimizer_model,
            messages=messages,
            max_tokens=REPLY_TOKENS + max(len(each) for each in self.instructions().values()),
            sample=self._repeats[text],
        )
        self._repeats[text] += 1
        try:
            (answer,) = self.context.ask([request])
        except PromptoptError as error:
            self.leave(error)
        if isinstance(answer, Answer):
            self._unanswered = 0
            return answer.text
        self._unanswered += 1
        if self._unanswered >= FRUITLESS_ITERATIONS:
            why = f"the optimizer gave no answer {self._unanswered} times in a row: {answer}"
            self._end = Stop(HaltReason.NO_PROGRESS, why)
            raise Ended
        raise answer

    def failed_cases(
        self, results: Sequence[CaseResult], prompt: str, prose: str
    ) -> Mapping[str, FailedCase]:
        """What is said of the cases that fail, by the case. Raises `PromptoptError` of a user's hook."""
        custom = self.context.hooks.categorize
        return describe(results, prompt=prompt, prose=prose, custom=custom).by_case

    def check_halting(self) -> None:
        """The engine has made a step: at the target and after an iteration the halting rules are asked."""
        settings, rate = self.context.settings, pass_rate(self.best.evidence(self._split)) or 0.0
        if self.fruitless >= FRUITLESS_ITERATIONS * settings.candidates:
            why = f"{self.fruitless} proposals in a row were not both usable and new"
            self._end = Stop(HaltReason.NO_PROGRESS, why)
        enough = settings.candidates * len(self.group.ids(Split.TRAIN))
        if self._runs >= enough or rate >= settings.target - EPSILON:
            self._runs = 0
            self._close_iteration()
            self._end = self.halted(self._phase, self.best) or self._end

    @property
    def over(self) -> bool:
        """Whether the engine is to make no further step."""
        return self._end is not None

    def leave(self, error: PromptoptError) -> NoReturn:
        """Leave the engine, which is to make nothing of `error`; the search ends with it."""
        self._error = error
        raise Ended

    # -------------------------------------------------------------------------------------------------- steps

    def _overlay(self, instructions: Mapping[str, str]) -> Overlay:
        old = self.instructions()
        return {
            prompt.name: join_instruction(
                instructions[prompt.name].strip(), split_instruction(prompt.prose)[1]
            )
            for prompt in self.group.prompts
            if instructions[prompt.name].strip() != old[prompt.name]
        }

    def _get_or_create_candidate(self, overlay: Overlay) -> Candidate | None:
        """The candidate of an overlay, checked when it comes for the first time; None for the original."""
        if not overlay or _key(overlay) in self._candidates:
            return self._candidates.get(_key(overlay))
        candidate = Candidate(self._open.next_id, tuple(overlay), "the engine's own", overlay=overlay)
        for prompt in self.group.prompts:
            if objection := self._objection(prompt, overlay):
                candidate = candidate.refused(objection)
        self._open.put(candidate)
        self._keep(candidate)
        if not candidate.verdict:
            self.fruitless = 0
        self.journal_candidate(candidate)
        return candidate

    def _keep(self, candidate: Candidate) -> None:
        """Put a candidate in the place of what it was; an iteration that is over does not change."""
        self._candidates[_key(candidate.overlay)] = candidate
        if candidate.id in self._open:
            self._open.put(candidate)
        # The engine may run the best text on further cases, which need not be run at the end then.
        if candidate.id == self.best.id and candidate.verdict != REFUSED:
            self.best = candidate.to_evaluated()

    def _objection(self, prompt: Prompt, overlay: Overlay) -> str | None:
        text = overlay.get(prompt.name)
        known = {each.overlay.get(prompt.name) for each in self._candidates.values()}
        # The engine may try a text again with another of the pipeline's other prompts.
        return None if text is None or text in known else self.checks.objection(prompt, text)

    def _with_results(self, candidate: Candidate, found: Sequence[CaseResult]) -> Candidate:
        """A candidate with new results; one that was run on all deciding cases may be the best so far."""
        self.context.record_results(candidate.id, tuple(found))
        for split in {result.case.split for result in found}:
            known = {result.case.id: result for result in candidate.results.get(split, ())}
            known |= {result.case.id: result for result in found if result.case.split is split}
            results = tuple(known[id] for id in self.group.ids(split) if id in known)
            compared = compare(self.original.evidence(split), results, split=split)
            candidate = replace(candidate, results={**candidate.results, split: results}).judged_by(compared)
        decided = len(candidate.results.get(self._split, ())) == len(self.group.ids(self._split))
        return self._crowned(candidate) if decided and not candidate.verdict else candidate

    @property
    def _split(self) -> Split:
        return DECIDING[self._phase]

    def _crowned(self, candidate: Candidate) -> Candidate:
        """A candidate with its verdict; an accepted one is the best now."""
        paired = compare(self.best.evidence(self._split), candidate.results[self._split], split=self._split)
        if paired.gain <= EPSILON:
            return candidate.decided(REJECTED, f"not better: {paired}")
        if lost := self.regressions(candidate):
            return candidate.decided(REJECTED, f"it fails what the original passed: {', '.join(lost)}")
        verdict = self.context.hooks.accept(paired)
        if verdict.accepted:
            self.best = candidate.to_evaluated()
        return candidate.decided(ACCEPTED if verdict.accepted else REJECTED, verdict.why)

    def _close_iteration(self) -> None:
        for candidate in self.refuse(self._open):
            rates = (f"{pass_rate(found) or 0:.0%} of {len(found)}" for found in candidate.results.values())
            why = f"given up by the engine at {', '.join(rates) or 'no result'}"
            self._keep(candidate if candidate.verdict else candidate.decided(REJECTED, why))
        self.finish_iteration(self._phase, list(self._open), self.best)
        self._open = self.open_iteration(self._phase)


def _key(overlay: Overlay) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(overlay.items()))


def feedback_on(case: FailedCase | None) -> str:
    """What an engine is told of a case: what is wrong with it, or, for None, that it passes."""
    if case is None:
        return "This case passes."
    wrong = case.message if case.expected is None else f"The expected output is {case.expected!r}."
    return " ".join([f"This case fails ({case.category}).", wrong, *case.difference])


def split_instruction(prose: str) -> tuple[str, str]:
    """The instruction, and the rest from the first line with a variable on; empty if there is none."""
    lines = prose.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if _has_variable(line)), len(lines))
    head = "".join(lines[:first])
    return (head, "".join(lines[first:])) if head.strip() else (prose, "")


def _has_variable(line: str) -> bool:
    return "{{" in line or "{%" in line or bool(find_placeholders(line))


def join_instruction(instruction: str, rest: str) -> str:
    """`instruction` as an engine gave it, before the rest that it never saw."""
    return f"{instruction}\n\n{rest}" if rest else instruction

"""A small world for the tests of the search: cases that pass when the prompt states the rule they need."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import ModelError
from pytest_promptopt.journal import Journal
from pytest_promptopt.optimizer.call_budget import CallBudget
from pytest_promptopt.optimizer.candidates import Candidate, EvaluatedCandidate
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.leave_one_out import LeaveOneOutEvaluator
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.protocols import Trial
from pytest_promptopt.optimizer.run import run_optimization
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.screening import ScreeningEvaluator
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.records import (
    Answer,
    Call,
    Case,
    CaseResult,
    Failure,
    Outcome,
    Request,
    Role,
    Spend,
    Split,
    Status,
)
from pytest_promptopt.results import PromptResult, RunResult
from pytest_promptopt.settings import Settings
from pytest_promptopt.strategies.refine.search import RefineSearch

TRAIN, VALIDATION, HELDOUT = Split.TRAIN, Split.VALIDATION, Split.HELDOUT

#: One candidate in an iteration, and none that only shows training cases: here a word in a text is a rule.
SETTINGS = Settings(rootdir=Path("."), candidates=1, examples=0, max_iterations=4)


@dataclass(frozen=True)
class Front:
    description: str = "Route tickets."
    keep: tuple[str, ...] = ()
    model: str | None = None
    max_tokens: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class FakePrompt:
    name: str = "route.md"
    prose: str = "Route {{ ticket }}."
    variables: frozenset[str] = frozenset({"ticket"})
    front: Front = Front()
    roles: tuple[str, ...] = ()
    is_chat: bool = True
    takes_no_examples: str = ""
    writing_rules: tuple[str, ...] = ()

    def with_lost_turns(self, prose: str) -> str:
        return prose

    def objections(self, prose: str) -> tuple[str, ...]:
        lost = sorted(name for name in self.variables if f"{{{{ {name} }}}}" not in prose)
        return tuple(f"It lost the variable {{{{ {name} }}}}." for name in lost)

    def unsendable(self, prose: str, given: Iterable[Mapping[str, str]]) -> str | None:
        return None


@dataclass(frozen=True)
class Need:
    """A case: passes when every prompt it uses holds its `rule` and none holds ``not <rule>``."""

    id: str
    rule: str
    split: Split = TRAIN
    prompts: tuple[str, ...] = ("route.md",)
    expected: str = ""
    secret: str = ""
    errs: bool = False

    def record(self) -> Case:
        return Case(self.id, self.prompts, self.split)

    def run(self, texts: Mapping[str, str], *, sample: int = 0) -> Outcome:
        words = [re.findall(r"not \w+|\w+", texts[name]) for name in self.prompts]
        passed = not self.rule or all(self.rule in w and f"not {self.rule}" not in w for w in words)
        expected = self.expected or f"label-{self.rule}"
        actual = expected if passed else "nothing"
        ticket = f"{self.id} asks about {self.rule} {self.secret}"
        calls = tuple(
            Call(name, {"ticket": ticket}, key, actual, "end_turn", None, None, 0.1, False)
            for name in self.prompts
            if (key := f"{self.id}/{sample}/{name}/{texts[name]}")
        )
        if self.errs:
            return Outcome(self.id, Status.ERRORED, 0.0, error="timeout", calls=calls)
        if passed:
            return Outcome(self.id, Status.PASSED, 1.0, calls=calls)
        message = f"assert {actual!r} == {expected!r} {self.secret}"
        failure = Failure("AssertionError", message, "test.py:1", "==", expected, actual)
        return Outcome(self.id, Status.FAILED, 0.0, failure=failure, calls=calls)


@dataclass
class World:
    """Evaluator, optimizer, bill and disk at once; it notes everything that is asked of it.

    :param replies: texts of new prompts (or whole replies), in turn, or a function from request to reply.
    :param interrupt: raise at the evaluation (``evaluate 3``), confirmation (``confirm 1``) or request
        (``ask 2``) of this number, from 1.
    :param left: how many calls the ceiling leaves for the search.
    :param kept: how many of them are kept for later, as the run said last.
    :param luck: fresh samples of any text are those of the original.
    """

    needs: Sequence[Need]
    replies: Iterable[str] | Callable[[Request], str | Answer | ModelError] = ()
    prompts: Sequence[FakePrompt] = (FakePrompt(),)
    interrupt: str = ""
    left: Callable[[], int | None] = lambda: None
    kept: int = 0
    luck: bool = False
    error: BaseException = field(default_factory=KeyboardInterrupt)
    hooks: SearchHooks = field(default_factory=SearchHooks)
    asked: list[list[Request]] = field(default_factory=list)
    evaluated: list[list[Trial]] = field(default_factory=list)
    fresh: list[list[Trial]] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    conflict: BaseException | None = None
    strategy: Strategy = RefineSearch
    phases: list[Phase] = field(default_factory=list)

    @property
    def cases(self) -> list[Case]:
        return [need.record() for need in self.needs]

    @cached_property
    def leaving_out(self) -> LeaveOneOutEvaluator:
        """The run's evaluator: a search that goes on with another one's state has the same."""
        return LeaveOneOutEvaluator(self, self.prompts)

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        if any(trial.samples is not None for trial in trials):
            self.fresh.append(list(trials))
            self._maybe_stop(f"confirm {len(self.fresh)}")
        else:
            self.evaluated.append(list(trials))
            self._maybe_stop(f"evaluate {len(self.evaluated)}")
        return [self._results(trial) for trial in trials]

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        overlay = {} if self.luck and trial.samples is not None else trial.overlay
        texts = {prompt.name: overlay.get(prompt.name, prompt.prose) for prompt in self.prompts}
        (sample,) = trial.samples or (0,)
        return tuple(
            CaseResult(n.record(), (n.run(texts, sample=sample),)) for n in self.needs if n.id in trial.cases
        )

    def ask(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        self.asked.append(list(requests))
        self._maybe_stop(f"ask {len(self.asked)}")
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Answer | ModelError:
        if callable(self.replies):
            reply = self.replies(request)
        else:
            self.replies = iter(self.replies)
            reply = next(self.replies, "out of ideas")
        return answer(reply) if isinstance(reply, str) else reply

    def _maybe_stop(self, moment: str) -> None:
        if moment == self.interrupt:
            raise self.error

    def keep(self, calls: int) -> None:
        self.kept = calls

    def spend(self) -> Mapping[Role, Spend]:
        return {Role.OPTIMIZER: Spend(calls=sum(map(len, self.asked)))}

    def write(self, prompt: object, text: str) -> None:
        assert isinstance(prompt, FakePrompt)
        if self.conflict is not None:
            raise self.conflict
        assert prompt.name not in self.written, "a prompt is written once"
        self.written[prompt.name] = text

    def run(self, *, journal: Journal | None = None, dry: bool = False, **settings: float | str) -> RunResult:
        return run_optimization(
            self.prompts,
            self.context(replace(SETTINGS, **settings), journal),  # type: ignore[arg-type]
            self.strategy,
            write=None if dry else self.write,
        )

    def context(self, settings: Settings = SETTINGS, journal: Journal | None = None) -> RunContext:
        """Of a run in this world."""
        return RunContext(
            self,
            self.ask,
            settings,
            self.hooks,
            journal,
            self.spend,
            CallBudget(self.left, tell=self.keep),
            self.phases.append,
            self.clock,
        )

    def clock(self) -> float:
        return time.monotonic()

    def search_context(
        self, group: PromptGroup, settings: Settings = SETTINGS, run: RunContext | None = None
    ) -> SearchContext:
        """What a search for this group is handed."""
        screen = ScreeningEvaluator(self.leaving_out, group.prompts)
        return SearchContext.of(run or self.context(settings), group, screen)

    def result(self, **settings: float | str) -> PromptResult:
        """The result of a run with one prompt."""
        (result,) = self.run(journal=None, dry=False, **settings).prompts
        return result

    def requests(self) -> list[str]:
        """All that the optimizer was told, one text per request."""
        return ["\n".join(m.content for m in request.messages) for sent in self.asked for request in sent]

    def ran(self, case: str) -> int:
        """How often a case was run."""
        return sum(case in trial.cases for trials in self.evaluated for trial in trials)


def answer(text: str, stop_reason: str = "end_turn") -> Answer:
    """A reply: bare words become a prompt with its variable and a reason."""
    if "<" not in text and "out of ideas" not in text:
        text = new_prompt(f"Route {{{{ ticket }}}}. {text}", reason=f"because of {text}")
    return Answer(text, "demo", stop_reason, None, None, 0.1)


def watched(look: Callable[[EvaluatedCandidate, RefineSearch], None]) -> type[RefineSearch]:
    """A search that shows what is best after every iteration."""

    class Watched(RefineSearch):
        def finish_iteration(
            self, phase: Phase, candidates: Sequence[Candidate], best: EvaluatedCandidate
        ) -> None:
            super().finish_iteration(phase, candidates, best)
            look(best, self)

    return Watched


def new_prompt(text: str, *, reason: str = "it is better") -> str:
    return f"<reason>{reason}</reason>\n<new_prompt>\n{text}\n</new_prompt>"


def needs(rules: str, split: Split = TRAIN, **more: object) -> list[Need]:
    """One case per word: ``needs("a a -")`` are two cases of rule a and one that always passes."""
    return [
        Need(f"{split}-{number}-{rule}", "" if rule == "-" else rule, split, **more)  # type: ignore[arg-type]
        for number, rule in enumerate(rules.split(), 1)
    ]

"""What the optimizer needs from outside: prompts, an evaluator that runs cases, a way to ask models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_promptopt.errors import ModelError, PromptoptError
from pytest_promptopt.records import Answer, Case, CaseResult, Overlay, Request


class StopRun(PromptoptError):
    """No further call is possible or allowed: the search ends with what it has.

    :param halt: the name of the stop: a `HaltReason`, or a word of its own.
    :param why: one sentence for the user.
    """

    def __init__(self, halt: str, why: str) -> None:
        super().__init__(why)
        self.halt = halt
        self.why = why


@dataclass(frozen=True)
class Trial:
    """The cases (by id) to run under an overlay.

    :param samples: the numbers of the samples of each case; None for those that it always has, from 0 on.
    :param answers: what is said in the place of the model, by the key of the request (`Call.key`); all other
        requests are asked as always.
    """

    overlay: Overlay
    cases: tuple[str, ...]
    samples: tuple[int, ...] | None = None
    answers: Mapping[str, str] = field(default_factory=dict)


#: Runs trials together: results in the order asked, one per case of each.
Run = Callable[[Sequence[Trial]], list[tuple[CaseResult, ...]]]


class Evaluator(Protocol):
    """Runs cases under candidate texts; that of a run all its cases, that of a search its own ones."""

    @property
    def cases(self) -> Sequence[Case]:
        """All cases that it runs, in a stable order."""

    def evaluate(self, trials: Sequence[Trial]) -> list[tuple[CaseResult, ...]]:
        """Run all trials together; results in the order asked, one per case of each trial.

        An answer that is already known costs nothing. May raise `StopRun` and `KeyboardInterrupt`.
        """


class Ask(Protocol):
    """Sends requests to models."""

    def __call__(self, requests: Sequence[Request]) -> list[Answer | ModelError]:
        """Send all at once; answers in the order asked. Raises `StopRun` when no call may follow."""


class FrontMatter(Protocol):
    """What a prompt file says about itself to the optimizer."""

    @property
    def description(self) -> str:
        """The task in the user's words; empty when not given."""

    @property
    def keep(self) -> tuple[str, ...]:
        """Lines that must stay verbatim."""

    @property
    def model(self) -> str | None:
        """The target model; None for that of the session."""

    @property
    def max_tokens(self) -> int | None: ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Further parameters of the calls, like ``temperature``."""


class Prompt(Protocol):
    """A prompt file as the optimizer sees it."""

    @property
    def name(self) -> str:
        """Its rootdir-relative POSIX path: the key of an overlay."""

    @property
    def prose(self) -> str:
        """The text that may be rewritten."""

    @property
    def variables(self) -> frozenset[str]: ...

    @property
    def roles(self) -> tuple[str, ...]:
        """The chat roles of its turns; empty for a text without role lines."""

    @property
    def front(self) -> FrontMatter: ...

    @property
    def is_chat(self) -> bool:
        """Whether lines that are only a role begin turns in it."""

    @property
    def takes_no_examples(self) -> str:
        """Why the tool's own examples cannot stand in it, in a sentence; empty when they can."""

    @property
    def writing_rules(self) -> tuple[str, ...]:
        """What who writes a candidate must know of its place, a sentence each."""

    def with_lost_turns(self, prose: str) -> str:
        """`prose` with the role lines of this prompt, where whoever wrote it left them out."""

    def objections(self, prose: str) -> tuple[str, ...]:
        """Why `prose` cannot replace this prompt's text, in sentences; empty when it can."""

    def unsendable(self, prose: str, given: Iterable[Mapping[str, str]]) -> str | None:
        """Why `prose`, without objections, cannot be sent for a case that gave this; None when it can."""

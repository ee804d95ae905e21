"""One execution of one case, and what it has asked, been told and shown so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pytest_promptopt.assertions.operand_capture import Operands
from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Call, Case, Failure, Message, Overlay, Request, Role, StageGrade
from pytest_promptopt.replay.repeats import Repeats
from pytest_promptopt.replay.suspension import Suspended
from pytest_promptopt.verdicts import Verdict

#: Comparisons of one run that are kept: a failed assert explains its own last of all.
MAX_COMPARED = 100


class CallingCase(Protocol):
    """A case as its calls need it; pytest's items and the cases of a script are such cases."""

    @property
    def case(self) -> Case: ...

    @property
    def files(self) -> Mapping[str, PromptFile]:
        """Its prompt files by stage; a single prompt's stage is ``""``."""

    @property
    def asks(self) -> bool:
        """Whether it is seen when it asks; otherwise there is no answer that it could wait for."""

    @property
    def waiting_hint(self) -> str:
        """How the user has it wait for each answer, not run again; empty where there is no way."""

    def request(
        self, file: PromptFile, messages: Sequence[Message], response_schema: object, *, sample: int
    ) -> Request:
        """The request of one call. Raises `SettingsError`."""

    def parameter_lines(self, file: PromptFile) -> Mapping[str, str]:
        """Where each parameter of a call is set, as ``file:line``."""

    @property
    def folders(self) -> Sequence[Path]:
        """Where the path of a file that goes along with a prompt may begin, in order."""

    def temporary(self) -> Path:
        """A folder for copies of candidates."""


C = TypeVar("C", bound=CallingCase)


@dataclass
class Run(Generic[C]):
    """One execution of one case. All its `prompt` objects, in any thread, share it."""

    case: C
    client: ModelClient
    overlay: Overlay = field(default_factory=dict)
    #: The prompt files by stage, under the overlay.
    files: Mapping[str, PromptFile] = field(default_factory=dict)
    sample: int = 0
    attempt: int = 0
    #: What is said in the place of the model, by the key of the request of a call of `prompt(...)`.
    answers: Mapping[str, str] = field(default_factory=dict)
    #: Whether an unknown answer suspends the run; otherwise the call blocks.
    suspends: Callable[[], bool] = lambda: False
    #: What it is suspended with.
    suspension: type[Suspended] = Suspended
    #: Raised instead of suspending once more: the case cannot be replayed.
    refusal: PromptoptError | None = None
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    missing: dict[str, Request] = field(default_factory=dict)
    error: PromptoptError | None = None
    calls: list[Call] = field(default_factory=list)
    #: What pytest has explained, in order.
    compared: deque[Operands] = field(default_factory=lambda: deque(maxlen=MAX_COMPARED))
    failure: Failure | None = None
    #: The candidate, and not the text in the file, cannot be rendered for what the test gives.
    unrenderable: bool = False
    #: Called with the model before a call that is made in the middle of the test.
    connect: Callable[[str], object] = lambda model: None
    #: A call was made in the middle of the test.
    waited: bool = False
    #: Whether a call must be made inside this run: it has exchanged something that the call needs.
    apart: Callable[[Request], bool] = lambda request: False
    #: For such calls; knows no other run's answers.
    own_client: ModelClient | None = None
    #: Whether no model is asked anything: also a call that must be made inside the run suspends it.
    only_looks: bool = False
    #: The test has read `prompt.text` or `prompt.path`: a candidate reaches it even without a call of ours.
    touched: bool = False
    #: Requests that the code under test has made by itself and that are of none of its prompts.
    other_calls: list[Call] = field(default_factory=list)
    #: What these asked, by role, under the name of whom they asked.
    asked_otherwise: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    #: The keys of those that lack an answer.
    missing_otherwise: set[str] = field(default_factory=set)
    #: Why one of these is no call of the case's prompts, with the closest passage.
    not_recognised: str = ""
    #: The keys of what a judge was asked; its calls are among the other ones, never the answer under test.
    judge_keys: set[str] = field(default_factory=set)
    asked_of_judge: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    #: The keys of texts whose embeddings are compared; no answers under test either.
    embedding_keys: set[str] = field(default_factory=set)
    #: Whose model `error` is of: the judge's, or the one for embeddings; None for any other.
    failed_role: Role | None = None
    #: What a judge has said of the answers.
    verdicts: list[Verdict] = field(default_factory=list)
    #: What the test has said of its stages, in order. A run that begins anew has none.
    grades: list[StageGrade] = field(default_factory=list)
    #: The test function, where it runs in a thread of its own.
    body: Future[None] | None = None
    repeats: Repeats = field(default_factory=Repeats)

    @property
    def used(self) -> bool:
        """Whether the test has used its prompt, as far as anybody can see."""
        return bool(self.asked) or self.touched or not self.case.asks

    @property
    def keys(self) -> frozenset[str]:
        """What it has asked of its prompts so far, answered or not: cases with one in common are twins.

        Other requests (the same question to a router, or to a judge) make no twins.
        """
        asked = frozenset([*(call.key for call in self.calls), *self.missing])
        return asked - self.missing_otherwise - self.judge_keys - self.embedding_keys

    def role_of(self, key: str) -> Role:
        """What the call with this key is for."""
        if key in self.embedding_keys:
            return Role.EMBEDDING
        return Role.JUDGE if key in self.judge_keys else Role.TARGET

    @property
    def answered(self) -> int:
        """How many of its calls have their answers."""
        return len(self.calls) + len(self.other_calls)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For its length the run waits for its calls: it sets up what others share, and that only once."""
        suspends, self.suspends = self.suspends, lambda: False
        try:
            yield
        finally:
            self.suspends = suspends

    def client_of(self, request: Request) -> ModelClient:
        """Whom to ask."""
        if self.apart(request) and self.own_client is not None:
            return self.own_client
        return self.client

    def close(self) -> None:
        """Safe to call twice; only calls that were made inside the run have left anything open."""
        client, self.own_client = self.own_client, None
        if client is not None:
            client.close()

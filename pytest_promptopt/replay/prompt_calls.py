"""`Prompt`: what a case calls, and the state of the run of the case that the call belongs to."""

from __future__ import annotations

import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from pytest_promptopt.assertions.operand_capture import Operands
from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import ErrorKind, ModelError, PromptoptError, RenderError, SettingsError
from pytest_promptopt.models.client import CallResult, ModelClient
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Call, Case, Failure, Message, Overlay, Request, Role
from pytest_promptopt.replay.repeats import Repeats

#: Arguments of other libraries' calls that a user may try; named, so that nobody takes them for variables.
NOT_SUPPORTED = ("tools", "tool_choice", "images", "attachments")
#: So many turns of the event loop a suspended `acall` gives its siblings in a `gather`, so that all ask.
SIBLING_TURNS = 3
#: Comparisons of one run that are kept: a failed assert explains its own last of all.
MAX_COMPARED = 100


#: How providers, and we, complain about the schema of an answer.
_ABOUT_SCHEMA = re.compile(r"schema|response_format|output_config|structured output", re.IGNORECASE)


class Suspended(BaseException):
    """Ends a run whose next answer is not known yet; ``except Exception`` lets it pass."""


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

        Other requests of an application (the same question to a router, say) make no twins.
        """
        return frozenset([*(call.key for call in self.calls), *self.missing]) - self.missing_otherwise

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


class Prompt:
    """A prompt file as a test uses it: call it with the prompt's variables, get the model's answer.

    ``prompt(ticket="...")`` in a sync test, ``await prompt.acall(ticket="...")`` in an async one.
    ``messages=`` appends turns of a conversation (mappings with ``role`` and ``content``),
    ``response_schema=`` asks for JSON of that schema, or of a pydantic model's.
    """

    def __init__(self, run: Run[Any], name: str) -> None:
        self._run = run
        self._file = run.files[name]

    def __repr__(self) -> str:
        return f"<Prompt {self._file.name}>"

    @property
    def text(self) -> str:
        """The prompt's text without its front matter; under a candidate, the candidate's."""
        self._run.touched = True
        return self._file.prose

    @property
    def path(self) -> Path:
        """The prompt file; under a candidate, a temporary copy that holds it."""
        self._run.touched = True
        if self._file.name not in self._run.overlay and self._file.original == self._file.on_disk:
            return self._file.path
        try:
            folder = Path(tempfile.mkdtemp(prefix="promptopt-", dir=self._run.case.temporary()))
            copy = folder / self._file.path.name
            copy.write_bytes(self._file.content())
        except OSError as error:
            self._fail(PromptoptError(f"{self._file.name}: no copy of a candidate can be made: {error}"))
        return copy

    @property
    def variables(self) -> frozenset[str]:
        """The names that a call gives; those that the text makes optional may be left out."""
        return self._file.variables

    @property
    def attempt(self) -> int:
        """0 in the run that is reported; higher in runs that pytest does not report."""
        return self._run.attempt

    def __call__(
        self,
        /,
        *,
        messages: Sequence[Mapping[str, str] | Message] = (),
        response_schema: Mapping[str, Any] | type | None = None,
        **variables: object,
    ) -> Completion:
        """Render the prompt, ask the model, return its answer.

        Raises `RenderError` when the variables do not fit the prompt, `ModelError` when there is no usable
        answer.
        """
        __tracebackhide__ = True
        request, inputs = self._request(variables, messages, response_schema)
        client = self._run.client_of(request)
        known = self._look_up(request, client)
        if known is None:
            self._wait_inside(request, client)
            with suppress(ModelError):
                client.ask(request, Role.TARGET)
        return self._completion(request, inputs, client)

    async def acall(
        self,
        /,
        *,
        messages: Sequence[Mapping[str, str] | Message] = (),
        response_schema: Mapping[str, Any] | type | None = None,
        **variables: object,
    ) -> Completion:
        """`__call__` for async tests; several in a `gather` are in flight at once."""
        __tracebackhide__ = True
        request, inputs = self._request(variables, messages, response_schema)
        client = self._run.client_of(request)
        try:
            known = self._look_up(request, client)
        except Suspended:
            await let_siblings_ask()
            raise
        if known is None:
            self._wait_inside(request, client)
            with suppress(ModelError):
                await client.aask(request, Role.TARGET)
        return self._completion(request, inputs, client)

    def _request(
        self,
        variables: Mapping[str, object],
        messages: Sequence[Mapping[str, str] | Message],
        response_schema: object,
    ) -> tuple[Request, Mapping[str, str]]:
        """The request of a call, and what the test put into it."""
        __tracebackhide__ = True
        try:
            for name in NOT_SUPPORTED:
                if name in variables and name not in self._file.variables:
                    raise SettingsError(
                        f"prompt(...): {name}= is not supported yet; accepted: variables of the prompt, "
                        "messages=, response_schema="
                    )
            rendered = self._rendered(variables, messages)
            turns = rendered[len(rendered) - len(messages) :]
            inputs = {name: str(value) for name, value in variables.items()} | by_role(turns)
            self._run.asked.append((self._file.name, inputs))
            request = self._run.case.request(self._file, rendered, response_schema, sample=self._run.sample)
            return request, inputs
        except PromptoptError as error:
            self._fail(error)

    def _rendered(
        self, variables: Mapping[str, object], messages: Sequence[Mapping[str, str] | Message]
    ) -> tuple[Message, ...]:
        """Raises `RenderError`; if the text in the file can be rendered, the candidate is to blame."""
        __tracebackhide__ = True
        run, name = self._run, self._file.name
        try:
            rendered = self._file.render(variables, messages=messages)
        except RenderError:
            run.unrenderable = name in run.overlay and self._file_fits(variables, messages)
            raise
        empty = next((turn.role for turn in rendered if not turn.content.strip()), None)
        if empty is not None and name in run.overlay and self._file_fits(variables, messages):
            run.unrenderable = True
            raise RenderError(name, None, f"the `{empty}:` turn is empty")
        return rendered

    def _file_fits(
        self, variables: Mapping[str, object], messages: Sequence[Mapping[str, str] | Message]
    ) -> bool:
        """Whether the text in the file has something to say in every turn."""
        file = next(file for file in self._run.case.files.values() if file.name == self._file.name)
        with suppress(RenderError):
            return all(turn.content.strip() for turn in file.render(variables, messages=messages))
        return False

    def _fail(self, error: PromptoptError) -> NoReturn:
        """End the run without a verdict: what went wrong says nothing about the prompt's answers."""
        __tracebackhide__ = True
        self._run.error = error
        raise error.with_traceback(None) from None

    def _look_up(self, request: Request, client: ModelClient) -> CallResult | None:
        __tracebackhide__ = True
        run = self._run
        try:
            known = client.look_up(request)
        except OSError as error:  # no answer is to blame
            self._fail(PromptoptError(f"{self._file.name}: its answer cannot be looked up: {error}"))
        if client is not run.client and not run.only_looks:
            return known
        if known is None and (hopeless := client.hopeless(request)):
            self._fail(self._placed(hopeless, request))
        if known is None and run.refusal is not None:
            self._fail(run.refusal)
        if known is None and run.suspends():
            run.missing[request.key] = request
            raise run.suspension("waiting for a model's answer")
        return known

    def _wait_inside(self, request: Request, client: ModelClient) -> None:
        if client is self._run.client:
            self._run.waited = True
            self._run.connect(request.model)

    def _completion(self, request: Request, inputs: Mapping[str, str], client: ModelClient) -> Completion:
        __tracebackhide__ = True
        known = client.look_up(request)
        assert known is not None
        answer, error = known.answer, known.error
        if answer is None:
            assert error is not None
            self._fail(self._placed(error, request))
        self._run.calls.append(Call.of(answer, self._file.name, inputs, request.key, cached=known.cached))
        return Completion(answer, cached=known.cached)

    def _placed(self, error: ModelError, request: Request) -> ModelError:
        """A provider's complaint about a parameter or a schema, with the line that sets it."""
        if error.kind not in (ErrorKind.BAD_REQUEST, ErrorKind.PARAMETER):
            return error
        if request.response_schema is not None and _ABOUT_SCHEMA.search(str(error)):
            message = f"{self._run.case.case.where}: response_schema= was refused: {error}"
            return ModelError(error.kind, message, model=error.model, status=error.status)
        for name, where in self._run.case.parameter_lines(self._file).items():
            if re.search(rf"\b{re.escape(name)}\b", str(error)):
                message = f"{where}: `{name}` was refused: {error}"
                return ModelError(ErrorKind.PARAMETER, message, model=error.model, status=error.status)
        return error


class Prompts(Mapping[str, Prompt]):
    """The prompts of a pipeline by stage name: ``prompts["plan"](...)``."""

    def __init__(self, run: Run[Any]) -> None:
        self._run = run
        self._prompts = {name: Prompt(run, name) for name in run.files}

    def __repr__(self) -> str:
        return f"<Prompts {', '.join(map(repr, self._prompts))}>"

    def __getitem__(self, stage: str) -> Prompt:
        __tracebackhide__ = True
        if stage not in self._prompts:
            # Like every mistake in a call, this says nothing about the prompt's answers.
            stages = [name for name in self._prompts if name]  # a mark with one path has no stages
            known = f"its stages are {', '.join(map(repr, stages))}" if stages else "use the fixture `prompt`"
            self._run.error = SettingsError(f"the case has no stage {stage!r}; {known}")
            raise self._run.error
        return self._prompts[stage]

    def __iter__(self) -> Any:
        return iter(self._prompts)

    def __len__(self) -> int:
        return len(self._prompts)


def by_role(turns: Sequence[Message]) -> dict[str, str]:
    """The turns of a conversation as inputs: ``user`` for one, else ``user 1``, ``assistant 2`` ..."""
    if len(turns) == 1:
        return {turns[0].role: turns[0].content}
    return {f"{turn.role} {number}": turn.content for number, turn in enumerate(turns, start=1)}


async def let_siblings_ask() -> None:
    """Let other tasks of a run that is about to be dropped come to their own calls."""
    from pytest_promptopt.models.unpatched_asyncio import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another event loop than asyncio's
        return
    for task in asyncio.all_tasks():
        task.add_done_callback(_note_suspension)
    for _ in range(SIBLING_TURNS):
        await asyncio.sleep(0)


def _note_suspension(task: Any) -> None:
    """Nobody waits for all tasks of a run that is dropped, and asyncio would log an error of those left."""
    if not task.cancelled() and _is_suspension(getattr(task, "_exception", None)):
        task.exception()


def _is_suspension(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_suspension, error.exceptions))
    return isinstance(error, Suspended)

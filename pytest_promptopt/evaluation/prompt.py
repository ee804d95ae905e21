"""The `prompt` fixture: what a test calls, and the state of the run that the call belongs to."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pytest_promptopt.errors import ErrorKind, ModelError, PromptoptError, SettingsError
from pytest_promptopt.evaluation.capture import Operands
from pytest_promptopt.evaluation.case import PromptCase
from pytest_promptopt.evaluation.internals import Skipped
from pytest_promptopt.models.caller import Caller, Known
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Call, Completion, Failure, Message, Overlay, Request, Role

#: Arguments of other libraries' calls that a user may try; named, so that nobody takes them for variables.
NOT_SUPPORTED = ("tools", "tool_choice", "images", "attachments")
#: So many turns of the event loop a suspended `acall` gives its siblings in a `gather`, so that all ask.
SIBLING_TURNS = 3


class Suspended(Skipped):
    """Ends a run whose next answer is not known yet.

    A `BaseException`, so that ``except Exception`` lets it pass, and a skip, so that no plugin takes it for a
    failure (a rerun, a debugger, a traceback) in a run that will be dropped.
    """


@dataclass
class Run:
    """One execution of one case. All its `prompt` objects, in any thread, share it."""

    case: PromptCase
    caller: Caller
    overlay: Overlay = field(default_factory=dict)
    #: The prompt files by stage, under the overlay.
    files: Mapping[str, PromptFile] = field(default_factory=dict)
    sample: int = 0
    attempt: int = 0
    #: Whether an unknown answer suspends the run; otherwise the call blocks.
    suspends: Callable[[], bool] = lambda: False
    #: Raised instead of suspending once more: the case cannot be replayed.
    refusal: PromptoptError | None = None
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    missing: dict[str, Request] = field(default_factory=dict)
    error: PromptoptError | None = None
    calls: list[Call] = field(default_factory=list)
    operands: Operands | None = None
    failure: Failure | None = None
    #: The test has read `prompt.text` or `prompt.path`: a candidate reaches it even without a call of ours.
    touched: bool = False


class Prompt:
    """A prompt file as a test uses it: call it with the prompt's variables, get the model's answer.

    ``prompt(ticket="...")`` in a sync test, ``await prompt.acall(ticket="...")`` in an async one.
    ``messages=`` appends turns of a conversation (mappings with ``role`` and ``content``),
    ``response_schema=`` asks for JSON of that schema.
    """

    def __init__(self, run: Run, name: str) -> None:
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
        folder = Path(tempfile.mkdtemp(prefix="promptopt-", dir=self._run.case.temporary()))
        copy = folder / self._file.path.name
        copy.write_bytes(self._file.content())
        return copy

    @property
    def variables(self) -> frozenset[str]:
        """The names that a call must give."""
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
        response_schema: Mapping[str, Any] | None = None,
        **variables: object,
    ) -> Completion:
        """Render the prompt, ask the model, return its answer.

        Raises `RenderError` when the variables do not fit the prompt, `ModelError` when there is no usable
        answer.
        """
        __tracebackhide__ = True
        request, inputs = self._request(variables, messages, response_schema)
        known = self._known(request)
        if known is None:
            with suppress(ModelError):
                self._run.caller.ask(request, Role.TARGET)
        return self._completion(request, inputs)

    async def acall(
        self,
        /,
        *,
        messages: Sequence[Mapping[str, str] | Message] = (),
        response_schema: Mapping[str, Any] | None = None,
        **variables: object,
    ) -> Completion:
        """`__call__` for async tests; several in a `gather` are in flight at once."""
        __tracebackhide__ = True
        request, inputs = self._request(variables, messages, response_schema)
        try:
            known = self._known(request)
        except Suspended:
            await _let_siblings_ask()
            raise
        if known is None:
            with suppress(ModelError):
                await self._run.caller.aask(request, Role.TARGET)
        return self._completion(request, inputs)

    def _request(
        self,
        variables: Mapping[str, object],
        messages: Sequence[Mapping[str, str] | Message],
        response_schema: Mapping[str, Any] | None,
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
            rendered = self._file.render(variables, messages=messages)
            turns = rendered[len(rendered) - len(messages) :]
            inputs = {name: str(value) for name, value in variables.items()} | _by_role(turns)
            self._run.asked.append((self._file.name, inputs))
            request = self._run.case.request(self._file, rendered, response_schema, sample=self._run.sample)
            return request, inputs
        except PromptoptError as error:
            self._fail(error)

    def _fail(self, error: PromptoptError) -> NoReturn:
        """End the run without a verdict: what went wrong says nothing about the prompt's answers."""
        __tracebackhide__ = True
        self._run.error = error
        raise error.with_traceback(None) from None

    def _known(self, request: Request) -> Known | None:
        __tracebackhide__ = True
        run = self._run
        known = run.caller.known(request)
        if known is None and run.refusal is not None:
            self._fail(run.refusal)
        if known is None and run.suspends():
            run.missing[request.key] = request
            raise Suspended("waiting for a model's answer")
        return known

    def _completion(self, request: Request, inputs: Mapping[str, str]) -> Completion:
        __tracebackhide__ = True
        known = self._run.caller.known(request)
        assert known is not None
        answer, error = known.answer, known.error
        if answer is None:
            assert error is not None
            self._fail(self._placed(error))
        self._run.calls.append(
            Call(
                prompt=self._file.name,
                variables=inputs,
                key=request.key,
                text=answer.text,
                stop_reason=answer.stop_reason,
                usage=answer.usage,
                cost=answer.cost,
                latency=answer.latency,
                cached=known.cached,
            )
        )
        return Completion(answer, cached=known.cached)

    def _placed(self, error: ModelError) -> ModelError:
        """A provider's complaint about a parameter, with the line that sets it."""
        if error.kind not in (ErrorKind.BAD_REQUEST, ErrorKind.PARAMETER):
            return error
        for name, where in self._run.case.parameter_lines(self._file).items():
            if re.search(rf"\b{re.escape(name)}\b", str(error)):
                message = f"{where}: `{name}` was refused: {error}"
                return ModelError(ErrorKind.PARAMETER, message, model=error.model, status=error.status)
        return error


class Prompts(Mapping[str, Prompt]):
    """The prompts of a pipeline by stage name: ``prompts["plan"](...)``."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._prompts = {name: Prompt(run, name) for name in run.files}

    def __getitem__(self, stage: str) -> Prompt:
        if stage not in self._prompts:
            # Like every mistake in a call, this says nothing about the prompt's answers.
            names = ", ".join(map(repr, self._prompts))
            self._run.error = SettingsError(f"no stage {stage!r} in @pytest.mark.prompt; it names {names}")
            raise self._run.error
        return self._prompts[stage]

    def __iter__(self) -> Any:
        return iter(self._prompts)

    def __len__(self) -> int:
        return len(self._prompts)


def _by_role(turns: Sequence[Message]) -> dict[str, str]:
    """The turns of a conversation as inputs: ``user`` for one, else ``user 1``, ``assistant 2`` ..."""
    if len(turns) == 1:
        return {turns[0].role: turns[0].content}
    return {f"{turn.role} {number}": turn.content for number, turn in enumerate(turns, start=1)}


async def _let_siblings_ask() -> None:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another event loop than asyncio's
        return
    for _ in range(SIBLING_TURNS):
        await asyncio.sleep(0)

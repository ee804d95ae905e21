"""`Prompt`: what a case calls."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import ErrorKind, ModelError, PromptoptError, RenderError, SettingsError
from pytest_promptopt.models.call_records import CallResult
from pytest_promptopt.records import Call, Message, Request, StageGrade
from pytest_promptopt.replay.call_content import EXTRAS, CallContent, tools_and_files
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.run_calls import RunCalls
from pytest_promptopt.replay.stage_grades import grade_problem

#: Arguments of other libraries' calls that a user may try; named, so that nobody takes them for variables.
NOT_SUPPORTED = ("attachments", "functions", "audio")

#: What was not given: a prompt may have a variable `documents`, whose value may be None.
_ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "..."})()

#: How providers, and we, complain about the schema of an answer.
_ABOUT_SCHEMA = re.compile(r"schema|response_format|output_config|structured output", re.IGNORECASE)

_ABOUT_TOOLS = re.compile(r"\btools?\b|tool_choice|function", re.IGNORECASE)


class Prompt:
    """A prompt file as a test uses it: call it with the prompt's variables, get the model's answer.

    ``prompt(ticket="...")`` in a sync test, ``await prompt.acall(ticket="...")`` in an async one.
    ``messages=`` appends turns of a conversation (mappings with ``role`` and ``content``),
    ``response_schema=`` asks for JSON of that schema, or of a pydantic model's. ``tools=`` are functions that
    the model may call, ``tool_choice=`` says whether it must; ``images=`` and ``documents=`` (paths or bytes)
    go before the last text of the user. The last four are variables where the prompt has one of that name.
    """

    def __init__(self, run: Run[Any], name: str) -> None:
        self._run = run
        self._stage = name
        self._file = run.files[name]
        self._calls = RunCalls(run, self._file.name, placed=self._placed)

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
            self._calls.fail(
                PromptoptError(f"{self._file.name}: no copy of a candidate can be made: {error}")
            )
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
        messages: Sequence[Mapping[str, Any] | Message] = (),
        response_schema: Mapping[str, Any] | type | None = None,
        tools: Sequence[Any] = _ABSENT,
        tool_choice: str | Mapping[str, Any] | Callable[..., Any] = _ABSENT,
        images: Sequence[Any] = _ABSENT,
        documents: Sequence[Any] = _ABSENT,
        **variables: object,
    ) -> Completion:
        """Render the prompt, ask the model, return its answer.

        Raises `RenderError` when the variables do not fit the prompt, `ModelError` when there is no usable
        answer.
        """
        __tracebackhide__ = True
        extras = dict(zip(EXTRAS, (tools, tool_choice, images, documents), strict=True))
        request, inputs = self._request(variables, messages, response_schema, extras)
        (known,) = self._calls.ask([request])
        return self._completion(request, inputs, known)

    async def acall(
        self,
        /,
        *,
        messages: Sequence[Mapping[str, Any] | Message] = (),
        response_schema: Mapping[str, Any] | type | None = None,
        tools: Sequence[Any] = _ABSENT,
        tool_choice: str | Mapping[str, Any] | Callable[..., Any] = _ABSENT,
        images: Sequence[Any] = _ABSENT,
        documents: Sequence[Any] = _ABSENT,
        **variables: object,
    ) -> Completion:
        """`__call__` for async tests; several in a `gather` are in flight at once."""
        __tracebackhide__ = True
        extras = dict(zip(EXTRAS, (tools, tool_choice, images, documents), strict=True))
        request, inputs = self._request(variables, messages, response_schema, extras)
        (known,) = await self._calls.aask([request])
        return self._completion(request, inputs, known)

    def grade(self, score: float, why: str = "") -> None:
        """Say how good this stage was in this run of the case: it tells at which stage a case goes wrong.

        It does not decide whether the case passes. Of several grades of one prompt in a run the lowest
        counts, and all reasons are kept.

        :param score: from 0 (wrong) to 1 (right), or True or False.
        :param why: what is good or bad, in a few words.
        :raises SettingsError: anything else was given.
        """
        __tracebackhide__ = True
        if problem := grade_problem(score, why):
            name = f"prompts[{self._stage!r}]" if self._stage else "prompt"
            where = self._run.case.case.where
            self._calls.fail(SettingsError(f"{where}: {name}.grade(score, why): {problem}"))
        self._run.grades.append(StageGrade(self._file.name, float(score), why))

    def _request(
        self,
        variables: Mapping[str, object],
        messages: Sequence[Mapping[str, Any] | Message],
        response_schema: object,
        extras: Mapping[str, Any],
    ) -> tuple[Request, Mapping[str, str]]:
        """The request of a call, and what the test put into it."""
        __tracebackhide__ = True
        try:
            given = {name: value for name, value in extras.items() if value is not _ABSENT}
            # Many a prompt has a variable `documents`, and that is meant then.
            variables = {**variables, **{name: given.pop(name) for name in self._named(given)}}
            for name in NOT_SUPPORTED:
                if name in variables and name not in self._file.variables:
                    raise SettingsError(
                        f"prompt(...): {name}= is not supported; accepted: variables of the prompt, "
                        f"messages=, response_schema=, {', '.join(f'{each}=' for each in EXTRAS)}"
                    )
            content = CallContent.read(given, self._run.case.folders)
            rendered = self._rendered(variables, messages)
            turns = rendered[len(rendered) - len(messages) :]
            inputs = {name: str(value) for name, value in variables.items()} | by_role(turns) | content.inputs
            self._run.asked.append((self._file.name, inputs))
            sent = content.messages(rendered)
            bare = self._run.case.request(self._file, sent, response_schema, sample=self._run.sample)
            return content.request(bare), inputs
        except PromptoptError as error:
            self._calls.fail(error)

    def _named(self, given: Mapping[str, Any]) -> list[str]:
        """Those of the arguments that are variables of the prompt."""
        return [name for name in given if name in self._file.variables]

    def _rendered(
        self, variables: Mapping[str, object], messages: Sequence[Mapping[str, Any] | Message]
    ) -> tuple[Message, ...]:
        """Raises `RenderError`; if the text in the file can be rendered, the candidate is to blame."""
        __tracebackhide__ = True
        run, name = self._run, self._file.name
        try:
            rendered = self._file.render(variables, messages=messages, folders=run.case.folders)
        except RenderError:
            run.unrenderable = name in run.overlay and self._file_fits(variables, messages)
            raise
        empty = next((turn.role for turn in rendered if not turn.content.strip()), None)
        if empty is not None and name in run.overlay and self._file_fits(variables, messages):
            run.unrenderable = True
            raise RenderError(name, None, f"the `{empty}:` turn is empty")
        return rendered

    def _file_fits(
        self, variables: Mapping[str, object], messages: Sequence[Mapping[str, Any] | Message]
    ) -> bool:
        """Whether the text in the file has something to say in every turn."""
        file = next(file for file in self._run.case.files.values() if file.name == self._file.name)
        folders = self._run.case.folders
        with suppress(RenderError):
            return all(
                turn.content.strip() for turn in file.render(variables, messages=messages, folders=folders)
            )
        return False

    def _completion(self, request: Request, inputs: Mapping[str, str], known: CallResult) -> Completion:
        assert known.answer is not None
        about = tools_and_files(request)
        self._run.calls.append(
            Call.of(known.answer, self._file.name, inputs, request.key, cached=known.cached, **about)
        )
        return Completion(known.answer, cached=known.cached)

    def _placed(self, error: ModelError, request: Request) -> ModelError:
        """A provider's complaint about a parameter or a schema, with the line that sets it."""
        if error.kind not in (ErrorKind.BAD_REQUEST, ErrorKind.PARAMETER):
            return error
        if request.response_schema is not None and _ABOUT_SCHEMA.search(str(error)):
            message = f"{self._run.case.case.where}: response_schema= was refused: {error}"
            return ModelError(error.kind, message, model=error.model, status=error.status)
        if request.tools and _ABOUT_TOOLS.search(str(error)):
            message = f"{self._run.case.case.where}: tools= was refused: {error}"
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

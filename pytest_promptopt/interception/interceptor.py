"""Requests of the code under test become calls of the case's run: known, suspended, or waited for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError, PromptoptError, RenderError
from pytest_promptopt.interception.application_model import ApplicationModel, Sender
from pytest_promptopt.interception.bodies import TextSlot, text_slots, with_texts
from pytest_promptopt.interception.dspy_fields import input_fields
from pytest_promptopt.interception.gate import AsyncSend, Send, Sent
from pytest_promptopt.interception.prompt_in_request import PromptsFound, find_prompts, with_candidates
from pytest_promptopt.interception.recognition import Api, ModelCall
from pytest_promptopt.interception.wanted import Wanted, public_url, settings_hash
from pytest_promptopt.models.call_records import CallResult
from pytest_promptopt.models.secret_redaction import remember_header_secrets
from pytest_promptopt.models.tool_definitions import tool_lines, tools_in_body
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.prompt_matching import NoMatch
from pytest_promptopt.records import Call, Message, Request, Role
from pytest_promptopt.replay.current_run import own_run, works_for_loop_aside
from pytest_promptopt.replay.prompt_calls import by_role
from pytest_promptopt.replay.run import Run
from pytest_promptopt.replay.suspension import Suspended, let_siblings_ask
from pytest_promptopt.wire_records import WireAnswer, WireRequest

#: Its own SDK shall not repeat a request that has been repeated often enough here.
_NO_RETRY = ("x-should-retry", "false")


#: What is found in a request that must stay as it is.
SIGNED = PromptsFound(
    (),
    NoMatch(
        "the application's requests are signed with all their content (AWS SigV4): no candidate can be put "
        "into them; use the fixture `prompt` in the place of their function"
    ),
)


#: Requests that are kept in mind, so that they are read once.
MOST_KEPT = 2000


@dataclass(frozen=True)
class _Understood:
    """A request of the code under test, before it is one of a run."""

    body: Any
    call: ModelCall
    slots: list[TextSlot]
    found: PromptsFound


@dataclass(frozen=True)
class _Asked:
    """A request of the code under test, as a call of its run.

    :param bare: the key of the first of its equals.
    :param of_prompt: whether it is a call of a prompt of the case.
    :param calls: the name of each prompt that it holds, with its variables; else the model's.
    """

    run: Run[Any]
    request: Request
    bare: str
    of_prompt: bool
    calls: Sequence[tuple[str, Mapping[str, str]]]
    signed: bool


class Interceptor:
    """Handles the requests of one session.

    :param running: the run of a case that is going on, if any.
    :param read: the prompt files as they were when the session began: an application that has read them keeps
        their texts.
    """

    def __init__(
        self,
        wanted: Wanted,
        application: ApplicationModel,
        *,
        running: Callable[[], Run[Any] | None],
        read: Mapping[str, PromptFile],
    ) -> None:
        self._wanted = wanted
        self._application = application
        self._of_engine = running
        #: With the prompt files, whose identities are in the keys.
        self._read_before: dict[tuple[object, ...], tuple[object, _Understood | None]] = {}
        self._read = read

    def _running(self) -> Run[Any] | None:
        return own_run() or self._of_engine()

    def has_case(self) -> bool:
        return self._running() is not None

    def sees(self, method: str, url: str) -> bool:
        return self._wanted.sees(method, url) and self._running() is not None

    def ask(self, sent: Sent, send: Send) -> WireAnswer | None:
        __tracebackhide__ = True
        asked = self._asked(sent, send)
        if asked is None:
            return None
        known = self._known(asked)
        if known is None:
            asked.run.waited = True
            with suppress(ModelError):
                asked.run.client.ask(asked.request, Role.TARGET)
            known = asked.run.client.look_up(asked.request)
        return self._delivered(asked, known)

    async def aask(self, sent: Sent, send: AsyncSend) -> WireAnswer | None:
        __tracebackhide__ = True
        asked = self._asked(sent, send)
        if asked is None:
            return None
        try:
            known = self._known(asked)
        except Suspended:
            await let_siblings_ask()
            raise
        if known is None:
            asked.run.waited = True
            with suppress(ModelError):
                await asked.run.client.aask(asked.request, Role.TARGET)
            known = asked.run.client.look_up(asked.request)
        return self._delivered(asked, known)

    def _asked(self, sent: Sent, send: Send | AsyncSend) -> _Asked | None:
        """What a request is in its run; None for one that asks no model."""
        run = self._running()
        read = None if run is None else self._understood(sent, self._versions(run))
        if run is None or read is None:
            return None
        remember_header_secrets(dict(sent.headers))
        body, call, slots, found, payload = read.body, read.call, read.slots, read.found, sent.body
        calls = self._calls(call, slots, found)
        if found.matches:
            run.asked += calls
            new = self._with_candidates(run, found, body, slots)
            if new is not body:
                body, slots = new, text_slots(new)
                payload = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        else:
            run.asked_otherwise += calls
            if found.none is not None and call.api is not Api.OTHER:
                run.not_recognised = run.not_recognised or found.none.reason
        first = self._request(run, sent, call, body, slots)
        request = self._numbered(run, first)
        self._application.remember(request, Sender(call.api, payload, send))
        return _Asked(run, request, first.key, bool(found.matches), calls, sent.signed)

    def _understood(self, sent: Sent, versions: list[list[PromptFile]]) -> _Understood | None:
        """What a request is; the same one comes again when its case is run again."""
        key = (sent.url, sent.body, sent.signed, *(id(file) for each in versions for file in each))
        known = self._read_before.get(key)
        if known is None:
            if len(self._read_before) >= MOST_KEPT:
                self._read_before.clear()
            known = self._read_before[key] = versions, self._understand(sent, versions)
        return known[1]

    def _understand(self, sent: Sent, versions: list[list[PromptFile]]) -> _Understood | None:
        body = _json(sent.body)
        call = None if body is None else self._wanted.call_of(sent.url, body)
        if call is None:
            return None
        slots = text_slots(body)
        return _Understood(body, call, slots, SIGNED if sent.signed else find_prompts(versions, slots))

    def _versions(self, run: Run[Any]) -> list[list[PromptFile]]:
        """Of each prompt of the case the texts that the application may have."""
        return [[file, self._read.get(file.name, file)] for file in run.case.files.values()]

    def _calls(
        self, call: ModelCall, slots: Sequence[TextSlot], found: PromptsFound
    ) -> list[tuple[str, Mapping[str, str]]]:
        """What is asked under which name: of each prompt, or of the model itself."""
        others = by_role(
            [
                Message(slot.role, slot.text)
                for number, slot in enumerate(slots)
                if number not in found.messages and slot.role in ("user", "assistant")
            ]
        )
        if not found.matches:
            return [(call.model, others)]
        fields = input_fields(slots) if any(match.prompt.is_dspy for match in found.matches) else {}
        inputs = fields or others
        return [(match.prompt.name, {**inputs, **match.variables}) for match in found.matches]

    def _with_candidates(
        self, run: Run[Any], found: PromptsFound, body: Any, slots: Sequence[TextSlot]
    ) -> Any:
        """`body` with the texts that the run is for; the same object where they are in it already."""
        now = {file.name: file for file in run.files.values()}
        changed = [(match, now[match.prompt.name]) for match in found.matches]
        changed = [(match, wanted) for match, wanted in changed if wanted.prose != match.prompt.prose]
        try:
            return with_candidates(body, slots, changed) if changed else body
        except RenderError as error:
            run.unrenderable = True
            run.error = run.error or error
            return body

    def _request(
        self, run: Run[Any], sent: Sent, call: ModelCall, body: Any, slots: Sequence[TextSlot]
    ) -> Request:
        counted = self._wanted.counted_body(body)
        bare = with_texts(counted, {slot.place: "" for slot in slots})
        return Request(
            model=call.model,
            messages=tuple(Message(slot.role, slot.text) for slot in slots),
            max_tokens=call.limit,
            parameters=bare if isinstance(bare, dict) else {"body": bare},
            sample=run.sample,
            wire=WireRequest(sent.method, public_url(sent.url), counted, settings_hash(sent)),
        )

    def _numbered(self, run: Run[Any], request: Request) -> Request:
        """Equal requests of one run are several questions, as they would be without us."""
        assert request.wire is not None
        number = run.repeats.number(request.key)
        return replace(request, wire=replace(request.wire, number=number)) if number else request

    def _known(self, asked: _Asked) -> CallResult | None:
        """What is known of it. Raises the run's suspension when it has to be waited for."""
        __tracebackhide__ = True
        run, request = asked.run, asked.request
        problem: PromptoptError | None = None
        known = None
        try:
            known = run.client.look_up(request)
        except OSError as error:
            problem = PromptoptError(f"{request.model}: its answer cannot be looked up: {error}")
        if known is None:
            problem = problem or run.client.hopeless(request) or run.refusal
        if problem is not None:
            if not isinstance(problem, ModelError):
                problem = ModelError(ErrorKind.DEFECT, str(problem), model=request.model)
            return CallResult(None, problem, cached=False)
        waits = asked.signed and not run.only_looks  # a signature is good for minutes only
        if known is None and not waits and run.suspends():
            run.missing[request.key] = request
            if not asked.of_prompt:
                run.missing_otherwise.add(request.key)
            said = "waiting for a model's answer"
            if works_for_loop_aside():  # a suspension would end more than the run, which is dropped later
                return CallResult(None, ModelError(ErrorKind.DEFECT, said, model=request.model), cached=False)
            raise run.suspension(said)
        return known

    def _delivered(self, asked: _Asked, known: CallResult | None) -> WireAnswer:
        """What the application's client gets: the server's own reply, be it an error."""
        __tracebackhide__ = True
        assert known is not None
        run, answer = asked.run, known.answer
        if answer is None or answer.wire is None:
            assert known.error is not None
            run.error = run.error or known.error
            return _refusal(known.error)
        self._application.forget(asked.request)
        run.repeats.answered(asked.bare)
        calls = run.calls if asked.of_prompt else run.other_calls
        wire = asked.request.wire
        tools = () if wire is None else tool_lines(tools_in_body(wire.body))
        # All of one key, so whoever counts takes them for one.
        calls += [
            Call.of(answer, name, inputs, asked.request.key, cached=known.cached, tools=tools)
            for name, inputs in asked.calls
        ]
        return answer.wire


def _refusal(error: ModelError) -> WireAnswer:
    """An error as the application's SDK understands it. Raises what its client had raised."""
    if error.reply is not None and not 200 <= error.reply.status < 300:
        return replace(error.reply, headers=(*error.reply.headers, _NO_RETRY))
    if error.raised is not None:
        raise error.raised
    words = {"type": "error", "error": {"type": "invalid_request_error", "message": str(error)}}
    headers = (("content-type", "application/json"), _NO_RETRY)
    return WireAnswer(error.status or 400, headers, (json.dumps(words).encode(),))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None

"""The model that answers requests of applications: it sends them as the application would have done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.interception.answers import NoAnswer, Said, plain_body, read_answer
from pytest_promptopt.interception.gate import AsyncSend, Send
from pytest_promptopt.interception.recognition import Api
from pytest_promptopt.interception.twins import close_twins, work_for
from pytest_promptopt.models.adaptive_timeout import no_reply
from pytest_promptopt.models.answer_validation import error_words
from pytest_promptopt.models.event_loop_thread import run_in_daemon_thread
from pytest_promptopt.models.file_descriptors import ran_out_of_descriptors
from pytest_promptopt.models.listed_prices import application_price
from pytest_promptopt.models.retry import kind_of_status, retry_after
from pytest_promptopt.models.secret_redaction import redact_secrets
from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.records import Answer, Request
from pytest_promptopt.unpatched import time
from pytest_promptopt.wire_records import WireAnswer


@dataclass(frozen=True)
class Sender:
    """How a request is sent.

    :param body: what is sent, byte for byte.
    """

    api: Api
    body: bytes
    send: Send | AsyncSend


class ApplicationModel:
    """One attempt at a request by the client that the application has made for it."""

    def __init__(self) -> None:
        self._senders: dict[str, Sender] = {}

    def remember(self, request: Request, sender: Sender) -> None:
        """How `request` is sent, if it has to be. To be called before it is submitted."""
        self._senders[request.key] = sender

    def forget(self, request: Request) -> None:
        """Its answer is known: the client may go."""
        self._senders.pop(request.key, None)

    async def complete(self, request: Request) -> Answer:
        """Raises `ModelError` with the server's reply, if there was one."""
        sender = self._senders.get(request.key)
        if sender is None:
            said = f"{request.model}: nobody knows how its request is sent"
            raise ModelError(ErrorKind.DEFECT, said, model=request.model)
        started = time.perf_counter()
        reply = await _reply(sender, request.model)
        latency = time.perf_counter() - started
        if not 200 <= reply.status < 300:
            raise _refused(request.model, reply)
        return self._answer(request, _read(sender.api, request.model, reply), reply, latency)

    async def aclose(self) -> None:
        """Its connections; how requests are sent stays known, for others that ask it."""
        await close_twins()

    def _answer(self, request: Request, said: Said, reply: WireAnswer, latency: float) -> Answer:
        price = None if said.usage is None else application_price(request)
        return Answer(
            text=said.words,
            model=request.model,
            stop_reason=said.stop_reason,
            usage=said.usage,
            cost=None if said.usage is None or price is None else price.of(said.usage),
            latency=latency,
            thinking=said.thinking,
            wire=reply,
            tool_calls=said.tool_calls,
        )


async def _reply(sender: Sender, model: str) -> WireAnswer:
    started = time.perf_counter()
    try:
        if iscoroutinefunction(sender.send):
            reply: WireAnswer = await sender.send(sender.body)
            return reply
        return await run_in_daemon_thread(partial(_sent, sender, asyncio.get_running_loop()))
    except Exception as error:
        raise _unanswered(model, error, time.perf_counter() - started) from None


def _unanswered(model: str, error: Exception, seconds: float) -> ModelError:
    """What it means that the application's client has raised `error` after so many seconds."""
    cause = getattr(error, "reason", error)  # urllib3 puts it into one that says how often it was tried
    if "Timeout" in type(cause).__name__:
        said = f"{no_reply(model, seconds)}, the limit of the application's own client"
        return ModelError(ErrorKind.TIMEOUT, said, model=model, raised=error)
    kind = ErrorKind.OVERLOADED if ran_out_of_descriptors(error) else ErrorKind.CONNECTION
    said = f"{model}: the connection failed ({error_words(error)})"
    return ModelError(kind, said, model=model, raised=error)


def _sent(sender: Sender, loop: object) -> Any:
    work_for(loop)
    return sender.send(sender.body)


def _read(api: Api, model: str, reply: WireAnswer) -> Said:
    try:
        return read_answer(api, reply)
    except NoAnswer as error:
        kind = ErrorKind.SERVER if error.failed else ErrorKind.MALFORMED
        said = f"{model}: {redact_secrets(str(error))}"
        raise ModelError(kind, said, model=model, reply=reply) from None


def _refused(model: str, reply: WireAnswer) -> ModelError:
    said = redact_secrets(_complaint(reply))
    return ModelError(
        kind_of_status(reply.status),
        f"{model}: HTTP {reply.status}: {said}",
        model=model,
        status=reply.status,
        retry_after=retry_after(dict(reply.headers)),
        reply=reply,
    )


def _complaint(reply: WireAnswer) -> str:
    """A provider's own words, wherever it puts them."""
    try:
        text = plain_body(reply).decode("utf-8", "replace")
        found = json.loads(text)
        error = found.get("error", found) if isinstance(found, dict) else found
        return str(error.get("message") or error) if isinstance(error, dict) else str(error)
    except (ValueError, NoAnswer):
        return reply.body[:500].decode("utf-8", "replace")

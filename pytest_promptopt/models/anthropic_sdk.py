"""Claude models through the official anthropic SDK, which is imported by the first call."""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.answer_limits import claude_limit, cut_short, explain_length_error
from pytest_promptopt.models.answer_validation import usage_of
from pytest_promptopt.models.chat_forms import claude_messages
from pytest_promptopt.models.event_loop_thread import run_in_daemon_thread
from pytest_promptopt.models.file_descriptors import ran_out_of_descriptors
from pytest_promptopt.models.prices import claude_price
from pytest_promptopt.models.retry import kind_of_status, retry_after
from pytest_promptopt.models.secret_redaction import redact_secrets, remember_header_secrets
from pytest_promptopt.models.strict_schemas import CLAUDE, NotStrict, strict_copy
from pytest_promptopt.models.tool_definitions import claude_choice, claude_tools
from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.records import SPELLED, Answer, Request, StopReason, Usage
from pytest_promptopt.records.content import Thought, ToolCall
from pytest_promptopt.unpatched import time

if TYPE_CHECKING:
    import anthropic

#: Seconds between two reads, and to connect. Only a backstop: the total deadline is the caller's.
READ_TIMEOUT = 600.0
CONNECT_TIMEOUT = 10.0


def has_credentials() -> bool:
    """Whether the SDK would find a key, a token, a profile or a federation to authenticate with."""
    if os.environ.get("ANTHROPIC_API_KEY") or os.environ.get("ANTHROPIC_AUTH_TOKEN"):
        return True
    if "authorization" in os.environ.get("ANTHROPIC_CUSTOM_HEADERS", "").lower():
        return True
    import anthropic

    try:
        with anthropic.Anthropic(max_retries=0) as client:
            return client.credentials is not None
    except anthropic.AnthropicError:
        return False


class AnthropicModel:
    """One Claude model. Key and address come from the environment, read by the SDK itself.

    :param model: without its provider, ``claude-opus-5-5``.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self._importing = asyncio.Lock()
        self._client: anthropic.AsyncAnthropic | None = None
        self._named: frozenset[str] = frozenset()
        self._silenced = False

    async def complete(self, request: Request) -> Answer:
        client = await self._connected()
        arguments = self._arguments(request)
        started = time.perf_counter()
        try:
            reply = await self._send(client, arguments)
        except ModelError as error:
            if request.max_tokens is None:
                raise explain_length_error(error, arguments["max_tokens"]) from None
            raise
        return self._answer(request, reply, time.perf_counter() - started)

    async def connect(self) -> None:
        """Import the SDK and make the client; raises `ModelError` without credentials."""
        await self._connected()

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> anthropic.AsyncAnthropic:
        async with self._importing:
            if self._client is None:
                try:
                    client = await self._client_made()
                except ModelError:
                    raise
                except Exception as error:
                    said = f"its client cannot be made ({type(error).__name__}: {error})"
                    raise self._error(ErrorKind.SETUP, said) from None
                self._named = frozenset(inspect.signature(client.messages.create).parameters)
                self._client = client
            return self._client

    async def _client_made(self) -> anthropic.AsyncAnthropic:
        sdk = await run_in_daemon_thread(importlib.import_module, "anthropic")
        if not await run_in_daemon_thread(has_credentials):
            said = "no credentials: set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN"
            raise self._error(ErrorKind.AUTHENTICATION, said)
        timeout = sdk.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
        client: anthropic.AsyncAnthropic = sdk.AsyncAnthropic(max_retries=0, timeout=timeout)
        remember_header_secrets(client.default_headers)
        return client

    def _arguments(self, request: Request) -> dict[str, Any]:
        system = "\n\n".join(m.content for m in request.messages if m.role == "system")
        parameters = {name: value for name, value in request.parameters.items() if name != SPELLED}
        arguments: dict[str, Any] = {name: v for name, v in parameters.items() if name in self._named}
        extra = {name: value for name, value in parameters.items() if name not in self._named}
        arguments |= {
            "model": self.model,
            "max_tokens": request.max_tokens or claude_limit(self.model, request)[0],
            "messages": claude_messages(request),
        }
        if system:
            arguments["system"] = system
        if request.tools:
            arguments["tools"] = self._tools(request)
        if request.tool_choice:
            arguments |= claude_choice(request.tool_choice)
        if request.stop:
            arguments["stop_sequences"] = list(request.stop)
        if request.response_schema is not None:
            chosen = {"format": {"type": "json_schema", "schema": self._schema(request.response_schema)}}
            arguments["output_config"] = {**arguments.get("output_config", {}), **chosen}
        if extra:
            arguments["extra_body"] = {**extra, **arguments.get("extra_body", {})}
        return arguments

    def _tools(self, request: Request) -> list[dict[str, Any]]:
        try:
            return claude_tools(request.tools)
        except NotStrict as error:
            raise self._error(ErrorKind.BAD_REQUEST, str(error)) from None

    def _schema(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return strict_copy(wanted, CLAUDE)
        except NotStrict as error:
            said = f"response_schema= cannot be promised by Claude models: {error}"
            advice = "name every key and type, or leave it out and ask for JSON in the prompt"
            raise self._error(ErrorKind.BAD_REQUEST, f"{said}; {advice}") from None

    async def _send(self, client: anthropic.AsyncAnthropic, arguments: dict[str, Any]) -> object:
        import anthropic

        try:
            return await self._create(client, arguments)
        except anthropic.APIStatusError as error:
            status, said = error.status_code, error.api_message or error.message
            raise self._error(
                kind_of_status(status), f"HTTP {status}: {said}", status, retry_after(error.response.headers)
            ) from None
        except anthropic.APITimeoutError:
            raise self._error(ErrorKind.TIMEOUT, "no reply in time") from None
        except anthropic.APIConnectionError as error:
            cause = type(error.__cause__).__name__ if error.__cause__ else "connection error"
            kind = ErrorKind.OVERLOADED if ran_out_of_descriptors(error) else ErrorKind.CONNECTION
            raise self._error(kind, f"the connection failed ({cause})") from None
        except (anthropic.APIResponseValidationError, json.JSONDecodeError, UnicodeDecodeError):
            raise self._error(ErrorKind.MALFORMED, "the reply is not JSON") from None
        except anthropic.CredentialsError as error:
            raise self._error(ErrorKind.AUTHENTICATION, str(error)) from None

    async def _create(self, client: anthropic.AsyncAnthropic, arguments: dict[str, Any]) -> object:
        if not self._silenced:
            try:
                return await client.messages.create(**arguments)
            except (DeprecationWarning, UserWarning):
                # Under `-W error` the SDK's notice about an old model is an exception, before anything is
                # sent; warnings.catch_warnings() here would disturb the main thread.
                self._silenced = True
        body = {**arguments.get("extra_body", {}), "model": arguments["model"]}
        return await client.messages.create(**{**arguments, "model": "", "extra_body": body})

    def _answer(self, request: Request, reply: object, latency: float) -> Answer:
        import anthropic

        if not isinstance(reply, anthropic.types.Message) or not isinstance(reply.content, list):
            raise self._error(ErrorKind.MALFORMED, "the reply is not a message")
        texts = [block.text for block in reply.content if block.type == "text"]
        if not all(isinstance(text, str) for text in texts):
            raise self._error(ErrorKind.MALFORMED, "a text block without text")
        if not isinstance(reply.stop_reason, str):
            raise self._error(ErrorKind.MALFORMED, "the reply has no stop reason")
        text = "".join(texts)
        thoughts = [block for block in reply.content if block.type in ("thinking", "redacted_thinking")]
        calls = [block for block in reply.content if block.type == "tool_use"]
        limit, is_most = claude_limit(self.model, request)
        if request.max_tokens is None and str(reply.stop_reason) == StopReason.MAX_TOKENS and not is_most:
            raise cut_short(request.model, limit)
        usage = _usage(reply.usage)
        price = claude_price(self.model, request, usage)
        return Answer(
            text=text,
            model=request.model,
            stop_reason=reply.stop_reason,
            usage=usage,
            cost=None if usage is None or price is None else price.of(usage),
            latency=latency,
            thinking="\n".join(str(block.thinking) for block in thoughts if block.type == "thinking"),
            tool_calls=tuple(ToolCall.read(block.name, block.input, block.id) for block in calls),
            thoughts=tuple(map(_thought, thoughts)) if calls else (),
        )

    def _error(
        self, kind: ErrorKind, message: str, status: int | None = None, wait: float | None = None
    ) -> ModelError:
        name = f"anthropic/{self.model}"
        return ModelError(
            kind, f"{name}: {redact_secrets(message)}", model=name, status=status, retry_after=wait
        )


def _thought(block: Any) -> Thought:
    if block.type == "redacted_thinking":
        return Thought("", redacted=str(block.data))
    return Thought(str(block.thinking), signature=str(getattr(block, "signature", None) or ""))


def _usage(usage: Any) -> Usage | None:
    """The four counters; None when the reply lacks one of the two that are always there."""
    return usage_of(
        getattr(usage, "input_tokens", None),
        getattr(usage, "output_tokens", None),
        getattr(usage, "cache_read_input_tokens", None),
        getattr(usage, "cache_creation_input_tokens", None),
    )

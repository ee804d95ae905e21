"""Every other provider through litellm, an extra; imported by the first call."""

from __future__ import annotations

import importlib
import logging
import os
import threading
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pytest_promptopt.budget.ledger import Price
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.answer_validation import usage_of
from pytest_promptopt.models.chat_forms import openai_messages
from pytest_promptopt.models.embedding import Embeddings
from pytest_promptopt.models.event_loop_thread import run_in_daemon_thread
from pytest_promptopt.models.file_descriptors import ran_out_of_descriptors
from pytest_promptopt.models.listed_prices import bills_more, token_price
from pytest_promptopt.models.retry import kind_of_status, retry_after
from pytest_promptopt.models.secret_redaction import redact_secrets
from pytest_promptopt.models.strict_schemas import OPENAI, NotStrict, strict_copy
from pytest_promptopt.models.thinking import without_thinking
from pytest_promptopt.models.tool_definitions import openai_choice, openai_tools
from pytest_promptopt.models.unpatched_asyncio import asyncio
from pytest_promptopt.models.unsent_errors import kind_of_unsent_error
from pytest_promptopt.records import SPELLED, Answer, Request, StopReason, Usage
from pytest_promptopt.records.content import Thought, ToolCall
from pytest_promptopt.unpatched import time

#: Without these its import asks a code host for prices (and goes on asking in a thread) and loads a .env.
_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}

_STOP_REASONS = {
    "stop": StopReason.END,
    "length": StopReason.MAX_TOKENS,
    "content_filter": StopReason.REFUSAL,
}


class _Zero(int):
    """A number 0 that is true."""

    def __bool__(self) -> bool:
        return True


#: For embeddings litellm takes a plain 0 for none given, and has the SDK ask up to three times, uncounted.
_NO_RETRIES = _Zero()


class _Silence:
    """While anybody is inside, warnings raised in the threads that entered are dropped.

    litellm and the pydantic types that it builds at first use warn about themselves. Filters cannot help:
    they are process-wide, pytest exchanges them for every test, and under ``-W error`` an import or an answer
    would be lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: Counter[int] = Counter()
        self._warn = warnings.warn

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._warn, warnings.warn = warnings.warn, self._filtered
            self._inside[threading.get_ident()] += 1

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._inside -= Counter([threading.get_ident()])
            if not self._inside:
                warnings.warn = self._warn

    def _filtered(
        self, message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **kwargs: Any
    ) -> None:
        if threading.get_ident() not in self._inside:
            self._warn(message, category, stacklevel + 1, source, **kwargs)


_silence = _Silence()


@cache
def import_litellm() -> Any:
    """Import litellm without its network access, output and warning filters. Takes about two seconds."""
    os.environ.update(_ENVIRONMENT)
    filters = list(warnings.filters)
    with _silence:
        litellm: Any = importlib.import_module("litellm")
        litellm.ModelResponse()
    for added in [entry for entry in warnings.filters if entry not in filters]:
        if _is_of_litellm(added):
            warnings.filters.remove(added)  # type: ignore[attr-defined]  # a list, in every Python so far
    litellm.suppress_debug_info = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return litellm


def _is_of_litellm(entry: Any) -> bool:
    """Whether a filter is one that importing litellm installs.

    Another thread may have changed them meanwhile.
    """
    text = getattr(entry[1], "pattern", "")
    return any(part in text for part in ("protected namespace", "attribute on the instance", "ReadOnly"))


def litellm_price(model: str, tokens: int, *, answers: bool = True) -> Price | None:
    """The price in litellm's own map for an input of `tokens`; None when it has none. Imports litellm.

    None too where tokens are not all that is billed.

    :param answers: whether tokens come back, too: no embeddings.
    """
    info = _model_info(model)
    listed = import_litellm().model_cost.get(info.get("key"), {})  # it hands on only what it uses itself
    return None if bills_more(listed, model) else token_price(info, tokens, answers=answers)


def litellm_longest(model: str) -> int | None:
    """The most tokens that litellm knows an answer of `model` to have; None when it does not. Imports it."""
    most = _model_info(model).get("max_output_tokens")
    return most if isinstance(most, int) and most > 0 else None


@cache
def _model_info(model: str) -> Mapping[str, Any]:
    try:
        info: Mapping[str, Any] = import_litellm().get_model_info(model)
    except Exception:  # it raises a bare Exception for a model that it does not list
        return {}
    return info


@cache
def takes_temperature(model: str) -> bool:
    """Whether litellm knows `model` to accept a temperature. Imports litellm."""
    try:
        return "temperature" in (import_litellm().get_supported_openai_params(model=model) or ())
    except Exception:  # it raises a bare Exception for a provider that it does not know
        return False


class LitellmModel:
    """One model of any provider that litellm knows.

    :param model: ``provider/model``, as litellm spells it.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self._importing = asyncio.Lock()
        self._litellm: Any = None

    async def connect(self) -> None:
        """Import litellm."""
        async with self._importing:
            if self._litellm is None:
                self._litellm = await run_in_daemon_thread(import_litellm)

    async def complete(self, request: Request) -> Answer:
        await self.connect()
        arguments = self._arguments(request)
        started = time.perf_counter()
        try:
            with _silence:
                reply = await self._litellm.acompletion(**arguments)
        except Exception as error:  # its exceptions have no common base, and print keys
            raise self._mapped(error) from None
        return self._answer(request, reply, time.perf_counter() - started)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each of `texts`. Raises `ModelError`."""
        await self.connect()
        try:
            with _silence:
                reply = await self._litellm.aembedding(
                    model=self.model,
                    input=list(texts),
                    max_retries=_NO_RETRIES,
                    num_retries=0,
                    drop_params=False,
                )
        except Exception as error:
            raise self._mapped(error) from None
        try:
            vectors = tuple(tuple(map(float, row["embedding"])) for row in reply.data)
        except (TypeError, ValueError, KeyError):
            raise self._error(ErrorKind.MALFORMED, "the reply has no vectors") from None
        usage = _usage(getattr(reply, "usage", None))
        cost = getattr(reply, "_hidden_params", {}).get("response_cost") or None
        return Embeddings(vectors, usage, None if usage is None else cost)

    async def aclose(self) -> None:
        litellm, self._litellm = self._litellm, None
        if litellm is not None:
            await litellm.close_litellm_async_clients()

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            **request.parameters,
            "model": self.model,
            "messages": openai_messages(request),
            "max_retries": 0,
            "num_retries": 0,
            "drop_params": False,
        }
        if request.max_tokens is not None and SPELLED not in arguments:
            arguments["max_tokens"] = request.max_tokens
        if request.tools:
            arguments["tools"] = self._tools(request)
        if request.tool_choice:
            arguments |= openai_choice(request.tool_choice)
        if request.stop:
            arguments["stop"] = list(request.stop)
        if request.response_schema is not None:
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", **_schema(request.response_schema)},
            }
        return arguments

    def _tools(self, request: Request) -> list[dict[str, Any]]:
        try:
            return openai_tools(request.tools)
        except NotStrict as error:
            raise self._error(ErrorKind.BAD_REQUEST, str(error)) from None

    def _answer(self, request: Request, reply: Any, latency: float) -> Answer:
        choice = next(iter(getattr(reply, "choices", None) or ()), None)
        message = getattr(choice, "message", None)
        if choice is None or message is None:
            raise self._error(ErrorKind.MALFORMED, "the reply has no message")
        specific = getattr(message, "provider_specific_fields", None) or {}
        refusal = specific.get("refusal") or getattr(message, "refusal", None)  # by version of litellm
        text = _text(message.content) or refusal or ""
        if not isinstance(text, str):
            raise self._error(ErrorKind.MALFORMED, f"the text of the reply is a {type(text).__name__}")
        # litellm cuts off a whole block, and leaves the blank lines after it.
        reasoning = getattr(message, "reasoning_content", None) or ""
        text, thinking = without_thinking(text, taken_off=bool(reasoning))
        finished = choice.finish_reason
        reason = StopReason.REFUSAL if refusal else _STOP_REASONS.get(finished, str(finished))
        calls = tuple(map(_tool_call, getattr(message, "tool_calls", None) or ()))
        if not text and not calls and finished is None:  # cut off, or no answer at all
            raise self._error(ErrorKind.EMPTY, f"the reply has no text (finish reason {finished})")
        usage = _usage(getattr(reply, "usage", None))
        # It prices an unknown model at 0.0, so that 0.0 does not mean free.
        cost = getattr(reply, "_hidden_params", {}).get("response_cost") or None
        return Answer(
            text=text,
            model=request.model,
            stop_reason=str(reason),
            usage=usage,
            cost=None if usage is None else cost,
            latency=latency,
            thinking=thinking or str(reasoning),
            tool_calls=calls,
            thoughts=_thoughts(message) if calls else (),
        )

    def _mapped(self, error: Exception) -> ModelError:
        name, status, headers = type(error).__name__, getattr(error, "status_code", None), _headers(error)
        if name == "Timeout":
            return self._error(ErrorKind.TIMEOUT, "no reply in time")
        if not isinstance(status, int) or (status == 500 and not headers):
            # It says 500 of a broken connection and of a body that is no answer: those may have been billed.
            kind = (
                ErrorKind.OVERLOADED
                if ran_out_of_descriptors(error)
                else kind_of_unsent_error(error) or ErrorKind.CONNECTION
            )
            return self._error(kind, f"{name}: {error}")
        body = getattr(error, "body", None)
        broke = isinstance(body, dict) and body.get("code") == "insufficient_quota"
        kind = ErrorKind.PAYMENT if broke else kind_of_status(status)
        return self._error(kind, f"HTTP {status}: {error}", status, retry_after(headers))

    def _error(
        self, kind: ErrorKind, message: str, status: int | None = None, wait: float | None = None
    ) -> ModelError:
        text = f"{self.model}: {redact_secrets(message)}"
        return ModelError(kind, text, model=self.model, status=status, retry_after=wait)


def _schema(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Strict where the schema can be; as a request that the answer may miss where not."""
    try:
        return {"schema": strict_copy(wanted, OPENAI), "strict": True}
    except NotStrict:
        return {"schema": dict(wanted), "strict": False}


def _tool_call(call: Any) -> ToolCall:
    function = getattr(call, "function", None)
    return ToolCall.read(
        getattr(function, "name", None), getattr(function, "arguments", None), getattr(call, "id", None)
    )


def _thoughts(message: Any) -> tuple[Thought, ...]:
    """What a Claude model behind another provider has thought, signed."""
    blocks = [block for block in getattr(message, "thinking_blocks", None) or () if isinstance(block, dict)]
    return tuple(
        Thought(
            str(block.get("thinking") or ""), str(block.get("signature") or ""), str(block.get("data") or "")
        )
        for block in blocks
    )


def _headers(error: Exception) -> dict[str, str]:
    response = getattr(error, "response", None)
    found = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", None) or {}
    return {str(name): str(value) for name, value in dict(found).items()}


def _text(content: Any) -> Any:
    """The text of a reply, put together where it comes in parts; anything else as it is."""
    if not isinstance(content, list):
        return content
    texts: list[Any] = [part.get("text") for part in content if _is_text(part)]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else content


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text"


def _usage(usage: Any) -> Usage | None:
    """Counters that do not overlap; litellm counts cache reads and writes as prompt tokens too."""
    prompt, answer = getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0
    if not prompt and not answer:
        return None
    details = getattr(usage, "prompt_tokens_details", None)
    read = getattr(usage, "cache_read_input_tokens", None) or getattr(details, "cached_tokens", None)
    write = getattr(usage, "cache_creation_input_tokens", None)
    found = usage_of(prompt, answer, read, write)
    if found is None:
        return None
    # Where only the sum holds the thinking, it is paid for as a part of the answer.
    whole = usage_of(getattr(usage, "total_tokens", 0) or 0, 0)
    apart = 0 if whole is None else max(0, whole.input_tokens - found.input_tokens - found.output_tokens)
    fresh = found.input_tokens - found.cache_read_tokens - found.cache_write_tokens
    return replace(found, input_tokens=max(0, fresh), output_tokens=found.output_tokens + apart)

"""Which requests are model calls, by path and body: no list of hosts, so that local servers are seen too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

from pytest_promptopt.records import LENGTH_NAMES


class Api(StrEnum):
    """What kind of request it is, which says how its answer is read."""

    MESSAGES = "messages"  # Anthropic
    CHAT = "chat"  # OpenAI chat completions, and whoever speaks like it
    RESPONSES = "responses"  # OpenAI
    GENERATE = "generate"  # Gemini
    BEDROCK = "bedrock"  # Amazon, whatever model answers
    OTHER = "other"  # embeddings and the like, which generate no text


@dataclass(frozen=True)
class ModelCall:
    """A recognised request.

    :param model: ``provider/model``, as price lists call it.
    :param limit: the most tokens of its answer, if it says so; 0 where nothing is generated.
    """

    api: Api
    model: str
    limit: int | None


#: Providers that speak OpenAI's language at an address of their own; their names in price lists.
_PROVIDERS = {
    "anthropic.com": "anthropic",
    "cohere.com": "cohere",
    "deepseek.com": "deepseek",
    "fireworks.ai": "fireworks_ai",
    "googleapis.com": "gemini",
    "groq.com": "groq",
    "mistral.ai": "mistral",
    "openrouter.ai": "openrouter",
    "perplexity.ai": "perplexity",
    "together.ai": "together_ai",
    "together.xyz": "together_ai",
    "voyageai.com": "voyage",
    "x.ai": "xai",
}

_GEMINI = re.compile(
    r"/models/([^/:]+):(generateContent|streamGenerateContent|embedContent|batchEmbedContents)$"
)
_VERTEX_CLAUDE = re.compile(r"/models/([^/:]+):(?:rawPredict|streamRawPredict)$")
_BEDROCK = re.compile(r"/model/([^/]+)/(?:converse|invoke|converse-stream|invoke-with-response-stream)$")
_AZURE = re.compile(r"/deployments/([^/]+)/")

#: Requests that are answered by a model, and not with a text; the last part of their paths.
_OTHERS = ("/embeddings", "/completions", "/moderations", "/rerank", "/embed")

_LIMITS = ("max_tokens", *sorted(LENGTH_NAMES))


def recognise(url: str, body: Any) -> ModelCall | None:
    """What a POST of this JSON asks a model; None when it asks none, or only begins a later answer."""
    if not isinstance(body, Mapping):
        return None
    path = unquote(urlsplit(url).path).rstrip("/")
    for rule in (_messages, _chat, _responses, _gemini, _bedrock, _others):
        found = rule(url, path, body)
        if found is not None:
            return found
    return None


def may_be_a_call(url: str) -> bool:
    """Whether the path is that of a model call; the body decides."""
    path = unquote(urlsplit(url).path).rstrip("/")
    endings = ("/messages", "/responses", "Predict", "Content", "Contents", *_OTHERS)
    return path.endswith(endings) or _BEDROCK.search(path) is not None


def other_call(url: str, body: Any) -> ModelCall:
    """What the user has named by its host, although nobody knows what it is."""
    parts = urlsplit(url)
    model = body.get("model") if isinstance(body, Mapping) else None
    return ModelCall(Api.OTHER, f"{parts.hostname}/{model or parts.path.strip('/')}", 0)


def _messages(url: str, path: str, body: Mapping[str, Any]) -> ModelCall | None:
    on_vertex = _VERTEX_CLAUDE.search(path)
    if not (path.endswith("/messages") or on_vertex) or not isinstance(body.get("messages"), list):
        return None
    model = on_vertex[1].partition("@")[0] if on_vertex else body.get("model")
    return _call(Api.MESSAGES, "anthropic", model, body)


def _chat(url: str, path: str, body: Mapping[str, Any]) -> ModelCall | None:
    if not path.endswith("/chat/completions") or not isinstance(body.get("messages"), list):
        return None
    return _call(Api.CHAT, _provider(url), _named_in(path, body), body)


def _responses(url: str, path: str, body: Mapping[str, Any]) -> ModelCall | None:
    if not path.endswith("/responses") or not isinstance(body.get("input"), str | list):
        return None
    if body.get("background"):  # answered at once with a number, under which the application asks on
        return None
    return _call(Api.RESPONSES, _provider(url), _named_in(path, body), body)


def _gemini(url: str, path: str, body: Mapping[str, Any]) -> ModelCall | None:
    match = _GEMINI.search(path)
    if match is None:
        return None
    if match[2] in ("embedContent", "batchEmbedContents"):
        return ModelCall(Api.OTHER, f"gemini/{match[1]}", 0)
    config = body.get("generationConfig") or body.get("generation_config") or {}
    return _call(Api.GENERATE, "gemini", match[1], config if isinstance(config, Mapping) else {})


def _bedrock(url: str, path: str, body: Mapping[str, Any]) -> ModelCall | None:
    match = _BEDROCK.search(path)
    if match is None:
        return None
    limits = body.get("inferenceConfig") or {}
    most = limits.get("maxTokens") if isinstance(limits, Mapping) else None
    return _call(Api.BEDROCK, "bedrock", match[1], {**body, "max_tokens": most or body.get("max_tokens")})


def _others(url: str, path: str, body: Mapping[str, Any]) -> ModelCall | None:
    if not path.endswith(_OTHERS) or not isinstance(body.get("model"), str):
        return None
    call = _call(Api.OTHER, _provider(url), body["model"], body)
    generates = path.endswith("/completions")
    return call if call is None or generates else ModelCall(call.api, call.model, 0)


def _call(api: Api, provider: str, model: object, body: Mapping[str, Any]) -> ModelCall | None:
    if not isinstance(model, str) or not model:
        return None
    limits = [body[name] for name in _LIMITS if _is_count(body.get(name))]
    return ModelCall(api, f"{provider}/{model}", max(limits, default=None))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _named_in(path: str, body: Mapping[str, Any]) -> object:
    azure = _AZURE.search(path)
    return azure[1] if azure else body.get("model")


def _provider(url: str) -> str:
    host = urlsplit(url).hostname or ""
    found = (name for domain, name in _PROVIDERS.items() if host == domain or host.endswith(f".{domain}"))
    return next(found, "openai")

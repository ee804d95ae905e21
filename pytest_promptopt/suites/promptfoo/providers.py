"""promptfoo's providers as models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_promptopt.models.registry import ECHO
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.promptfoo.config_file import ConfigFile
from pytest_promptopt.suites.promptfoo.not_supported import NotSupported, shown

#: What promptfoo calls a provider, and how our models are called; a model's kind may stand between.
_PREFIXES: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "azureopenai": "azure",
    "bedrock": "bedrock",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "databricks": "databricks",
    "deepseek": "deepseek",
    "fireworks": "fireworks_ai",
    "google": "gemini",
    "groq": "groq",
    "mistral": "mistral",
    "ollama": "ollama",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "togetherai": "together_ai",
    "vertex": "vertex_ai",
    "xai": "xai",
}
_KINDS = ("chat", "messages", "responses")
#: Kinds of providers that are no chat with a model.
_OTHER_KINDS = (
    "agents", "assistant", "audio", "completion", "embedding", "embeddings", "image", "kb", "live",
    "moderation", "realtime", "speech", "transcription", "tts", "video",
    "agentcore", "agent-sdk", "claude-agent-sdk",
)  # fmt: skip

#: Settings of a model that are sent as they are, by promptfoo's name.
_PARAMETERS: Mapping[str, str] = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "top_p": "top_p",
    "topP": "top_p",
    "top_k": "top_k",
    "topK": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
    "reasoning_effort": "reasoning_effort",
    "thinking": "thinking",
    "verbosity": "verbosity",
}
_HARMLESS = frozenset(("showThinking", "cost", "region", "organization"))


@dataclass(frozen=True)
class Provider:
    """A provider that we can ask.

    :param name: as promptfoo calls it.
    :param model: as we do.
    :param prompts: labels of the prompts that it is asked; None for all.
    """

    name: str
    model: str
    where: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    prompts: tuple[str, ...] | None = None

    @property
    def echoes(self) -> bool:
        """Whether its answer is the prompt."""
        return self.model == ECHO

    def takes(self, label: str) -> bool:
        """Whether it is asked the prompt of this label."""
        return self.prompts is None or any(
            label == each or label.startswith(f"{each}:") for each in self.prompts
        )


def providers_of(config: ConfigFile) -> Iterator[Provider | NotSupported]:
    """In their order; what cannot be asked is told at its line."""
    given = config.root.get("providers") or config.root.get("targets")
    if given is None:
        yield NotSupported("there is no provider", config.root.where())
        return
    for entry in given.items() if isinstance(given.value, list) else [given]:
        try:
            yield provider_of(config, config.followed(entry))
        except NotSupported as problem:
            yield problem


def provider_of(config: ConfigFile, given: Located) -> Provider:
    """Raises `NotSupported`."""
    if isinstance(given.value, str):
        return Provider(given.value, model_of(given.value, given.where()), given.where())
    if not isinstance(given.value, dict):
        raise NotSupported("a provider must be a text or a mapping", given.where())
    where, options = given.where(), given
    if "id" in given.value:
        name = given.value["id"]
    elif len(given.value) == 1:
        name = next(iter(given.value))
        options = given.at(name)
        if not isinstance(options.value, dict):
            raise NotSupported(f"the settings of {shown(name)} must be a mapping", where)
        name = options.value.get("id") or name
    else:
        raise NotSupported("a provider must have an `id`", where)
    if not isinstance(name, str):
        raise NotSupported("the `id` of a provider must be a text", where)
    model = model_of(name, where)
    for key in options.value:
        if key not in ("id", "label", "config", "prompts", "delay", "description"):
            raise NotSupported(f"`{key}` of a provider is not supported", options.where(key))
    prompts = options.value.get("prompts")
    parameters = {} if model == ECHO else _parameters(options)
    labels = None if prompts is None else tuple(map(str, prompts if isinstance(prompts, list) else [prompts]))
    return Provider(str(options.value.get("label") or name), model, where, parameters, labels)


def _parameters(options: Located) -> dict[str, Any]:
    given = options.get("config")
    if given is None:
        return {}
    if not isinstance(given.value, dict):
        raise NotSupported("the `config` of a provider must be a mapping", given.where())
    found: dict[str, Any] = {}
    for key, value in given.value.items():
        if key in _HARMLESS:
            continue
        if key == "generationConfig" and isinstance(value, dict):
            inner = given.at(key)
            for name in value:
                found |= _parameter(inner, name)
            continue
        found |= _parameter(given, key)
    return found


def _parameter(given: Located, key: str) -> dict[str, Any]:
    value = given.value[key]
    if key not in _PARAMETERS:
        raise NotSupported(f"`{key}` in the `config` of a provider is not supported", given.where(key))
    if isinstance(value, str) and "{{" in value:
        raise NotSupported(f"`{key}`: templates in a provider are not supported", given.where(key))
    return {_PARAMETERS[key]: value}


def model_of(name: str, where: str) -> str:
    """Our name of a provider's model. Raises `NotSupported`."""
    if name == ECHO:
        return ECHO
    prefix, _, rest = name.partition(":")
    if prefix == "litellm":
        rest = rest.removeprefix("chat:")
        if "/" not in rest:
            raise NotSupported(f"the provider {shown(name)} does not say whose model it is", where)
        return rest
    kind, _, model = rest.partition(":")
    if prefix not in _PREFIXES or not rest or kind in _OTHER_KINDS or "{{" in name:
        raise NotSupported(f"the provider {shown(name)} is not supported", where)
    if kind in _KINDS:
        if not model:
            raise NotSupported(f"the provider {shown(name)} names no model", where)
        rest = model
    family = "ollama_chat" if prefix == "ollama" and kind == "chat" else _PREFIXES[prefix]
    return f"{family}/{rest}"

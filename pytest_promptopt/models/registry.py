"""From the name of a model to the object that answers. Imports no SDK."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping

from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError
from pytest_promptopt.models import Model

_ANTHROPIC = "anthropic/"

#: The model that answers with what it was asked.
ECHO = "echo"

#: Models inside the package: no key, no network.
EMBEDDED = ("demo", ECHO)

#: Warm enough for candidates to differ, cool enough for them to keep to the format of a reply.
VARIED = 0.7

#: Claude models without structured outputs: those before Opus 4.1 and Sonnet 4.5.
#: https://docs.claude.com/en/docs/build-with-claude/structured-outputs
_NO_SCHEMA = re.compile(r"claude-(?:instant|[123]\b|(?:opus|sonnet)-4-(?:0|20250514)\b)")

FORMS = (
    "accepted are 'anthropic/<model>' or a bare 'claude-...' name, '<provider>/<model>' for everything that "
    "litellm knows (openai/..., gemini/..., ollama/...), 'claude-cli' and 'codex-cli' (an account that the "
    "command `claude` or `codex` is logged in to, with /MODEL for one of its models), and 'demo' (needs no "
    "key and no network)"
)

#: Names of models that are an installed command.
CLI = ("claude-cli", "codex-cli")

#: Any one of these lets litellm call the provider. Of other providers only the first call can tell.
_CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY", "OR_API_KEY"),
    "xai": ("XAI_API_KEY",),
}


def canonical_name(name: str) -> str:
    """The name that goes into cache keys and reports: ``provider/model`` or ``demo``.

    Raises `SettingsError` for anything that names no model.
    """
    if name in EMBEDDED or name in CLI:
        return name
    full = _ANTHROPIC + name if name.startswith("claude-") and "/" not in name else name
    provider, slash, model = full.partition("/")
    if not slash or not provider or not model or full != "".join(full.split()):
        raise SettingsError(f"{name!r} names no model: {FORMS}")
    return full


def canonical_names(text: str) -> tuple[str, ...]:
    """The models that a list names, separated by commas. Raises `SettingsError`."""
    given = [part.strip() for part in text.split(",")]
    if len(given) > 1 and not all(given):
        raise SettingsError(
            f"{text!r} has an empty entry; accepted is one model, or several separated by commas, such as "
            "anthropic/claude-opus-5-5,openai/gpt-5"
        )
    names = [canonical_name(each) for each in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingsError(f"{text!r} names {twice} twice; name each model once")
    return tuple(names)


def resolve_model(name: str) -> Model:
    """The model called `name`, not connected yet.

    Raises `SettingsError` when the name has no accepted form or needs an extra that is not installed.
    """
    full = canonical_name(name)
    if full == "demo":
        from pytest_promptopt.models.demo import DemoModel

        return DemoModel()
    if is_cli(full):
        from pytest_promptopt.models.cli_models import CliModel

        return CliModel(full)
    if full == ECHO:
        from pytest_promptopt.models.echo import EchoModel

        return EchoModel()
    if full.startswith(_ANTHROPIC):
        from pytest_promptopt.models.anthropic_sdk import AnthropicModel

        return AnthropicModel(full.removeprefix(_ANTHROPIC))
    if importlib.util.find_spec("litellm") is None:
        raise SettingsError(
            f"the model {full!r} is called through litellm, which is not installed: "
            "pip install 'pytest-promptopt[litellm]'"
        )
    from pytest_promptopt.models.litellm_sdk import LitellmModel

    return LitellmModel(full)


def is_cli(name: str) -> bool:
    """Whether a model is an installed command."""
    return name.partition("/")[0] in CLI


def variety_parameters(name: str) -> dict[str, float]:
    """Parameters that make several answers of `name` to one request differ; empty where none is accepted.

    Current Claude models take no temperature. May import litellm, which knows about the others.
    """
    full = canonical_name(name)
    own = full in EMBEDDED or full.startswith(_ANTHROPIC) or is_cli(full)
    if own or importlib.util.find_spec("litellm") is None:
        return {}
    from pytest_promptopt.models.litellm_sdk import takes_temperature

    return {"temperature": VARIED} if takes_temperature(full) else {}


def takes_schema(name: str) -> bool:
    """Whether `name` can be held to a JSON schema; of others than Claude, litellm's list says it.

    A model that cannot be is asked for the form of its answer in words.
    """
    full = canonical_name(name)
    if full.startswith(_ANTHROPIC):
        return not _NO_SCHEMA.match(full.removeprefix(_ANTHROPIC))
    if is_cli(full):
        return False
    from pytest_promptopt.models.listed_prices import is_listed_for_schemas

    return full not in EMBEDDED and is_listed_for_schemas(full)


def check_credentials(name: str) -> None:
    """Find missing credentials of `name` before the first call.

    Raises `ModelError` (AUTHENTICATION) that says what to set, and `SettingsError` as `resolve_model` does.
    """
    full = canonical_name(name)
    resolve_model(full)
    require_key(full)
    if is_cli(full):
        from pytest_promptopt.models.cli_models import check_command

        check_command(full)
    if full.startswith(_ANTHROPIC):
        from pytest_promptopt.models.anthropic_sdk import has_credentials

        if not has_credentials():
            raise _no_credentials(full, ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))


def require_key(name: str) -> None:
    """Raises `ModelError` (AUTHENTICATION) when a key is missing; asks no SDK."""
    full = canonical_name(name)
    accepted = _CREDENTIALS.get(full.partition("/")[0], ())
    if accepted and not any(os.environ.get(variable) for variable in accepted):
        raise _no_credentials(full, accepted)


def _no_credentials(model: str, accepted: tuple[str, ...]) -> ModelError:
    said = f"no credentials for {model}: set {' or '.join(accepted)}; the model 'demo' needs none"
    return ModelError(ErrorKind.AUTHENTICATION, said, model=model)

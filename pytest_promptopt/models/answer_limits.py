"""How long an answer may get where the user sets no limit: what is sent, and what is reserved for it.

Nothing is sent that nobody asked for, with two exceptions. The wire of Claude demands a limit, so it gets one
that no ordinary answer reaches. And under a ceiling on tokens or cost every call needs a bound: the most that
the model can give if that is known, else a limit that is sent along.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pytest_promptopt.budget.ledger import DEFAULT_MAX_TOKENS
from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.registry import is_cli
from pytest_promptopt.records import Request

#: Sent to Claude models without a limit of the user's.
CLAUDE_MAX_TOKENS = 32_000

#: The Claude models that can give less or no more, by the start of their names; from Anthropic's overview of
#: models.
_SHORT_CLAUDES: Mapping[str, int] = {
    "claude-2": 4_096,
    "claude-instant": 4_096,
    "claude-3-haiku": 4_096,
    "claude-3-opus": 4_096,
    "claude-3-sonnet": 4_096,
    "claude-3-5-haiku": 8_192,
    "claude-3-5-sonnet": 8_192,
    "claude-opus-4-0": 32_000,
    "claude-opus-4-1": 32_000,
    "claude-opus-4-20250514": 32_000,
}

#: How providers complain about the length of an answer.
_ABOUT_LENGTH = re.compile(r"max_(?:completion_|output_|new_)?tokens|context (?:length|window)|num_predict")

HOW_TO_SET = "set max_tokens= in @pytest.mark.prompt or `max_tokens:` in the front matter"


@dataclass(frozen=True)
class Bounded:
    """A request, and the bound on its answer that is reserved for it.

    :param sent: what the model is asked.
    :param reserved: the same with the most tokens that its answer can have, as far as that must be known.
    :param added: the limit that is sent although nobody set one; None when none is.
    """

    sent: Request
    reserved: Request
    added: int | None = None


def limit_answer(request: Request, longest: Callable[[Request], int | None]) -> Bounded:
    """`request` under a ceiling on tokens or cost.

    Raises `ModelError` (BUDGET) for one of the application's own that nothing bounds: it is sent as it is.

    :param longest: the most tokens that a model can answer without a limit; None when nobody knows.
    """
    if request.max_tokens is not None:
        return Bounded(request, request)
    most = longest(request)
    if most is not None:
        return Bounded(request, replace(request, max_tokens=most))
    if request.wire is not None:
        raise ModelError(ErrorKind.BUDGET, unlimited(request.model), model=request.model)
    limited = replace(request, max_tokens=DEFAULT_MAX_TOKENS)
    return Bounded(limited, limited, DEFAULT_MAX_TOKENS)


def longest_answer(request: Request) -> int | None:
    """The most tokens that an answer to `request` can have when it sets no limit; None when nobody knows.

    May import litellm.
    """
    provider, _, model = request.model.partition("/")
    if provider == "anthropic":
        return claude_limit(model, request)[0]
    if not model or is_cli(request.model) or importlib.util.find_spec("litellm") is None:
        return None
    from pytest_promptopt.models.litellm_sdk import litellm_longest

    return litellm_longest(request.model)


def claude_limit(model: str, request: Request) -> tuple[int, bool]:
    """The limit for a Claude model (without its provider), and whether it can give no more anyway."""
    for start, most in _SHORT_CLAUDES.items():
        if model.startswith(start):
            return most, True
    thinking = request.parameters.get("thinking")
    thought = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    # What it thinks counts as answer.
    return CLAUDE_MAX_TOKENS + (thought if isinstance(thought, int) else 0), False


def unlimited(model: str) -> str:
    """Why a request of the application's own, which sets no limit, is not sent under a ceiling."""
    return (
        f"the application's call to {model} sets no limit on its answer, and nobody knows how long it gets, "
        "so --promptopt-max-tokens and --promptopt-max-cost cannot hold; set max_tokens (or "
        "max_completion_tokens, max_output_tokens) where the application makes the call, or limit this run "
        "with --promptopt-max-calls instead"
    )


def cut_short(model: str, limit: int) -> ModelError:
    """An answer that ended at a limit which nobody set: neither a right answer nor a wrong one."""
    said = (
        f"{model}: the answer was cut off after {limit:,} tokens, the limit where none is set; {HOW_TO_SET}"
    )
    return ModelError(ErrorKind.CUT_SHORT, said, model=model)


def explain_length_error(error: ModelError, limit: int) -> ModelError:
    """A provider's complaint about a length, with where it comes from; any other error as it is."""
    if error.kind is not ErrorKind.BAD_REQUEST or not _ABOUT_LENGTH.search(str(error)):
        return error
    said = f"{error}; max_tokens was not set, so {limit} was sent: {HOW_TO_SET}"
    return ModelError(error.kind, said, model=error.model, status=error.status)


def too_long(error: ModelError, request: Request, bounds: Bounded) -> ModelError:
    """A refusal for want of tokens or money, with the length reserved for a `request` that sets none."""
    if error.kind is not ErrorKind.BUDGET or " up to " not in str(error) or request.max_tokens is not None:
        return error
    most = f"{bounds.reserved.max_tokens:,}"
    how = HOW_TO_SET if request.wire is None else "set max_tokens where the application makes the call"
    said = f"{error}; max_tokens is not set, so its answer may have {most} tokens: {how}"
    return ModelError(error.kind, said, model=error.model, status=error.status)

"""How the entries of litellm's price list are read; for an application's calls, from the file in its package.

Importing litellm takes seconds; an application that asks OpenAI by itself does not need it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytest_promptopt.budget.billing import has_foreign_tools
from pytest_promptopt.budget.ledger import Price, input_bound
from pytest_promptopt.models.answer_limits import claude_limit
from pytest_promptopt.models.prices import SURCHARGED, claude_price
from pytest_promptopt.records import Request

_LIST = "model_prices_and_context_window_backup.json"

_COUNTERS = (
    "input_cost_per_token",
    # The dearest of what an answer may hold: the list has a price of its own for thoughts, images, sound.
    r"output_cost_per_(?:(?:reasoning|image|audio|video)_)?token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
)

#: With one of these, tokens are not all that is billed.
_PER_CALL = (
    "citation_cost_per_token",
    "input_cost_per_query",
    "input_cost_per_request",
    "search_queries_cost_per_query",
)


def application_price(request: Request) -> Price | None:
    """The price of a request that an application makes by itself; None when it is not known."""
    parameters = dict(request.parameters)
    if not has_foreign_tools(parameters.get("tools") or ()):
        parameters.pop("tools", None)  # the caller's own cost no more than their tokens
    if SURCHARGED & parameters.keys():
        return None
    provider, _, model = request.model.partition("/")
    if provider == "anthropic":
        return claude_price(model, Request(request.model, request.messages, parameters=parameters))
    info = _info(provider, model)
    if bills_more(info, model):
        return None
    return token_price(info, input_bound(request), answers=request.max_tokens != 0)


def application_longest(request: Request) -> int | None:
    """The most tokens that its answer can have when it sets no limit; None when nobody knows."""
    provider, _, model = request.model.partition("/")
    if provider == "anthropic":
        return claude_limit(model, request)[0]
    most = _info(provider, model).get("max_output_tokens")
    return most if isinstance(most, int) and most > 0 else None


def is_listed_for_schemas(model: str) -> bool:
    """Whether ``provider/model`` is listed as one that answers by a JSON schema."""
    provider, _, name = model.partition("/")
    found = _listed().get(model) or _info(provider, name)
    return bool(found.get("supports_response_schema"))


def bills_more(listed: Mapping[str, Any], model: str) -> bool:
    """Whether every call has a price, or is billed for searches and sources, that nobody has asked for."""
    searches = listed.get("litellm_provider") == "perplexity" or "-search" in model
    names = (*_PER_CALL, *(("search_context_cost_per_query",) if searches else ()))
    return any(listed.get(name) for name in names)


def token_price(info: Mapping[str, Any], tokens: int, *, answers: bool = True) -> Price | None:
    """The price for an input of `tokens`; None when it is not listed.

    :param answers: whether tokens come back, too: no embeddings.
    """
    ask, answer, read, write = (_per_million(info, name, tokens) for name in _COUNTERS)
    if not ask or (answers and not answer):
        return None
    return Price(ask, answer, read or ask, write or ask)


def _info(provider: str, model: str) -> Mapping[str, Any]:
    listed = _listed()
    for name in (f"{provider}/{model}", model):
        info: Mapping[str, Any] = listed.get(name, {})
        if info.get("litellm_provider") == provider:
            return info
    return {}


@cache
def _listed() -> Mapping[str, Any]:
    spec = find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    try:
        text = Path(spec.submodule_search_locations[0], _LIST).read_text(encoding="utf-8")
        found: Mapping[str, Any] = json.loads(text)
    except (OSError, ValueError):
        return {}
    return found


def _per_million(info: Mapping[str, Any], name: str, tokens: int) -> float:
    """US dollars per million, for the highest of its lengths that `tokens` reaches; 0.0 when not listed."""
    tier = re.compile(rf"{name}(?:_above_(\d+)k_tokens)?")
    reached = [
        float(price)
        for key, price in info.items()
        if price and (length := tier.fullmatch(key)) and tokens > 1000 * int(length[1] or 0)
    ]
    return 1e6 * max(reached, default=0.0)

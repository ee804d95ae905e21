"""List prices, for ceilings in dollars. A model that is not listed has no known price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_promptopt.budget.ledger import Price, input_bound
from pytest_promptopt.models.registry import CLI, EMBEDDED
from pytest_promptopt.records import Request, Usage

# From the price map inside litellm 1.106.2 (model_prices_and_context_window_backup.json, provider anthropic),
# read on 2026-11-21; writes are those of the five-minute cache, for an hour they cost twice the input.
# It lists no claude-fable-5-2, no -mythos-5-2.
_FABLE_5 = Price(input=10, output=50, cache_read=1, cache_write=12.5)
_FABLE_5_1 = Price(input=10, output=50, cache_read=0.25, cache_write=12.5)
_OPUS_5 = Price(input=5, output=25, cache_read=0.5, cache_write=6.25)
_SONNET_4 = Price(input=3, output=15, cache_read=0.3, cache_write=3.75)

_PRICES: Mapping[str, Price] = {
    "claude-fable-5": _FABLE_5,
    "claude-fable-5-1": _FABLE_5_1,
    "claude-haiku-4-5": Price(input=1, output=5, cache_read=0.1, cache_write=1.25),
    "claude-haiku-4-5-20251001": Price(input=1, output=5, cache_read=0.1, cache_write=1.25),
    "claude-haiku-5-5": Price(input=0.1, output=0.5, cache_read=0.01, cache_write=0.125),
    "claude-mythos-5": _FABLE_5,
    "claude-mythos-5-1": _FABLE_5_1,
    "claude-opus-4-5": _OPUS_5,
    "claude-opus-4-5-20251101": _OPUS_5,
    "claude-opus-4-6": _OPUS_5,
    "claude-opus-4-7": _OPUS_5,
    "claude-opus-4-8": _OPUS_5,
    "claude-opus-5": _OPUS_5,
    "claude-opus-5-5": Price(input=4, output=20, cache_read=0.2, cache_write=5),
    "claude-sonnet-4-5": _SONNET_4,
    "claude-sonnet-4-5-20250929": _SONNET_4,
    "claude-sonnet-4-6": _SONNET_4,
    "claude-sonnet-5": Price(input=2, output=10, cache_read=0.2, cache_write=2.5),
    "claude-sonnet-5-5": Price(input=2, output=10, cache_read=0.1, cache_write=2.5),
}

#: Above this many tokens of input claude-haiku-5-5 costs five times as much.
_LONG_INPUT = 100_000
_LONG_PRICES: Mapping[str, Price] = {
    "claude-haiku-5-5": Price(input=0.5, output=2.5, cache_read=0.05, cache_write=0.625),
}

#: Parameters under which the list price does not hold; `extra_body` can hold all of them.
SURCHARGED = frozenset({"extra_body", "inference_geo", "service_tier", "speed", "tools"})


#: A call of these costs nothing: of the model inside the package, and of an account that is paid anyway.
_FREE = (*EMBEDDED, *CLI)


def claude_price(model: str, request: Request, usage: Usage | None = None) -> Price | None:
    """The price of asking `model` (without its provider) for `request`; None when it is not known.

    Without `usage` it is the price that bounds the cost.
    """
    if SURCHARGED & request.parameters.keys():
        return None
    tokens = input_bound(request) if usage is None else usage.total - usage.output_tokens
    price = (_LONG_PRICES.get(model) if tokens > _LONG_INPUT else None) or _PRICES.get(model)
    cached = request.parameters.get("cache_control")
    if price is not None and isinstance(cached, Mapping) and cached.get("ttl") == "1h":
        return replace(price, cache_write=2 * price.input)
    return price


def price_of(request: Request) -> Price | None:
    """The price that bounds the cost of `request`; None when it is not known. May import litellm."""
    if request.model.partition("/")[0] in _FREE:
        return Price(0, 0, 0, 0)
    provider, _, model = request.model.partition("/")
    if provider == "anthropic":
        return claude_price(model, request)
    if SURCHARGED & request.parameters.keys():
        return None
    from pytest_promptopt.models.litellm_sdk import litellm_price

    return litellm_price(request.model, input_bound(request), answers=not request.embeds)

"""aiohttp: below litellm's async calls, and below those of google-genai where it is installed."""

from __future__ import annotations

from typing import Any


def patch(module: Any) -> None:
    """Have the connectors of `aiohttp.connector` ask the gate first."""

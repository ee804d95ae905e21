"""What the user wants to be intercepted: ini `promptopt_intercept` and `promptopt_ignore_fields`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pytest_promptopt.interception.gate import Sent
from pytest_promptopt.interception.recognition import ModelCall, may_be_a_call, other_call, recognise
from pytest_promptopt.settings import Intercept

#: Headers that decide an answer. Their values enter the key of a request as a hash, and are stored nowhere.
DECIDING_HEADERS = ("anthropic-beta", "anthropic-version", "openai-beta")

#: Fields of a body that only tell one call from another.
ID_FIELDS = ("metadata", "user", "idempotency_key", "safety_identifier", "prompt_cache_key")

#: Parameters of an address that hold a key or tell one call from another.
_PRIVATE_PARAMETER = re.compile(
    r"(?:^|[._-]|api|access)(?:key|token|secret|sig|signature|auth|password|credential)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Wanted:
    """Which requests are handled, and what of them counts."""

    intercept: Intercept
    ignored: tuple[str, ...] = ()

    def sees(self, method: str, url: str) -> bool:
        """Whether it may be one, as far as the address tells."""
        if method != "POST" or not self.intercept.on:
            return False
        host = urlsplit(url).hostname or ""
        if host in self.intercept.without:
            return False
        return host in self.intercept.also or may_be_a_call(url)

    def call_of(self, url: str, body: Any) -> ModelCall | None:
        """What a request asks a model; None when it asks none."""
        found = recognise(url, body)
        if found is None and (urlsplit(url).hostname or "") in self.intercept.also:
            return other_call(url, body)
        return found

    def counted_body(self, body: Any) -> Any:
        """`body` without what only tells one call from another."""
        if not isinstance(body, Mapping):
            return body
        return {name: value for name, value in body.items() if name not in (*ID_FIELDS, *self.ignored)}


def public_url(url: str) -> str:
    """The address without credentials."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if not _PRIVATE_PARAMETER.search(name)]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(query), ""))


def settings_hash(sent: Sent) -> str:
    """A hash of the headers that decide an answer; empty when there is none."""
    found = [[name, value] for name in DECIDING_HEADERS if (value := sent.header(name))]
    return sha256(dumps(found).encode()).hexdigest()[:16] if found else ""

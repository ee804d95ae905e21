"""Provider messages made safe to print: no secret, one line, a bounded length."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import parse_qsl, unquote, urlsplit

from pytest_promptopt.text import cut_end, one_line, printable

MAX_LENGTH = 600

_SECRET_NAME = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PASS|AUTH|COOKIE|CREDENTIALS?|CUSTOM_HEADERS)S?(?![A-Z])"
    r"|AUTHORIZATION"
)
_SECRET_TEXT = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|AIza)[-_]?[A-Za-z0-9_\-*.]{12,}"
    r"|(?i:\bbearer\s+)[^\s,;|]+"
    r"|(?i:\b(?:basic|digest|token)\s+)(?=[^\s,;|]*[\d=+])[^\s,;|]{8,}"
    r"|(?<=://)[^\s/@]+(?=@)"
    r"|(?i:(?<=[?&])[\w-]*(?:key|token|secret|password|sig|signature|auth)=)[^\s&#]+"
)

#: A shorter value is no key, and replacing it would garble ordinary words.
MIN_SECRET_LENGTH = 8

_learned: set[str] = set()

#: The values that were looked at, by their names: most stay from call to call.
_looked_at: dict[str, str] = {}


def remember_secrets(environment: Mapping[str, str]) -> None:
    """Remember the secrets of `environment`: when an error comes, a test may have hidden them from it."""
    for name in list(environment):
        # Another thread may take it out meanwhile, as pytest does with the name of each test.
        value = environment.get(name, "")
        if _looked_at.get(name) == value:
            continue
        _looked_at[name] = value
        for secret in _secrets_in(name, value):
            if len(secret) >= MIN_SECRET_LENGTH:
                _learned.add(secret)


def remember_header_secrets(headers: Mapping[str, object]) -> None:
    """Remember the credentials in a client's headers, wherever they come from."""
    remember_secrets(
        {name.replace("-", "_"): value for name, value in headers.items() if isinstance(value, str)}
    )


def redact_secrets(text: str) -> str:
    """`text` in one printable line, without any secret that is known and what looks like one."""
    # The words are a provider's own, and are printed in terminals.
    return cut_end(printable(one_line(without_secrets(text))), MAX_LENGTH, mark="...")


def without_secrets(text: str) -> str:
    """`text` without any secret that is known and what looks like one, and as it is otherwise."""
    remember_secrets(os.environ)
    for secret in sorted(_learned, key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    return _SECRET_TEXT.sub("[redacted]", text)


def _secrets_in(name: str, value: str) -> Iterator[str]:
    """A secret value, and the parts and forms of it that are sent as credentials."""
    if _SECRET_NAME.search(name.upper()):
        yield value
        for line in value.splitlines():  # one header a line
            _, _, content = line.partition(":")
            yield content.strip()
            yield content.strip().rpartition(" ")[2]  # without "Bearer"
        yield value.rpartition(" ")[2]
    if "://" in value:
        with suppress(ValueError):  # no address
            yield from _secrets_of_address(value)


def _secrets_of_address(address: str) -> Iterator[str]:
    parts = urlsplit(address)
    who, at, _ = parts.netloc.rpartition("@")
    if at:
        plain = unquote(who)
        yield from (who, plain, plain.partition(":")[2])
        yield base64.b64encode(plain.encode()).decode()
    for _, value in parse_qsl(parts.query):
        yield value

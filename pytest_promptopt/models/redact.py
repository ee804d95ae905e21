"""Provider messages made safe to print: no key, one line, a bounded length."""

from __future__ import annotations

import os
import re

MAX_LENGTH = 600

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS?|CUSTOM_HEADERS)(?![A-Z])")
_SECRET_TEXT = re.compile(r"\b(?:sk|pk|rk|gsk|xai|AIza)[-_]?[A-Za-z0-9_\-*.]{12,}|(?i:bearer\s+)[^\s,;]+")

#: A shorter value is no key, and replacing it would garble ordinary words.
MIN_SECRET_LENGTH = 8


def redact(text: str) -> str:
    """`text` in one printable line, without the values of key-like variables and what looks like a key."""
    for name, value in os.environ.items():
        if len(value) >= MIN_SECRET_LENGTH and _SECRET_NAME.search(name.upper()):
            text = text.replace(value, "[redacted]")
    text = " ".join(_SECRET_TEXT.sub("[redacted]", text).split())
    # The words are a provider's own, and end in terminals.
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."

"""Objects as text that is the same in every process."""

from __future__ import annotations

import re

#: Enough for any sensible value; a longer text tells an optimizer nothing more.
MAX_SHOWN = 20_000

#: Where an object lives, in its `repr`: not what a text says of a crash at 0x7f00.
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+(?=[^<>\n]*>)")


def shown(value: object) -> str:
    """`repr` that cannot fail and has an end."""
    try:
        return repr(value)[:MAX_SHOWN]
    except Exception as error:
        return f"<{type(value).__name__} at {id(value):#x} whose repr raises {type(error).__name__}>"


def without_addresses(text: str) -> str:
    """`text` without where objects live."""
    return ADDRESS.sub("", text)

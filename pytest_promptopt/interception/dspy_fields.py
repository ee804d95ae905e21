"""What goes into a predictor of DSPy, as its adapters write it into the message of the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pytest_promptopt.interception.bodies import TextSlot

#: How ChatAdapter and JSONAdapter begin a field.
_HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\]\n", re.MULTILINE)

#: A field of XMLAdapter.
_ELEMENT = re.compile(r"^<(\w+)>\n(.*?)\n</\1>$", re.MULTILINE | re.DOTALL)

#: How all adapters begin the paragraph about the answer, which is no input.
_REQUEST = re.compile(r"\n\nRespond with [^\n]*\Z")


def input_fields(slots: Sequence[TextSlot]) -> Mapping[str, str]:
    """The inputs by name, of the last message of the user: those before it are demonstrations.

    Empty when no adapter of DSPy's own has written it.
    """
    text = next((slot.text for slot in reversed(slots) if slot.role == "user"), "")
    text = _REQUEST.sub("", text)
    before, *parts = _HEADER.split(text)
    if parts and not before.strip():
        return {name: value.strip("\n") for name, value in zip(parts[::2], parts[1::2], strict=True)}
    return dict(_ELEMENT.findall(text))

"""What held-out cases are asked, taken out of what is told of others.

A test may compare with a table of all cases, or show it in its message: then the failure of a training case
quotes the held-out ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from pytest_promptopt.assertions.plain_values import readable_value
from pytest_promptopt.optimizer.candidate_checks import is_telling
from pytest_promptopt.optimizer.redaction import Redact
from pytest_promptopt.records import Split
from pytest_promptopt.replay.searched_case import SearchedCase

#: What stands in place of such a text.
LEFT_OUT = "…"


def without_heldout_texts(redact: Redact, cases: Iterable[SearchedCase]) -> Redact:
    """`redact` that also takes out the parameters of held-out cases, but no labels and nothing that others
    have.
    """
    texts: dict[bool, list[str]] = {True: [], False: []}
    for case in cases:
        texts[case.case.split is Split.HELDOUT] += _leaves(readable_value(dict(case.values)))
    shared = "\n".join(texts[False])
    own = [text for text in dict.fromkeys(texts[True]) if is_telling(text) and text not in shared]
    # The longest first: one may be a part of another.
    written = sorted({form for text in own for form in _written(text)}, key=len, reverse=True)
    if not written:
        return redact

    @cache
    def without(text: str) -> str:
        for form in written:
            if form in text:
                text = text.replace(form, LEFT_OUT)
        return redact(text)

    return without


def _written(text: str) -> Iterator[str]:
    """`text` as it is and as messages and JSON quote it."""
    yield text
    yield repr(text)[1:-1]
    yield from (json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (True, False))


def _leaves(value: Any) -> Iterator[str]:
    """The texts in JSON-like data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)

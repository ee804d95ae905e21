"""Whether a failure says by itself what would have been right."""

from __future__ import annotations

import re

from pytest_promptopt.failures.failure_context import FailureContext, first_line
from pytest_promptopt.text import value_text

#: A text or a number in a check: ``'refund' in answer`` and ``len(answer) < 200`` say what is wanted,
#: ``is_polite(answer)`` does not.
_LITERAL = re.compile(r"['\"]|\b\d")
#: After a word that is no abbreviation.
_SENTENCE_END = re.compile(r"\w{3}[.!?](?=\s|\Z)|[。！？]")


def says_what_is_right(failure: FailureContext) -> bool:
    """Whether it names the answer, or the rule that was broken.

    An expected text of several sentences does not: an answer may differ from it in most of its words and
    still be right in them.
    """
    if failure.verdicts:
        return any(verdict.issues or verdict.suggestions for verdict in failure.verdicts)
    if failure.operator == "==" or failure.expected is not None:
        return not _is_prose(value_text(failure.expected))
    if failure.requirement:
        return _LITERAL.search(failure.requirement) is not None
    said = first_line(failure.message)
    return not failure.asserted or not (said == "no message" or said.startswith("assert "))


def _is_prose(text: str) -> bool:
    return text.lstrip()[:1] not in ("{", "[") and len(_SENTENCE_END.findall(text)) > 1

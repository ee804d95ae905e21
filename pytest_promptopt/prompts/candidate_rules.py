"""What a rewritten text may hold, in sentences for the optimizer: it is prose, not a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

#: The name of the variable that a piece of template code is; None when it is more than one, or changed.
PlainVariable = Callable[[str], str | None]


def length_limit(original: str) -> int:
    """Characters a candidate may have.

    Every token is paid for on every call for ever, and models rewrite by adding: four times the text on disk,
    but 8,000 characters (two pages) even for a one-line prompt, which has to grow most.
    """
    return max(4 * len(original), 8_000)


def added_code(
    current: Counter[str], candidate: Counter[str], plain_variable: PlainVariable
) -> Iterator[str]:
    """Template code that was not there, plain variables aside."""
    for construct, count in candidate.items():
        # An expression may be used again; a statement (a loop within the same loop) or a comment may not.
        is_expression = not construct.startswith(("{%", "{#"))
        allowed = count if is_expression and current[construct] else current[construct]
        if count > allowed and plain_variable(construct) is None:
            yield f"It adds the template code {construct[:100]}; only plain variables may be added."


def added_variables(
    current: Counter[str],
    candidate: Counter[str],
    declared: AbstractSet[str],
    plain_variable: PlainVariable,
) -> Iterator[str]:
    """Plain variables that no call gives."""
    for construct in sorted(candidate.keys() - current.keys()):
        name = plain_variable(construct)
        if name is not None and name not in declared:
            yield f"It uses the variable {construct}, which the tests do not give."

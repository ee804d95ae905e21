"""What separates a rewritten text from the one it should replace, in sentences for the optimizer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from pytest_promptopt.prompts.templates import Template, constructs

_PLAIN_VARIABLE = re.compile(r"\{\{ (\w+) \}\}")


def length_limit(original: str) -> int:
    """Characters a candidate may have.

    Every token is paid for on every call for ever, and models rewrite by adding: four times the text on disk,
    but 8,000 characters (two pages) even for a one-line prompt, which has to grow most.
    """
    return max(4 * len(original), 8_000)


def losses(current: Sequence[Template], candidate: Sequence[Template]) -> Iterator[str]:
    """Variables that the current text uses and the candidate does not."""
    for name in sorted(_variables(current) - _variables(candidate)):
        yield f"It lost the variable {{{{ {name} }}}}."


def strangers(
    current: Sequence[Template], candidate: Sequence[Template], declared: AbstractSet[str]
) -> Iterator[str]:
    """Variables nobody gives, and template code that was not there: a candidate is prose, not a program."""
    used = _variables(candidate)
    for name in sorted(used - declared):
        yield f"It uses the variable {{{{ {name} }}}}, which the tests do not give."
    before, after = _constructs(current), _constructs(candidate)
    for construct, count in after.items():
        plain = _PLAIN_VARIABLE.fullmatch(construct)
        if plain and plain[1] in declared | used:
            continue
        # An expression may be used again; a statement (a loop within the same loop) or a comment may not.
        allowed = count if construct.startswith("{{") and before[construct] else before[construct]
        if count > allowed:
            yield f"It adds the template code {construct[:100]}; only plain variables may be added."


def _variables(templates: Sequence[Template]) -> set[str]:
    return {name for template in templates for name in template.variables}


def _constructs(templates: Sequence[Template]) -> Counter[str]:
    return Counter(found for template in templates for found in constructs(template.source))

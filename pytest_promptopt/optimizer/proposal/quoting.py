"""Text that others wrote, as it may stand in a request: on one line, and without a tag of ours."""

from __future__ import annotations

import json

from pytest_promptopt.tags import Tags
from pytest_promptopt.text import MAX_TEXT, cut_middle, json_text, one_line

#: The section with what a model said of the worst answers. Users' prompts may have a tag `critique`.
CRITIQUE = "critique_of_answers"

#: Section names of a request; a candidate with one of their tags could be taken for the request itself.
SECTIONS = (
    "task", "target_model", "fixed_rules", "keep", "test_source", "measured", "current_prompt", "failures",
    "category", "passing", "patterns", "tried", "lessons", "direction", "version", "new_prompt",
    CRITIQUE,
)  # fmt: skip

#: Sections of a request for the stage at fault.
JUDGED = ("pipeline_stages", "passing_trace", "failing_traces")

#: Whatever anybody but us wrote goes into a request through `quote_line`, `quote_block`, `quote_value` or
#: `quote_text`.
TAGS = Tags((*SECTIONS, *JUDGED, "reason"))

#: Characters of an input or an answer where many are told, or in passing.
MAX_SHOWN = 80

#: Stands for a line break while a text is made harmless: a character that no writing uses.
_BREAK = "\ue000"


def quote_value(value: str) -> str:
    """A JSON structure as it is, any other text as a JSON string; one line without a tag of ours."""
    if value.lstrip()[:1] in ("{", "[") and len(value) <= MAX_TEXT:
        try:
            return escape_tags(json_text(json.loads(value)))
        except (ValueError, RecursionError):
            pass
    return quote_text(value)


def quote_text(value: str) -> str:
    """`value`, its middle left out if it is very long, as a JSON string without a tag of ours."""
    return escape_tags(json_text(cut_middle(value)))


def quote_line(text: str) -> str:
    """`text` on one line, without a tag of ours."""
    return escape_tags(one_line(text))


def quote_block(text: str, mark: str = "") -> str:
    """`text` with its line breaks, each line after `mark`, without a tag of ours, not even over two lines."""
    marked = "".join(f"{_BREAK}{mark}{each.expandtabs(4)}" for each in text.splitlines())
    return escape_tags(marked).replace(_BREAK, "\n").removeprefix("\n")


def escape_tags(text: str) -> str:
    """`text` without a tag of ours and without anything invisible, line breaks included."""
    return TAGS.escape(text)


def json_differences(expected: str, actual: str) -> tuple[str, str] | None:
    """The parts in which two JSON objects differ, as JSON; None for other texts."""
    try:
        one, two = json.loads(expected), json.loads(actual)
        if not isinstance(one, dict) or not isinstance(two, dict) or one == two:
            return None
        parts = _besides(one, two), _besides(two, one)
        return json_text(parts[0]), json_text(parts[1])
    except (ValueError, RecursionError):
        return None


def _besides(one: dict[str, object], two: dict[str, object]) -> dict[str, object]:
    """The entries of `one` that `two` does not have; objects that both have are compared in the same way."""
    left: dict[str, object] = {}
    for key, value in one.items():
        other = two.get(key)
        if key in two and other == value:
            continue
        nested = isinstance(value, dict) and isinstance(other, dict)
        left[key] = _besides(value, other) if nested else value  # type: ignore[arg-type]
    return left

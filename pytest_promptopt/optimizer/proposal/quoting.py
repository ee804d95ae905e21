"""Text that others wrote, as it may stand in a request: on one line, and without a tag of ours."""

from __future__ import annotations

import json

from pytest_promptopt.optimizer.proposal.tags import Tags

#: Characters of one value of a case; a longer one loses its middle, since many cases share a request.
MAX_VALUE = 4_000

#: Section names of a request; a candidate that holds one of their tags could pose as the request's own text.
SECTIONS = (
    "task", "target_model", "fixed_rules", "keep", "test_source", "measured", "current_prompt", "failures",
    "category", "passing", "patterns", "tried", "lessons", "direction", "version", "new_prompt",
)  # fmt: skip

#: Whatever anybody but us wrote goes into a request through `line`, `block`, `literal` or `json_string`.
TAGS = Tags((*SECTIONS, "reason"))

#: Stands for a line break while a text is made harmless: a character that no writing uses.
_BREAK = "\ue000"


def literal(value: str) -> str:
    """A JSON structure as it is, any other text as a JSON string; one line without a tag of ours."""
    if value.lstrip()[:1] in ("{", "[") and len(value) <= MAX_VALUE:
        try:
            return harmless(json.dumps(json.loads(value), ensure_ascii=False))
        except (ValueError, RecursionError):
            pass
    return json_string(value)


def json_string(value: str) -> str:
    """`value`, its middle left out if it is very long, as a JSON string without a tag of ours."""
    if len(value) > MAX_VALUE:
        left_out = f" … {len(value) - MAX_VALUE:,} characters left out … "
        value = value[: MAX_VALUE * 2 // 3] + left_out + value[-(MAX_VALUE // 3) :]
    return harmless(json.dumps(value, ensure_ascii=False))


def line(text: str) -> str:
    """`text` on one line, without a tag of ours."""
    return harmless(" ".join(text.split()))


def block(text: str, mark: str = "") -> str:
    """`text` with its line breaks, each line after `mark`, without a tag of ours, not even over two lines."""
    marked = "".join(f"{_BREAK}{mark}{each.expandtabs(4)}" for each in text.splitlines())
    return harmless(marked).replace(_BREAK, "\n").removeprefix("\n")


def harmless(text: str) -> str:
    """`text` without a tag of ours and without anything invisible, line breaks included."""
    return TAGS.harmless(text)


def sendable(text: str) -> str:
    """`text` as UTF-8 can carry it."""
    return text.encode("utf-8", "backslashreplace").decode()


def differing(expected: str, actual: str) -> tuple[str, str] | None:
    """What two JSON objects have not in common, as JSON; None for other texts."""
    try:
        one, two = json.loads(expected), json.loads(actual)
        if not isinstance(one, dict) or not isinstance(two, dict) or one == two:
            return None
        parts = _besides(one, two), _besides(two, one)
        return json.dumps(parts[0], ensure_ascii=False), json.dumps(parts[1], ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _besides(one: dict[str, object], two: dict[str, object]) -> dict[str, object]:
    """The entries of `one` that `two` has not; of objects in both, in the same way, what is inside."""
    left: dict[str, object] = {}
    for key, value in one.items():
        other = two.get(key)
        if key in two and other == value:
            continue
        nested = isinstance(value, dict) and isinstance(other, dict)
        left[key] = _besides(value, other) if nested else value  # type: ignore[arg-type]
    return left

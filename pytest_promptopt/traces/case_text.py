"""A case from a trace as a part of a suite, ``*.promptopt.yaml``: YAML that a person reads and edits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.located_yaml import plain_value, read_yaml
from pytest_promptopt.text import cut_end, one_line, plural, printable, value_of_json
from pytest_promptopt.traces.case_making import TraceCase

HEADER = """\
# Requests that were recorded in production, written by pytest --promptopt-from-traces.
# A case with `recorded` is skipped until somebody has looked at it: rename `recorded` to `expected` if the
# answer is right; write `expected` or `checks` if it is not.
# Another export adds its new cases at the end and changes nothing else. A case whose id stands in this file,
# also in a comment, is not added again.
"""

#: Characters of a comment.
MAX_COMMENT = 100
#: Different answers that a comment tells of.
_MAX_ANSWERS = 3

#: What JSON leaves as it is and YAML does not read, or reads as the end of a line.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
#: Words that other readers of YAML take for true and false.
_WORDS = ("yes", "no", "on", "off", "y", "n")
_WORD = re.compile(r"[A-Za-z][\w ./'()!?,;%&+-]*", re.ASCII)
_BLOCK_LINE = re.compile("[^\\S ]|[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def case_lines(case: TraceCase, indent: str) -> list[str]:
    """Its lines, the first with the dash of the list.

    :param indent: what stands before that dash.
    """
    lines = [f"- id: {scalar(case.id)}"]
    lines += [f"  # {line}" for line in _comments(case)]
    lines.append("  inputs:" if case.inputs else "  inputs: {}")
    for name, text in case.inputs.items():
        lines += _entry(name, text, "    ")
    if case.messages:
        lines.append("  messages:")
        for turn in case.messages:
            lines.append(f"    - role: {turn.role}")
            lines += _entry("content", turn.content, "      ")
    answer = case.recorded if case.expected is None else case.expected
    lines += _entry("recorded" if case.expected is None else "expected", _value_of(answer), "  ")
    return [f"{indent}{line}" if line else "" for line in lines]


def scalar(value: Any) -> str:
    """A value on one line that YAML reads back as it is."""
    if isinstance(value, str) and _is_plain(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _is_plain(text: str) -> bool:
    """Whether it needs no quotes, for any reader of YAML."""
    if _WORD.fullmatch(text) is None or text.lower() in _WORDS:
        return False
    return bool(text == text.strip() == plain_value(text))


def _value_of(answer: str | None) -> Any:
    """An answer that is JSON is compared as JSON: blanks in it make no difference."""
    if answer is None or answer.lstrip()[:1] not in ("{", "["):
        return answer
    try:
        value = value_of_json(answer)
        if not value or read_yaml(f"answer: {scalar(value)}", "").value != {"answer": value}:
            return answer  # YAML knows other numbers than JSON, and has shorter keys
    except (ValueError, SettingsError):
        return answer
    return value


def _entry(name: str, value: Any, indent: str) -> Iterator[str]:
    """A key with its value: a text of several lines as a block that keeps them."""
    key = scalar(name)
    if isinstance(value, str) and _is_block(value):
        yield f"{indent}{key}: |-"
        yield from (f"{indent}  {line}" if line else "" for line in value.split("\n"))
    else:
        yield f"{indent}{key}: {scalar(value)}"


def _is_block(text: str) -> bool:
    lines = text.split("\n")
    if len(lines) < 2 or not lines[0].strip() or not lines[-1].strip() or text[0] in " \t":
        return False
    return not any(_BLOCK_LINE.search(line) or (line and not line.strip()) for line in lines)


def _comments(case: TraceCase) -> Iterator[str]:
    by = f"; answered by {', '.join(case.models)}" if case.models else ""
    yield _comment(f"seen {plural(case.seen, 'time')}{by}")
    if case.said:
        yield _comment("a person said " + "; ".join(dict.fromkeys(case.said)))
    if case.expected is None and (case.right or case.corrected):
        yield "people contradict each other, so nothing is expected yet"
    if len(case.answers) > 1:
        shown = [
            f"{printable(cut_end(one_line(text), 40))} ({count})"
            for text, count in case.answers.most_common(_MAX_ANSWERS)
        ]
        more = f" and {len(case.answers) - len(shown)} more" if len(case.answers) > len(shown) else ""
        yield _comment(f"answers: {', '.join(shown)}{more}")


def _comment(text: str) -> str:
    return cut_end(printable(one_line(text)), MAX_COMMENT)

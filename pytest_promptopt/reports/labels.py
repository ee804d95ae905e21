"""Right and wrong by what is expected, for the terminal; and an answer that comes whatever is expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_promptopt.optimizer.label_rates import describe_wrong_answer
from pytest_promptopt.reports.lines import Line, headed
from pytest_promptopt.reports.wording import table
from pytest_promptopt.results import LabelScore, PromptResult
from pytest_promptopt.text import excerpt

#: More labels than this make no table that anyone reads; the JSON report has them.
MOST_LABELS = 12

#: Keys of JSON answers that have a table of their own, those with most wrong values first.
MAX_KEYS = 3

MAX_LABEL_WIDTH = 40


def label_table(scores: Sequence[LabelScore]) -> Iterator[Line]:
    """A table for each key of the answers, or for the answer itself, that is wrong under either text."""
    fields: dict[str, list[LabelScore]] = {}
    for score in scores:
        fields.setdefault(score.field, []).append(score)
    wrong = {
        field: sum(2 * score.cases - score.before - score.after for score in rows)
        for field, rows in fields.items()
        if len(rows) <= MOST_LABELS
    }
    for field in sorted(filter(wrong.get, wrong), key=lambda field: -wrong[field])[:MAX_KEYS]:
        name = f"label of {excerpt(field, MAX_LABEL_WIDTH)}" if field else "label"
        header = (name, "cases", "right", "most common wrong answer")
        yield from headed(table([header, *map(_row, fields[field])], right=[1]))


def _row(score: LabelScore) -> tuple[str, ...]:
    right = dict.fromkeys((f"{score.before:,}", f"{score.after:,}"))
    instead = [
        f"{excerpt(describe_wrong_answer(answer, score.label), MAX_LABEL_WIDTH)} ({count:,})"
        for answer, count in score.instead[:1]
    ]
    return excerpt(score.label, MAX_LABEL_WIDTH), f"{score.cases:,}", " -> ".join(right), *(instead or [""])


def dominant_answer_lines(prompt: PromptResult) -> Iterator[str]:
    """``answers "negative" to 43 of 44 cases, whatever is expected``."""
    for same in prompt.same_answers:
        key = f"{excerpt(same.field, MAX_LABEL_WIDTH)}: " if same.field else ""
        answer = excerpt(same.answer, MAX_LABEL_WIDTH)
        yield f'{key}answers "{answer}" to {same.count:,} of {same.cases:,} cases, whatever is expected'

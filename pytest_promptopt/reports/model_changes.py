"""What a new text changed with each of several models, and with the model that a migration leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_promptopt.records import Split
from pytest_promptopt.reports.lines import DIM, Line, headed
from pytest_promptopt.reports.wording import SPLIT_NAMES, model_name, percent, table
from pytest_promptopt.results import Migration, ModelChange, SplitScore
from pytest_promptopt.text import plural, printable


def scores_by_model(models: Sequence[ModelChange]) -> Iterator[Line]:
    """A row for each of several models: ``50.0% -> 90.0%`` in each split."""
    splits = [split for split in Split if any(s.split is split for each in models for s in each.scores)]
    if not splits:
        return
    rows = [("model", *(SPLIT_NAMES[split] for split in splits))]
    for each in models:
        scores = {score.split: score for score in each.scores}
        rows.append((model_name(each.model), *(_change(scores.get(s)) for s in splits)))
    yield from headed(table(rows))


def migration_lines(found: Migration) -> Iterator[Line]:
    """Both models on the same held-out cases; the old one decided nothing."""
    cases = next((score.cases for each in (found.new, found.old) for score in each.scores), 0)
    yield Line(f"  migration: {plural(cases, 'held-out case')} with both models", DIM)
    rows = [("model", "before", "after")]
    for what, each in (("old", found.old), ("new", found.new)):
        score = next(iter(each.scores), None)
        rates = (None, None) if score is None else (score.before, score.after)
        before, after = ("not measured" if rate is None else percent(rate) for rate in rates)
        rows.append((f"{printable(each.model)} ({what})", before, after))
    yield from headed(table(rows), indent=4)


def _change(score: SplitScore | None) -> str:
    if score is None or score.before is None:
        return "not measured"
    return percent(score.before) + (f" -> {percent(score.after)}" if score.after is not None else "")

"""A comparison with a baseline as the HTML report holds it: figures in words, and the cases that changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_promptopt.baselines.compare_rule import CompareRule, CompareVerdict
from pytest_promptopt.baselines.comparison import Pair, PromptComparison
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import named_without_model
from pytest_promptopt.reports.baseline_wording import (
    change_words,
    figure_lines,
    not_compared,
    only_new,
    only_removed,
    other_models_words,
    p_words,
    verdict_words,
)
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.reports.wording import NO_MODEL

#: Cases of the whole page whose answers are shown, fixed and broken ones each, and the least of one prompt
#: and model; all are counted.
MAX_CHANGED = 1_000
LEAST_CHANGED = 10

#: Cases that are only named, of one kind.
MAX_NAMED = 100

#: How the page colors a verdict that fails nothing.
_KINDS: Mapping[CompareVerdict, str] = {
    CompareVerdict.GAIN: "improved",
    CompareVerdict.LOSS: "worse",
    CompareVerdict.TOLERATED_LOSS: "warn",
    CompareVerdict.INCOMPARABLE: "warn",
}


def compared_data(report: SessionReport, check: PromptCheck) -> list[dict[str, Any]]:
    """A prompt against the baseline, once for each model."""
    ids = _ids(check)
    most = max(LEAST_CHANGED, MAX_CHANGED // max(1, len(report.compared)))
    return [
        _comparison(found, report.compare_rule, ids.get(found.model, {}), most)
        for found in report.compared_of(check.prompt)
    ]


def _ids(check: PromptCheck) -> Mapping[str, Mapping[str, str]]:
    """Model -> the name of a case in a comparison -> its id in the list of cases."""
    found: dict[str, dict[str, str]] = {}
    for name, result in named_without_model(check.results, check.prompt):
        found.setdefault(result.case.model_of(check.prompt), {})[name] = result.case.id
    return found


def _comparison(
    found: PromptComparison, rule: CompareRule, ids: Mapping[str, str], most: int
) -> dict[str, Any]:
    verdict, failed = rule.verdict(found), bool(rule.why_failed(found))
    before, now = found.rates if found.pairs else (None, None)
    return {
        "model": found.model or NO_MODEL,
        "words": verdict_words(found, rule),
        "kind": "failed" if failed else _KINDS.get(verdict, "neutral"),
        "failed": failed,
        "cases": len(found.pairs),
        "same": bool(found.pairs) and found.same_text,
        "before": before,
        "now": now,
        "change": change_words(found) if found.pairs else "",
        "p": f"p {p_words(found.p)}, exact {found.test.test}" if found.pairs else "",
        "broken": _changed(found.broken, ids, most),
        "fixed": _changed(found.fixed, ids, most),
        "named": list(_named(found, ids)),
        "sentences": [*filter(None, [other_models_words(found)]), *figure_lines(found)],
    }


def _changed(pairs: Sequence[Pair], ids: Mapping[str, str], most: int) -> dict[str, Any]:
    return {
        "count": len(pairs),
        "cases": [
            {
                "id": ids.get(pair.now.case, pair.now.case),
                "kind": pair.now.category or pair.before.category,
                "before": pair.before.answer,
                "now": pair.now.answer,
                "same": pair.same_answers,
            }
            for pair in pairs[:most]
        ],
    }


def _named(found: PromptComparison, ids: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Further cases: what they are, how many, and the first of them."""
    kinds: dict[str, Sequence[str]] = {
        "Flaky: passed and failed under one text": [pair.now.case for pair in found.flaky],
        "New": only_new(found),
        "Removed": only_removed(found),
        **{f"Not compared: {reason}": cases for reason, cases in not_compared(found).items()},
    }
    for words, cases in kinds.items():
        if cases:
            shown = [ids.get(case, case) for case in cases[:MAX_NAMED]]
            yield {"words": words, "count": len(cases), "ids": shown}

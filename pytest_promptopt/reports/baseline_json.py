"""Comparisons with a baseline, and what a suite does by itself, as the JSON report has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytest_promptopt.baselines.compare_rule import CompareRule
from pytest_promptopt.baselines.comparison import Pair, PromptComparison
from pytest_promptopt.baselines.noise import SuiteNoise
from pytest_promptopt.reports.baseline_wording import not_compared, only_new, only_removed, verdict_words
from pytest_promptopt.reports.session_report import SessionReport


def compared_json(report: SessionReport) -> list[dict[str, Any]]:
    """One object for each prompt and model; what is measured over the pairs is null without one."""
    rule = report.compare_rule
    return [
        {
            "prompt": found.prompt,
            "model": found.model or None,
            "with": report.compared_with,
            **_measured(found),
            **_verdict(found, rule),
            **_cases(found),
        }
        for found in report.compared
    ]


def _measured(found: PromptComparison) -> dict[str, Any]:
    known = bool(found.pairs)
    before, now = found.rates if known else (None, None)
    return {
        "cases": len(found.pairs),
        "same_text": found.same_text if known else None,
        "before": before,
        "now": now,
        "change": found.change if known else None,
        "p": found.p if known else None,
        "p_better": found.test.better if known else None,
        "p_worse": found.test.worse if known else None,
        "test": found.test.test if known else None,
        "categories": [
            {"name": name, "before": was, "now": is_} for name, (was, is_) in found.categories.items()
        ],
        "cost": _sides(found.costs),
        "latency_p50": _sides(found.latencies),
    }


def _sides(figures: tuple[float, float] | None) -> dict[str, float] | None:
    return None if figures is None else {"before": figures[0], "now": figures[1]}


def _verdict(found: PromptComparison, rule: CompareRule) -> dict[str, Any]:
    return {
        "verdict": rule.verdict(found),
        "words": verdict_words(found, rule),
        "fail_on": rule.fail_on,
        "margin": rule.margin,
        "failed": bool(rule.why_failed(found)),
    }


def _cases(found: PromptComparison) -> dict[str, Any]:
    return {
        "fixed": _names(found.fixed),
        "broken": _names(found.broken),
        "flaky": _names(found.flaky),
        "answers": {
            pair.now.case: {"before": pair.before.answer, "now": pair.now.answer}
            for pair in (*found.fixed, *found.broken)
        },
        "new": only_new(found),
        "removed": only_removed(found),
        "not_compared": [{"why": why, "cases": list(cases)} for why, cases in not_compared(found).items()],
        "other_models": [model or None for model in found.other_models],
    }


def _names(pairs: Iterable[Pair]) -> list[str]:
    return [pair.now.case for pair in pairs]


def noise_json(noise: SuiteNoise | None) -> dict[str, Any] | None:
    """How many cases flip under one text, and what that still lets be shown."""
    if noise is None:
        return None
    return {"cases": noise.cases, "flipping": noise.flipping, "smallest": noise.smallest}

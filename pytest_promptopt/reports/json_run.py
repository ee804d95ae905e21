"""What ``--optimize`` did, as the JSON report has it; `json_report` says what the keys mean."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_promptopt.records import Spend
from pytest_promptopt.reports.passage_evidence import PromptPassages, passage_evidence
from pytest_promptopt.reports.tried_texts import read_journal
from pytest_promptopt.results import Iteration, ModelChange, PromptResult, RunResult, SplitScore

if TYPE_CHECKING:
    from pytest_promptopt.settings import Settings


def run_json(run: RunResult, settings: Settings) -> dict[str, Any]:
    tried = read_journal(run, settings.rootdir)
    return {
        "id": run.id or None,
        "strategy": run.strategy,
        "interrupted": run.interrupted,
        "elapsed": run.elapsed,
        "journal": run.journal or None,
        "notes": run.notes,
        "errors": run.errors,
        "spend": {role: spend_json(spend) for role, spend in run.spend.items()},
        "prompts": [
            _prompt(prompt, passage_evidence(prompt, tried, settings.alpha)) for prompt in run.prompts
        ],
        "compared": [run_json(each, settings) for each in run.compared],
    }


def _prompt(prompt: PromptResult, passages: PromptPassages) -> dict[str, Any]:
    return {
        "prompt": prompt.prompt,
        "outcome": prompt.outcome,
        "stop": prompt.stop,
        "why": prompt.why,
        "accepted": prompt.accepted,
        "written": prompt.written,
        "unwritten": prompt.unwritten or None,
        "pipeline": prompt.pipeline,
        "note": prompt.note or None,
        "before": prompt.before,
        "after": prompt.after,
        "fixed": prompt.fixed,
        "broken": prompt.broken,
        "rates": prompt.rates,
        "flaky": [dataclasses.asdict(case) for case in prompt.flaky],
        "confirmation": prompt.confirmation and dataclasses.asdict(prompt.confirmation),
        "labels": [dataclasses.asdict(score) for score in prompt.labels],
        "same_answers": [dataclasses.asdict(same) for same in prompt.same_answers],
        "examples": prompt.examples,
        "verbosity": prompt.verbosity,
        "asked_before": prompt.asked_before,
        "heldout_before": prompt.heldout_before,
        "caught_up": prompt.caught_up and dataclasses.asdict(prompt.caught_up),
        "scores": [_score(score) for score in prompt.scores],
        "models": [_change(each) for each in prompt.models],
        "worse_with": prompt.worse_with or None,
        "migration": prompt.migration
        and {"old": _change(prompt.migration.old), "new": _change(prompt.migration.new)},
        "at_fault": [dataclasses.asdict(each) for each in prompt.at_fault],
        "passages": {
            "tried": [{**dataclasses.asdict(each), "interval": each.interval} for each in passages.evidence],
            "untried": passages.untried,
        },
        "iterations": [_iteration(iteration) for iteration in prompt.iterations],
    }


def _change(change: ModelChange) -> dict[str, Any]:
    return {"model": change.model or None, "scores": [_score(score) for score in change.scores]}


def _score(score: SplitScore) -> dict[str, Any]:
    counts = dataclasses.asdict(score)
    del counts["tested"], counts["effective"]
    return {
        **counts,
        "interval": None if score.after is None else score.interval(score.after),
        "p_better": score.chance.better,
        "p_worse": score.chance.worse,
        "test": score.chance.test,
    }


def _iteration(iteration: Iteration) -> dict[str, Any]:
    return {
        "number": iteration.number,
        "phase": iteration.phase,
        "before": iteration.before,
        "best": iteration.best,
        "unverified": iteration.unverified,
        "foresight": iteration.foresight and dataclasses.asdict(iteration.foresight),
        "elapsed": iteration.elapsed,
        "critiques": iteration.critiques,
        "at_fault": iteration.at_fault,
        "spend": spend_json(iteration.spend),
        "candidates": [dataclasses.asdict(candidate) for candidate in iteration.candidates],
    }


def spend_json(spend: Spend) -> dict[str, Any]:
    unknown = 0 < spend.calls <= spend.unpriced
    return {**dataclasses.asdict(spend), "cost": None if unknown else spend.cost}

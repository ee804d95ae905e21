"""What cases leave on their reports, and its sum on the side that prints: the same with and without xdist."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import pytest

from pytest_promptopt.gate import check_prompts
from pytest_promptopt.gate_rule import GateRule
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.pytest_engine.outcomes import from_json, to_json
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.report_data import read_data
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.settings import Settings
from pytest_promptopt.thresholds import GateName, Marked, Threshold, thresholds, thresholds_of


def payload(
    case: PromptCase, outcomes: Sequence[Outcome], status: Status, *, tolerated: str, inputs: str = ""
) -> dict[str, Any]:
    """All that the controller must know of a case that was reported.

    :param inputs: stands for what it is about, where that is asked for.
    """
    return {
        "case": vars(case.case),
        "outcomes": [to_json(outcome) for outcome in outcomes],
        "status": status.value,
        "thresholds": {name.value: value for name, value in case.mark.thresholds.items()},
        "tolerated": tolerated,
        "inputs": inputs,
    }


class ReportTotals:
    """The cases reported so far, by prompt."""

    def __init__(self) -> None:
        self._cases: dict[str, Case] = {}
        #: By case and by item: several items may be samples of one case, and one may be reported again.
        self._outcomes: dict[str, dict[str, tuple[Outcome, ...]]] = {}
        self._marked: list[Marked] = []
        self._from_cache: set[str] = set()
        #: By case, what stands for its inputs.
        self.inputs: dict[str, str] = {}

    def add(self, report: pytest.TestReport) -> None:
        data = read_data(report)
        if "case" not in data:
            return
        case = Case(
            **{
                **data["case"],
                "split": Split(data["case"]["split"]),
                "prompts": tuple(data["case"]["prompts"]),
                "models": tuple(data["case"]["models"]),
            }
        )
        self._cases.setdefault(case.id, case)
        self.inputs[case.id] = data["inputs"]
        outcomes = tuple(map(from_json, data["outcomes"]))
        self._outcomes.setdefault(case.id, {})[report.nodeid] = outcomes
        calls = (call for outcome in outcomes for call in outcome.all_calls)
        self._from_cache.update(call.key for call in calls if call.cached)
        for prompt in case.prompts:
            for name, value in data["thresholds"].items():
                self._marked.append((prompt, GateName(name), Threshold(value, case.where)))

    @property
    def results(self) -> dict[str, list[CaseResult]]:
        """Each case once."""
        found: dict[str, list[CaseResult]] = {}
        for case in self._cases.values():
            outcomes = tuple(outcome for some in self._outcomes[case.id].values() for outcome in some)
            for prompt in case.prompts:
                found.setdefault(prompt, []).append(CaseResult(case, outcomes))
        return found

    def count_cached(self, paid: Set[str]) -> int:
        """How many answers came from the cache; each once, also where several cases share it.

        :param paid: keys of calls that this session has paid for, for whichever of its processes.
        """
        return len(self._from_cache - paid)

    def checks(self, settings: Settings) -> tuple[PromptCheck, ...]:
        """What was measured for each prompt. Raises `SettingsError` on two thresholds for one prompt."""
        results = self.results
        asked = thresholds(results, self._marked, thresholds_of(settings))
        return check_prompts(results, asked, GateRule.of(settings), settings.models)

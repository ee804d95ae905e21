"""What cases leave on their reports, and its sum on the side that prints: the same with and without xdist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

import pytest

from pytest_promptopt.gate import Threshold, check_prompts, thresholds
from pytest_promptopt.pytest_engine.outcomes import from_json, to_json
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.report_data import read_data
from pytest_promptopt.records import EPSILON, Case, CaseResult, Outcome, Split, Status
from pytest_promptopt.results import PromptCheck
from pytest_promptopt.text import cut_middle, printable

#: Characters of an answer that stand under a failing test.
MAX_ANSWER = 2_000


def payload(
    case: PromptCase, outcomes: Sequence[Outcome], status: Status, *, tolerated: str
) -> dict[str, Any]:
    """All that the controller must know of a case that was reported."""
    return {
        "case": vars(case.case),
        "outcomes": [to_json(outcome) for outcome in outcomes],
        "status": status.value,
        "min_pass_rate": case.mark.min_pass_rate,
        "tolerated": tolerated,
    }


def reported_sample(case: PromptCase, outcomes: Sequence[Outcome]) -> int:
    """Which sample's run is reported: one that agrees with the verdict over all of them."""
    if not outcomes:
        return case.samples.start
    counted = CaseResult(case.case, tuple(outcomes)).counted
    rate = sum(outcome.status is Status.PASSED for outcome in counted) / len(counted) if counted else 0.0
    wanted = Status.PASSED if counted and rate >= case.mark.min_case_rate - EPSILON else Status.FAILED
    return next((outcome.sample for outcome in outcomes if outcome.status is wanted), case.samples.start)


def samples_section(case: PromptCase, outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """How many samples of a case passed, as a section of its report."""
    passed = sum(outcome.status is Status.PASSED for outcome in outcomes)
    text = f"{passed} of {len(outcomes)} samples passed; min_case_rate is {case.mark.min_case_rate:g}"
    return "promptopt samples", text


def answer_sections(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """What models have answered and judges have said, as sections under the report of a failing test."""
    for call in outcome.calls:
        lines = cut_middle(call.text, MAX_ANSWER).splitlines()
        yield f"answer of {printable(call.prompt)}", "\n".join(map(printable, lines))
    if outcome.verdicts:
        from pytest_promptopt.failures.verdict_lines import verdict_lines

        yield "verdicts of the judge", "\n".join(map(printable, verdict_lines(outcome.verdicts)))


class ReportTotals:
    """The cases reported so far, by prompt."""

    def __init__(self) -> None:
        self._cases: dict[str, Case] = {}
        #: By case and by item: several items may be samples of one case, and one may be reported again.
        self._outcomes: dict[str, dict[str, tuple[Outcome, ...]]] = {}
        self._thresholds: list[tuple[str, Threshold]] = []
        self._from_cache: set[str] = set()

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
        outcomes = tuple(map(from_json, data["outcomes"]))
        self._outcomes.setdefault(case.id, {})[report.nodeid] = outcomes
        calls = (call for outcome in outcomes for call in outcome.all_calls)
        self._from_cache.update(call.key for call in calls if call.cached)
        for prompt in case.prompts:
            if data["min_pass_rate"] is not None:
                self._thresholds.append((prompt, Threshold(data["min_pass_rate"], case.where)))

    @property
    def results(self) -> dict[str, list[CaseResult]]:
        """Each case once."""
        found: dict[str, list[CaseResult]] = {}
        for case in self._cases.values():
            outcomes = (outcome for some in self._outcomes[case.id].values() for outcome in some)
            for prompt in case.prompts:
                found.setdefault(prompt, []).append(CaseResult(case, tuple(outcomes)))
        return found

    def count_cached(self, paid: Set[str]) -> int:
        """How many answers came from the cache; each once, also where several cases share it.

        :param paid: keys of calls that this session has paid for, for whichever of its processes.
        """
        return len(self._from_cache - paid)

    def checks(self, default: float | None) -> tuple[PromptCheck, ...]:
        """What was measured for each prompt. Raises `SettingsError` on two thresholds for one prompt."""
        option = None if default is None else Threshold(default, "--promptopt-min-pass-rate")
        results = self.results
        return check_prompts(results, thresholds(results, self._thresholds, default=option))

"""`--promptopt-gate-samples`: the cases of an undecided gate are asked again, until it is decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from math import ceil
from typing import Any

from pytest_promptopt.driver.case_engine import CaseEngine
from pytest_promptopt.gate import check_prompts
from pytest_promptopt.gate_rule import GateRule, GateVerdict, look_sizes
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import CaseResult
from pytest_promptopt.replay.case_table import CaseTable
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import plural
from pytest_promptopt.thresholds import GateName, Marked, thresholds, thresholds_of


class GateSamples:
    """Looks at the gates before any case is reported; pytest's own loop then finds all answers known."""

    def __init__(
        self,
        cases: CaseTable[Any, Any],
        marked: Sequence[Marked],
        partial: Set[str],
        settings: Settings,
    ) -> None:
        """:param marked: what marks ask of prompts; `partial`: prompts whose gate is not decided."""
        self._cases = cases
        self._settings = settings
        self._rule = GateRule.of(settings)
        prompts = {prompt for case in cases.values() for prompt in case.case.prompts}
        found = thresholds(sorted(prompts), marked, thresholds_of(settings))
        self._thresholds = {
            prompt: asked
            for prompt, asked in found.items()
            if GateName.PASS_RATE in asked and prompt not in partial
        }
        self._results: dict[str, CaseResult] = {}

    def take(self, engine: CaseEngine[Any], tell: Callable[[str], None], note: Callable[[str], None]) -> None:
        """Ask until every gate is decided, or its cases have all the samples that they may have.

        :param tell: told at once when cases are asked again; `note` what the summary has to say.
        """
        own = {
            case.id: range(case.samples)
            for case in self._cases.distinct
            if not self._thresholds.keys().isdisjoint(case.prompts)
        }
        try:
            if own:
                self._ask(engine, own)
            for size in look_sizes(self._settings.most_gate_samples):
                open_gates = list(self._undecided())
                grown = self._grown(open_gates, size)
                if not grown:
                    continue
                for check in open_gates:
                    tell(_asking_again(check, size))
                self._ask(engine, grown)
        except StopRun as stopped:
            note(f"no further samples for gates: {stopped.why}")

    def _ask(self, engine: CaseEngine[Any], samples: dict[str, range]) -> None:
        """Ask these samples of these cases, and have the cases keep them."""
        together: dict[range, list[str]] = defaultdict(list)
        for case, each in samples.items():
            together[each].append(case)
        trials = [Trial({}, tuple(cases), tuple(each)) for each, cases in together.items()]
        for of_trial in engine.evaluate(trials, lambda: None):
            for result in of_trial:
                before = self._results.get(result.case.id)
                outcomes = result.outcomes if before is None else before.outcomes + result.outcomes
                self._results[result.case.id] = CaseResult(result.case, outcomes)
        self._cases.give_samples({case: each.stop for case, each in samples.items()})

    def _undecided(self) -> Iterator[PromptCheck]:
        """The parts of prompts whose gate more samples may decide."""
        by_prompt = {
            prompt: [result for result in self._results.values() if prompt in result.case.prompts]
            for prompt in self._thresholds
        }
        for check in check_prompts(by_prompt, self._thresholds, self._rule):
            for part in check.by_gate.values():
                decision = part.decision
                if (
                    decision is not None
                    and decision.verdict is GateVerdict.UNDECIDED
                    and decision.cases is None
                ):
                    yield part

    def _grown(self, undecided: Sequence[PromptCheck], size: int) -> dict[str, range]:
        """Which samples the cases of these gates lack, so that each has `size`."""
        repetitions = {case.case.id: case.repetitions for case in self._cases.values()}
        found = {}
        for case in (result.case for check in undecided for result in check.results if result.counted):
            have = len(self._results[case.id].outcomes)
            count = ceil(size / repetitions[case.id]) * repetitions[case.id]
            if have < count:
                found[case.id] = range(have, count)
        return found


def _asking_again(check: PromptCheck, size: int) -> str:
    cases = sum(bool(result.counted) for result in check.results)
    return f"gate of {check.prompt} is undecided: {plural(cases, 'case')} asked again, {size} samples each"

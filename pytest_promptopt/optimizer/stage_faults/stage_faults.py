"""The stages at fault under one text, and which of them gets the next request."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_promptopt.optimizer.candidates import EvaluatedCandidate
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.proposal.case_batches import ENOUGH_CASES
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.stage_faults.known_runs import (
    KnownRun,
    RunLog,
    Texts,
    known_runs,
    texts_of,
)
from pytest_promptopt.optimizer.stage_faults.naming import StageFault, name_stages
from pytest_promptopt.optimizer.stage_faults.signs import (
    Sign,
    ending_signs,
    grade_signs,
    only_change,
    repeating_signs,
    run_signs,
)
from pytest_promptopt.optimizer.stage_faults.telling import tell_faults
from pytest_promptopt.optimizer.stage_faults.tries import Try
from pytest_promptopt.records import CaseResult, Overlay
from pytest_promptopt.results import StageAtFault

#: A case and what its stages have answered.
RunKey = tuple[str, tuple[tuple[str, ...], ...]]


@dataclass
class FaultState:
    """What a search knows of its stages.

    :param log: all runs of its pipelines.
    :param signs: what tries and the judge have said of a case, by the failing run.
    :param incumbents: the texts that others were made from, in order.
    :param asked: in how many iterations texts of each prompt were tried; in `won` of them one was accepted.
    :param swapped: the stages of failing runs that another answer was put in at.
    :param sealed: whether an answer did not get in: none does where an application makes calls by itself.
    :param judged: the ids of the texts whose failing runs a model was shown.
    :param unread: whether a model that was asked named no stage.
    :param tried_calls: calls of the runs that were made to find a stage at fault, known answers included.
    """

    log: RunLog = field(default_factory=RunLog)
    signs: dict[RunKey, list[Sign]] = field(default_factory=dict)
    incumbents: list[Overlay] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    won: Counter[str] = field(default_factory=Counter)
    swapped: set[tuple[RunKey, str]] = field(default_factory=set)
    sealed: bool = False
    judged: set[str] = field(default_factory=set)
    unread: bool = False
    tried_calls: int = 0


def key_of(run: KnownRun) -> RunKey:
    """What a sign of a try or of the judge holds for: another run with the same answers is the same."""
    return run.case, tuple(stage.answers for stage in run.stages)


class StageFaults:
    """Names the stage at fault of each failing case of one group, by all that is known.

    :param state: where the search has got to.
    """

    def __init__(self, group: PromptGroup, state: FaultState) -> None:
        self._group = group
        self.state = state

    def failing_runs(self, overlay: Overlay, results: Iterable[CaseResult]) -> dict[str, KnownRun]:
        """The first failed run of each case of a pipeline, by case."""
        found = {}
        for result in results:
            if result.failing is not None:
                texts = texts_of(result.case, overlay, self._group.prompts)
                runs = known_runs(result.case, [result.failing], texts)
                found.update({run.case: run for run in runs})
        return found

    def named(self, overlay: Overlay, results: Sequence[CaseResult]) -> dict[str, StageFault]:
        """The stage at fault of each failing case of a pipeline.

        :param results: under `overlay`, passing cases as well.
        """
        failing = self.failing_runs(overlay, results)
        mended, passed = self._mended(failing.values()), self.state.log.passed
        signs = {
            case: (
                *ending_signs(run),
                *grade_signs(run),
                *run_signs(run, self.state.log.of(case), mended, self._bases(case)),
                *self.state.signs.get(key_of(run), ()),
                *repeating_signs(run, passed),
            )
            for case, run in failing.items()
        }
        return name_stages({case: run.names for case, run in failing.items()}, signs)

    def _mended(self, failing: Iterable[KnownRun]) -> Mapping[tuple[str, Texts], tuple[int, int]]:
        """Of each text of one stage: how many failing cases it mends, and of how many it was tried on."""
        found: dict[tuple[str, Texts], tuple[int, int]] = {}
        for run in failing:
            bases = [run.texts, *self._bases(run.case)]
            for other in self.state.log.of(run.case):
                stage = only_change(other, bases)
                if stage is not None:
                    key = (stage, other.texts)
                    mended, tried = found.get(key, (0, 0))
                    found[key] = mended + other.passed, tried + 1
        return found

    def follow(self, overlay: Overlay) -> None:
        """From now on texts are made from these."""
        if overlay not in self.state.incumbents:
            self.state.incumbents.append(dict(overlay))

    def _bases(self, case: str) -> list[Texts]:
        """The texts that others were made from and that the case fails under."""
        runs = self.state.log.of(case)
        failed = {run.texts for run in runs if not run.passed}
        names = set(runs[0].names) if runs else set()
        made_from = [self._texts(overlay, names) for overlay in self.state.incumbents]
        return [texts for texts in made_from if texts in failed]

    def _texts(self, overlay: Overlay, names: Collection[str]) -> Texts:
        own = {prompt.name: prompt.prose for prompt in self._group.prompts if prompt.name in names}
        return frozenset((name, text) for name, text in overlay.items() if name in own and own[name] != text)

    def mending_texts(self, stage: str, failing: Iterable[KnownRun]) -> list[str]:
        """The texts of a stage that mend a failing case, those first that mend most of their cases."""
        own = {prompt.name: prompt.prose for prompt in self._group.prompts}
        found = {
            dict(texts).get(stage, own.get(stage, "")): mended / tried
            for (name, texts), (mended, tried) in self._mended(failing).items()
            if name == stage and mended
        }
        return sorted(found, key=found.__getitem__, reverse=True)

    def told(self, overlay: Overlay, results: Sequence[CaseResult]) -> tuple[StageAtFault, ...]:
        """The stages at fault as the user is told of them."""
        return tell_faults(self.named(overlay, results), self._group.names)

    @property
    def prompts(self) -> Sequence[Prompt]:
        """Those that may be rewritten."""
        return self._group.prompts

    def text(self, prompt: str, version: EvaluatedCandidate) -> str:
        """What a prompt says in `version`; empty for a frozen one, whose text the search does not see."""
        return next((version.text(each) for each in self._group.prompts if each.name == prompt), "")

    def add_sign(self, failing: KnownRun, sign: Sign) -> None:
        """Take in what a try or a judge says of a failing run."""
        self.state.signs.setdefault(key_of(failing), []).append(sign)

    def may_swap(self, failing: KnownRun, stage: str) -> bool:
        """Whether another answer of this stage was not put into this run yet, and answers get in at all."""
        return not self.state.sealed and (key_of(failing), stage) not in self.state.swapped

    def note_try(self, tried: Try, sign: Sign | None) -> None:
        """Take in what a try has shown."""
        if tried.answers:
            self.state.swapped.add((key_of(tried.failing), tried.stage))
            self.state.sealed = self.state.sealed or sign is None
        if sign is not None:
            self.add_sign(tried.failing, sign)

    def learn(self, asked: Iterable[str], accepted: Iterable[str]) -> None:
        """Remember which prompts an iteration has rewritten, and which of them for the better."""
        self.state.asked.update(set(asked))
        self.state.won.update(set(accepted))

    def turns(
        self,
        prompts: Sequence[Prompt],
        overlay: Overlay,
        results: Sequence[CaseResult],
        *,
        several: bool = False,
    ) -> list[Prompt]:
        """The prompts that get the next requests: the one where a request promises most.

        It promises the failing cases that its stage is at fault of, by how often rewriting it has paid so far
        (the rule of succession). Among equals the last one: the answers before it are known and cost nothing.

        :param prompts: those that may be rewritten, in the order of the pipeline.
        :param several: besides it all that are at fault of enough cases to learn from, or of as many as they
            would be if nothing was known.
        """
        shares = self.shares(prompts, overlay, results)
        worth = {
            name: share * (1 + self.state.won[name]) / (2 + self.state.asked[name])
            for name, share in shares.items()
        }
        best = max(reversed(prompts), key=lambda prompt: round(worth[prompt.name], 9))
        if not several:
            return [best]
        least = min(ENOUGH_CASES, math.fsum(shares.values()) / len(prompts)) - 1e-6
        return [prompt for prompt in prompts if prompt is best or shares[prompt.name] >= least]

    def shares(
        self, prompts: Sequence[Prompt], overlay: Overlay, results: Sequence[CaseResult]
    ) -> dict[str, float]:
        """How many failing cases each prompt is expected to be at fault of."""
        named = self.named(overlay, results)
        shares = {prompt.name: 0.0 for prompt in prompts}
        for result in results:
            if result.failing is None:
                continue
            own = [name for name in result.case.prompts if name in shares]
            fault = named.get(result.case.id)
            for name in own:
                shares[name] += fault.shares.get(name, 0.0) if fault else 1 / len(own)
        return shares


def concerning(
    prompt: str, named: Mapping[str, StageFault], results: Sequence[CaseResult]
) -> Sequence[CaseResult]:
    """`results` without the failing cases of which another stage is more probably at fault.

    All of them where none would be left.
    """
    kept = [
        result
        for result in results
        if (fault := named.get(result.case.id)) is None
        or fault.shares.get(prompt, 0.0) >= 1 / len(fault.shares) - 1e-6
    ]
    return kept if any(result.failing for result in kept) else results

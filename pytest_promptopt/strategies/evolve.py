"""`evolve`: a population of texts, changed by mutation and crossover, selected by what each is best at.

The optimizer model is the operator of both, as in EvoPrompt (arXiv 2309.08532) and PromptBreeder
(arXiv 2309.16797). Unlike theirs the mutation is no blind one: it is told failing cases. Selection is the
Pareto front over training cases of GEPA (arXiv 2507.19457), and the best text always survives.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import (
    ACCEPTED,
    REJECTED,
    Candidate,
    EvaluatedCandidate,
    OpenIteration,
)
from pytest_promptopt.optimizer.confirmation_power import calls_each
from pytest_promptopt.optimizer.halting import Phase, Stop
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.proposal.briefs import Briefing, BriefingState
from pytest_promptopt.optimizer.proposal.requests import Brief
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.optimizer.search_state import SearchState
from pytest_promptopt.optimizer.stage_faults.stage_faults import StageFaults
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.records import Split, pass_rate
from pytest_promptopt.strategies.pareto import (
    draw_parent,
    find_complementary_pair,
    front_members,
    pareto_front,
)

#: Versions, once the best, that validation cases decide between at the end: the last may be overfitted.
FINALISTS = 3


@dataclass(kw_only=True)
class EvolveState(SearchState):
    """The state of a search of `evolve`.

    :param asked: how often requests were written, each time for one parent.
    :param population: the texts that may become parents.
    :param bests: every version that was the best at some time, the original first.
    """

    rng: random.Random
    briefing: BriefingState
    asked: int = 0
    population: list[EvaluatedCandidate] = field(default_factory=list)
    bests: list[EvaluatedCandidate] = field(default_factory=list)

    @classmethod
    def of(cls, group: PromptGroup, seed: int, **known: Any) -> EvolveState:
        """That of a search that has made no generation.

        :param known: what another search of the group has found out.
        """
        rng = random.Random(f"{seed}-evolve")
        return cls(rng=rng, briefing=BriefingState.of(group), **known)


class Evolve(BaseSearch):
    """Generations of `settings.candidates` children; an iteration is a generation.

    From the second generation on one child is a crossover, if two survivors pass different cases.

    :param generations: at most; None for no other limit than the halting rules.
    """

    state: EvolveState

    def __init__(
        self,
        group: PromptGroup,
        context: SearchContext,
        state: EvolveState | None = None,
        *,
        generations: int | None = None,
    ) -> None:
        super().__init__(group, context, state)
        self._generations = generations
        faults = StageFaults(group, self.state.faults)
        self._briefing = Briefing(group, context.settings, context.hooks, self.state.briefing, faults)

    def new_state(self) -> EvolveState:
        return EvolveState.of(self.group, self.context.settings.seed)

    def step(self) -> Stop | None:
        state = self.state
        if not state.population:
            state.population = state.bests = [self.original]
        if (stop := self.halted(Phase.TRAINING, self.best)) is not None:
            return stop
        if len(self.iterations) == self._generations:
            return Stop("generations", f"all {self._generations} generations are made")
        if (stop := self.context.call_budget.stop_below(self._calls_of(1))) is not None:
            return stop
        self._generation()
        return None

    def finalists(self) -> Sequence[EvaluatedCandidate]:
        return self.state.bests[: -FINALISTS - 1 : -1]

    def _generation(self) -> None:
        """Ask for children, run them, keep what is the best on some case, learn from all."""
        iteration = self.open_iteration(Phase.TRAINING)
        leaders = pareto_front(self.state.population, self._fitness)
        pair = (
            find_complementary_pair(front_members(leaders, self.best), self.state.rng)
            if self._crossing()
            else None
        )
        parents: dict[str, EvaluatedCandidate] = {}
        if pair is not None and (crossed := self._crossed(iteration.next_id, *pair)):
            iteration.put(crossed)
            parents[crossed.id] = pair[0]
        count = self._affordable_children() - len(iteration)
        drawn = [draw_parent(leaders, self.state.rng, self.best) for _ in range(count)]
        for child, parent in self._mutated(iteration.number, drawn, first=len(iteration) + 1):
            iteration.put(child)
            parents[child.id] = parent
        self._run(iteration, parents)
        iteration.put(*self.refuse(iteration))
        self._select(iteration)
        self._briefing.learn(iteration.number, list(iteration))
        self.finish_iteration(iteration.phase, list(iteration), self.best)

    def _calls_of(self, children: int) -> int:
        """Calls that children take: each is asked for, and run on all training cases."""
        runs = sum(case.samples for case in self.group.cases if case.split is Split.TRAIN)
        return children * (1 + math.ceil(runs * calls_each(self.group, self.original.evidence(Split.TRAIN))))

    def _affordable_children(self) -> int:
        """As many as a generation has, or those of them that the ceiling leaves calls for."""
        affords, most = self.context.call_budget.affords, self.context.settings.candidates
        return next((count for count in range(most, 0, -1) if affords(self._calls_of(count))), 0)

    def _crossing(self) -> bool:
        """Whether this generation has a crossover; where a generation is one child, every second one is."""
        made = len(self.iterations)
        return made > 0 and (self.context.settings.candidates > 1 or made % 2 == 1)

    def _mutated(
        self, number: int, drawn: Sequence[EvaluatedCandidate], *, first: int
    ) -> Iterator[tuple[Candidate, EvaluatedCandidate]]:
        """Children with their parents: those of one parent are written against different failing cases."""
        couples: list[tuple[Brief, EvaluatedCandidate]] = []
        for id, count in Counter(parent.id for parent in drawn).items():
            parent = next(each for each in drawn if each.id == id)
            self.state.asked += 1
            briefs = self._briefing.briefs(self.state.asked, Phase.TRAINING, parent)
            couples += [(brief, parent) for brief in briefs[:count]]
        if not couples:
            return
        replies = self.ask_for_texts([brief for brief, _ in couples], number)
        for position, ((brief, parent), reply) in enumerate(zip(couples, replies, strict=True), first):
            candidate = Candidate(f"{number}.{position}", (brief.prompt.name,), brief.direction)
            yield self.build_checked_candidate(candidate, parent, {brief.prompt.name: reply}), parent

    def _crossed(self, id: str, one: EvaluatedCandidate, two: EvaluatedCandidate) -> Candidate | None:
        """A child that is to do what both parents do; None where nobody merges."""
        merge = self.context.hooks.merge
        if merge is None:
            return None
        prompts = [prompt for prompt in self.group.prompts if one.text(prompt) != two.text(prompt)]
        parts, number = [self._part(one), self._part(two)], self.number
        wanted = [self._briefing.merging(prompt, self.original, parts, number) for prompt in prompts]
        replies = merge(wanted, self.context.ask)
        named = tuple(prompt.name for prompt in prompts)
        candidate = Candidate(id, named, f"Do what {one.id} and {two.id} do.", kind=Kind.MERGE)
        return self.build_checked_candidate(candidate, one, dict(zip(named, replies, strict=True)))

    def _part(self, version: EvaluatedCandidate) -> Candidate:
        """A text as a part of a merged one, against the original."""
        texts = {prompt.name: version.text(prompt) for prompt in self.group.prompts}
        part = Candidate(version.id, tuple(texts), "", overlay=texts, results=version.results)
        before, after = (each.evidence(Split.TRAIN) for each in (self.original, version))
        return part.judged_by(compare(before, after))

    def _run(self, iteration: OpenIteration, parents: Mapping[str, EvaluatedCandidate]) -> None:
        """Measure the children that may be tried, each against the parent whose text it rewrites."""
        tried = iteration.undecided()
        measured = self.evaluate([child.overlay for child in tried], self.group.ids(Split.TRAIN))
        for child, results in zip(tried, measured, strict=True):
            before = parents[child.id].evidence(Split.TRAIN)
            iteration.put(child.ran(results).judged_by(compare(before, results, growth=child.growth)))
            self.context.record_results(child.id, results)

    def _select(self, iteration: OpenIteration) -> None:
        """Children that are best on some case survive, with those before them that still are."""
        children = iteration.undecided()
        for child in sorted(children, key=lambda each: self._fitness(each.to_evaluated()), reverse=True):
            iteration.put(self._crowned(child))
        born = [child.to_evaluated() for child in iteration.newest(children) if child.verdict != REJECTED]
        leaders = pareto_front([*self.state.population, *born], self._fitness)
        self.state.population = front_members(leaders, self.best)
        survivors = {version.id for version in self.state.population}
        for child in iteration.undecided(children):
            paired = child.compared[Split.TRAIN]
            if child.id in survivors:
                iteration.put(child.decided(ACCEPTED, f"kept as a parent: {paired}"))
            else:
                iteration.put(child.decided(REJECTED, f"others do as well on every case: {paired}"))

    def _crowned(self, child: Candidate) -> Candidate:
        """A fitter child, which becomes the best, unless the acceptance rule has something against it."""
        version = child.to_evaluated()
        if self._fitness(version) <= self._fitness(self.best):
            return child
        if lost := self.regressions(child):
            return child.decided(REJECTED, f"it fails what the original passed: {', '.join(lost)}")
        paired = compare(self.best.evidence(Split.TRAIN), version.evidence(Split.TRAIN), growth=child.growth)
        verdict = self.context.hooks.accept(paired)
        if not verdict.accepted:
            return child.decided(REJECTED, verdict.why)
        self.best = version
        self.state.bests = [*self.state.bests, version]
        return child.decided(ACCEPTED, verdict.why)

    def _fitness(self, version: EvaluatedCandidate) -> tuple[float, int]:
        """As `merit`, on training cases only: of the original more is known."""
        rate = pass_rate(version.evidence(Split.TRAIN)) or 0.0
        return round(rate, 9), self.merit(version)[-1]

"""`evolve`: a population of texts, changed by mutation and crossover, selected by what each is best at.

The optimizer model is the operator of both, as in EvoPrompt (arXiv 2309.08532) and PromptBreeder
(arXiv 2309.16797). Unlike theirs the mutation is no blind one: it is told failing cases. Selection is the
Pareto front over training cases of GEPA (arXiv 2507.19457), and the best text always survives.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import ACCEPTED, REJECTED, Candidate, EvaluatedCandidate
from pytest_promptopt.optimizer.halting import Phase, Stop
from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.proposal.briefs import Briefing
from pytest_promptopt.optimizer.proposal.proposer import ProposalRequest
from pytest_promptopt.optimizer.proposal.requests import Brief
from pytest_promptopt.optimizer.search_context import SearchContext
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


class Evolve(BaseSearch):
    """Generations of `settings.candidates` children; an iteration is a generation.

    From the second generation on one child is a crossover, if two survivors pass different cases.

    :param generations: at most; None for no other limit than the halting rules.
    """

    def __init__(self, group: PromptGroup, context: SearchContext, *, generations: int | None = None) -> None:
        super().__init__(group, context)
        self._generations = generations
        self._rng = random.Random(f"{context.settings.seed}-evolve")
        self._briefing = Briefing(group, context.settings, context.hooks)
        self._asked = 0
        self._population: list[EvaluatedCandidate] = []
        #: Every version that was the best at some time, the original first.
        self.bests: list[EvaluatedCandidate] = []

    def search(self) -> Stop:
        self._population = self.bests = [self.original]
        while (stop := self.halted(Phase.TRAINING, self.best)) is None:
            if len(self.iterations) == self._generations:
                return Stop("generations", f"all {self._generations} generations are made")
            self._generation()
        return stop

    def finalists(self) -> Sequence[EvaluatedCandidate]:
        return self.bests[: -FINALISTS - 1 : -1]

    def _generation(self) -> None:
        """Ask for children, run them, keep what is the best on some case, learn from all."""
        number = self.number
        leaders = pareto_front(self._population, self._fitness)
        pair = (
            find_complementary_pair(front_members(leaders, self.best), self._rng)
            if self._crossing()
            else None
        )
        candidates: list[Candidate] = []
        parents: list[EvaluatedCandidate] = []
        if pair is not None and (crossed := self._crossed(f"{number}.1", *pair)):
            candidates, parents = [crossed], [pair[0]]
        count = self.context.settings.candidates - len(candidates)
        drawn = [draw_parent(leaders, self._rng, self.best) for _ in range(count)]
        for child, parent in self._mutated(number, drawn, first=len(candidates) + 1):
            candidates.append(child)
            parents.append(parent)
        self._run(candidates, parents)
        self.refuse(candidates)
        self._select([candidate for candidate in candidates if not candidate.verdict])
        self._briefing.learn(number, candidates)
        self.finished(Phase.TRAINING, candidates, self.best)

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
            self._asked += 1
            briefs = self._briefing.briefs(self._asked, Phase.TRAINING, parent)
            couples += [(brief, parent) for brief in briefs[:count]]
        if not couples:
            return
        wanted = ProposalRequest(
            tuple(brief for brief, _ in couples), self.context.settings.optimizer_model, number
        )
        replies = self.context.hooks.propose(wanted, self.context.ask)
        for position, ((brief, parent), reply) in enumerate(zip(couples, replies, strict=True), first):
            candidate = Candidate(f"{number}.{position}", (brief.prompt.name,), brief.direction)
            yield self.checked(candidate, parent, {brief.prompt.name: reply}), parent

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
        return self.checked(candidate, one, dict(zip(named, replies, strict=True)))

    def _part(self, version: EvaluatedCandidate) -> Candidate:
        """A text as a part of a merged one, against the original."""
        texts = {prompt.name: version.text(prompt) for prompt in self.group.prompts}
        part = Candidate(version.id, tuple(texts), "", overlay=texts, results=dict(version.results))
        before, after = (each.evidence(Split.TRAIN) for each in (self.original, version))
        part.compared[Split.TRAIN] = compare(before, after)
        return part

    def _run(self, candidates: Sequence[Candidate], parents: Sequence[EvaluatedCandidate]) -> None:
        """Measure the children that may be tried, each against the parent whose text it rewrites."""
        tried = [(a, parent) for a, parent in zip(candidates, parents, strict=True) if not a.verdict]
        measured = self.evaluate([a.overlay for a, _ in tried], self.group.ids(Split.TRAIN))
        for (candidate, parent), results in zip(tried, measured, strict=True):
            candidate.results[Split.TRAIN] = results
            candidate.compared[Split.TRAIN] = compare(
                parent.evidence(Split.TRAIN), results, growth=candidate.growth
            )
            self.context.record_results(candidate.id, results)

    def _select(self, candidates: Sequence[Candidate]) -> None:
        """Children that are best on some case survive, with those before them that still are."""
        children = {a.id: EvaluatedCandidate(a.id, a.overlay, a.results) for a in candidates}
        for candidate in sorted(candidates, key=lambda a: self._fitness(children[a.id]), reverse=True):
            self._crown(candidate, children[candidate.id])
        born = [children[a.id] for a in candidates if a.verdict != REJECTED]
        self._population = front_members(pareto_front([*self._population, *born], self._fitness), self.best)
        survivors = {version.id for version in self._population}
        for candidate in (a for a in candidates if not a.verdict):
            paired = candidate.compared[Split.TRAIN]
            if candidate.id in survivors:
                candidate.decide(ACCEPTED, f"kept as a parent: {paired}")
            else:
                candidate.decide(REJECTED, f"others do as well on every case: {paired}")

    def _crown(self, candidate: Candidate, child: EvaluatedCandidate) -> None:
        """A fitter child becomes the best, unless the acceptance rule has something against it."""
        if self._fitness(child) <= self._fitness(self.best):
            return
        if lost := self.regressions(candidate):
            return candidate.decide(REJECTED, f"it fails what the original passed: {', '.join(lost)}")
        paired = compare(
            self.best.evidence(Split.TRAIN), child.evidence(Split.TRAIN), growth=candidate.growth
        )
        verdict = self.context.hooks.accept(paired)
        candidate.decide(ACCEPTED if verdict.accepted else REJECTED, verdict.why)
        if verdict.accepted:
            self.best = child
            self.bests = [*self.bests, child]

    def _fitness(self, version: EvaluatedCandidate) -> tuple[float, int]:
        """As `merit`, on training cases only: of the original more is known."""
        rate = pass_rate(version.evidence(Split.TRAIN)) or 0.0
        return round(rate, 9), self.merit(version)[-1]

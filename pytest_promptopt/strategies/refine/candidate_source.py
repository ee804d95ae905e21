"""Where candidates come from: asked for, merged from others, or made by cutting a harmful passage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import Candidate, EvaluatedCandidate, Results
from pytest_promptopt.optimizer.halting import Phase
from pytest_promptopt.optimizer.proposal.briefs import Briefing
from pytest_promptopt.optimizer.proposal.replies import Reply
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.prompts.examples import with_examples_of
from pytest_promptopt.records import Overlay, Split
from pytest_promptopt.strategies.refine.ablation import Cut, find_harmful_passage


class CandidateSource:
    """Makes candidates that are to follow an incumbent; all are checked before a call is paid for them."""

    def __init__(self, search: BaseSearch, briefing: Briefing) -> None:
        self._search = search
        self._briefing = briefing

    def proposed(
        self,
        number: int,
        phase: Phase,
        incumbent: EvaluatedCandidate,
        *,
        most: int,
        escape: bool,
        hurried: bool,
    ) -> list[Candidate]:
        """The optimizer's candidates of iteration `number`.

        :param most: candidates for one prompt at most.
        :param escape: from a plateau: as many as are allowed, with bolder lines of attack.
        :param hurried: for every prompt of a pipeline, not only for the one whose turn it is.
        """
        if not most:
            return []
        briefs = self._briefing.briefs(number, phase, incumbent, most=most, escape=escape, hurried=hurried)
        replies = self._search.ask_for_texts(
            briefs, number, lambda place, text: self._fault(briefs[place].prompt, incumbent, text)
        )
        return [
            self._search.build_checked_candidate(
                Candidate(f"{number}.{position}", (brief.prompt.name,), brief.direction),
                incumbent,
                {brief.prompt.name: reply},
            )
            for position, (brief, reply) in enumerate(zip(briefs, replies, strict=True), 1)
        ]

    def merged(self, id: str, parts: Sequence[Candidate], incumbent: EvaluatedCandidate) -> Candidate | None:
        """One candidate that does what all `parts` do; None where nobody merges.

        What several of them wrote for the same prompt the optimizer model merges; what they wrote for
        different prompts of a pipeline goes together as it is, and so do a rewrite and examples.
        """
        context = self._search.context
        if len(parts) < 2 or context.hooks.merge is None or not context.settings.writing:
            return None
        written: dict[str, list[Candidate]] = {}
        for part in parts:
            for name in part.prompts:
                written.setdefault(name, []).append(part)
        texts, rewritten = dict(incumbent.overlay), dict[str, list[Candidate]]()
        for name, several in written.items():
            rewrites = [part for part in several if part.kind is not Kind.EXAMPLES]
            # Examples can be added to any text without a request.
            drawn = next((part.overlay[name] for part in several if part.kind is Kind.EXAMPLES), None)
            if len(rewrites) == 1:
                texts[name] = rewrites[0].overlay[name]
            elif rewrites:
                rewritten[name] = rewrites
            if drawn is not None:
                texts[name] = with_examples_of(texts.get(name, drawn), drawn)
        wanted = [
            replace(
                self._briefing.merging(prompt, incumbent, rewritten[prompt.name], self._search.number),
                objection=partial(self._merging_fault, prompt, incumbent),
            )
            for prompt in self._search.group.prompts
            if prompt.name in rewritten
        ]
        replies = context.hooks.merge(wanted, context.ask) if wanted else []
        growth = sum(
            len(texts[prompt.name]) - len(incumbent.text(prompt))
            for prompt in self._search.group.prompts
            if prompt.name in written and prompt.name not in rewritten
        )
        direction = f"Do what {', '.join(part.id for part in parts)} do."
        return self._search.build_checked_candidate(
            Candidate(id, tuple(written), direction, growth=growth, kind=Kind.MERGE),
            replace(incumbent, overlay=texts),
            {each.prompt.name: reply for each, reply in zip(wanted, replies, strict=True)},
        )

    def _fault(self, prompt: Prompt, incumbent: EvaluatedCandidate, text: str) -> str | None:
        """Why a text of the optimizer for `prompt` would be refused, so that it may be mended."""
        return self._search.checks.fault(prompt, with_examples_of(text, incumbent.text(prompt)))

    def _merging_fault(
        self, prompt: Prompt, incumbent: EvaluatedCandidate, place: int, text: str
    ) -> str | None:
        """:param place: of the text among the replies; a merger has one."""
        return self._fault(prompt, incumbent, text)

    def ablated(self, id: str, candidate: Candidate, incumbent: EvaluatedCandidate) -> Candidate | None:
        """`candidate` without the passage that breaks what passed; None unless a single one is to blame."""
        broken = candidate.compared[Split.TRAIN].broken
        return self._without_harmful_passage(id, candidate, broken, before=incumbent.overlay)

    def ablated_incumbent(
        self, id: str, incumbent: EvaluatedCandidate, failing: Sequence[str]
    ) -> Candidate | None:
        """The incumbent without the passage to blame for cases that fail; None unless it is a single one."""
        whole = Candidate(incumbent.id, (), "", overlay=dict(incumbent.overlay))
        return self._without_harmful_passage(id, whole, failing, before={})

    def _without_harmful_passage(
        self, id: str, whole: Candidate, failing: Sequence[str], *, before: Overlay
    ) -> Candidate | None:
        """:param before: texts whose passages are not to blame."""
        context, prompts = self._search.context, self._search.group.prompts
        run, fault = self._search.run_trials, self._search.checks.fault
        tries: list[dict[str, Any]] = []

        def note(cut: Cut, results: Results) -> None:
            rates = {result.case.id: result.rate for result in results}
            tries.append({"prompt": cut.prompt, "without": cut.pieces, "rates": rates})

        found = find_harmful_passage(prompts, before, whole.overlay, failing, run, fault, note)
        passage = found.passage if found else None
        context.record("ablation", candidate=whole.id, failing=failing, passage=passage, tries=tries)
        if found is None:
            return None
        return self._search.build_checked_candidate(
            Candidate(
                id,
                whole.prompts or (found.prompt,),
                f"Do what {whole.id} does, without the passage that makes cases fail.",
                growth=whole.growth,
                kind=Kind.CUT,
            ),
            EvaluatedCandidate(whole.id, whole.overlay, {}),
            {found.prompt: Reply(found.prose, whole.reason)},
        )

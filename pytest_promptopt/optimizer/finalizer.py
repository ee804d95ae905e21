"""What follows a search: confirmation, one scoring of held-out cases, writing the file, the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import accumulate

from pytest_promptopt.errors import PromptConflictError, PromptFileError
from pytest_promptopt.optimizer.acceptance import compare, paired_rates, score_split
from pytest_promptopt.optimizer.candidates import EvaluatedCandidate, Results
from pytest_promptopt.optimizer.confirmation import (
    IMPROVED,
    NOT_SHOWN,
    ConfirmationProgress,
    ConfirmationTest,
    EarlierRuns,
    explain_unconfirmed,
    first_sample_number,
)
from pytest_promptopt.optimizer.confirmation_power import calls_each, most_pairs
from pytest_promptopt.optimizer.example_sets import shown_by
from pytest_promptopt.optimizer.flaky_cases import flaky_cases
from pytest_promptopt.optimizer.halting import HaltReason, Phase
from pytest_promptopt.optimizer.judge_guard import LabelVerdicts
from pytest_promptopt.optimizer.label_rates import find_dominant_answers, label_scores
from pytest_promptopt.optimizer.migration import migration_calls
from pytest_promptopt.optimizer.model_guard import (
    ModelFall,
    Pair,
    changes_by_model,
    fall_in_search,
)
from pytest_promptopt.optimizer.objections import Objections
from pytest_promptopt.optimizer.prompt_groups import SEARCHED
from pytest_promptopt.optimizer.protocols import Prompt, StopRun, Trial
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.optimizer.scoring_calls import heldout_scoring_calls
from pytest_promptopt.optimizer.screening import why_not_renderable
from pytest_promptopt.optimizer.supervised_search import SupervisedSearch
from pytest_promptopt.optimizer.verbosity import verbosity_warning
from pytest_promptopt.records import EPSILON, CaseResult, Split
from pytest_promptopt.results import CatchUp, Confirmation, Migration, PromptOutcome, PromptResult
from pytest_promptopt.settings import Accept
from pytest_promptopt.text import plural

#: Puts a prompt's new text on disk; raises `PromptConflictError` when the file changed since it was read.
Write = Callable[[Prompt, str], None]


class Finalizer:
    """The end of one group's search. After `score_heldout` nothing is searched any more."""

    def __init__(
        self,
        search: SupervisedSearch,
        context: RunContext,
        *,
        heldout: Collection[str] | None = None,
        history: EarlierRuns = EarlierRuns(),  # noqa: B008  # frozen
    ) -> None:
        """:param heldout: the held-out cases that are scored; None for all."""
        heldout_cases = [case for case in search.heldout if heldout is None or case.id in heldout]
        self.heldout = tuple(case.id for case in heldout_cases)
        self.original, self.final = search.original, search.final
        self.changed = [p for p in search.group.prompts if self.final.text(p) != p.prose]
        self.prompts = search.group.prompts
        self.notes = list(search.notes)
        self.group_names = search.group.names
        self._search = search
        self._context = context
        self._history = history
        self._asked_before = history.confirmations
        self._heldout_scoring_calls = migration_calls(heldout_scoring_calls(heldout_cases), context)
        self.migration: Migration | None = None
        #: The cases that the search did not run the final text on.
        known = {r.case.id for r in self.original.evidence(*SEARCHED) if r.rate is not None}
        self._spared = tuple(case for case in self.final.spared(search.group) if case in known)
        #: Whether they are run with the fresh answers, and after these.
        self._deferred = False
        #: What it answered to those of them that it was run on since then.
        self._ran: list[CaseResult] = []
        self._caught_up: CatchUp | None = None
        #: Why the final text cannot be used after all, or what went wrong in judging it.
        self._barred = ""
        # Until `write` is called, which it is not after Ctrl-C.
        self.confirmation: Confirmation | None = None
        self._fresh: Results = ()
        self._fresh_pairs: list[Pair] = []
        self._fall: ModelFall | None = None
        self._unwritten: dict[str, str] = {prompt.name: HaltReason.INTERRUPTED for prompt in self.changed}
        self._scored: dict[Split, tuple[Results, Results]] = {
            split: (self.original.evidence(split), self.final.evidence(split)) for split in Split
        }
        if self.heldout and not self.changed and not search.interrupted:
            self.notes.append("the held-out cases were not scored, since the text did not change")
        if len(heldout_cases) < len(search.heldout):
            self.notes.append(
                f"{len(heldout_cases)} of {len(search.heldout)} held-out cases, drawn at random, are scored: "
                "the ceiling allows no more"
            )

    @property
    def scored_heldout(self) -> tuple[Results, Results]:
        """The held-out results under the text as it was and under the new one, as far as there are any."""
        return self._scored[Split.HELDOUT]

    @property
    def may_be_written(self) -> bool:
        """Whether there is a new text with nothing against it so far."""
        return bool(self.changed) and not self._barred

    @property
    def heldout_scoring_calls(self) -> int:
        """The calls that scoring its held-out cases takes; 0 if they will not be scored."""
        refuted = self.confirmation is not None and not self._accepted
        return self._heldout_scoring_calls if self.changed and not refuted else 0

    def run_spared_cases(self) -> None:
        """Run the final text on the cases that it was spared; it may turn out to be no better.

        Where the ceiling leaves too few calls for that and the most fresh answers, these go first: without
        them the text is not written, and many of them run it on a case that it was spared. With several
        models it may now be shown to be worse with one of them.
        """
        self._run_spared()
        self._watch_models()

    def _watch_models(self) -> None:
        """Bar the final text if the cases searched with show it to be worse with one of several models."""
        searched = self.original.evidence(*SEARCHED), self.final.evidence(*SEARCHED)
        self._fall = fall_in_search(*searched, self._context.settings.alpha)
        if self._fall is not None and self.may_be_written:
            self._bar(self._fall.why)

    def _run_spared(self) -> None:
        if not (self.changed and self._spared):
            return
        self._context.enter_phase(Phase.CONFIRMATION, self._search.names)
        free, settings = self._context.call_budget.available(), self._context.settings
        pairs = most_pairs(len(self._search.group.ids(*SEARCHED)), settings.alpha)
        most = sum(self._spared_calls) + 2 * pairs * self._each
        self._deferred = free is not None and free < most and not settings.no_regressions
        if not self._deferred:
            self._run_on(self._spared)
        if self._ran:
            self._give_way()

    @property
    def _each(self) -> float:
        """Calls that a run of a case takes."""
        return calls_each(self._search.group, self.original.evidence(*SEARCHED))

    @property
    def _spared_calls(self) -> list[float]:
        """Calls that each of the cases takes that it was spared."""
        samples = {case.id: case.samples for case in self._search.group.cases}
        return [samples[case] * self._each for case in self._spared]

    def catch_up(self) -> None:
        """Run a text that may be written on the cases that are left of them, as many as the ceiling allows.

        One whose gain is not shown gives way now if it is no better on what it was run on.
        """
        if not (self._deferred and self._accepted):
            return
        if self._spared:
            self._context.enter_phase(Phase.CONFIRMATION, self._search.names)
            cases = self._affordable_spared()
            left_out = len(self._spared) - len(cases)
            self._run_on(cases)
            if left_out and not self._barred:
                self.notes.append(f"no calls were left to run the new text on {plural(left_out, 'case')}")
        unshown = self.confirmation is not None and self.confirmation.verdict is not IMPROVED
        if unshown and not self._barred:
            self._give_way()
        self._watch_models()

    def _affordable_spared(self) -> tuple[str, ...]:
        """The first of the cases that it was spared, as many as the ceiling allows."""
        affords = self._context.call_budget.affords
        totals = accumulate(self._spared_calls)
        return tuple(case for case, total in zip(self._spared, totals, strict=True) if affords(total))

    def _run_on(self, cases: Sequence[str]) -> None:
        """Run the final text on some cases that it was spared."""
        if not cases:
            return
        paid = self._context.paid().calls
        try:
            results = self._answers_to(cases)
        except StopRun as stopped:
            results = self._came_in(cases)
            missing = plural(len(cases) - len(results), "case")
            why = f"{missing} could not be run with the new text: {stopped.why}"
            self._bar(why) if self._context.settings.no_regressions else self.notes.append(why)
        if self._barred or self._bar_refused() or not results:
            return
        self._take_in(results)
        self._caught_up = self.final.caught_up(results, self._context.paid().calls - paid)
        self._context.hooks.caught_up(self._caught_up)

    def _answers_to(self, cases: Sequence[str]) -> Results:
        (results,) = self._context.evaluator.evaluate([Trial(self.final.overlay, tuple(cases))])
        return results

    def _came_in(self, cases: Sequence[str]) -> Results:
        """What is known of cases that a stop came upon: it is paid for."""
        found: list[CaseResult] = []
        for case in cases:
            with suppress(StopRun):
                found += self._answers_to([case])
        return tuple(found)

    def _take_in(self, results: Iterable[CaseResult]) -> None:
        """Take over what the final text has answered to cases that it was spared."""
        came = tuple(results)
        if not came:
            return
        ran = {result.case.id for result in came}
        self._ran += came
        self._spared = tuple(case for case in self._spared if case not in ran)
        self.final = self.final.ran(came)
        self._context.record_results(self.final.id, came)
        for split in SEARCHED:
            self._scored[split] = self.original.evidence(split), self.final.evidence(split)

    def _give_way(self) -> None:
        """Go back to the original if the final text is no better on what it was run on."""
        paired = compare(self.original.evidence(*SEARCHED), self.final.evidence(*SEARCHED))
        lost = paired.broken if self._context.settings.no_regressions else ()
        if not lost and paired.gain > EPSILON:
            return
        why = f"fails {len(lost)} that the original passed" if lost else "is not better"
        on = "further" if self._spared else "all"
        self.notes.append(
            f"candidate {self.final.id} {why} once it was run on {on} cases ({paired}), so the original stays"
        )
        self.final, self.changed, self._unwritten = self.original, [], {}
        for split in SEARCHED:
            self._scored[split] = self.original.evidence(split), self.original.evidence(split)

    def confirm(self, run: str, *, share: int = 1) -> None:
        """Ask fresh answers whether the gain is more than noise.

        :param run: the id of the run, whose answers nobody else has seen.
        :param share: one of so many that are still to be confirmed by what the ceiling leaves.
        """
        names = self._search.names
        self._context.enter_phase(Phase.CONFIRMATION, names)
        first = first_sample_number(run, self.final.overlay)
        begun = dict(self._history.begun)
        mine = begun.pop(first, ConfirmationProgress(0))
        self._asked_before += len(begun)
        test = ConfirmationTest(
            self._search.group,
            self.original,
            self.final,
            self._context,
            first=first,
            served=self._ran,
            spared=self._spared if self._deferred else (),
            share=share,
            begun=mine,
        )
        found = test.run()
        more = self._heldout_scoring_calls if found.needed else 0
        self.confirmation = replace(found, needed=found.needed + more)
        self._fresh, self._fresh_pairs = tuple(test.originals), test.pairs
        refused = self._bar_refused()
        self._context.record(
            "confirmation", prompts=names, candidate=self.final.id, sample=first, **asdict(self.confirmation)
        )
        if not refused:
            self._take_in(test.caught_up.values())
        if self.heldout and not self._accepted:
            self.notes.append("the held-out cases were not scored, since the gain is not confirmed")

    def _shown_in(self, prompts: Iterable[Prompt], version: EvaluatedCandidate) -> frozenset[str]:
        results, redact = self.original.evidence(Split.TRAIN), self._context.hooks.redact
        return shown_by(prompts, version.overlay, results, redact)

    def contain(self, step: Callable[[], object]) -> None:
        """Do a step of judging; if it fails, this text is not written, and other prompts go on."""
        try:
            step()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            said = self._context.foreign_errors.note("judging the result", error)
            self._bar(f"the result could not be judged: {said}")

    def _bar_refused(self) -> str | None:
        """Bar the final text if a case has shown that it cannot be used; why."""
        if why := self._search.screen.refusal(self.final.overlay):
            self._bar(why)
        return why

    def _bar(self, why: str) -> None:
        self._barred = why
        self.notes.append(why)

    @property
    def _accepted(self) -> bool:
        """Whether the confirmation lets the final text be written; held-out cases may still forbid it."""
        accepted = (IMPROVED, NOT_SHOWN) if self._context.settings.accept is Accept.BEST else (IMPROVED,)
        confirmed = self.confirmation is not None and self.confirmation.verdict in accepted
        return confirmed and not self._barred

    @property
    def heldout_trials(self) -> tuple[Trial, ...]:
        """Held-out cases under the original and the final texts; none if there is nothing to compare."""
        if not (self.heldout and self.changed and self._accepted):
            return ()
        return Trial({}, self.heldout), Trial(self.final.overlay, self.heldout)

    def take_heldout_results(self, before: Results, after: Results) -> None:
        """Take over the held-out results."""
        if why := why_not_renderable(after):
            self._bar(f"{why} that is held out")
            return
        self._scored[Split.HELDOUT] = (before, after)
        if self._objections.tests_judge:
            self.notes.append(self._objections.no_better_judge or LabelVerdicts.of(before, after).told)
        comparison = compare(before, after, split=Split.HELDOUT)
        self._context.record(
            "heldout", prompts=self._search.names, compared=str(comparison), cases=self.heldout
        )
        self._context.record_results("0", before)
        self._context.record_results(self.final.id, after)

    def write(self, write: Write | None) -> None:
        """Write every changed prompt once; the journal keeps the text of those that are not written.

        A gain that fresh answers do not confirm keeps the original, unless the user takes the best there is;
        so does a fall on held-out cases that chance hardly explains, whatever the user takes.
        """
        for prompt in self.changed:
            text = self.final.text(prompt)
            why = self._reason_not_to_write() or (self._refusal(write, prompt, text) if write else "dry run")
            self._unwritten[prompt.name] = why
            self._context.record("not written" if why else "written", prompt=prompt.name, why=why, text=text)

    def _refusal(self, write: Write, prompt: Prompt, text: str) -> str:
        """Why `text` cannot be written; empty when it now is."""
        try:
            write(prompt, text)
        except (PromptConflictError, PromptFileError, OSError) as error:
            return str(error)
        except Exception as error:
            return self._context.foreign_errors.note("writing the text", error)
        return ""

    def _reason_not_to_write(self) -> str:
        """Why the original is kept; empty when the final text may be written."""
        if self._barred:
            return self._barred
        if self.confirmation is not None and not self._accepted:
            return explain_unconfirmed(self.confirmation)
        return self._objections.first

    @property
    def _objections(self) -> Objections:
        """What speaks against a text that its confirmation lets pass."""
        tests_judge = any(case.labelled for case in self._search.group.cases)
        alpha = self._context.settings.alpha
        return Objections(self._scored, self._fresh_pairs, self._fall, tests_judge, alpha)

    def results(self) -> Iterator[PromptResult]:
        """What became of each prompt of the group."""
        before, after = self.original.evidence(*SEARCHED), self.final.evidence(*SEARCHED)
        shown = self._shown_in(self.prompts, self.final)
        paired = compare(before, after)
        labels, same = tuple(label_scores(before, after)), tuple(find_dominant_answers(after))
        noisy = flaky_cases([*before, *self._scored[Split.HELDOUT][0], *self._fresh])
        counts = Counter(case.split for case in (*self._search.group.cases, *self._search.heldout))
        spared = set(self._spared) if self.changed else set[str]()
        unverified = Counter(case.split for case in self._search.group.cases if case.id in spared)
        scores = (
            score_split(split, counts[split], *each, unverified=unverified[split], examples=shown)
            for split, each in self._scored.items()
        )
        measured = tuple(each for each in scores if each.cases)
        fall = self._objections.fall_with_a_model if self._accepted else self._fall
        for prompt in self.prompts:
            changed = prompt in self.changed
            unwritten = self._unwritten.get(prompt.name, "")
            yield PromptResult(
                prompt=prompt.name,
                before=prompt.prose,
                after=self.final.text(prompt),
                outcome=self._outcome(changed, unwritten),
                stop=self._search.stop.halt,
                why=self._search.stop.why,
                scores=measured,
                iterations=tuple(
                    iteration
                    for iteration in self._search.iterations
                    if any(prompt.name in candidate.prompts for candidate in iteration.candidates)
                ),
                fixed=paired.fixed if changed else (),
                broken=paired.broken if changed else (),
                rates=paired_rates(before, after, {*paired.fixed, *paired.broken}) if changed else {},
                flaky=noisy,
                accepted=changed and self._accepted and not self._objections.first,
                written=changed and not unwritten,
                unwritten=unwritten,
                pipeline=tuple(self._search.names) if len(self.prompts) > 1 else (),
                note="; ".join(self.notes),
                confirmation=self.confirmation if changed else None,
                caught_up=self._caught_up,
                labels=labels,
                same_answers=same,
                examples=tuple(sorted(self._shown_in([prompt], self.final))),
                verbosity=verbosity_warning(before, after, self._context.settings.alpha) if changed else "",
                asked_before=self._asked_before if self.confirmation else 0,
                heldout_before=self._history.heldout if self._scored[Split.HELDOUT][0] else 0,
                models=changes_by_model(self._scored),
                worse_with=fall.model if changed and fall else "",
                migration=self.migration,
                at_fault=self._search.at_fault,
            )

    def _outcome(self, changed: bool, unwritten: str) -> PromptOutcome:
        if self._search.stop.halt == HaltReason.PASSING:
            return PromptOutcome.PASSING
        if self._search.interrupted or unwritten == HaltReason.INTERRUPTED:
            return PromptOutcome.INTERRUPTED
        if changed and self._fall:
            return PromptOutcome.WORSE
        if changed and self.confirmation is None and self._barred:
            return PromptOutcome.NOT_SHOWN
        if not changed or self.confirmation is None:
            return PromptOutcome.UNCHANGED
        if self._accepted and (self._objections.heldout_regression or self._objections.fall_with_a_model):
            return PromptOutcome.WORSE
        if self._accepted and self._objections.no_better_judge:
            return PromptOutcome.NOT_SHOWN
        return PromptOutcome(self.confirmation.verdict)

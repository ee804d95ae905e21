"""What follows a search: held-out once, then the file, then the account of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pytest_promptopt.errors import PromptConflictError, PromptFileError
from pytest_promptopt.evidence import ALPHA, sign_test
from pytest_promptopt.records import PromptResult, Split, SplitScore, pass_rate
from pytest_promptopt.refine.acceptance import compare
from pytest_promptopt.refine.attempts import Results
from pytest_promptopt.refine.evaluator import Prompt, StopRun, Trial
from pytest_promptopt.refine.halting import Halt, Phase
from pytest_promptopt.refine.search import SEARCHED, Search
from pytest_promptopt.refine.surroundings import Surroundings

#: Puts a prompt's new text on disk; raises `PromptConflictError` when the file changed since it was read.
Write = Callable[[Prompt, str], None]


class Ending:
    """The end of one group's search. After `score_heldout` nothing is searched any more."""

    def __init__(self, search: Search, around: Surroundings) -> None:
        self.heldout = search.group.ids(Split.HELDOUT)
        self.original, self.final = search.original, search.final
        self.changed = [p for p in search.group.prompts if self.final.text(p) != p.prose]
        self.notes = list(search.notes)
        self._search = search
        self._around = around
        self._written: set[str] = set()
        self._scored: dict[Split, tuple[Results, Results]] = {
            split: (self.original.evidence(split), self.final.evidence(split)) for split in SEARCHED
        }

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Held-out cases under the original and the final texts; none if there is nothing to compare."""
        if not (self.heldout and self.changed):
            return ()
        return Trial({}, self.heldout), Trial(self.final.overlay, self.heldout)

    def scored(self, before: Results, after: Results) -> None:
        """Take over the held-out results."""
        self._scored[Split.HELDOUT] = (before, after)
        comparison = compare(before, after, split=Split.HELDOUT)
        self._around.record("heldout", prompts=self._search.names, compared=str(comparison))
        self._around.record_results("0", before)
        self._around.record_results(self.final.id, after)

    def write(self, write: Write | None) -> None:
        """Write every changed prompt once. What cannot be written is noted and stays in the result.

        A fall on held-out cases that chance hardly explains keeps the original: the gain was learned by
        heart.
        """
        if fall := self._fall():
            self.notes.append(fall)
            self._around.record("not written", prompts=self._search.names, why=fall)
            return
        for prompt in self.changed if write else ():
            assert write is not None
            text = self.final.text(prompt)
            try:
                write(prompt, text)
            except (PromptConflictError, PromptFileError, OSError) as error:
                self.notes.append(f"not written: {error}; the new text is in the journal")
                self._around.record("not written", prompt=prompt.name, why=str(error), text=text)
            else:
                self._written.add(prompt.name)
                self._around.record("written", prompt=prompt.name, text=text)

    def _fall(self) -> str:
        """Why the held-out cases speak against the final text; empty when they do not."""
        before, after = self._scored.get(Split.HELDOUT, ((), ()))
        paired = compare(before, after, split=Split.HELDOUT)
        if paired.gain >= 0 or sign_test(len(paired.broken), len(paired.fixed)) > ALPHA:
            return ""
        return f"not written: on held-out cases it is worse than the original ({paired})"

    def results(self, interrupted: bool) -> Iterator[PromptResult]:
        """What became of each prompt of the group."""
        seen = (self.original.evidence(*SEARCHED), self.final.evidence(*SEARCHED))
        paired = compare(*seen)
        for prompt in self._search.group.prompts:
            changed = prompt in self.changed
            yield PromptResult(
                prompt=prompt.name,
                before=prompt.prose,
                after=self.final.text(prompt),
                outcome=self._outcome(changed, prompt.name in self._written, interrupted),
                stop=self._search.stop.halt,
                why=self._search.stop.why,
                scores=tuple(self._scores()),
                iterations=tuple(
                    iteration
                    for iteration in self._search.iterations
                    if any(candidate.prompt == prompt.name for candidate in iteration.candidates)
                ),
                fixed=paired.fixed if changed else (),
                broken=paired.broken if changed else (),
                written=prompt.name in self._written,
                note="; ".join(self._notes(changed, prompt.name in self._written, interrupted)),
            )

    def _outcome(self, changed: bool, written: bool, interrupted: bool) -> str:
        if self._search.stop.halt == Halt.PASSING:
            return "passing"
        if self._search.interrupted or (interrupted and changed and not written):
            return "interrupted"
        if changed and self._fall():
            return "worse"
        return "improved" if changed else "unchanged"

    def _notes(self, changed: bool, written: bool, interrupted: bool) -> Iterator[str]:
        yield from self.notes
        if interrupted and changed and not written:
            yield "interrupted, so it was not written; the best text so far is in the journal"
        elif self.changed and not changed:
            shared = ", ".join(other.name for other in self.changed)
            yield f"its cases also use {shared}, which changed; their rates are with that text"
        elif self.heldout and not changed and not interrupted:
            yield "the held-out cases were not scored, since the text did not change"

    def _scores(self) -> Iterator[SplitScore]:
        for split in Split:
            before, after = self._scored.get(split, ((), ()))
            paired = compare(before, after, split=split)
            skipped = sum(result.rate is None and not result.errored for result in after or before)
            if cases := len(self._search.group.ids(split)) - skipped:
                yield SplitScore(
                    split=split,
                    cases=cases,
                    before=pass_rate(before),
                    after=pass_rate(after),
                    errored=sum(result.errored for result in after or before),
                    fixed=len(paired.fixed),
                    broken=len(paired.broken),
                )


def score_heldout(endings: Sequence[Ending], around: Surroundings) -> None:
    """Score the held-out cases of all changed groups, once, under the original and the final texts."""
    due = [ending for ending in endings if ending.trials]
    if not due:
        return
    around.policies.progress(Phase.HELDOUT, ", ".join(p.name for ending in due for p in ending.changed))
    try:
        measured = around.evaluator.evaluate([trial for ending in due for trial in ending.trials])
    except StopRun as stopped:
        for ending in due:
            ending.notes.append(f"the held-out cases could not be run: {stopped.why}")
        return
    for ending, before, after in zip(due, measured[::2], measured[1::2], strict=True):
        ending.scored(before, after)

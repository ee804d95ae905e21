"""Few-shot examples as candidates: training cases in the text itself, drawn and tried without a request."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from statistics import median

from pytest_promptopt.optimizer.base_search import BaseSearch
from pytest_promptopt.optimizer.candidates import Candidate, EvaluatedCandidate
from pytest_promptopt.optimizer.example_sets import (
    ROOM,
    CaseExample,
    draw_example_sets,
    length_of,
    right_answers,
    shown_by,
    sizes_up_to,
    usable_examples,
)
from pytest_promptopt.optimizer.label_balance import Lean, find_lean, rebalanced
from pytest_promptopt.optimizer.proposal.replies import Reply
from pytest_promptopt.optimizer.protocols import Prompt
from pytest_promptopt.optimizer.verdict_model import Kind
from pytest_promptopt.prompts.examples import (
    Example,
    Form,
    examples_in,
    form_of_examples,
    has_examples,
    with_examples,
    without_examples,
)
from pytest_promptopt.records import CaseResult, Split
from pytest_promptopt.strategies.refine.economy import Payoff
from pytest_promptopt.strategies.refine.state import ExampleTries

#: The form that a set of examples is written in, and the set.
ExampleSet = tuple[Form, Sequence[CaseExample]]

#: The size of the first sets: what most models learn a form and a few labels from.
FIRST_SIZE = 8


@dataclass(frozen=True)
class Exchange:
    """A candidate that was made of another one by an exchange of examples.

    :param lean: the answer of `prompt` that is to come less often.
    :param halvings: how often exchanges of the same examples went too far before it.
    """

    candidate: Candidate
    prompt: Prompt
    lean: Lean
    halvings: int = 0

    def gone_too_far(self, prompt: Prompt, lean: Lean) -> int:
        """How often exchanges went too far, now that its candidate gives this answer too often."""
        return self.halvings + (prompt is self.prompt and lean.answer in self.lean.missing)


class ExampleCandidates:
    """Draws sets of examples for the prompts of a group, none twice, those first that won most."""

    def __init__(self, search: BaseSearch, tries: ExampleTries) -> None:
        self._search = search
        self._tries = tries

    def drawn(self, number: int, position: int, incumbent: EvaluatedCandidate, count: int) -> list[Candidate]:
        """Up to `count` candidates that show training cases in the texts of `incumbent`.

        First its own, some of them exchanged, where it gives an answer too often: that may show only now
        that it was run on further cases, or on those of validation. Then new ones: of a pipeline in that of
        the stage at fault; in others only where it has none that was not tried.

        :param number: of the iteration; `position` of the first of them in it.
        """
        prompts, stage = self._search.group.prompts, self._search.state.stage
        at_fault = [prompt for prompt in prompts if prompt.name == stage]
        others = [prompt for prompt in prompts if prompt.name != stage]
        exchange = self.exchanged(f"{number}.{position}", _as_candidate(incumbent)) if count else None
        made = [exchange.candidate] if exchange else []
        position, count = position + len(made), count - len(made)
        drawn = self._drawn_for(at_fault, number, position, incumbent, count)
        return made + (drawn or self._drawn_for(others, number, position, incumbent, count))

    def _drawn_for(
        self,
        prompts: Sequence[Prompt],
        number: int,
        position: int,
        incumbent: EvaluatedCandidate,
        count: int,
    ) -> list[Candidate]:
        candidates: list[Candidate] = []
        for prompt, text, size in self._sets(prompts, number, incumbent) if count else ():
            if len(candidates) == count:
                break
            if (prompt.name, text) in self._tries.texts or self._is_too_long(prompt, text):
                continue
            self._tries.texts.add((prompt.name, text))
            direction = f"Show {size} training cases as examples." if size else "Leave the examples out."
            candidate = Candidate(
                f"{number}.{position + len(candidates)}", (prompt.name,), direction, kind=Kind.EXAMPLES
            )
            candidates.append(
                self._search.build_checked_candidate(candidate, incumbent, {prompt.name: Reply(text, "")})
            )
        return candidates

    def exchanged(self, id: str, candidate: Candidate, before: Exchange | None = None) -> Exchange | None:
        """`candidate` with other examples for a prompt that gives an answer too often.

        None where no prompt does, or nothing can be exchanged.

        :param before: the exchange that `candidate` came of.
        """
        for prompt, lean in self.leaning(candidate):
            halvings = before.gone_too_far(prompt, lean) if before else 0
            if (made := self.rebalanced(id, candidate, prompt, lean, halvings)) is not None:
                return Exchange(made, prompt, lean, halvings)
        return None

    def leaning(self, candidate: Candidate) -> Iterator[tuple[Prompt, Lean]]:
        """The prompts whose examples may make `candidate` give an answer too often, and this answer.

        Its own results show that. None whose examples may not be changed.
        """
        results = candidate.results.get(Split.TRAIN, ())
        validated = candidate.results.get(Split.VALIDATION, ())
        if len(validated) == len(self._search.group.ids(Split.VALIDATION)):
            # Run on some of them, it was run on those that the text before it fails: their answers lean.
            results = (*results, *validated)
        known = (*self._newest(self._search.best), *self._search.original.evidence(Split.VALIDATION))
        for prompt in self._search.group.prompts if self._search.context.settings.examples else ():
            text = candidate.overlay.get(prompt.name, prompt.prose)
            if not has_examples(text) or prompt.takes_no_examples or _is_edited(text):
                continue
            lean = find_lean(right_answers(known, prompt.name), results, prompt.name)
            if lean is not None:
                yield prompt, lean

    def rebalanced(
        self, id: str, candidate: Candidate, prompt: Prompt, lean: Lean, halvings: int
    ) -> Candidate | None:
        """`candidate` with another mix of examples, so that an answer comes less often; None without one.

        The examples that come in are cases that it fails, as far as there are any.

        :param halvings: how often exchanges of the same examples went too far so far.
        """
        text = candidate.overlay.get(prompt.name, prompt.prose)
        before = examples_in(text)
        newest, redact = self._newest(self._search.best), self._search.context.hooks.redact
        shown = shown_by(self._search.group.prompts, candidate.overlay, newest, redact)
        # More of them cost tokens with each call, and cases that could judge the text.
        most = min(FIRST_SIZE, self._search.context.settings.examples) - len(before)
        room = max(0, min(most, self._most_shown(newest) - len(shown)))
        seed = f"{self._search.context.settings.seed}/{candidate.id}"
        failed = {r.case.id for r in candidate.results.get(Split.TRAIN, ()) if r.failing is not None}
        others = [
            example
            for example in self._pool(prompt, newest)
            if example.case not in shown and length_of(example) * (len(before) + room) <= ROOM
        ]
        random.Random(seed).shuffle(others)
        others.sort(key=lambda example: example.case not in failed)
        examples = rebalanced(before, others, lean, seed=seed, room=room, halvings=halvings)
        written = with_examples(text, examples, form_of_examples(text) or Form.BLOCK)
        tried = (prompt.name, written) in self._tries.texts or self._is_too_long(prompt, written)
        if examples == before or tried:
            return None
        self._tries.texts.add((prompt.name, written))
        return self._search.build_checked_candidate(
            Candidate(
                id,
                tuple(dict.fromkeys((*candidate.prompts, prompt.name))),
                f"Do what {candidate.id} does, with other examples, so that {lean.told} comes less often.",
                growth=candidate.growth,
                kind=Kind.EXAMPLES,
            ),
            EvaluatedCandidate(candidate.id, candidate.overlay, {}),
            {prompt.name: Reply(written, "")},
        )

    def note(self, candidate: Candidate, won: float) -> None:
        """A set of examples won this share of what there was to win."""
        texts = [candidate.overlay[name] for name in candidate.prompts]
        size = sum(len(examples_in(text)) for text in texts)
        form = next(filter(None, map(form_of_examples, texts)), None)
        self._tries.won.setdefault((size, form), Payoff()).note(won)

    def note_refused(self, candidate: Candidate) -> None:
        """A set of examples was refused when it was run: no longer text is tried."""
        for name in candidate.prompts:
            length = len(candidate.overlay[name])
            self._tries.too_long[name] = min(length, self._tries.too_long.get(name, length))

    def _is_too_long(self, prompt: Prompt, text: str) -> bool:
        return len(text) >= self._tries.too_long.get(prompt.name, len(text) + 1)

    def _sets(
        self, prompts: Sequence[Prompt], number: int, incumbent: EvaluatedCandidate
    ) -> Iterator[tuple[Prompt, str, int]]:
        """All that may be tried, what promises most first: prompt, text, number of examples.

        All prompts of a pipeline together show half of the training cases at most.
        """
        most = self._search.context.settings.examples
        results = self._newest(incumbent)
        most_shown = self._most_shown(results)
        for prompt in prompts if most else ():
            if prompt.takes_no_examples:
                continue
            text = incumbent.text(prompt)
            body = without_examples(text)
            pool = self._pool(prompt, results)
            forms = _forms(body, pool) if prompt.is_chat else (Form.BLOCK,)
            others = [other for other in self._search.group.prompts if other is not prompt]
            shown = shown_by(others, incumbent.overlay, results, self._search.context.hooks.redact)
            sets = draw_example_sets(
                pool,
                seed=f"{self._search.context.settings.seed}/{number}",
                sizes=sizes_up_to(most),
                length=partial(_length, _context(body, pool, forms[0])),
                like=examples_in(text),
            )
            drawn = [(form, examples) for form in forms for examples in sets]
            drawn.sort(key=lambda one: self._promise(len(one[1]), one[0]))
            for form, examples in _one_of_each(drawn):
                if len(shown.union(example.case for example in examples)) <= most_shown:
                    yield prompt, with_examples(text, examples, form), len(examples)
            if body != text:
                yield prompt, body, 0

    def _most_shown(self, results: Sequence[CaseResult]) -> int:
        """How many training cases all prompts together may show at most."""
        return sum(result.rate is not None for result in results) // 2

    def _promise(self, size: int, form: Form) -> tuple[float, int]:
        """Sorts the size and form first that won most, untried ones by how near they are to the first."""
        return -self._tries.won.get((size, form), Payoff()).expected, abs(size - FIRST_SIZE)

    def _newest(self, incumbent: EvaluatedCandidate) -> Sequence[CaseResult]:
        """What came last for each training case."""
        newest: Mapping[str, CaseResult] = {
            result.case.id: result
            for version in (self._search.original, incumbent)
            for result in version.evidence(Split.TRAIN)
        }
        return tuple(newest.values())

    def _pool(self, prompt: Prompt, results: Sequence[CaseResult]) -> Sequence[CaseExample]:
        return usable_examples(
            results,
            prompt.name,
            besides=self._search.original.evidence(Split.VALIDATION),
            redact=self._search.context.hooks.redact,
        )


def _as_candidate(incumbent: EvaluatedCandidate) -> Candidate:
    return Candidate(incumbent.id, (), "", overlay=incumbent.overlay, results=incumbent.results)


def _is_edited(text: str) -> bool:
    """Whether somebody has edited the examples in `text`, so that they cannot be read back as they stand."""
    return with_examples(text, examples_in(text), form_of_examples(text) or Form.BLOCK) != text


def _one_of_each(drawn: Sequence[ExampleSet]) -> Iterator[ExampleSet]:
    """One set of each size and form, then another one of each: sets of a size differ less than sizes do."""
    groups: dict[tuple[int, Form], list[ExampleSet]] = {}
    for form, examples in drawn:
        groups.setdefault((len(examples), form), []).append((form, examples))
    return (one for row in zip_longest(*groups.values()) for one in row if one is not None)


def _forms(body: str, pool: Sequence[CaseExample]) -> Sequence[Form]:
    """Whole turns; but first the inputs alone where else an example would be mostly a repetition."""
    repeated = _context(body, pool, Form.TURNS) - _context(body, pool, Form.INPUTS)
    if not pool or repeated <= median(map(length_of, pool)):
        return (Form.TURNS,)
    return Form.INPUTS, Form.TURNS


def _context(body: str, pool: Sequence[CaseExample], form: Form) -> int:
    """How many characters stand around each example's own texts, measured by one of them."""
    if not pool:
        return 0
    return max(0, len(with_examples(body, pool[:1], form)) - len(body) - length_of(pool[0]))


def _length(context: int, example: Example) -> int:
    """About how many characters a text grows by with an example."""
    return context + length_of(example)

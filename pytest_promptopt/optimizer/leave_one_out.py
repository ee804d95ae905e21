"""Leave-one-out: a case that stands in a text as an example is run without this example.

Under the text as it is the answer could be read off, so a pass would prove nothing; and leaving such cases
out of the rate would flatter a text, since what it shows as examples is mostly what it failed. Without its
own example a case is what any new input is: Stone, "Cross-validatory choice and assessment of statistical
predictions" (1974).

Where there is one, another training case with the same answer (of JSON: with the same labels) takes the place
of the example. With one example less for its own answer a case would be told the other answers more often
than any new input is, and a model that goes by that would fail it: Kohavi, "A study of cross-validation"
(1995), on why folds are stratified.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.example_sets import (
    CaseExample,
    answer_of,
    label_by,
    length_of,
    usable_examples,
)
from pytest_promptopt.optimizer.protocols import Evaluator, Prompt, Trial
from pytest_promptopt.optimizer.redaction import Redact, keep_text
from pytest_promptopt.optimizer.run_context import RunContext
from pytest_promptopt.prompts.examples import Example, has_examples, without_each
from pytest_promptopt.records import Case, CaseResult, Outcome, Split, Status

#: What a case put into each prompt when it was first run.
_Inputs = Sequence[tuple[str, Mapping[str, str]]]

#: What takes the place of an example is so many times as long at most: the model may take no more.
LONGER = 2

#: The training cases that may be shown in a prompt, and what their label is.
_Pool = tuple[Sequence[CaseExample], Callable[[Example], object]]


def leaving_one_out(context: RunContext, prompts: Sequence[Prompt]) -> RunContext:
    """`context` whose cases are run so, whoever asks for them: a search, a confirmation, a scoring."""
    evaluator = LeaveOneOutEvaluator(context.evaluator, prompts, context.hooks.redact)
    return replace(context, evaluator=evaluator)


class LeaveOneOutEvaluator:
    """An `Evaluator` that takes out of a text, for each case, the example that is this case.

    :param prompts: whose texts may show examples.
    :param redact: what of a case may have been shown.
    """

    def __init__(self, evaluator: Evaluator, prompts: Sequence[Prompt], redact: Redact = keep_text) -> None:
        self._evaluator = evaluator
        self._prompts = prompts
        self._redact = redact
        self._inputs: dict[str, _Inputs] = {}
        self._first: dict[str, CaseResult] = {}
        self._stand_ins: dict[tuple[str, str, str], Example | None] = {}
        self._pools: dict[str, _Pool] = {}
        self._left: dict[tuple[str, str], Mapping[str, str]] = {}

    @property
    def cases(self) -> Sequence[Case]:
        return self._evaluator.cases

    def evaluate(self, trials: Sequence[Trial]) -> list[Results]:
        asked = [self._parts(trial) for trial in trials]
        measured = self._run(trials, asked)
        # What a case puts into the prompts is known when it was run; what was right already costs nothing.
        if self._learn(measured) and (now := [self._parts(trial) for trial in trials]) != asked:
            return self._run(trials, now)
        return measured

    def _run(self, trials: Sequence[Trial], parts: Sequence[Sequence[Trial]]) -> list[Results]:
        measured = iter(self._evaluator.evaluate([part for each in parts for part in each]))
        return [
            _together(trial, each, [next(measured) for _ in each])
            for trial, each in zip(trials, parts, strict=True)
        ]

    def _parts(self, trial: Trial) -> list[Trial]:
        """A trial for each text that its cases are run under: most share one."""
        own: dict[str, dict[str, str]] = {}
        for prompt in self._prompts:
            left = self._without_each(prompt.name, trial.overlay.get(prompt.name, prompt.prose))
            for case in left.keys() & {*trial.cases}:
                own.setdefault(case, {})[prompt.name] = left[case]
        others = tuple(case for case in trial.cases if case not in own)
        alone = [
            replace(trial, overlay={**trial.overlay, **own[case]}, cases=(case,))
            for case in trial.cases
            if case in own
        ]
        return [*([replace(trial, cases=others)] if others else []), *alone] if alone else [trial]

    def _without_each(self, prompt: str, text: str) -> Mapping[str, str]:
        """The cases that stand in a text of `prompt`, and for each the text without it."""
        if not has_examples(text):
            return {}
        if (prompt, text) not in self._left:
            instead = partial(self._stand_in, prompt, text)
            self._left[prompt, text] = without_each(text, self._shown_as(prompt), instead)
        return self._left[prompt, text]

    def _stand_in(
        self, prompt: str, text: str, case: str, example: Example, shown: Collection[str]
    ) -> Example | None:
        """What takes the place of the example of a case; always the same, whatever is learned later."""
        key = prompt, text, case
        if key not in self._stand_ins:
            self._stand_ins[key] = self._nearest(prompt, example, shown)
        return self._stand_ins[key]

    def _nearest(self, prompt: str, example: Example, shown: Collection[str]) -> Example | None:
        """The training case with the same label that is nearest in length, so that it fits where this did.

        :param shown: the cases that the text shows.
        """
        if prompt not in self._pools:
            training, besides = (
                [result for result in self._first.values() if (result.case.split is Split.TRAIN) is trains]
                for trains in (True, False)
            )
            examples = usable_examples(training, prompt, besides=besides, redact=self._redact)
            self._pools[prompt] = examples, label_by(examples) or answer_of
        pool, label = self._pools[prompt]
        length, wanted = length_of(example), label(example)
        fitting = (
            (abs(length_of(other) - length), other.case, other)
            for other in pool
            if other.case not in shown
            and other.inputs.keys() == example.inputs.keys()
            and length_of(other) <= LONGER * length
            and label(other) == wanted
        )
        nearest = min(fitting, key=lambda one: one[:2], default=None)
        return nearest[2] if nearest is not None else None

    def _shown_as(self, prompt: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """What each case puts into `prompt`, as it is and redacted."""
        for case, asked in self._inputs.items():
            for inputs in (inputs for name, inputs in asked if name == prompt):
                yield case, inputs
                if self._redact is not keep_text:
                    yield case, {name: self._redact(text) for name, text in inputs.items()}

    def _learn(self, measured: Iterable[Results]) -> bool:
        """Keep what new cases put into the prompts; whether there are any."""
        known, answered = len(self._inputs), len(self._first)
        for result in (result for results in measured for result in results):
            calls = [(call.prompt, call.variables) for outcome in result.outcomes for call in outcome.calls]
            if calls:
                self._inputs.setdefault(result.case.id, calls)
            if result.counted:
                self._first.setdefault(result.case.id, result)
        if len(self._first) > answered:
            self._pools.clear()
        if len(self._inputs) == known:
            return False
        self._left.clear()
        return True


def _together(trial: Trial, parts: Sequence[Trial], measured: Sequence[Results]) -> Results:
    """The results of the parts of a trial in the order of its cases.

    Where the text as it is has no answer for any case, as one that is too long for the model, what shorter
    ones have says nothing of it.
    """
    if len(parts) == 1:
        return measured[0]
    by_id = {result.case.id: result for results in measured for result in results}
    whole = [by_id[case] for part in parts if part.overlay == trial.overlay for case in part.cases]
    if whole and all(result.errored for result in whole):
        errors = (outcome.error for result in whole for outcome in result.outcomes)
        error = next(filter(None, errors), None)
        by_id = {case: _errored(result, error) for case, result in by_id.items()}
    return tuple(by_id[case] for case in trial.cases)


def _errored(result: CaseResult, error: str | None) -> CaseResult:
    if result.errored:
        return result
    outcomes = (Outcome(o.case, Status.ERRORED, 0.0, o.sample, error=error) for o in result.outcomes)
    return CaseResult(result.case, tuple(outcomes))

"""Leave-one-out: a case that stands in a text as an example is run without this example.

Under the text as it is the answer could be read off, so a pass would prove nothing; and leaving such cases
out of the rate would flatter a text, since what it shows as examples is mostly what it failed. Without its
own example a case is what any new input is: Stone, "Cross-validatory choice and assessment of statistical
predictions" (1974).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_promptopt.optimizer.candidates import Results
from pytest_promptopt.optimizer.protocols import Evaluator, Prompt, Trial
from pytest_promptopt.optimizer.redaction import Redact, keep_text
from pytest_promptopt.prompts.examples import has_examples, without_example
from pytest_promptopt.records import Case, Overlay

#: What a case put into each prompt when it was first run.
_Inputs = Sequence[tuple[str, Mapping[str, str]]]


class LeaveOneOutEvaluator:
    """An `Evaluator` that leaves out of a text, for each case, the example that is this case.

    :param prompts: whose texts may show examples.
    :param redact: what of a case may have been shown.
    """

    def __init__(self, evaluator: Evaluator, prompts: Sequence[Prompt], redact: Redact = keep_text) -> None:
        self._evaluator = evaluator
        self._prompts = prompts
        self._redact = redact
        self._inputs: dict[str, _Inputs] = {}

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
            _in_order(trial, [next(measured) for _ in each])
            for trial, each in zip(trials, parts, strict=True)
        ]

    def _parts(self, trial: Trial) -> list[Trial]:
        """A trial for each text that its cases are run under: most share one."""
        texts = {prompt.name: trial.overlay.get(prompt.name, prompt.prose) for prompt in self._prompts}
        showing = {name: text for name, text in texts.items() if has_examples(text)}
        if not showing:
            return [trial]
        own = {case: changed for case in trial.cases if (changed := self._without(case, showing))}
        others = tuple(case for case in trial.cases if case not in own)
        alone = [
            replace(trial, overlay={**trial.overlay, **changed}, cases=(case,))
            for case, changed in own.items()
        ]
        return [*([replace(trial, cases=others)] if others else []), *alone]

    def _without(self, case: str, texts: Mapping[str, str]) -> Overlay:
        """Those of `texts` that show `case`, without it."""
        found = {}
        for name, text in texts.items():
            left = text
            for inputs in (inputs for prompt, inputs in self._inputs.get(case, ()) if prompt == name):
                for shown in (inputs, {key: self._redact(value) for key, value in inputs.items()}):
                    left = without_example(left, shown)
            if left != text:
                found[name] = left
        return found

    def _learn(self, measured: Iterable[Results]) -> bool:
        """Keep what new cases put into the prompts; whether there are any."""
        known = len(self._inputs)
        for result in (result for results in measured for result in results):
            calls = [(call.prompt, call.variables) for outcome in result.outcomes for call in outcome.calls]
            if calls:
                self._inputs.setdefault(result.case.id, calls)
        return len(self._inputs) > known


def _in_order(trial: Trial, parts: Sequence[Results]) -> Results:
    """The results of the parts of a trial in the order of its cases."""
    if len(parts) == 1:
        return parts[0]
    by_id = {result.case.id: result for results in parts for result in results}
    return tuple(by_id[case] for case in trial.cases)

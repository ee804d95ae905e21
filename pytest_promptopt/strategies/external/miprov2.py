"""`dspy-miprov2`: the engine MIPROv2 of DSPy (arXiv 2406.11695) with its settings `light`, on our cases.

It writes instructions once, from a summary of the training cases, cases that pass and tips, and chooses
among them by Bayesian search on the validation cases, or on training cases if there are none. Two things
differ from its use inside DSPy. A prompt file holds no demonstrations, so only instructions are chosen;
passing cases inform the writing all the same. And the code of the program, which is the user's and not
DSPy's, is not shown.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import dspy
from dspy import lm15

from pytest_promptopt.records import EPSILON, Call, CaseResult, Message, Outcome, Split
from pytest_promptopt.strategies.external.engine import Ended, ExternalSearch

#: Name of a case in DSPy's examples, and of the answer.
CASE, OUTPUT = "case", "output"


class Miprov2(ExternalSearch):
    """Runs `dspy.MIPROv2` until it is through, or our halting rules or ceilings end it."""

    def engine(self) -> None:
        self._ids = [case.id for case in self.group.cases]
        self._known = {result.case.id: result for result in self.trained()}
        examples = [self._example(id, self._known[id]) for id in self.group.ids(Split.TRAIN)]
        with _quiet():
            model = dspy.LM("promptopt", engine=_Engine(self.answer), cache=False, num_retries=0)
            found = _Search(
                self._score,
                metric=lambda example, prediction, trace=None: prediction.passed,
                prompt_model=model,
                task_model=model,
                auto="light",
                max_bootstrapped_demos=0,
                max_labeled_demos=0,
                seed=self.context.settings.seed,
            ).compile(
                self._program(),
                trainset=examples,
                valset=[
                    dspy.Example({CASE: self._ids.index(id)}).with_inputs(CASE) for id in self.deciding()
                ],
                program_aware_proposer=False,
            )
        self.results(self._instructions(found), self.deciding())

    def _example(self, id: str, result: CaseResult) -> Any:
        """A training case as DSPy shows it to the optimizer: what goes in, and what is to come out."""
        calls = self._calls(result.outcomes)
        failure = result.failing and result.failing.failure
        output = (failure.expected or failure.constraint) if failure else calls[-1].text if calls else ""
        inputs = _fields(calls[0].variables) if calls else {}
        return dspy.Example({**inputs, OUTPUT: str(output), CASE: self._ids.index(id)}).with_inputs(CASE)

    def _program(self) -> Any:
        """The group's prompts as one DSPy program, which is only ever run by itself as it was at first."""
        inputs: dict[str, set[str]] = {name: set() for name in self.names}
        steps: dict[int, _Run] = {}
        for id, result in self._known.items():
            for call in self._calls(result.outcomes):
                inputs[call.prompt].update(_fields(call.variables))
            passed = (result.rate or 0.0) >= 1 - EPSILON
            steps[self._ids.index(id)] = _Run(self._calls(result.outcomes[:1]), passed)
        return _program(self.instructions(), inputs, steps)

    def _calls(self, outcomes: Sequence[Outcome]) -> list[Call]:
        """The calls of these prompts; a case may use another one as well, which stays as it is."""
        return [call for outcome in outcomes for call in outcome.calls if call.prompt in self.names]

    def _instructions(self, program: Any) -> dict[str, str]:
        stages = zip(self.group.prompts, program.predictors(), strict=True)
        return {prompt.name: stage.signature.instructions for prompt, stage in stages}

    def _score(self, program: Any, devset: Sequence[Any]) -> float:
        if self.over:
            raise Ended
        results = self.results(self._instructions(program), [self._ids[example[CASE]] for example in devset])
        self.check_halting()
        return sum(result.rate or 0.0 for result in results or ()) / len(devset)


@dataclass(frozen=True)
class _Run:
    """What a case did under the original."""

    calls: Sequence[Call]
    passed: bool


class _Search(dspy.MIPROv2):  # type: ignore[misc]
    """MIPROv2 that has a whole batch of cases run at once, in the main thread."""

    def __init__(self, score: Callable[[Any, Sequence[Any]], float], **options: Any) -> None:
        super().__init__(**options)
        self._score = score

    def _optimize_prompt_parameters(
        self, program: Any, instructions: Any, demos: Any, evaluate: Any, *more: Any
    ) -> Any:
        def scored(candidate: Any, *, devset: Sequence[Any], callback_metadata: object = None) -> Any:
            return dspy.Prediction(score=100 * self._score(candidate, devset))

        return super()._optimize_prompt_parameters(program, instructions, demos, scored, *more)


class _Engine:
    """DSPy's way to the optimizer model."""

    def __init__(self, answer: Callable[..., str]) -> None:
        self._answer = answer

    def complete(self, request: Any) -> Any:
        """One `lm15.Response` to an `lm15.Request`."""
        system = request.system or ""
        told = system if isinstance(system, str) else "".join(part.text for part in system)
        messages = [Message("system", told)] if told else []
        messages += [Message(message.role, message.text or "") for message in request.messages]
        return lm15.Response(
            id=None,
            model=request.model,
            message=lm15.Message.assistant(self._answer(*messages)),
            finish_reason="stop",
            usage=lm15.Usage(input_tokens=0, output_tokens=0, total_tokens=0),
        )


def _fields(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables, or contents of messages by role, under names that DSPy can use."""
    return {"input_" + re.sub(r"\W", "_", name): value for name, value in variables.items()}


def _program(
    instructions: Mapping[str, str], inputs: Mapping[str, set[str]], known: Mapping[int, _Run]
) -> Any:
    """A module with one predictor per prompt; none of them asks a model by itself.

    :param inputs: the names of each prompt's fields.
    :param known: what the original did by the number of the case.
    """
    names = list(instructions)

    class Program(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.stages = [
                dspy.Predict(
                    dspy.Signature(
                        {field: dspy.InputField() for field in sorted(inputs[name])}
                        | {OUTPUT: dspy.OutputField()},
                        instructions[name],
                    )
                )
                for name in names
            ]

        def forward(self, case: int) -> Any:
            for call in known[case].calls:
                stage = self.stages[names.index(call.prompt)]
                outputs = dspy.Prediction(**{OUTPUT: call.text})
                dspy.settings.trace.append((stage, _fields(call.variables), outputs))
            return dspy.Prediction(passed=known[case].passed)

    return Program()


@contextmanager
def _quiet() -> Iterator[None]:
    """DSPy prints, logs to stderr and shows bars; optuna warns of what DSPy uses.

    It prints before the first case of ours is run, after which pytest's capture has put stdout back.
    """
    log = logging.getLogger("dspy")
    handlers, propagates = log.handlers, log.propagate
    log.handlers, log.propagate = [logging.NullHandler()], False
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.handlers, log.propagate = handlers, propagates

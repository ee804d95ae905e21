"""The prompts of a group as a program of DSPy, for DSPy's engines; it never asks a model by itself."""

from __future__ import annotations

import io
import logging
import re
import warnings
from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import dspy
from dspy import lm15

from pytest_promptopt.optimizer.prompt_groups import PromptGroup
from pytest_promptopt.optimizer.search_context import SearchContext
from pytest_promptopt.records import EPSILON, Call, CaseResult, Message, Outcome
from pytest_promptopt.strategies.external.engine import ExternalSearch

#: Name of a case in DSPy's examples, and of the answer.
CASE, OUTPUT = "case", "output"


class DspySearch(ExternalSearch, ABC):
    """A search that an engine of DSPy makes, with what such engines need of the group."""

    def __init__(self, group: PromptGroup, context: SearchContext) -> None:
        super().__init__(group, context)
        self._ids = [case.id for case in self.group.cases]

    @property
    def known(self) -> Mapping[str, CaseResult]:
        """What the original's training cases may tell, by the case."""
        return {result.case.id: result for result in self.trained()}

    def program(self) -> Any:
        """The group's prompts as one module, which can be run on training cases, as it was at first."""
        inputs: dict[str, set[str]] = {name: set() for name in self.names}
        runs: dict[int, _Run] = {}
        for id, result in self.known.items():
            for call in self.calls(result.outcomes):
                inputs[call.prompt].update(fields(call.variables))
            passed = (result.rate or 0.0) >= 1 - EPSILON
            runs[self._ids.index(id)] = _Run(self.calls(result.outcomes[:1]), passed)
        return _program(self.instructions(), inputs, runs)

    def calls(self, outcomes: Sequence[Outcome]) -> list[Call]:
        """The calls of these prompts; a case may use another one as well, which stays as it is."""
        return [call for outcome in outcomes for call in outcome.calls if call.prompt in self.names]

    def example(self, id: str, **more: str) -> Any:
        """A case as an example of DSPy, by its number."""
        return dspy.Example({**more, CASE: self._ids.index(id)}).with_inputs(CASE)

    def id_of(self, example: Any) -> str:
        """The case that an example is."""
        number: int = example[CASE]
        return self._ids[number]


class Engine:
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


def model_that_writes(answer: Callable[..., str]) -> Any:
    """A `dspy.LM` that is asked by `answer`, which is given messages."""
    return dspy.LM("promptopt", engine=Engine(answer), cache=False, num_retries=0)


def fields(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables, or contents of messages by role, under names that DSPy can use."""
    return {"input_" + re.sub(r"\W", "_", name): value for name, value in variables.items()}


@dataclass(frozen=True)
class _Run:
    """What a case did under the original."""

    calls: Sequence[Call]
    passed: bool


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
                dspy.settings.trace.append((stage, fields(call.variables), outputs))
            return dspy.Prediction(passed=known[case].passed)

    return Program()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence: DSPy prints, logs to stderr and shows bars; optuna warns of what DSPy uses.

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

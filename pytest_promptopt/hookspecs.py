"""The hooks of pytest-promptopt; implement them in a ``conftest.py`` or a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_promptopt.failures import FailedCase
    from pytest_promptopt.models import Model
    from pytest_promptopt.records import Iteration, RunResult
    from pytest_promptopt.refine.acceptance import Comparison, Verdict
    from pytest_promptopt.refine.halting import Standing, Stop
    from pytest_promptopt.refine.proposer import Ask, Wanted
    from pytest_promptopt.refine.replies import Reply, Unusable


@pytest.hookspec(firstresult=True)
def pytest_promptopt_resolve_model(name: str) -> Model | None:
    """Provide the model called `name` (``provider/model``, as the user wrote it).

    Called once per model name and process, in the event loop's thread, before its first call. Return an
    object that satisfies `pytest_promptopt.models.Model`, or None to leave the name to others and to the
    built-in providers.

    Example, in ``conftest.py``::

        def pytest_promptopt_resolve_model(name):
            if name.startswith("house/"):
                return HouseModel(name.removeprefix("house/"))
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_categorize(case: FailedCase) -> str | None:
    """Name the category of a failed case; None leaves it to the built-in categories.

    `case` has the inputs, the expected and the actual text, where they differ, and the category that the
    plugin would choose. The name is shown to people and to the optimizer, so make it say what is wrong.

    Example::

        def pytest_promptopt_categorize(case):
            if "internal use only" in case.actual.lower():
                return "leaks internal text"
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_propose(wanted: Wanted, ask: Ask) -> Sequence[Reply | Unusable] | None:
    """Write the candidates of an iteration; None leaves it to the built-in proposer.

    `wanted.briefs` holds one brief per candidate: the prompt's current text, the line of attack, the failing
    cases. `ask` sends requests to the optimizer model, counted and bounded as all calls are. Return one
    `pytest_promptopt.refine.replies.Reply` or `Unusable` per brief, in order. A text that loses a variable,
    repeats an earlier candidate or copies cases is refused afterwards, whoever wrote it.

    Example::

        def pytest_promptopt_propose(wanted, ask):
            return [Reply(text=brief.prose + "\\nThink step by step.", reason="fixed") for brief in
            wanted.briefs]
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_accept(comparison: Comparison) -> Verdict | None:
    """Decide whether a candidate may replace the incumbent; None leaves it to the adaptive rule.

    `comparison` is paired: both pass rates over the cases that have a result under both texts, and which
    cases were fixed and broken.

    Example: never accept a candidate that breaks a case::

        def pytest_promptopt_accept(comparison):
            if comparison.broken:
                return Verdict(False, f"breaks {len(comparison.broken)} cases")
    """


@pytest.hookspec(firstresult=True)
def pytest_promptopt_halt(standing: Standing) -> Stop | None:
    """End the search of a prompt after an iteration, with a name and a sentence.

    None leaves it to the built-in rules.

    Example::

        def pytest_promptopt_halt(standing):
            if standing.rates[-1] >= 0.9 and standing.iterations >= 3:
                return Stop("good enough", "90% after three iterations")
    """


@pytest.hookspec
def pytest_promptopt_iteration_finished(iteration: Iteration) -> None:
    """Called after each iteration with its candidates and what became of them; observers cannot steer."""


@pytest.hookspec
def pytest_promptopt_run_finished(result: RunResult) -> None:
    """Called once after a run, when the prompt files are written and before pytest's own loop.

    Example: keep every prompt's story in a file::

        def pytest_promptopt_run_finished(result):
            for prompt in result.prompts:
                print(prompt.prompt, prompt.outcome, prompt.why)
    """

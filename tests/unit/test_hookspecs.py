"""Somebody copies an example from the documentation of a hook into a conftest.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from textwrap import dedent
from types import SimpleNamespace
from typing import Any, cast

import pluggy
import pytest

from pytest_promptopt import api, hookspecs
from pytest_promptopt.failures import FailedCase
from pytest_promptopt.optimizer.acceptance import Comparison, Verdict
from pytest_promptopt.optimizer.halting import Phase, SearchProgress, Stop
from pytest_promptopt.optimizer.proposal.proposer import ProposalRequest
from pytest_promptopt.optimizer.proposal.replies import Reply
from pytest_promptopt.optimizer.proposal.requests import Brief
from pytest_promptopt.pytest_session.user_hooks import user_search_hooks
from pytest_promptopt.records import Split
from pytest_promptopt.results import PromptOutcome, PromptResult, RunResult
from tests.refine_world import FakePrompt, World, needs

HOOKS = [name for name in vars(hookspecs) if name.startswith("pytest_promptopt_")]


def documentation(hook: str) -> str:
    return inspect.getdoc(getattr(hookspecs, hook)) or ""


def example(hook: str) -> Callable[..., Any]:
    """The function that the example of `hook` defines."""
    code = dedent(documentation(hook).partition("::\n")[2])
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    function: Callable[..., Any] = namespace[hook]
    return function


@pytest.mark.parametrize("hook", HOOKS)
def test_an_example_takes_what_the_hook_is_given(hook: str) -> None:
    given = inspect.signature(getattr(hookspecs, hook)).parameters
    assert list(inspect.signature(example(hook)).parameters) == list(given)


@pytest.mark.parametrize("hook", HOOKS)
def test_all_that_is_named_or_imported_comes_from_the_api(hook: str) -> None:
    text = documentation(hook)
    for path in re.findall(r"`(pytest_promptopt\.[\w.]+)`", text):
        module, _, name = path.rpartition(".")
        assert module == "pytest_promptopt.api"
        assert name in api.__all__
    assert set(re.findall(r"from (pytest_promptopt\S*) import", text)) <= {"pytest_promptopt.api"}


@pytest.mark.parametrize("hook", HOOKS)
def test_every_class_of_the_signature_is_named_by_the_module_to_import_it_from(hook: str) -> None:
    text = " ".join(documentation(hook).split())
    for annotation in inspect.get_annotations(getattr(hookspecs, hook)).values():
        for name in set(re.findall(r"[A-Z]\w+", annotation)) - {"None", "Sequence", "Mapping"}:
            assert re.search(rf"`(pytest_promptopt\.[\w.]+\.)?{name}`", text), name


def test_the_examples_do_what_they_say() -> None:
    assert example("pytest_promptopt_resolve_model")("other/model") is None
    leak = FailedCase("t", "wrong value", {}, None, "For INTERNAL use only", (), "")
    assert example("pytest_promptopt_categorize")(leak) == "leaks internal text"
    brief = Brief(FakePrompt(), "Route {{ ticket }}.", "go", 1, 2)
    (reply,) = example("pytest_promptopt_propose")(ProposalRequest((brief,), "demo", 1), None)
    assert isinstance(reply, Reply)
    assert reply.text == "Route {{ ticket }}.\nThink step by step."
    broken = Comparison(Split.TRAIN, 2, 0.5, 0.5, ("a",), ("b",))
    assert example("pytest_promptopt_accept")(broken) == Verdict(False, "breaks b")
    progress = SearchProgress(Phase.TRAINING, 3, (0.5, 0.9), 0, 1.0, 5, 20)
    assert example("pytest_promptopt_halt")(progress) == Stop("good enough", "90% after three iterations")


def test_the_example_of_a_strategy_is_one() -> None:
    (steps,) = example("pytest_promptopt_strategies")().values()
    result = World(needs("Think z"), strategy=steps).result(max_iterations=2)
    assert (result.outcome, result.stop) == ("improved", "max iterations")
    assert result.after == "Route {{ ticket }}.\nThink."


def test_the_last_example_tells_every_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    prompt = PromptResult("a.md", "x", "x", PromptOutcome.PASSING, "nothing failing", "all pass", ())
    example("pytest_promptopt_run_finished")(RunResult("1", (prompt,), {}, 0.0))
    assert capsys.readouterr().out == "a.md passing all pass\n"


class Names:
    """A plugin that names categories."""

    @pytest.hookimpl
    def pytest_promptopt_categorize(self, case: FailedCase) -> str:
        return "its own"


@pytest.mark.parametrize("plugins", [[], [Names()]])
def test_only_who_names_categories_is_asked_for_them(plugins: list[object]) -> None:
    """The built-in names may be told of cases that are not shown; a hook's may hold what a case says."""
    manager = pluggy.PluginManager("pytest")
    manager.add_hookspecs(hookspecs)
    for plugin in plugins:
        manager.register(plugin)
    hooks = user_search_hooks(cast(pytest.Config, SimpleNamespace(hook=manager.hook)))
    assert (hooks.categorize is not None) is bool(plugins)

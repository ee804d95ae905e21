"""Engines of other libraries in the small world; skipped where a library is not installed."""

from __future__ import annotations

import importlib.util
import itertools
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pytest_promptopt import strategies
from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError
from pytest_promptopt.journal import Journal, read_events
from pytest_promptopt.optimizer.acceptance import Verdict
from pytest_promptopt.optimizer.protocols import StopRun, Trial
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.records import Answer, CaseResult, Message, Outcome, Request, Split
from pytest_promptopt.strategies import EXTERNAL, load_strategy
from pytest_promptopt.strategies.external.engine import ExternalSearch, join_instruction, split_instruction
from tests.paid_world import paid
from tests.refine_world import HELDOUT, VALIDATION, FakePrompt, Need, World, needs

PROMPT = FakePrompt(prose="Route it.\n\nTicket: {{ ticket }}")


def reflecting() -> Callable[[Request], Answer]:
    """An optimizer for GEPA, also DSPy's: adds the first rule that the feedback shows to be missing."""

    def answer(request: Request) -> Answer:
        text = request.messages[-1].content
        asked = r"current_instruction ## \]\]\n(.*?)\n\n\[\[" if "## ]]" in text else r"```\n(.*?)\n```"
        (current,) = re.findall(asked, text, re.DOTALL)[:1]
        missing = [rule for rule in re.findall(r"is 'label-(\w+)'", text) if rule not in current.split()]
        return reflected(text, " ".join([current, *missing[:1]]))

    return answer


def reflected(asked: str, instruction: str) -> Answer:
    """A reply to GEPA, or to DSPy's, in the form that was asked for."""
    if "## ]]" in asked:
        return reply(json.dumps({"new_instruction": instruction}))
    return reply(f"Here it is:\n```\n{instruction}\n```")


def guessing() -> Callable[[Request], Answer]:
    """An optimizer for DSPy: fills in whatever field is asked for, each time with one more rule."""
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        fields = re.findall(r"\[\[ ## (\w+) ## \]\]", request.messages[-1].content.rpartition("Respond")[2])
        rules = " ".join("abcd"[: len(asked) % 5])
        return reply("\n\n".join(f"[[ ## {field} ## ]]\nRoute well. {rules}" for field in fields))

    return answer


def reply(text: str) -> Answer:
    return Answer(text, "demo", "end_turn", None, None, 0.1)


@pytest.fixture(params=EXTERNAL)
def peer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    for package in EXTERNAL[name][0]:
        pytest.importorskip(package)
    return name


def world(name: str, cases: list[Need], **more: object) -> World:
    model = guessing() if name == "dspy-miprov2" else reflecting()
    return World(cases, model, [PROMPT], strategy=load_strategy(name, {}), **more)  # type: ignore[arg-type]


def cases() -> list[Need]:
    return needs("a b c d - - - -") + needs("a b c d", VALIDATION) + needs("a b c d", HELDOUT)


def test_it_turns_a_red_prompt_green(peer: str) -> None:
    result = world(peer, cases()).result(candidates=3, max_iterations=20)
    assert (result.outcome, result.written, result.stop) == ("improved", True, "target reached")
    assert [(score.split, score.after) for score in result.scores] == [
        ("train", 1.0),
        ("validation", 1.0),
        ("heldout", 1.0),
    ]
    assert result.after.endswith("\n\nTicket: {{ ticket }}"), "variables are not the engine's to lose"


def test_without_validation_cases_training_cases_decide(peer: str) -> None:
    result = world(peer, needs("a b c d - - - -")).result(max_iterations=20)
    assert (result.outcome, result.stop) == ("improved", "target reached")
    assert "training cases" in result.why


def test_it_sees_no_validation_or_held_out_text(peer: str) -> None:
    def canary(split: Split, number: int) -> Need:
        word = f"canary{split}{number}"
        return Need(f"{word}id", f"v{number}", split, expected=f"{word}expected", secret=f"{word}input")

    hidden = [canary(split, number) for split in (VALIDATION, HELDOUT) for number in range(3)]
    one = world(peer, needs("a b c c - - -") + hidden)
    one.run(candidates=2, max_iterations=4)
    assert len(one.requests()) >= 3
    assert "train-1-a" in "".join(one.requests()), "training cases are told"
    assert "canary" not in "".join(one.requests())


def test_it_sees_nothing_of_what_is_taken_out_of_cases(peer: str) -> None:
    hooks = SearchHooks(redact=lambda text: text.replace("Jane", "[name]"))
    hidden = needs("a b c d a b c d", secret="by Jane", expected="Jane's")
    one = world(peer, hidden, hooks=hooks)
    one.run(candidates=2, max_iterations=4)
    assert "[name]" in "".join(one.requests())
    assert "Jane" not in "".join(one.requests())


@dataclass
class BesideAFrozenOne(World):
    """Every case asks a further prompt as well, which stays as it is."""

    def _results(self, trial: Trial) -> tuple[CaseResult, ...]:
        return tuple(
            replace(result, outcomes=tuple(map(self._with_frozen, result.outcomes)))
            for result in super()._results(trial)
        )

    def _with_frozen(self, outcome: Outcome) -> Outcome:
        frozen = tuple(
            replace(call, prompt="frozen.md", key=f"frozen {call.key}", variables={"answer": call.text})
            for call in outcome.calls
        )
        return replace(outcome, calls=(*outcome.calls, *frozen))


def test_a_prompt_that_is_frozen_is_none_of_its_business(peer: str) -> None:
    model = guessing() if peer == "dspy-miprov2" else reflecting()
    one = BesideAFrozenOne(cases(), model, [PROMPT], strategy=load_strategy(peer, {}))
    result = one.result(candidates=3, max_iterations=20)
    assert (result.outcome, result.stop) == ("improved", "target reached")


def test_it_is_the_same_for_the_same_seed(peer: str) -> None:
    def run(seed: int) -> list[str]:
        one = world(peer, cases())
        one.run(candidates=2, max_iterations=3, seed=seed)
        return one.requests()

    assert run(1) == run(1)


@pytest.mark.parametrize("moment", ["evaluate 2", "evaluate 3", "ask 1", "ask 3"])
def test_ctrl_c_ends_it(peer: str, moment: str, tmp_path: Path) -> None:
    one = world(peer, cases(), interrupt=moment)
    journal = Journal.create(tmp_path, "r")
    assert one.run(journal=journal).interrupted
    assert one.written == {}
    assert read_events(journal.path)[-1].event == "end"


@pytest.mark.parametrize("moment", ["evaluate 2", "evaluate 3", "ask 1", "ask 3"])
def test_a_ceiling_ends_it_with_the_best_so_far(peer: str, moment: str) -> None:
    one = world(peer, cases(), interrupt=moment, error=StopRun("budget used up", "all calls are used"))
    result = one.result(max_iterations=20)
    assert (result.stop, result.why) == ("budget used up", "all calls are used")
    number = int(moment[-1])
    assert len(one.asked if moment.startswith("ask") else one.evaluated) <= number + 1, "it stopped at once"


def test_it_obeys_the_halting_and_the_acceptance_rule(peer: str) -> None:
    result = world(peer, cases()).result(target=0.5)
    assert result.stop == "target reached"
    never = SearchHooks(accept=lambda comparison: Verdict(False, "I never like anything"))
    result = world(peer, cases(), hooks=never).result(max_iterations=2)
    assert result.outcome == "unchanged"
    assert "I never like anything" in {c.why for i in result.iterations for c in i.candidates}


def test_a_refused_text_costs_no_run_of_a_case(peer: str) -> None:
    def greedy(request: Request) -> Answer:
        loses = "{{ ticket }} asks about {{ other }}"
        text = request.messages[-1].content
        fields = re.findall(r"\[\[ ## (\w+) ## \]\]", text.rpartition("Respond")[2])
        if fields:
            return reply("\n\n".join(f"[[ ## {field} ## ]]\n{loses}" for field in fields))
        return reflected(text, loses)

    class Strict(FakePrompt):
        def objections(self, prose: str) -> tuple[str, ...]:
            return ("It has another variable.",) if "other" in prose else ()

    one = world(peer, cases())
    one.replies, one.prompts = greedy, [Strict(prose=PROMPT.prose)]
    result = one.result(max_iterations=20)
    assert result.outcome == "unchanged"
    if peer != "dspy-miprov2":
        assert result.why == "3 proposals in a row were not both usable and new"
        assert len(one.asked) == 3
    (candidate, *_) = [c for i in result.iterations for c in i.candidates]
    assert (candidate.verdict, candidate.why) == ("refused", "It has another variable.")
    assert {trial.overlay == {} for trials in one.evaluated for trial in trials} == {True}


class Thorough(ExternalSearch):
    """An engine that runs its best text on the training cases as well."""

    def engine(self) -> None:
        for cases in (self.deciding(), list(self.group.ids(Split.TRAIN))):
            self.results({"route.md": "Route it. a b c d"}, cases)


def test_what_an_engine_ran_its_best_text_on_is_not_run_again_at_the_end() -> None:
    world = World(cases(), prompts=[PROMPT], strategy=Thorough)
    assert world.result().outcome == "improved"
    trials = [trial for trials in world.evaluated for trial in trials if trial.overlay]
    assert sorted(
        case for trial in trials for case in trial.cases if not case.startswith("heldout")
    ) == sorted(need.id for need in world.needs if need.split is not HELDOUT)


def test_the_prompts_of_a_pipeline_are_its_components(peer: str) -> None:
    prompts = [
        FakePrompt("plan.md", PROMPT.prose),
        FakePrompt("code.md", "Write it. a\n\nTicket: {{ ticket }}"),
    ]
    used = ("plan.md", "code.md")
    one = world(
        peer, [Need(f"train-{rule}{n}", rule, prompts=used) for n in range(3) for rule in ("a", "", "")]
    )
    one.prompts = prompts
    results = one.run(max_iterations=10).prompts
    assert {result.pipeline for result in results} == {used}
    assert "improved" in {result.outcome for result in results}


def test_it_is_silent_and_leaves_no_file(
    peer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "dspy"))
    heard: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = heard.append  # type: ignore[method-assign,assignment]
    log = logging.getLogger("dspy")
    monkeypatch.setattr(log, "handlers", [listener])
    world(peer, cases()).run(max_iterations=2)
    assert capfd.readouterr() == ("", "")
    assert heard == []
    assert log.handlers == [listener], "whoever uses DSPy in tests has its log back"
    assert list(tmp_path.rglob("*")) == []


def test_an_optimizer_that_gives_no_answer_ends_it(peer: str) -> None:
    def broken(request: Request) -> ModelError:
        return ModelError(ErrorKind.SERVER, "the server is on fire")

    one = world(peer, cases())
    one.replies = broken
    result = one.result(max_iterations=20)
    assert result.outcome == "unchanged"
    assert result.why == (
        "LMUnexpectedError: [promptopt] the server is on fire"
        if peer == "dspy-miprov2"
        else "the optimizer gave no answer 3 times in a row: the server is on fire"
    )


def test_a_hook_that_fails_is_not_the_engine_s_to_swallow(peer: str) -> None:
    def mistaken(*_: object) -> Verdict:
        raise SettingsError("pytest_promptopt_accept raised")

    result = world(peer, cases(), hooks=SearchHooks(accept=mistaken)).run()
    (error,) = result.errors
    assert error.endswith("SettingsError: pytest_promptopt_accept raised")
    assert result.prompts[0].stop == "error"


# ----------------------------------------------------------------------------- without the libraries


@pytest.mark.parametrize("name", EXTERNAL)
def test_a_missing_library_is_named_with_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies.importlib.util, "find_spec", lambda package: None)  # type: ignore[attr-defined]
    with pytest.raises(SettingsError) as error:
        load_strategy(name, {})
    assert f"'{name}' needs " in str(error.value)
    assert f"pip install 'pytest-promptopt[{name}]'" in str(error.value)


def test_a_library_of_another_version_is_named_with_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(module: str) -> object:
        raise ImportError("cannot import name 'lm15' from 'dspy'")

    monkeypatch.setattr(strategies.importlib.util, "find_spec", lambda package: package)  # type: ignore[attr-defined]
    monkeypatch.setattr(strategies.importlib, "import_module", other)  # type: ignore[attr-defined]
    monkeypatch.setattr(strategies, "version", lambda package: "2.6.0")
    with pytest.raises(SettingsError) as error:
        load_strategy("dspy-gepa", {})
    assert str(error.value) == (
        "--promptopt-strategy: 'dspy-gepa' cannot be used with dspy 2.6.0, gepa 2.6.0, which is too old or "
        "too new (cannot import name 'lm15' from 'dspy'): pip install 'pytest-promptopt[dspy-gepa]'"
    )


def test_no_library_is_loaded_before_it_is_asked_for() -> None:
    assert importlib.util.find_spec("pytest_promptopt.strategies") is not None
    script = "import sys, pytest_promptopt.strategies; print(*{'gepa', 'dspy', 'optuna'} & set(sys.modules))"

    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_the_part_before_the_first_variable_is_the_instruction() -> None:
    assert split_instruction("Route it.\n\nTicket: {{ ticket }}\nDone") == (
        "Route it.\n\n",
        "Ticket: {{ ticket }}\nDone",
    )
    assert split_instruction("Route it.\n") == ("Route it.\n", "")
    assert split_instruction("{{ ticket }}: route it") == ("{{ ticket }}: route it", "")
    assert join_instruction("Route it.", "Ticket: {{ ticket }}") == "Route it.\n\nTicket: {{ ticket }}"
    assert join_instruction("Route it.", "") == "Route it."


class Asking(ExternalSearch):
    """An engine that asks for a text, runs it on the cases that decide, and so on."""

    def engine(self) -> None:
        while not self.over:
            text = self.answer(Message("user", "Another instruction, please."))
            self.results({"route.md": text}, self.deciding())
            self.check_halting()


@pytest.mark.parametrize("ceiling", [30, 41, 60])
def test_an_engine_is_asked_for_no_text_that_the_ceiling_leaves_no_calls_to_judge(ceiling: int) -> None:
    numbers = itertools.count()
    world = paid(
        needs("a b c d - - - -") + needs("a b c d", VALIDATION),
        lambda _: reply(f"Route it {next(numbers)}."),
        ceiling,
        prompts=[PROMPT],
        strategy=Asking,
    )
    result = world.result(candidates=3, max_iterations=20)
    assert result.stop == "budget used up"
    candidates = sum(len(iteration.candidates) for iteration in result.iterations)
    assert candidates == len(world.requests()) > 0
    assert {c.split for i in result.iterations for c in i.candidates} == {VALIDATION}

"""Stories of people who improve a prompt from a script or a notebook, without pytest."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pytest_promptopt import Case, SettingsError, aoptimize, load_prompt, optimize
from pytest_promptopt.api import Iteration, OptimizationInterrupted, Request, RunResult
from pytest_promptopt.models.demo import DemoModel
from pytest_promptopt.runs.commands import list_runs, restore_run
from pytest_promptopt.testing import ExampleProject, FakeModel
from tests.acceptance.desk import WEAK

SUBJECTS = {
    "card_arrival": ("my card has not arrived", "when will the card arrive", "where is my new card"),
    "exchange_rate": ("what is the exchange rate", "a fair exchange rate", "the exchange rate for euros"),
    "pin_blocked": ("my pin is blocked", "unblock my blocked pin", "is my pin blocked now"),
}
ENDINGS = ("", " please", " today", " now, thanks", " again")
#: 45 questions with the label that each must get.
QUESTIONS = [
    (f"{text}{ending}", label)
    for ending, (label, texts) in product(ENDINGS, SUBJECTS.items())
    for text in texts
]


def cases(count: int = 40, **more: Any) -> list[Case]:
    return [Case({"message": message}, label, **more) for message, label in QUESTIONS[:count]]


class Counted(DemoModel):
    """`demo`, which counts its calls, and at one of them does something."""

    def __init__(self, at: int = 0, does: Callable[[], object] = lambda: None) -> None:
        self.calls = 0
        self._at = at
        self._does = does

    async def complete(self, request: Request) -> Any:
        self.calls += 1
        if self.calls == self._at:
            self._does()
            await asyncio.sleep(30)
        return await super().complete(request)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a weak prompt, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sort.md").write_text(WEAK)
    return tmp_path


def improve(count: int = 40, **arguments: Any) -> RunResult:
    chosen: dict[str, Any] = {"model": "demo", "optimizer_model": "demo", "max_iterations": 3, **arguments}
    return optimize("sort.md", cases(count), **chosen)


SCRIPT = """
    import json, sys
    from pytest_promptopt import Case, optimize

    questions = json.loads(sys.argv[1])
    cases = [Case({"message": message}, label) for message, label in questions]
    result = optimize(
        "sort.md", cases, model="demo", optimizer_model="demo", split="60/20/20", max_iterations=3
    )
    prompt = result.prompts[0]
    print(json.dumps({
        "pytest": [name for name in sys.modules if name.partition(".")[0] in ("pytest", "_pytest", "pluggy")],
        "outcome": prompt.outcome,
        "after": prompt.after,
        "unwritten": prompt.unwritten,
        "heldout": [[score.cases, score.before, score.after] for score in prompt.scores][-1],
        "journal": result.journal,
    }))
"""


def test_a_script_improves_a_prompt_without_pytest_and_writes_nothing(project: Path) -> None:
    (project / "improve.py").write_text(dedent(SCRIPT))
    ended = subprocess.run(
        [sys.executable, "improve.py", json.dumps(QUESTIONS[:40])], capture_output=True, text=True, check=True
    )
    told = json.loads(ended.stdout)
    assert ended.stderr == ""
    assert told["pytest"] == []
    assert (told["outcome"], told["unwritten"]) == ("improved", "dry run")
    held, before, after = told["heldout"]
    assert held >= 4
    assert after > before
    assert (project / "sort.md").read_text() == WEAK
    assert told["after"] != WEAK.strip()
    assert (project / told["journal"]).is_file()


def test_what_is_written_is_a_run_like_any_other(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = improve(write=True)
    (prompt,) = result.prompts
    assert prompt.written
    assert load_prompt("sort.md").text == prompt.after != prompt.before == WEAK.strip()
    list_runs(project, sys.stdout)
    assert result.id in capsys.readouterr().out
    assert restore_run(result.id, project, sys.stdout)
    assert (project / "sort.md").read_text() == WEAK


@pytest.mark.parametrize("ceiling", [70, 90])
def test_a_ceiling_holds_to_the_call(project: Path, ceiling: int) -> None:
    model = Counted()
    result = improve(max_calls=ceiling, max_iterations=20, resolve_model=lambda name: model)
    assert model.calls <= ceiling
    assert sum(spend.calls for spend in result.spend.values()) == model.calls


def test_a_ceiling_that_is_too_low_is_refused_before_the_first_call(project: Path) -> None:
    model = Counted()
    with pytest.raises(SettingsError, match=r"^max_calls=5: running the train and validation cases once"):
        improve(max_calls=5, resolve_model=lambda name: model)
    assert model.calls == 0


def test_the_same_once_more_pays_for_no_search(project: Path) -> None:
    first, second = Counted(), Counted()
    improve(resolve_model=lambda name: first)
    before = {path.name for path in (project / ".promptopt" / "runs").iterdir()}
    improve(resolve_model=lambda name: second, learn=False)
    assert second.calls < first.calls / 2, "only a confirmation asks anew"
    assert len(list((project / ".promptopt" / "runs").iterdir())) == len(before) + 1


@pytest.mark.parametrize(("cache", "stored"), [("off", False), ("refresh", True)])
def test_answers_are_paid_again_where_the_cache_is_not_to_be_used(
    project: Path, cache: str, stored: bool
) -> None:
    calls = []
    for _ in range(2):
        model = Counted()
        improve(cache=cache, max_iterations=1, resolve_model=lambda name, model=model: model)
        calls.append(model.calls)
    assert min(calls) >= 40
    assert (project / ".promptopt" / "cache").exists() is stored


def test_calls_overlap_as_far_as_concurrency_lets_them(project: Path) -> None:
    model = FakeModel(lambda request: "pin_blocked", seconds=0.02)
    improve(
        model="fake/one",
        optimizer_model="none",
        concurrency=7,
        max_iterations=1,
        resolve_model=lambda name: model,
    )
    assert model.most == 7


def test_inside_a_running_event_loop(project: Path) -> None:
    async def routes(prompt: Any) -> None:
        assert await prompt.acall(message="my pin is blocked") == "pin_blocked"

    async def notebook() -> RunResult:
        return optimize(
            "sort.md", [*cases(20), routes], model="demo", optimizer_model="demo", max_iterations=1
        )

    result = asyncio.run(notebook())
    assert not result.errors
    assert result.prompts[0].scores[0].cases == 21


def test_async_lets_the_event_loop_go_on(project: Path) -> None:
    ticks = 0

    async def main() -> RunResult:
        nonlocal ticks
        run = asyncio.create_task(
            aoptimize("sort.md", cases(20), model="demo", optimizer_model="demo", max_iterations=1)
        )
        while not run.done():
            ticks += 1
            await asyncio.sleep(0.01)
        return await run

    assert asyncio.run(main()).prompts[0].outcome == "improved"
    assert ticks > 5


def test_cancelling_ends_the_run_first(project: Path) -> None:
    reached = threading.Event()
    model = Counted(at=10, does=reached.set)

    async def main() -> None:
        run = asyncio.create_task(
            aoptimize(
                "sort.md",
                cases(20),
                model="demo",
                optimizer_model="demo",
                write=True,
                resolve_model=lambda name: model,
            )
        )
        await asyncio.to_thread(reached.wait)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())
    assert (project / "sort.md").read_text() == WEAK
    for thread in threading.enumerate():
        if "promptopt" in thread.name:
            thread.join(timeout=5)
            assert not thread.is_alive(), thread.name
    improve(20, max_iterations=1)  # the lock is free


def test_ctrl_c_raises_with_what_was_found(project: Path) -> None:
    model = Counted(at=30, does=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(OptimizationInterrupted) as caught:
        improve(write=True, resolve_model=lambda name: model)
    assert caught.value.result.interrupted
    assert caught.value.result.prompts[0].unwritten in ("interrupted", "")
    assert (project / "sort.md").read_text() == WEAK


def test_an_observer_is_told_of_every_iteration_and_harms_nothing(project: Path) -> None:
    told: list[Iteration] = []

    def watch(iteration: Iteration) -> None:
        told.append(iteration)
        raise OSError("the dashboard is down")

    result = improve(20, max_iterations=1, on_iteration=watch)
    assert [iteration.number for iteration in told] == [1]
    (error,) = result.errors
    assert "test_scripts.py:" in error
    assert "the dashboard is down" in error


def test_progress_is_shown_when_it_is_wanted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    improve(20, max_iterations=1, progress=True, max_calls=200)
    told = capsys.readouterr()
    assert told.out == ""
    assert "max_calls=200 buys about" in told.err
    assert "iteration 1: best" in told.err


def test_strategies_are_compared(project: Path) -> None:
    result = improve(20, strategy=["refine", "evolve"], max_iterations=1)
    assert [run.strategy for run in result.compared] == ["refine", "evolve"]


WORDS = [f"word {number}" for number in range(40)]


@pytest.mark.parametrize(("form", "file"), [("case", "test_it.py"), ("function", "tests/test_it.py")])
def test_a_case_has_the_split_that_it_has_under_pytest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    project = ExampleProject(tmp_path)
    project.ini("promptopt_split = 60/20/20")
    project.write("say.md", "{{ word }}")
    project.tests(
        f"""
        @pytest.mark.prompt("say.md", model="fake/echo")
        @pytest.mark.parametrize(("word", "expected"), [(word, "yes") for word in {WORDS}])
        def test_it(prompt, word, expected):
            assert prompt(word=word) == expected
        """,
        name=file,
    )
    project.run("--promptopt-report=out.json")
    (prompt,) = json.loads((tmp_path / "out.json").read_text())["prompts"]
    tests = {found["id"].partition("[")[2].partition("-")[0]: found["split"] for found in prompt["results"]}

    test = runpy.run_path(str(tmp_path / file))["test_it"]
    result = optimize(
        "say.md",
        [
            Case({"word": word}, "yes", id=word)
            if form == "case"
            else Case.of(functools.partial(test, word=word, expected="yes"), id=word)
            for word in WORDS
        ],
        model="fake/echo",
        optimizer_model="none",
        split="60/20/20",
        max_iterations=1,
        resolve_model=lambda name: FakeModel(),
    )
    events = map(json.loads, (tmp_path / str(result.journal)).read_text().splitlines())
    start = next(event["data"] for event in events if event["event"] == "start")
    assert {case["id"]: case["split"] for case in start["cases"]} == tests
    assert set(tests) == set(WORDS)
    assert len(set(tests.values())) == 3


def test_what_a_function_asserts_reaches_the_optimizer(project: Path) -> None:
    def blocked(prompt: Any) -> None:
        answer = prompt(message="my pin is blocked")
        assert answer == "pin_blocked", "the label alone"

    class Listening(Counted):
        told = ""

        async def complete(self, request: Request) -> Any:
            if "<new_prompt>" in request.messages[-1].content:
                self.told = request.messages[-1].content
            return await super().complete(request)

    model = Listening()
    optimize(
        "sort.md",
        [blocked],
        model="demo",
        optimizer_model="demo",
        max_iterations=1,
        resolve_model=lambda name: model,
    )
    assert "pin_blocked" in model.told
    assert "my pin is blocked" in model.told
    assert "assert answer == 'pin_blocked'" in model.told


def test_what_resolves_models_and_fails_is_named(project: Path) -> None:
    def resolve(name: str) -> None:
        raise KeyError(name)

    with pytest.raises(SettingsError, match=r"resolve_model raised at .*test_scripts\.py:\d+: KeyError"):
        improve(resolve_model=resolve)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"max_calls": 0}, "max_calls: '0' is not a whole number from 1"),
        ({"max_calls": True}, "max_calls: 'on' is not a whole number from 1"),
        ({"max_cost": -1}, "max_cost: '-1' is not an amount in US dollars"),
        ({"max_time": "soon"}, "max_time: 'soon' is not a time above 0"),
        ({"split": "60/20"}, "split: '60/20' is not three percentages"),
        ({"model": "nobody"}, "model: 'nobody' names no model"),
        ({"learn": "maybe"}, "learn: 'maybe' is not on or off"),
        ({"max_call": 5}, r"there is no argument 'max_call'; did you mean max_calls\?"),
        ({"min_pass_rate": 1}, "there is no argument 'min_pass_rate'"),
        ({"write": "yes"}, "write: 'yes' is not True or False"),
        ({"on_iteration": 5}, "on_iteration: 5 is not a function"),
        ({"rootdir": "nowhere"}, "rootdir: 'nowhere' is not a folder"),
        ({"strategy": "luck"}, "strategy: there is no 'luck'; accepted: refine"),
        ({"strategy": "refine,evolve", "write": True}, "names several, which are compared"),
        (
            {"optimizer_model": "none", "strategy": "evolve"},
            "^optimizer_model=none: the strategy evolve needs",
        ),
        ({"model": None}, "sort.md: no model to ask; give model="),
    ],
)
def test_a_wrong_argument_is_named(project: Path, arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        improve(**arguments)
    assert not (project / ".promptopt" / "runs").exists()


def test_all_held_out_is_refused(project: Path) -> None:
    with pytest.raises(SettingsError, match=r"^optimize\(\): all 5 cases are held out.*split='60/20/20'"):
        optimize("sort.md", cases(5, split="heldout"), model="demo", optimizer_model="demo")


@pytest.mark.parametrize("given", [5, "cases", Case({"message": "x"}, "y")])
def test_what_is_no_list_of_cases_is_named(project: Path, given: Any) -> None:
    with pytest.raises(SettingsError, match=r"^cases: .* is not a list of Case"):
        optimize("sort.md", given, model="demo")


def test_a_prompt_that_is_not_there_is_named(project: Path) -> None:
    with pytest.raises(Exception, match=r"optimize\(prompts=\.\.\.\): there is no prompt file 'sart.md'"):
        optimize("sart.md", cases(5), model="demo")


def test_the_example_runs(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples"
    for name in ("script", "support_routing"):
        shutil.copytree(examples / name, tmp_path / name, ignore=shutil.ignore_patterns(".promptopt"))
    prompt = tmp_path / "script" / "prompts" / "route.md"
    before = prompt.read_text()
    ended = subprocess.run(
        [sys.executable, tmp_path / "script" / "optimize_prompt.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    assert ended.stdout.startswith("improved: ")
    assert "heldout: 24% -> " in ended.stdout
    assert prompt.read_text() == before
    assert (tmp_path / "script" / ".promptopt" / "runs").is_dir()

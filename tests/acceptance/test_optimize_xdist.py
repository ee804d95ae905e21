"""`--optimize -n`: workers run the cases, and every decision, call and file is as if there were none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.runs import run_store
from tests.acceptance.desk import CONFTEST, WEAK, Desk
from tests.acceptance.test_resume import DECISIONS

#: Answers that depend on the whole request and nothing else; a text that speaks of luck has more of it.
LUCK = """
import json, os
import pytest
from dataclasses import replace
from pathlib import Path
from pytest_promptopt.models.demo import DemoModel

ASKED = Path(__file__).with_name("asked.log")

class Luck:
    async def complete(self, request):
        with ASKED.open("a", encoding="utf-8") as log:
            log.write(json.dumps([*(m.content for m in request.messages), str(request.sample)]) + chr(10))
        text, number = request.messages[-1].content, int(request.key[:8], 16)
        if "<current_prompt>" in text:
            said = f"<reason>luck</reason><new_prompt>Luck {number % 7}: {{{{ message }}}}</new_prompt>"
        else:
            said = "heads" if number % 100 < 30 + 40 * text.startswith("Luck") else "tails"
        return replace(await DemoModel().complete(request), text=said)

    async def aclose(self):
        pass

def pytest_promptopt_resolve_model(name):
    return Luck()
"""

#: Kills its worker, for the first three times that a candidate is run on one.
KILLED = """
import os, signal
from pathlib import Path
import pytest

HERE = Path(__file__).parent

@pytest.fixture(autouse=True)
def killed(prompt, pytestconfig):
    if prompt.text.startswith("Luck") and hasattr(pytestconfig, "workerinput"):
        for name in "abc":
            try:
                (HERE / name).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
"""

#: Writes down which worker runs which case when a candidate is tried: not so in pytest's own loop.
WITNESS = """
@pytest.fixture(autouse=True)
def witness(request, prompt):
    if prompt.text.startswith("Luck"):
        with Path(__file__).with_name("ran.log").open("a") as log:
            log.write(f"{os.environ['PYTEST_XDIST_WORKER']} {request.node.name}" + chr(10))
"""

#: Notes which process makes a call, and how many are under way then.
CROWD = """
import asyncio

UNDER_WAY = []

class Crowd(Luck):
    async def complete(self, request):
        UNDER_WAY.append(request)
        with Path(__file__).with_name("crowd.log").open("a") as log:
            log.write(f"{os.getpid()} {len(UNDER_WAY)}" + chr(10))
        await asyncio.sleep(0.005)
        UNDER_WAY.remove(request)
        return await super().complete(request)

def pytest_promptopt_resolve_model(name):
    return Crowd()
"""

#: A model that has no credit left when it is asked about one of the tosses.
POOR = """
from pytest_promptopt.errors import ErrorKind, ModelError

class Poor(Luck):
    async def complete(self, request):
        if "toss 20" in request.messages[-1].content:
            raise ModelError(ErrorKind.PAYMENT, "no credit", model=request.model, status=402)
        return await super().complete(request)

def pytest_promptopt_resolve_model(name):
    return Poor()
"""

#: `ssh` to a machine that is this one: as the real one, it hands the command to a shell in another folder.
SSH = """#!/bin/sh
cd {there} && for command; do :; done && exec sh -c "$command"
"""

#: A hook that the run asks.
NOTED = """
def pytest_promptopt_iteration_finished(iteration):
    with Path(__file__).with_name("noted").open("a") as log:
        log.write("iteration" + chr(10))
"""

#: Tells by a file that the run is over.
OVER = """
def pytest_promptopt_run_finished(result):
    Path("over").touch()
"""

#: Exchanges the model of one case for another one.
EXCHANGES = """
@pytest.fixture(autouse=True)
def exchanged(monkeypatch, request):
    if "toss 3-" in request.node.name:
        monkeypatch.setattr(Luck, "mood", "good", raising=False)
"""

#: What tells of clocks and processes.
UNLIKE = {"elapsed"}

#: Decisions whose record says nothing of what was paid in which process.
UNPAID = ("candidate", "results", "stop", "heldout")


@pytest.fixture
def desk(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(pytester)
    desk.write("conftest.py", LUCK)
    desk.cases(
        train=[(f"toss {number}", "heads") for number in range(24)],
        validation=[(f"throw {number}", "heads") for number in range(8)],
        heldout=[(f"cast {number}", "heads") for number in range(6)],
    )
    # Which fresh answers a run asks for depends on its name.
    monkeypatch.setattr(run_store, "_new_id", lambda home: "20300101-000000-000")
    return desk


def optimize(desk: Desk, *args: str, process: bool = False) -> pytest.RunResult:
    own = ("--promptopt-max-iterations=3", "--promptopt-accept=best")
    return desk.optimize(*own, *args, process=process)


def end_of(desk: Desk) -> tuple[Any, ...]:
    """All that a run has decided, in order; the calls that it has paid for; the file. Then it is gone."""
    decided = [(event.event, alike(event.data)) for event in desk.events if event.event in DECISIONS]
    asked = Counter(desk.told)
    text = desk.text
    desk.prompt.write_text(WEAK)
    shutil.rmtree(desk.path / ".promptopt")
    (desk.path / "asked.log").unlink()
    return decided, asked, text


def alike(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: alike(value) for name, value in data.items() if name not in UNLIKE}
    return [alike(value) for value in data] if isinstance(data, list) else data


def statuses(desk: Desk) -> dict[str, str]:
    """How each case ended in pytest's own loop."""
    return {case["id"]: case["status"] for case in desk.report["prompts"][0]["results"]}


@pytest.mark.parametrize("cache", ["use", "off", "refresh"])
def test_workers_decide_nothing(desk: Desk, cache: str) -> None:
    """The same decisions, calls, file and report as in one process, whatever is done with the cache."""
    seen = []
    for workers in ("-n0", "-n2"):
        result = optimize(desk, workers, f"--promptopt-cache={cache}")
        told = ("  before:", "  iteration", "prompts/")
        lines = [line.partition("; ")[0] for line in result.outlines if line.startswith(told)]
        seen.append((result.ret, lines, statuses(desk), *end_of(desk)))
    assert seen[0] == seen[1]
    *_, decided, asked, text = seen[0]
    assert text != WEAK
    assert [event for event, _ in decided].count("iteration") == 3
    assert set(asked.values()) == {1}, "no question is paid for twice"


def test_workers_learn_of_earlier_runs_what_one_process_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers are in the cache, these cases were asked before, and what new texts do to them is known."""
    optimize(desk, "-n0", "--promptopt-seed=1", "--promptopt-max-iterations=1")
    desk.prompt.write_text(WEAK)
    shutil.copytree(desk.path, desk.path.with_name(f"{desk.path.name} as it was"))
    monkeypatch.setattr(run_store, "_new_id", lambda home: "20300102-000000-000")
    seen = []
    for workers in ("-n0", "-n2"):
        result = optimize(desk, workers)
        shutil.rmtree(desk.path / ".promptopt" / "runs" / "20300101-000000-000")
        (told,) = (event.data["told"] for event in desk.events if event.event == "start")
        asked_before = desk.report["run"]["prompts"][0]["asked_before"]
        seen.append((result.ret, told, asked_before, *end_of(desk)))
        shutil.copytree(desk.path.with_name(f"{desk.path.name} as it was"), desk.path, dirs_exist_ok=True)
    assert seen[0] == seen[1]
    _, told, asked_before, *_ = seen[0]
    assert told[0]["taught"]
    assert asked_before == 1


def test_killed_workers_change_nothing(desk: Desk) -> None:
    """Each is replaced; their cases go to others, and the calls that they had begun are not made again."""
    desk.write("conftest.py", LUCK + KILLED)
    assert optimize(desk, "-n0", "--promptopt-cache=off").ret == pytest.ExitCode.TESTS_FAILED
    expected = end_of(desk)
    result = optimize(desk, "-n2", "--promptopt-cache=off")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert all((desk.path / name).exists() for name in "abc"), "three workers were killed"
    result.stdout.fnmatch_lines(["replacing crashed worker gw*"])
    assert end_of(desk) == expected


def test_a_worker_that_comes_when_the_run_is_over_runs_the_new_text(desk: Desk) -> None:
    """It replaces one that has crashed in pytest's own loop."""
    desk.write("conftest.py", LUCK + KILLED.replace("hasattr(", "Path('over').exists() and hasattr(") + OVER)
    result = optimize(desk, "-n1", "--promptopt-max-iterations=1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (desk.path / "c").exists(), "three workers were killed"
    assert desk.text.startswith("Luck")
    result.stdout.fnmatch_lines(["replacing crashed worker gw2", "FAILED *worker 'gw2' crashed while run*"])
    assert len(statuses(desk)) == 24 + 8 + 6 - 3, "all others were run"


def test_a_run_that_has_no_worker_left_is_gone_on_with(desk: Desk) -> None:
    """As one that a ceiling has ended, here without workers: it ends as if nothing had been the matter."""
    desk.write("conftest.py", LUCK + KILLED)
    optimize(desk, "-n0", "--promptopt-cache=off")
    decided, asked, text = end_of(desk)
    result = optimize(desk, "-n2", "--max-worker-restart=0", "--promptopt-cache=off")
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.INTERNAL_ERROR)
    result.stdout.fnmatch_lines(["  stopped:  no worker left: continue with --optimize-resume; *"])
    assert desk.text == WEAK
    desk.run("--optimize-resume", "--tb=no")
    resumed = [number for number, event in enumerate(desk.events) if event.event == "resumed"]
    events = desk.events[resumed[-1] :]
    assert [alike(e.data) for e in events if e.event in UNPAID] == [
        data for event, data in decided if event in UNPAID
    ]
    assert (Counter(desk.told), desk.text) == (asked, text)


def test_what_one_process_began_workers_go_on_with(desk: Desk) -> None:
    """They find the answers of its journal, and go the way that one process would go."""
    optimize(desk, "-n0", "--promptopt-cache=off", "--promptopt-max-calls=60")
    shutil.copytree(desk.path, desk.path.with_name(f"{desk.path.name} as it was"))
    seen = []
    for workers in ("-n0", "-n2"):
        result = desk.run(workers, "--optimize-resume", "--promptopt-max-calls=300", "--tb=no")
        assert "changed since" not in str(result.stdout)
        note = next(line for line in result.outlines if line.startswith("note: continued: "))
        seen.append((result.ret, note, *end_of(desk)))
        shutil.copytree(desk.path.with_name(f"{desk.path.name} as it was"), desk.path, dirs_exist_ok=True)
    assert seen[0] == seen[1]
    assert " 0 new calls" not in seen[0][1]


def test_a_ceiling_is_one_for_all_workers(desk: Desk) -> None:
    """Also for what pytest's own loop asks on them when the run is over."""
    result = optimize(desk, "-n2", "--promptopt-max-calls=90")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    spend = desk.report["run"]["spend"]
    assert sum(role["calls"] for role in spend.values()) == len(desk.told) <= 90


def test_calls_in_flight_are_those_of_all_workers_together(desk: Desk) -> None:
    desk.write("conftest.py", LUCK + CROWD)
    optimize(desk, "-n2", "--promptopt-concurrency=3", "--promptopt-max-iterations=1")
    begun = [line.split() for line in (desk.path / "crowd.log").read_text().splitlines()]
    assert max(int(calls) for _, calls in begun) == 3
    assert len({process for process, _ in begun}) == 1, "so these are all calls"


def test_what_ends_a_run_ends_it_for_all_workers(desk: Desk) -> None:
    """It is enough that one of them is told; the text stays as it is."""
    desk.write("conftest.py", LUCK + POOR)
    result = optimize(desk, "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["  stopped:  refused by the provider: no credit"])
    assert desk.text == WEAK


def test_workers_whose_conftest_raises_are_not_waited_for(desk: Desk) -> None:
    """Their processes go on, and so does our channel to them."""
    desk.write("conftest.py", f"{CONFTEST}\nassert os.getpid() == {os.getpid()}\n")
    result = desk.optimize("-n1", "--max-worker-restart=0")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED, "as without --optimize"
    result.stdout.fnmatch_lines(["*no prompt was optimized, since not all tests could be collected*"])


@pytest.mark.parametrize("dist", ["worksteal", "loadfile", "loadscope"])
def test_tests_may_be_spread_in_any_way(desk: Desk, dist: str) -> None:
    """Where a file or a class belongs to one worker, its cases are run by one worker at a time."""
    desk.write("test_more.py", (desk.path / "test_it.py").read_text().replace("toss", "spin"))
    desk.write("conftest.py", LUCK + WITNESS)
    quick = ("--promptopt-max-iterations=1", "--tb=no")
    result = desk.run("-n4", "--maxprocesses=2", f"--dist={dist}", "-x", "--optimize-dry-run", *quick)
    assert result.ret == pytest.ExitCode.INTERRUPTED, "pytest's own loop ends with the first failure"
    result.stdout.fnmatch_lines(["prompts/sort.md: improved, *"])
    assert desk.text == WEAK
    ran = [line.split() for line in (desk.path / "ran.log").read_text().splitlines()]
    assert {worker for worker, *_ in ran} == {"gw0", "gw1"}, "both try candidates"


def test_a_worker_on_another_machine_needs_no_cache_and_no_prompt_files_of_ours(desk: Desk) -> None:
    """Here it is another folder. Its copy of the prompt stays as it was, yet its tests run the new text."""
    there = desk.path.with_name("there")
    shutil.copytree(desk.path, there / desk.path.name)
    with listening(there) as address:
        tx = f"--tx=socket={address}//chdir={there / desk.path.name}"
        result = optimize(desk, "--dist=load", tx, process=True)  # execnet leaves its socket open
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text != WEAK
    assert (there / desk.path.name / "prompts" / "sort.md").read_text() == WEAK
    assert not (there / desk.path.name / ".promptopt").exists()
    assert not (there / desk.path.name / "asked.log").exists()
    assert set(Counter(desk.told).values()) == {1}
    train = [status for id, status in statuses(desk).items() if "toss" in id]
    assert train.count("passed") == round(24 * desk.report["run"]["prompts"][0]["scores"][0]["after"])


def test_a_worker_may_be_reached_by_ssh(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    there = desk.path.with_name("there")
    shutil.copytree(desk.path, there / desk.path.name)
    ssh = there / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.format(there=there))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    tx = f"--tx=ssh=nearby//python={sys.executable}//chdir={there / desk.path.name}"
    result = optimize(desk, "--dist=load", tx, "--promptopt-max-iterations=1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text != WEAK
    assert (there / desk.path.name / "prompts" / "sort.md").read_text() == WEAK
    assert not (there / desk.path.name / "asked.log").exists()


@contextmanager
def listening(folder: Path) -> Iterator[str]:
    """The address of a server that starts workers in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # What it says must not wait in a buffer.
    command = [sys.executable, "-u", "-m", "execnet.script.socketserver", address]
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()  # it accepts connections
            yield address
        finally:
            server.kill()


def test_ctrl_c_ends_the_workers_and_writes_nothing(desk: Desk) -> None:
    desk.write("conftest.py", CONFTEST)
    desk.write("ctrl-c", "40")
    options = ("--optimize", "-n2", "--tb=no", "-p", "no:asyncio", "--promptopt-max-iterations=3")
    result = desk.pytester.runpytest_subprocess(*options, timeout=90)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["prompts/sort.md: interrupted*"])
    assert desk.text == WEAK


def test_hooks_may_stand_below_the_rootdir(desk: Desk) -> None:
    """Only the workers collect there, but the models are asked, and the hooks too, by the controller."""
    desk.write("conftest.py", "")
    desk.write("tests/conftest.py", LUCK + NOTED)
    desk.write("tests/test_it.py", (desk.path / "test_it.py").read_text().replace("prompts/", "../prompts/"))
    (desk.path / "test_it.py").unlink()
    result = optimize(desk, "-n2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert desk.text != WEAK
    assert (desk.path / "tests" / "noted").read_text() == "iteration\n" * 3


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_calls_that_are_made_inside_their_tests_are_counted_and_kept(desk: Desk, workers: str) -> None:
    """Those of a test that has exchanged a part of its model: nobody else can answer them."""
    desk.write("conftest.py", LUCK + EXCHANGES)
    result = optimize(desk, workers, "--promptopt-max-iterations=1")
    result.stdout.fnmatch_lines(["promptopt: * case* put something else in the place of *"])
    calls = [event.data for event in desk.events if event.event == "call"]
    assert sum(call["sample"] == -1 for call in calls) > 1, "they are in the journal"
    spend = desk.report["run"]["spend"]
    assert sum(role["calls"] for role in spend.values()) == len(calls) == len(desk.told)


class TestWhatCannotBeOptimized:
    """is said as without workers."""

    def test_tests_without_prompts(self, desk: Desk) -> None:
        desk.write("test_it.py", "def test_plain(): pass")
        result = optimize(desk, "-n2")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: --optimize: there is nothing to optimize: none of the 1 *"])

    def test_tests_that_cannot_be_collected(self, desk: Desk) -> None:
        desk.write("test_other.py", "import nothing_of_this_name")
        result = optimize(desk, "-n2")
        assert result.ret == pytest.ExitCode.TESTS_FAILED, "xdist runs the others"
        note = "promptopt: no prompt was optimized, since not all tests could be collected"
        result.stdout.fnmatch_lines(["ERROR test_other.py - *", note])
        assert not (desk.path / ".promptopt" / "runs").exists()

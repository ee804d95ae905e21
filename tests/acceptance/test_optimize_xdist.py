"""`--optimize -n`: workers run the cases, and every decision, call and file is as if there were none."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_promptopt.pytest_session import run_store
from tests.acceptance.desk import HELDOUT, VALIDATION, WEAK, Desk
from tests.acceptance.test_resume import DECISIONS

#: Answers that depend on the whole request and nothing else; a text that speaks of luck has more of it.
LUCK = """
import json, os
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

#: Kills its worker, for the first times that a candidate is run on it.
KILLS = """
    import os, signal
    from pathlib import Path
    if prompt.text.startswith("Luck") and "PYTEST_XDIST_WORKER" in os.environ:
        for name in {names}:
            try:
                Path(__file__).with_name(name).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
"""

#: Clocks; and what one process finds in its cache that another has put there.
UNLIKE = {"elapsed", "journal", "notes", "settings", "told"}


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


def optimize(desk: Desk, *args: str) -> pytest.RunResult:
    return desk.optimize("--promptopt-max-iterations=3", "--promptopt-accept=best", *args)


def end_of(desk: Desk) -> tuple[Any, ...]:
    """All that a run has decided, in order; the calls that it has paid for; the file. Then it is forgotten."""
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
        lines = [line for line in result.outlines if line.startswith(("  before:", "  iteration", "prompts/"))]
        lines = [line.partition("; ")[0] for line in lines]
        seen.append((result.ret, lines, statuses(desk), *end_of(desk)))
    assert seen[0] == seen[1]
    *_, decided, asked, text = seen[0]
    assert text != WEAK
    assert [event for event, _ in decided].count("iteration") == 3
    assert set(asked.values()) == {1}, "no question is paid for twice"


def test_killed_workers_change_nothing(desk: Desk) -> None:
    """Each is replaced; their cases go to others, and the calls that they had begun are not made again."""
    tests = (desk.path / "test_it.py").read_text()
    assert optimize(desk, "-n0", "--promptopt-cache=off").ret == pytest.ExitCode.TESTS_FAILED
    expected = end_of(desk)
    desk.write("test_it.py", tests.replace("label):\n", f"label):{KILLS.format(names=['a', 'b', 'c'])}"))
    result = optimize(desk, "-n2", "--promptopt-cache=off")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert all((desk.path / name).exists() for name in "abc"), "three workers were killed"
    result.stdout.fnmatch_lines(["replacing crashed worker gw*"])
    assert end_of(desk) == expected

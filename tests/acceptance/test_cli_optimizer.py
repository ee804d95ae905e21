"""A person without an API key: the account of an installed command writes the candidates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.projects import Project

ROOT = Path(__file__).parents[2]

#: Stands for Claude Code.
COMMAND = f"""#!{sys.executable}
import json, os, sys, time
asked = sys.stdin.read()
open(os.environ["SEEN"], "a").write(json.dumps([os.getpid(), sys.argv[1:], asked]) + "\\n")
time.sleep(float(os.environ.get("SLEEP", "0")))
said = "<reason>loud</reason><new_prompt>Answer loudly: {{{{ word }}}}</new_prompt>"
usage = {{"input_tokens": 1000, "output_tokens": 50}}
done = {{"type": "result", "subtype": "success", "is_error": False, "result": said, "usage": usage}}
print(json.dumps(done))
"""

LOUD = """
def said(request):
    text = request.messages[-1].content
    word = text.rpartition(": ")[2]
    return word.upper() if "loudly" in text else word
"""

TESTS = """
import pytest

@pytest.mark.parametrize("word", ["a", "b", "c", "d", "e", "f", "g", "h"])
@pytest.mark.prompt("prompts/repeat.md")
def test_loud(prompt, word):
    assert prompt(word=word) == word.upper()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(pytester)
    project.append("conftest.py", LOUD)
    project.write("bin/claude", COMMAND)
    (project.path / "bin/claude").chmod(0o755)
    project.tests(TESTS)
    monkeypatch.setenv("PATH", f"{project.path / 'bin'}{os.pathsep}/bin")
    monkeypatch.setenv("SEEN", str(project.path / "seen.txt"))
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return project


def seen(project: Project) -> list[tuple[int, list[str], str]]:
    path = project.path / "seen.txt"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def test_the_account_writes_candidates(project: Project) -> None:
    result = project.run(
        "--optimize",
        "--promptopt-optimizer-model=claude-cli/opus",
        "--promptopt-max-tokens=500000",
    )
    result.assert_outcomes(passed=8)
    assert (project.path / "prompts/repeat.md").read_text() == "Answer loudly: {{ word }}\n"
    asked = seen(project)
    assert asked
    assert all("--tools" in arguments and "<failures" in text for _, arguments, text in asked)
    [row] = [line.split() for line in result.outlines if line.startswith("optimizer ")]
    assert row[1:4] == [str(len(asked)), f"{1000 * len(asked):,}", str(50 * len(asked))]


def test_without_the_command_nothing_is_paid(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    result = project.run("--optimize", "--promptopt-optimizer-model=claude-cli")
    shown = result.stdout.str() + result.stderr.str()
    assert "claude-cli: there is no command `claude` on PATH: install Claude Code" in shown
    assert (project.path / "prompts/repeat.md").read_text() == "Repeat: {{ word }}\n"
    assert seen(project) == []


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_ctrl_c_ends_the_command_too(project: Project) -> None:
    environment = {**os.environ, "SLEEP": "300", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "--optimize", "--promptopt-optimizer-model=claude-cli"]
    process = subprocess.Popen(
        command, cwd=project.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    end = time.monotonic() + 60
    while not seen(project) and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output.decode()
    end = time.monotonic() + 10
    pids = [pid for pid, *_ in seen(project)]
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

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

#: Stands for Claude Code, or for Codex.
COMMAND = f"""#!{sys.executable}
import json, os, sys, time
asked = sys.stdin.read()
open(os.environ["SEEN"], "a").write(json.dumps([os.getpid(), sys.argv[1:], asked]) + "\\n")
time.sleep(float(os.environ.get("SLEEP", "0")))
is_codex = os.path.basename(sys.argv[0]) == "codex"
said = "<reason>loud</reason><new_prompt>Answer loudly: {{{{ word }}}}</new_prompt>"
usage = {{"input_tokens": 1000, "output_tokens": 50}}
if "LOGGED_OUT" in os.environ and is_codex:
    print(json.dumps({{"type": "turn.failed", "error": {{"message": "unexpected status 401 Unauthorized"}}}}))
    sys.exit(1)
if "LOGGED_OUT" in os.environ:
    print(json.dumps({{"type": "result", "is_error": True, "result": "Not logged in · Please run /login"}}))
    sys.exit(1)
if is_codex:
    print(json.dumps({{"type": "item.completed", "item": {{"type": "agent_message", "text": said}}}}))
    print(json.dumps({{"type": "turn.completed", "usage": usage}}))
else:
    print(json.dumps({{"type": "result", "subtype": "success", "result": said, "usage": usage}}))
"""

COMMANDS = pytest.mark.parametrize("command", ["claude", "codex"])

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
    for name in ("claude", "codex"):
        project.write(f"bin/{name}", COMMAND).chmod(0o755)
    project.tests(TESTS)
    monkeypatch.setenv("PATH", f"{project.path / 'bin'}{os.pathsep}/bin")
    monkeypatch.setenv("SEEN", str(project.path / "seen.txt"))
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return project


def seen(project: Project) -> list[tuple[int, list[str], str]]:
    path = project.path / "seen.txt"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


@COMMANDS
def test_the_account_writes_candidates_and_its_tokens_are_counted(project: Project, command: str) -> None:
    result = project.run(
        "--optimize",
        f"--promptopt-optimizer-model={command}-cli/opus",
        "--promptopt-max-tokens=500000",
        "--promptopt-report=report.json",
    )
    result.assert_outcomes(passed=8)
    assert (project.path / "prompts/repeat.md").read_text() == "Answer loudly: {{ word }}\n"
    asked = seen(project)
    assert asked
    without_tools = {"claude": "--tools", "codex": "features.shell_tool=false"}[command]
    assert all(without_tools in arguments and "<failures" in text for _, arguments, text in asked)
    [row] = [line.split() for line in result.outlines if line.startswith("optimizer ")]
    assert row[1:4] == [str(len(asked)), f"{1000 * len(asked):,}", str(50 * len(asked))]


@COMMANDS
def test_without_the_command_nothing_is_paid(
    project: Project, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("PATH", "/bin")
    result = project.run("--optimize", f"--promptopt-optimizer-model={command}-cli")
    shown = result.stdout.str() + result.stderr.str()
    assert f"{command}-cli: there is no command `{command}` on PATH: install " in shown
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (project.path / "prompts/repeat.md").read_text() == "Repeat: {{ word }}\n"
    assert not seen(project)
    assert not project.asked()


@COMMANDS
def test_without_a_login_it_is_asked_once_and_told_what_to_do(
    project: Project, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("LOGGED_OUT", "1")
    model = f"--promptopt-optimizer-model={command}-cli"
    result = project.run("--optimize", model, "--promptopt-candidates=1")
    shown = " ".join((result.stdout.str() + result.stderr.str()).split())
    what_to_do = {"claude": "run `claude` once and log in", "codex": "run `codex login`"}[command]
    assert f"{command}-cli: `{command}` says: " in shown
    assert what_to_do in shown
    assert "INTERNALERROR" not in shown
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert (project.path / "prompts/repeat.md").read_text() == "Repeat: {{ word }}\n"
    assert len(seen(project)) == 1


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

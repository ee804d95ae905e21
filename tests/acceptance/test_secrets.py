"""Keys are in no output and no file, whatever fails; nothing is sent but to the configured models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire import Body, Reply, WireServer, refused

KEY = "sk-test-0123456789abcdefghij"
MODELS = ("anthropic/claude-haiku-4-5", "openai/gpt-4o-mini")

#: All that makes pytest tell more.
TALKATIVE = (
    "-l",
    "--tb=long",
    "-vv",
    "--log-level=DEBUG",
    "-o",
    "log_cli=true",
    "-rA",
    "--junitxml=junit.xml",
)

TESTS = """
import pytest

@pytest.mark.prompt("say.md")
@pytest.mark.parametrize("word", ["fine", "wrong", "bad", "forged", "html", "reset", "gone"])
def test_say(prompt, word):
    answer = prompt(word=word)
    assert answer == "fine"

@pytest.mark.prompt("say.md")
def test_swallowed(prompt):
    try:
        prompt(word="bad swallowed")
    except Exception:
        assert False
"""

FAULTS = {
    "bad": refused(400, f"bad key {KEY}"),
    "forged": refused(404, f"\x1b[31m{KEY}\x1b[0m is \u202e not known"),
    "html": Reply(body=f"<html>{KEY}</html>"),
    "reset": Reply(fault="reset"),
    "gone": refused(413, f"Authorization: Bearer {KEY}"),
}


def weather(body: Body) -> Reply | None:
    asked = str(body["messages"][-1]["content"])
    return next((reply for word, reply in FAULTS.items() if f"Say {word}" in asked), None)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "say.md").write_text("Say {{ word }}\n", encoding="utf-8")
    (tmp_path / "test_say.py").write_text(TESTS, encoding="utf-8")
    return tmp_path


def run(project: Path, server: WireServer, model: str, *args: str) -> str:
    """All that a run prints."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC", "OPENAI"))},
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": server.url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "ANTHROPIC_LOG": "debug",
        "OPENAI_LOG": "debug",
        "LITELLM_LOG": "DEBUG",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    models = (f"--promptopt-model={model}", f"--promptopt-optimizer-model={model}")
    command = [sys.executable, "-m", "pytest", "-p", "no:asyncio", *models, *args]
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout + done.stderr


def holders(project: Path) -> Iterator[str]:
    """The files that hold the key, or its larger part."""
    for path in project.rglob("*"):
        if path.is_file() and KEY[3:].encode() in path.read_bytes():
            yield str(path.relative_to(project))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", ["plain", "full trace", "optimize", "xdist"])
def test_a_key_is_in_no_output_and_no_file(project: Path, model: str, mode: str) -> None:
    more = {
        "plain": ["--promptopt-report=report.json"],
        "full trace": ["--full-trace"],
        "optimize": ["--optimize", "--promptopt-max-iterations=1", "--promptopt-report=report.json"],
        "xdist": ["-n2"],
    }
    with WireServer(weather=weather) as server:
        output = run(project, server, model, *TALKATIVE, *more[mode])
    assert {r.headers["authorization"] for r in server.requests if "authorization" in r.headers} == {
        f"Bearer {KEY}"
    }
    assert "[redacted]" in output
    assert KEY[3:] not in output
    assert list(holders(project)) == []
    assert list(project.glob(".promptopt/cache/cache.db"))
    assert ("journal.jsonl" in str(list(project.rglob("*")))) is (mode == "optimize")


@pytest.mark.parametrize("model", MODELS)
def test_a_wrong_key_is_one_sentence(project: Path, model: str) -> None:
    with WireServer(weather=lambda body: refused(401, f"invalid x-api-key {KEY}")) as server:
        output = run(project, server, model, *TALKATIVE)
    assert KEY[3:] not in output
    assert list(holders(project)) == []
    stopped = [
        line for line in output.splitlines() if line.startswith("promptopt: ") and "not answered" in line
    ]
    assert len(stopped) == 1
    assert "HTTP 401" in stopped[0]

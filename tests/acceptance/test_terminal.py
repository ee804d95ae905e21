"""What is left on a real terminal after the live display has come and gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.desk import DEMO, TESTS, TRAIN, VALIDATION, WEAK
from tests.terminals import lines_left

pty = pytest.importorskip("pty", reason="needs a terminal")


def on_a_terminal(folder: Path, *args: str) -> list[str]:
    return lines_left(written_to_a_terminal(folder, *args))


def written_to_a_terminal(folder: Path, *args: str) -> str:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "60"}
    command = [sys.executable, "-m", "pytest", "-p", "no:asyncio", *args]
    run = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave, close_fds=True
    )
    os.close(slave)
    written = b""
    try:
        while part := os.read(master, 65536):
            written += part
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(master)
    assert run.wait(60) in (0, 1), written.decode()
    return written.decode()


def test_each_strategy_of_a_comparison_has_its_heading(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "sort.md").write_text(WEAK, encoding="utf-8")
    tests = "import pytest\n" + TESTS.format(train=TRAIN, validation=VALIDATION, heldout=[])
    (tmp_path / "test_sort.py").write_text(tests, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("\n".join(("[pytest]", *DEMO)), encoding="utf-8")
    shown = on_a_terminal(tmp_path, "--optimize-dry-run", "--promptopt-strategy=refine,evolve", "--tb=no")
    assert [line for line in shown if line.startswith("promptopt: strategy ")] == [
        "promptopt: strategy refine",
        "promptopt: strategy evolve",
    ]

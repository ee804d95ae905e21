"""A page or an example as somebody who follows it: files are written, commands run, output compared."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from pytest_promptopt.prompts import PromptFile, write_prose

from .doc_pages import ROOT, Block

#: The prompt of examples/support_routing before any optimization.
ROUTE = """\
You work in the support team of a web shop. Read the ticket and decide which queue should handle it.
The queue is one of: billing, refunds, delivery, returns, access, defects, ideas, sales, privacy.
Reply with the queue name only.

Ticket: {{ ticket }}"""


def example(name: str, to: Path) -> None:
    """Copy an example, with the prompt that it has before any optimization."""
    copytree(ROOT / "examples" / name, to, dirs_exist_ok=True, ignore=ignore_patterns(".*"))
    if name == "support_routing":  # whoever tried the README's first command has another text in the clone
        write_prose(PromptFile.load(to / "prompts/route.md", rootdir=to), ROUTE)


def add_a_case_that_stays_wrong(to: Path) -> None:
    """Add a mail to the example `async_calls` that nothing tells from those of another queue."""
    tests = to / "tests/test_mails.py"
    text = tests.read_text(encoding="utf-8")
    assert "MAILS = [\n" in text
    mail = '    ("Late parcel", "The parcel has not yet arrived.", "account"),\n'
    tests.write_text(text.replace("MAILS = [\n", f"MAILS = [\n{mail}"), encoding="utf-8")


@dataclass
class Story:
    """A page as somebody who follows it: writes its files, runs its commands, compares what they show."""

    pytester: pytest.Pytester
    shown: Sequence[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.pytester.path

    def follow(self, each: Block) -> None:
        if each.purpose in ("file", "append"):
            path = self.path / each.value
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text(encoding="utf-8") + "\n\n" if each.purpose == "append" else ""
            path.write_text(before + each.text, encoding="utf-8")
        elif each.purpose == "exit":
            statuses = [int(status) for status in each.value.split()]
            assert len(statuses) == len(each.commands), f"{each.name}: one exit status per command"
            for command, status in zip(each.commands, statuses, strict=True):
                assert self.run(command) == status, f"{each.name}: {command}"
        elif each.purpose in ("output", "shape"):
            self.compare(each)

    def run(self, command: str) -> int:
        """Run a command line; its output is `shown` then."""
        program, *arguments = shlex.split(command)
        if program == "python":
            result = self.pytester.run(sys.executable, *arguments)
        else:
            assert program == "pytest", f"no test knows how to run {program}"
            result = self.pytester.runpytest_inprocess("-p", "no:asyncio", *arguments)
        self.shown = result.outlines
        return int(result.ret)

    def compare(self, each: Block) -> None:
        """Every line is shown, in this order; ``...`` stands for the rest of a line or for lines."""
        seen = _shape if each.purpose == "shape" else str
        rest = iter([seen(line) for line in self.shown])
        for line in each.text.splitlines():
            if line.strip() not in ("", "..."):
                assert any(_like(seen(line), shown) for shown in rest), f"{each.name}: not shown: {line}"


def shape(each: Block) -> Block:
    """The same block, compared without its figures."""
    return replace(each, purpose="shape")


def _shape(line: str) -> str:
    """`line` with its figures, and how wide they are, made equal."""
    return re.sub(r" +", " ", re.sub(r"\d+(?:[.,]\d+)?", "0", line)).replace(" cases", " case")


def _like(line: str, shown: str) -> bool:
    return shown.startswith(line.removesuffix("...")) if line.endswith("...") else shown == line

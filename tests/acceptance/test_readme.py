"""The README does what it says: its examples run, its tables are complete, its commands are those of CI."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
import yaml

from pytest_promptopt import hookspecs
from pytest_promptopt.options import OPTIONS
from pytest_promptopt.prompts import PromptFile, write_prose
from pytest_promptopt.prompts.frontmatter import FrontMatter
from pytest_promptopt.pytest_engine.mark import Mark
from pytest_promptopt.pytest_session.summary import TOLERATED
from pytest_promptopt.records import Split
from pytest_promptopt.reports.optimization import heldout_verdict
from pytest_promptopt.results import SplitScore
from pytest_promptopt.settings import Settings

from .projects import Project

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: The prompt of examples/support_routing before any optimization.
ROUTE = """\
You work in the support team of a web shop. Read the ticket and decide which queue should handle it.
The queue is one of: billing, refunds, delivery, returns, access, defects, ideas, sales, privacy.
Reply with the queue name only.
"""

#: (language, text) of every fenced block, in order.
BLOCKS = [
    (found[1], found[2]) for found in re.finditer(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
]


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def file_called(name: str) -> str:
    """The text of the first block that starts with ``# name``."""
    return next(text for _, text in BLOCKS if text.startswith(f"# {name}\n"))


def section(title: str) -> str:
    start = README.index(f"# {title}\n")
    end = re.compile(r"^##+ ", re.MULTILINE).search(README, start + len(title))
    return README[start : end.start() if end else None]


def first_cells(title: str) -> list[str]:
    """The code in the first column of the table of a section, row by row."""
    rows = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(.+?)`", row)]


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """The files of the README's first example, and the further prompts that its other tests name."""
    project = Project(pytester)
    for name in ("pytest.ini", "conftest.py"):
        (project.path / name).unlink()
    (prompt,) = blocks("markdown")
    project.write("prompts/route.md", prompt)
    project.write("pyproject.toml", file_called("pyproject.toml"))
    return project


def test_the_first_example_is_checked_and_improved(project: Project) -> None:
    project.write("tests/test_support.py", file_called("tests/test_support.py"))
    checked = project.run()
    checked.assert_outcomes(passed=1, failed=4)
    checked.stdout.fnmatch_lines(["*why prompts fail*", "To let a model rewrite*pytest --optimize"])
    improved = project.run("--optimize")
    improved.stdout.fnmatch_lines(
        [
            "*cases: 3 train, 1 validation, 1 held-out",
            "prompts/route.md: improved, train 33.3% -> 100.0%*",
            "  written:  prompts/route.md",
        ]
    )
    assert (project.path / "prompts/route.md").read_text().startswith(blocks("markdown")[0][:40])


def test_the_shown_failures_are_those_of_the_example(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    copytree(
        ROOT / "examples/support_routing", pytester.path, dirs_exist_ok=True, ignore=ignore_patterns(".*")
    )
    # Whoever tried the README's first command has another text in the clone.
    prompt = PromptFile.load(pytester.path / "prompts/route.md", rootdir=pytester.path)
    write_prose(prompt, f"{ROUTE}\nTicket: {{{{ ticket }}}}")
    shown = pytester.runpytest_inprocess("-p", "no:asyncio", "-q").stdout.lines
    told = [line for line in blocks("text")[0].splitlines() if line.strip() != "..."]
    assert [line for line in told if line not in shown] == []


def test_the_shown_verdict_is_worded_as_the_summary_words_it() -> None:
    score = SplitScore(Split.HELDOUT, 45, 0.244, 0.911, fixed=30, broken=0)
    assert f"  held-out: {heldout_verdict(score, alpha=0.05)}\n" in blocks("text")[1]


def test_every_status_is_explained() -> None:
    rows = re.findall(r"^\| `(\w)` \| `(.+?)` \|", section("A test"), re.MULTILINE)
    assert rows == [(letter, word) for _, letter, word in TOLERATED.values()] + [("E", "ERROR")]


def test_the_fixtures_work_as_shown(project: Project) -> None:
    project.write("tests/test_fixtures.py", file_called("tests/test_fixtures.py"))
    project.write("prompts/facts.md", "Return the amount as JSON with the key amount.\n\n{{ text }}\n")
    project.write("prompts/reply.md", "You answer tickets.\n")
    project.run().assert_outcomes(passed=4)


def test_every_hook_is_shown_and_runs(project: Project) -> None:
    conftest = file_called("conftest.py")
    hooks = {name for name in vars(hookspecs) if name.startswith("pytest_promptopt_")}
    assert set(re.findall(r"^def (pytest_promptopt_\w+)", conftest, re.MULTILINE)) == hooks
    project.write("conftest.py", conftest)
    project.write("tests/test_support.py", file_called("tests/test_support.py"))
    project.run("--promptopt-model=house/echo").stdout.fnmatch_lines(["prompts/route.md: 0/5 cases pass*"])
    optimized = project.run("--optimize", "--promptopt-optimizer-model=house/fixed", "-s")
    optimized.stdout.fnmatch_lines(["[[]('prompts/route.md', *"])


def test_its_ini_values_are_accepted(project: Project) -> None:
    shown = re.findall(r"`(promptopt_\w+ = .+?)`", README)
    assert len(shown) == 2
    project.write("pyproject.toml", file_called("pyproject.toml") + "\n".join(shown))
    project.write("tests/test_support.py", file_called("tests/test_support.py"))
    project.run("--strict-config").stdout.fnmatch_lines(["promptopt: 1 prompt, cases: *"])


def test_the_option_table_names_what_help_lists(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest_inprocess("-p", "no:asyncio", "--help").stdout.str()
    group = shown.split("prompt evaluation and optimization:")[1].split("\n\n")[0]
    listed = re.findall(r"^  (--[\w-]+)", group, re.MULTILINE)
    assert [name for name in first_cells("Options") if name.startswith("--")] == listed
    assert "`promptopt_split` exists in the ini file only" in section("Options")
    only = [option.ini for option in OPTIONS if option.flag is None]
    assert only == ["promptopt_least_gain", "promptopt_split"]
    assert all(f"`{name}`" in section("Options") for name in only)


def test_the_option_table_names_the_defaults(tmp_path: Path) -> None:
    settings = Settings(rootdir=tmp_path)
    told = dict(re.findall(r"^\| `--promptopt-([\w-]+)` \|.*\| (.+?) \|$", section("Options"), re.MULTILINE))
    for option in OPTIONS:
        if option.flag is not None:
            value, shown = getattr(settings, option.field), told[option.flag].strip("`")
            if value is None:
                assert shown in ("none", "no limit"), option.flag
            else:
                assert option.parse(option.ini, shown) == value, option.flag


def test_the_other_tables_are_complete() -> None:
    marked = {*Mark.__annotations__} - {"paths", "parameters"}
    assert set(first_cells("The mark")) == marked
    written = {*FrontMatter.__annotations__} - {"lines"} | {"temperature"}
    assert set(first_cells("Prompt files")) == written


def test_both_commands_set_everything_up() -> None:
    run, test = blocks("sh")
    for command in (run, test):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert len(command.strip().splitlines()) == 1, "one command each"
    assert (ROOT / shlex.split(run)[shlex.split(run).index("cd") + 1] / "pyproject.toml").is_file()


def test_ci_runs_the_command_of_the_tests() -> None:
    words = shlex.split(blocks("sh")[1])
    requirement = next(word for word in words if word.startswith(".["))
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert words[-4:] == ["-m", "pytest", "-n", "auto"]
    assert f'python -m pip install --quiet "{requirement}"\n' in script
    assert "\npython -m pytest -n auto\n" in script


def test_the_workflow_is_valid() -> None:
    (text,) = blocks("yaml")
    command = next(step["run"] for step in yaml.safe_load(text) if "pytest" in step.get("run", ""))
    flags = {f"--promptopt-{option.flag}" for option in OPTIONS} | {"--promptopt-report"}
    assert {word.partition("=")[0] for word in command.split()[1:]} <= flags


def test_links_lead_somewhere() -> None:
    for text, target in re.findall(r"\[([\w. ]+)\]\(([\w./#-]+)\)", README):
        if target.startswith("#"):
            assert target == "#" + text.lower().replace(" ", "-")
            assert section(text)
        else:
            assert (ROOT / target).exists(), target

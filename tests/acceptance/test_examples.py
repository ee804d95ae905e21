"""Somebody tries an example: it is checked, it is optimized, and its README says how that ends."""

from __future__ import annotations

import runpy
import shlex

import pytest

from .doc_pages import ROOT, block
from .story import Story, example, shape

EXAMPLES = ROOT / "examples"

#: Those on `demo`: how many of their cases pass at first, and the exit status of `pytest --optimize`.
ON_DEMO = {
    "application": (6, 18, 0),
    "async_calls": (4, 12, 0),
    "code_pipeline": (15, 53, 0),
    "csv_cases": (15, 60, 1),
    "json_extraction": (0, 42, 1),
    "judged_summary": (2, 40, 1),
    "pipeline": (9, 26, 1),
    "support_routing": (38, 144, 1),
}
#: Those that are tried in another way; `ci_workflow` in test_ci_recipes.py.
OTHERS = {"ci_workflow", "real_model", "script"}


def test_every_example_is_tried() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if (path / "README.md").is_file()}
    assert folders <= {*ON_DEMO, *OTHERS}
    assert set(ON_DEMO) <= folders


@pytest.mark.parametrize("name", ON_DEMO)
def test_it_is_checked_and_improved(name: str, story: Story) -> None:
    passing, cases, status = ON_DEMO[name]
    example(name, story.path)
    assert story.run("pytest -q") == 1
    checked = [line for line in story.shown if f" {passing}/{cases} cases pass (" in line]
    assert checked
    files = {path: path.read_bytes() for path in story.path.rglob("*") if path.suffix in (".md", ".py")}
    assert story.run("pytest --optimize") == status
    assert any(": improved" in line for line in story.shown)
    (written, *_) = [path for path, before in files.items() if path.read_bytes() != before]
    assert written.relative_to(story.path).as_posix() in (f"prompts/{written.name}", "shop/support.py")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("sum(values)", ""),
        ("def solve(values):\n    print('hello')\n    return sum(values)", ""),
        ("max(values)", "it makes 2, not 3"),
        ("summ(values)", "NameError: name 'summ' is not defined"),
        ("{1, 2}", "TypeError: Object of type set is not JSON serializable"),
        ("open('out', 'w').write('x' * (1 << 21))", "File too large"),
        ("__import__('os')._exit(0)", "it ended without a result"),
        ("[0] * (1 << 40)", "MemoryError"),
        ("while True: pass", "stopped at a limit"),
    ],
)
def test_the_code_of_the_pipeline_runs_within_limits(code: str, said: str) -> None:
    sandbox = runpy.run_path(str(EXAMPLES / "code_pipeline/tests/code_sandbox.py"))
    problem = sandbox["problem_of"](code, [1, 2], 3)
    assert problem.startswith("with [1, 2]") if said else problem == ""
    assert said in problem


def test_the_application_works_without_the_plugin(story: Story) -> None:
    example("application", story.path)
    modules = [path.read_text(encoding="utf-8") for path in story.path.rglob("*.py")]
    assert not any("promptopt" in module for module in modules)
    assert story.run("pytest --optimize") == 0
    assert story.run("pytest -p no:promptopt -W ignore") == 0


def test_the_main_job_of_the_readme_ends_as_shown(story: Story) -> None:
    example("support_routing", story.path)
    words = shlex.split(block("README.md", "try-it").text)
    program = words.index("../../.venv/bin/pytest")
    assert story.run(shlex.join(["pytest", *words[program + 1 :]])) == 0
    story.compare(shape(block("README.md", "result")))


def test_the_judge_of_the_example_is_certified_as_stored(story: Story) -> None:
    """After a change of the package's judge prompt: ``pytest --promptopt-calibrate`` in the example."""
    example("judged_summary", story.path)
    certificate = story.path / "tests/labels.certificate.json"
    stored = certificate.read_bytes()
    assert story.run("pytest --promptopt-min-pass-rate=80%") == 1
    assert any("certified by" in line for line in story.shown)
    certificate.unlink()
    assert story.run("pytest --promptopt-min-pass-rate=80%") == pytest.ExitCode.USAGE_ERROR
    assert story.run("pytest --promptopt-calibrate") == 0
    assert certificate.read_bytes() == stored


def test_a_judged_prompt_is_improved_and_its_gate_holds(story: Story) -> None:
    example("judged_summary", story.path)
    assert story.run("pytest --optimize --promptopt-min-pass-rate=80%") == 0
    assert any("held-out: the gain carries over" in line for line in story.shown)
    assert story.run("pytest --promptopt-min-pass-rate=80%") == 0


def test_the_example_of_a_real_model_works_on_demo(story: Story) -> None:
    example("real_model", story.path)
    assert story.run("pytest --promptopt-model=demo --promptopt-min-pass-rate=10%") == 0

"""README and docs say what is so: their blocks run, their tables are complete, their links lead somewhere."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import pytest_promptopt
from pytest_promptopt.completion import Completion
from pytest_promptopt.options import OPTIONS
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.frontmatter import FrontMatter
from pytest_promptopt.prompts.prompt_matching import MIN_FIXED, PromptMatch, match_prompt
from pytest_promptopt.prompts.prompt_replacing import replace
from pytest_promptopt.prompts.template_languages import LANGUAGES
from pytest_promptopt.pytest_engine.mark import SIGNATURE, Mark
from pytest_promptopt.pytest_session.summary import TOLERATED
from pytest_promptopt.records import Message, Split
from pytest_promptopt.replay.prompt_calls import Prompt
from pytest_promptopt.reports.evidence_wording import heldout_verdict
from pytest_promptopt.results import SplitScore
from pytest_promptopt.runs.past import OPENED, RESUMED
from pytest_promptopt.settings import Settings
from pytest_promptopt.thresholds import GateName
from tests.unit.test_rooms import FLOORS

from .doc_pages import PAGES, ROOT, anchors, block, blocks, first_cells, project_of, section
from .loaded_script import load_script
from .story import Story, example

PACKAGE = Path(pytest_promptopt.__file__).parent

#: What a test of this file says about a block that is neither run nor written to a file.
CHECKED: dict[tuple[str, str], str] = {
    ("README.md", "try-it"): "test_both_commands_set_everything_up",
    ("README.md", "run-the-tests"): "test_ci_runs_the_command_of_the_tests",
    ("README.md", "failures"): "test_the_shown_failures_are_those_of_the_example",
    ("README.md", "result"): "test_the_shown_verdict_is_worded_as_the_summary_words_it",
    **{
        ("docs/explanation/recognition.md", name): "test_a_call_is_recognised_and_replaced_as_shown"
        for name in ("prompt", "message", "values", "candidate", "replaced")
    },
    ("docs/how-to/ci.md", "workflow"): "test_the_steps_shown_are_those_of_the_workflow",
    ("docs/reference/mark.md", "signature"): "test_the_shown_signature_is_that_of_the_mark",
    ("docs/architecture.md", "way-of-a-text"): "test_every_module_named_exists",
    ("docs/architecture.md", "way-of-optimize"): "test_every_module_named_exists",
}

STORIES = [page for page in PAGES if any(each.purpose in ("file", "exit") for each in blocks(page))]


# ------------------------------------------------------------------------------------------------- the blocks


@pytest.mark.parametrize("page", STORIES)
def test_whoever_follows_a_page_sees_what_it_shows(page: str, story: Story) -> None:
    name = project_of(page)
    if name in PAGES:
        for each in blocks(name):
            if each.purpose in ("file", "append"):
                story.follow(each)
    elif name:
        example(name, story.path)
    for each in blocks(page):
        story.follow(each)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_name_and_a_test(page: str) -> None:
    names = [each.name for each in blocks(page)]
    assert "" not in names, "write <!-- name: NAME; PURPOSE --> before each block"
    assert len(set(names)) == len(names)
    for each in blocks(page):
        assert each.purpose in ("file", "append", "exit", "output", "shape", "checked", "not run"), each.name
        if each.purpose == "checked":
            assert CHECKED[page, each.name] in globals(), each.name


def test_a_call_is_recognised_and_replaced_as_shown(tmp_path: Path) -> None:
    page = "docs/explanation/recognition.md"
    text = {each.name: each.text for each in blocks(page)}
    (tmp_path / "route.md").write_text(text["prompt"], encoding="utf-8")
    prompt = PromptFile.load(Path("route.md"), rootdir=tmp_path)
    sent = [Message("user", text["message"])]
    match = match_prompt([prompt], sent)

    assert isinstance(match, PromptMatch)
    assert match.variables == json.loads(text["values"])
    assert replace(match, prompt.with_prose(text["candidate"]), sent) == (Message("user", text["replaced"]),)
    assert f"fewer than {MIN_FIXED} letters" in section(page, "Where it may stand")
    assert first_cells(section(page, "Template languages")) == list(LANGUAGES)


def test_the_shown_failures_are_those_of_the_example(story: Story) -> None:
    example("support_routing", story.path)
    story.run("pytest -q")
    story.compare(block("README.md", "failures"))


def test_the_shown_verdict_is_worded_as_the_summary_words_it() -> None:
    shown = block("README.md", "result").text
    figures = re.search(r"held-out ([\d.]+)% -> ([\d.]+)%\n(?s:.*) (\d+) cases fixed, (\d+) broken", shown)
    assert figures is not None
    before, after = (float(each) / 100 for each in figures.groups()[:2])
    fixed, broken = (int(each) for each in figures.groups()[2:])
    score = SplitScore(Split.HELDOUT, 45, before, after, fixed=fixed, broken=broken)
    assert round(score.cases * (after - before)) == fixed - broken
    assert f"  held-out: {heldout_verdict(score, alpha=0.05)}\n" in shown


def test_both_commands_set_everything_up() -> None:
    commands = [block("README.md", name).text for name in ("try-it", "run-the-tests")]
    for command in commands:
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert len(command.strip().splitlines()) == 1, "one command each"
    words = shlex.split(commands[0])
    assert (ROOT / words[words.index("cd") + 1] / "pyproject.toml").is_file()


def extras(requirement: str) -> set[str]:
    """The extras of `.[test,litellm]`."""
    return set(requirement.removeprefix(".[").removesuffix("]").split(","))


def test_ci_runs_the_command_of_the_tests() -> None:
    words = shlex.split(block("README.md", "run-the-tests").text)
    requirement = next(word for word in words if word.startswith(".["))
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    installed = re.search(r'^python -m pip install --quiet "(\.\[.*\])"$', script, re.MULTILINE)
    assert words[-4:] == ["-m", "pytest", "-n", "auto"]
    assert installed
    assert extras(requirement) | {"docs"} == extras(installed[1])
    assert "\npython -m pytest -n auto\n" in script


def test_the_steps_shown_are_those_of_the_workflow() -> None:
    path = ROOT / "examples/ci_workflow/.github/workflows/prompts.yml"
    whole = iter(yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]["gate"]["steps"])
    for step in yaml.safe_load(block("docs/how-to/ci.md", "workflow").text):
        assert step in whole, "in this order"


def test_the_shown_signature_is_that_of_the_mark() -> None:
    shown = block("docs/reference/mark.md", "signature").text
    assert shown.splitlines()[0] == SIGNATURE.partition(", or ")[0]


# ------------------------------------------------------------------------------------ options, and the pages


@pytest.mark.parametrize("page", PAGES)
def test_every_option_named_exists(page: str) -> None:
    named = set(re.findall(r"(?<![\w-])--(?:promptopt|optimize)[\w-]*\b", PAGES[page]))
    assert named - set(first_cells(PAGES["docs/reference/options.md"])) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_ini_value_shown_is_accepted(page: str) -> None:
    parse = {option.ini: option.parse for option in OPTIONS}
    for name, value in re.findall(r"`(promptopt_\w+) = (.+?)`", PAGES[page]):
        parse[name](name, value.strip('"'))


def test_the_option_table_names_what_help_lists(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest_inprocess("-p", "no:asyncio", "--help").stdout.str()
    group = shown.split("prompt evaluation and optimization:")[1].split("\n\n")[0]
    listed = re.findall(r"^  (--[\w-]+)", group, re.MULTILINE)
    table = PAGES["docs/reference/options.md"].partition("<!-- end of generated -->")[0]
    assert re.findall(r"^\| `(--[\w-]+)`", table, re.MULTILINE) == listed
    only = [option.ini for option in OPTIONS if option.flag is None]
    assert re.findall(r"^\|  \| `(\w+)`", table, re.MULTILINE) == only
    assert all(f"`{name}`" in table.partition("ini file only")[0] for name in only)


def test_the_option_table_names_the_defaults(tmp_path: Path) -> None:
    settings = Settings(rootdir=tmp_path)
    row = re.compile(r"^\| .* \| `promptopt_(\w+)` \| .* \| (.+?) \|$", re.MULTILINE)
    told = dict(row.findall(PAGES["docs/reference/options.md"]))
    for option in OPTIONS:
        value, shown = getattr(settings, option.field), told[option.field].strip("`")
        if value is None or value == ():
            assert shown == "none", option.field
        else:
            assert option.parse(option.ini, shown) == value, option.field


def test_the_generated_parts_are_those_of_the_code() -> None:
    """Mend it with ``python docs/generate_reference.py``."""
    module = load_script(ROOT / "docs/generate_reference.py")
    outdated: Callable[[], dict[Path, str]] = module.outdated
    assert [page.name for page in outdated()] == []
    assert len(module.PARTS) == sum("<!-- generated: " in text for text in PAGES.values())


@pytest.mark.parametrize("page", ["docs/reference/api.md", "docs/reference/testing.md"])
def test_every_public_method_says_what_it_does(page: str) -> None:
    assert re.findall(r"^\* `(?:async )?\w+\(.*`$", PAGES[page], re.MULTILINE) == []


def test_the_examples_of_the_hooks_are_whole() -> None:
    shown = re.findall(r"^Example.*?:\n\n```python\n(.*?)^```", PAGES["docs/reference/hooks.md"], re.M | re.S)
    assert len(shown) == PAGES["docs/reference/hooks.md"].count("\n## pytest_promptopt_")
    for code in shown:
        compile(code, "example", "exec")


def test_every_argument_of_the_mark_is_documented() -> None:
    marked = {*Mark.__annotations__, *GateName} - {"paths", "parameters", "thresholds"}
    assert set(first_cells(PAGES["docs/reference/mark.md"])) == marked


def test_every_key_of_the_front_matter_is_documented() -> None:
    written = {*FrontMatter.__annotations__} - {"lines", "hints", "foreign"} | {"temperature"}
    assert set(first_cells(PAGES["docs/reference/prompt-files.md"])) == written


def test_what_the_fixture_gives_is_documented() -> None:
    named = set(re.findall(r"`prompt\.(\w+)", section("docs/reference/fixtures.md", "prompt")))
    assert {name for name in vars(Prompt) if not name.startswith("_")} <= named | {"acall"}
    told = set(re.findall(r"`\.(\w+)", section("docs/reference/fixtures.md", "Completion")))
    assert told == {*Completion.__annotations__, "json"}


def test_every_status_is_explained() -> None:
    text = section("docs/reference/statuses.md", "Statuses")
    rows = re.findall(r"^\| `(\w)` \| `(.+?)` \|", text, re.MULTILINE)
    assert rows == [(letter, word) for _, letter, word in TOLERATED.values()] + [("E", "ERROR")]


def _events() -> Iterator[str]:
    """The names of the events that the code writes to a journal."""
    yield from (OPENED, RESUMED)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            owner = ast.unparse(node.func.value)
            if (node.func.attr == "append" and owner.endswith("journal")) or (
                node.func.attr in ("record", "_record") and owner.endswith(("context", "self"))
            ):
                names = [each for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)]
                yield from (str(each.value) for each in names if isinstance(each.value, str))


def test_every_event_of_the_journal_is_documented() -> None:
    text = section("docs/reference/journal.md", "The journal").partition("These are the events")[2]
    assert set(first_cells(text)) == set(_events())


# ------------------------------------------------------------------------------------------- the architecture


def test_every_room_stands_on_its_floor() -> None:
    rows = re.findall(r"^\| (\d+) \| (`.+?`) \|", section("docs/architecture.md", "The rooms"), re.MULTILINE)
    shown = {int(number): set(re.findall(r"`(\w+)`", rooms)) for number, rooms in rows}
    assert shown == dict(enumerate(FLOORS, start=1))


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_module_named_exists(page: str) -> None:
    named = set(re.findall(r"(?<![\w/.>])((?:\w+/)*\w+\.py|(?:\w+/)+)(?![\w.])", PAGES[page]))
    missing = {name for name in named if not ((PACKAGE / name).exists() or (ROOT / name).exists())}
    assert missing - {"pytest_promptopt/"} == set()
    assert len(named) > 5


def test_every_name_of_the_code_exists() -> None:
    """A name that CONTRIBUTING gives is defined somewhere: a function, a class, a constant, a module."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    defined = {*re.findall(r"(?:def|class) (\w+)|^([A-Z_]+)\b.* = ", code, re.MULTILINE)}
    named = set(re.findall(r"`(?:self\.(?:context\.)?)?([A-Za-z_]{4,})`", PAGES["CONTRIBUTING.md"]))
    missing = named - {name for pair in defined for name in pair} - {"utils"}
    assert missing == set()
    assert len(named) > 12


# ------------------------------------------------------------------------------------------------ the whole


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].encode()) <= 8 * 1024


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.resolve().relative_to(ROOT).as_posix()), target


def test_the_sphinx_build_is_part_of_ci() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert re.search(r"^sphinx-build -W .* &$", script, re.MULTILINE)
    assert re.search(r"^wait .* \|\| failed\+=", script, re.MULTILINE), "a failing build fails the whole"


def test_pages_are_plain_markdown() -> None:
    """They are read on GitHub too: beside the lists of pages there is no directive of the generator."""
    for page, text in PAGES.items():
        assert set(re.findall(r"^```\{(\w+)", text, re.MULTILINE)) <= {"toctree"}, page

"""In a project without prompt tests the plugin costs nothing and leaves nothing."""

from __future__ import annotations

import pytest

from pytest_promptopt.options import OPTIONS

HEAVY = (
    "anthropic",
    "litellm",
    "jinja2",
    "jsonschema",
    "yaml",
    "deepdiff",
    "rich",
    "filelock",
    "asyncio",
    "opentelemetry",
    "sqlite3",
)

REPORT = f"""
import sys

def loaded():
    return sorted(name for name in {HEAVY!r} if name in sys.modules)

def pytest_configure(config):
    print("at start:", loaded())

def pytest_unconfigure(config):
    print("at end:", loaded())
    print("own:", sorted(name for name in sys.modules if name.startswith("pytest_promptopt.")))
"""


def test_nothing_heavy_is_imported_and_nothing_written(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # other plugins import some of it themselves
    pytester.makeconftest(REPORT)
    pytester.makepyfile("def test_it():\n    assert True\n\ndef test_bad():\n    assert False\n")
    result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider", "-p", "promptopt")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["at start: [[][]]", "*at end: [[][]]"])
    own = next(line for line in result.outlines if line.startswith("own: "))
    assert own == (
        "own: ['pytest_promptopt.errors', 'pytest_promptopt.hookspecs', "
        "'pytest_promptopt.option_combinations', 'pytest_promptopt.option_table', "
        "'pytest_promptopt.option_values', 'pytest_promptopt.options', 'pytest_promptopt.plugin', "
        "'pytest_promptopt.settings', 'pytest_promptopt.suites', 'pytest_promptopt.suites.file_endings', "
        "'pytest_promptopt.unpatched']"
    )
    assert not (pytester.path / ".promptopt").exists()


def test_nothing_is_printed_but_the_plugins_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it():\n    assert False\n")
    outputs = [
        [
            line
            for line in pytester.runpytest_inprocess("-p", "no:asyncio", *args).outlines[:-1]
            if "plugins:" not in line
        ]
        for args in ((), ("-p", "no:promptopt"))
    ]
    assert outputs[0] == outputs[1]


def test_a_prompt_test_that_is_deselected_costs_nothing_either(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", say="Say: {{ word }}")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.prompt("say.md")
        def test_prompt(prompt):
            prompt(word="a")

        def test_plain():
            pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-k", "plain")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.no_fnmatch_line("promptopt:*")
    assert not (pytester.path / ".promptopt").exists()


def test_help_lists_every_option_and_ini_value(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "--help")
    assert result.ret == pytest.ExitCode.OK
    text = result.stdout.str()
    assert "prompt evaluation and optimization:" in text
    for option in OPTIONS:
        assert option.flag is None or f"--promptopt-{option.flag}=" in text
        assert f"  {option.ini} (" in text
    for name in ("--optimize ", "--optimize-dry-run", "--promptopt-report=", "promptopt_report ("):
        assert name in text


def test_markers_are_listed(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "--markers")
    result.stdout.fnmatch_lines(
        ["@pytest.mark.prompt(path, *", "@pytest.mark.validation: *", "@pytest.mark.heldout: *"]
    )


def test_fixtures_are_listed(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "--fixtures")
    result.stdout.fnmatch_lines(["prompt -- *plugin.py:*", "    The prompt file named by *", "prompts -- *"])


def test_switched_off_it_is_gone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(prompt):\n    pass\n")
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:promptopt")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'prompt' not found*"])
    result = pytester.runpytest_inprocess("-p", "no:asyncio", "-p", "no:promptopt", "--optimize")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


LOADED_AND_KEPT = """
import sys
from pytest_promptopt.records import Answer

class House:
    async def complete(self, request):
        asked = request.messages[-1].content
        said = "SCORE: 1.0" if "<criterion>" in asked else asked
        return Answer(said, request.model, "end_turn", None, None, 0.0)

    async def aclose(self): ...

def pytest_promptopt_resolve_model(name):
    return House()

def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.stats["passed"]:
        print("kept:", *report.promptopt)

def pytest_unconfigure(config):
    rooms = ("failures", "strategies", "reports", "optimizer.proposal", "optimizer.verdict_model")
    for room in (*rooms, "pytest_session.gate_samples", "driver", "grading", "replay.judge_calls"):
        print("loaded:", *(name for name in sys.modules if f"pytest_promptopt.{room}" in name))
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["plain", "xdist"])
@pytest.mark.parametrize("judged", [False, True], ids=["", "judged"])
def test_what_passes_loads_nothing_that_explains_failures_and_keeps_no_answer(
    pytester: pytest.Pytester, workers: tuple[str, ...], judged: bool
) -> None:
    """Pytest keeps every report to the end: ten thousand answers would be kept with them."""
    pytester.makeconftest(LOADED_AND_KEPT)
    pytester.makefile(".md", say="Say: {{ word }}")
    fixtures, check = ("prompt, judge", "judge(answer, 'is short')") if judged else ("prompt", "answer")
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.prompt("say.md")
        def test_prompt({fixtures}):
            answer = prompt(word="a")
            assert {check}
        """
    )
    models = ("--promptopt-model=house/a", "--promptopt-judge-model=house/a")
    result = pytester.runpytest_subprocess("-s", "-p", "no:asyncio", *models, *workers)
    result.assert_outcomes(passed=1)
    # Of the reports, what is needed for the line of calls, and to say how it goes if that takes long.
    wording = " ".join(
        f"pytest_promptopt.reports{name}" for name in ("", ".wording", ".live_wording", ".screen")
    )
    wording = f"loaded: {wording}"
    result.stdout.fnmatch_lines(["kept: *status*", "loaded:", "loaded:", wording, *["loaded:"] * 4])
    result.stdout.no_fnmatch_line("kept: *outcomes*")
    if not judged:
        result.stdout.no_fnmatch_line("loaded: *grading*")
        result.stdout.no_fnmatch_line("loaded: *judge_calls*")

"""Options and ini values are checked before anything runs: exit code 4 and one sentence."""

from __future__ import annotations

import pytest

from pytest_promptopt.options import OPTIONS, Option
from tests.acceptance.projects import Project

TEST = """
@pytest.mark.prompt("prompts/repeat.md")
def test_it(prompt):
    assert prompt(word="a") == "a"
"""

#: One wrong value of each setting, and a part of the sentence about what fits.
WRONG = {
    "model": ("gpt", "accepted are 'anthropic/<model>'"),
    "from_model": ("gpt", "accepted are 'anthropic/<model>'"),
    "optimizer_model": ("gpt", "accepted are 'anthropic/<model>'"),
    "candidates": ("11", "a whole number from 1 to 10"),
    "examples": ("17", "not auto, off or a whole number from 1 to 16"),
    "learn": ("yes", "not on or off"),
    "least_gain": ("-0.5", "a number of points from 0, such as 0.5"),
    "max_iterations": ("0", "a whole number from 1"),
    "plateau": ("few", "a whole number from 1"),
    "target": ("1.5", "a share from 0 to 1 (0.9) or a percentage (90%)"),
    "accept": ("any", "not one of improved, best"),
    "alpha": ("0.6", "not a number above 0 and at most 0.5, such as 0.05"),
    "max_calls": ("-1", "a whole number from 1"),
    "max_tokens": ("some", "a whole number from 1"),
    "max_time": ("1d", "a time above 0, such as 90, 90s, 15m or 2h"),
    "max_cost": ("free", "an amount in US dollars above 0"),
    "concurrency": ("0", "a whole number from 1 to 1000"),
    "samples": ("1.5", "a whole number from 1"),
    "seed": ("-1", "a whole number from 0"),
    "cache": ("on", "not one of use, refresh, off"),
    "min_pass_rate": ("most", "a share from 0 to 1 (0.9) or a percentage (90%)"),
    "gate": ("strict", "rate, interval"),
    "undecided": ("skip", "fail, pass"),
    "gate_confidence": ("0.4", "a confidence from 0.5 to below 1"),
    "gate_population": ("prompts", "answers, cases"),
    "gate_split": ("train", "all, heldout"),
    "max_cost_per_case": ("-1.0", "an amount in US dollars above 0"),
    "p95_latency": ("fast", "a time above 0"),
    "gate_margin": ("-1.0", "a number of points from 0"),
    "gate_samples": ("1", "a whole number from 2"),
    "gate_partial": ("yes", "on or off"),
    "fail_on": ("all", "not one of significant, any"),
    "compare_margin": ("-0.5", "a number of points from 0, such as 0.5"),
    "split": ("60/20", "add up to 100"),
    "mutate_by": ("delete,shout", "not one of delete, weaken, negate, or several of them"),
    "strategy": ("refine,,evolve", "separated by commas"),
    "intercept": ("models.example.com", "is not on, off, +HOST (all its requests) or -HOST (none of them)"),
    "judge_model": ("gpt", "accepted are 'anthropic/<model>'"),
    "embedding_model": ("small", "accepted are 'anthropic/<model>'"),
    "judge_prompt": ("", "is not the path of a file"),
    "prompt": ("", "is not the path of a file"),
    "judge_labels": (",", "is not a list of paths of files"),
    "judge_threshold": ("7", "a share from 0 to 1 (0.9) or a percentage (90%)"),
    "judge_floor": ("high", "a share from 0 to 1 (0.9) or a percentage (90%)"),
    "critique": ("yes", "not one of auto, on, off"),
    "foreign_suites": (",", "is not a list of paths of files"),
    "ignore_fields": ("a.b", "is not a list of names, such as request_id session_id"),
}


def refused(result: pytest.RunResult, *parts: str) -> None:
    """The session ended with a usage error of one sentence that has all `parts`; nothing ran."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    output = result.stderr.str() + result.stdout.str()
    lines = [line for line in output.splitlines() if all(part in line for part in parts)]
    assert len(lines) == 1, output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output


def test_the_table_below_has_every_setting() -> None:
    assert set(WRONG) == {option.field for option in OPTIONS}


@pytest.mark.parametrize(
    "option", [o for o in OPTIONS if o.flag is not None], ids=lambda option: option.field
)
def test_a_wrong_option_names_itself_the_value_and_what_fits(
    pytester: pytest.Pytester, option: Option
) -> None:
    field, flag = option.field, option.flag
    given, fits = WRONG[field]
    project = Project(pytester)
    project.tests(TEST)
    refused(project.run(f"--promptopt-{flag}={given}"), f"--promptopt-{flag}: ", repr(given), fits)
    assert project.asked() == []


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_ini_value_names_itself_the_value_and_what_fits(
    pytester: pytest.Pytester, field: str
) -> None:
    given, fits = WRONG[field]
    project = Project(pytester)
    project.ini(f"promptopt_{field} = {given}")
    project.tests(TEST)
    refused(project.run(), f"promptopt_{field}: ", repr(given), fits)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ('promptopt_samples = "many"', ["promptopt_samples: 'many' is not a whole number from 1"]),
        ("promptopt_samples = true", ["promptopt_samples: 'True' is not a whole number from 1"]),
        ("promptopt_samples = 1.5", ["promptopt_samples: '1.5' is not a whole number from 1"]),
        ("promptopt_target = 95", ["promptopt_target: '95", "a share from 0 to 1"]),
        ("promptopt_model = 3", ["promptopt_model: '3' names no model"]),
        ("promptopt_cache = false", ["promptopt_cache: 'False' is not one of use, refresh, off"]),
        ("promptopt_split = [60, 20, 20]", ["promptopt_split: '[60, 20, 20]'", "such as 60/20/20"]),
        (
            'promptopt_report = "out.json"',
            ["promptopt_report", "expects a list", "accepted is a list of paths"],
        ),
        (
            'promptopt_report = ["out.xlsx"]',
            ["promptopt_report: 'out.xlsx' is not the path of a report", ".json", ".md"],
        ),
    ],
)
def test_a_wrong_value_of_a_toml_type(pytester: pytest.Pytester, value: str, parts: list[str]) -> None:
    project = Project(pytester)
    (project.path / "pytest.ini").unlink()
    project.write("pyproject.toml", f"[tool.pytest]\n{value}\n")
    refused(project.run(), *parts)


CONFIGS = {
    "pytest.ini": (
        "[pytest]\npromptopt_model = house/x\npromptopt_samples = 2\npromptopt_min_pass_rate = 90%\n"
        "promptopt_max_cost = $1.50\npromptopt_split = 100/0/0\npromptopt_report =\n    a.json\n    b.json\n"
    ),
    "pyproject.toml": (
        '[tool.pytest]\npromptopt_model = "house/x"\npromptopt_samples = 2\npromptopt_min_pass_rate = 0.9\n'
        'promptopt_max_cost = 1.5\npromptopt_split = "100/0/0"\npromptopt_report = ["a.json", "b.json"]\n'
    ),
    "ini_options": (
        '[tool.pytest.ini_options]\npromptopt_model = "house/x"\npromptopt_samples = "2"\n'
        'promptopt_min_pass_rate = "90%"\npromptopt_max_cost = "1.5"\npromptopt_split = "100/0/0"\n'
        'promptopt_report = ["a.json", "b.json"]\n'
    ),
}

SHOW = """
from pytest_promptopt.plugin import settings_key

def test_it(request):
    settings = request.config.stash[settings_key]
    assert settings.model == "house/x"
    assert settings.samples == 2
    assert settings.min_pass_rate == 0.9
    assert settings.max_cost == 1.5
    assert settings.split == (1.0, 0.0, 0.0)
    assert settings.reports == tuple(request.config.rootpath / name for name in ("a.json", "b.json"))
"""


@pytest.mark.parametrize("config", CONFIGS)
def test_all_kinds_of_ini_files_say_the_same(pytester: pytest.Pytester, config: str) -> None:
    project = Project(pytester)
    (project.path / "pytest.ini").unlink()
    project.write(config if config != "ini_options" else "pyproject.toml", CONFIGS[config])
    project.tests(SHOW)
    project.run("--strict-config").assert_outcomes(passed=1)


def test_an_option_beats_its_ini_twin(pytester: pytest.Pytester) -> None:
    project = Project(pytester, "promptopt_cache = nonsense")
    project.tests(TEST)
    project.run("--promptopt-cache=off").assert_outcomes(passed=1)
    assert not (project.path / ".promptopt").exists()


@pytest.mark.parametrize("path", ["out.pdf", "out", "."])
def test_a_report_that_cannot_be_written_is_refused_at_once(pytester: pytest.Pytester, path: str) -> None:
    project = Project(pytester)
    project.tests(TEST)
    refused(project.run(f"--promptopt-report={path}"), f"--promptopt-report: '{path}'", ".json")
    assert project.asked() == []


@pytest.mark.parametrize("mode", ["--optimize", "--optimize-dry-run"])
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (("--lf",), "--lf"),
        (("--ff",), "--ff"),
        (("--sw",), "--sw"),
        (("--collect-only",), "--collect-only"),
        (("--setup-only",), "--setup-only"),
        (("--setup-plan",), "--setup-plan"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_refinement_cannot_go_with(
    pytester: pytest.Pytester, mode: str, other: tuple[str, ...], reason: str
) -> None:
    project = Project(pytester)
    project.tests(TEST)
    refused(project.run(mode, *other), f"{mode}", reason, "leave")
    assert project.asked() == []


def test_only_one_of_the_two_modes(pytester: pytest.Pytester) -> None:
    refused(Project(pytester).run("--optimize", "--optimize-dry-run"), "--optimize and --optimize-dry-run")


@pytest.mark.parametrize(
    "option",
    [
        "--promptopt-gates=rate",
        "--promptopt-save=x",
        "--promptopt-max",
        "--optimize-again",
    ],
)
def test_options_that_do_not_exist_are_unknown(pytester: pytest.Pytester, option: str) -> None:
    refused(Project(pytester).run(option), "unrecognized arguments", option)


def test_an_unknown_ini_value_is_refused_by_strict_config(pytester: pytest.Pytester) -> None:
    project = Project(pytester, "promptopt_gates = rate")
    project.tests("def test_it(): pass")
    refused(project.run("--strict-config"), "Unknown config option: promptopt_gates")


def test_two_thresholds_for_one_prompt_name_both_lines(pytester: pytest.Pytester) -> None:
    project = Project(pytester)
    project.tests(
        """
        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0.5)
        def test_one(prompt):
            assert prompt(word="a") == "a"

        @pytest.mark.prompt("prompts/repeat.md", min_pass_rate=0.9)
        def test_two(prompt):
            assert prompt(word="a") == "a"
        """
    )
    refused(
        project.run(),
        "prompts/repeat.md: two different min_pass_rate",
        "0.5 at test_it.py:3",
        "0.9 at test_it.py:7",
    )
    assert project.asked() == []

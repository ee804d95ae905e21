"""The public door: what it offers is there, documented, and costs nothing before it is used."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

import pytest_promptopt
from pytest_promptopt import api, testing

PACKAGES = ("pytest", "_pytest", "pluggy", "anthropic", "litellm", "rich", "deepdiff", "jinja2", "yaml")


def loaded_by(code: str) -> set[str]:
    """Which of `PACKAGES`, and which modules of ours, a fresh Python has loaded after `code`."""
    looked_for = (*PACKAGES, "pytest_promptopt")
    found = f"[name for name in sys.modules if name.partition('.')[0] in {looked_for}]"
    script = f"{code}\nimport json, sys\nprint(json.dumps({found}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("name", api.__all__)
def test_everything_public_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(api, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        own = found.__dict__.get("__doc__") if inspect.isclass(found) else found.__doc__
        assert own, f"{name} has no docstring"


#: For tests alone, since it gives what pytest parametrizes them with.
OF_PYTEST = {"cases"}


@pytest.mark.parametrize("name", sorted({*pytest_promptopt.__all__} - OF_PYTEST))
def test_what_the_package_offers_is_what_the_api_offers(name: str) -> None:
    assert getattr(pytest_promptopt, name) is getattr(api, name)


def test_cases_is_the_function_whatever_was_imported_before() -> None:
    code = "import pytest_promptopt.suites.suite_reading; from pytest_promptopt import cases"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}; print(cases.__name__)"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "cases\n"


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'pytest_promptopt' has no attribute 'optimise'"):
        pytest_promptopt.optimise  # noqa: B018


def test_the_package_alone_loads_nothing() -> None:
    assert loaded_by("import pytest_promptopt") == {"pytest_promptopt"}


@pytest.mark.parametrize(
    "code",
    [
        "import pytest_promptopt.api",
        "import pytest_promptopt.testing",
        "from pytest_promptopt import Case, aoptimize, load_prompt, optimize",
    ],
)
def test_nothing_public_loads_pytest_or_an_sdk(code: str) -> None:
    assert not {"pytest", "_pytest", "pluggy", "anthropic", "litellm"} & loaded_by(code)


def test_load_prompt_loads_no_optimizer() -> None:
    ours = loaded_by("from pytest_promptopt import load_prompt; load_prompt")
    assert not {name for name in ours if ".optimizer" in name or ".models" in name or ".driver" in name}


def test_the_arguments_are_documented_by_the_names_of_the_options() -> None:
    from pytest_promptopt.option_table import OPTIONS
    from pytest_promptopt.scripting.arguments import NOT_FOR_SCRIPTS, OTHERS

    fields = {option.field for option in OPTIONS} - NOT_FOR_SCRIPTS
    assert set(api.OptimizeArguments.__annotations__) == fields | OTHERS


def test_the_harness_is_documented() -> None:
    for kind in (testing.FakeModel, testing.ExampleProject, testing.ProjectFolder, testing.ProjectRun):
        public = [kind, *(value for name, value in vars(kind).items() if name[0] != "_" and callable(value))]
        assert all(each.__doc__ for each in public), kind

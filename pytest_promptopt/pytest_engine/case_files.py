"""Files of cases as pytest collects them: each case is a test like any other, and no Python is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.errors import ModelError, PromptoptError, RenderError, SettingsError
from pytest_promptopt.failed_checks import CheckFailed
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.suite import SkippedCase, Suite
from pytest_promptopt.suites.suite_reading import read_suite

if TYPE_CHECKING:
    from pytest_promptopt.replay.judge_calls import CaseJudge
    from pytest_promptopt.replay.prompt_calls import Prompt

#: The argument of the functions that cases are given to.
ARGUMENT = "case"


class CaseFile(pytest.Module):
    """A file of cases. Its module is made in memory: a test function for each prompt."""

    def _getobj(self) -> ModuleType:
        return ModuleType(self.path.name.partition(".")[0])

    def collect(self) -> Iterator[pytest.Item]:
        """Raises `CollectError` with the ``file:line`` of a mistake."""
        try:
            suite = self.read()
            check_cases(suite, self.config.rootpath)
        except PromptoptError as error:
            raise self.CollectError(str(error)) from None
        self.session._fixturemanager.parsefactories(self)
        for name, function in test_functions(suite):
            yield from internals.cases_of_function(self, name, function, CaseItem)

    def read(self) -> Suite:
        """What the file says. Raises `PromptoptError`."""
        return read_suite(self.path, self.config.rootpath)


class CaseItem(pytest.Function):
    """One case of a file."""

    @property
    def given(self) -> FileCase | SkippedCase:
        """What it is about."""
        found: FileCase | SkippedCase = self.callspec.params[ARGUMENT]
        return found

    def reportinfo(self) -> tuple[Path, int, str]:
        file, _, line = self.given.where.rpartition(":")
        return self.config.rootpath / file, int(line) - 1, self.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A sentence where nothing of the user's own code has raised."""
        error = excinfo.value
        if not isinstance(error, (CheckFailed, PromptoptError)):
            return super().repr_failure(excinfo)
        where = error.failure.where if isinstance(error, CheckFailed) else self.given.where
        file, _, line = where.rpartition(":")
        lines = str(error).splitlines() or [type(error).__name__]
        return internals.told_failure(lines, file, int(line), lines[0])


def test_functions(suite: Suite) -> Iterator[tuple[str, Callable[..., object]]]:
    """The tests that a suite stands for, each with its name: one for each prompt, judged cases apart."""
    for prompt, name in zip(suite.prompts, names_of(suite.prompts), strict=True):
        for cases in _in_runs(suite.cases):
            yield name, _test_function(suite, prompt, cases)
    if suite.skipped:
        yield "skipped", _skipping(suite)


test_functions.__test__ = False  # type: ignore[attr-defined]


def names_of(prompts: Sequence[str]) -> list[str]:
    """What the tests of the prompts are called: the names of their files, with folders where two are alike."""
    paths = [Path(prompt.partition("::")[0]).with_suffix("").as_posix() for prompt in prompts]
    inside = ["".join(prompt.partition("::")[1:]).removeprefix("::") for prompt in prompts]
    short = [each or Path(path).name for path, each in zip(paths, inside, strict=True)]
    counts = Counter(short)
    return [
        name
        if counts[name] == 1
        else "-".join(filter(None, (path.replace("../", "").replace("/", "-"), each)))
        for name, path, each in zip(short, paths, inside, strict=True)
    ]


def _in_runs(cases: Iterable[FileCase]) -> Iterator[list[FileCase]]:
    """The cases in their order, those that need the judge apart from the others."""
    run: list[FileCase] = []
    for case in cases:
        if run and run[-1].judged is not case.judged:
            yield run
            run = []
        run.append(case)
    if run:
        yield run


def _test_function(suite: Suite, prompt: str, cases: Sequence[FileCase]) -> Callable[..., object]:
    def asked(prompt: Prompt, case: FileCase) -> None:
        __tracebackhide__ = True
        case.check(_ask(prompt, case))

    def judged(prompt: Prompt, judge: CaseJudge, case: FileCase) -> None:
        __tracebackhide__ = True
        case.check(_ask(prompt, case), judge)

    function: Callable[..., object] = judged if cases[0].judged else asked
    given: dict[str, Any] = {
        "samples": suite.samples,
        "min_pass_rate": suite.min_pass_rate,
        "template": suite.template or None,
        **suite.parameters,
    }
    given = {name: value for name, value in given.items() if value is not None}
    models = suite.models or ((suite.model,) if suite.model else ())
    if len(models) > 1:
        params = [
            _param(case, f"{case.id}-{model}", pytest.mark.prompt(prompt, model=model, **given))
            for case in cases
            for model in models
        ]
    else:
        params = [_param(case, case.id) for case in cases]
        given |= {"model": models[0]} if models else {}
        function = pytest.mark.prompt(prompt, **given)(function)
    return _placed(pytest.mark.parametrize(ARGUMENT, params)(function), suite, "prompt", "prompts")


def _param(case: FileCase, id: str, *marks: pytest.MarkDecorator) -> Any:
    split = [getattr(pytest.mark, case.split)] if case.split in ("heldout", "validation") else []
    return pytest.param(case, id=id, marks=[*split, *marks])


def _ask(prompt: Prompt, case: FileCase) -> Any:
    __tracebackhide__ = True
    variables = {name: value for name, value in case.inputs.items() if name in prompt.variables}
    return prompt(messages=case.messages, **variables)


def _skipping(suite: Suite) -> Callable[..., object]:
    def skipped(case: SkippedCase) -> None:
        pytest.skip(case.reason)

    params = [
        pytest.param(each, id=each.id, marks=pytest.mark.skip(reason=f"{each.where}: {each.reason}"))
        for each in suite.skipped
    ]
    return _placed(pytest.mark.parametrize(ARGUMENT, params)(skipped), suite)


def _placed(function: Any, suite: Suite, *keys: str) -> Callable[..., object]:
    """`function` as if it stood in the file, at the line of a key: that is where pytest says that it is."""
    line = next((suite.lines[key] for key in keys if key in suite.lines), 1)
    function.__code__ = function.__code__.replace(co_filename=str(suite.path), co_firstlineno=line)
    placed: Callable[..., object] = function
    return placed


def check_cases(suite: Suite, rootdir: Path) -> None:
    """Raises `PromptoptError` where a case lacks a variable that one of its prompts needs."""

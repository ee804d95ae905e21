"""Files of cases as pytest collects them: each case is a test like any other, and no Python is written."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.failed_checks import CheckFailed
from pytest_promptopt.prompts import PromptFile, locate_prompt_file
from pytest_promptopt.prompts.frontmatter import SAME_LENGTH, is_connection
from pytest_promptopt.prompts.template_languages import LANGUAGES, NONE
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.mark import lengths_in, problem_of
from pytest_promptopt.replay.file_cases import ask_and_check
from pytest_promptopt.settings import ROOTS
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.suite import SkippedCase, Suite
from pytest_promptopt.suites.suite_reading import read_cases, read_suite
from pytest_promptopt.text import join_words, quote, shown_path, unused_name

if TYPE_CHECKING:
    from pytest_promptopt.replay.judge_calls import CaseJudge
    from pytest_promptopt.replay.prompt_calls import Prompt

#: The argument of the functions that cases are given to.
ARGUMENT = "case"


class CaseFile(pytest.Module):
    """A file of cases. Its module is made in memory: a test function for each prompt."""

    #: Who names the prompts, where the file does not.
    named_by = ""

    def _getobj(self) -> ModuleType:
        return ModuleType(self.path.name.partition(".")[0])

    def collect(self) -> Iterator[pytest.Item]:
        """Raises `CollectError` with the ``file:line`` of a mistake."""
        try:
            suite = self.read()
            check_parameters(suite, self.config.rootpath)
            check_variables(suite, self.config.rootpath, where=self.named_by)
        except PromptoptError as error:
            raise self.CollectError(str(error)) from None
        for name, function in test_functions(suite):
            yield from internals.cases_of_function(self, name, function, CaseItem)

    def read(self) -> Suite:
        """What the file says. Raises `PromptoptError`."""
        return read_suite(self.path, self.config.rootpath)


class CaseTableFile(CaseFile):
    """A table of cases, for the prompt file that the command line or the ini file names."""

    named_by = "--promptopt-prompt"

    def __init__(self, prompt: str, **given: Any) -> None:
        """:param prompt: its path, from the current folder, from that of the table or from rootdir."""
        super().__init__(**given)
        self._prompt = prompt

    def read(self) -> Suite:
        here = self.config.invocation_params.dir / self._prompt
        prompt = str(here) if os.path.isfile(str(here).partition("::")[0]) else self._prompt
        return Suite(self.path, (prompt,), cases=read_cases(self.path, self.config.rootpath))


class CaseItem(pytest.Function):
    """One case of a file."""

    @property
    def given(self) -> FileCase | SkippedCase:
        """What it is about."""
        found: Any = self.callspec.params[ARGUMENT]
        return found  # type: ignore[no-any-return]

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
    """What the tests of the prompts are called: by their files, with folders where two are alike."""
    addresses = [prompt.partition("::") for prompt in prompts]
    paths = [Path(path).with_suffix("").as_posix() for path, _, _ in addresses]
    short = [inside or Path(path).name for path, (_, _, inside) in zip(paths, addresses, strict=True)]
    whole = [
        "-".join(filter(None, (path.replace("../", "").replace("/", "-"), inside)))
        for path, (_, _, inside) in zip(paths, addresses, strict=True)
    ]
    counts = Counter(short)
    names: list[str] = []
    for one, other in zip(short, whole, strict=True):  # `a.md` and `../a.md`: no two tests have one name
        names.append(unused_name(one if counts[one] == 1 else other, names))
    return names


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
        ask_and_check(prompt, case)

    def judged(prompt: Prompt, judge: CaseJudge, case: FileCase) -> None:
        __tracebackhide__ = True
        ask_and_check(prompt, case, judge)

    function: Callable[..., object] = judged if cases[0].judged else asked
    given: dict[str, Any] = {
        "model": suite.model,
        "samples": suite.samples,
        **{name.value: value for name, value in suite.thresholds.items()},
        "template": suite.template or None,
        **suite.parameters,
    }
    given = {name: value for name, value in given.items() if value is not None}
    function = pytest.mark.prompt(prompt, **given)(function)
    params = [_param(case) for case in cases]
    return _placed(pytest.mark.parametrize(ARGUMENT, params)(function), suite, "prompt", "prompts")


def _param(case: FileCase) -> Any:
    split = [getattr(pytest.mark, case.split)] if case.split in ("heldout", "validation") else []
    return pytest.param(case, id=case.id, marks=split)


def _skipping(suite: Suite) -> Callable[..., object]:
    def skipped(case: SkippedCase) -> None:
        pytest.skip(case.reason)

    params = [
        pytest.param(each, id=each.id, marks=pytest.mark.skip(reason=each.reason)) for each in suite.skipped
    ]
    return _placed(pytest.mark.parametrize(ARGUMENT, params)(skipped), suite)


def _placed(function: Any, suite: Suite, *keys: str) -> Callable[..., object]:
    """`function` as if it stood in the file, at the line of a key: that is where pytest says that it is."""
    line = next((suite.lines[key] for key in keys if key in suite.lines), 1)
    function.__code__ = function.__code__.replace(co_filename=str(suite.path), co_firstlineno=line)
    placed: Callable[..., object] = function
    return placed


def check_parameters(suite: Suite, rootdir: Path) -> None:
    """Raises `SettingsError` at the line of a parameter of the model that is none, or has a wrong value."""
    given = suite.parameters
    problems = {name: problem_of(name, value) for name, value in given.items()}
    problems |= {name: f"{name} {SAME_LENGTH}" for name in lengths_in(given)[1:]}
    for name, problem in problems.items():
        if problem:
            where = f"{shown_path(suite.path, rootdir)}:{suite.lines.get(f'parameters.{name}', 1)}"
            got = "" if is_connection(name) else f", got {quote(given[name])}"  # it may be a key
            raise SettingsError(f"{where}: `parameters`: {problem}{got}")


def check_variables(suite: Suite, rootdir: Path, *, where: str = "") -> None:
    """Raises `PromptoptError` where a case lacks a variable that one of its prompts needs.

    :param where: who names the prompts; empty where the suite does.
    """
    language = LANGUAGES.get(suite.template)
    for prompt in suite.prompts:
        line = next((suite.lines[key] for key in ("prompts", "prompt") if key in suite.lines), 1)
        named = where or f"{shown_path(suite.path, rootdir)}:{line}"
        address = locate_prompt_file(prompt, test_dir=suite.path.parent, rootdir=rootdir, where=named)
        file = PromptFile.load(address, rootdir=rootdir, language=language)
        for case in suite.cases:
            missing = sorted(file.needed - case.inputs.keys())
            if missing:
                raise SettingsError(_lacking(case, missing, file))
        if not file.variables and (said := _in_another_language(suite.cases, file)):
            raise SettingsError(said)


def _lacking(case: FileCase, missing: Sequence[str], file: PromptFile) -> str:
    unused = [name for name in case.inputs if name not in file.variables]
    near = get_close_matches(missing[0], unused, n=1)
    hint = f"; did you mean `{missing[0]}` by `{near[0]}`?" if near else ""
    has = f"; its inputs are {', '.join(case.inputs)}" if case.inputs and not near else ""
    names = join_words([f"`{name}`" for name in missing])
    return f"{case.where}: the case does not give {names}, which {file.name} needs{hint}{has}"


def _in_another_language(cases: Iterable[FileCase], file: PromptFile) -> str:
    """What is wrong when a prompt without variables has inputs as another language writes them, or empty."""
    if file.language is NONE:  # somebody says that it has none
        return ""
    for language in LANGUAGES.values():
        try:
            names = language.read(file.prose, name=file.name, line=1).variables
        except PromptoptError:
            continue
        for case in cases:
            if name := next((name for name in case.inputs if name in names), None):
                return (
                    f"{case.where}: {file.name} is read as {file.language.name}, in which `{name}` is no "
                    f"variable of it; write {file.language.written(name)}, or `template: {language.name}` in "
                    "its front matter"
                )
    return ""


def cases(path: str | Path, *, dialect: str | None = None) -> list[Any]:
    """The cases of a file, for ``@pytest.mark.parametrize("case", cases("tickets.csv"))``.

    Each is a `FileCase`: ``case["ticket"]`` is an input, ``case.expected`` the expected answer, and
    ``case.check(prompt(**case))`` raises when the answer is not what the case asks for. The ids, splits and
    tags of the cases are those of the file.

    :param path: of a ``.csv``, ``.tsv``, ``.jsonl``, ``.json``, ``.yaml`` or ``.promptopt.yaml`` file,
        relative to the file of the caller, then to rootdir.
    :param dialect: of a CSV file, one of `csv.list_dialects`; None finds out what separates its cells.
    :raises SettingsError: with ``file:line``, what is there and what is accepted.
    """
    frame = sys._getframe(1)
    given: object = path
    if not isinstance(given, (str, Path)) or not str(given).strip() or "\0" in str(given):
        raise SettingsError(f"cases({path!r}): it takes the path of a file of cases")
    folder, root = Path(frame.f_code.co_filename).parent, ROOTS[-1] if ROOTS else Path.cwd()
    places = list(dict.fromkeys((folder / path, root / path)))
    found = next((place for place in places if os.path.isfile(place)), None)
    if found is None:
        looked = " and ".join(map(str, places))
        raise SettingsError(f"cases({str(path)!r}): there is no such file; looked for {looked}")
    return [_param(case) for case in read_cases(found, root, dialect=dialect)]

"""The cases of a script, resolved: their prompt files, split, name and body."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_promptopt.assertions.plain_values import parameter_text
from pytest_promptopt.errors import NoModelError, SettingsError
from pytest_promptopt.models.registry import canonical_name
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Case as CaseRecord
from pytest_promptopt.records import Message, Request
from pytest_promptopt.replay.case_identity import case_identity, prompt_paths, question_text
from pytest_promptopt.replay.case_requests import parameter_lines, request_of
from pytest_promptopt.replay.identity_split import split_by_identity
from pytest_promptopt.scripting.case_bodies import (
    CaseBody,
    CheckedAnswer,
    ExpectedAnswer,
    FunctionBody,
    plain_function,
)
from pytest_promptopt.scripting.given_cases import Case, takes
from pytest_promptopt.settings import Settings
from pytest_promptopt.text import shown_path


@dataclass(frozen=True, eq=False)
class ScriptCase:
    """A case with everything that its runs need.

    :param values: what the case is about, by name.
    :param model: of the settings; prompt files may name others.
    :param scratch: a folder for copies of candidates.
    :param path: the file that its function stands in, if it is one.
    """

    case: CaseRecord
    files: Mapping[str, PromptFile]
    body: CaseBody
    values: Mapping[str, Any]
    identity: str
    model: str | None
    scratch: Path
    path: Path | None = None
    asks: bool = True
    waiting_hint: str = ""
    frozen: frozenset[str] = frozenset()

    def model_of(self, file: PromptFile) -> str:
        """The model that answers `file`. Raises `NoModelError` when none is named."""
        model = file.front.model or self.model
        if model is None:
            raise NoModelError(
                f"{file.name}: no model to ask; give model='PROVIDER/MODEL', or `model:` in the front "
                "matter; `demo` needs no key"
            )
        return canonical_name(model)

    def request(
        self, file: PromptFile, messages: Sequence[Message], response_schema: object, *, sample: int
    ) -> Request:
        """The request of one call. Raises `SettingsError`."""
        model = self.model_of(file)
        return request_of(file, messages, response_schema, model=model, parameters={}, sample=sample)

    def bare_request(self, file: PromptFile) -> Request:
        """A request of its calls without messages: whom it asks, and with which parameters."""
        return self.request(file, (), None, sample=0)

    def parameter_lines(self, file: PromptFile) -> dict[str, str]:
        """Where each parameter of a call is set: ``file:line`` of the front matter."""
        return parameter_lines(file)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the path of a file that goes along with a prompt may begin."""
        return (*([self.path.parent] if self.path else []), Path.cwd())

    def temporary(self) -> Path:
        """A folder for copies of candidates, gone with the run."""
        return self.scratch

    @property
    def parameters(self) -> Mapping[str, str]:
        """`values` as short texts."""
        return {name: parameter_text(value) for name, value in self.values.items()}


def resolve_cases(
    given: Sequence[Case | Callable[..., Any]],
    files: Mapping[str, PromptFile],
    settings: Settings,
    scratch: Path,
) -> dict[str, ScriptCase]:
    """The cases by id, in order. Raises `SettingsError` that names the case, what was given and what fits.

    :param files: the prompts by stage; a single prompt's stage is ``""``.
    """
    found: dict[str, ScriptCase] = {}
    for number, (name, case) in enumerate(_named(given), start=1):
        if name in found:
            raise SettingsError(f"cases: {name!r} is the id of two cases (number {number} is the second)")
        found[name] = _resolved(name, case, files, settings, scratch)
    if not found:
        raise SettingsError(
            "cases: there is none; give Case(inputs, expected), Case(inputs, check=...) or functions"
        )
    return found


def _named(given: Sequence[object]) -> Iterator[tuple[str, Case]]:
    """Each case with a name of its own."""
    seen = Counter[str]()
    for number, each in enumerate(given, start=1):
        if isinstance(each, Case):
            case = each
        elif callable(each):
            case = Case.of(each)
        else:
            raise SettingsError(
                f"cases: number {number} is {each!r:.80}; accepted: Case(...), or a function that takes "
                "`prompt`"
            )
        if case.id:
            yield case.id, case
        elif case.function is None:
            yield f"case {number}", case
        else:
            name = getattr(plain_function(case.function), "__name__", f"case {number}")
            seen[name] += 1
            yield name if seen[name] == 1 else f"{name} {seen[name]}", case


def _resolved(
    name: str, given: Case, files: Mapping[str, PromptFile], settings: Settings, scratch: Path
) -> ScriptCase:
    body: CaseBody
    path: Path | None = None
    values: Mapping[str, Any] = given.inputs
    where = name
    used = files
    if given.function is not None:
        if takes(given.function) == "prompt" and len(files) > 1:
            raise SettingsError(
                f"{name}: there are several prompts ({', '.join(files)}), so a function takes `prompts`: "
                'prompts["STAGE"](...)'
            )
        body = FunctionBody(given.function, str(settings.rootdir))
        values = body.values
        path, where = _place(given.function, settings.rootdir, name)
    else:
        stage = _stage(name, given.prompt, files)
        used = {stage: files[stage]}
        if given.check is not None:
            body = CheckedAnswer(given.inputs, given.check, stage, str(settings.rootdir))
        else:
            body = ExpectedAnswer(given.inputs, given.expected, stage)
            values = {**given.inputs, "expected": given.expected}
    names = tuple(dict.fromkeys(file.name for file in used.values()))
    # As under pytest: a function is a test of its file, any other case one of a file in the project's folder.
    folder, place, seen = settings.rootdir, [name], list(names)
    if path is not None:
        folder, place = path.parent, [path.name, name]
        seen = prompt_paths((file.place for file in used.values()), folder)
    question = None if given.function and not values else question_text(values, folder, name)
    record = CaseRecord(
        id=name,
        prompts=names,
        split=given.split or split_by_identity(case_identity(seen, question, place), settings.split),
        samples=given.samples or settings.samples,
        where=where,
    )
    identity = case_identity(names, question, place)
    case = ScriptCase(record, used, body, values, identity, settings.model, scratch, path)
    models = {}
    for file in used.values():
        with suppress(NoModelError):  # an error of the run, with a sentence of its own
            models[file.name] = case.model_of(file)
    return replace(case, case=replace(record, models=tuple(models.get(each, "") for each in names)))


def _stage(name: str, wanted: str, files: Mapping[str, PromptFile]) -> str:
    if len(files) == 1 and not wanted:
        return next(iter(files))
    if wanted not in files:
        raise SettingsError(f"{name}: prompt={wanted!r} must be one of {', '.join(map(repr, files))}")
    return wanted


def _place(function: Callable[..., Any], rootdir: Path, name: str) -> tuple[Path | None, str]:
    """The file that `function` stands in, and ``file:line``."""
    code = getattr(plain_function(function), "__code__", None)
    if code is None:
        return None, name
    path = Path(code.co_filename)
    return (path if path.is_file() else None), f"{shown_path(path, rootdir)}:{code.co_firstlineno}"

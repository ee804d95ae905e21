"""From collected pytest items to cases: the mark, the prompt files, the models, the splits."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import NoModelError, PromptFileError, PromptoptError, SettingsError
from pytest_promptopt.evaluation import internals
from pytest_promptopt.evaluation.capture import plain
from pytest_promptopt.evaluation.mark import MARK, Mark, is_json
from pytest_promptopt.models.registry import canonical
from pytest_promptopt.prompts import PromptFile, locate
from pytest_promptopt.records import Case, Message, Request, Split
from pytest_promptopt.settings import Settings

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


@dataclass(frozen=True, eq=False)
class PromptCase:
    """An item with everything that its runs need. `problem` is raised by its fixture instead of a run."""

    item: pytest.Item
    case: Case
    files: Mapping[str, PromptFile]
    mark: Mark | None
    model: str | None
    problem: PromptoptError | None = None

    @property
    def replays(self) -> bool:
        """Whether the case may be run again from the top to find its answers."""
        return self.mark is not None and self.mark.replay

    def model_of(self, file: PromptFile) -> str:
        """The model that answers `file`: the mark decides over the front matter, that over the settings.

        Raises `SettingsError` when none is named.
        """
        model = (self.mark and self.mark.model) or file.front.model or self.model
        if model is None:
            raise NoModelError(
                f"{file.name}: no model to ask; set --promptopt-model=PROVIDER/MODEL (ini promptopt_model), "
                "model= in @pytest.mark.prompt or `model:` in the front matter; `demo` needs no key"
            )
        return canonical(model)

    @property
    def asks(self) -> bool:
        """Whether its test has one of our fixtures; otherwise there is no answer that it could wait for."""
        return not {"prompt", "prompts"}.isdisjoint(getattr(self.item, "fixturenames", ()))

    def request(
        self,
        file: PromptFile,
        messages: Sequence[Message],
        response_schema: Mapping[str, Any] | None,
        *,
        sample: int,
    ) -> Request:
        """The request of one call; parameters of the mark win over those of the front matter."""
        assert self.mark is not None
        if not is_json(response_schema):
            raise SettingsError(f"prompt(...): response_schema= must be JSON, got {response_schema!r}")
        parameters = {**file.front.parameters, **self.mark.parameters}
        stop = parameters.pop("stop", file.front.stop)
        return Request(
            model=self.model_of(file),
            messages=tuple(messages),
            max_tokens=parameters.pop("max_tokens", file.front.max_tokens),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            parameters=parameters,
            response_schema=response_schema,
            sample=sample,
        )

    def parameter_lines(self, file: PromptFile) -> dict[str, str]:
        """Where each parameter of a call is set: ``file:line`` of the front matter, or of the test."""
        own = {key.removeprefix("parameters."): line for key, line in file.front.lines.items()}
        given = [*file.front.parameters, "max_tokens", "stop"]
        lines = {name: f"{file.name}:{own[name]}" for name in given if name in own}
        return lines | dict.fromkeys(self.mark.parameters if self.mark else (), self.case.where)

    def temporary(self) -> Path:
        """A folder for copies of candidates, gone with pytest's other temporary folders."""
        factory: pytest.TempPathFactory | None = getattr(self.item.config, "_tmp_path_factory", None)
        return factory.getbasetemp() if factory is not None else Path(tempfile.gettempdir())


def where_of(item: pytest.Item) -> str:
    path, line, _ = item.location
    return path if line is None else f"{path}:{line + 1}"


def check_function(metafunc: pytest.Metafunc, settings: Settings) -> None:
    """Look at a test function's mark while it is collected: a mistake is a collection error at its line.

    Raises `PromptoptError`.
    """
    definition = metafunc.definition
    where = f"{_relative(definition.path, settings.rootdir)}:{definition.function.__code__.co_firstlineno}"
    mark = definition.get_closest_marker(MARK)
    if mark is not None:
        _load(Mark.parse(mark, where=where), definition.path.parent, settings.rootdir, where, {})
    own = {m.name for m in definition.iter_markers()}
    for parameter, names in internals.parameter_marks(metafunc) or [("", [])]:
        if {"heldout", "validation"} <= own | set(names):
            case = f"{definition.name}[{parameter}]" if parameter else definition.name
            raise SettingsError(f"{where}: {case} is marked heldout and validation; a case has one split")


def collect(items: Iterable[pytest.Item], settings: Settings) -> dict[pytest.Item, PromptCase]:
    """All items that use a prompt, as cases, in order; a mistake becomes the case's `problem`."""
    loaded: dict[Path, PromptFile] = {}
    cases = {}
    for item in items:
        mark = item.get_closest_marker(MARK)
        if mark is not None:
            cases[item] = _case(item, mark, settings, loaded)
    return _share_strictest(cases)


def _case(
    item: pytest.Item, mark: pytest.Mark, settings: Settings, loaded: dict[Path, PromptFile]
) -> PromptCase:
    where = where_of(item)
    try:
        parsed = Mark.parse(mark, where=where)
        files = _load(parsed, item.path.parent, settings.rootdir, where, loaded)
        names = tuple(dict.fromkeys(file.name for file in files.values()))
        case = Case(
            id=item.nodeid,
            prompts=names,
            split=_split(item, names, settings, where),
            samples=parsed.samples or settings.samples,
            where=where,
        )
        return PromptCase(item, case, files, parsed, settings.model)
    except PromptoptError as problem:
        return PromptCase(item, Case(item.nodeid, (), Split.TRAIN, where=where), {}, None, None, problem)


def _load(
    mark: Mark, folder: Path, rootdir: Path, where: str, loaded: dict[Path, PromptFile]
) -> dict[str, PromptFile]:
    files = {}
    for stage, spec in mark.paths.items():
        path = locate(spec, test_dir=folder, rootdir=rootdir, where=where)
        if path not in loaded:
            loaded[path] = PromptFile.load(path, rootdir=rootdir)
            _check_model(loaded[path])
        files[stage] = loaded[path]
    return files


def _check_model(file: PromptFile) -> None:
    try:
        canonical(file.front.model or "demo")
    except SettingsError as error:
        raise PromptFileError(file.name, file.front.lines["model"], f"`model`: {error}") from None


def _relative(path: Path, rootdir: Path) -> str:
    try:
        return path.relative_to(rootdir).as_posix()
    except ValueError:
        return str(path)


# -------------------------------------------------------------------------------------------------- splits


def identity(item: pytest.Item, prompts: Sequence[str]) -> str:
    """What makes a case this case: its prompts and its parameter values, or its place when it has none.

    Adding, removing or reordering other cases changes nothing, nor does an xdist ``@group`` suffix.
    """
    callspec = getattr(item, "callspec", None)
    if callspec is None or not callspec.params:
        assert item.parent is not None
        return json.dumps([list(prompts), item.parent.nodeid, item.name])
    text = json.dumps([list(prompts), plain(callspec.params)], sort_keys=True)
    # Where objects live differs from process to process, so their test ids tell them apart.
    return f"{_ADDRESS.sub('', text)} {callspec.id}" if _ADDRESS.search(text) else text


def _split(item: pytest.Item, prompts: Sequence[str], settings: Settings, where: str) -> Split:
    marked = [name for name in ("heldout", "validation") if item.get_closest_marker(name)]
    if len(marked) == 2:
        raise SettingsError(f"{where}: {item.name} is marked heldout and validation; a case has one split")
    if marked:
        return Split(marked[0])
    if settings.split is None:
        return Split.TRAIN
    train, validation, _ = settings.split
    digest = hashlib.sha256(identity(item, prompts).encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return Split.TRAIN if place < train else Split.VALIDATION if place < train + validation else Split.HELDOUT


def _share_strictest(cases: dict[pytest.Item, PromptCase]) -> dict[pytest.Item, PromptCase]:
    """Cases with the same prompts and parameter values ask the same: they share the strictest split."""
    groups: dict[str, list[pytest.Item]] = {}
    for item, case in cases.items():
        if case.problem is None:
            groups.setdefault(identity(item, case.case.prompts), []).append(item)
    for members in groups.values():
        restrict(cases, members)
    return cases


def restrict(cases: dict[pytest.Item, PromptCase], members: Sequence[pytest.Item]) -> None:
    """Give all `members` the strictest split among them, in place."""
    strictest = max((cases[item].case.split for item in members), key=lambda split: split.strictness)
    for item in members:
        case = cases[item]
        if case.case.split is not strictest:
            cases[item] = replace(case, case=replace(case.case, split=strictest))

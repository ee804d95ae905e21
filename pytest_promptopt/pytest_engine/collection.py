"""From collected pytest items to cases: the mark, the prompt files, the models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pytest_promptopt.assertions.judge_criteria import JUDGE
from pytest_promptopt.errors import NoModelError, PromptFileError, PromptoptError, SettingsError
from pytest_promptopt.labels import Label, PairLabel
from pytest_promptopt.models.registry import canonical_name
from pytest_promptopt.prompts import PromptFile, locate_prompt_file
from pytest_promptopt.prompts.file_lookup import name_of, read_bytes
from pytest_promptopt.prompts.sources.address import Address
from pytest_promptopt.prompts.sources.dspy_states import predictor_path, predictors
from pytest_promptopt.prompts.template_languages import LANGUAGES
from pytest_promptopt.pytest_engine import planned_tests
from pytest_promptopt.pytest_engine.case_identity import (
    MODEL_PARAMETER,
    id_under_all_models,
    model_parameter,
    of_plugin,
)
from pytest_promptopt.pytest_engine.mark import MARK, Mark
from pytest_promptopt.pytest_engine.mark_layers import read_marks
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_engine.splits import share_strictest, split_of
from pytest_promptopt.records import Case
from pytest_promptopt.replay.case_requests import APPLICATION
from pytest_promptopt.replay.case_table import CaseTable
from pytest_promptopt.settings import Settings


def check_function(metafunc: pytest.Metafunc, settings: Settings) -> None:
    """Look at a test function's marks while it is collected: a mistake is a collection error at its line.

    Raises `PromptoptError`.
    """
    definition = metafunc.definition
    where = _where(definition)
    of_function = list(definition.iter_markers())
    for parameter, marks in planned_tests.parameter_marks(metafunc) or [("", [])]:
        of_case = {mark.name for mark in [*of_function, *marks]}
        if MARK not in of_case:
            continue
        if {"heldout", "validation"} <= of_case:
            case = f"{definition.name}[{parameter}]" if parameter else definition.name
            raise SettingsError(f"{where}: {case} is marked heldout and validation; a case has one split")
    for marks in _different_marks(metafunc).values():
        mark = read_marks(definition, marks, where=where)
        _load(mark, definition.path.parent, settings.rootdir, where, {})


def use_every_model(metafunc: pytest.Metafunc, settings: Settings) -> None:
    """Have the cases that name no model run with each of the session's. Raises `PromptoptError`."""
    definition = metafunc.definition
    where = _where(definition)
    many = set[tuple[int, ...]]()
    for key, marks in _different_marks(metafunc).items():
        mark = read_marks(definition, marks, where=where)
        files = _load(mark, definition.path.parent, settings.rootdir, where, {})
        if leaves_model_open(mark, files, metafunc.fixturenames, settings):
            many.add(key)
    planned_tests.multiply(
        metafunc, MODEL_PARAMETER, settings.models, chosen=lambda marks: _key(marks) in many
    )


def leaves_model_open(
    mark: Mark, files: Mapping[str, PromptFile], fixtures: Iterable[str], settings: Settings
) -> bool:
    """Whether the session says who answers a prompt of a case, and the case asks by our fixture.

    The judge's own prompt has a model of its own, and an application chooses its model by itself.
    """
    asks = not {"prompt", "prompts"}.isdisjoint(fixtures) or not settings.intercept.on
    names = {file.name for file in files.values()}
    if mark.model is not None or not asks or names == {_judge_prompt(files, settings)}:
        return False
    return any(file.front.model is None for file in files.values())


def _different_marks(metafunc: pytest.Metafunc) -> dict[tuple[int, ...], list[pytest.Mark]]:
    """The prompt marks of the parameters of a function that is marked, each combination once."""
    of_function = metafunc.definition.get_closest_marker(MARK) is not None
    found: dict[tuple[int, ...], list[pytest.Mark]] = {}
    for _, marks in planned_tests.parameter_marks(metafunc) or [("", [])]:
        own = [mark for mark in marks if mark.name == MARK]
        if own or of_function:
            found.setdefault(_key(own), own)
    return found


def _key(marks: Iterable[pytest.Mark]) -> tuple[int, ...]:
    return tuple(id(mark) for mark in marks if mark.name == MARK)


@dataclass(frozen=True)
class Collected:
    """The items that use a prompt, in order: those that can be run, and what is wrong with the others."""

    cases: CaseTable[pytest.Item, PromptCase]
    problems: dict[pytest.Item, PromptoptError]


def collect_prompt_cases(items: Iterable[pytest.Item], settings: Settings) -> Collected:
    """All items that use a prompt; a mistake in one is a problem of that one alone."""
    loaded: dict[Address, PromptFile] = {}
    cases: dict[pytest.Item, PromptCase] = {}
    problems: dict[pytest.Item, PromptoptError] = {}
    for item in items:
        if item.get_closest_marker(MARK) is not None:
            try:
                cases[item] = _case(item, settings, loaded)
            except PromptoptError as problem:
                problems[item] = problem
    _pair_by_ids(cases)
    _join_repeats(cases)
    _freeze_working_judge(cases)
    found = Collected(CaseTable(cases), problems)
    share_strictest(found.cases)
    return found


def references(cases: Mapping[pytest.Item, PromptCase], settings: Settings) -> dict[pytest.Item, PromptCase]:
    """The cases that ask the session's model once more, with the model that a migration leaves.

    Raises `SettingsError` when there is none.
    """
    found: dict[pytest.Item, PromptCase] = {}
    for item, case in cases.items():
        open_ = leaves_model_open(case.mark, case.files, case.fixtures, settings)
        if open_ and isinstance(item, pytest.Function):
            copy = planned_tests.copy_with(item, MODEL_PARAMETER, settings.from_model or "")
            record = replace(case.case, id=copy.nodeid, reference=case.case.id)
            moved = replace(case, item=copy, case=record, model=settings.from_model)
            models = {file.name: _model(moved, file) for file in case.files.values()}
            found[copy] = replace(
                moved, case=replace(record, models=tuple(models[name] for name in record.prompts))
            )
    if not found:
        named = next((named for case in cases.values() if (named := _where_named(case))), "")
        raise SettingsError(
            f"--promptopt-from-model={settings.from_model}: no case asks --promptopt-model={settings.model}: "
            f"{named}; take the name out there, and the option names the model"
        )
    return found


def _where_named(case: PromptCase) -> str:
    """Where a case names its model."""
    if case.mark.model is not None:
        return f"{case.case.where} names {case.mark.model}"
    file = next((file for file in case.files.values() if file.front.model is not None), None)
    if file is None:
        return ""
    return f"{file.file_name}:{file.front.lines['model']} names {file.front.model}"


def _pair_by_ids(cases: dict[pytest.Item, PromptCase]) -> None:
    """Where marks give cases several models, those are the same case whose ids differ in the model's name."""
    if len({model for case in cases.values() for model in case.case.models}) < 2:
        return
    for item, case in cases.items():
        if not case.case.pair:
            pair = id_under_all_models(item, dict.fromkeys((case.mark.model, *case.case.models)))
            cases[item] = replace(case, case=replace(case.case, pair=pair))


def _freeze_working_judge(cases: dict[pytest.Item, PromptCase]) -> None:
    """While a judge decides about other prompts its own is never rewritten."""
    if any(JUDGE in case.fixtures and not case.judges for case in cases.values()):
        for item, case in cases.items():
            if case.judge_prompt:
                cases[item] = replace(case, judges_others=True)


def _join_repeats(cases: dict[pytest.Item, PromptCase]) -> None:
    """Items that only a plugin's parameter tells apart (pytest-repeat's step) are samples of one case."""
    repeated: dict[tuple[object, ...], list[pytest.Item]] = {}
    for item in cases:
        given: Mapping[str, object] = getattr(getattr(item, "callspec", None), "params", {})
        # By the very objects: pytest numbers the values of direct parameters anew in each repetition.
        own = {
            name: id(value)
            for name, value in given.items()
            if not of_plugin(name) or name == MODEL_PARAMETER  # another model is no repetition
        }
        if len(own) < len(given):
            key = (item.parent, getattr(item, "originalname", item.name), *sorted(own.items()))
            repeated.setdefault(key, []).append(item)
    for items in repeated.values():
        case = cases[items[0]].case
        shared = replace(case, samples=case.samples * len(items))
        for number, item in enumerate(items):
            cases[item] = replace(cases[item], case=shared, repetition=number, repetitions=len(items))


def _case(item: pytest.Item, settings: Settings, loaded: dict[Address, PromptFile]) -> PromptCase:
    where = _where(item)
    parsed = read_marks(item, where=where)
    files = _load(parsed, item.path.parent, settings.rootdir, where, loaded)
    names = tuple(dict.fromkeys(file.name for file in files.values()))
    judge_prompt = _judge_prompt(files, settings)
    judges = names == (judge_prompt,)
    case = Case(
        id=item.nodeid,
        prompts=names,
        split=split_of(item, [file.place for file in files.values()], settings, where),
        samples=parsed.samples or settings.samples,
        where=where,
        labelled=_labelled(item) if judges else "",
    )
    found = PromptCase(
        item,
        case,
        files,
        parsed,
        _session_model(item, parsed, files, settings, judges=judges),
        settings.intercept.on,
        judge_prompt,
    )
    models = {file.name: _model(found, file) for file in files.values()}
    return replace(
        found,
        case=replace(
            case,
            models=tuple(models[name] for name in names),
            pair=id_under_all_models(item, [model_parameter(item)]),
            weight=next((each.weight for each in found.file_cases), 1.0),
            checks=", ".join(each.checks_digest for each in found.file_cases),
        ),
    )


def _session_model(
    item: pytest.Item, mark: Mark, files: Mapping[str, PromptFile], settings: Settings, *, judges: bool
) -> str | None:
    """Who answers where neither mark nor prompt file say. Raises `SettingsError`."""
    if judges:
        return settings.judge_model or settings.model
    if not settings.models or model_parameter(item) is not None:
        return model_parameter(item) or settings.model
    if leaves_model_open(mark, files, getattr(item, "fixturenames", ()), settings):
        raise SettingsError(
            f"{_where(item)}: {item.name} takes no parameters, so it cannot be run with each of "
            f"{', '.join(settings.models)}; name its model in the mark: @pytest.mark.prompt(model=...)"
        )
    return None


def _judge_prompt(files: Mapping[str, PromptFile], settings: Settings) -> str:
    """The name of that of `files` which is the judge's prompt, by whatever path; empty when none is."""
    if settings.judge_prompt is None:
        return ""
    path, _, inside = str(settings.judge_prompt).partition("::")
    place = (os.path.realpath(settings.rootdir / path), inside)
    same = (file.name for file in files.values() if (file.target, file.name.partition("::")[2]) == place)
    return next(same, "")


def _labelled(item: pytest.Item) -> str:
    """What a person says of the label that a case of the judge is about; empty where it is about none."""
    callspec = getattr(item, "callspec", None)
    values = () if callspec is None else callspec.params.values()
    return next((value.expected for value in values if isinstance(value, Label | PairLabel)), "")


def _model(case: PromptCase, file: PromptFile) -> str:
    try:
        model = case.model_of(file)
        return "" if model == APPLICATION else model
    except NoModelError:  # an error of the first call, with a sentence of its own
        return ""


def _where(item: pytest.Item) -> str:
    path, line, _ = item.location
    return path if line is None else f"{path}:{line + 1}"


def _load(
    mark: Mark, folder: Path, rootdir: Path, where: str, loaded: dict[Address, PromptFile]
) -> dict[str, PromptFile]:
    files = {}
    for stage, spec in mark.paths.items():
        located = locate_prompt_file(spec, test_dir=folder, rootdir=rootdir, where=where)
        language = LANGUAGES[mark.template[stage]] if stage in mark.template else None
        for own_stage, address in _prompts_at(located, stage, rootdir).items():
            if address not in loaded:
                loaded[address] = PromptFile.load(address, rootdir=rootdir, language=language)
                _check_model(loaded[address])
            file = loaded[address]
            if language is not None and file.language is not language:
                raise SettingsError(
                    f"{where}: {file.name} is read as {file.language.name}, here as {language.name}; give it "
                    "the same template= in all its marks"
                )
            files[own_stage] = file
    _check_different(files.values(), where)
    return files


def _prompts_at(address: Address, stage: str, rootdir: Path) -> dict[str, Address]:
    """The prompts that one path of a mark means, by stage: of a whole program of DSPy, each predictor."""
    if stage or address.inner or address.path.suffix.lower() != ".json":
        return {stage: address}
    name = name_of(address.path, rootdir)
    found = predictors(read_bytes(address.path, name), name=name)
    return {each: Address(address.path, predictor_path(each)) for each in found} or {stage: address}


def _check_different(files: Iterable[PromptFile], where: str) -> None:
    """Which predictor of DSPy a request is of is told by the instructions alone."""
    seen: dict[str, str] = {}
    for file in files:
        other = seen.setdefault(file.prose, file.name)
        if file.is_dspy and other != file.name:
            raise SettingsError(
                f"{where}: {other} and {file.name} have the same instructions, so no call can be told to be "
                "of one of them; give one of them other words, or leave one out of the mark"
            )


def _check_model(file: PromptFile) -> None:
    try:
        canonical_name(file.front.model or "demo")
    except SettingsError as error:
        raise PromptFileError(file.file_name, file.front.lines["model"], f"`model`: {error}") from None

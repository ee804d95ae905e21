"""Files of cases: suites, ``*.promptopt.yaml``, and tables that hold cases alone."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.gate import parse_rate
from pytest_promptopt.models.registry import canonical_name
from pytest_promptopt.prompts.template_languages import LANGUAGES
from pytest_promptopt.suites import file_endings
from pytest_promptopt.suites.case_reading import CaseReader, SharedParts, read_tags
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.located_json import read_json
from pytest_promptopt.suites.located_yaml import read_yaml
from pytest_promptopt.suites.suite import Suite
from pytest_promptopt.suites.table_reading import read_csv
from pytest_promptopt.text import did_you_mean, quote, shown_path
from pytest_promptopt.thresholds import GateName

SUITE_KEYS = (
    "prompt", "prompts", "model", "samples", "min_case_rate", *GateName, "parameters", "template",
    "inputs", "checks", "tags", "dialect", "description", "cases",
)  # fmt: skip
#: What the mark of a test takes besides the parameters of a model.
_NO_PARAMETERS = ("model", "samples", "min_case_rate", *GateName, "template", "freeze", "replay")
_NO_TABLE = f"a file of cases ends with {', '.join(file_endings.TABLES)}"
HINTS = {"tests": "cases", "providers": "model", "provider": "model", "vars": "inputs", "assert": "checks"}


def read_cases(path: Path, rootdir: Path, *, dialect: str | None = None) -> tuple[FileCase, ...]:
    """The cases of a table, or of a suite without its prompts, but those that nobody has reviewed yet.

    Raises `SettingsError` with ``file:line``.
    """
    if path.name.endswith(file_endings.SUITES):
        suite = read_suite(path, rootdir)
        cases, unreviewed = suite.cases, suite.skipped
    else:
        reader = CaseReader(SharedParts(folders=_folders(path, rootdir)))
        _read_table(path, rootdir, reader, dialect=dialect)
        cases, unreviewed = reader.cases, reader.unreviewed
    if not cases:
        raise SettingsError(f"{unreviewed[0].where}: no case in it is reviewed yet; {unreviewed[0].reason}")
    return cases


def read_suite(path: Path, rootdir: Path) -> Suite:
    """What a suite says. Raises `SettingsError` with ``file:line``."""
    name = shown_path(path, rootdir)
    given = read_yaml(_text(path, name), name).mapping("a suite")
    given.check_keys(SUITE_KEYS, hints=HINTS)
    inputs = given.get("inputs")
    shared = SharedParts(
        inputs={} if inputs is None else inputs.mapping("`inputs`").value,
        checks=given.get("checks"),
        tags=read_tags(given.get("tags")),
        folders=_folders(path, rootdir),
    )
    reader = CaseReader(shared)
    _read_listed(path, rootdir, given, reader)
    return Suite(
        path,
        _prompts(given),
        model=_model(given),
        samples=_samples(given),
        thresholds=_thresholds(given),
        parameters=_parameters(given),
        cases=reader.cases,
        skipped=reader.unreviewed,
        template=_template(given),
        lines=_lines(given),
    )


def _lines(given: Located) -> dict[str, int]:
    lines = {key: given.line(key) for key in given.value}
    if (parameters := given.get("parameters")) is not None:
        lines |= {f"parameters.{key}": parameters.line(key) for key in parameters.value}
    return lines


def _folders(path: Path, rootdir: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys((path.parent, rootdir)))


def _prompts(given: Located) -> tuple[str, ...]:
    one, several = given.get("prompt"), given.get("prompts")
    if one is not None and several is not None:
        raise several.wrong("a suite has `prompt` or `prompts`, not both")
    if one is not None:
        if not isinstance(one.value, str) or not one.value.strip():
            raise one.wrong(f"`prompt` must be the path of a prompt file, got {quote(one.value)}")
        return (one.value,)
    if several is None:
        raise given.wrong("the suite names no prompt; write `prompt: prompts/file.md`")
    if not isinstance(several.value, list) or not several.value:
        raise several.wrong(f"`prompts` must be a list of prompt files, got {quote(several.value)}")
    for each in several.items():
        if not isinstance(each.value, str) or not each.value.strip():
            raise each.wrong(f"`prompts` must be a list of prompt files, got {quote(each.value)}")
    return tuple(dict.fromkeys(several.value))


def _text_of(given: Located, key: str) -> str | None:
    value = given.get(key)
    if value is None:
        return None
    if not isinstance(value.value, str):
        raise value.wrong(f"`{key}` must be a text, got {quote(value.value)}")
    return value.value


def _model(given: Located) -> str | None:
    name = _text_of(given, "model")
    try:
        return None if name is None else canonical_name(name)
    except SettingsError as error:
        raise given.wrong(f"`model`: {error}", "model") from None


def _samples(given: Located) -> int | None:
    count = given.value.get("samples")
    if count is not None and (type(count) is not int or count < 1):
        raise given.wrong(f"`samples` must be a whole number from 1, got {quote(count)}", "samples")
    return count


def _template(given: Located) -> str:
    name = _text_of(given, "template")
    if name is not None and name not in LANGUAGES:
        raise given.wrong(f"`template` is {quote(name)}; {did_you_mean(name, [*LANGUAGES])}", "template")
    return name or ""


def _thresholds(given: Located) -> dict[GateName, float]:
    found = {name: value for name in GateName if (value := given.get(name)) is not None}
    return {
        name: _rate(value, name) if name is GateName.PASS_RATE else _amount(value, name)
        for name, value in found.items()
    }


def _amount(given: Located, name: GateName) -> float:
    """US dollars, or seconds."""
    value = given.value
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise given.wrong(f"`{name}` must be a number above 0, got {quote(value)}")
    return float(value)


def _rate(given: Located, name: str) -> float:
    return parse_rate(given.value, name=f"{given.where()}: `{name}`")


def _parameters(given: Located) -> Mapping[str, Any]:
    """Those of the model, and what else the mark takes."""
    found = given.get("parameters")
    parameters = {} if found is None else dict(found.mapping("`parameters`").value)
    for key in parameters:
        if key in _NO_PARAMETERS:
            raise given.wrong(
                f"`{key}` is no parameter of a model; it stands beside `parameters`", "parameters"
            )
    rate = given.get("min_case_rate")
    return parameters if rate is None else {**parameters, "min_case_rate": _rate(rate, "min_case_rate")}


def _read_listed(path: Path, rootdir: Path, given: Located, reader: CaseReader) -> None:
    """The value of `cases`: a table, or a list of cases and tables."""
    cases = given.get("cases")
    if cases is None:
        raise given.wrong("the suite has no `cases`")
    dialect = _dialect(given)
    listed = list(cases.items()) if isinstance(cases.value, list) else [cases]
    if not isinstance(cases.value, (list, str)):
        raise cases.wrong(
            f"`cases` must be a list of cases, or the path of a table, got {quote(cases.value)}"
        )
    for each in listed:
        if isinstance(each.value, str):
            _read_table(_table(each, path, rootdir), rootdir, reader, dialect=dialect)
        else:
            reader.read(each)
    if not reader:
        raise cases.wrong("there are no cases")


def _dialect(given: Located) -> str | None:
    name = _text_of(given, "dialect")
    if name is not None and (problem := _unknown_dialect(name)):
        raise given.wrong(problem, "dialect")
    return name


def _unknown_dialect(name: str) -> str:
    """That there is no such dialect, in a sentence; empty when there is."""
    known = csv.list_dialects()
    return "" if name in known else f"there is no dialect of CSV {quote(name)}; accepted: {', '.join(known)}"


def _table(given: Located, path: Path, rootdir: Path) -> Path:
    places = [folder / given.value for folder in _folders(path, rootdir)]
    found: Path | None = next((place for place in places if os.path.isfile(place)), None)
    if found is None:
        raise given.wrong(
            f"there is no file of cases {quote(given.value)}; looked for {' and '.join(map(str, places))}"
        )
    if not found.name.lower().endswith(file_endings.TABLES):
        raise given.wrong(f"{quote(given.value)}: {_NO_TABLE}")
    if found.name.endswith(file_endings.SUITES):
        raise given.wrong(
            f"{quote(given.value)} is a suite of its own; accepted: {', '.join(file_endings.TABLES)}"
        )
    return found


def _read_table(path: Path, rootdir: Path, reader: CaseReader, *, dialect: str | None = None) -> None:
    name = shown_path(path, rootdir)
    before = len(reader)
    for case in _listed(path, name, dialect):
        reader.read(case)
    if len(reader) == before:
        raise SettingsError(f"{name}:1: there are no cases in it")


def _listed(path: Path, name: str, dialect: str | None) -> Iterator[Located]:
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv"):
        if dialect is not None and (problem := _unknown_dialect(dialect)):
            raise SettingsError(f"{name}: {problem}")
        return read_csv(_text(path, name), name, dialect=dialect)
    if ending in (".jsonl", ".ndjson"):
        lines = _text(path, name).split("\n")
        numbered = enumerate(lines, start=1)
        return (read_json(text, name, line=number) for number, text in numbered if text.strip())
    if ending == ".json":
        return _items(read_json(_text(path, name), name))
    if ending in (".yaml", ".yml"):
        return _items(read_yaml(_text(path, name), name))
    raise SettingsError(f"{name}: {_NO_TABLE}")


def _items(given: Located) -> Iterator[Located]:
    whole = given
    if isinstance(given.value, dict) and "cases" in given.value:
        given.check_keys(("cases", "description"))
        whole = given.at("cases")
    if not isinstance(whole.value, list):
        raise whole.wrong(f"a file of cases is a list of cases, got {quote(whole.value)}")
    return whole.items()


def _text(path: Path, name: str) -> str:
    """What a file holds: UTF-8, or UTF-16 with its mark, as spreadsheets write it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{name}: the cases cannot be read: {error.strerror or error}") from None
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{name}:{line}: it is not UTF-8; save it as CSV UTF-8 or as UTF-8 text"
        ) from None

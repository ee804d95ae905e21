"""What makes a case this case, whatever becomes of the cases around it; for tests and for scripts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

from pytest_promptopt.assertions.plain_values import plain_value
from pytest_promptopt.labels import Label, PairLabel
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.text import without_addresses


def case_identity(prompts: Sequence[str], question: str | None, place: Sequence[str]) -> str:
    """The prompts of a case and the values that it is about; where it stands when it is about none.

    :param prompts: paths of the prompt files.
    :param question: what `question_text` has made of its values; None when it has none.
    :param place: the name of its file, and the names that lead to it inside the file.
    """
    if question is None:
        return json.dumps([list(prompts), *place])
    return json.dumps([list(prompts)]) + question


def question_text(values: Mapping[str, Any], folder: Path, name: str) -> str:
    """The values of a case as text, the same in every process and wherever the project lies.

    :param folder: of the file that the case stands in; paths below and above it are told from there.
    :param name: of the case; tells values apart that are known by nothing but their addresses.
    """
    text = json.dumps(plain_value(_placed(values, folder)), sort_keys=True)
    stable = without_addresses(text)  # where objects live differs from process to process
    return text if stable == text else f"{stable} {name}"


def prompt_paths(files: Iterable[Path], folder: Path) -> list[str]:
    """The prompt files as `folder` sees them, wherever the project lies."""
    return [Path(os.path.relpath(file, folder)).as_posix() for file in files]


def _placed(value: Any, folder: Path) -> Any:
    """`value` with paths that do not depend on where the project lies."""
    kind = type(value)  # an object may say that it is of another
    if kind is FileCase:
        return _placed(dict(value.identity), folder)
    if kind in (Label, PairLabel):
        return {each.name: getattr(value, each.name) for each in fields(kind) if each.compare}
    if issubclass(kind, dict):
        return {key: _placed(each, folder) for key, each in dict.items(value)}
    if kind in (list, tuple):
        return [_placed(each, folder) for each in value]
    path = issubclass(kind, PurePath) and value.is_absolute()
    if path or (issubclass(kind, str) and str.startswith(value, f"{folder}{os.sep}")):
        return {"path": Path(os.path.relpath(value, folder)).as_posix()}
    return value

"""What a worker tells of the cases it has collected, and the same on the controller, which has no items."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_promptopt.assertions.plain_values import readable_value
from pytest_promptopt.errors import NoModelError, SettingsError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.template_languages import LANGUAGES
from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.records import Case, Request, Split


@dataclass(frozen=True, eq=False)
class DescribedCase:
    """A `SearchedCase` whose item is elsewhere.

    :param requests: the bare request to each prompt file by its name, or why there is none.
    :param repetitions: how many items are samples of the case.
    """

    case: Case
    files: Mapping[str, PromptFile]
    frozen: frozenset[str]
    path: Path
    identity: str
    values: Mapping[str, Any]
    requests: Mapping[str, Request | str]
    repetitions: int

    def model_of(self, file: PromptFile) -> str:
        """Raises `NoModelError` when none is named."""
        return self.bare_request(file).model

    def bare_request(self, file: PromptFile) -> Request:
        """Raises `NoModelError` when no model is named."""
        request = self.requests[file.name]
        if isinstance(request, str):
            raise NoModelError(request)
        return request


def describe(cases: Iterable[PromptCase], root: Path) -> list[dict[str, Any]]:
    """`cases` as JSON-like data, one entry each.

    :param root: the rootdir of this worker, which another machine may have elsewhere.
    """
    return [
        {
            "case": asdict(case.case),
            "stages": {stage: file.name for stage, file in case.files.items()},
            "languages": {file.name: file.language.name for file in case.files.values()},
            "frozen": sorted(case.frozen),
            "path": as_seen_from(root, case.path),
            "identity": case.identity,
            "values": readable_value(dict(case.values)),
            "requests": {file.name: _request(case, file) for file in case.files.values()},
            "repetitions": case.repetitions,
        }
        for case in cases
    ]


def as_seen_from(root: Path, path: Path | str) -> str:
    """`path` as it is below the rootdir of any machine."""
    return Path(os.path.relpath(path, root)).as_posix()


def _request(case: PromptCase, file: PromptFile) -> dict[str, Any] | str:
    try:
        return case.bare_request(file).to_json()
    except SettingsError as error:
        return str(error)


def described(entries: Iterable[Mapping[str, Any]], root: Path) -> dict[int, DescribedCase]:
    """The cases that `describe` has told of, in their order, with the prompt files below this `root`.

    Raises `PromptFileError` when one cannot be used.
    """
    files: dict[str, PromptFile] = {}
    found = {}
    for number, entry in enumerate(entries):
        for name in entry["stages"].values():
            if name not in files:
                language = LANGUAGES[entry["languages"][name]]
                files[name] = PromptFile.load(name, rootdir=root, language=language)
        data = entry["case"]
        case = Case(
            **{
                **data,
                "prompts": tuple(data["prompts"]),
                "models": tuple(data["models"]),
                "split": Split(data["split"]),
            }
        )
        found[number] = DescribedCase(
            case,
            {stage: files[name] for stage, name in entry["stages"].items()},
            frozenset(entry["frozen"]),
            root / entry["path"],
            entry["identity"],
            entry["values"],
            {
                name: given if isinstance(given, str) else Request.from_json(given)
                for name, given in entry["requests"].items()
            },
            entry["repetitions"],
        )
    return found

"""A baseline as a file: JSON, one case a line, in an order that other cases do not change.

So two branches that add or change different cases merge line by line, and a diff names the cases that differ.
Nothing in it says where the project lies or when it was written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pytest_promptopt.baselines.measured import Measured
from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.text import excerpt, value_of_json

#: Raised when a file of the older form can no longer be compared with.
BASELINE_SCHEMA = 1

_HEAD = f'{{"promptopt_baseline": {BASELINE_SCHEMA}, "cases": ['
#: After the last case, so that each of them ends with a comma whichever is the last.
_END = "null]}"

#: The fields that may be missing in a line; a line leaves out what is not known.
_OPTIONAL = {field.name for field in fields(Measured)} - {"prompt", "case", "model", "scores"}


class BaselineError(PromptoptError):
    """A file is no baseline. Reads ``path:line: what is wrong``."""

    def __init__(self, path: str, line: int | None, problem: str) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {problem}")


def baseline_text(cases: Iterable[Measured]) -> str:
    """The file that holds these cases."""
    lines = [f"{_line(case)}," for case in sorted(cases, key=lambda case: case.key)]
    return "\n".join((_HEAD, *lines, _END, ""))


def write_baseline(path: Path, cases: Iterable[Measured]) -> None:
    """Write the file whole or not at all. Raises `OSError`."""
    replace_file(path, baseline_text(cases).encode())


def _line(case: Measured) -> str:
    told = {name: value for name, value in asdict(case).items() if value not in ("", None)}
    return json.dumps(told | {"model": case.model, "scores": list(case.scores)}, ensure_ascii=False)


def read_baseline(path: Path, *, name: str) -> list[Measured]:
    """The cases of a file. Raises `BaselineError`, which calls the file `name`."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise BaselineError(name, None, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise BaselineError(name, line, "is not text in UTF-8") from None
    return parse_baseline(text, name=name)


def is_ours(path: Path) -> bool:
    """Whether a file that cannot be read as a baseline was one before, so that it may be written anew."""
    try:
        with path.open("rb") as file:
            return b'"promptopt_baseline"' in file.read(1000)
    except OSError:
        return False


def parse_baseline(text: str, *, name: str) -> list[Measured]:
    """The cases in the text of a file. Raises `BaselineError`."""
    lines = text.rstrip("\r\n").split("\n")
    _check_conflict(lines, name)
    schema = _check_json(text, name)
    if schema != BASELINE_SCHEMA:
        said = f"is a baseline of schema {schema}, and this version reads schema {BASELINE_SCHEMA}"
        raise BaselineError(name, 1, f"{said}; write it anew: pytest --promptopt-save-baseline")
    found = value_of_json(text)["cases"]
    if not isinstance(found, list) or not found or found[-1] is not None:
        raise BaselineError(name, len(lines), "its end is missing: the last entry of `cases` is not null")
    # Whoever formats JSON files may have spread the cases over several lines: then no line can be named.
    as_written = len(lines) == len(found) + 1 and lines[0].rstrip("\r") == _HEAD
    cases: dict[tuple[str, str, str], Measured] = {}
    for number, entry in enumerate(found[:-1], start=2):
        line = number if as_written else None
        case = _case(entry, name, line)
        if case.key in cases:
            raise BaselineError(name, line, f"{excerpt(case.case, 100)} stands in it twice")
        cases[case.key] = case
    return list(cases.values())


def _check_conflict(lines: Sequence[str], name: str) -> None:
    for number, line in enumerate(lines, start=1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            raise BaselineError(name, number, "has a conflict of a merge in it; resolve it first")


def _check_json(text: str, name: str) -> object:
    """The schema of a JSON text."""
    try:
        found = value_of_json(text)
    except json.JSONDecodeError as error:
        torn = error.pos >= len(text.rstrip()) or not text.rstrip().endswith("}")
        said = "it breaks off" if torn else error.msg
        raise BaselineError(name, error.lineno, f"is no JSON: {said}") from None
    except ValueError as error:
        raise BaselineError(name, None, f"is no JSON: {error}") from None
    if not isinstance(found, dict) or "promptopt_baseline" not in found or "cases" not in found:
        raise BaselineError(name, 1, "is no baseline; pytest --promptopt-save-baseline writes one")
    return found["promptopt_baseline"]


def _case(entry: object, name: str, line: int | None) -> Measured:
    if not isinstance(entry, Mapping):
        raise BaselineError(name, line, f"is no case: {excerpt(str(entry), 60)}")
    given: dict[str, Any] = dict(entry)
    for key, fits in _FITS.items():
        if key not in given and key in _OPTIONAL:
            continue
        if not fits(given.get(key)):
            told = excerpt(json.dumps(given.get(key), ensure_ascii=False), 60)
            raise BaselineError(name, line, f"`{key}` cannot be {told}")
    known = {key: value for key, value in given.items() if key in _FITS}  # a later version may add some
    known["scores"] = tuple(float(score) for score in known["scores"])
    return Measured(**known)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < math.inf


def _are_scores(value: object) -> bool:
    return isinstance(value, list) and all(_is_amount(score) and score <= 1 for score in value)


_FITS: Mapping[str, Callable[[object], bool]] = {field.name: _is_text for field in fields(Measured)} | {
    "prompt": _is_name,
    "case": _is_name,
    "scores": _are_scores,
    "cost": _is_amount,
    "latency": _is_amount,
}

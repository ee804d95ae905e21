"""What an answer is graded for: a sentence, or the text of a rubric file that the criterion names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.text import join_words, quote

_ENDINGS = (".md", ".txt")
_LONGEST_PATH = 1_000


@dataclass(frozen=True)
class Rubric:
    """A criterion with what the judge reads of it.

    :param name: how verdicts, labels and certificates call it: the sentence, or the path of its file.
    :param text: the sentence, or the text of its file.
    """

    name: str
    text: str


def rubric_of(criterion: object, folders: Sequence[Path], *, where: str = "judge(...)") -> Rubric:
    """The rubric that `criterion` is, or that its file holds. Raises `SettingsError`.

    :param folders: where a relative path may begin, the nearest first; the last is rootdir, which names of
        rubrics are relative to.
    :param where: who names it, for messages.
    """
    if not isinstance(criterion, str) or not criterion.strip():
        raise SettingsError(
            f"{where}: the criterion must be a sentence or the path of a rubric file, got {criterion!r}"
        )
    if not criterion.lower().endswith(_ENDINGS) or "\n" in criterion or len(criterion) > _LONGEST_PATH:
        return Rubric(criterion, criterion)
    candidates = list(dict.fromkeys(folder / criterion for folder in folders))
    found = next((path for path in candidates if os.path.isfile(path)), None)
    if found is not None:
        return Rubric(_name(found, folders[-1]), _text(found, where))
    if len(criterion.split()) > 1:  # a sentence about a file
        return Rubric(criterion, criterion)
    looked = join_words([str(path) for path in candidates])
    raise SettingsError(f"{where}: there is no rubric file {criterion!r}; looked for {looked}")


def _text(path: Path, where: str) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where}: the rubric file {path} cannot be read: {error}") from None
    if not text.strip():
        raise SettingsError(f"{where}: the rubric file {path} is empty")
    return text.strip()


def _name(path: Path, root: Path) -> str:
    """Relative to rootdir, so that every folder's tests mean the same rubric by the same name."""
    real, base = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    return real.relative_to(base).as_posix() if real.is_relative_to(base) else real.as_posix()


def check_text(name: str, value: object) -> None:
    """Raises `SettingsError` unless `value`, an argument of a judge, is a text."""
    if not isinstance(value, str):
        raise SettingsError(f"judge(...): {name} must be a text, got {type(value).__name__}: {quote(value)}")

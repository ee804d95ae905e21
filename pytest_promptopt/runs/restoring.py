"""Putting the prompt files of a run back as they were before it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.prompts import replace_content
from pytest_promptopt.runs.fingerprint import digest
from pytest_promptopt.runs.past import PastRun


@dataclass(frozen=True)
class Restored:
    """What became of one prompt file; `refused` says why it was left as it is."""

    prompt: str
    said: str
    refused: bool = False


def restore_prompts(run: PastRun, *, rootdir: Path) -> Iterator[Restored]:
    """Put each prompt file back that still is what the run wrote; a later edit is never lost."""
    written = run.written()
    for name, original in run.originals().items():
        if Path(os.path.realpath(rootdir / name)).is_relative_to(os.path.realpath(rootdir)):
            yield _restore(rootdir / name, name, original, written.get(name, set()), run)
        else:
            leads = f"it leads to {os.path.realpath(rootdir / name)}, outside rootdir"
            yield Restored(name, f"left alone: {leads}", refused=True)


RESTORED = "restored"


def _restore(path: Path, name: str, original: bytes, written: set[str], run: PastRun) -> Restored:
    if path.exists() and not path.is_file():
        return Restored(name, "left alone, since it is no regular file", refused=True)
    try:
        current = path.read_bytes()
    except OSError as error:
        return Restored(name, f"left alone, since it cannot be read: {error.strerror}", refused=True)
    if current == original:
        return Restored(name, "is as it was before the run")
    kept = run.folder / "original" / name
    target = os.path.realpath(path)
    if digest(current) not in written:
        why = "left alone, since it is not what the run wrote: somebody changed it later"
        return Restored(name, f"{why}; as it was before the run it is in {kept}", refused=True)
    try:
        replace_content(path, original, name=name, expected=current, target=target)
    except (OSError, PromptoptError) as error:
        return Restored(name, f"left alone: {error}; as it was before the run it is in {kept}", refused=True)
    return Restored(name, RESTORED)

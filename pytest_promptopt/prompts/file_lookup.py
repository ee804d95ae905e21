"""Finding prompt files on the disk, and what they are called."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pytest_promptopt.errors import PromptFileError, SettingsError
from pytest_promptopt.prompts.layout import MAX_FILE_BYTES
from pytest_promptopt.prompts.sources import Address


def locate_prompt_file(spec: object, *, test_dir: Path, rootdir: Path, where: str) -> Address:
    """The prompt that a mark at `where` (``file:line``) means: below the test's folder, else below `rootdir`.

    Raises `SettingsError` when `spec` is no path, `PromptFileError` when there is no such file.
    """
    if not isinstance(spec, str | Path) or not str(spec).strip() or "\0" in str(spec):
        raise SettingsError(f"{where}: a prompt is named by the path of its file, got {spec!r}")
    address = Address.parse(spec)
    candidates = list(dict.fromkeys((address.below(test_dir), address.below(rootdir))))
    # Reading it says what is wrong with a broken link, but a file wins.
    for exists in (os.path.isfile, os.path.lexists):  # they raise for no name, however long it is
        for candidate in candidates:
            if exists(candidate.path):
                if os.path.isdir(candidate.path):
                    raise PromptFileError(where, None, f"'{address.path}' is a folder, not a prompt file")
                return candidate
    looked = " and ".join(str(candidate.path) for candidate in candidates)
    raise PromptFileError(where, None, f"there is no prompt file '{address.path}'; looked for {looked}")


def name_of(path: Path, rootdir: Path) -> str:
    """Relative to rootdir by the real folder, so that ``tests/../prompts/a.md`` is ``prompts/a.md``."""
    root = os.path.realpath(rootdir)
    place = Path(os.path.realpath(path.parent), path.name)
    for real in (place, Path(os.path.realpath(path))):
        if not real.is_relative_to(root):
            raise PromptFileError(
                path, None, f"{real} is outside rootdir {root}; prompt files must be below it"
            )
    return place.relative_to(root).as_posix()


def read_bytes(path: Path, name: str) -> bytes:
    """Raises `PromptFileError` when it cannot be read."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise PromptFileError(name, None, "is a folder, not a prompt file")
        if not stat.S_ISREG(status.st_mode):
            raise PromptFileError(name, None, "is not a regular file")
        with path.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        target = f"is a link to {os.readlink(path)}, which" if path.is_symlink() else "the file"
        raise PromptFileError(name, None, f"{target} does not exist") from None
    except OSError as error:
        raise PromptFileError(name, None, f"the file cannot be read: {error.strerror}") from None

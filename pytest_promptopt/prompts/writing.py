"""The only code that changes a prompt file."""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_promptopt.errors import PromptConflictError, PromptFileError
from pytest_promptopt.home import sync_folder
from pytest_promptopt.prompts.files import PromptFile


def write_prose(file: PromptFile, prose: str) -> None:
    """Replace the prose of `file` on disk, whole or not at all.

    Front matter, line ends, byte order mark, final newline, mode and owner stay; of a symlink the target is
    rewritten. `file` still holds the old bytes afterwards: load it again before the next write.

    Raises `PromptFileError` when `prose` is no valid prompt or the file is read-only, `PromptConflictError`
    when the file is not what was loaded, `OSError` when the disk refuses. The file is then as it was.
    """
    content = file.with_prose(prose).content()
    _refuse_changed(file.path, file.name, file.original)
    check_writable(file)
    replace_content(file.path, content, name=file.name, expected=file.original)


def replace_content(path: Path, content: bytes, *, name: str, expected: bytes) -> None:
    """Replace what is in `path` (of a symlink: in its target), whole or not at all; mode and owner stay.

    Raises `PromptConflictError` when it does not hold `expected`, `OSError` when the disk refuses.
    """
    target = Path(os.path.realpath(path))
    _refuse_changed(target, name, expected)
    with _temporary_sibling(target, content) as temporary:
        _refuse_changed(target, name, expected)
        os.replace(temporary, target)
    sync_folder(target.parent)


def save_beside(file: PromptFile, prose: str, *, tag: str) -> Path:
    """Put `file` with another prose into a new file beside it, ``route.md.<tag>``; its path.

    Raises `OSError` when the disk refuses.
    """
    path = file.path.with_name(f"{file.path.name}.{tag}")
    with path.open("wb") as stream:
        stream.write(file.with_prose(prose).content())
        stream.flush()
        os.fsync(stream.fileno())
    return path


def check_writable(file: PromptFile) -> None:
    """Raise `PromptFileError` if `write_prose` would not be allowed to; ask before the first paid call."""
    target = Path(os.path.realpath(file.path))
    if not os.access(target, os.W_OK):
        raise PromptFileError(file.name, None, "the file is read-only, it cannot be optimized in place")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PromptFileError(
            file.name, None, f"its folder {target.parent} is read-only, a new version cannot be put in place"
        )


def clear_strays(file: PromptFile) -> None:
    """Remove what a killed run left beside `file`; only while no other run is at work."""
    target = Path(os.path.realpath(file.path))
    for stray in target.parent.iterdir():
        if stray.name.startswith(_prefix(target)) and stray.suffix == ".tmp":
            with contextlib.suppress(OSError):
                stray.unlink()


def _prefix(target: Path) -> str:
    return f".{target.name}.promptopt-"


def unified_diff(before: str, after: str, *, name: str) -> str:
    """Two versions of a prose as a unified diff without a final newline; empty when they are equal."""
    lines = difflib.unified_diff(
        before.split("\n"), after.split("\n"), fromfile=name, tofile=f"{name} (optimized)", lineterm=""
    )
    return "\n".join(lines)


@contextlib.contextmanager
def _temporary_sibling(target: Path, content: bytes) -> Iterator[str]:
    """A synced file beside `target` with its mode and owner; gone at the end unless it was moved."""
    descriptor, temporary = tempfile.mkstemp(prefix=_prefix(target), suffix=".tmp", dir=target.parent)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        before = target.stat()
        if hasattr(os, "chown"):
            # Under sudo or in a container the file should not change hands; an ordinary user need not try.
            with contextlib.suppress(PermissionError):
                os.chown(temporary, before.st_uid, before.st_gid)
        os.chmod(temporary, stat.S_IMODE(before.st_mode))
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _refuse_changed(path: Path, name: str, expected: bytes) -> None:
    try:
        changed = path.read_bytes() != expected
    except FileNotFoundError:
        changed = True
    if changed:
        raise PromptConflictError(f"{name}: the file changed on disk since it was read; nothing was written")

"""The only code that changes a prompt file."""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import os
import stat
from pathlib import Path

from pytest_promptopt.errors import PromptConflictError, PromptFileError
from pytest_promptopt.file_writing import sync_folder, write_synced, written_beside
from pytest_promptopt.prompts.files import PromptFile
from pytest_promptopt.text import printable

#: A name in a folder has no more, on nearly every file system.
MOST_BYTES = 255

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def write_prose(file: PromptFile, prose: str) -> None:
    """Replace the prose of `file` on disk, whole or not at all.

    Front matter, line ends, byte order mark, final newline, mode and owner stay; of a symlink the target is
    rewritten. `file` still holds the old bytes afterwards: load it again before the next write.

    Raises `PromptFileError` when `prose` is no valid prompt or the file is read-only, `PromptConflictError`
    when the file is not what or where it was when it was loaded, `OSError` when the disk refuses. The file is
    then as it was.
    """
    put_content(file, file.with_prose(prose).content())


def put_content(file: PromptFile, content: bytes) -> None:
    """Put these bytes into `file`; raises as `write_prose` does."""
    _refuse_changed(file.path, file.name, file.on_disk, file.target)
    check_writable(file)
    if content != file.on_disk:
        replace_content(file.path, content, name=file.name, expected=file.on_disk, target=file.target)


def replace_content(path: Path, content: bytes, *, name: str, expected: bytes, target: str) -> None:
    """Replace what is in `path`, whole or not at all; mode and owner stay.

    Raises `PromptConflictError` when it does not lead to `target` or that does not hold `expected`, `OSError`
    when the disk refuses.
    """
    _refuse_changed(path, name, expected, target)
    with written_beside(Path(target), content, prefix=_prefix(Path(target))) as temporary:
        _refuse_changed(path, name, expected, target)
        os.replace(temporary, target)
    sync_folder(Path(target).parent)


def save_beside(file: PromptFile, content: bytes, *, tag: str) -> Path:
    """Put another content of `file` into a new file beside it, ``route.md.<tag>``; its path.

    Whoever may not read the prompt may not read that one either. Raises `OSError` when the disk refuses or
    the file is not where it was.
    """
    if os.path.realpath(file.path) != file.target:
        raise FileNotFoundError(f"{file.name} is not where it was")
    target = Path(file.target)
    name = f"{target.name}.{tag}"
    path = target.with_name(name if len(os.fsencode(name)) <= MOST_BYTES else f"{tag}{target.suffix}")
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINK, 0o600)
    write_synced(descriptor, content)
    os.chmod(path, mode)
    return path


def check_writable(file: PromptFile) -> None:
    """Raise `PromptFileError` if `write_prose` would not be allowed to; ask before the first paid call."""
    target = Path(file.target)
    if not os.access(target, os.W_OK):
        raise PromptFileError(file.name, None, "the file is read-only, it cannot be optimized in place")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PromptFileError(
            file.name, None, f"its folder {target.parent} is read-only, a new version cannot be put in place"
        )


def clear_strays(file: PromptFile) -> None:
    """Remove what a killed run left beside `file`; only while no other run is at work."""
    target = Path(file.target)
    for stray in target.parent.iterdir():
        if stray.name.startswith(_prefix(target)) and stray.suffix == ".tmp":
            with contextlib.suppress(OSError):
                stray.unlink()


def _prefix(target: Path) -> str:
    long = len(os.fsencode(target.name)) > MOST_BYTES - 40
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16] if long else target.name
    return f".{name}.promptopt-"


def unified_diff(before: str, after: str, *, name: str) -> str:
    """Two versions of a prose as a unified diff without a final newline; empty when they are equal."""
    name = printable(name)  # a header is one line, whatever a file is called
    lines = difflib.unified_diff(
        before.split("\n"), after.split("\n"), fromfile=name, tofile=f"{name} (optimized)", lineterm=""
    )
    return "\n".join(lines)


def _refuse_changed(path: Path, name: str, expected: bytes, target: str) -> None:
    """Raise `PromptConflictError` unless `path` still leads to `target`, a file with `expected` in it."""
    if os.path.realpath(path) != target:
        raise PromptConflictError(
            f"{name}: it leads to another file ({os.path.realpath(path)}) than when it was read; nothing was "
            "written"
        )
    if _content(target) != expected:
        raise PromptConflictError(f"{name}: the file changed on disk since it was read; nothing was written")


def _content(target: str) -> bytes | None:
    """What is in a file; None when there is no regular one. Never waits, as for the other end of a pipe."""
    try:
        descriptor = os.open(target, os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # it has become a link meanwhile
            return None
        raise
    with open(descriptor, "rb") as stream:
        return stream.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

"""How files are written so that neither a crash nor a loss of power leaves half of one."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write `path` whole or not at all; missing folders are made. Raises `OSError`.

    An existing file keeps its mode and owner; a new one gets the mode of any new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path, content, prefix=f".{path.name[:100]}.") as temporary:
        os.replace(temporary, path)
    sync_folder(path.parent)


def why_unwritable(path: Path) -> str:
    """Why `replace_file` could not write `path` as things are now, in words; empty where it could."""
    try:
        if path.is_dir():
            return "it is a folder"
        folder = next(parent for parent in path.parents if os.path.lexists(parent))
        if not folder.is_dir():
            return f"{folder} is no folder"
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"the folder {folder} is closed to you"
    except (OSError, ValueError) as error:  # a name that is too long, or has a character that no name has
        return str(error)
    return ""


@contextmanager
def written_beside(target: Path, content: bytes, *, prefix: str) -> Iterator[str]:
    """A synced file in the folder of `target`, ``<prefix>...tmp``, to be put in its place with `os.replace`.

    It has the mode and owner of `target`, and is removed at the end unless it was moved. Raises `OSError`.
    """
    before = target.stat() if target.exists() else None
    temporary = str(target.with_name(f"{prefix}{secrets.token_hex(8)}.tmp"))
    # Nobody else may read it before it has the mode of `target`.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if before else 0o666)
    try:
        write_synced(descriptor, content)
        if before:
            _give_mode_and_owner(temporary, before)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def write_synced(descriptor: int, content: bytes) -> None:
    """Write `content` to the open file `descriptor`, have it outlast a loss of power, and close it."""
    with open(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` outlast a loss of power, where its file system can (FUSE, NFS may not)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _give_mode_and_owner(path: str, wanted: os.stat_result) -> None:
    if hasattr(os, "chown"):
        # Under sudo or in a container the file should not change hands; an ordinary user need not try.
        with suppress(PermissionError):
            os.chown(path, wanted.st_uid, wanted.st_gid)
    os.chmod(path, stat.S_IMODE(wanted.st_mode))

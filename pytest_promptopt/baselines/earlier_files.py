"""Files as they were at a commit of git."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.text import excerpt

#: Seconds that git may take to answer.
PATIENCE = 30


@dataclass(frozen=True)
class EarlierFiles:
    """:param ref: as the user has named it.
    :param commit: what it stands for.
    """

    ref: str
    commit: str

    @classmethod
    def at(cls, ref: str, folder: Path) -> EarlierFiles:
        """The files of the repository that `folder` is in. Raises `SettingsError`."""
        if not ref or ref.startswith("-"):
            raise SettingsError(f"git:{ref}: name a commit, a branch or a tag, such as git:origin/main")
        status, found, said = _git(folder, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        if status:
            inside, _, why = _git(folder, "rev-parse", "--git-dir")
            if inside:
                raise SettingsError(f"git:{ref}: {_first(why) or 'this is no repository of git'}")
            raise SettingsError(
                f"git:{ref}: {_first(said) or 'there is no such commit here'}; in CI a checkout often has "
                f"only the last commit: fetch-depth: 0, or git fetch origin {ref.removeprefix('origin/')}"
            )
        return cls(ref, found.decode().strip())

    def read(self, path: Path) -> bytes | None:
        """What was in a file; None if the commit has none. Raises `SettingsError` where git is silent."""
        place = path.resolve()  # of a link git knows only where it leads
        status, content, _ = _git(place.parent, "cat-file", "blob", f"{self.commit}:./{place.name}")
        return None if status else content


def versions_of(path: Path, most: int) -> list[bytes]:
    """What was in a file at its last commits, the newest first, each once; nothing where git knows none."""
    place = path.resolve()
    try:
        status, found, _ = _git(place.parent, "log", f"-n{most}", "--format=%H", "--", f"./{place.name}")
        commits = [] if status else found.decode().split()
        read = [EarlierFiles(commit, commit).read(place) for commit in commits]
    except SettingsError:  # there is no git
        return []
    return list(dict.fromkeys(content for content in read if content is not None))


def _git(folder: Path, *args: str) -> tuple[int, bytes, str]:
    """Exit status, output and complaint of a command of git."""
    try:
        done = subprocess.run(["git", *args], cwd=folder, capture_output=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        raise SettingsError("git:REF needs the command git, and there is none on the PATH") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"git:REF: git cannot be asked: {error}") from None
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def _first(said: str) -> str:
    """The first line of a complaint."""
    return excerpt(said.strip().partition("\n")[0], 200)

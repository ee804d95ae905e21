"""Files with cases of a prompt that the command line leaves out: known from earlier runs, by pytest's cache.

What was not collected tells nothing. So each run that collects a folder keeps which of its files have cases
of which prompt, and a later run that was given only some of them knows that it runs a part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.text import plural, printable

if TYPE_CHECKING:
    from pytest_promptopt.pytest_engine.prompt_case import PromptCase

#: In pytest's cache: prompt -> the files, as seen from rootdir.
CACHED = "promptopt/files"

#: In a worker's input: what was left out.
KEY = "promptopt_left_out_files"

#: Files that are named of those that were left out.
MAX_FILES = 3


def files_of(cases: Iterable[PromptCase]) -> dict[str, list[str]]:
    """Prompt -> the files below rootdir that its cases are written in."""
    found: dict[str, set[str]] = {}
    for case in cases:
        root, path = case.item.config.rootpath, case.item.path
        if path.is_relative_to(root):
            for prompt in case.case.prompts:
                found.setdefault(prompt, set()).add(path.relative_to(root).as_posix())
    return {prompt: sorted(files) for prompt, files in found.items()}


def files_left_out(config: pytest.Config) -> dict[str, list[str]]:
    """Prompt -> the files with cases of it that are not collected because of the command line.

    A file that has gone meanwhile is none. Without pytest's cache, or before its first run, none is known.
    """
    if hasattr(config, "workerinput"):
        given: dict[str, list[str]] = config.workerinput.get(KEY, {})
        return given
    line = CommandLine(config)
    known = {
        prompt: [file for file in files if (config.rootpath / file).exists() and not line.reaches(file)]
        for prompt, files in _known(config).items()
    }
    return {prompt: files for prompt, files in known.items() if files}


def in_words(files: Sequence[str]) -> str:
    """``tests/a.py, tests/b.py, tests/c.py and 2 more files``."""
    more = f" and {plural(len(files) - MAX_FILES, 'more file')}" if len(files) > MAX_FILES else ""
    return f"{', '.join(map(printable, files[:MAX_FILES]))}{more}"


def tell_left_out(config: pytest.Config, worker_input: dict[str, Any]) -> None:
    """Tell a worker what was left out: it cannot read the command line as it was given."""
    if left_out := files_left_out(config):
        worker_input[KEY] = left_out


def remember_files(config: pytest.Config, collected: Mapping[str, Iterable[str]]) -> None:
    """Keep for later runs where prompts have cases: what this run has seen, and what it did not look at.

    To be called in the process that was started, when everything was collected without an error.

    :param collected: prompt -> the files in which its cases were found.
    """
    cache: pytest.Cache | None = getattr(config, "cache", None)
    if cache is None:
        return
    line, before = CommandLine(config), _known(config)
    now = {}
    for prompt in sorted({*before, *collected}):
        kept = {file for file in before.get(prompt, ()) if not line.reaches(file)}
        kept = {file for file in kept if (config.rootpath / file).exists()}
        if files := sorted(kept | set(filter(line.finds, collected.get(prompt, ())))):
            now[prompt] = files
    if now != before:
        cache.set(CACHED, now)


def _known(config: pytest.Config) -> dict[str, list[str]]:
    """What was kept; nothing where that cannot be read."""
    cache: pytest.Cache | None = getattr(config, "cache", None)
    found: Any = None if cache is None else cache.get(CACHED, {})
    try:
        return {str(prompt): list(map(str, files)) for prompt, files in found.items()}
    except (AttributeError, TypeError):
        return {}


class CommandLine:
    """Which files a session looks at, by the paths that it was given and those that it is to ignore.

    What the ini file always ignores is no choice of this run.
    """

    def __init__(self, config: pytest.Config) -> None:
        started = config.invocation_params.dir
        self._root = config.rootpath
        #: Whether it names modules, so that any file may be meant.
        self.names_modules = bool(config.option.pyargs)
        self._args = [started / arg.partition("::")[0] for arg in config.args]
        self._project = [
            Path(path)
            for pattern in config.getini("testpaths")
            for path in glob(str(config.rootpath / pattern), recursive=True)
        ]
        given = [str(arg) for arg in config.invocation_params.args]
        self._ignored = [str(started / path) for path in _values(given, "--ignore")]
        self._ignored_globs = [str(started / path) for path in _values(given, "--ignore-glob")]

    def reaches(self, file: str) -> bool:
        """Whether the session looks at a file."""
        path = self._root / file
        named = self.names_modules or any(path.is_relative_to(arg) for arg in self._args)
        return named and not any(map(self._ignores, map(str, (path, *path.parents))))

    def _ignores(self, path: str) -> bool:
        return path in self._ignored or any(fnmatch(path, glob) for glob in self._ignored_globs)

    def finds(self, file: str) -> bool:
        """Whether it finds the file in a folder, as a session of the whole project does.

        A file that was named, or stands elsewhere, may be no part of what the project runs.
        """
        path = self._root / file
        if self._project and not any(path.is_relative_to(folder) for folder in self._project):
            return False
        return any(path != arg and path.is_relative_to(arg) for arg in self._args)


def _values(args: Iterable[str], option: str) -> list[str]:
    """What an option was given, in both forms: ``--ignore=PATH`` and ``--ignore PATH``."""
    found, waits = [], False
    for arg in args:
        if waits:
            found.append(arg)
        elif arg.startswith(f"{option}="):
            found.append(arg.partition("=")[2])
        waits = arg == option and not waits
    return found

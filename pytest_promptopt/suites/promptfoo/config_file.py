"""A configuration as its file says it: references followed, other files read, with the line of everything."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.prompts.layout import decode
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.located_file import read_document
from pytest_promptopt.suites.located_yaml import plain_value
from pytest_promptopt.suites.promptfoo.not_supported import NotSupported, shown
from pytest_promptopt.text import shown_path

FILE = "file://"

#: Plain words of YAML that promptfoo's reader takes for a number or a date.
_OTHER_SCALAR = re.compile(
    r"[-+]?0(?:b[01_]+|x[0-9a-fA-F_]+|o[0-7_]+)|[-+]?\d[\d_]*(?:\.[\d_]*)?(?:[eE][-+]?\d+)?"
    r"|\.[\d_]+(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|\d{4}-\d\d?-\d\d?(?:(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)?",
    re.ASCII,
)
_MAGIC = re.compile(r"[*?{}\[\]]")


@dataclass(frozen=True)
class ConfigFile:
    """A configuration.

    :param path: of its file.
    :param root: what it says.
    :param embedding_model: compares texts by their embeddings; None where there is none.
    """

    path: Path
    rootdir: Path
    root: Located
    embedding_model: str | None = None

    @classmethod
    def read(cls, path: Path, rootdir: Path, embedding_model: str | None = None) -> ConfigFile:
        """Raises `PromptoptError` with ``file:line``."""
        root = read_document(path, rootdir)
        if root.value is None:
            root = replace(root, value={})
        return cls(path, rootdir, root.mapping("a configuration of promptfoo"), embedding_model)

    @property
    def folder(self) -> Path:
        """What its paths are relative to."""
        return self.path.parent

    def followed(self, given: Located, depth: int = 0) -> Located:
        """What a ``$ref`` stands for; anything else as it is. Raises `NotSupported`."""
        seen = depth
        while isinstance(given.value, dict) and "$ref" in given.value:
            reference = given.value["$ref"]
            seen += 1
            if not isinstance(reference, str) or not reference.startswith("#/") or seen > 20:
                raise NotSupported(
                    f"`$ref: {shown(reference)}` is followed within the file only", given.where()
                )
            given = self._at(reference, given, seen)
        return given

    def _at(self, reference: str, given: Located, depth: int) -> Located:
        found = self.root
        for step in reference[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            key: str | int = int(step) if isinstance(found.value, list) and step.isdigit() else step
            try:
                found = self.followed(found.at(key), depth)
            except (LookupError, TypeError):
                raise NotSupported(f"`$ref: {shown(reference)}` leads nowhere", given.where()) from None
        return found

    def file(self, name: str, where: str) -> Path:
        """A file that the configuration names. Raises `NotSupported`."""
        path = self.folder / name.removeprefix(FILE)
        if not os.path.isfile(path):
            raise NotSupported(f"there is no file {shown(name.removeprefix(FILE))}", where)
        return path

    def text(self, path: Path, where: str) -> str:
        """What is in a file. Raises `NotSupported`."""
        try:
            return decode(path.read_bytes(), name=self.name_of(path)).removeprefix("\ufeff")
        except (OSError, ValueError, PromptoptError) as error:
            raise NotSupported(f"{self.name_of(path)} cannot be read: {error}", where) from None

    def data(self, path: Path, where: str) -> Located:
        """What a YAML or JSON file says. Raises `NotSupported`."""
        try:
            return read_document(path, self.rootdir)
        except PromptoptError as error:
            raise NotSupported(str(error), where) from None

    def check_words(self, given: Located) -> None:
        """Raises `NotSupported` where promptfoo's YAML has another value than ours."""
        value = given.value
        if isinstance(value, str) and _OTHER_SCALAR.fullmatch(value):
            text = self.text(self.rootdir / given.name, given.where())
            if (given.line(), value) in _odd_words(text):
                said = f"promptfoo takes {value} for a number or a date; put it in quotes"
                raise NotSupported(said, given.where())
        elif isinstance(value, dict | list):
            for key in value if isinstance(value, dict) else range(len(value)):
                self.check_words(given.at(key))

    def name_of(self, path: Path) -> str:
        """How messages call a file."""
        return shown_path(path, self.rootdir)

    def folder_of(self, given: Located) -> Path:
        """The folder of the file that a value stands in."""
        return (self.rootdir / given.name).parent

    def matching(self, pattern: str, folder: Path | None = None) -> list[Path]:
        """The files that a pattern names, in order.

        :param folder: what it is relative to; None for that of the configuration.
        """
        pattern, folder = pattern.removeprefix(FILE), folder or self.folder
        if not is_pattern(pattern):
            path = folder / pattern
            return [path] if os.path.isfile(path) else []
        try:
            start = Path(pattern)
            found = start.parent.glob(start.name) if start.is_absolute() else folder.glob(pattern)
            return sorted(path for path in found if os.path.isfile(path))
        except (ValueError, NotImplementedError, OSError):
            return []


def is_pattern(path: str) -> bool:
    """Whether a path names files by a pattern."""
    return _MAGIC.search(path) is not None


@lru_cache(maxsize=8)
def _odd_words(text: str) -> frozenset[tuple[int, str]]:
    """Plain words of YAML, with their lines, that we take for a text, and promptfoo does not."""
    import yaml

    try:
        return frozenset(
            (token.start_mark.line + 1, token.value)
            for token in yaml.scan(text, Loader=yaml.SafeLoader)
            if isinstance(token, yaml.ScalarToken)
            and token.plain
            and _OTHER_SCALAR.fullmatch(token.value)
            and isinstance(plain_value(token.value), str)
        )
    except yaml.YAMLError:
        return frozenset()

"""The prompt of a judge: a prompt file, the user's own or one of the package.

What a judge is shown is data between tags. The tags of the prompt are made harmless in it, so that no answer
can end its own part and speak as the criterion does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pytest_promptopt.errors import PromptFileError, SettingsError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Message
from pytest_promptopt.tags import Tags
from pytest_promptopt.text import join_words

_PACKAGE = Path(__file__).parent.parent
_PROMPTS = Path(__file__).parent / "prompts"

#: What a judge's prompt must use, and what it may use besides.
GRADING = ("answer", "criterion")
COMPARING = ("first", "second", "criterion")
OPTIONAL = ("reference", "context")

_OWN_TAGS = ("criterion", "answer", "first_answer", "second_answer", "reference", "context")
_CLOSING_TAG = re.compile(r"</([A-Za-z][A-Za-z_]*)>")


@dataclass(frozen=True)
class JudgePrompt:
    """A prompt that a judge asks with; made by `of`, which checks it.

    :param file: the prompt file; its front matter may name a model and parameters.
    """

    file: PromptFile

    @classmethod
    def of(cls, file: PromptFile, needed: tuple[str, ...] = GRADING) -> JudgePrompt:
        """`file` as the prompt of a judge. Raises `SettingsError` when its variables are not a judge's."""
        known = (*needed, *OPTIONAL)
        accepted = f"it must use {_named(needed)}, and may use {_named(OPTIONAL)}"
        missing = [name for name in needed if name not in file.variables]
        if missing:
            raise SettingsError(f"{file.name}: the judge's prompt does not use {_named(missing)}; {accepted}")
        unknown = sorted(file.variables - {*known})
        if unknown:
            raise SettingsError(
                f"{file.name}: the judge's prompt uses {_named(unknown)}, which no judge gives; {accepted}"
            )
        return cls(file)

    @property
    def name(self) -> str:
        """The prompt's path as messages call it."""
        return self.file.name

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all in its file that decides what is asked: texts, language, parameters."""
        return self.file.fingerprint

    def messages(self, shown: Mapping[str, str]) -> tuple[Message, ...]:
        """What to send. Raises `SettingsError` when something is given that the prompt does not use.

        :param shown: the values of the variables, as far as the caller gave them.
        """
        for name in shown:
            if name not in self.file.variables:
                raise SettingsError(
                    f"judge(...): {name}= is given, but the judge's prompt {self.name} does not use `{name}`"
                )
        values = {name: self._tags.disarm(shown.get(name, "")) for name in self.file.variables}
        return self.file.render(values)

    @cached_property
    def _tags(self) -> Tags:
        """Those that no value may open or close."""
        return Tags(dict.fromkeys((*_OWN_TAGS, *map(str.lower, _CLOSING_TAG.findall(self.file.prose)))))


def grading_prompt(path: Path | str | None, *, rootdir: Path) -> JudgePrompt:
    """The prompt that grades one answer: the file at `path`, else the package's. Raises `SettingsError`."""
    return JudgePrompt.of(_file(path, "judge.md", rootdir), GRADING)


def comparing_prompt(path: Path | str | None = None, *, rootdir: Path) -> JudgePrompt:
    """The prompt that compares two answers: the file at `path`, else the package's."""
    return JudgePrompt.of(_file(path, "compare.md", rootdir), COMPARING)


def _file(path: Path | str | None, packaged: str, rootdir: Path) -> PromptFile:
    if path is None:
        return PromptFile.load(_PROMPTS / packaged, rootdir=_PACKAGE.parent)
    try:
        return PromptFile.load(path, rootdir=rootdir)
    except PromptFileError as error:
        raise SettingsError(f"the judge's prompt cannot be used: {error}") from None


def _named(names: tuple[str, ...] | list[str]) -> str:
    return join_words([f"`{name}`" for name in names])

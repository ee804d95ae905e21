"""The prompt of a judge: a prompt file, the user's own or one of the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import Message

_FOLDER = Path(__file__).parent / "prompts"

#: Variables that a judge's prompt must use, and those that it may use.
NEEDED = frozenset({"answer", "criterion"})
NEEDED_FOR_PAIRS = frozenset({"first", "second", "criterion"})
OPTIONAL = frozenset({"reference", "context"})


@dataclass(frozen=True)
class JudgePrompt:
    """A prompt that a judge asks with.

    :param file: the prompt file; its front matter may name a model and parameters.
    """

    file: PromptFile

    @property
    def name(self) -> str:
        """The prompt's path as messages call it."""
        return self.file.name

    @property
    def fingerprint(self) -> str:
        """sha256 of all in its file that decides what is asked: text, system message, parameters, model."""
        front = self.file.front
        parts = [
            self.file.prose,
            front.system,
            front.model,
            front.max_tokens,
            list(front.stop),
            front.parameters,
        ]
        return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def messages(self, variables: Mapping[str, str]) -> tuple[Message, ...]:
        """What to send; the variables are data, put between tags that they cannot close."""
        raise NotImplementedError


def grading_prompt(path: Path | str | None, *, rootdir: Path) -> JudgePrompt:
    """The prompt that grades one answer: the file at `path`, else the package's. Raises `SettingsError`."""
    raise NotImplementedError


def comparing_prompt(path: Path | str | None = None, *, rootdir: Path) -> JudgePrompt:
    """The prompt that compares two answers: the file at `path`, else the package's."""
    raise NotImplementedError


__all__ = ["JudgePrompt", "SettingsError", "comparing_prompt", "grading_prompt"]

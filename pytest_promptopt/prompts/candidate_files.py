"""Prompt files under other texts, each compiled once and not once a case."""

from __future__ import annotations

from pytest_promptopt.prompts.files import PromptFile


class CandidateFiles:
    """Remembers each file under each text that it was asked for."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], PromptFile] = {}

    def file(self, file: PromptFile, prose: str) -> PromptFile:
        """`file` with `prose` in the place of its own."""
        key = (file.name, prose)
        if key not in self._made:
            self._made[key] = file.with_prose(prose)
        return self._made[key]

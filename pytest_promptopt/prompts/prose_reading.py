"""From a prose to what can be rendered: its turns, their templates and their variables."""

from __future__ import annotations

from typing import Any

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.sources import SourceText
from pytest_promptopt.prompts.template_languages import PromptTemplate, TemplateLanguage


def read_prose(
    text: SourceText,
    prose: str,
    first_line: int,
    language: TemplateLanguage,
    system: PromptTemplate | None,
    *,
    name: str,
) -> dict[str, Any]:
    """What a prose comes to, as fields of `PromptFile`; raises `PromptFileError`."""
    turns = text.split(prose, first_line)
    for index, turn in enumerate(turns):
        if not turn.source and not text.allows_empty:
            raise PromptFileError(name, turn.line, f"the `{turn.role}:` turn is empty")
        if turn.role == "system" and (index or system):
            taken = "the front matter has a `system` already"
            why = taken if system else "`system:` must be the first turn"
            raise PromptFileError(name, turn.line, f"this `system:` turn cannot be used: {why}")
    if len(turns) > 1 and language.is_whole(prose):
        for turn in turns:
            if not language.is_whole(turn.source):
                reason = "a template block goes across role lines; turns are cut before they are rendered"
                raise PromptFileError(name, turn.line, f"{reason}, so give a history as messages=")
    templates = tuple(language.read(turn.source, name=name, line=turn.line) for turn in turns)
    used = [each for each in (*templates, system) if each]
    needed = frozenset().union(*(each.needed for each in used))
    if text.undefined_is_empty:
        needed = frozenset(
            name for name, about in text.inputs.items() if about.required and about.default is None
        )
    return {
        "variables": frozenset(text.inputs).union(*(each.variables for each in used)),
        "needed": needed,
        "roles": tuple(turn.role for turn in turns if turn.role),
        "_turns": templates,
    }

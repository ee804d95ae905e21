"""A rewrite that came back without the role lines of its prompt, cut into the prompt's turns again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.layout import unify_newlines

if TYPE_CHECKING:
    from pytest_promptopt.prompts.files import PromptFile


def with_lost_turns(prompt: PromptFile, prose: str) -> str:
    """`prose` with the role lines of `prompt` where it has none; `prose` itself where they are not lost.

    Who writes a prompt anew often gives the instructions alone, or instructions and input in one text. What
    belongs where is clear in a prompt of a `system:` and a `user:` turn: the user's turn begins on the first
    line with a variable of it, and is the prompt's own where there is none.
    """
    if not prompt.is_chat or prompt.roles != ("system", "user"):
        return prose
    try:
        system, user = prompt.turns
        asked = _variables(prompt, user.source) - _variables(prompt, system.source)
        lines = unify_newlines(prose).strip("\n").split("\n")
        if any(turn.role for turn in prompt.turns_of("\n".join(lines))):
            return prose
        starts = (number for number, line in enumerate(lines) if asked & _variables(prompt, line))
        start = next(starts, len(lines))
    except PromptFileError:  # a piece of code that is not closed: the checks of candidates say it better
        return prose
    instructions = "\n".join(lines[:start]).strip("\n")
    turn = "\n".join(lines[start:]) or user.source
    return f"system:\n{instructions}\nuser:\n{turn}" if instructions.strip() else prose


def _variables(prompt: PromptFile, source: str) -> set[str | None]:
    language = prompt.language
    return {
        language.plain_variable(code) for code in language.constructs(source, name=prompt.name, line=1)
    } - {None}

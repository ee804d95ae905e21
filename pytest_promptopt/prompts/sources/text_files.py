"""Markdown and text files: the text below the front matter, which may be another program's."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath

from pytest_promptopt.prompts.frontmatter import FrontMatter
from pytest_promptopt.prompts.layout import Layout, unify_newlines
from pytest_promptopt.prompts.roles import role_hints
from pytest_promptopt.prompts.sources.source import SourceText
from pytest_promptopt.prompts.templates import split_turns

#: Files that an agent reads as they stand, whatever looks like a template in them.
_AGENT_FILES = frozenset({"skill.md", "agents.md", "claude.md", "gemini.md"})

#: A name that a model can be asked by; other programs have names such as `sonnet`.
_MODEL = re.compile(r"claude-\S+|[^\s/]+/\S+|demo")


@dataclass(frozen=True)
class TextFile:
    """The text of a ``.md`` or ``.txt`` file; ``SKILL.md`` and ``AGENTS.md`` have no template language."""

    def read(self, content: bytes, *, name: str) -> SourceText:
        layout = Layout.read(content, name=name)
        front = FrontMatter()
        if layout.front is not None:
            front = FrontMatter.parse(unify_newlines(layout.front), name=name)
        for_agents = is_agent_file(name)
        hints = list(front.hints)
        if front.model and (front.foreign or for_agents) and not _MODEL.fullmatch(front.model):
            said = f"`model: {front.model}` is another program's name of a model and is passed over"
            hints.append((front.lines["model"], said))
            front = replace(front, model=None)
        language = front.template or ("none" if for_agents else "jinja2")
        if language == "jinja2":
            hints += role_hints(layout.prose, first_line=layout.first_line)
        return SourceText(
            prose=layout.prose,
            first_line=layout.first_line,
            replaced=partial(replaced_in, layout, name),
            edges=layout.edges,
            front=front,
            language=language,
            is_chat=True,
            split=lambda prose, first_line: split_turns(prose, first_line=first_line),
            hints=tuple(hints),
        )


def replaced_in(layout: Layout, name: str, prose: str, *, lenient: bool = False) -> str:
    """The file with another prose. Raises `ValueError` when that would not be read back."""
    text = layout.with_prose(prose)
    if Layout.read(text.encode(), name=name, lenient=lenient).prose != prose:
        raise ValueError("the text begins with what would be read as front matter or a byte order mark")
    return text


def is_agent_file(name: str) -> bool:
    """Whether an agent reads this file as it stands."""
    return PurePath(name).name.lower() in _AGENT_FILES

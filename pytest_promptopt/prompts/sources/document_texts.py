"""Prompts of promptfoo that are a whole document or a part of a text file.

``chat.json::$chat`` is a chat, ``chat.json::$text`` the same document as one message, ``prompts.txt::1`` the
second of the texts between ``---`` lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.layout import decode, unify_newlines
from pytest_promptopt.prompts.sources.source import SourceText, one_turn
from pytest_promptopt.prompts.template_languages.nunjucks import as_json
from pytest_promptopt.prompts.template_languages.nunjucks_filters import WHITESPACE
from pytest_promptopt.prompts.templates import Turn
from pytest_promptopt.text import value_of_json

#: What stands after ``::``.
CHAT, TEXT, DEFAULT = "$chat", "$text", "$prompt"

#: The name of promptfoo's template language.
NUNJUCKS = "nunjucks"

#: Between the prompts of a text file.
DELIMITER = "---"

_DEFAULT_PROMPT = "{{prompt}}"


def text_parts(text: str) -> list[str]:
    """The texts between ``---`` lines that are not empty."""
    parts: list[list[str]] = [[]]
    for line in unify_newlines(text).split("\n"):
        if line.strip() == DELIMITER:
            parts.append([])
        else:
            parts[-1].append(line)
    return [joined for part in parts if (joined := "\n".join(part)).strip()]


@dataclass(frozen=True)
class DocumentText:
    """A JSON or YAML document.

    :param is_chat: whether its messages are turns, or it is one message as a whole.
    """

    is_chat: bool

    def read(self, content: bytes, *, name: str) -> SourceText:
        text = decode(content, name=name)
        if not self.is_chat and name.endswith(".json") and as_json(text) is None:
            return SourceText(text, 1, _refused(text, text), language=NUNJUCKS)  # tags between its values
        value = _value(text, name)
        compact = json.dumps(value, ensure_ascii=False)
        if self.is_chat and not _is_chat(value):
            raise PromptFileError(name, None, "it is no list of messages with `role` and `content`")
        split = _messages if self.is_chat else one_turn
        return SourceText(compact, 1, _refused(compact, text), language=NUNJUCKS, split=split)


@dataclass(frozen=True)
class TextPart:
    """One of the prompts in a text file."""

    number: int

    def read(self, content: bytes, *, name: str) -> SourceText:
        text = decode(content, name=name)
        parts = text_parts(text)
        if self.number >= len(parts):
            raise PromptFileError(name, None, f"it has {len(parts)} prompts, so there is no {self.number}")
        part = parts[self.number].strip(WHITESPACE)
        line = unify_newlines(text)[: text.find(part)].count("\n") + 1
        return SourceText(part, line, _refused(part, text), language=NUNJUCKS)


class DefaultPrompt:
    """What promptfoo asks where a configuration has no prompts."""

    def read(self, content: bytes, *, name: str) -> SourceText:
        text = decode(content, name=name)
        return SourceText(_DEFAULT_PROMPT, 1, _refused(_DEFAULT_PROMPT, text), language=NUNJUCKS)


def _value(text: str, name: str) -> object:
    """Raises `PromptFileError`. Words of YAML stay texts: who needs numbers compares with what is read."""
    import yaml

    try:
        return value_of_json(text) if name.endswith(".json") else yaml.load(text, Loader=yaml.BaseLoader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise PromptFileError(name, None, f"it cannot be read: {error}") from None


def _is_chat(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
        for each in value
    )


def _messages(prose: str, first_line: int) -> tuple[Turn, ...]:
    return tuple(Turn(each["role"], each["content"], first_line) for each in json.loads(prose))


def _refused(prose: str, text: str) -> Callable[[str], str]:
    def replaced(wanted: str) -> str:
        if wanted != prose:
            raise ValueError("a document of messages, or a part of a text file, is not rewritten")
        return text

    return replaced


def sent_whole(text: SourceText, *, stripped: bool) -> SourceText:
    """A text as promptfoo sends it: one message, role lines and all.

    :param stripped: whether it is sent without blanks around it, else with the empty lines that it has.
    """
    if text.language == NUNJUCKS:
        return text
    before, after = ("", "") if stripped else text.edges

    def split(prose: str, first_line: int) -> tuple[Turn, ...]:
        sent = prose.strip(WHITESPACE) if stripped else before + prose + after
        return (Turn(None, sent, first_line - before.count("\n")),)

    return replace(text, split=split, is_chat=False)

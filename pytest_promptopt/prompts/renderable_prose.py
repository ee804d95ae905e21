"""A prose as its template language reads it, and the messages that it comes to with the values of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts.chat_turns import chat_messages, history_mark, sent_turns
from pytest_promptopt.prompts.placeholders import find_placeholders
from pytest_promptopt.prompts.sources import SourceText, file_of
from pytest_promptopt.prompts.template_languages import JINJA2, NONE, PromptTemplate, TemplateLanguage
from pytest_promptopt.records import Message

#: Arguments of ``prompt(...)`` that are no variables.
RESERVED = ("messages", "response_schema")


@dataclass(frozen=True)
class RenderableProse:
    """A prose, cut into turns and compiled.

    :param name: of the prompt.
    :param roles: of its turns; empty when it has no role lines.
    :param variables: names that a call may give, of the prose and of the front matter's `system`.
    :param needed: those of them that it must give.
    """

    name: str
    prose: str
    language: TemplateLanguage
    roles: tuple[str, ...]
    variables: frozenset[str]
    needed: frozenset[str]
    _text: SourceText = field(repr=False)
    _turns: tuple[PromptTemplate, ...] = field(repr=False)
    _system: PromptTemplate | None = field(repr=False)

    @classmethod
    def read(cls, text: SourceText, language: TemplateLanguage, *, name: str) -> RenderableProse:
        """The prose of a source. Raises `PromptFileError`."""
        system = None
        if text.front.system:
            line = text.front.lines["system"]
            system = JINJA2.read(text.front.system, name=file_of(name), line=line)
        return cls._read(text, text.prose, language, system, name)

    def with_prose(self, prose: str) -> RenderableProse:
        """Another prose at the same place. Raises `PromptFileError`."""
        return self._read(self._text, prose, self.language, self._system, self.name)

    @classmethod
    def _read(
        cls,
        text: SourceText,
        prose: str,
        language: TemplateLanguage,
        system: PromptTemplate | None,
        name: str,
    ) -> RenderableProse:
        file, turns = file_of(name), text.split(prose, text.first_line)
        for index, turn in enumerate(turns):
            if not turn.source and not text.allows_empty:
                raise PromptFileError(file, turn.line, f"the `{turn.role}:` turn is empty")
            if turn.role == "system" and (index or system):
                taken = "the front matter has a `system` already"
                why = taken if system else "`system:` must be the first turn"
                raise PromptFileError(file, turn.line, f"this `system:` turn cannot be used: {why}")
        if len(turns) > 1 and language.is_whole(prose):
            for turn in turns:
                if not language.is_whole(turn.source):
                    reason = "a template block goes across role lines; turns are cut before they are rendered"
                    raise PromptFileError(file, turn.line, f"{reason}, so give a history as messages=")
        templates = tuple(language.read(turn.source, name=file, line=turn.line) for turn in turns)
        used = [each for each in (*templates, system) if each]
        needed = frozenset().union(*(each.needed for each in used))
        if text.undefined_is_empty:
            needed = frozenset(
                name for name, about in text.inputs.items() if about.required and about.default is None
            )
        variables = frozenset(text.inputs).union(*(each.variables for each in used))
        roles = tuple(turn.role for turn in turns if turn.role)
        return cls(name, prose, language, roles, variables, needed, text, templates, system)

    @property
    def own_variables(self) -> frozenset[str]:
        """Those of the prose alone."""
        return frozenset().union(*(turn.variables for turn in self._turns))

    def render(
        self,
        variables: Mapping[str, object],
        *,
        messages: Sequence[Mapping[str, Any] | Message] = (),
        folders: Sequence[Path] = (),
    ) -> tuple[Message, ...]:
        """See `PromptFile.render`."""
        self._check_given(variables)
        values, histories = self._values(variables, folders)
        chat = chat_messages(messages, self.name, folders)
        if chat and self._system and not self.roles:
            raise RenderError(
                self.name,
                self._text.front.lines["system"],
                "with messages= the text of the prompt is the system message, but the front matter has a "
                "`system` too: drop it, or give the text a role line (`user:`)",
            )
        roles = self.roles or ("system" if chat else "user",)
        system = [Message("system", self._system.render(values))] if self._system else []
        turns = [
            message
            for role, turn in zip(roles, self._turns, strict=True)
            for message in sent_turns(role, turn.render(values), histories)
        ]
        if all(turn.role == "system" for turn in turns) and not chat:
            raise RenderError(
                self.name, None, "there is only a system message: add a `user:` turn or give messages="
            )
        return (*system, *turns, *chat)

    def _values(
        self, variables: Mapping[str, object], folders: Sequence[Path]
    ) -> tuple[Mapping[str, object], Mapping[str, tuple[Message, ...]]]:
        """What the template is given, and which marks in its result stand for a conversation."""
        values, histories = dict(variables), {}
        for name, about in self._text.inputs.items():
            if name not in values and about.default is not None:
                values[name] = about.default
            if about.is_history and isinstance(values.get(name), list | tuple):
                mark = history_mark(name)
                histories[mark] = chat_messages(values[name], self.name, folders)
                values[name] = mark
        if self._text.undefined_is_empty:
            values |= {name: _nothing(self.language, name) for name in self.variables - values.keys()}
        return values, histories

    def _check_given(self, variables: Mapping[str, object]) -> None:
        for name in RESERVED:
            if name in self.variables:
                said = f"`{name}` is an argument of prompt(...); call the variable otherwise"
                raise RenderError(self.name, self._line_of(name), said)
        if self.needed <= variables.keys() <= self.variables:
            return
        missing = sorted(self.needed - variables.keys())
        extra = sorted(variables.keys() - self.variables)
        problems = []
        if missing:
            problems.append(f"{listed(missing)} not given")
        if extra:
            problems.append(f"{listed(extra)} given but not used by the prompt")
        others = find_placeholders(self.language.without_code(self.prose))
        single = [name for name in extra if f"{{{name}}}" in others]
        if single and self.language is NONE:
            problems.append(f"it has {{{single[0]}}}, but no template language: name one by template=")
        elif single:
            problems.append(f"it has {{{single[0]}}}: write {self.language.written(single[0])}")
        raise RenderError(
            self.name,
            self._line_of(missing[0]) if missing else None,
            f"{', '.join(problems)}; given: {listed(sorted(variables))}; "
            f"the prompt declares: {listed(sorted(self.variables))}",
        )

    def _line_of(self, variable: str) -> int | None:
        templates = (self._system, *self._turns)
        lines = (t.variables[variable] for t in templates if t and variable in t.variables)
        return min(lines, default=None)  # a file may ask for what its text does not use


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def _nothing(language: TemplateLanguage, name: str) -> object:
    """What an empty variable is to a template: for Jinja2 one that is not defined."""
    if language is not JINJA2:
        return ""
    from jinja2 import Undefined

    return Undefined(name=name)

"""A prompt file: found, read, checked, rendered."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts.candidate_rules import added_code, added_variables, length_limit
from pytest_promptopt.prompts.chat_turns import chat_messages, history_mark, sent_turns
from pytest_promptopt.prompts.examples import fault_of_examples, without_examples
from pytest_promptopt.prompts.file_lookup import name_of, read_bytes
from pytest_promptopt.prompts.frontmatter import FrontMatter
from pytest_promptopt.prompts.kept_regions import OpenRegionError, changed_regions, kept_regions
from pytest_promptopt.prompts.language_guess import guess_language
from pytest_promptopt.prompts.layout import MAX_FILE_BYTES, unify_newlines
from pytest_promptopt.prompts.placeholders import find_placeholders, placeholder_objections, respelled
from pytest_promptopt.prompts.prose_reading import read_prose
from pytest_promptopt.prompts.sources import Address, SourceText, file_of, source_of
from pytest_promptopt.prompts.template_languages import (
    JINJA2,
    LANGUAGES,
    NONE,
    PromptTemplate,
    TemplateLanguage,
)
from pytest_promptopt.prompts.templates import Turn, split_turns
from pytest_promptopt.records import Message

#: How a template language writes what somebody used to Jinja2 would write otherwise.
_WRITING = {
    "format": "The text is for str.format: a variable is {name}, and any other brace is doubled, {{ and }}.",
    "percent": "The text is for Python's % operator: a variable is %(name)s, and any other % is doubled, %%.",
    "template": "The text is for string.Template: a variable is $name, and any other $ is doubled, $$.",
    "mustache": "The text is a Mustache template: a variable is {{name}}; add no sections.",
    "none": "The text is sent as it stands: nothing in it is filled in.",
}

#: Arguments of ``prompt(...)`` that are no variables.
RESERVED = ("messages", "response_schema")


@dataclass(frozen=True)
class PromptFile:
    """A prompt as it is on disk, or under a candidate prose (`with_prose`).

    :param path: of its file, absolute, symlinks not resolved.
    :param name: rootdir-relative POSIX path, with ``::PROMPT`` for what is in a file; how every message and
        every overlay calls the prompt.
    :param prose: the text that may be rewritten, with ``\\n`` line ends, without the line ends around it.
    :param original: the bytes that it was read from; a candidate keeps those of its file.
    :param on_disk: the bytes that lay in the file then: others, if it was read as it had been before.
    :param first_read: the bytes of the file when this process read it first: what an application that has
        imported it still works with.
    :param target: the real path of the file then.
    :param variables: names that a call may give, of the prose and of the front matter's `system`.
    :param needed: those of them that it must give.
    :param roles: roles of the chat turns; empty when the prose has no role lines.
    :param language: what the prose is written in; the front matter's `system` is always Jinja2.
    :param guessed: whether nobody has said so: what fills it in may be simpler than the language.
    """

    path: Path
    name: str
    front: FrontMatter
    prose: str
    original: bytes = field(repr=False)
    variables: frozenset[str]
    needed: frozenset[str]
    roles: tuple[str, ...]
    _text: SourceText = field(repr=False, compare=False)
    _turns: tuple[PromptTemplate, ...] = field(repr=False, compare=False)
    _system: PromptTemplate | None = field(repr=False, compare=False)
    on_disk: bytes = field(default=b"", repr=False)
    first_read: bytes = field(default=b"", repr=False, compare=False)
    target: str = ""
    language: TemplateLanguage = JINJA2
    guessed: bool = False

    @classmethod
    def load(
        cls,
        source: Address | Path | str,
        *,
        rootdir: Path,
        before: bytes | None = None,
        language: TemplateLanguage | None = None,
    ) -> PromptFile:
        """Read and check a prompt; a relative path is below `rootdir`. Raises `PromptFileError`.

        :param source: a path, or ``app/triage.py::PROMPT`` as a string.
        :param before: what was in the file at some time; read instead of what is there now.
        :param language: what it is written in; None has the file say so, or its text.
        """
        address = Address.parse(source).below(rootdir)
        file = name_of(address.path, rootdir)
        on_disk = read_bytes(address.path, file)
        try:
            kind, address = source_of(address)
        except ValueError as error:
            raise PromptFileError(file, None, str(error)) from None
        original = on_disk if before is None else before
        text = kind.read(original, name=file)
        guessed = language is None and not text.language
        if language is None:
            try:
                language = LANGUAGES[text.language] if text.language else guess_language(text.prose)
            except ValueError as error:
                raise PromptFileError(file, text.first_line, str(error)) from None
        system = None
        if text.front.system:
            system = JINJA2.read(text.front.system, name=file, line=text.front.lines["system"])
        name = str(Address(Path(file), address.inner)) if address.inner else file
        turns = read_prose(text, text.prose, text.first_line, language, system, name=file)
        found = cls(
            path=address.path,
            name=name,
            front=text.front,
            prose=text.prose,
            original=original,
            _text=text,
            _system=system,
            on_disk=on_disk,
            first_read=on_disk,
            target=os.path.realpath(address.path),
            language=language,
            guessed=guessed,
            **turns,
        )
        found._check_kept()
        return found

    def _check_kept(self) -> None:
        for index, entry in enumerate(self.front.keep):
            if not _has_lines(self.prose, entry):
                line = self.front.lines.get(f"keep.{index}", self.front.lines["keep"])
                raise PromptFileError(
                    self.file_name,
                    line,
                    f"`keep` names a line that is not in the prompt, spaces included: {entry!r}",
                )
        try:
            kept_regions(self.prose)
        except OpenRegionError as error:
            raise PromptFileError(self.file_name, self.first_line + error.line - 1, str(error)) from None

    def read_again(self, *, before: bytes | None = None) -> PromptFile:
        """The prompt as its file is now, or as it was with these bytes in it. Raises `PromptFileError`."""
        root = Path(os.path.realpath(self.path.parent)).joinpath(*[".."] * self.file_name.count("/"))
        read = PromptFile.load(str(self.place), rootdir=root, before=before, language=self.language)
        return replace(read, first_read=self.first_read, guessed=self.guessed)

    @property
    def place(self) -> Path:
        """Its file, with what is meant in it at the end; no path on the disk then."""
        return Path(f"{self.path}{self.name[len(self.file_name) :]}")

    def as_imported(self) -> PromptFile:
        """The prompt as this process read it first, which is what it may have imported."""
        return self if self.original == self.first_read else self.read_again(before=self.first_read)

    @property
    def file_name(self) -> str:
        """The name of its file, which other prompts may stand in as well."""
        return file_of(self.name)

    def render(
        self, variables: Mapping[str, object], *, messages: Sequence[Mapping[str, str] | Message] = ()
    ) -> tuple[Message, ...]:
        """The messages to send.

        With role lines: those turns. Without: the prose is the user message, or the system message when there
        are further `messages`. `messages` (user and assistant turns) come last and are not templates.

        Raises `RenderError` when a variable is missing or unknown, when the template fails on a value, or
        when `messages` are not plain chat turns.
        """
        self._check_given(variables)
        values, histories = self._values(variables)
        chat = chat_messages(messages, self.name)
        if chat and self._system and not self.roles:
            raise RenderError(
                self.name,
                self.front.lines["system"],
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
        self, variables: Mapping[str, object]
    ) -> tuple[Mapping[str, object], Mapping[str, tuple[Message, ...]]]:
        """What the template is given, and which marks in its result stand for a conversation."""
        values, histories = dict(variables), {}
        for name, about in self._text.inputs.items():
            if name not in values and about.default is not None:
                values[name] = about.default
            if about.is_history and isinstance(values.get(name), list | tuple):
                mark = history_mark(name)
                histories[mark] = chat_messages(values[name], self.name)
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
            problems.append(f"{_names(missing)} not given")
        if extra:
            problems.append(f"{_names(extra)} given but not used by the prompt")
        others = find_placeholders(self.language.without_code(self.prose))
        single = [name for name in extra if f"{{{name}}}" in others]
        if single and self.language is NONE:
            problems.append(f"it has {{{single[0]}}}, but no template language: name one by template=")
        elif single:
            problems.append(f"it has {{{single[0]}}}: write {self.language.written(single[0])}")
        raise RenderError(
            self.name,
            self._line_of(missing[0]) if missing else None,
            f"{', '.join(problems)}; given: {_names(sorted(variables))}; "
            f"the prompt declares: {_names(sorted(self.variables))}",
        )

    def _line_of(self, variable: str) -> int | None:
        templates = (self._system, *self._turns)
        lines = (t.variables[variable] for t in templates if t and variable in t.variables)
        return min(lines, default=None)  # a file may ask for what its text does not use

    def with_prose(self, prose: str) -> PromptFile:
        """The same file under a candidate; raises `PromptFileError` unless it can be read back."""
        prose = unify_newlines(prose).strip("\n")
        self._encoded(prose)
        if not prose.strip():
            raise PromptFileError(self.file_name, self.first_line, "the prompt is empty: there is no text")
        turns = read_prose(
            self._text, prose, self.first_line, self.language, self._system, name=self.file_name
        )
        return replace(self, prose=prose, **turns)

    @property
    def hints(self) -> tuple[str, ...]:
        """What a reader should look at, a sentence with its line each."""
        return tuple(f"{self.file_name}:{line}: {sentence}" for line, sentence in self._text.hints)

    @property
    def first_line(self) -> int:
        """The line of the file, from 1, where the prose begins."""
        return self._text.first_line

    @property
    def edges(self) -> tuple[str, str]:
        """The empty lines around the prose in its file, which an application may send or strip."""
        return self._text.edges

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The prose cut at its role lines; one turn without a role when it has none."""
        return self._split(self.prose)

    def _split(self, prose: str) -> tuple[Turn, ...]:
        return self._text.split(prose, self.first_line)

    @property
    def takes_no_examples(self) -> str:
        """Why the tool's own examples cannot stand in this prompt, in a sentence; empty when they can."""
        said = f"{self.name}: no examples are put into it, since"
        if self.language is not JINJA2:
            other = "it has none" if self.language is NONE else f"this is {self.language.name}"
            return f"{said} they need comments of the template language Jinja2, and {other}"
        if self.guessed:
            return f'{said} nobody says that it is Jinja2: give template="jinja2" in the mark if it is'
        if self.is_chat and self.turns != split_turns(self.prose, first_line=self.first_line):
            return f"{said} it has role lines of another form than `user:`, or text above the first"
        return ""

    @property
    def is_chat(self) -> bool:
        """Whether lines that are only a role begin turns in it."""
        return self._text.is_chat

    @property
    def writing_rules(self) -> tuple[str, ...]:
        """What who writes a candidate must know of its place, a sentence each."""
        told = [_WRITING[self.language.name]] if self.language.name in _WRITING else []
        if self._text.most_characters < MAX_FILE_BYTES:
            told.append(f"It has at most {self._text.most_characters:,} characters.")
        if kept_regions(self.prose):
            told.append(
                "Keep what stands between `promptopt: keep` and `/promptopt` as it is, marks and all."
            )
        return tuple(told)

    def content(self) -> bytes:
        """The whole file with the current prose; the bytes as read if that is unchanged."""
        return self._encoded(self.prose)

    def _encoded(self, prose: str) -> bytes:
        if prose == self._text.prose:
            return self.original
        try:
            content = self._text.replaced(prose).encode()
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            line = self.first_line + prose.count("\n", 0, prose.find(character))
            said = f"character U+{ord(character):04X} cannot be written as UTF-8"
            raise PromptFileError(self.file_name, line, said) from None
        except ValueError as error:
            raise PromptFileError(self.file_name, self.first_line, str(error)) from None
        if len(content) > MAX_FILE_BYTES:
            said = f"the file would have {len(content):,} bytes; it has at most {MAX_FILE_BYTES:,}"
            raise PromptFileError(self.file_name, None, said)
        return content

    def objections(self, prose: str) -> tuple[str, ...]:
        """Why a candidate may not replace the current prose, a sentence each; empty when it may.

        The region of its examples is the tool's own: it is outside the rules on length and chat roles.
        """
        prose = unify_newlines(prose).strip("\n")
        if prose.split() == self.prose.split():
            return ("It is the current text again.",)
        length = len(without_examples(prose))
        limit = min(length_limit(without_examples(self._text.prose)), self._text.most_characters)
        if length > limit:
            return (f"It has {length:,} characters; at most {limit:,} are accepted.",)
        if prose.startswith("---\n") and not self.prose.startswith("---\n"):
            return ("It begins with front matter; only the text below the front matter may be rewritten.",)
        try:
            return tuple(self._differences(prose))
        except PromptFileError as error:
            return (f"It is not a valid prompt: {str(error).rstrip('.')}.",)

    def _differences(self, prose: str) -> Iterator[str]:
        if problem := fault_of_examples(prose, current=self.prose):
            yield problem  # and no further: it is not safe to compile
            return
        body = without_examples(prose)
        was, turns = (self._split(text) for text in (without_examples(self.prose), body))
        before, after = self._code_in(was), self._code_in(turns)
        plain = self.language.plain_variable
        if code := tuple(added_code(before, after, plain)):
            yield from code  # and no further: it is not safe to compile
            yield from added_variables(before, after, self.variables, plain)
        else:
            used = self.with_prose(prose)._prose_variables
            for name in sorted(self._prose_variables - used):
                yield f"It lost the variable {self.language.written(name)}."
            for name in sorted(used - self.variables):
                yield f"It uses the variable {self.language.written(name)}, which the tests do not give."
        yield from placeholder_objections(
            *map(self.language.without_code, (without_examples(self.prose), body)),
            variables=self.variables,
            doubled=self.language.name not in ("jinja2", "mustache"),
        )
        if self.guessed:
            yield from respelled(self.prose, body)
        yield from changed_regions(without_examples(self.prose), body)
        for entry in self.front.keep:
            if not _has_lines(body, entry):
                yield f"It lost the line {entry!r}."
        roles, had = (tuple(turn.role for turn in each if turn.role) for each in (turns, was))
        if roles != had:
            yield f"It changed the chat roles from {_names(had)} to {_names(roles)}."
        elif [turn.attributes for turn in turns] != [turn.attributes for turn in was]:
            yield "It changed what stands in brackets after a role."

    def _code_in(self, turns: Iterable[Turn]) -> Counter[str]:
        read = self.language.constructs
        return sum((read(turn.source, name=self.name, line=turn.line) for turn in turns), Counter[str]())

    def unsendable(self, prose: str, given: Iterable[Mapping[str, str]]) -> str | None:
        """Why a candidate without `objections` cannot be sent for a case, in a sentence; None when it can.

        :param given: what cases gave, as it is noted for their calls: variables, and turns by their role.
            What the current text cannot be rendered with either tells nothing of the candidate.
        """
        candidate = self.with_prose(prose)
        for noted in given:
            variables = {name: noted[name] for name in noted if name in self.variables}
            chat = [Message(n.partition(" ")[0], noted[n]) for n in noted if n not in self.variables]
            with suppress(RenderError):
                before = self.render(variables, messages=chat)
                try:
                    after = candidate.render(variables, messages=chat)
                except RenderError as error:
                    said = str(error).rstrip(".")
                    return f"It cannot be sent for a case that the current text can be sent for: {said}."
                empty = [m.role for m in after if not m.content.strip()]
                if empty and all(m.content.strip() for m in before):
                    return f"Its `{empty[0]}:` turn is empty for a case."
        return None

    @property
    def _prose_variables(self) -> frozenset[str]:
        return frozenset().union(*(turn.variables for turn in self._turns))


def _has_lines(prose: str, entry: str) -> bool:
    return f"\n{entry}\n" in f"\n{prose}\n"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _nothing(language: TemplateLanguage, name: str) -> object:
    """What an empty variable is to a template: for Jinja2 one that is not defined."""
    if language is not JINJA2:
        return ""
    from jinja2 import Undefined

    return Undefined(name=name)

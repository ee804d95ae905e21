"""A prompt file: found, read, checked, rendered."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pytest_promptopt.errors import PromptFileError, RenderError, SettingsError
from pytest_promptopt.prompts.candidate_rules import added_code, added_variables, length_limit
from pytest_promptopt.prompts.examples import fault_of_examples, without_examples
from pytest_promptopt.prompts.frontmatter import FrontMatter
from pytest_promptopt.prompts.layout import MAX_FILE_BYTES, Layout, unify_newlines
from pytest_promptopt.prompts.placeholders import changed_placeholders, find_placeholders
from pytest_promptopt.prompts.roles import role_hints
from pytest_promptopt.prompts.template_languages import JINJA2, PromptTemplate, TemplateLanguage
from pytest_promptopt.prompts.templates import Turn, split_turns
from pytest_promptopt.records import Message

ENDINGS = (".md", ".txt")

#: Arguments of ``prompt(...)`` that are no variables.
RESERVED = ("messages", "response_schema")


@dataclass(frozen=True)
class PromptFile:
    """A prompt as it is on disk, or under a candidate prose (`with_prose`).

    :param path: absolute, symlinks not resolved.
    :param name: rootdir-relative POSIX path; how every message and every overlay calls the file.
    :param prose: the text below the front matter with ``\\n`` line ends, without the line ends around it.
    :param original: the bytes that it was read from; a candidate keeps those of its file.
    :param on_disk: the bytes that lay in the file then: others, if it was read as it had been before.
    :param target: the real path of the file then.
    :param variables: names that a call may give, of the prose and of the front matter's `system`.
    :param needed: those of them that it must give.
    :param roles: roles of the chat turns; empty when the prose has no role lines.
    :param language: what the prose is written in; the front matter's `system` is always Jinja2.
    """

    path: Path
    name: str
    front: FrontMatter
    prose: str
    original: bytes = field(repr=False)
    variables: frozenset[str]
    needed: frozenset[str]
    roles: tuple[str, ...]
    _turns: tuple[PromptTemplate, ...] = field(repr=False, compare=False)
    _system: PromptTemplate | None = field(repr=False, compare=False)
    on_disk: bytes = field(default=b"", repr=False)
    target: str = ""
    language: TemplateLanguage = JINJA2

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        rootdir: Path,
        before: bytes | None = None,
        language: TemplateLanguage = JINJA2,
    ) -> PromptFile:
        """Read and check a prompt file; a relative `path` is below `rootdir`. Raises `PromptFileError`.

        :param before: what was in it at some time; read instead of what is there now.
        """
        path = rootdir / path
        name = _name(path, rootdir)
        on_disk = _read(path, name)
        original = on_disk if before is None else before
        if path.suffix.lower() not in ENDINGS:
            endings = " or ".join(ENDINGS)
            raise PromptFileError(name, None, f"a prompt file ends in {endings}, {path.name!r} does not")
        layout = Layout.read(original, name=name)
        front = FrontMatter() if layout.front is None else FrontMatter.parse(layout.front, name=name)
        system = None
        if front.system:
            system = JINJA2.read(front.system, name=name, line=front.lines["system"])
        file = cls._build(path, name, front, system, original, layout, language)
        file = replace(file, on_disk=on_disk, target=os.path.realpath(path))
        for index, entry in enumerate(front.keep):
            if not _has_lines(file.prose, entry):
                line = front.lines.get(f"keep.{index}", front.lines["keep"])
                raise PromptFileError(
                    name, line, f"`keep` names a line that is not in the prompt, spaces included: {entry!r}"
                )
        return file

    @classmethod
    def _build(
        cls,
        path: Path,
        name: str,
        front: FrontMatter,
        system: PromptTemplate | None,
        original: bytes,
        layout: Layout,
        language: TemplateLanguage,
    ) -> PromptFile:
        turns = split_turns(layout.prose, first_line=layout.first_line)
        for index, turn in enumerate(turns):
            if not turn.source:
                raise PromptFileError(name, turn.line, f"the `{turn.role}:` turn is empty")
            if turn.role == "system" and (index or system):
                taken = "the front matter has a `system` already"
                why = taken if system else "`system:` must be the first turn"
                raise PromptFileError(name, turn.line, f"this `system:` turn cannot be used: {why}")
        if len(turns) > 1 and language.is_whole(layout.prose):
            for turn in turns:
                if not language.is_whole(turn.source):
                    reason = "a template block goes across role lines; turns are cut before they are rendered"
                    raise PromptFileError(name, turn.line, f"{reason}, so give a history as messages=")
        templates = tuple(language.read(turn.source, name=name, line=turn.line) for turn in turns)
        return cls(
            path=path,
            name=name,
            front=front,
            prose=layout.prose,
            original=original,
            variables=frozenset().union(*(t.variables for t in (*templates, system) if t)),
            needed=frozenset().union(*(t.needed for t in (*templates, system) if t)),
            roles=tuple(turn.role for turn in turns if turn.role),
            _turns=templates,
            _system=system,
            language=language,
        )

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
        chat = [self._chat_message(index, entry) for index, entry in enumerate(_listed(messages, self.name))]
        if chat and self._system and not self.roles:
            raise RenderError(
                self.name,
                self.front.lines["system"],
                "with messages= the text of the prompt is the system message, but the front matter has a "
                "`system` too: drop it, or give the text a role line (`user:`)",
            )
        roles = self.roles or ("system" if chat else "user",)
        system = [Message("system", self._system.render(variables))] if self._system else []
        turns = [Message(role, turn.render(variables)) for role, turn in zip(roles, self._turns, strict=True)]
        if roles == ("system",) and not chat:
            raise RenderError(
                self.name, None, "there is only a system message: add a `user:` turn or give messages="
            )
        return (*system, *turns, *chat)

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
        if single:
            problems.append(f"it has {{{single[0]}}}: write {self.language.written(single[0])}")
        raise RenderError(
            self.name,
            self._line_of(missing[0]) if missing else None,
            f"{', '.join(problems)}; given: {_names(sorted(variables))}; "
            f"the prompt declares: {_names(sorted(self.variables))}",
        )

    def _line_of(self, variable: str) -> int:
        templates = (self._system, *self._turns)
        return min(t.variables[variable] for t in templates if t and variable in t.variables)

    def _chat_message(self, index: int, entry: object) -> Message:
        def refuse(problem: str) -> RenderError:
            return RenderError(self.name, None, f"messages[{index}] {problem}")

        if isinstance(entry, Message):
            entry = {"role": entry.role, "content": entry.content}
        if not isinstance(entry, Mapping):
            raise refuse(f"must be a mapping with `role` and `content`, got {type(entry).__name__}")
        role, content = entry.get("role"), entry.get("content")
        unknown = sorted(str(key) for key in entry.keys() - {"role", "content"})
        if unknown or role in ("tool", "function"):
            has = _names(unknown) if unknown else f"role {role!r}"
            raise refuse(f"has {has}: tools are not supported yet, only `role` and `content`")
        if isinstance(content, list | tuple):
            raise refuse(
                "has a list as `content`; `content` must be a string, and parts are not supported yet"
            )
        if role not in ("user", "assistant"):
            raise refuse(f"has role {role!r}; accepted are 'user' and 'assistant'")
        if not isinstance(content, str):
            raise refuse(f"must have a string as `content`, got {type(content).__name__}")
        return Message(role, str(content))  # a Completion crosses no xdist channel

    def with_prose(self, prose: str) -> PromptFile:
        """The same file under a candidate; raises `PromptFileError` unless it can be read back."""
        prose = unify_newlines(prose).strip("\n")
        layout = Layout.read(self._encoded(prose), name=self.name)
        if layout.prose != prose:
            raise PromptFileError(
                self.name,
                layout.first_line,
                "the text begins with what would be read as front matter or a byte order mark",
            )
        built = self._build(
            self.path, self.name, self.front, self._system, self.original, layout, self.language
        )
        return replace(built, on_disk=self.on_disk, target=self.target)

    @property
    def hints(self) -> tuple[str, ...]:
        """What in the text looks like a chat and is none, a sentence with its line each."""
        found = role_hints(self.prose, first_line=self.first_line)
        return tuple(f"{self.name}:{line}: {sentence}" for line, sentence in found)

    @property
    def first_line(self) -> int:
        """The line of the file, from 1, where the prose begins."""
        return self._layout.first_line

    @property
    def edges(self) -> tuple[str, str]:
        """The empty lines around the prose in its file, which an application may send or strip."""
        before = unify_newlines(self._layout.before)
        above = before[len(before.rstrip("\n")) :]
        return (
            above if self._layout.front is None else above.removeprefix("\n"),
            unify_newlines(self._layout.after),
        )

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The prose cut at its role lines; one turn without a role when it has none."""
        return split_turns(self.prose, first_line=self.first_line)

    def content(self) -> bytes:
        """The whole file with the current prose; the bytes as read if that is unchanged."""
        return self._encoded(self.prose)

    def _encoded(self, prose: str) -> bytes:
        try:
            return self._layout.with_prose(prose).encode()
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            line = self.first_line + prose.count("\n", 0, prose.find(character))
            said = f"character U+{ord(character):04X} cannot be written as UTF-8"
            raise PromptFileError(self.name, line, said) from None

    @cached_property
    def _layout(self) -> Layout:
        return Layout.read(self.original, name=self.name)

    def objections(self, prose: str) -> tuple[str, ...]:
        """Why a candidate may not replace the current prose, a sentence each; empty when it may.

        The region of its examples is the tool's own: it is outside the rules on length and chat roles.
        """
        prose = unify_newlines(prose).strip("\n")
        if prose.split() == self.prose.split():
            return ("It is the current text again.",)
        length = len(without_examples(prose))
        limit = min(length_limit(without_examples(self._layout.prose)), MAX_FILE_BYTES)
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
        was, turns = (
            split_turns(text, first_line=self.first_line) for text in (without_examples(self.prose), body)
        )
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
        others = self.language.without_code
        yield from changed_placeholders(others(without_examples(self.prose)), others(body))
        for entry in self.front.keep:
            if not _has_lines(body, entry):
                yield f"It lost the line {entry!r}."
        roles, had = (tuple(turn.role for turn in each if turn.role) for each in (turns, was))
        if roles != had:
            yield f"It changed the chat roles from {_names(had)} to {_names(roles)}."

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


def locate_prompt_file(spec: object, *, test_dir: Path, rootdir: Path, where: str) -> Path:
    """The file that a mark at `where` (``file:line``) means: below the test's folder, else below `rootdir`.

    Raises `SettingsError` when `spec` is no path, `PromptFileError` when there is no such file.
    """
    if not isinstance(spec, str | Path) or not str(spec).strip() or "\0" in str(spec):
        raise SettingsError(f"{where}: a prompt is named by the path of its file, got {spec!r}")
    candidates = list(dict.fromkeys((test_dir / spec, rootdir / spec)))
    # `load` says what is wrong with a folder or a broken link, but a file wins.
    for exists in (Path.is_file, os.path.lexists):
        for path in candidates:
            if exists(path):
                return path
    looked = " and ".join(str(path) for path in candidates)
    raise PromptFileError(where, None, f"there is no prompt file '{spec}'; looked for {looked}")


def _name(path: Path, rootdir: Path) -> str:
    """Relative to rootdir by the real folder, so that ``tests/../prompts/a.md`` is ``prompts/a.md``."""
    root = os.path.realpath(rootdir)
    place = Path(os.path.realpath(path.parent), path.name)
    for real in (place, Path(os.path.realpath(path))):
        if not real.is_relative_to(root):
            raise PromptFileError(
                path, None, f"{real} is outside rootdir {root}; prompt files must be below it"
            )
    return place.relative_to(root).as_posix()


def _read(path: Path, name: str) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise PromptFileError(name, None, "is a folder, not a prompt file")
        if not stat.S_ISREG(status.st_mode):
            raise PromptFileError(name, None, "is not a regular file")
        with path.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        target = f"is a link to {os.readlink(path)}, which" if path.is_symlink() else "the file"
        raise PromptFileError(name, None, f"{target} does not exist") from None
    except OSError as error:
        raise PromptFileError(name, None, f"the file cannot be read: {error.strerror}") from None


def _listed(messages: object, name: str) -> Sequence[object]:
    if isinstance(messages, Sequence) and not isinstance(messages, str | bytes):
        return messages
    raise RenderError(name, None, f"messages= must be a list of chat turns, got {type(messages).__name__}")


def _has_lines(prose: str, entry: str) -> bool:
    return f"\n{entry}\n" in f"\n{prose}\n"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"

"""A prompt file: found, read, checked; under a candidate; and as bytes again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.candidate_rules import has_lines, objections_to, why_unsendable
from pytest_promptopt.prompts.file_lookup import name_of, read_bytes
from pytest_promptopt.prompts.frontmatter import FrontMatter
from pytest_promptopt.prompts.kept_regions import OpenRegionError, kept_regions
from pytest_promptopt.prompts.language_guess import guess_language
from pytest_promptopt.prompts.layout import MAX_FILE_BYTES, unify_newlines
from pytest_promptopt.prompts.lost_turns import with_lost_turns
from pytest_promptopt.prompts.renderable_prose import RenderableProse
from pytest_promptopt.prompts.sources import Address, SourceText, file_of, source_of
from pytest_promptopt.prompts.sources.document_texts import sent_whole
from pytest_promptopt.prompts.template_languages import JINJA2, LANGUAGES, NONE, NUNJUCKS, TemplateLanguage
from pytest_promptopt.prompts.templates import Turn, split_turns
from pytest_promptopt.records import Message

#: How a template language writes what somebody used to Jinja2 would write otherwise.
_WRITING = {
    "format": "The text is for str.format: a variable is {name}, and any other brace is doubled, {{ and }}.",
    "percent": "The text is for Python's % operator: a variable is %(name)s, and any other % is doubled, %%.",
    "template": "The text is for string.Template: a variable is $name, and any other $ is doubled, $$.",
    "mustache": "The text is a Mustache template: a variable is {{name}}; its sections stay, add none.",
    "nunjucks": "The text is a Nunjucks template, as in promptfoo: a variable is {{ name }}; add no tags.",
    "none": "The text is sent as it stands: nothing in it is filled in.",
}

#: What DSPy does with instructions.
_OF_DSPY = (
    "The text is the instructions of a DSPy predictor: DSPy itself adds the names of the fields and the "
    "layout of the answer, so it says nothing of them."
)


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
    :param language: what the prose is written in; the front matter's `system` is always Jinja2.
    :param guessed: whether nobody has said so: what fills it in may be simpler than the language.
    """

    path: Path
    name: str
    front: FrontMatter
    prose: str
    original: bytes = field(repr=False)
    _text: SourceText = field(repr=False, compare=False)
    _renderable: RenderableProse = field(repr=False, compare=False)
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
        if language is NUNJUCKS:  # a text of promptfoo's, unless the file says that it is Nunjucks
            text = sent_whole(text, stripped=address.path.suffix.lower() == ".txt")
        if language is None:
            try:
                language = LANGUAGES[text.language] if text.language else guess_language(text.prose)
            except ValueError as error:
                raise PromptFileError(file, text.first_line, str(error)) from None
        name = str(Address(Path(file), address.inner)) if address.inner else file
        found = cls(
            path=address.path,
            name=name,
            front=text.front,
            prose=text.prose,
            original=original,
            _text=text,
            _renderable=RenderableProse.read(text, language, name=name),
            on_disk=on_disk,
            first_read=on_disk,
            target=os.path.realpath(address.path),
            language=language,
            guessed=guessed,
        )
        found._check_kept()
        return found

    def _check_kept(self) -> None:
        for index, entry in enumerate(self.front.keep):
            if not has_lines(self.prose, entry):
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
    def fingerprint(self) -> str:
        """sha256 of all in it that decides what is asked: texts, language, parameters."""
        parts = {
            "prose": self.prose,
            "language": self.language.name,
            "system": self.front.system,
            "max_tokens": self.front.max_tokens,
            "stop": list(self.front.stop),
            "parameters": dict(self.front.parameters),
        }
        return sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """The name of its file, which other prompts may stand in as well."""
        return file_of(self.name)

    def render(
        self,
        variables: Mapping[str, object],
        *,
        messages: Sequence[Mapping[str, Any] | Message] = (),
        folders: Sequence[Path] = (),
    ) -> tuple[Message, ...]:
        """The messages to send.

        With role lines: those turns. Without: the prose is the user message, or the system message when there
        are further `messages`. `messages` (turns of user, assistant, tools) come last and are no templates.

        :param folders: where the path of a file in `messages` may begin.

        Raises `RenderError` when a variable is missing or unknown, when the template fails on a value, or
        when `messages` are not plain chat turns.
        """
        return self._renderable.render(variables, messages=messages, folders=folders)

    @property
    def variables(self) -> frozenset[str]:
        """Names that a call may give, of the prose and of the front matter's `system`."""
        return self._renderable.variables

    @property
    def needed(self) -> frozenset[str]:
        """Those of them that a call must give."""
        return self._renderable.needed

    @property
    def prose_variables(self) -> frozenset[str]:
        """Those of the prose alone."""
        return self._renderable.own_variables

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of the chat turns; empty when the prose has no role lines."""
        return self._renderable.roles

    def with_prose(self, prose: str) -> PromptFile:
        """The same file under a candidate; raises `PromptFileError` unless it can be read back."""
        prose = unify_newlines(prose).strip("\n")
        self._encoded(prose)
        if not prose.strip():
            raise PromptFileError(self.file_name, self.first_line, "the prompt is empty: there is no text")
        return replace(self, prose=prose, _renderable=self._renderable.with_prose(prose))

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
        return self.turns_of(self.prose)

    def turns_of(self, prose: str) -> tuple[Turn, ...]:
        """Another prose, cut in the same way."""
        return self._text.split(prose, self.first_line)

    @property
    def prose_on_disk(self) -> str:
        """The prose that was read, whatever candidate this is."""
        return self._text.prose

    @property
    def most_characters(self) -> int:
        """How long its place lets a prose be."""
        return self._text.most_characters

    @property
    def is_dspy(self) -> bool:
        """Whether it is the instructions of a predictor of DSPy, which DSPy lays out."""
        return self._text.is_dspy

    @property
    def takes_no_examples(self) -> str:
        """Why the tool's own examples cannot stand in this prompt, in a sentence; empty when they can."""
        said = f"{self.name}: no examples are put into it, since"
        if self.is_dspy:
            return f"{said} DSPy keeps its demonstrations beside the instructions"
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
        if self.is_dspy:
            told.append(_OF_DSPY)
        if self.most_characters < MAX_FILE_BYTES:
            told.append(f"It has at most {self.most_characters:,} characters.")
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

    def with_lost_turns(self, prose: str) -> str:
        """A rewrite with this prompt's turns, where whoever wrote it left out the role lines."""
        return with_lost_turns(self, prose)

    def objections(self, prose: str) -> tuple[str, ...]:
        """Why a candidate may not replace the current prose, a sentence each; empty when it may."""
        return objections_to(self, prose)

    def unsendable(self, prose: str, given: Iterable[Mapping[str, str]]) -> str | None:
        """Why a candidate without `objections` cannot be sent for a case, in a sentence; None when it can."""
        return why_unsendable(self, prose, given)

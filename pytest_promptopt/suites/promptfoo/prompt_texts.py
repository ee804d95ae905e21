"""The prompts of a configuration: each as a place that prompt sources know, and as promptfoo has it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_promptopt.prompts.sources.address import SEPARATOR
from pytest_promptopt.prompts.sources.document_texts import CHAT, DEFAULT, TEXT, text_parts
from pytest_promptopt.prompts.template_languages.javascript_values import NotTheSame, json_text
from pytest_promptopt.prompts.template_languages.nunjucks import as_json, is_sent_as_it_stands
from pytest_promptopt.prompts.template_languages.nunjucks_filters import WHITESPACE
from pytest_promptopt.suites.located import Located
from pytest_promptopt.suites.promptfoo.config_file import FILE, ConfigFile, is_pattern
from pytest_promptopt.suites.promptfoo.not_supported import NotSupported, shown

#: What promptfoo asks if a configuration has no prompts.
DEFAULT_PROMPT = "{{prompt}}"

_ENDINGS = (
    ".cjs", ".cts", ".j2", ".js", ".json", ".jsonl", ".md", ".mjs", ".mts", ".py", ".ts", ".txt", ".yml",
    ".yaml",
)  # fmt: skip
_ELSEWHERE = ("portkey://", "langfuse://", "helicone://")
_CODE = (".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".py", ".go", ".rb", ".sh")
_YAML_CHAT = re.compile(r"\s*-\s+role\s*:")


@dataclass(frozen=True)
class PromptText:
    """A prompt.

    :param address: where it stands, relative to the configuration's folder.
    :param text: as promptfoo has it before it fills it in.
    :param label: how a provider's ``prompts`` calls it.
    :param where: ``file:line``.
    :param document: whether it is a JSON or YAML document, which may be a chat.
    :param frozen: whether no other text can take its place.
    """

    address: str
    text: str
    label: str
    where: str
    document: bool = False
    frozen: bool = False

    @property
    def is_json(self) -> bool:
        """Whether each text in it is a template of its own."""
        return as_json(self.text) is not None

    def for_provider(self, *, echoes: bool) -> PromptText:
        """The same as a provider takes it: a document is a chat to all but `echo`. Raises `NotSupported`."""
        if echoes:
            return replace(self, address=self.address + TEXT) if self.document else self
        value = as_json(self.text)
        if self.document and value is None:
            said = "a JSON file with tags between its values is a chat that is not supported"
            raise NotSupported(said, self.where)
        if isinstance(value, list | dict) or _YAML_CHAT.match(self.text):
            if not self.document:
                said = (
                    "a chat is supported in a file of its own, .json or .yaml, not within the configuration"
                )
                raise NotSupported(said, self.where)
            if problem := why_no_chat(value):
                raise NotSupported(problem, self.where)
            return replace(self, address=self.address + CHAT)
        return replace(self, address=self.address + TEXT) if self.document else self


def why_no_chat(value: Any) -> str:
    """Why a document is no chat that can be sent, in a sentence; empty when it is one."""
    if not isinstance(value, list) or not value:
        return "a JSON prompt must be a list of messages"
    for number, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            return f"the content of message {number + 1} is no text"
        if set(message) != {"role", "content"}:
            return f"message {number + 1} has more than `role` and `content`"
        if message["role"] not in ("system", "user", "assistant"):
            return f"the role {shown(message['role'])} is not supported"
        if message["role"] == "system" and number:
            return "a system message must be the first"
        if as_json(message["content"]) is not None:
            return f"the content of message {number + 1} is JSON itself"
        if is_sent_as_it_stands(message["content"]):
            return f"a tag is open at the end of a line in message {number + 1}"
    return "" if value[-1]["role"] == "user" else "the last message must be the user's"


def prompts_of(config: ConfigFile) -> Iterator[PromptText | NotSupported]:
    """In their order; what cannot be used is told at its line."""
    given = config.root.get("prompts")
    if given is None:
        yield PromptText(f"{config.path.name}{SEPARATOR}{DEFAULT}", DEFAULT_PROMPT, DEFAULT_PROMPT,
                         config.root.where(), frozen=True)  # fmt: skip
        return
    if isinstance(given.value, str):
        yield from _tried(config, given, "prompts")
        return
    if not isinstance(given.value, list):
        yield NotSupported("prompts as a mapping are not supported; write a list", given.where())
        return
    for number, entry in enumerate(given.items()):
        yield from _tried(config, entry, f"prompts[{number}]")


def _tried(config: ConfigFile, entry: Located, place: str) -> Iterator[PromptText | NotSupported]:
    try:
        yield from _entry(config, entry, place)
    except NotSupported as problem:
        yield problem


def _entry(config: ConfigFile, entry: Located, place: str) -> Iterator[PromptText]:
    if isinstance(entry.value, dict) and "$ref" in entry.value:
        raise NotSupported("a prompt by `$ref` is not supported", entry.where())
    given, label = entry, ""
    if isinstance(entry.value, dict):
        key = "raw" if entry.value.get("raw") else "id"
        label = str(entry.value.get("label") or "")
        if entry.value.get("function") or entry.value.get("config"):
            raise NotSupported("`config` of a prompt is not supported", entry.where("config"))
        if not isinstance(entry.value.get(key), str):
            raise NotSupported("a prompt must have `raw` or `id`, a text", entry.where())
        given, place = entry.at(key), f"{place}.{key}"
    if not isinstance(given.value, str):
        raise NotSupported("a prompt must be a text", given.where())
    config.check_words(given)
    text: str = given.value
    if text.startswith(_ELSEWHERE) or text.startswith("exec:"):
        raise NotSupported(f"{shown(text)}: only texts and files are supported", given.where())
    inline = PromptText(f"{config.path.name}{SEPARATOR}{place}", text, label or text, given.where())
    if not may_be_path(text):
        yield inline
        return
    yield from _of_path(config, given, label, inline)


def may_be_path(text: str) -> bool:
    """Whether promptfoo looks for a file of this name."""
    if "\n" in text or any(word in text for word in _ELSEWHERE):
        return False
    tokens = text.split(":")
    return (
        text.startswith(FILE)
        or any(token.endswith(_ENDINGS) for token in tokens[-2:])
        or text[-3:-2] == "."
        or text[-4:-3] == "."
        or any(mark in text for mark in "*/\\")
    )


def _of_path(config: ConfigFile, given: Located, label: str, inline: PromptText) -> Iterator[PromptText]:
    name = given.value.removeprefix(FILE)
    path = config.folder / name
    if os.path.isdir(path):
        raise NotSupported("a folder of prompts is not supported; name its files", given.where())
    if is_pattern(name):
        found = config.matching(name)
        for each in found:
            yield from _file(config, each, "", given.where())
        if not found:
            yield inline
        return
    head = name.rpartition(":")[0]
    if name.endswith(_CODE) or head.endswith(_CODE):
        raise NotSupported(f"{shown(name)}: prompts that code makes are not supported", given.where())
    yield from _file(config, config.file(name, given.where()), label, given.where())


def _file(config: ConfigFile, path: Path, label: str, where: str) -> Iterator[PromptText]:
    address = Path(os.path.relpath(path, config.folder)).as_posix()
    ending = path.suffix.lower()
    text = config.text(path, where)
    if ending == ".txt":
        parts = text_parts(text)
        if not parts:
            raise NotSupported(f"there are no prompts in {address}", where)
        for number, part in enumerate(parts):
            inner = f"{SEPARATOR}{number}" if len(parts) > 1 or "---" in text else ""
            part = part.strip(WHITESPACE)
            shown_label = f"{address}: {part}"
            called = f"{label}: {shown_label}" if label else shown_label
            yield PromptText(address + inner, part, called, where, frozen=bool(inner))
    elif ending == ".md":
        if "\r" in text or text.startswith(("---", "+++")):
            raise NotSupported(f"{address}: Windows line ends and front matter are not supported here", where)
        yield PromptText(address, text, label or address, where)
    elif ending in (".json", ".yaml", ".yml"):
        raw = document_text(config, path, where)
        yield PromptText(f"{address}{SEPARATOR}", raw, label or address, where, document=True, frozen=True)
    else:
        raise NotSupported(f"{address}: prompts in a {ending or 'nameless'} file are not supported", where)


def document_text(config: ConfigFile, path: Path, where: str) -> str:
    """A JSON or YAML file as promptfoo sends it: written anew on one line. Raises `NotSupported`."""
    if path.suffix.lower() == ".json" and as_json(text := config.text(path, where)) is None:
        return text
    located = config.data(path, where)
    config.check_words(located)
    if FILE in json.dumps(located.value):
        raise NotSupported(f"{config.name_of(path)} names other files, which is not supported", where)
    try:
        return json_text(located.value)
    except NotTheSame as error:
        raise NotSupported(f"{config.name_of(path)}: {error}", where) from None

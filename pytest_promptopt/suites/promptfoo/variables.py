"""The variables of a test: lists multiply it, files are read, and values are filled into each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.template_languages.javascript_values import NotTheSame, json_text, text_of
from pytest_promptopt.prompts.template_languages.nunjucks import render_text, text_prompt
from pytest_promptopt.prompts.template_languages.nunjucks_filters import WHITESPACE
from pytest_promptopt.suites.promptfoo.config_file import FILE, ConfigFile
from pytest_promptopt.suites.promptfoo.not_supported import NotSupported, shown

Variables = Mapping[str, Any]

#: Combinations of one test.
MAX_COMBINATIONS = 10_000
#: How often promptfoo looks for variables in variables.
_MAX_ROUNDS = 5

_PLAIN = re.compile(r"\{\{\s*(\w+)\s*\}\}", re.ASCII)
_NAMES = re.compile(
    r"\{\{\s*([^{}\s|]+)\s*(?:\|[^}]+)?\}\}|\{%\s*(?:if|for)\s+([^{}\s]+)\s*[^\n]*?%\}", re.ASCII
)
_COMMENT = re.compile(r"\{#[\s\S]*?#\}")
_LOOP = re.compile(r"\{%\s*for\s+(\w+)\s+in\s+(\w+)\s*%\}", re.ASCII)
_ROOT = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SPECIAL = re.compile(r"\$[$&`'0-9<]")
_BINARY = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".svg", ".pdf", ".mp3", ".wav", ".mp4", ".webm")
_CODE = (".js", ".cjs", ".mjs", ".ts", ".py")


def combinations(config: ConfigFile, given: Variables, where: str) -> Iterator[dict[str, Any]]:
    """A list of texts stands for each of them. Raises `NotSupported`."""
    found: list[dict[str, Any]] = [{}]
    for name, value in given.items():
        values = [value]
        if isinstance(value, str) and value.startswith(FILE):
            paths = config.matching(value)
            if not paths:
                raise NotSupported(f"there is no file {shown(value.removeprefix(FILE))}", where)
            values = [f"{FILE}{path}" for path in paths]
        elif isinstance(value, list) and value and isinstance(value[0], str):
            values = value
        if len(found) * len(values) > MAX_COMBINATIONS:
            raise NotSupported(f"the lists of its variables give more than {MAX_COMBINATIONS:,} cases", where)
        found = [{**each, name: value} for each in found for value in values]
    yield from found


def resolved(config: ConfigFile, given: Variables, where: str) -> dict[str, Any]:
    """Files read, and variables within variables filled in. Raises `NotSupported`."""
    values = {name: _loaded(config, value, where) for name, value in given.items()}
    values = {
        name: value.removesuffix("\n") if isinstance(value, str) else value for name, value in values.items()
    }
    for _ in range(_MAX_ROUNDS):
        changed = False
        for name, value in values.items():
            found = _PLAIN.search(value) if isinstance(value, str) else None
            if found is None or found[1] not in values:
                continue
            put = _text(values[found[1]], where)
            if _SPECIAL.search(put):
                raise NotSupported(
                    f"JavaScript puts the $ of `{found[1]}` into `{name}` in its own way", where
                )
            values[name] = value[: found.start()] + put + value[found.end() :]
            changed = True
        if not changed:
            break
    return values


def _loaded(config: ConfigFile, value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    if value.startswith("package:"):
        raise NotSupported("values that a package makes are not supported", where)
    if not value.startswith(FILE):
        return value
    path = config.file(value, where)
    ending = path.suffix.lower()
    if ending in _CODE or ending in _BINARY:
        kind = "code makes" if ending in _CODE else "are no text"
        raise NotSupported(f"{path.name}: variables that {kind} are not supported", where)
    if ending in (".yaml", ".yml"):
        located = config.data(path, where)
        config.check_words(located)
        return _json(located.value, where)
    return config.text(path, where).strip(WHITESPACE)


def filled(given: Variables, *, name: str, where: str) -> dict[str, Any]:
    """Each text as a template of the others, as promptfoo does before it fills in a prompt.

    Raises `NotSupported`."""
    return {
        key: _filled(value, given, name=name, where=where) if isinstance(value, str) else value
        for key, value in given.items()
    }


def _filled(text: str, given: Variables, *, name: str, where: str) -> str:
    if "{" not in text or _uses_unknown(text, given):
        return text
    try:
        return text_prompt(text, name=name, line=1).render(given)
    except PromptFileError as error:
        raise NotSupported(f"the variable {shown(text)!r}: {said_of(error)}", where) from None


def _uses_unknown(text: str, given: Variables) -> bool:
    """Whether promptfoo sends a value as it stands, since it names what is not given."""
    text = _COMMENT.sub("", text)
    names = {each[1] or each[2] for each in _NAMES.finditer(text)}
    for each in _LOOP.finditer(text):
        names.discard(each[1])
        names.add(each[2])
    roots = (_ROOT.match(name) for name in names)
    return any(root[0] != "env" and root[0] not in given for root in roots if root)


def rendered(text: str, given: Variables, where: str) -> str:
    """A value of an assertion, filled in. Raises `NotSupported`."""
    if "{" not in text and "#}" not in text:
        return text
    try:
        return render_text(text, given, name="", line=1)
    except PromptFileError as error:
        raise NotSupported(f"{shown(text)!r}: {said_of(error)}", where) from None


def said_of(error: PromptFileError) -> str:
    """What is wrong, without the place."""
    return str(error).partition(": ")[2]


def _text(value: Any, where: str) -> str:
    try:
        return text_of(value)
    except NotTheSame as error:
        raise NotSupported(str(error), where) from None


def _json(value: Any, where: str) -> str:
    try:
        return json_text(value)
    except NotTheSame as error:
        raise NotSupported(str(error), where) from None

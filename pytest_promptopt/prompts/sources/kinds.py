"""Which kind of source an address means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytest_promptopt.prompts.sources.address import SEPARATOR, Address, with_inner
from pytest_promptopt.prompts.sources.document_texts import (
    CHAT,
    DEFAULT,
    TEXT,
    DefaultPrompt,
    DocumentText,
    TextPart,
)
from pytest_promptopt.prompts.sources.dspy_states import JsonText
from pytest_promptopt.prompts.sources.key_paths import KeyPath
from pytest_promptopt.prompts.sources.probed_values import toml_value
from pytest_promptopt.prompts.sources.prompty_files import PromptyFile
from pytest_promptopt.prompts.sources.python_constants import PythonConstant
from pytest_promptopt.prompts.sources.source import Source
from pytest_promptopt.prompts.sources.text_files import TextFile
from pytest_promptopt.prompts.sources.yaml_values import FrontMatterValue, YamlValue

#: Files that are a prompt as a whole, by their ending.
_WHOLE: Mapping[str, Source] = {".md": TextFile(), ".txt": TextFile(), ".prompty": PromptyFile()}

#: Files that a prompt stands in, by their ending.
_INSIDE: Mapping[str, Callable[[KeyPath], Source]] = {
    ".yaml": YamlValue,
    ".yml": YamlValue,
    ".json": JsonText,
    ".toml": toml_value,
    ".md": FrontMatterValue,
}

#: Files that promptfoo takes for a chat as a whole.
_DOCUMENTS = (".yaml", ".yml", ".json")

ACCEPTED = (
    "accepted are a .md, .txt or .prompty file, file.py::CONSTANT, file.py::Class.CONSTANT, "
    "file.py::DICT.key, FILE::key.path with a .yaml, .yml, .json or .toml file, and file.md::key of its "
    "front matter"
)


def source_of(address: Address) -> tuple[Source, Address]:
    """The source that an address means, and the address as names have it.

    Raises `ValueError`, in a sentence, when there is no such kind.
    """
    ending, inner = address.path.suffix.lower(), address.inner
    if ending in _DOCUMENTS and inner in (CHAT, TEXT):
        return DocumentText(is_chat=inner == CHAT), address
    if ending in _DOCUMENTS and inner == DEFAULT:
        return DefaultPrompt(), address
    if ending == ".txt" and inner.isdecimal():
        return TextPart(int(inner)), address
    if not inner and ending in _WHOLE:
        return _WHOLE[ending], address
    if inner and ending == ".py":
        path = KeyPath.parse(inner)
        if not str(path.steps[0]).isidentifier():
            said = "such as PROMPT, Triage.PROMPT or PROMPTS.triage"
            raise ValueError(f"`{inner}` is no name of a constant, {said}")
        return PythonConstant(path), Address(address.path, str(path))
    if inner and ending in _INSIDE:
        path = KeyPath.parse(inner)
        return _INSIDE[ending](path), Address(address.path, str(path))
    if ending == ".pkl":
        raise ValueError('a program in a pickle cannot be rewritten; save its state: save("program.json")')
    written = with_inner(address.path.name, inner)
    if ending in (".py", *_INSIDE):
        needs = "the name of a constant" if ending == ".py" else "the path to a value"
        raise ValueError(f"{written!r} needs {needs} after `{SEPARATOR}`; {ACCEPTED}")
    raise ValueError(f"a prompt cannot be read from {written!r}; {ACCEPTED}")


def looks_like_source(given: str) -> bool:
    """Whether a text can be meant as a prompt, by its ending."""
    address = Address.parse(given)
    if address.inner.isdecimal() and address.path.suffix.lower() == ".txt":
        return True
    endings = (".py", *_INSIDE) if address.inner else (*_WHOLE, ".py")
    return address.path.suffix.lower() in endings

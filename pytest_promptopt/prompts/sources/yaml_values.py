"""``config/prompts.yaml::triage.system``: a text in a YAML file, or in front matter of a Markdown file."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePath
from typing import Any

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.layout import FramedText, Layout, decode, usual_line_end
from pytest_promptopt.prompts.sources.key_paths import KeyPath, item_number, missing
from pytest_promptopt.prompts.sources.source import SourceText
from pytest_promptopt.prompts.sources.yaml_scalars import Scalar

_TEXT = "tag:yaml.org,2002:str"
#: Of a skill, by agentskills.io; an agent reads no longer one.
MOST_OF_DESCRIPTION = 1_024

#: An anchor or a tag before a text.
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")
_LINE = re.compile(r"(?P<line>[^\r\n]*)(?P<end>\r\n|\r|\n|\Z)")


@dataclass(frozen=True)
class YamlValue:
    """A text in a YAML file."""

    path: KeyPath

    def read(self, content: bytes, *, name: str) -> SourceText:
        text = decode(content, name=name)
        return _read(self.path, text, 0, len(text), name=name)


@dataclass(frozen=True)
class FrontMatterValue:
    """``SKILL.md::description``: a text in the front matter of a Markdown file, sent as it stands."""

    path: KeyPath

    def read(self, content: bytes, *, name: str) -> SourceText:
        layout = Layout.read(content, name=name)
        if layout.front is None:
            raise PromptFileError(name, 1, f"there is no front matter, so no `{self.path}` in it")
        text, start = decode(content, name=name), layout.front_start
        found = _read(self.path, text, start, start + len(layout.front), name=name, language="none")
        if PurePath(name).name.lower() == "skill.md" and self.path.steps == ("description",):
            return replace(found, most_characters=MOST_OF_DESCRIPTION)
        return found


def _read(path: KeyPath, text: str, start: int, end: int, *, name: str, language: str = "") -> SourceText:
    document = _Document.parse(text[start:end], text.count("\n", 0, start) + 1, name=name)
    node, indent = document.find(path)
    line = document.line_at(node.start_mark.index)
    frame = FramedText.of(node.value)
    if not frame.body.strip():
        raise PromptFileError(name, line, f"the prompt is empty: `{path}` has no text")
    scalar = document.scalar(node, indent, usual_line_end(text))
    others = document.shape(node)

    def replaced(prose: str) -> str:
        wanted = frame.with_prose(prose)
        for yaml in scalar.rewritten(wanted):
            try:
                after = _Document.parse(yaml, document.first_line, name=name)
                found, _ = after.find(path)
            except PromptFileError:
                continue
            if found.value == wanted and after.shape(found) == others:
                return text[:start] + yaml + text[end:]
        raise ValueError("it cannot be written as a text of YAML")

    is_block = node.style in ("|", ">")
    first_line = line + (is_block + len(frame.before) if node.style == "|" else is_block)
    return SourceText(frame.prose, first_line, replaced, frame.edges, language=language)


@dataclass(frozen=True)
class _Document:
    """A YAML text and its nodes.

    :param first_line: the line of the file on which it begins.
    """

    text: str
    first_line: int
    root: Any
    name: str

    @classmethod
    def parse(cls, text: str, first_line: int, *, name: str) -> _Document:
        """Raises `PromptFileError`."""
        import yaml

        def refusal(offset: int, problem: object) -> PromptFileError:
            return PromptFileError(
                name, first_line + text.count("\n", 0, offset), f"is not valid YAML: {problem}"
            )

        try:
            root: Any = yaml.compose(text, Loader=_loader())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise refusal(mark.index if mark else 0, error.problem or error.context) from None
        except yaml.reader.ReaderError as error:
            raise refusal(error.position, error.reason) from None
        except RecursionError:
            raise refusal(0, "it is nested too deeply") from None
        return cls(text, first_line, root, name)

    def line_at(self, offset: int) -> int:
        return self.first_line + self.text.count("\n", 0, offset)

    def find(self, path: KeyPath) -> tuple[Any, int]:
        """The node of a text, and how far a block would be indented at its place."""
        import yaml

        node, indent = self.root, 0
        for number, step in enumerate(path.steps):
            parent, place = node, str(KeyPath(path.steps[:number])) or "the file"
            try:
                if isinstance(parent, yaml.MappingNode):
                    key, node = self._entry(parent, step, place)
                    indent = key.start_mark.column + 2
                elif isinstance(parent, yaml.SequenceNode):
                    node = parent.value[item_number(step, len(parent.value), place)]
                    indent = parent.start_mark.column + 2
                else:
                    raise ValueError(f"{place} is no mapping and has no `{step}`")
            except ValueError as error:
                offset = parent.start_mark.index if parent is not None else 0
                raise PromptFileError(self.name, self.line_at(offset), str(error)) from None
            if (alias := _alias_at(node)) is not None:
                written = self.line_at(node.start_mark.index)
                said = f"`{KeyPath(path.steps[: number + 1])}` is an alias of what line {written} says"
                line = self.line_at(alias)
                raise PromptFileError(self.name, line, f"{said}; name the prompt by its place there")
        if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT:
            what = "a list or mapping" if not isinstance(node, yaml.ScalarNode) else f"{node.value!r:.40}"
            own = f" with the tag {node.tag}" if node.tag.startswith("!") else ""
            line = self.line_at(node.start_mark.index)
            raise PromptFileError(self.name, line, f"`{path}` is {what}{own}; a prompt is a text")
        return node, indent

    def _entry(self, node: Any, step: str | int, place: str) -> tuple[Any, Any]:
        entries = [(key, value) for key, value in node.value if str(key.value) == str(step)]
        if entries:
            return entries[-1]
        merged = next((key for key, _ in node.value if key.tag == "tag:yaml.org,2002:merge"), None)
        if merged is not None:
            line = self.line_at(merged.start_mark.index)
            raise ValueError(
                f"there is no key `{step}` in {place}; if it comes by `<<` in line {line}, name the prompt "
                "by its place there"
            )
        raise ValueError(missing(step, (key.value for key, _ in node.value), place))

    def scalar(self, node: Any, indent: int, line_end: str) -> Scalar:
        """Where the text of `node` is written."""
        start, end = node.start_mark.index, node.end_mark.index
        if properties := _PROPERTIES.match(self.text, start):
            start = properties.end()
        if node.style not in ("|", ">"):
            return Scalar(self.text, start, end, indent, line_end)
        head = _LINE.match(self.text, start)
        assert head is not None  # the pattern matches any text
        lines = [each for each in _LINE.finditer(self.text, head.end(), end) if each[0]]
        filled = [each["line"] for each in lines if each["line"].strip(" ")]
        if not re.search(r"\d", head["line"].partition("#")[0]) and filled:
            indent = len(filled[0]) - len(filled[0].lstrip(" "))
        elif filled:
            indent = min(len(line) - len(line.lstrip(" ")) for line in filled)
        content = [each for each in lines if each["line"].strip(" ") or len(each["line"]) > indent]
        keeps_all = "+" in head["line"].partition("#")[0]
        last = (lines if keeps_all else content)[-1:]
        return Scalar(self.text, start, last[0].end("line") if last else head.end("line"), indent, line_end)

    def shape(self, without: Any) -> Any:
        """What the document says but for one node: equal for documents that differ in that alone."""
        places: dict[tuple[int, str], int] = {}

        def told(node: Any) -> Any:
            if node is None:
                return None
            place = node.start_mark.index, node.id
            if _alias_at(node) is not None:
                return "alias", places[place]
            places[place] = len(places)
            if node is without:
                return None
            if isinstance(node.value, str):
                return node.tag, node.value
            if node.value and isinstance(node.value[0], tuple):
                return node.tag, [(told(key), told(value)) for key, value in node.value]
            return node.tag, [told(each) for each in node.value]

        return told(self.root)


def _alias_at(node: Any) -> int | None:
    """Where the alias stands that `node` was found by; None when it is written at its place."""
    place: int | None = getattr(node, "alias_at", None)
    return place


@cache
def _loader() -> Any:
    """A loader whose nodes tell whether an alias leads to them."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            is_alias = self.check_event(yaml.AliasEvent)
            place = self.peek_event().start_mark.index  # type: ignore[no-untyped-call]
            node: Any = super().compose_node(parent, index)
            if is_alias:
                node = copy(node)
                node.alias_at = place
            return node

    return Loader

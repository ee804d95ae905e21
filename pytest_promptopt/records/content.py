"""What a turn of a chat holds besides its text: files, calls of tools, their results, thoughts.

Plain data, the same for all providers; each SDK's module writes it in its provider's form.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from json import dumps, loads
from typing import Any


@dataclass(frozen=True)
class Text:
    """A text among other parts."""

    text: str


@dataclass(frozen=True)
class File:
    """An image or a document, known by what its bytes are; where they are is no part of what it is.

    :param kind: ``image`` or ``document``.
    :param sha256: of its bytes; empty where it is known by its address alone.
    :param size: in bytes; 0 where it is known by its address alone.
    :param name: what it is called, also in what the optimizer reads.
    :param path: where the bytes are read when it is sent; else they are in `data`.
    :param url: of a file that the provider fetches by itself.
    :param detail: how closely OpenAI's models look at an image; empty for the provider's choice.
    """

    kind: str
    media_type: str
    sha256: str
    size: int
    name: str
    path: str = field(default="", compare=False)
    data: bytes = field(default=b"", compare=False, repr=False)
    url: str = ""
    detail: str = ""

    def __str__(self) -> str:
        """Its name, type and size, for whoever reads about it."""
        about = [self.media_type, readable_size(self.size)] if self.sha256 else ["by its address"]
        return f"{self.name} ({', '.join(filter(None, about))})"

    @property
    def key(self) -> list[str]:
        """What decides an answer; the name of an image is not sent."""
        name = self.name if self.kind == "document" else ""
        return [self.kind, self.media_type, self.sha256 or self.url, name, self.detail]


@dataclass(frozen=True, repr=False)
class ToolCall:
    """One call of a tool, as the model wants it. Two are equal when they call the same with the same.

    :param arguments: by name; empty where the model wrote what is no JSON object.
    :param id: by which the result of the call is given back.
    :param unreadable: what the model wrote for arguments, where that is no JSON object.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default="", compare=False)
    unreadable: str = ""

    def __repr__(self) -> str:
        return f"ToolCall({self.name!r}, {self.unreadable or self.arguments!r})"

    @classmethod
    def read(cls, name: object, arguments: object, id: object = "") -> ToolCall:
        """A call as a provider tells it: its arguments are an object, or the JSON text of one."""
        called, known = name if isinstance(name, str) else "", id if isinstance(id, str) else ""
        found: Any = arguments
        if isinstance(arguments, str):
            try:
                found = loads(arguments or "{}")
            except (ValueError, RecursionError):
                return cls(called, {}, known, arguments)
        if found is None:
            found = {}
        if not isinstance(found, Mapping):
            return cls(called, {}, known, arguments if isinstance(arguments, str) else str(arguments))
        return cls(called, dict(found), known)

    def plain(self) -> dict[str, Any]:
        """Name and arguments as JSON-like data."""
        return {"name": self.name, "arguments": self.unreadable or dict(self.arguments)}


@dataclass(frozen=True, init=False)
class ToolResult:
    """What came of a call of a tool: ``ToolResult(answer.tool_calls[0], "21 C")``."""

    id: str
    parts: tuple[Text | File, ...]
    is_error: bool

    def __init__(
        self, id: str | ToolCall, parts: str | Iterable[Text | File], is_error: bool = False
    ) -> None:
        """:param id: of the call, or the call itself.
        :param parts: a text, or texts and files.
        :param is_error: whether the tool has failed.
        """
        object.__setattr__(self, "id", id.id if isinstance(id, ToolCall) else id)
        whole = (Text(str(parts)),) if isinstance(parts, str) else tuple(parts)
        object.__setattr__(self, "parts", whole)
        object.__setattr__(self, "is_error", is_error)

    @property
    def text(self) -> str:
        """What it says; of a file its name, type and size."""
        return "\n".join(part.text if isinstance(part, Text) else f"[{part}]" for part in self.parts)


@dataclass(frozen=True)
class Thought:
    """What a model thought before it called a tool, signed: it has to be given back as it came."""

    text: str
    signature: str = ""
    redacted: str = ""


Part = Text | File | ToolCall | ToolResult | Thought


def written_calls(calls: Iterable[ToolCall]) -> str:
    """Calls of tools as JSON, which is how they are told; empty without any."""
    told = [call.plain() for call in calls]
    return dumps(told, ensure_ascii=False) if told else ""


def readable_parts(parts: Iterable[Part]) -> str:
    """The text of a turn for whoever reads it: a file is its name, type and size, never its bytes."""
    return "\n".join(filter(None, map(_readable, parts)))


def _readable(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, File):
        return f"[{part.kind} {part}]"
    if isinstance(part, ToolCall):
        return written_calls([part])
    return part.text if isinstance(part, ToolResult) else ""


def files_of(part: Part) -> tuple[File, ...]:
    """The files in a part: itself, or those in the result of a tool."""
    inside = part.parts if isinstance(part, ToolResult) else (part,)
    return tuple(each for each in inside if isinstance(each, File))


def readable_size(size: int) -> str:
    """``48 kB``, ``7.2 MB``."""
    if size < 1_000:
        return f"{size} bytes"
    return f"{size / 1e3:.0f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def part_key(part: Part, ids: dict[str, str]) -> list[Any]:
    """What of a part decides an answer.

    :param ids: of calls of tools, by what stands for them: which calls belong together is all they say.
    """
    if isinstance(part, Text):
        return ["text", part.text]
    if isinstance(part, File):
        return part.key
    if isinstance(part, ToolCall):
        return ["call", _alias(part.id, ids), part.name, part.unreadable or dict(part.arguments)]
    if isinstance(part, ToolResult):
        inside = [part_key(each, ids) for each in part.parts]
        return ["result", _alias(part.id, ids), inside, part.is_error]
    return ["thought", part.text, part.redacted]


def _alias(name: str, ids: dict[str, str]) -> str:
    return ids.setdefault(name, f"call {len(ids) + 1}")


def part_to_json(part: Part) -> dict[str, Any]:
    """A part as plain data, for another process of this machine: of a file with a path without its bytes."""
    data = dict(vars(part))
    if isinstance(part, File):
        data["data"] = b64encode(part.data).decode() if part.data else ""
    if isinstance(part, ToolResult):
        data["parts"] = [part_to_json(each) for each in part.parts]
    return {"part": type(part).__name__, **data}


def part_from_json(data: Mapping[str, Any]) -> Part:
    """The part that `part_to_json` has written. Raises KeyError, TypeError or ValueError on anything else."""
    given = {name: value for name, value in data.items() if name != "part"}
    kind = _PARTS[data["part"]]
    if kind is File:
        given["data"] = b64decode(given["data"], validate=True)
    if kind is ToolResult:
        given["parts"] = tuple(part_from_json(each) for each in given["parts"])
    part: Part = kind(**given)
    return part


_PARTS: Mapping[str, Any] = {each.__name__: each for each in (Text, File, ToolCall, ToolResult, Thought)}

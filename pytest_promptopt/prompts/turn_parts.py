"""The parts of a turn as a call gives them: in our form, Anthropic's or OpenAI's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_promptopt.attachments import PDF, PLAIN, Attachment, Document, Image
from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records.content import File, Part, Text, Thought, ToolCall, ToolResult

#: What stands in a list of content.
ACCEPTED = (
    "accepted are strings, Image(...), Document(...), the `content` of an answer, ToolCall, ToolResult, and "
    "parts as OpenAI's and Anthropic's API take them (text, image_url, image, file, document, tool_use, "
    "tool_result)"
)

_OURS = (Text, File, ToolCall, ToolResult, Thought)

#: Keys of parts that do not change what is said.
_IGNORED = frozenset({"cache_control", "citations"})


class PartReader:
    """Reads the parts of one turn.

    :param place: where it stands, for messages: ``messages[2]``.
    :param folders: where a relative path may begin.
    """

    def __init__(self, place: str, folders: Sequence[Path]) -> None:
        self._place = place
        self._folders = folders

    def read(self, content: object) -> tuple[Part, ...]:
        """The parts in order. Raises `SettingsError` that names the one that is none."""
        if isinstance(content, Completion) and content.tool_calls:
            return tuple(content.content)
        if not isinstance(content, list | tuple):
            content = [content]
        return tuple(
            part for index, each in enumerate(content) for part in self._part(each, f"content[{index}]")
        )

    def calls(self, given: object) -> tuple[ToolCall, ...]:
        """The calls of an assistant turn in OpenAI's form."""
        if not isinstance(given, list | tuple):
            raise self._refusal("tool_calls", f"must be a list, got {type(given).__name__}")
        return tuple(self._call(each, f"tool_calls[{index}]") for index, each in enumerate(given))

    def result(self, id: object, content: object) -> ToolResult:
        """A turn of role ``tool`` in OpenAI's form."""
        if not isinstance(id, str) or not id:
            raise self._refusal("tool_call_id", f"must be the `id` of a call, got {id!r}")
        return self._result(id, content, False, "content")

    def _part(self, given: object, place: str) -> Iterator[Part]:
        if isinstance(given, _OURS):
            yield given
        elif isinstance(given, Completion):
            yield from given.content
        elif isinstance(given, str):
            yield Text(str(given))
        elif isinstance(given, Attachment):
            yield given.file(f"{self._place}.{place}", self._folders)
        elif isinstance(given, Mapping):
            read = _READERS.get(str(given.get("type")))
            if read is None:
                raise self._refusal(place, f"has the type {given.get('type')!r}; {ACCEPTED}")
            try:
                yield read(self, given, place)
            except (KeyError, TypeError, AttributeError) as error:
                what = f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
                raise self._refusal(place, f"({given['type']}) cannot be read: {what}") from None
        else:
            raise self._refusal(place, f"is a {type(given).__name__}; {ACCEPTED}")

    def _refusal(self, place: str, problem: str) -> SettingsError:
        return SettingsError(f"{self._place}.{place} {problem}")

    def _known(self, given: Mapping[str, Any], place: str, *keys: str) -> None:
        if unknown := sorted(map(str, given.keys() - {"type", *keys} - _IGNORED)):
            known = ", ".join(f"`{key}`" for key in keys)
            raise self._refusal(place, f"({given['type']}) has `{unknown[0]}`; accepted are {known}")

    def _text(self, given: Mapping[str, Any], place: str) -> Part:
        self._known(given, place, "text")
        if not isinstance(given["text"], str):
            raise self._refusal(place, f"must have a string as `text`, got {type(given['text']).__name__}")
        return Text(str(given["text"]))

    def _image_url(self, given: Mapping[str, Any], place: str) -> Part:
        self._known(given, place, "image_url", "detail")
        inside = given["image_url"]
        about = inside if isinstance(inside, Mapping) else {"url": inside, "detail": given.get("detail")}
        image = Image(_address(about["url"]), detail=str(about.get("detail") or ""))
        return image.file(f"{self._place}.{place}", self._folders)

    def _file(self, given: Mapping[str, Any], place: str) -> Part:
        inside = given.get("file", given)
        if "file_id" in inside and "file_data" not in inside:
            raise self._refusal(
                place, "has a `file_id`, and only what is sent along can be cached by its bytes"
            )
        name = str(inside.get("filename") or "")
        document = Document(_address(inside["file_data"]), name=name)
        return document.file(f"{self._place}.{place}", self._folders)

    def _block(self, given: Mapping[str, Any], place: str) -> Part:
        """An image or a document in Anthropic's form."""
        self._known(given, place, "source", "title", "context")
        source, whole = given["source"], f"{self._place}.{place}"
        kind = Image if given["type"] == "image" else Document
        name = str(given.get("title") or "")
        if source["type"] == "url":
            return kind(_address(source["url"]), name=name).file(whole, self._folders)
        if source["type"] == "text":
            data = str(source["data"]).encode()
            return Document(data, media_type=PLAIN, name=name).file(whole, self._folders)
        if source["type"] != "base64":
            raise self._refusal(
                place, f"has a source of type {source['type']!r}; accepted: base64, text, url"
            )
        media = str(source.get("media_type") or (PDF if kind is Document else ""))
        return kind(f"data:{media};base64,{source['data']}", name=name).file(whole, self._folders)

    def _tool_use(self, given: Mapping[str, Any], place: str) -> Part:
        self._known(given, place, "id", "name", "input")
        return ToolCall.read(given["name"], given["input"], given["id"])

    def _tool_result(self, given: Mapping[str, Any], place: str) -> Part:
        self._known(given, place, "tool_use_id", "content", "is_error")
        failed = given.get("is_error") is True
        return self._result(str(given["tool_use_id"]), given.get("content", ""), failed, place)

    def _thinking(self, given: Mapping[str, Any], place: str) -> Part:
        if given["type"] == "redacted_thinking":
            return Thought("", redacted=str(given["data"]))
        return Thought(str(given["thinking"]), signature=str(given.get("signature") or ""))

    def _result(self, id: str, content: object, is_error: bool, place: str) -> ToolResult:
        parts = self.read(content)
        for part in parts:
            if not isinstance(part, Text | File):
                raise self._refusal(place, "holds more than texts and files, and is the result of a call")
        return ToolResult(id, tuple(part for part in parts if isinstance(part, Text | File)), is_error)

    def _call(self, given: object, place: str) -> ToolCall:
        if isinstance(given, ToolCall):
            return given
        if not isinstance(given, Mapping):
            raise self._refusal(place, f"must be a mapping, got {type(given).__name__}")
        inside = given.get("function", given)
        name = inside.get("name") if isinstance(inside, Mapping) else None
        if not isinstance(name, str) or not name:
            raise self._refusal(place, "has no `name` of a function")
        return ToolCall.read(name, inside.get("arguments"), given.get("id"))


def _address(given: object) -> str:
    if not isinstance(given, str) or not given.startswith(("data:", "http://", "https://")):
        raise TypeError(f"an address begins with https:// or data:, got {str(given)[:60]!r}")
    return given


_READERS: Mapping[str, Callable[[PartReader, Mapping[str, Any], str], Part]] = {
    "text": PartReader._text,
    "input_text": PartReader._text,
    "output_text": PartReader._text,
    "image_url": PartReader._image_url,
    "input_image": PartReader._image_url,
    "file": PartReader._file,
    "input_file": PartReader._file,
    "image": PartReader._block,
    "document": PartReader._block,
    "tool_use": PartReader._tool_use,
    "tool_result": PartReader._tool_result,
    "thinking": PartReader._thinking,
    "redacted_thinking": PartReader._thinking,
}

"""What goes along with a call of a prompt besides its text: tools, images, documents."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_promptopt.attachments import Attachment, Document, Image
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.content_limits import check_files
from pytest_promptopt.models.tool_definitions import tool_choice_of, tool_lines, tools_of
from pytest_promptopt.records import Message, Request
from pytest_promptopt.records.content import File, Part, Text, readable_parts

#: Arguments of ``prompt(...)`` that are no variables, unless the prompt has a variable of that name.
EXTRAS = ("tools", "tool_choice", "images", "documents")


@dataclass(frozen=True)
class CallContent:
    """What is sent with the messages of one call."""

    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Mapping[str, Any] | None = None
    images: tuple[File, ...] = ()
    documents: tuple[File, ...] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any], folders: Sequence[Path]) -> CallContent:
        """Raises `SettingsError` that names the argument.

        :param given: by the names of `EXTRAS`.
        :param folders: where the path of a file may begin.
        """
        tools = () if given.get("tools") is None else tools_of(given["tools"])
        return cls(
            tools,
            tool_choice_of(given.get("tool_choice"), tools),
            _files("images", given.get("images"), Image, folders),
            _files("documents", given.get("documents"), Document, folders),
        )

    @property
    def inputs(self) -> dict[str, str]:
        """The files as inputs of the case: by name, type and size."""
        files = {"images": self.images, "documents": self.documents}
        return {name: ", ".join(map(str, each)) for name, each in files.items() if each}

    def messages(self, turns: Sequence[Message]) -> tuple[Message, ...]:
        """`turns` with the files before the text of the last turn of the user."""
        files = (*self.documents, *self.images)
        last = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=None)
        if not files or last is None:
            return tuple(turns)
        turn = turns[last]
        parts: tuple[Part, ...] = (*files, *(turn.parts or (Text(turn.content),)))
        whole = Message(turn.role, readable_parts(parts), parts)
        return (*turns[:last], whole, *turns[last + 1 :])

    def request(self, bare: Request) -> Request:
        """`bare` with the tools. Raises `SettingsError` for files that its provider refuses."""
        request = bare
        if self.tools:
            own = {name: value for name, value in bare.parameters.items() if name not in EXTRAS}
            request = replace(bare, tools=self.tools, tool_choice=self.tool_choice, parameters=own)
        check_files(request)
        return request


def tools_and_files(request: Request) -> dict[str, tuple[str, ...]]:
    """What a record of the call says of its tools and files."""
    return {"tools": tool_lines(request.tools), "files": tuple(map(str, request.files))}


def _files(name: str, given: object, kind: type[Attachment], folders: Sequence[Path]) -> tuple[File, ...]:
    if given is None:
        return ()
    if isinstance(given, str | bytes | bytearray | os.PathLike | Attachment):
        given = [given]
    if not isinstance(given, Sequence):
        raise SettingsError(f"prompt(...): {name}= must be a list of paths or bytes, got {given!r}"[:300])
    files = []
    for index, each in enumerate(given):
        attachment = each if isinstance(each, Attachment) else kind(each)
        place = f"prompt(...): {name}[{index}]"
        if not isinstance(attachment, kind):
            raise SettingsError(f"{place} is a {type(attachment).__name__}, got {attachment!r}")
        files.append(attachment.file(place, folders))
    return tuple(files)

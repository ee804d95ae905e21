"""Images and documents that go along with a prompt: given by path or as bytes, known by what they are."""

from __future__ import annotations

import mimetypes
import os
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records.content import File, readable_size
from pytest_promptopt.text import cut_middle

#: How the bytes of each type begin.
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
PDF, PLAIN = "application/pdf", "text/plain"

#: What of a file is read to know its type.
_HEAD = 1_024

_ACCEPTED = {
    "image": "images are PNG, JPEG, GIF and WebP files",
    "document": "documents are PDF files and texts (.txt, .md, .csv, .html, .json ...)",
}


class Attachment:
    """A file that goes along with a prompt: an `Image` or a `Document`."""

    kind = ""

    def __init__(
        self, given: str | os.PathLike[str] | bytes, *, media_type: str = "", name: str = "", detail: str = ""
    ) -> None:
        self._given = given
        self._media_type = media_type
        self._name = name
        self._detail = detail

    def __repr__(self) -> str:
        """Equal in every process: a test may be parametrized with it."""
        given = self._given
        if isinstance(given, str) and given.startswith("data:"):
            given = given.encode()
        if not isinstance(given, bytes | bytearray):
            return f"{type(self).__name__}({str(given)!r})"
        named = f"{self._name}, " if self._name else ""
        digest = sha256(given).hexdigest()[:12]
        return f"{type(self).__name__}(<{named}{readable_size(len(given))}, sha256 {digest}>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attachment) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def file(self, place: str, folders: Sequence[Path]) -> File:
        """What it is. Raises `SettingsError` that begins with `place`.

        :param folders: where a relative path may begin, in order.
        """
        given = self._given
        if isinstance(given, str) and given.startswith(("http://", "https://", "data:")):
            return self._of_address(given, place)
        if isinstance(given, bytes | bytearray):
            data = bytes(given)
            return self._made(place, sha256(data).hexdigest(), data[:_HEAD], len(data), self._name, data=data)
        if not isinstance(given, str | os.PathLike):
            raise SettingsError(
                f"{place} must be a path or bytes, got {type(given).__name__}: {given!r}"[:300]
            )
        path = _found(Path(given), place, folders)
        try:
            status = path.stat()
            digest, head = _hashed(str(path), status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise SettingsError(f"{place}: {given} cannot be read: {error.strerror or error}") from None
        return self._made(place, digest, head, status.st_size, self._name or path.name, path=str(path))

    def _of_address(self, address: str, place: str) -> File:
        if address.startswith("data:"):
            head, _, text = address.partition(",")
            try:
                data = b64decode(text, validate=True)
            except (BadBase64, ValueError):
                raise SettingsError(f"{place} has a `data:` address that is no base64") from None
            decoded = copy(self)
            decoded._given, decoded._media_type = data, head[5:].partition(";")[0]
            return decoded.file(place, ())
        name = self._name or PurePosixPath(unquote(urlsplit(address).path)).name or self.kind
        return File(self.kind, "", "", 0, name, url=address, detail=self._detail)

    def _made(
        self,
        place: str,
        digest: str,
        head: bytes,
        size: int,
        name: str,
        *,
        path: str = "",
        data: bytes = b"",
    ) -> File:
        if not size:
            raise SettingsError(f"{place}: {name or 'what is given'} is empty")
        found = self._media_type or _type_of(head, name)
        if self.kind == "document" and found.startswith("text/"):
            found = PLAIN
        if not (found in IMAGES if self.kind == "image" else found in (PDF, PLAIN)):
            known = f"is of type {found}" if found else "is of a type that nobody knows"
            raise SettingsError(f"{place}: {name or 'what is given'} {known}; {_ACCEPTED[self.kind]}")
        return File(self.kind, found, digest, size, name or f"{self.kind}.{_ending(found)}", path, data,
                    detail=self._detail)  # fmt: skip


class Image(Attachment):
    """An image for a prompt: ``Image("receipt.png")``, ``Image(screenshot_bytes)``.

    :param given: its path, from the test's folder or from rootdir, an ``https`` address, or its bytes.
    :param media_type: such as ``image/png``; read from the bytes when not given.
    :param name: what it is called; of a path its last part.
    :param detail: how closely OpenAI's models look at it: ``low``, ``high`` or ``auto``.
    """

    kind = "image"

    def __init__(
        self, given: str | os.PathLike[str] | bytes, *, media_type: str = "", name: str = "", detail: str = ""
    ) -> None:
        super().__init__(given, media_type=media_type, name=name, detail=detail)


class Document(Attachment):
    """A document for a prompt: ``Document("contract.pdf")``; texts are sent as texts.

    :param given: its path, from the test's folder or from rootdir, an ``https`` address, or its bytes.
    :param media_type: ``application/pdf`` or of a text; read from the bytes when not given.
    :param name: what it is called, which the model is told; of a path its last part.
    """

    kind = "document"

    def __init__(
        self, given: str | os.PathLike[str] | bytes, *, media_type: str = "", name: str = ""
    ) -> None:
        super().__init__(given, media_type=media_type, name=name)


def file_bytes(file: File) -> bytes:
    """The bytes to be sent. Raises `OSError` or `ValueError` when they are not those any more."""
    data = file.data or Path(file.path).read_bytes()
    if sha256(data).hexdigest() != file.sha256:
        raise ValueError(f"{file.path} has changed since this run read it")
    return data


def base64_of(file: File) -> str:
    """`file_bytes` as providers take them."""
    return b64encode(file_bytes(file)).decode("ascii")


def _found(path: Path, place: str, folders: Sequence[Path]) -> Path:
    tried = [folder / path for folder in folders] or [path]
    for each in tried:
        if os.path.isfile(each):
            return each.resolve()
    if any(map(os.path.isdir, tried)):
        raise SettingsError(f"{place}: {path} is a folder; accepted are files")
    looked = ", ".join(dict.fromkeys(str(each.parent) for each in tried))
    said = cut_middle(str(path), 100)  # a file's own text may be given in the place of its path
    raise SettingsError(f"{place}: there is no file {said} (looked in {cut_middle(looked, 300)})")


@lru_cache(maxsize=4096)
def _hashed(path: str, changed: int, size: int) -> tuple[str, bytes]:
    """The hash of a file and how it begins; a case that is run again and again reads it once."""
    digest, head = sha256(), b""
    with open(path, "rb") as stream:
        while part := stream.read(1 << 20):
            head = head or part[:_HEAD]
            digest.update(part)
    return digest.hexdigest(), head


def _type_of(head: bytes, name: str) -> str:
    """The type by the bytes, which no name can belie; of a text by its name. Empty when it is unknown."""
    for start, found in _MAGIC:
        if head.startswith(start):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    guessed = mimetypes.guess_type(name)[0] or ""
    if guessed.startswith(("image/", "audio/", "video/")) or guessed == PDF:
        return f"{guessed} by its name only" if guessed in (*IMAGES, PDF) else guessed
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character may be cut at the end
            return guessed
    return "" if b"\0" in head else PLAIN


def _ending(media_type: str) -> str:
    return {"image/jpeg": "jpg", PLAIN: "txt"}.get(media_type, media_type.rpartition("/")[2])

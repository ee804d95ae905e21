"""A request of an application and its answer as they went over the wire: plain data, without any secret."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WireRequest:
    """What decides the answer to a request that the code under test has made by itself.

    :param url: without credentials, be it as user or in the query.
    :param body: the parsed JSON, without what only tells one call from another.
    :param settings: a hash of the headers that decide an answer; empty when there is none.
    :param number: how many equal requests the same run of the case has made before.
    """

    method: str
    url: str
    body: Any
    settings: str = ""
    number: int = 0

    def to_json(self) -> dict[str, Any]:
        return vars(self).copy()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WireRequest:
        return cls(**data)


@dataclass(frozen=True)
class WireAnswer:
    """A reply of a server, byte for byte as it came.

    :param headers: those that say what the body is; none that concerns the connection.
    :param chunks: the body in the parts in which it came, so that a stream is a stream again.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def header(self, name: str) -> str:
        """The value of a header, named in lower case; empty when there is none."""
        return next((value for each, value in self.headers if each.lower() == name), "")

    def to_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "headers": [list(pair) for pair in self.headers],
            "chunks": [b64encode(chunk).decode() for chunk in self.chunks],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WireAnswer:
        """Raises KeyError, TypeError or ValueError on anything that `to_json` did not write."""
        return cls(
            status=int(data["status"]),
            headers=tuple((str(name), str(value)) for name, value in data["headers"]),
            chunks=tuple(b64decode(chunk, validate=True) for chunk in data["chunks"]),
        )

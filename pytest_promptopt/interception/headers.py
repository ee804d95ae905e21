"""Headers of requests and replies that are sent again, or stored: without what concerns a connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Of one connection alone; a stored reply has its body as it came out of the connection.
_HOP = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer"}
    | {"transfer-encoding", "upgrade"}
)

#: What replies hold that belongs to whoever asked.
_PRIVATE = ("set-cookie", "openai-organization", "anthropic-organization-id", "openai-project")


def kept_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Those of a reply that are stored."""
    return tuple((name, value) for name, value in headers if name.lower() not in (*_HOP, *_PRIVATE))


def for_sending(headers: Sequence[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
    """The application's headers, for `body`.

    Of codings only gzip is accepted, since every client can read it again: the next one may have fewer.
    """
    coding = "gzip" if any(n.lower() == "accept-encoding" and "gzip" in v for n, v in headers) else "identity"
    left_out = ("content-length", "transfer-encoding", "accept-encoding")
    kept = [(name, value) for name, value in headers if name.lower() not in left_out]
    return [*kept, ("Accept-Encoding", coding), ("Content-Length", str(len(body)))]

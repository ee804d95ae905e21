"""An HTTP proxy on 127.0.0.1 that asks for credentials: it tunnels (CONNECT), and forwards plain requests."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from urllib.parse import urlsplit

from tests.socket_server import SocketServer

#: Bytes that are passed on at a time.
_PART = 65_536


class Proxy(SocketServer):
    """:param password: of the user ``me``."""

    def __init__(self, password: str) -> None:
        super().__init__()
        self._credentials = "Basic " + b64encode(f"me:{password}".encode()).decode()
        self._password = password
        #: The first line of each request that it let through.
        self.passed: list[str] = []
        self.refused = 0

    @property
    def address(self) -> str:
        """With its credentials."""
        return f"http://me:{self._password}@127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        own = [line for line in head[1:] if line.lower().startswith("proxy-")]
        if f"proxy-authorization: {self._credentials}".lower() not in map(str.lower, own):
            self.refused += 1
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            return
        self.passed.append(head[0])
        address = urlsplit(f"//{target}" if method == "CONNECT" else target)
        there, to_there = await asyncio.open_connection(address.hostname, address.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            rest = [line for line in head[1:] if line not in own]
            to_there.write("\r\n".join([f"{method} {address.path} HTTP/1.1", *rest]).encode("latin-1"))
        try:
            await asyncio.gather(_pass_on(reader, to_there), _pass_on(there, writer))
        finally:
            to_there.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(_PART):
        writer.write(part)
        await writer.drain()
    writer.close()

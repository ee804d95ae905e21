"""A server on 127.0.0.1 in a thread of its own, for tests that talk to it with real clients."""

from __future__ import annotations

import asyncio
import ssl
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

#: Key and certificate of a server for 127.0.0.1 and localhost, signed by itself. For these tests only.
CERTIFICATE = Path(__file__).with_name("localhost.pem")


class SocketServer:
    """Runs while it is entered.

    :param tls: whether it is spoken to by https, with `CERTIFICATE`.
    """

    def __init__(self, *, tls: bool = False) -> None:
        self._tls = tls
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._address: Future[tuple[asyncio.AbstractEventLoop, int]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="wire", daemon=True)

    @property
    def port(self) -> int:
        return self._address.result()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._tasks)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Whatever is done with one connection."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        self._address.result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._address.result()[0].call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            self._writers.add(writer)
            try:
                await self.serve(reader, writer)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the client went away, or the test is over
            finally:
                self._tasks.discard(task)
                writer.close()

        context = None
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        self._address.set_result((asyncio.get_running_loop(), server.sockets[0].getsockname()[1]))
        await self._over.wait()
        server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # What a client has not read yet would keep its connection open for longer than the loop runs.
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

"""xdist from within: its session on the controller, the end of its workers, a channel of our own to each.

All that this package knows of xdist and execnet beside their documented hooks stands here.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

#: In a worker's input: the channel.
KEY = "promptopt_channel"


class Connection:
    """One end of a channel between controller and worker, for messages of a kind and JSON-like data.

    Safe for threads.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def send(self, kind: str, **data: Any) -> bool:
        """Send a message; False when nobody is there any more to receive it."""
        try:
            # As text, since execnet carries neither enums nor half characters.
            self._channel.send(json.dumps([kind, data]))
        except OSError:
            return False
        return True

    def listen(self, heard: Callable[[str, dict[str, Any]], None], ended: Callable[[], None]) -> None:
        """From now on give each message to `heard`, in a thread of execnet's; in the end call `ended`.

        Neither may wait for another message, which would come in the same thread.
        """

        def received(text: str | None) -> None:
            if text is None:
                ended()
            else:
                kind, data = json.loads(text)
                heard(kind, data)

        with suppress(OSError):
            self._channel.setcallback(received, endmarker=None)


def connection_to(node: Any, key: str = KEY) -> Connection:
    """Open a channel to a worker that is about to be started.

    :param key: under which the worker finds it.
    """
    channel = node.workerinput[key] = node.gateway.newchannel()
    return Connection(channel)


def connection_of(config: pytest.Config, key: str = KEY) -> Connection | None:
    """A worker's own end; None when it was given none."""
    channel = getattr(config, "workerinput", {}).get(key)
    return None if channel is None else Connection(channel)


class XdistSession:
    """xdist's session, before its own loop has begun to work off the events of its workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session: Any = config.pluginmanager.get_plugin("dsession")

    def replace_crashed(self) -> None:
        """Do for workers that have crashed by now what xdist does: say so, and start others if it may."""
        session = self._session
        with session.queue.mutex:
            events = list(session.queue.queue)
            crashed = [data for name, data in events if name == "errordown"]
            gone = [data["node"] for data in crashed]
            # Else xdist's loop would give tests to one that had been ready before.
            session.queue.queue = deque(event for event in events if event[1].get("node") not in gone)
        if crashed and session.sched is None:
            session.sched = self._config.hook.pytest_xdist_make_scheduler(
                config=self._config, log=session.log
            )
        for data in crashed:
            session.worker_errordown(**data)

    def has_crashed(self, node: Any) -> bool:
        """Whether xdist has given this worker up."""
        return node not in self._session._active_nodes

    def has_left(self, node: Any) -> bool:
        """Whether xdist knows that this worker has ended."""
        session = self._session
        if self.has_crashed(node):
            return True
        with session.queue.mutex:
            return any(
                name == "workerfinished" and data.get("node") is node for name, data in session.queue.queue
            )


def scope_of(config: pytest.Config) -> Callable[[str], str] | None:
    """What a test shares, by its id, with others that xdist is to run on the same worker; None: nothing."""
    scopes: dict[str, Callable[[str], str]] = {
        "loadfile": lambda id: id.split("::", 1)[0],
        "loadscope": lambda id: id.rsplit("::", 1)[0],
        "loadgroup": lambda id: id.rpartition("@")[2] if "@" in id else id,
    }
    return scopes.get(config.getoption("dist"))

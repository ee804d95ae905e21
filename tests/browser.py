"""A headless Chromium that opens a page of ours, looked at through its debugging protocol."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

#: The variable that names the browser, by its name or path. Without it, tests that need one are skipped: a
#: machine that happens to have one may be too busy for it.
VARIABLE = "TEST_BROWSER"
NO_BROWSER = f"set {VARIABLE} to a Chromium, such as {VARIABLE}=chromium"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-dev-shm-usage", "--remote-debugging-port=0", "--allow-file-access-from-files"),
)


def find_chromium() -> str | None:
    """The path of the Chromium that these tests are to use; None where they are to use none."""
    return shutil.which(os.environ.get(VARIABLE, ""))


class Page:
    """One page of the browser. What its console says, and what it could not do, is in `said`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.said: list[str] = []
        #: Addresses that the page has asked for.
        self.requested: list[str] = []

    async def send(self, method: str, **params: Any) -> Any:
        self._number += 1
        number = self._number
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = json.loads(await self._socket.receive_str(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.said.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled":
                self.said.append(" ".join(str(each.get("value")) for each in params["args"]))
            case "Log.entryAdded":
                self.said.append(params["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Page.javascriptDialogOpening":
                self.said.append(f"dialog: {params['message']}")

    async def open(self, path: Path, place: str = "") -> None:
        await self.send("Page.navigate", url="about:blank")
        await self.send("Page.navigate", url=path.resolve().as_uri() + place)
        await self.until("document.readyState === 'complete' && !document.querySelector('.loading')")

    async def run(self, script: str) -> Any:
        """The value of a script, of a promise when that is there; raises what the script raises."""
        found = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, condition: str, *, seconds: float = 20.0) -> None:
        for _ in range(int(seconds / 0.05)):
            if await self.run(f"Boolean({condition})"):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"never true: {condition}")

    async def press(self, key: str) -> None:
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=key if len(key) == 1 else "")
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def dark(self, on: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        shot = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(b64decode(shot["data"]))


@asynccontextmanager
async def browser(
    chromium: str, folder: Path, *, width: int = 1400, height: int = 900
) -> AsyncIterator[Page]:
    """A page in a browser of its own, whose profile is a new folder in `folder`."""
    profile = folder / f"profile-{os.getpid()}-{id(folder)}"
    process = subprocess.Popen(
        [chromium, *FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "DevToolsActivePort", process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
                targets = await reply.json()
            address = next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.send(f"{domain}.enable")
                await page.send(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=height,
                    deviceScaleFactor=1,
                    mobile=False,
                )
                yield page
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    for _ in range(600):
        assert process.poll() is None, "Chromium ended by itself"
        if file.exists() and (lines := file.read_text(encoding="utf-8").split()):
            return int(lines[0])
        await asyncio.sleep(0.05)
    raise AssertionError("Chromium does not answer")

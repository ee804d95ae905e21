"""How close the engine comes to its floors: ratios of whole processes, measured side by side in one run.

    python -m tests.benchmarks.engine [--cases 500] [--latency 0.2] [--concurrency 50] [--rounds 5]

Rows: cases that wait for a model over real HTTP (the anthropic SDK against a server started here) against a
bare aiohttp client doing the same requests; the SDK alone doing them, without pytest; the suite with a model
over aiohttp; the suite fully cached against empty tests; a session without prompt tests with the plugin
against one without it. Each row has the medians of both sides and of the ratios of its rounds.
What the SDK costs once, importing it and making a client, is taken out of the rows that use it: a process
that does only that is measured in each of their rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = """
import asyncio, sys
from aiohttp import web
async def answer(request):
    body = await request.json()
    await asyncio.sleep(float(sys.argv[1]))
    text = body["messages"][-1]["content"].split()[-1]
    return web.json_response({"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"],
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1}})
async def main():
    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

START = "import anthropic; anthropic.AsyncAnthropic(max_retries=0)"

SDK_ALONE = """
import anthropic, asyncio, sys
cases, concurrency = int(sys.argv[1]), int(sys.argv[2])
async def main():
    slots = asyncio.Semaphore(concurrency)
    async with anthropic.AsyncAnthropic(max_retries=0) as client:
        async def one(n):
            async with slots:
                messages = [{"role": "user", "content": f"Repeat {n}"}]
                reply = await client.messages.create(model="m", max_tokens=8, messages=messages)
                assert reply.content[0].text == str(n)
        await asyncio.gather(*(one(n) for n in range(cases)))
asyncio.run(main())
"""

FLOOR = """
import asyncio, sys, aiohttp
url, cases, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
async def main():
    slots = asyncio.Semaphore(concurrency)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        async def one(n):
            async with slots:
                messages = [{"role": "user", "content": f"Repeat {n}"}]
                body = {"model": "m", "max_tokens": 8, "messages": messages}
                async with session.post(url + "/v1/messages", json=body) as response:
                    assert (await response.json())["content"][0]["text"] == str(n)
        await asyncio.gather(*(one(n) for n in range(cases)))
asyncio.run(main())
"""

SUITE = """
import pytest
@pytest.mark.prompt("prompt.md")
@pytest.mark.parametrize("n", range({cases}))
def test_case(prompt, n):
    assert prompt(n=n) == str(n)
"""

EMPTY = """
import pytest
@pytest.mark.parametrize("n", range({cases}))
def test_case(n):
    pass
"""


OWN_MODEL = """
from pytest_promptopt.records import Answer, Usage
URL = {url!r}
class Model:
    session = None
    async def complete(self, request):
        import aiohttp
        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body = {{"model": "m", "max_tokens": 8, "messages": [
            {{"role": message.role, "content": message.content}} for message in request.messages]}}
        async with self.session.post(URL + "/v1/messages", json=body) as response:
            text = (await response.json())["content"][0]["text"]
        return Answer(text, request.model, "end_turn", Usage(10, 1), None, 0.0)
    async def aclose(self):
        await self.session.close()
def pytest_promptopt_resolve_model(name):
    return Model() if name == "own/model" else None
"""


@contextmanager
def server(latency: float) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(latency)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def seconds(command: list[str], folder: Path, **variables: str) -> float:
    """Wall time of a whole process, which must succeed."""
    environment = {**os.environ, **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return elapsed


def compare(name: str, rounds: int, ours: Callable[[], float], floor: Callable[[], float]) -> None:
    ours(), floor()  # byte code, page cache
    pairs = [(ours(), floor()) for _ in range(rounds)]
    ratios = sorted(mine / other for mine, other in pairs)
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"{name:<34} {mine:6.2f} s  {other:6.2f} s  ratio {statistics.median(ratios):.2f}"
        f" [{ratios[0]:.2f}-{ratios[-1]:.2f}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, server(given.latency) as url:
        folder = Path(name)
        (folder / "prompt.md").write_text("Repeat {{ n }}\n", encoding="utf-8")
        (folder / "test_prompt.py").write_text(SUITE.format(cases=given.cases), encoding="utf-8")
        (folder / "test_empty.py").write_text(EMPTY.format(cases=given.cases), encoding="utf-8")
        (folder / "floor.py").write_text(FLOOR, encoding="utf-8")
        (folder / "sdk.py").write_text(SDK_ALONE, encoding="utf-8")
        plain = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        for other in ("asyncio", "anyio", "xdist", "timeout", "hypothesispytest"):
            plain += ["-p", f"no:{other}"]
        suite = [*plain, "test_prompt.py", "--promptopt-model=anthropic/bench"]
        suite.append(f"--promptopt-concurrency={given.concurrency}")
        key = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "bench"}
        bare = [sys.executable, "-c", "pass"]
        start = [sys.executable, "-c", START]
        limits = [str(given.cases), str(given.concurrency)]
        floor = [sys.executable, "floor.py", url, *limits]

        def less_start(command: list[str]) -> float:
            once = seconds(start, folder, **key) - seconds(bare, folder)
            return seconds(command, folder, **key) - once

        print(f"{given.cases} cases, {given.latency:g} s each, {given.concurrency} in flight")
        compare(
            "uncached, against aiohttp",
            given.rounds,
            lambda: less_start([*suite, "--promptopt-cache=refresh"]),
            lambda: seconds(floor, folder),
        )
        compare(
            "the SDK alone, against aiohttp",
            given.rounds,
            lambda: less_start([sys.executable, "sdk.py", *limits]),
            lambda: seconds(floor, folder),
        )
        (folder / "conftest.py").write_text(OWN_MODEL.format(url=url), encoding="utf-8")
        own = [*suite, "--promptopt-cache=refresh", "--promptopt-model=own/model"]
        compare(
            "the same with a model over aiohttp",
            given.rounds,
            lambda: seconds(own, folder),
            lambda: seconds(floor, folder),
        )
        (folder / "conftest.py").unlink()
        compare(
            "cached, against empty tests",
            given.rounds,
            lambda: seconds(suite, folder, **key),
            lambda: seconds([*plain, "test_empty.py"], folder),
        )
        one = [*plain, "--collect-only", "test_empty.py::test_case[0]"]
        compare(
            "idle, against no plugin",
            2 * given.rounds,
            lambda: seconds(one, folder),
            lambda: seconds([*one, "-p", "no:promptopt"], folder),
        )


if __name__ == "__main__":
    main()

"""What it costs that an application calls its SDK by itself: whole processes, side by side in one run.

    python -m tests.benchmarks.applications [--cases 500] [--latency 0.2] [--concurrency 50] [--rounds 3]

Each row is a suite whose application asks the anthropic SDK (one client at import, one client per call, an
async client per call) against the same suite through the fixture, which asks the same SDK and server.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.engine import compare, seconds, server

PROMPT = "Repeat the number that you are given, and nothing else: {{ n }}\n"

FIXTURE = """
import pytest
@pytest.mark.prompt("prompt.md")
@pytest.mark.parametrize("n", range({cases}))
def test_case(prompt, n):
    assert prompt(n=n) == str(n)
"""

ONE_CLIENT = """
import anthropic
client = anthropic.Anthropic()

def repeat(n, text):
    messages = [{"role": "user", "content": text.replace("{{ n }}", str(n))}]
    return client.messages.create(model="bench", max_tokens=8, messages=messages).content[0].text
"""

CLIENT_PER_CALL = """
import anthropic

def repeat(n, text):
    messages = [{"role": "user", "content": text.replace("{{ n }}", str(n))}]
    with anthropic.Anthropic() as client:
        return client.messages.create(model="bench", max_tokens=8, messages=messages).content[0].text
"""

ASYNC = """
import anthropic, asyncio

async def ask(n, text):
    messages = [{"role": "user", "content": text.replace("{{ n }}", str(n))}]
    async with anthropic.AsyncAnthropic() as client:
        return (await client.messages.create(model="bench", max_tokens=8, messages=messages)).content[0].text

def repeat(n, text):
    return asyncio.run(ask(n, text))
"""

SUITE = """
import pytest
from application import repeat
PROMPT = {prompt!r}
@pytest.mark.prompt("prompt.md")
@pytest.mark.parametrize("n", range({cases}))
def test_case(n):
    assert repeat(n, PROMPT) == str(n)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, server(given.latency) as url:
        folder = Path(name)
        (folder / "prompt.md").write_text(PROMPT, encoding="utf-8")
        (folder / "test_fixture.py").write_text(FIXTURE.format(cases=given.cases), encoding="utf-8")
        suite = SUITE.format(cases=given.cases, prompt=PROMPT)
        (folder / "test_application.py").write_text(suite, encoding="utf-8")
        plain = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--promptopt-cache=refresh"]
        for other in ("asyncio", "anyio", "xdist", "timeout", "hypothesispytest"):
            plain += ["-p", f"no:{other}"]
        plain += [f"--promptopt-concurrency={given.concurrency}", "--promptopt-model=anthropic/bench"]
        key = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "bench"}
        fixture, application = [*plain, "test_fixture.py"], [*plain, "test_application.py"]
        print(f"{given.cases} cases, {given.latency:g} s each, {given.concurrency} in flight")
        rows = {
            "one client": ONE_CLIENT,
            "a client per call": CLIENT_PER_CALL,
            "async, a client per call": ASYNC,
        }
        for row, source in rows.items():
            (folder / "application.py").write_text(source, encoding="utf-8")
            compare(
                row,
                given.rounds,
                lambda: seconds(application, folder, **key),
                lambda: seconds(fixture, folder, **key),
            )


if __name__ == "__main__":
    main()

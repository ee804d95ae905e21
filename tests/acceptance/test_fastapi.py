"""Web applications as they are: prompts in constants, endpoints that ask an SDK, one mark in the test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.acceptance.application_shop import Shop
from tests.acceptance.desk import TESTS, TRAIN, VALIDATION
from tests.acceptance.doc_pages import ROOT

pytest.importorskip("fastapi")
pytest.importorskip("openai")

OPENAI = '''
import os

import openai
from fastapi import FastAPI

PROMPT = """\\
Sort the message into one of these: card_arrival, exchange_rate, pin_blocked.

{message}"""

app = FastAPI()
client = openai.AsyncOpenAI(base_url=os.environ["WIRE"] + "/v1", api_key=os.environ["SECRET"])


@app.get("/sort")
async def sort(message: str) -> str:
    turns = [{"role": "user", "content": PROMPT.format(message=message)}]
    reply = await client.chat.completions.create(model="gpt-4o-mini", max_tokens=50, messages=turns)
    return reply.choices[0].message.content
'''

ANTHROPIC = """
import json
import os

import anthropic
from fastapi import FastAPI
from fastapi.responses import StreamingResponse


class Sorting:
    PROMPT = (
        "Sort the message into one of these: "
        "card_arrival, exchange_rate, pin_blocked.\\n\\n"
        "%s"
    )


app = FastAPI()
client = anthropic.Anthropic(base_url=os.environ["WIRE"], api_key=os.environ["SECRET"])


def words(message):
    turns = [{"role": "user", "content": Sorting.PROMPT % message}]
    with client.messages.stream(model="claude-haiku-4-5", max_tokens=50, messages=turns) as stream:
        text = "".join(stream.text_stream)
    yield json.dumps(text)


@app.get("/sort")
def sort(message: str) -> StreamingResponse:
    return StreamingResponse(words(message), media_type="application/json")
"""

TESTED = """
import pytest
from fastapi.testclient import TestClient
from application import app

def sort(message):
    return TestClient(app).get("/sort", params=dict(message=message)).json()
""" + TESTS.replace("prompt, ", "").replace("prompt(message=message)", "sort(message)").replace(
    "prompts/sort.md", "application.py::{prompt}"
)

APPLICATIONS = {"PROMPT": OPENAI, "Sorting.PROMPT": ANTHROPIC}

#: What a process without the plugin finds.
ALONE = """
import sys
sys.modules["pytest_promptopt"] = None
from fastapi.testclient import TestClient
from application import app
print(TestClient(app).get("/sort", params={"message": "my pin is blocked"}).json())
"""


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with Shop.open(pytester, monkeypatch, ROOT) as found:
        yield found


@pytest.mark.parametrize("prompt", APPLICATIONS)
def test_its_constant_is_rewritten_and_it_runs_without_the_plugin(shop: Shop, prompt: str) -> None:
    shop.write("application.py", APPLICATIONS[prompt])
    tests = TESTED.replace("{prompt}", prompt)
    shop.write("test_it.py", tests.format(train=TRAIN, validation=VALIDATION, heldout=VALIDATION[:1]))
    before = shop.read("application.py")
    result = shop.run("--optimize", "--tb=short", "--promptopt-max-calls=100")
    assert result.ret == 0, shop.shown
    result.assert_outcomes(passed=7)
    assert len(shop.requests) <= 100
    after = shop.read("application.py")
    assert after.startswith(before[: before.index("PROMPT = ")])
    assert after.endswith(
        before[before.index("\n\n\napp = FastAPI()" if "Sorting" in prompt else "\n\napp") :]
    )
    assert "Answer with the label only." in after
    shop.run().assert_outcomes(passed=7)
    assert shop.requests == [], "another process has every answer"
    alone = [sys.executable, "-W", "ignore", "-c", ALONE]
    shown = subprocess.run(alone, cwd=shop.pytester.path, capture_output=True, text=True, check=True)
    assert shown.stdout == "pin_blocked\n"

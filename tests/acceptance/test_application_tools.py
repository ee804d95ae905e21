"""An application that calls a model with tools by itself: its calls are read as those of a prompt are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_promptopt.records.content import ToolCall
from tests.acceptance.application_shop import Shop
from tests.wire import Body

APPLICATION = """
import json, os
from pathlib import Path

PROMPT = Path("prompts/agent.md").read_text()
PARAMETERS = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "reason": {"type": "string"}},
    "required": ["order"],
}
REFUND = {"name": "refund", "description": "Pay back.", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": REFUND}]


def decide(message):
    import openai

    with openai.OpenAI(base_url=os.environ["WIRE"] + "/v1", api_key=os.environ["SECRET"]) as client:
        messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": message}]
        reply = client.chat.completions.create(
            model="gpt-4o-mini", max_tokens=50, messages=messages, tools=TOOLS
        )
    calls = reply.choices[0].message.tool_calls or []
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]
"""

TESTS = """
import pytest
from application import decide

@pytest.mark.prompt("prompts/agent.md")
@pytest.mark.parametrize("order", ["A17", "B42", "C99"])
def test_refund(order):
    assert decide(f"order {order} never came") == [("refund", {"order": order, "reason": "lost"})]
"""


def answered(body: Body) -> str | ToolCall:
    """The refund of the order that is asked for, without a reason; and candidates that change nothing."""
    if not body.get("tools"):
        return "<reason>same</reason><new_prompt>Decide what to do, and say why.</new_prompt>"
    order = body["messages"][-1]["content"].split()[1]
    return ToolCall("refund", {"order": order})


@pytest.fixture
def shop(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Shop]:
    with Shop.open(pytester, monkeypatch, request.config.rootpath) as shop:
        shop.server._answer = answered
        shop.write("prompts/agent.md", "Decide what to do.\n")
        shop.write("application.py", APPLICATION).write("test_it.py", TESTS)
        yield shop


def test_a_wrong_argument_is_told(shop: Shop) -> None:
    shop.run("--promptopt-report=report.json").assert_outcomes(failed=3)
    [prompt] = shop.report()["prompts"]
    [category] = prompt["categories"]
    assert (category["name"], category["count"]) == ("wrong tool call", 3)
    assert "the argument reason of refund missing (3)" in category["observed"]
    assert "the argument reason of refund is missing" in shop.shown
    before = len(shop.server.requests)
    shop.run().assert_outcomes(failed=3)
    assert len(shop.server.requests) == before  # from the cache, where the call is known as well
    assert "wrong tool call" in shop.shown


def test_the_optimizer_reads_the_tools_of_the_application(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("litellm")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.setenv(name, shop.server.url + "/v1")
    shop.run("--optimize", "--promptopt-optimizer-model=openai/gpt-4o", "--promptopt-max-calls=30")
    asked = [json.dumps(body, ensure_ascii=False) for body in shop.requests if not body.get("tools")]
    assert asked
    assert "refund(order: string, reason?: string): Pay back." in asked[0]
    assert "tool call: the argument reason of refund is missing" in asked[0]
    assert Path(shop.pytester.path / "prompts/agent.md").exists()

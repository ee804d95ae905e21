"""A program of DSPy under test: its own suite, one mark, and a saved state that is better; needs DSPy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from textwrap import dedent

import pytest

from pytest_promptopt.interception.bodies import text_slots
from pytest_promptopt.interception.dspy_fields import input_fields
from tests.acceptance.application_shop import Shop, demo_answer
from tests.acceptance.desk import TESTS, TRAIN, VALIDATION, WEAK
from tests.acceptance.doc_pages import ROOT
from tests.wire import Body

pytest.importorskip("dspy")

#: To the last one the stand-in gives an answer that no adapter can read.
HELDOUT = [*VALIDATION, ("mumble", "card_arrival")]

PROGRAM = """
import os
import dspy


class Desk(dspy.Module):
    def __init__(self):
        super().__init__()
        self.condense = dspy.ChainOfThought("message -> summary")
        self.sort = dspy.Predict(dspy.Signature("summary -> label", "Sort it."))

    def forward(self, message):
        return self.sort(summary=self.condense(message=message).summary)


def load(path):
    dspy.configure(lm=dspy.LM("openai/m", api_base=os.environ["WIRE"] + "/v1", api_key="k", max_tokens=100))
    desk = Desk()
    desk.load(path)
    return desk
"""

SUITE = "import pytest\nimport program\n\ndesk = program.load('program.json')\n" + TESTS.format(
    train=TRAIN, validation=[], heldout=HELDOUT
).replace("prompts/sort.md", "program.json").replace("prompt, ", "").replace(
    "prompt(message=message)", "desk(message=message).label"
)

#: How many held-out cases pass under each state, in a process that knows DSPy only.
SCORE = f"""
import sys
import program

def passes(desk, message, label):
    try:
        return desk(message=message).label == label
    except Exception:
        return False

for path in sys.argv[1:]:
    desk = program.load(path)
    print(path, sum(passes(desk, *case) for case in {HELDOUT!r}))
assert "pytest_promptopt" not in sys.modules
"""


def predictor(instructions: str, *demos: dict[str, str]) -> dict[str, object]:
    signature = {"instructions": instructions, "fields": []}
    return {"traces": [], "train": [], "demos": list(demos), "signature": signature, "lm": None}


DEMO = {"summary": "a card", "label": "card_arrival"}
STATE = {
    "condense.predict": predictor("Say what the message is about."),
    "sort": predictor(WEAK.partition("\n")[0], DEMO),
    "metadata": {"dependency_versions": {"python": "3.11", "dspy": "3.4.1", "cloudpickle": "3.1"}},
}


def answer(body: Body) -> str:
    """What `demo` says to the instructions and the inputs, laid out as DSPy asks for it."""
    slots = text_slots(body)
    inputs = input_fields(slots)
    text = "\n".join(inputs.values())
    if text == "mumble":
        return text
    if "message" in inputs:
        fields = {"reasoning": "It is short.", "summary": text}
    else:
        instructions = dedent(slots[0].text.partition("your objective is: \n")[2])
        asked = {"messages": [{"role": "user", "content": f"{instructions}\n\n{text}"}]}
        fields = {"label": demo_answer(asked)}
    return "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in fields.items())


@pytest.fixture
def shop(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with Shop.open(pytester, monkeypatch, ROOT, answer=answer) as found:
        monkeypatch.setenv("DSPY_CACHEDIR", str(pytester.path / "dspy"))
        found.write("program.py", PROGRAM).write("test_it.py", SUITE).write("score.py", SCORE)
        for name in ("program.json", "before.json"):
            found.write(name, json.dumps(STATE, indent=2, ensure_ascii=False) + "\n")
        yield found


def test_a_program_goes_from_its_suite_to_a_state_that_scores_higher(shop: Shop) -> None:
    result = shop.run("--optimize", "--tb=no")
    result.assert_outcomes(passed=6)
    assert "6 passed, 1 held-out failed" in shop.shown, "an answer that DSPy cannot read fails its case"
    assert "program.json::condense: unchanged" in shop.shown
    assert "program.json::sort: improved" in shop.shown
    after = json.loads(shop.read("program.json"))
    instructions = after["sort"]["signature"]["instructions"]
    assert "Answer with the label only." in instructions
    assert after == {**STATE, "sort": predictor(instructions, DEMO)}
    scored = shop.pytester.run(sys.executable, "score.py", "before.json", "program.json")
    assert scored.outlines == ["before.json 0", "program.json 2"]


def test_predictors_that_cannot_be_told_apart_are_refused_before_a_call(shop: Shop) -> None:
    shop.write("program.json", json.dumps({**STATE, "sort": STATE["condense.predict"]}))
    shop.run()
    assert "program.json::condense and program.json::sort have the same instructions" in shop.shown
    assert shop.requests == []

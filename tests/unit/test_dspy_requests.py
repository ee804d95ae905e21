"""Requests of DSPy's adapters: whose they are, what goes in, and how they read under a candidate."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_promptopt.interception import dspy_cache
from pytest_promptopt.interception.bodies import text_slots
from pytest_promptopt.interception.dspy_fields import input_fields
from pytest_promptopt.interception.gate import close_gate, open_gate
from pytest_promptopt.interception.prompt_in_request import find_prompts, with_candidates
from pytest_promptopt.prompts import PromptFile
from tests.replaying import Replaying

SHORT = "Sort the message into a queue."
LONG = "Sort the message into a queue.\n\nUse the list:\n  - billing\n  - delivery"
OBJECTIVE = "In adhering to this structure, your objective is: "
ABOUT = "Your input fields are:\n1. `message` (str):\nYour output fields are:\n1. `queue` (str):\nAll of it"

#: Adapter -> what stands above the instructions, and the message of the user, as DSPy 3.4
#: writes them, shortened.
ADAPTERS = {
    "ChatAdapter": (
        f"{ABOUT} will be structured in the following way, with the appropriate values filled in.\n\n"
        "[[ ## message ## ]]\n{message}\n\n[[ ## queue ## ]]\n{queue}\n\n[[ ## completed ## ]]\n",
        "[[ ## message ## ]]\nhi\n\nyou\n\n[[ ## tone ## ]]\nkind\n\nRespond with the corresponding output "
        "fields, starting with the field `[[ ## queue ## ]]`, and then ending with the marker for "
        "`[[ ## completed ## ]]`.",
    ),
    "JSONAdapter": (
        f"{ABOUT} will be structured.\n\nInputs will have the following structure:\n\n[[ ## message ## ]]\n"
        '{message}\n\nOutputs will be a JSON object with these fields.\n\n{\n  "queue": "{queue}"\n}\n',
        "[[ ## message ## ]]\nhi\n\nyou\n\n[[ ## tone ## ]]\nkind\n\nRespond with a JSON object in the "
        "following order of fields: `queue`.",
    ),
    "XMLAdapter": (
        ABOUT + " will be structured.\n\n<message>\n{message}\n</message>\n\n<queue>\n{queue}\n</queue>\n",
        "<message>\nhi\n\nyou\n</message>\n\n<tone>\nkind\n</tone>\n\nRespond with the corresponding output "
        "fields wrapped in XML tags `<queue>`.",
    ),
}


def objective(instructions: str) -> str:
    """Instructions as each adapter writes them: on lines of their own, all eight blanks in."""
    return OBJECTIVE + ("\n" + " " * 8).join(["", *instructions.splitlines()])


def body(adapter: str, instructions: str, *demos: dict[str, str]) -> dict[str, Any]:
    above, asked = ADAPTERS[adapter]
    system = {"role": "system", "content": above + objective(instructions)}
    return {"model": "m", "messages": [system, *demos, {"role": "user", "content": asked}]}


def prompt(folder: Path, text: str, name: str = "classify") -> PromptFile:
    path = folder / "program.json"
    state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    state[name] = {"demos": [], "signature": {"instructions": text}}
    path.write_text(json.dumps(state), encoding="utf-8")
    return PromptFile.load(f"program.json::{name}", rootdir=folder)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(("before", "after"), [(SHORT, LONG), (LONG, SHORT), (LONG, LONG + "\n\nBe {kind}.")])
def test_a_candidate_stands_in_a_request_as_dspy_would_have_put_it(
    tmp_path: Path, adapter: str, before: str, after: str
) -> None:
    file, asked = prompt(tmp_path, before), body(adapter, before)
    slots = text_slots(asked)
    (match,) = find_prompts([[file]], slots).matches
    assert with_candidates(asked, slots, [(match, file.with_prose(after))]) == body(adapter, after)


def test_it_is_asked_as_dspy_reads_it_where_that_takes_blanks_away(tmp_path: Path) -> None:
    file, asked, after = prompt(tmp_path, SHORT), body("ChatAdapter", SHORT), "Sort it.\n    By:\n    - queue"
    slots = text_slots(asked)
    (match,) = find_prompts([[file]], slots).matches
    sent = body("ChatAdapter", inspect.cleandoc(after))
    assert with_candidates(asked, slots, [(match, file.with_prose(after))]) == sent


def test_of_predictors_of_which_one_holds_the_other_that_with_more_text_is_meant(tmp_path: Path) -> None:
    """The instructions of ReAct begin with those of the predictor that makes its answer."""
    files = [prompt(tmp_path, SHORT, "extract"), prompt(tmp_path, LONG, "react")]
    for text, name in ((LONG, "program.json::react"), (SHORT, "program.json::extract")):
        (match,) = find_prompts([[file] for file in files], text_slots(body("ChatAdapter", text))).matches
        assert match.prompt.name == name


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_inputs_are_the_fields_and_nothing_of_how_they_are_laid_out(adapter: str) -> None:
    demos = (
        {"role": "user", "content": "[[ ## message ## ]]\nan example"},
        {"role": "assistant", "content": "x"},
    )
    assert input_fields(text_slots(body(adapter, SHORT, *demos))) == {"message": "hi\n\nyou", "tone": "kind"}


@pytest.mark.parametrize("content", ["hi", "hi\n\n[[ ## message ## ]]\nyou", ""])
def test_a_message_in_another_form_has_no_fields(content: str) -> None:
    assert input_fields(text_slots({"messages": [{"role": "user", "content": content}]})) == {}


def test_the_cache_of_dspy_knows_and_keeps_nothing_during_a_case() -> None:
    class Cache:
        def __init__(self) -> None:
            self.kept: dict[str, str] = {}

        def get(self, request: str) -> str | None:
            return self.kept.get(request)

        def put(self, request: str, value: str) -> None:
            self.kept[request] = value

    dspy_cache.patch(SimpleNamespace(Cache=Cache))
    cache, case = Cache(), Replaying()
    cache.put("q", "of the text on disk")
    open_gate(case)
    try:
        assert cache.get("q") is None
        cache.put("q", "of a candidate")
    finally:
        close_gate(case)
    assert cache.get("q") == "of the text on disk"

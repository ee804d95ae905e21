"""Predictors of DSPy as prompts: in the state that a module has saved, and as signatures in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.sources.dspy_states import predictor_path, predictors


def predictor(instructions: str, **more: Any) -> dict[str, Any]:
    """A predictor as DSPy 3.4 saves it."""
    fields = [{"prefix": "Text:", "description": "${text}"}]
    signature = {"instructions": instructions, "fields": fields}
    return {"traces": [], "train": [], "demos": [], "signature": signature, "lm": None, **more}


#: Names as DSPy gives them: a ChainOfThought, a Predict, one of a list, one of a dict, a ReAct.
NAMES = ("rewrite.predict", "classify", "steps[0]", "by['kind']", "agent.extract.predict")
STATE = {name: predictor(f"The instructions of {name}.", demos=[{"text": "x"}]) for name in NAMES} | {
    "metadata": {"dependency_versions": {"python": "3.11", "dspy": "3.4.1"}}
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.json").write_text(json.dumps(STATE, indent=2), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("classify", "classify"),
        ("rewrite", "rewrite.predict"),
        ("rewrite.predict", "rewrite.predict"),
        ("steps[0]", "steps[0]"),
        ("\"by['kind']\"", "by['kind']"),
        ("agent.extract", "agent.extract.predict"),
        ('"rewrite.predict".signature.instructions', "rewrite.predict"),
    ],
)
def test_a_predictor_is_named_as_its_module_is(folder: Path, named: str, key: str) -> None:
    file = PromptFile.load(f"program.json::{named}", rootdir=folder)
    assert file.prose == f"The instructions of {key}."
    assert file.name == f"program.json::{named}"
    assert file.is_dspy
    assert file.language.name == "none", "DSPy fills nothing in, whatever looks like a variable"
    assert "DSPy" in " ".join(file.writing_rules)
    changed = json.loads(file.with_prose("Other {text}\n\nof it").content())
    assert changed == {**STATE, key: predictor("Other {text}\n\nof it", demos=[{"text": "x"}])}


def test_what_the_predictors_of_a_program_are_called_is_how_they_are_named(folder: Path) -> None:
    content = (folder / "program.json").read_bytes()
    named = [predictor_path(each) for each in predictors(content, name="program.json")]
    assert named == ["rewrite", "classify", "steps[0]", "\"by['kind']\"", "agent.extract"]
    for each in named:
        assert PromptFile.load(f"program.json::{each}", rootdir=folder).is_dspy


def test_another_json_file_is_none_of_this(tmp_path: Path) -> None:
    text = '{"classify": {"signature": {"instructions": "Sort {it}."}}, "a": "Sort the message {it}."}'
    (tmp_path / "app.json").write_text(text, encoding="utf-8")
    assert predictors(text.encode(), name="app.json") == []
    file = PromptFile.load("app.json::a", rootdir=tmp_path)
    assert not file.is_dspy
    assert file.language.name == "format"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "program.json::clasify",
            "there is no predictor `clasify` in the saved state of a DSPy module; did you mean `classify`?",
        ),
        ("program.json::classify.demos", "`classify.demos` is a list; a prompt is a text"),
        ("program.json::classify.demo", "there is no key `demo` in classify; did you mean `demos`?"),
        ("program.pkl", 'a program in a pickle cannot be rewritten; save its state: save("program.json")'),
    ],
)
def test_what_is_no_predictor_is_said(folder: Path, address: str, said: str) -> None:
    (folder / "program.pkl").write_bytes(b"")
    with pytest.raises(PromptFileError) as error:
        PromptFile.load(address, rootdir=folder)
    assert said in str(error.value)


MODULE = '''\
import dspy
from dspy import Signature


class Route(dspy.Signature):
    """Route the ticket.

    Be {quick}.
    """

    ticket: str = dspy.InputField()


class Sort(Signature):
    """Sort it."""

    a: str = dspy.InputField()


SHORT = dspy.Signature("a -> b", "Make b of a.")
LONG = Signature(
    "a -> b",
    instructions="""
        Make b of a.

        Be quick.
    """,
)


class Plain:
    """Sort the ticket: {ticket}"""


class Bare:
    pass
'''


@pytest.mark.parametrize(
    ("name", "prose", "old", "new"),
    [
        (
            "Route",
            "Route the ticket.\n\nBe {quick}.",
            '"""Route the ticket.\n\n    Be {quick}.\n    """',
            '"""Be good.\n\n    And:\n      kind.\n    """',
        ),
        ("Sort", "Sort it.", '"""Sort it."""', '"""Be good.\n\n    And:\n      kind."""'),
        ("SHORT", "Make b of a.", '"Make b of a."', '"""Be good.\n\nAnd:\n  kind."""'),
        (
            "LONG",
            "Make b of a.\n\nBe quick.",
            '"""\n        Make b of a.\n\n        Be quick.\n    """',
            '"""\n        Be good.\n\n        And:\n          kind.\n    """',
        ),
    ],
)
def test_a_signature_in_python_is_rewritten_where_it_stands(
    tmp_path: Path, name: str, prose: str, old: str, new: str
) -> None:
    (tmp_path / "app.py").write_text(MODULE, encoding="utf-8")
    file = PromptFile.load(f"app.py::{name}", rootdir=tmp_path)
    assert (file.prose, file.is_dspy, file.language.name) == (prose, True, "none")
    assert file.with_prose("Be good.\n\nAnd:\n  kind.").content().decode() == MODULE.replace(old, new)


def test_a_docstring_of_another_class_is_a_text_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(MODULE, encoding="utf-8")
    file = PromptFile.load("app.py::Plain", rootdir=tmp_path)
    assert (file.is_dspy, file.language.name) == (False, "format")
    assert file.variables == {"ticket"}
    with pytest.raises(PromptFileError, match="Bare is a class without a docstring"):
        PromptFile.load("app.py::Bare", rootdir=tmp_path)

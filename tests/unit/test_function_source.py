"""What the source of a test says: which value its assert expects, whether or not it is reached."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pytest_promptopt.assertions.function_source import MAX_CHECK, MAX_HELPER, TestSource, source_of
from pytest_promptopt.assertions.plain_values import parameter_text
from pytest_promptopt.assertions.static_values import NoValue

HEADER = """
import decimal, enum, json, pytest
from datetime import date
from dataclasses import dataclass
from unittest.mock import ANY

QUEUES = {"where is it?": "delivery", "pay me": "billing"}
ROWS = [("a", {"n": 1}), ("b", {"n": 2})]
LIMIT = 3

class Queue(enum.Enum):
    BILLING = "billing"

@dataclass
class Row:
    label: str
    calls = 0
    @property
    def computed(self):
        Row.calls += 1
        return "computed"

def looked_up(text):
    raise RuntimeError("a function of the user's is not called")
"""


def source(path: Path, text: str, parameters: Mapping[str, Any]) -> tuple[TestSource, dict[str, Any]]:
    file = path / "test_module.py"
    file.write_text(HEADER + dedent(text), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("test_module", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = module.TestIt.test_it if hasattr(module, "TestIt") else module.test_it
    return source_of(function, frozenset(parameters)), vars(module)


def expected(path: Path, text: str, **parameters: Any) -> Any:
    """None when the source does not tell."""
    return source(path, text, parameters)[0].known_expected(parameters)


ASSERTS = {
    "a parameter": ("assert prompt(q=q) == label", "billing"),
    "on the left": ("assert label == prompt(q=q)", "billing"),
    "cleaned": ('assert prompt(q=q).strip().strip(".").lower() == label.lower()', "billing"),
    "with a message": ('assert prompt(q=q) == label, "wrong queue"', "billing"),
    "JSON": (
        'assert prompt(q=q).json() == {"amount": amount, "tags": [label]}',
        {"amount": 5, "tags": ["billing"]},
    ),
    "json.loads": ("assert json.loads(prompt(q=q)) == json.loads('{\"a\": 1}')", {"a": 1}),
    "one part of JSON": ('assert prompt(q=q).json()["amount"] == amount', 5),
    "an f-string": ('assert prompt(q=q) == f"{amount:.2f} EUR"', "5.00 EUR"),
    "a sum": ("assert prompt(q=q).json() == amount + LIMIT", 8),
    "a constant": ('assert prompt(q=q) == "yes"', "yes"),
    "a table": ("assert prompt(q=q) == QUEUES[q]", "billing"),
    "a name": ("answer = prompt(q=q)\n    assert answer == label", "billing"),
    "a name of a name": ("raw = prompt(q=q)\n    answer = raw.json()\n    assert answer == label", "billing"),
    "an expected name": ("wanted = {'a': amount}\n    assert prompt(q=q).json() == wanted", {"a": 5}),
    "unpacked": ("said, wanted = ROWS[1]\n    assert prompt(q=said).json() == wanted", {"n": 2}),
    "walrus": ("assert (answer := prompt(q=q)) == label", "billing"),
    "half of an and": ("assert prompt(q=q) == label and amount", "billing"),
    "a stage": ('assert prompts["route"](q=q) == label', "billing"),
    "in a with": ("with open(__file__):\n        assert prompt(q=q) == label", "billing"),
    "about": ("assert prompt(q=q).json() == pytest.approx(amount)", 5),
    "an enum": ("assert prompt(q=q) == Queue.BILLING.value", "billing"),
    "a field": ("assert prompt(q=q) == row.label", "billing"),
    "a choice": ('assert prompt(q=q) == ("many" if amount > 3 else "few")', "many"),
    "several parts": (
        'it = prompt(q=q).json()\n    assert it["amount"] == amount\n    assert it["to"]["queue"] == label',
        {"amount": 5, "to": {"queue": "billing"}},
    ),
    "a check besides": (
        "it = prompt(q=q)\n    assert len(rows) == 2\n    assert it == label",
        "billing",
    ),
    "an application": ("assert app(prompt.text, q) == label", "billing"),
    "a fixture that asks": ("assert classify(q) == label", "billing"),
    "unittest": ("self.assertEqual(prompt(q=q), label)", "billing"),
    "in": ("assert label in prompt(q=q)", None),
    "not in": ("assert label not in prompt(q=q)", None),
    "not equal": ("assert prompt(q=q) != label", None),
    "negated": ("assert not prompt(q=q) == label", None),
    "alternatives": ("assert prompt(q=q) == label or prompt(q=q) == 'other'", None),
    "two answers": ("assert prompt(q=q) == prompt(q=q)", None),
    "a function of the user's": ("assert prompt(q=q) == looked_up(q)", None),
    "a property": ("assert prompt(q=q) == row.computed", None),
    "a loop": ("for label in ('a', 'b'):\n        assert prompt(q=q) == label", None),
    "a branch": ("if amount > 3:\n        label = 'other'\n    assert prompt(q=q) == label", None),
    "changed in place": (
        "it = [1]\n    it.append(amount)\n    assert prompt(q=q).json() == it",
        None,
    ),
    "several of the whole": ("assert prompt(q=q) == label\n    assert prompt(q=q).lower() == 'x'", None),
    "huge": ("assert prompt(q=q) == 'x' * 10 ** 9", None),
    "no assert": ("prompt(q=q)", None),
    "a dataclass": ("assert Row(**prompt(q=q).json()) == Row(label)", {"label": "billing"}),
    "its fields": (
        "it = Row(prompt(q=q))\n    assert it.label == label\n    assert it.n == amount",
        {"label": "billing", "n": 5},
    ),
    "got fields": (
        "it = prompt(q=q).json()\n    assert it.get('a') == label\n    assert it['b'] == 1",
        {"a": "billing", "b": 1},
    ),
    "a member of an enum": ("assert Queue(prompt(q=q)) == Queue.BILLING", "billing"),
    "a decimal": ("assert decimal.Decimal(prompt(q=q)) == decimal.Decimal('1.50')", "1.50"),
    "a date": ("assert date.fromisoformat(prompt(q=q)) == date(2024, 5, 1)", "2024-05-01"),
    "a condition that fails": ("if prompt(q=q) != label:\n        pytest.fail('wrong')", "billing"),
    "a length": ("assert len(prompt(q=q)) == 5", None),
    "a length besides": ("it = prompt(q=q)\n    assert len(it) == 5\n    assert it == label", "billing"),
    "a count that is asked for": ("assert prompt(q=q).json() == len(label)", 7),
}


@pytest.mark.parametrize(("body", "wanted"), ASSERTS.values(), ids=ASSERTS)
def test_what_the_assert_expects(tmp_path: Path, body: str, wanted: Any) -> None:
    text = f"""
def app(template, q): return "billing"

def test_it(self, prompt, prompts, classify, rows, q, label, amount, row):
    {body}
"""
    file = tmp_path / "rows.py"
    file.write_text(HEADER, encoding="utf-8")
    _, module = source(tmp_path, text, {})
    values = {"q": "pay me", "label": "billing", "amount": 5, "row": module["Row"]("billing")}
    assert expected(tmp_path, text, **values) == wanted
    assert module["Row"].calls == 0


def test_methods_and_async_tests_are_read_too(tmp_path: Path) -> None:
    text = """
    class TestIt:
        @pytest.mark.asyncio
        @pytest.mark.parametrize("label", ["a", "b"])
        async def test_it(self, prompt, label):
            "What it is about."
            answer = await prompt.acall(q=1)
            assert answer == label
    """
    found, _ = source(tmp_path, text, {"label": "b"})
    assert found.expected({"label": "b"}) == "b"
    assert found.check == (
        "async def test_it(self, prompt, label):\n"
        "    answer = await prompt.acall(q=1)\n"
        "    assert answer == label"
    )


def test_the_short_functions_of_the_file_that_a_test_calls_are_read_with_it(tmp_path: Path) -> None:
    text = f"""
    def clean(answer, *, without=".!"):
        "Takes off what does not matter."
        return strip(answer).lower()

    def strip(answer):
        return answer.strip()

    def long(answer):
        return answer == "{"x" * MAX_HELPER}"

    def labels():
        return ["a", "b"]

    def answer():
        return "none of it"

    @pytest.fixture
    def asked():
        return str

    @pytest.mark.parametrize("label", labels())
    def test_it(prompt, asked, label):
        answer = prompt(q=1)
        assert long(answer) or answer() or asked(clean(answer)) == answer.strip()
    """
    found, _ = source(tmp_path, text, {"label": "b"})
    assert found.check.endswith("== answer.strip()"), "the test itself: it is the same when they are changed"
    assert found.helpers == ("def clean(answer, *, without='.!'):\n    return strip(answer).lower()",)


def test_the_body_may_begin_where_the_parameters_end(tmp_path: Path) -> None:
    found, _ = source(tmp_path, "def test_it(\n    prompt,\n): assert prompt(q=1) == 'ä'\n", {})
    assert found.check == "def test_it(prompt):\n    assert prompt(q=1) == 'ä'"


def test_of_a_long_test_the_last_statements_are_kept(tmp_path: Path) -> None:
    body = "\n".join(f"    assert prompt(q={number}) == 'x'" for number in range(200))
    found, _ = source(tmp_path, f"def test_it(prompt):\n{body}\n", {})
    assert len(found.check) <= MAX_CHECK
    assert found.check.startswith("def test_it(prompt):\n    ...\n    assert prompt(q=")
    assert found.check.endswith("    assert prompt(q=199) == 'x'")
    ast.parse(found.check)


def test_a_long_table_in_a_test_is_no_part_of_what_it_checks(tmp_path: Path) -> None:
    rows = ",\n".join(f"        'case {number}': ('what goes in', 'what comes out')" for number in range(99))
    body = f"    rows = {{\n{rows}\n    }}\n    assert prompt(q=rows[label][0]) == rows[label][1]\n"
    found, _ = source(tmp_path, f"def test_it(prompt, label):\n{body}", {"label": "case 1"})
    assert found.check == (
        "def test_it(prompt, label):\n    rows = ...\n    assert prompt(q=rows[label][0]) == rows[label][1]"
    )


def test_a_statement_that_is_too_long_by_itself_is_left_out(tmp_path: Path) -> None:
    found, _ = source(tmp_path, f"def test_it(prompt):\n    assert prompt() == '{'x' * 2_000}'\n", {})
    assert found.check == "def test_it(prompt):\n    ..."


@pytest.mark.parametrize("function", [None, len, eval("lambda prompt: 1"), object()])
def test_what_has_no_source_says_nothing(function: Any) -> None:
    assert source_of(function).check == ""
    with pytest.raises(NoValue):
        source_of(function).expected({})


def test_the_source_is_read_once_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def test_it(prompt, label): assert prompt() == label\n"
    first, module = source(tmp_path, text, {"label": "a"})
    (tmp_path / "test_module.py").unlink()
    assert source_of(module["test_it"], frozenset(("label",))) is first


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", "a\nb"),
        (5, "5"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        (Thing(), "<tests.unit.test_function_source.Thing object>"),
        ([Thing], "[\"<class 'tests.unit.test_function_source.Thing'>\"]"),
        ("x" * 2_000, "x" * 999 + "…"),
        ("<Thing object at 0x7f00>", "<Thing object at 0x7f00>"),
    ],
)
def test_a_parameter_is_short_and_the_same_in_every_process(value: Any, text: str) -> None:
    assert parameter_text(value) == text

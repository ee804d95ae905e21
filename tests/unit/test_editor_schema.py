"""The schema for editors says of a suite what the reader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records import Split
from pytest_promptopt.suites.check_types import CHECK_TYPES
from pytest_promptopt.suites.editor_schema import FILE, editor_schema
from pytest_promptopt.suites.located_yaml import read_yaml
from pytest_promptopt.suites.suite_reading import SUITE_KEYS, read_suite
from tests.unit.test_suite_checks import EACH
from tests.unit.test_suite_reading import HEAD, MISTAKES

VALIDATOR = Draft202012Validator(editor_schema())

#: Mistakes that only the reader can see: what is on the disk, elsewhere in the file, or inside of a text.
BEYOND = (
    "is that of",
    "names no model",
    "there is no file",
    "there is no rubric file",
    "is no regular expression",
    "is no JSON Schema",
    "is no Python",
    "given twice",
    "not valid YAML",
    "is not accepted",
    "cannot be read",
    ", and the case at",
    "the case has no inputs",
    "there is nothing to check",
    "there is no key",
    "must be a text on one line",
    "must be one word",
    "needs a path",
)


def accepted(text: str) -> bool:
    return bool(VALIDATOR.is_valid(read_yaml(text, "f").value))


def test_the_file_in_the_package_is_up_to_date() -> None:
    """Mend it with ``python docs/generate_reference.py``."""
    assert json.loads(FILE.read_text(encoding="utf-8")) == editor_schema()
    Draft202012Validator.check_schema(editor_schema())
    assert set(editor_schema()["properties"]) == set(SUITE_KEYS)


@pytest.mark.parametrize(("text", "line", "said"), MISTAKES)
def test_mistakes_of_form_are_seen_by_both(text: str, line: int, said: str) -> None:
    if not any(words in said for words in BEYOND):
        assert not accepted(HEAD + text + "\n")


def test_keys_beside_inputs_are_checked() -> None:
    assert accepted(f"{HEAD}  - inputs: {{q: a}}\n    expected: x\n")
    assert not accepted(f"{HEAD}  - inputs: {{q: a}}\n    expeted: x\n")


VALUES = {kind: [value for name, value, *_ in EACH if name == kind] for kind in CHECK_TYPES}
WORDS = st.text("abc", min_size=1, max_size=5)


@st.composite
def checks(draw: st.DrawFn) -> Any:
    """A check as somebody may write it, right or wrong."""
    kind = draw(st.sampled_from(sorted(CHECK_TYPES)))
    name = draw(st.sampled_from(["", "not-"])) + kind
    value = draw(st.sampled_from([*VALUES[kind], 3, "a", ["a"], None, True]))
    others: list[dict[str, Any]] = [{}, {}, {"threshold": 0.5}, {"path": "$.a"}, {"value": 3}]
    more = draw(st.sampled_from(others))
    long = {"type": name, "value": value}
    return draw(st.sampled_from([name, {name: value, **more}, {**long, **more}, long]))


CASES = st.fixed_dictionaries(
    {
        "inputs": st.dictionaries(WORDS, WORDS, min_size=1, max_size=2),
        "expected": WORDS | st.integers() | st.none(),
    },
    optional={
        "checks": st.lists(checks(), max_size=3),
        "split": st.sampled_from([*map(str, Split), "test"]),
        "weight": st.sampled_from([0, 1, 0.5, "x"]),
        "tags": st.lists(WORDS, max_size=2) | WORDS,
        "id": WORDS,
    },
)
SUITES = st.fixed_dictionaries(
    {"prompt": st.just("p.md"), "cases": st.lists(CASES, min_size=1, max_size=3)},
    optional={
        "model": st.sampled_from(["demo", 3]),
        "samples": st.sampled_from([1, 0, "2"]),
        "min_pass_rate": st.sampled_from([0.5, "90%", 2, "x"]),
        "checks": st.lists(checks(), max_size=2),
        "template": st.sampled_from(["jinja2", "jinja"]),
        "inputs": st.dictionaries(WORDS, WORDS, max_size=2),
    },
)


@given(SUITES)
def test_the_schema_accepts_what_the_reader_accepts(suite: dict[str, Any]) -> None:
    folder = Path(__file__).parent
    text = yaml.safe_dump(suite)
    try:
        read = _read(text, folder)
    except SettingsError as error:
        said = str(error)
        seen = any(words in said for words in BEYOND)
        read = None
    if read is None and not seen:
        assert not accepted(text), said
    if read is not None:
        assert accepted(text)


def _read(text: str, folder: Path) -> object:
    from unittest.mock import patch

    with patch("pytest_promptopt.suites.suite_reading._text", lambda path, name: text):
        return read_suite(folder / "a.promptopt.yaml", folder)

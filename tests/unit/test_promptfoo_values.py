"""Parts of a configuration of promptfoo: regular expressions, lists in a text, cells of a table, code."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_promptopt.suites.check_types import failure_of
from pytest_promptopt.suites.checks import Check, CheckContext
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.promptfoo.comma_lists import values_in
from pytest_promptopt.suites.promptfoo.json_schemas import schema_as_in_ajv
from pytest_promptopt.suites.promptfoo.own_checks import SCRIPT
from pytest_promptopt.suites.promptfoo.regular_expressions import NotAlike, compiled, units
from pytest_promptopt.suites.promptfoo.test_cases import assertion_from_text

#: What node 20 says of `new RegExp(pattern).test(text)`.
MATCHING = [
    ("^a$", "a\n", False),
    ("^\\d+$", "\u0661", False),
    ("\\w", "é", False),
    ("a.b", "a\u2028b", False),
    ("[^]", "\n", True),
    ("[]", "a", False),
    ("^\\B", "", True),
    ("[--a]", "9", True),
    ("[!-]", "-", True),
    ("(?=a)*b", "b", True),
    ("\\bx\\b", "éxé", True),
    ("(?<y>a)b", "ab", True),
    ("^.$", "\U0001f600", False),
    ("^\U0001f600$", "\U0001f600", True),
    ("{", "{", True),
    ("a{,2}", "a{,2}", True),
    ("a{2}", "aa", True),
    ("[[]", "[", True),
    ("\\/x", "/x", True),
    ("\\s", "\u00a0", True),
    ("\\s", "\x1c", False),
    ("[\\s\\d]", "7", True),
    ("\\S\\D\\W", "a-.", True),
    ("^$", "", True),
    ("x]", "x]", True),
    ("[a-z&&b]", "&", True),
    ("a+?b*?", "aab", True),
    ("\\u0041\\x42", "AB", True),
    ("(?!b)a(?=c)", "ac", True),
]


@pytest.mark.parametrize(("pattern", "text", "matches"), MATCHING)
def test_a_regular_expression_matches_as_in_javascript(pattern: str, text: str, matches: bool) -> None:
    assert (compiled(pattern).search(units(text)) is not None) is matches


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?i)a", "`(?i)` is not taken alike"),
        ("(?>a)", "`(?>a` is not taken alike"),
        ("a++", "nothing to repeat"),
        (r"(a)\1", r"`\1` is not taken alike"),
        (r"\p{L}", r"`\p` is not taken alike"),
        ("a(", "Python cannot take this regular expression"),
        ("[a", "a [ is not closed"),
        ("a\\", "it ends with a backslash"),
        ("a\\b*", "nothing to repeat"),
        ("(?<=a){2}b", "nothing to repeat"),
        ("[\\w--]", "a range that begins or ends with a class"),
        ("[!-\\d]", "a range that begins or ends with a class"),
    ],
)
def test_one_that_python_takes_otherwise_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(NotAlike) as caught:
        compiled(pattern)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a, b ,c", ["a", "b", "c"]),
        ('"a, b", c', ["a, b", "c"]),
        (r'"say \"hi\"","a""b"', ['say "hi"', 'a"b']),
        (" ,, a,", ["a"]),
        ('a "b", c', ['a "b"', "c"]),
    ],
)
def test_a_text_with_commas_holds_several_values(text: str, values: list[str]) -> None:
    assert values_in(text) == values


@pytest.mark.parametrize("text", ['"a', '"a" b, c'])
def test_a_quote_that_does_not_end_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quoted value"):
        values_in(text)


def test_a_schema_is_checked_as_promptfoo_checks_it() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"pattern": "^\\d$"}, "b": {"items": [{"type": "integer"}]}},
        "anyOf": [{"required": ["a"]}, True],
        "additionalProperties": False,
        "$defs": {"x": {"$ref": "#/$defs/y"}},
    }
    assert schema_as_in_ajv(schema) == {
        **schema,
        "properties": {**schema["properties"], "a": {"pattern": "^[0-9]\\Z"}},
    }


CELLS = {
    "Paris": {"type": "equals", "value": "Paris"},
    "contains: Paris ": {"type": "contains", "value": "Paris"},
    "not-icontains:x": {"type": "not-icontains", "value": "x"},
    "contains-any:a,b": {"type": "contains-any", "value": ["a", "b"]},
    "is-json": {"type": "is-json"},
    "python:len(output) > 3": {"type": "python", "value": "len(output) > 3"},
    "file://a.py:f": {"type": "python", "value": "a.py:f"},
    "fn:output.x": {"type": "javascript", "value": "output.x"},
    "grade: polite": {"type": "llm-rubric", "value": " polite"},
    "latency(500)": {"type": "latency", "threshold": 500.0},
    "starts-with: A": {"type": "starts-with", "value": "A", "threshold": 0.75},
    "similar(0.9):x": {"type": "similar", "value": "x", "threshold": 0.9},
    "nonsense:x": {"type": "equals", "value": "nonsense:x"},
}


@pytest.mark.parametrize(("cell", "assertion"), CELLS.items())
def test_a_cell_of_expected_is_an_assertion(cell: str, assertion: dict[str, Any]) -> None:
    assert assertion_from_text(cell) == assertion


CODE = {
    "'a' in output": True,
    "output == context['vars']['x']": True,
    "0.5": True,
    "0": False,
    "'true'": True,
    "'False'": False,
    "{'pass': True, 'score': 1, 'reason': ''}": True,
    "{'pass': True, 'score': 1}": False,
    "{'pass': True, 'score': True, 'reason': ''}": False,
    "{'pass_': False, 'score': 0, 'reason': 'bad'}": False,
    '\'{"pass": true, "score": 1, "reason": ""}\'': True,
    '\'{"pass": true, "score": NaN, "reason": ""}\'': False,
    "1 / 0": False,
    "None": False,
    "{'score': 1}": False,
    "ok = output == 'a'\nif ok:\n    return 1\nreturn json.loads('0')": True,
}


@pytest.mark.parametrize(("code", "holds"), CODE.items())
def test_code_decides_as_in_promptfoo(code: str, holds: bool) -> None:
    context = CheckContext(FileCase("1", {}))
    check = Check(SCRIPT, code, "c.yaml:1", options={"vars": {"x": "a"}})
    assert (failure_of(check, "a", context) is None) is holds
    holds_negated = code in ("0", "'False'", "{'pass_': False, 'score': 0, 'reason': 'bad'}")
    negated = Check(SCRIPT, code, "c.yaml:1", negated=True, options={"vars": {"x": "a"}})
    assert (failure_of(negated, "a", context) is None) is holds_negated


@pytest.mark.parametrize(("threshold", "holds"), [(0.4, True), (0.6, False)])
def test_a_score_is_held_against_a_threshold(threshold: float, holds: bool) -> None:
    for code in ("0.5", "{'pass': True, 'score': 0.5, 'reason': ''}"):
        check = Check(SCRIPT, code, "c.yaml:1", threshold=threshold)
        assert (failure_of(check, "a", CheckContext(FileCase("1", {}))) is None) is holds

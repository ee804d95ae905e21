"""Text that others wrote, as a reader meets it: cut, counted, quoted and without anything hidden."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.text import (
    braces_hint,
    code_point,
    cut_end,
    cut_middle,
    escape_controls,
    escape_hidden,
    excerpt,
    join_words,
    plural,
    printable,
    quote,
    safe_repr,
    value_text,
    without_addresses,
)

HIDDEN = "a\u202eb\u2028c\ufeffd\U000e0041e\ud83df\x07"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


@given(st.text(st.characters()))
def test_nothing_that_a_model_says_reaches_the_terminal_as_a_control(text: str) -> None:
    shown = printable(text)
    assert "\n" not in shown
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: ä, 票, ✓", "plain: ä, 票, ✓"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("one\ntwo\r\tthree", r"one\ntwo\r\tthree"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202edef", r"abc\u202edef"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_unprintable_text_is_escaped_and_the_rest_is_left(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(), st.integers(min_value=4, max_value=80))
def test_an_excerpt_is_never_wider_than_asked(text: str, width: int) -> None:
    assert len(excerpt(text, width)) <= width


def test_a_cut_is_visible() -> None:
    assert excerpt("x" * 11, 10) == "xxxxxxx..."
    assert excerpt("x" * 10, 10) == "x" * 10


def test_counts_agree_with_their_noun() -> None:
    assert [plural(n, "case") for n in (0, 1, 2, 1024)] == ["0 cases", "1 case", "2 cases", "1,024 cases"]


def test_a_long_list_names_the_first_and_counts_the_rest() -> None:
    assert join_words([]) == ""
    assert join_words(["a"]) == "a"
    assert join_words(["a", "b", "c"]) == "a, b and c"
    assert join_words(["a", "b", "c"], 2) == "a, b and 1 more"


def test_a_text_loses_its_end_or_its_middle_and_says_so() -> None:
    assert cut_end("short", 5) == "short"
    assert cut_end("shorter", 5) == "shor…"
    assert cut_end("shorter", 5, mark="...") == "sh..."
    long = "a" * 30 + "b" * 100 + "c" * 20
    assert cut_middle(long, 60) == "a" * 30 + "b" * 10 + " … 90 characters left out … " + "c" * 20
    assert cut_middle("short", 60) == "short"


@pytest.mark.parametrize(
    ("value", "text"),
    [("plain", "plain"), ({"ä": [1, None]}, '{"ä": [1, null]}'), (True, "true"), ("\ud800", "\\ud800")],
)
def test_any_value_has_a_text(value: Any, text: str) -> None:
    assert value_text(value) == text


def test_an_object_whose_repr_raises_has_a_text() -> None:
    assert value_text([Broken()]) == "<list whose repr raises RuntimeError>"
    assert quote(Broken()) == "<Broken whose repr raises RuntimeError>"
    assert safe_repr(Broken()).startswith("<Broken at 0x")


def test_quotes_are_one_line() -> None:
    assert quote('a "b"\nc') == '"a \\"b\\"\\nc"'
    assert quote("x" * 200, 10) == '"xxxxxxxxx…"'


def test_an_object_has_the_same_text_in_every_process() -> None:
    assert without_addresses("<Key object at 0x7f00>") == "<Key object>"
    assert without_addresses("crashed at 0x7f00") == "crashed at 0x7f00"


def test_what_is_hidden_becomes_visible_for_a_model_and_for_a_terminal() -> None:
    for_model = escape_hidden(HIDDEN + "\n")
    assert for_model == "a\\u202eb\\u2028c\\ufeffd\\udb40\\udc41e\\ud83df\\u0007\\n"
    colored = f"\x1b[31m{HIDDEN}\x1b[0m\n"
    for_terminal = "a\\u202eb\\u2028c\\ufeffd\\U000e0041e\\ud83df\\x07"
    assert escape_controls(colored, colored=True) == f"\x1b[31m{for_terminal}\x1b[0m\n"
    assert escape_controls(colored, colored=False) == f"\\x1b[31m{for_terminal}\\x1b[0m\n"


def test_a_character_is_named_by_its_code_point() -> None:
    assert code_point("\u202e") == "U+202E RIGHT-TO-LEFT OVERRIDE"
    assert code_point("\x07") == "U+0007"
    assert code_point("\x07", nameless="without a name") == "U+0007 without a name"


@pytest.mark.parametrize(
    ("complained", "hinted"), [("b: {{ x }}", True), ("c: 'y'z'", False), ("d: 1", False), ("a: 1", False)]
)
def test_a_variable_is_blamed_only_where_it_stands(complained: str, hinted: bool) -> None:
    text = "a: 1\nb: {{ x }}\n\nc: 'y'z'\nd: 1\n"
    assert bool(braces_hint(text, text.index(complained))) is hinted


def test_a_variable_in_the_line_before_may_be_what_the_parser_stumbles_over() -> None:
    text = "b: {{ x }}\nc: 1\n"
    assert braces_hint(text, text.index("c")) == "; quote a value that begins with {{"

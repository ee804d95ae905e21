"""Two texts that look the same are told apart in words."""

from __future__ import annotations

import unicodedata

import pytest

from pytest_promptopt.failures import describe
from pytest_promptopt.failures.lookalikes import lookalike_symptom
from tests.unit.test_failures import call, compared, constraint, only, result

NFD = unicodedata.normalize("NFD", "café")
CODED = {
    "form": (NFD, "café", "the same text in another Unicode form (NFD for NFC)"),
    "Cyrillic": ("\u0430ccount", "account", "U+0430 CYRILLIC SMALL LETTER A for 'a'"),
    "full width": ("\uff21BC", "ABC", "U+FF21 FULLWIDTH LATIN CAPITAL LETTER A for 'A'"),
    "apostrophe": ("don\u2019t", "don't", 'U+2019 RIGHT SINGLE QUOTATION MARK for "\'"'),
    "dash": ("3\u20135", "3-5", "U+2013 EN DASH for '-'"),
    "ellipsis": ("wait\u2026", "wait...", "U+2026 HORIZONTAL ELLIPSIS for '.' '.' '.'"),
    "no-break space": ("10\u00a0EUR", "10 EUR", "U+00A0 NO-BREAK SPACE for ' '"),
    "soft hyphen": ("bil\u00adling", "billing", "U+00AD SOFT HYPHEN besides"),
    "zero width": ("billing\u200b", "billing", "U+200B ZERO WIDTH SPACE besides"),
    "byte order mark": ("\ufeffbilling", "billing", "U+FEFF ZERO WIDTH NO-BREAK SPACE besides"),
    "in what is expected": ("billing", "bil\u00adling", "no U+00AD SOFT HYPHEN"),
}


@pytest.mark.parametrize(("said", "wanted", "named"), CODED.values(), ids=CODED)
def test_characters_are_named_by_their_code_points(said: str, wanted: str, named: str) -> None:
    feedback = describe([compared(wanted, said)])
    assert only(feedback).name == "format violation"
    assert named in only(feedback).observed
    assert named in feedback.failed[0].remark
    assert named in feedback.failed[0].difference[0]


@pytest.mark.parametrize(("said", "wanted"), [("a", "a"), ("a", "b"), ("A", "a"), ("a ", "a"), ("", "x")])
def test_texts_that_look_different_are_none(said: str, wanted: str) -> None:
    assert lookalike_symptom(wanted, said) is None


def test_a_form_is_no_matter_of_the_prompt(tmp_path: object) -> None:
    assert "compare unicodedata.normalize('NFC', ...)" in only(describe([compared("café", NFD)])).fix
    assert "unicodedata" not in only(describe([compared("account", "\u0430ccount")])).fix


def test_a_value_of_json_is_told_apart_too() -> None:
    feedback = describe([compared({"name": "café", "n": 1}, {"name": NFD, "n": 1})])
    assert only(feedback).name == "format violation"
    assert "another Unicode form" in feedback.failed[0].difference[0]


def test_a_text_that_is_there_in_another_form_is_not_missing() -> None:
    found = result("test_it", constraint("in", "'café' in answer", f"a {NFD}!"), call(f"a {NFD}!"))
    assert only(describe([found])).observed.count("in characters that look the same") == 1


def test_many_characters_are_counted() -> None:
    symptom = lookalike_symptom("abc def ghi", "\u0430b\u0441 d\u0435f ghi".replace(" ", "\u00a0"))
    assert str(symptom).endswith(" and 1 more")


def test_a_huge_text_is_read_in_part() -> None:
    assert str(lookalike_symptom("a" * 300_000, "\u0430" * 300_000)) == "other characters that look the same"

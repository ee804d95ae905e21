"""Symptoms are values: equal ones are counted together, and each has its words."""

from __future__ import annotations

import pytest

from pytest_promptopt.failures import Category, describe
from pytest_promptopt.failures.symptoms import Symptom, SymptomKind
from tests.unit.test_failures import call, constraint, only, result


def test_no_kind_is_another_name_of_an_other() -> None:
    assert [name for name, kind in SymptomKind.__members__.items() if kind.name != name] == []


@pytest.mark.parametrize("kind", SymptomKind)
def test_every_kind_has_words(kind: SymptomKind) -> None:
    words = str(Symptom.of(kind, "one", "two", "three"))
    assert words.strip()
    assert "{" not in words


@pytest.mark.parametrize(
    ("symptom", "words"),
    [
        (Symptom(SymptomKind.OTHER_CASE), "other case"),
        (Symptom.of(SymptomKind.TEXT, 'a "b" {c}'), r'"a \"b\" {c}"'),
        (Symptom.of(SymptomKind.KEY, "name"), 'the key "name"'),
        (Symptom.of(SymptomKind.ONE_OF, "a", "b"), 'one of "a", "b"'),
        (Symptom.of(SymptomKind.OTHER_TYPE, "str", "int"), "a str instead of a int"),
    ],
)
def test_what_it_is_about_stands_in_its_words(symptom: Symptom, words: str) -> None:
    assert str(symptom) == words


def test_a_prompt_names_the_last_field_of_a_path() -> None:
    assert Symptom.of(SymptomKind.FIELD, "items[].name").names == ("name",)
    assert Symptom.of(SymptomKind.TEXT, "in 3.5 days").names == ("in 3.5 days",)


def missing(*texts: str, prose: str) -> Category:
    checks = " or ".join(f"{text!r} in answer" for text in texts)
    operator = "in" if len(texts) == 1 else "or"
    return only(describe([result("test_it", constraint(operator, checks, "no"), call("no"))], prose=prose))


class TestLookingUpWhatIsMissing:
    """The text itself is looked for in the prompt, not a part of the sentence about it."""

    def test_a_text_with_a_full_stop(self) -> None:
        assert "never asks for" in missing("in 3.5 days", prose="Answer within 5 days.").cause
        assert "names" in missing("in 3.5 days", prose="Say that it comes in 3.5 days.").cause

    def test_a_text_with_quotation_marks(self) -> None:
        assert "names" in missing('say "sorry"', prose='You must say "sorry" first.').cause

    def test_one_of_several_texts(self) -> None:
        assert "names" in missing("refund", "credit", prose="Offer a credit.").cause
        assert "never asks for" in missing("refund", "credit", prose="Be kind.").cause

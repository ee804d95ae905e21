"""The embedded model finds the values of listed fields and writes them as the prompt says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.models.demo.fields import Field, extract, find, kind_of, write
from tests.feedback import answer

LETTER = "Ann Berg ordered 3 chairs on 4 March 2026 for €1,250.50 (order AB-1207, ann@example.org)."


def test_json_is_wrapped_in_prose_unless_only_json_is_asked_for() -> None:
    prompt = "Extract as JSON. Keys: email, amount.\n\nText: {{ text }}"

    loose = answer(prompt, text=LETTER)
    strict = answer(prompt.replace("\n\nText", "\nAnswer with JSON only.\n\nText"), text=LETTER)

    assert loose.startswith("Here is the JSON")
    assert "```json" in loose
    assert json.loads(strict) == {"email": "ann@example.org", "amount": "€1,250.50"}


@pytest.mark.parametrize(
    "listing",
    [
        "Return JSON with the keys email and order_number.",
        "JSON keys: email, order_number",
        "Return JSON:\n- email\n- order_number",
        "Return JSON:\n- email: of the customer\n- order_number: as written",
        "Extract email and order_number as JSON.",
    ],
)
def test_fields_are_listed_in_many_forms(listing: str) -> None:
    said = answer(f"{listing}\nAnswer with JSON only.\n\nText: {{{{ text }}}}", text=LETTER)

    assert json.loads(said) == {"email": "ann@example.org", "order_number": "AB-1207"}


@pytest.mark.parametrize(
    ("name", "rule", "value"),
    [
        ("date", "", "4 March 2026"),
        ("date", "as YYYY-MM-DD", "2026-03-04"),
        ("total", "", "€1,250.50"),
        ("total", "in cents", 125050),
        ("total", "as a plain number", 1250.5),
        ("currency", "", "€"),
        ("currency", "as a three-letter code", "EUR"),
        ("order_id", "", "AB-1207"),
        ("order_id", "digits only", "1207"),
        ("order_id", "in lower case", "ab-1207"),
        ("quantity", "", "3"),
        ("quantity", "as an integer", 3),
        ("email", "in upper case", "ANN@EXAMPLE.ORG"),
        ("customer", "", "Ann Berg"),
    ],
)
def test_a_value_has_the_form_its_rule_states(name: str, rule: str, value: object) -> None:
    assert extract([Field(name, rule)], LETTER) == {name: value}


@pytest.mark.parametrize(
    ("raw", "rule", "iso"),
    [
        ("04.03.2026", "as YYYY-MM-DD", "2026-03-04"),
        ("04/03/2026", "as YYYY-MM-DD", "2026-04-03"),
        ("04/03/2026", "as YYYY-MM-DD, day first", "2026-03-04"),
        ("March 4th, 2026", "ISO 8601", "2026-03-04"),
        ("4th of March 2026", "ISO 8601", "2026-03-04"),
        ("2026/3/4", "ISO 8601", "2026-03-04"),
        ("31.02.2026", "ISO 8601", "31.02.2026"),
    ],
)
def test_dates_are_rewritten_and_impossible_ones_left_alone(raw: str, rule: str, iso: str) -> None:
    assert write(Field("date", rule), raw) == iso


@pytest.mark.parametrize(
    ("raw", "cents"),
    [("$5", 500), ("1.250,50 €", 125050), ("1,250.50 EUR", 125050), ("1 250 EUR", 125000), ("0.5 EUR", 50)],
)
def test_amounts_in_cents(raw: str, cents: int) -> None:
    assert find(Field("amount", ""), f"It is {raw}") == raw
    assert write(Field("amount", "in cents"), raw) == cents


@pytest.mark.parametrize(
    ("rule", "value"), [("", "unknown"), ("null when missing", None), ("null if it is not there", None)]
)
def test_a_value_that_is_not_there_is_unknown_unless_the_rule_says_null(rule: str, value: object) -> None:
    assert extract([Field("email", rule)], "Nothing here.") == {"email": value}


def test_the_words_of_a_field_choose_between_values_of_one_kind() -> None:
    text = "Invoice date: 1 May 2026\nDue date: 15 May 2026\nShipping $4.00, total $54.00"

    assert find(Field("due_date", ""), text) == "15 May 2026"
    assert find(Field("invoice_date", ""), text) == "1 May 2026"
    assert find(Field("total", ""), text) == "$54.00"


def test_words_named_in_the_rule_lead_to_the_value() -> None:
    text = "Marta Dahl writes: please pay Old Mill for Tom Ellis."

    assert find(Field("customer", 'after "for"'), text) == "Tom Ellis"
    assert find(Field("vendor", 'after "pay" or "to"'), text) == "Old Mill"


def test_the_name_of_a_field_says_its_kind_before_its_rule_does() -> None:
    assert kind_of(Field("vendor", "the company with the order number")) == "name"
    assert kind_of(Field("reference", "")) == "number"
    assert kind_of(Field("what", "the amount paid")) == "amount"


@given(st.sampled_from(["date", "amount", "currency", "count", "id", "email", "name"]), st.text())
def test_whatever_is_found_stands_in_the_text_and_can_be_written(name: str, text: str) -> None:
    found = find(Field(name, ""), text)

    assert found is None or found in text
    every_rule = "ISO, cents, code, integer, null, lower case"
    json.dumps(write(Field(name, every_rule), found))


@given(st.dates().filter(lambda day: day.year >= 1000))
def test_any_date_survives_being_spelled_out(day: object) -> None:
    spelled = f"{day:%d.%m.%Y}"

    assert write(Field("date", "as YYYY-MM-DD"), spelled) == str(day)

"""Spreadsheets as cases: whatever writes them, a row is a case, and a mistake is told at its row."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.suites.checks import Check
from pytest_promptopt.suites.file_case import FileCase
from pytest_promptopt.suites.suite_reading import read_cases
from pytest_promptopt.suites.table_reading import DELIMITERS, read_csv


def table(
    folder: Path, text: str | bytes, *, name: str = "t.csv", dialect: str | None = None
) -> tuple[FileCase, ...]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_cases(path, folder, dialect=dialect)


def test_columns_are_inputs_but_for_those_of_a_case(tmp_path: Path) -> None:
    text = (
        "id,ticket,expected,split,weight,tags,inputs.id\n"
        'one,"Where, please?",delivery,heldout,2.5,"smoke; slow",77\n'
        ",Mine too,,,,,\n"
    )
    one, two = table(tmp_path, text.replace("Mine too,,", "Mine too,refunds,"))
    assert (one.id, one.inputs) == ("one", {"ticket": "Where, please?", "id": "77"})
    assert (one.expected, one.split, one.weight, one.tags) == ("delivery", "heldout", 2.5, ("smoke", "slow"))
    assert (one.where, one.checks) == ("t.csv:2", (Check("equals", "delivery"),))
    assert (two.id, two.inputs) == ("mine-too", {"ticket": "Mine too", "id": ""})
    assert (two.split, two.weight, two.tags, two.where) == (None, 1.0, (), "t.csv:3")


@pytest.mark.parametrize(
    ("column", "cell", "check"),
    [
        ("check:contains", "refund", Check("contains", "refund")),
        ("check:not-contains", "sorry", Check("contains", "sorry", negated=True)),
        ("check:max-words", "12", Check("max-words", 12)),
        ("check:latency", "1.5", Check("latency", 1.5)),
        ("check:one-of", "billing | refunds", Check("one-of", ["billing", "refunds"])),
        ("check:contains-any", '"[""a|b"", ""c""]"', Check("contains-any", ["a|b", "c"])),
        ("check:similar", "abc", Check("similar", "abc")),
        ("check:similar 0.9", "abc", Check("similar", "abc", threshold=0.9)),
        ("check:json-path $.total", "12", Check("json-path", 12, options={"path": "$.total"})),
        ("check:json-path $.name", "Ann", Check("json-path", "Ann", options={"path": "$.name"})),
        ("check:is-json", "yes", Check("is-json", None)),
        ("check:is-json", '"{""type"": ""object""}"', Check("is-json", {"type": "object"})),
        ("check:equals", "true", Check("equals", True)),
        ("check:regex", "^a", Check("regex", "^a")),
        ("check:python", "len(answer) < 3", Check("python", "len(answer) < 3")),
        ("check:rubric 0.8", "is polite", Check("rubric", "is polite", threshold=0.8)),
        ("expected", '"{""total"": 1}"', Check("equals", {"total": 1})),
        ("expected", "[billing]", Check("equals", "[billing]")),
        ("expected", "12", Check("equals", "12")),
    ],
)
def test_a_column_of_checks(tmp_path: Path, column: str, cell: str, check: Check) -> None:
    (case,) = table(tmp_path, f"q,{column}\na,{cell}\n")
    assert case.checks == (check,)


def test_an_empty_cell_checks_nothing_and_columns_of_one_type_add_up(tmp_path: Path) -> None:
    text = "q,check:json-path $.a,check:json-path $.b,check:contains\na,1,2,\nb,1,,x\n"
    one, two = table(tmp_path, text)
    assert [(check.value, check.options["path"]) for check in one.checks] == [(1, "$.a"), (2, "$.b")]
    assert [check.type for check in two.checks] == ["json-path", "contains"]


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_spreadsheets_write(tmp_path: Path, delimiter: str, encoding: str, end: str) -> None:
    rows = [
        ["ticket", "expected"],
        ["Größe, Länge; Maß|Art\tusw", "größe"],
        ['Sag "hallo"\nund tschüss', "x"],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    one, two = table(tmp_path, text.getvalue().encode(encoding))
    assert [[case["ticket"], case.expected] for case in (one, two)] == rows[1:]
    assert (one.where, two.where) == ("t.csv:2", "t.csv:3")


def test_a_line_is_that_of_the_rows_first_line(tmp_path: Path) -> None:
    text = 'q,expected\n"a\nb\nc",x\n\n,,\n'.replace(",,\n", "") + "d,y\n"
    assert [case.where for case in table(tmp_path, text)] == ["t.csv:2", "t.csv:6"]


def test_a_dialect_may_be_named(tmp_path: Path) -> None:
    (case,) = table(tmp_path, "q\texpected\na, b\tx\n", dialect="excel-tab")
    assert case["q"] == "a, b"
    (case,) = table(tmp_path, "q\texpected\na, b\tx\n", name="t.tsv")
    assert case["q"] == "a, b"
    with pytest.raises(SettingsError, match=r't\.csv: there is no dialect of CSV "x"; accepted: excel, '):
        table(tmp_path, "q,expected\na,x\n", dialect="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "t.csv:1: the table is empty; its first row names the columns"),
        ("q,expected\n", "t.csv:1: there are no cases in it"),
        ("q,expected\na,x\nb,y,z\n", "t.csv:3: the row has 3 cells, the header 2 columns; a cell that holds"),
        ("q,expected\n\na\n", "t.csv:3: the row has 1 cell, the header 2 columns"),
        (
            'q,expected\na,x\n"b,y\n',
            "t.csv:3: the row cannot be read: unexpected end of data: a quotation mark",
        ),
        ("q,,expected\na,b,x\n", "t.csv:1: column 2 has no name"),
        ("q,expected,q\na,b,x\n", 't.csv:1: there are two columns "q"'),
        ("q,expected,inputs.q\na,b,x\n", 't.csv:1: there are two columns "inputs.q"'),
        (
            "q,expeted\na,b\n",
            't.csv:1: there is no column "expeted"; did you mean `expected`? An input of this',
        ),
        ("q,Expected\na,b\n", 't.csv:1: there is no column "Expected"; did you mean `expected`?'),
        ("q,assert\na,b\n", 't.csv:1: there is no column "assert"; did you mean `check:TYPE`?'),
        ("q,check:contain\na,b\n", 't.csv:1: there is no check "contain"; did you mean `contains`?'),
        (
            "q,not-contains\na,b\n",
            't.csv:1: the column "not-contains" is no input; a check is called `check:',
        ),
        ("q,check:json-path\na,b\n", "t.csv:1: the column `check:json-path` names no path; write"),
        (
            "q,check:contains 3\na,b\n",
            "t.csv:1: the column `check:contains 3`: `contains` takes nothing besides",
        ),
        (
            "q,check:similar high\na,b\n",
            "t.csv:1: the column `check:similar high`: the threshold must be a number",
        ),
        (
            "q,check:max-words\na,few\n",
            't.csv:2: the column "check:max-words" holds "few", it must be a number',
        ),
        ("q,check:regex\na,(\n", "t.csv:2: `regex` needs a regular expression: it is no regular expression"),
        ("q,expected\na,\n", "t.csv:2: there is nothing to check; give `expected` or `checks`"),
        ("q,expected,split\na,x,test\n", 't.csv:2: `split` is "test"; accepted: train, validation, heldout'),
        ("q,expected,weight\na,x,heavy\n", 't.csv:2: the column "weight" holds "heavy", it must be a number'),
        ("q,expected,weight\na,x,-1\n", "t.csv:2: `weight` must be a number above 0, got -1"),
        ("q,expected,tags\na,x,two words\n", 't.csv:2: a tag must be one word, got "two words"'),
        ("q,expected,id\na,x,1\nb,x,1\n", 't.csv:3: the id "1" is that of t.csv:2 as well'),
        (b"q,expected\na,x\nb,\xe4\n", "t.csv:3: it is not UTF-8; save it as CSV UTF-8"),
    ],
)
def test_a_mistake_is_told_at_its_row(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        table(tmp_path, text)
    assert str(raised.value).startswith(said)


#: The module itself writes a lone carriage return such that nobody can read it back.
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=12)


@given(
    st.lists(st.tuples(CELLS, CELLS.filter(str.strip)), min_size=1, max_size=6),
    st.sampled_from(DELIMITERS),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read_back(
    rows: list[tuple[str, str]], delimiter: str, quoting: Any, end: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([["the question", "check:contains"], *rows])
    found = list(read_csv(text.getvalue(), "t.csv"))
    assert [(row.value["inputs"]["the question"], row.value["checks"][0]["value"]) for row in found] == [
        (question, answer.strip()) for question, answer in rows
    ]


@given(st.text(max_size=120))
def test_no_text_ends_the_reader_otherwise_than_by_an_error_with_a_line(text: str) -> None:
    try:
        list(read_csv(text, "t.csv"))
        said = "t.csv:1: "
    except SettingsError as error:
        said = str(error)
    assert said.startswith("t.csv:")

"""Files of labels: what is read, and what is said of every mistake."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.grading.label_reading import fingerprint_of, read_labels
from pytest_promptopt.labels import Label, PairLabel
from pytest_promptopt.records import Split

GOOD = {"answer": "Refunds take five days [policy 4].", "criterion": "cites the policy", "good": True}
PAIR = {"a": "See policy 4.", "b": "No idea.", "better": "a", "criterion": "cites the policy"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.jsonl"


def written(path: Path, *lines: Mapping[str, Any] | str | bytes) -> Path:
    texts = (
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    )
    path.write_bytes(b"\n".join(texts))
    return path


def test_answers_and_pairs_are_read_in_order(file: Path) -> None:
    whole = {**GOOD, "reference": "5 days", "context": "How long?", "split": "heldout", "id": "r1"}
    first, second = read_labels(written(file, whole, "", PAIR))
    assert first == Label(
        "Refunds take five days [policy 4].",
        "cites the policy",
        True,
        "5 days",
        "How long?",
        Split.HELDOUT,
        f"{file}:1",
        "r1",
    )
    assert isinstance(second, PairLabel)
    assert (second.a, second.b, second.better, second.split) == ("See policy 4.", "No idea.", "a", None)
    assert second.where == f"{file}:3"
    assert len(second.id) == 12


def test_the_test_may_name_the_criterion_of_lines_without_one(file: Path) -> None:
    without = {"answer": "Yes.", "good": False}
    labels = read_labels(written(file, without, GOOD), criterion="is polite")
    assert [label.criterion for label in labels] == ["is polite", "cites the policy"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(file: Path) -> None:
    written(file, b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r", json.dumps(PAIR).encode() + b"\r", "")
    assert len(read_labels(file)) == 2


def test_an_empty_answer_can_be_labelled(file: Path) -> None:
    (label,) = read_labels(written(file, {**GOOD, "answer": "", "good": False}))
    assert isinstance(label, Label)
    assert label.answer == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{answer: 1}", "it is not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("[" * 100_000, "it cannot be read as JSON"),
        ('{"answer": "x", "good": ' + "9" * 5000 + "}", "it cannot be read as JSON"),
        ("[1, 2]", "it is [1, 2], not a JSON object"),
        (b'{"answer": "\xff"}', "it is not UTF-8 (byte 13 of the line)"),
        ({"answer": "x", "goood": True}, 'there is no key "goood"; did you mean `good`?'),
        ({**GOOD, "zzz": 1}, 'there is no key "zzz"; accepted: answer, good, criterion'),
        ({**GOOD, "good": "yes"}, '`good` is "yes"; it must be true or false'),
        ({**GOOD, "good": 1}, "`good` is 1; it must be true or false"),
        ({"answer": "x", "criterion": "c"}, "`good` is missing; it must be true or false"),
        ({"good": True, "criterion": "c"}, "`answer` is missing; write"),
        ({**GOOD, "answer": None}, "`answer` is missing; write"),
        ({**GOOD, "answer": 5}, "`answer` is 5, it must be a string"),
        ({**GOOD, "answer": "\ud800"}, "`answer` holds half of a character"),
        ({"answer": "x", "good": True}, "it names no criterion, and neither does the test"),
        ({**GOOD, "criterion": "  "}, "it names no criterion, and neither does the test"),
        ({**GOOD, "split": "test"}, '`split` is "test"; accepted: train, validation, heldout'),
        ({**PAIR, "better": "tie"}, '`better` is "tie"; it must be "a" or "b"'),
        ({"a": "x", "b": "y", "criterion": "c"}, '`better` is missing; it must be "a" or "b"'),
        ({**PAIR, "b": PAIR["a"]}, "`a` and `b` are the same text, so none is better"),
        ({**PAIR, "good": True}, 'there is no key "good"; '),
        ('{"answer": "x", "answer": "y"}', 'the key "answer" stands there twice'),
    ],
)
def test_a_mistake_is_named_with_its_line(
    file: Path, line: Mapping[str, Any] | str | bytes, said: str
) -> None:
    written(file, {**GOOD, "answer": "fine"}, line)
    with pytest.raises(SettingsError) as caught:
        read_labels(file)
    assert str(caught.value).startswith(f"{file}:2: {said}")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (GOOD, "it is the same label as"),
        ({**GOOD, "good": False}, "it is the same answer with another label than"),
        ({**GOOD, "answer": "Other.", "id": "first"}, 'the id "first" is that of'),
    ],
)
def test_no_answer_is_counted_twice(file: Path, other: Mapping[str, Any], said: str) -> None:
    written(file, {**GOOD, "id": "first"}, other)
    with pytest.raises(SettingsError) as caught:
        read_labels(file)
    assert f"{file}:2: {said} {file}:1" in str(caught.value)


def test_a_swapped_pair_is_the_same_pair(file: Path) -> None:
    swapped = {**PAIR, "a": PAIR["b"], "b": PAIR["a"], "better": "b"}
    with pytest.raises(SettingsError, match="it is the same label as"):
        read_labels(written(file, PAIR, swapped))
    with pytest.raises(SettingsError, match="with another label"):
        read_labels(written(file, PAIR, {**swapped, "better": "a"}))


def test_a_file_that_is_not_there_or_empty_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"labels.jsonl: the labels cannot be read: No such file"):
        read_labels(file)
    with pytest.raises(SettingsError, match=r"labels.jsonl: there are no labels in it"):
        read_labels(written(file, "", "  "))


def test_a_rubric_is_named_from_rootdir(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house/rubric.md").write_text("It is short.")
    file = written(tmp_path / "house/labels.jsonl", {**GOOD, "criterion": "rubric.md"})
    (label,) = read_labels(file, folders=(tmp_path / "house", tmp_path))
    assert label.criterion == "house/rubric.md"
    with pytest.raises(SettingsError, match=r"labels.jsonl:1: there is no rubric file 'rubric.md'; looked"):
        read_labels(file, folders=(tmp_path,))


def test_labels_are_equal_that_say_the_same(file: Path, tmp_path: Path) -> None:
    """What the optimization of a judge has seen in one file tests it in no other."""
    (one,) = read_labels(written(file, GOOD))
    (two,) = read_labels(written(tmp_path / "other.jsonl", {**GOOD, "split": "heldout", "id": "mine"}))
    assert one == two
    assert len({one, two}) == 1
    (three,) = read_labels(written(file, {**GOOD, "good": not GOOD["good"]}))
    assert one != three


class TestTheFingerprint:
    def test_order_and_spacing_of_the_file_make_no_difference(self, file: Path, tmp_path: Path) -> None:
        written(file, GOOD, PAIR)
        spaced = json.dumps(GOOD, indent=None, separators=(" , ", " : "))
        other = written(tmp_path / "other.jsonl", b"", json.dumps(PAIR).encode() + b"\r", spaced)
        assert fingerprint_of(read_labels(file)) == fingerprint_of(read_labels(other))

    @pytest.mark.parametrize(
        "changed",
        [{"good": False}, {"answer": "x"}, {"context": "c"}, {"split": "train"}, {"criterion": "d"}],
    )
    def test_what_a_label_says_does(self, file: Path, changed: Mapping[str, Any]) -> None:
        before = fingerprint_of(read_labels(written(file, GOOD)))
        assert fingerprint_of(read_labels(written(file, {**GOOD, **changed}))) != before


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.lists(
        st.tuples(texts, st.booleans(), st.one_of(st.none(), texts)),
        min_size=1,
        max_size=8,
        unique_by=lambda t: t[0],
    ),
    st.booleans(),
)
def test_whatever_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, bool, str | None]], ascii_only: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "labels.jsonl"
    lines = [
        json.dumps({"answer": answer, "good": good, "context": context}, ensure_ascii=ascii_only)
        for answer, good, context in rows
    ]
    labels = read_labels(written(path, *lines), criterion="c")
    assert [(label.answer, label.good, label.context) for label in labels if isinstance(label, Label)] == rows
    assert len({label.id for label in labels}) == len(rows)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40), st.recursive(st.none() | st.booleans() | texts, st.lists).map(json.dumps)
        )
    )
)
def test_any_bytes_are_labels_or_a_settings_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes | str]
) -> None:
    path = written(tmp_path_factory.getbasetemp() / "labels.jsonl", *lines)
    with pytest.raises(SettingsError) as caught:
        read_labels(path, criterion="c")
    assert str(path) in str(caught.value)

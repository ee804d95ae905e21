"""Two values that differ are told apart in few, readable lines, whatever they are."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.failures.differences import MAX_LINES, describe_changes, structure_changes, text_diff
from pytest_promptopt.text import value_text

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


class TestTexts:
    def test_equal_texts_do_not_differ(self) -> None:
        assert text_diff("same", "same") == ()

    def test_short_and_alike_by_character(self) -> None:
        assert text_diff("billing", "Billing.") == ("{-b-}{+B+}illing{+.+}",)

    def test_short_and_unlike_by_word(self) -> None:
        assert text_diff("to the bank", "to my friends") == ("to{- the bank-}{+ my friends+}",)

    def test_long_lines_show_the_changed_places_with_context(self) -> None:
        words = [f"w{n}" for n in range(60)]
        (line,) = text_diff(" ".join(words), " ".join([*words[:30], "new", *words[31:]]))
        assert line == "w0 w1 w2 … w27 w28 w29{- w30-}{+ new+} w31 w32 w33 … w57 w58 w59"

    def test_several_lines_as_a_unified_diff(self) -> None:
        lines = text_diff("one\ntwo\nthree", "one\n2\nthree")
        assert lines == ("--- expected", "+++ actual", "@@ -1,3 +1,3 @@", " one", "-two", "+2", " three")

    def test_the_equal_start_of_huge_texts_is_left_out(self) -> None:
        lines = text_diff("x " * 50_000 + "end", "x " * 50_000 + "fin")
        assert lines == ("(the first 99,800 characters are equal)", "x x x … x x x{- end-}{+ fin+}")

    def test_many_changed_lines_are_capped(self) -> None:
        lines = text_diff("\n".join("abcdefghijklmnopqrstuvwxyz"), "\n".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        assert len(lines) == MAX_LINES
        assert lines[-1].endswith("more lines")

    @given(st.text(st.characters()), st.text(st.characters()))
    def test_any_two_texts(self, one: str, two: str) -> None:
        lines = text_diff(one, two)
        assert bool(lines) == (one != two)
        assert text_diff(one, two) == lines
        "\n".join(lines).encode()


class TestStructures:
    def lines(self, expected: Any, actual: Any) -> tuple[str, ...]:
        return describe_changes(structure_changes(expected, actual))

    def test_one_line_per_path(self) -> None:
        expected = {"amount": 1200, "to": {"name": "Ann"}, "tags": ["a", "b"]}
        actual = {"amount": "12.00", "to": {"name": "Bob", "age": 3}, "tags": ["a"]}
        assert self.lines(expected, actual) == (
            'at amount: expected 1200 but got "12.00"',
            'at tags[1]: expected "b" but it is missing',
            "at to.age: nothing was expected but got 3",
            'at to.name: expected "Ann" but got "Bob"',
        )

    def test_what_python_calls_equal_is_no_difference(self) -> None:
        assert structure_changes({"a": 1, "b": True}, {"a": 1.0, "b": 1}) == ()
        assert [
            c.path for c in structure_changes({"a": 1, "b": 2, "c": True}, {"a": 1.0, "b": 3, "c": 1})
        ] == ["b"]

    def test_the_order_of_a_list_counts(self) -> None:
        assert structure_changes([1, 2], [2, 1])

    def test_paths_sort_as_numbers(self) -> None:
        changes = structure_changes(list(range(12)), [*range(2), -1, *range(3, 10), -1, 11])
        assert [change.path for change in changes] == ["[2]", "[10]"]

    def test_other_types_differ_as_a_whole(self) -> None:
        assert self.lines({"a": 1}, ["a"]) == ('as a whole: expected {"a": 1} but got ["a"]',)

    def test_keys_that_are_no_names(self) -> None:
        assert self.lines({"a b": {"": 1}}, {"a b": {"": 2}}) == ('at ["a b"][""]: expected 1 but got 2',)

    def test_large_structures_are_compared_at_their_top_level(self) -> None:
        big = {"rows": list(range(5_000)), "same": 1, "gone": 2}
        other = {"rows": list(range(1, 5_001)), "same": 1, "new": 3}
        kinds = [(change.path, change.kind) for change in structure_changes(big, other)]
        assert kinds == [("rows", "changed"), ("gone", "missing"), ("new", "extra")]

    def test_nesting_too_deep_to_compare_is_still_a_difference(self) -> None:
        one: Any = 1
        two: Any = 2
        for _ in range(5_000):
            one, two = [one], [two]
        assert len(structure_changes(one, two)) == 1

    @given(
        anything.filter(lambda v: isinstance(v, (dict, list))),
        anything.filter(lambda v: isinstance(v, (dict, list))),
    )
    def test_any_two_structures(self, one: Any, two: Any) -> None:
        changes = structure_changes(one, two)
        assert bool(changes) == (one != two)
        assert structure_changes(one, two) == changes or "NaN" in value_text([one, two])
        "\n".join(describe_changes(changes)).encode()


def test_an_object_whose_repr_raises_is_compared_all_the_same() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert structure_changes({"a": Broken()}, {"a": 1})


def test_deepdiff_is_not_loaded_before_a_structure_differs() -> None:
    code = """
import sys
from pytest_promptopt.failures.differences import structure_changes, text_diff
text_diff("a", "b"), structure_changes({"a": 1}, {"a": 1})
print("deepdiff" in sys.modules, end=" ")
structure_changes({"a": 1}, {"a": 2})
print("deepdiff" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]

"""What the records tell of themselves."""

from __future__ import annotations

import pytest

from pytest_promptopt.records import function_of


@pytest.mark.parametrize(
    ("case", "function"),
    [
        ("tests/test_it.py::test_a", "tests/test_it.py::test_a"),
        ("tests/test_it.py::TestIt::test_a[x::y[1]]", "tests/test_it.py::TestIt::test_a"),
        ("tests[old]/test_it.py::test_a[1]", "tests[old]/test_it.py::test_a"),
    ],
)
def test_the_function_of_a_case(case: str, function: str) -> None:
    assert function_of(case) == function

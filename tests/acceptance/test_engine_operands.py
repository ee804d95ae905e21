"""What a failing assertion compared becomes data: which side the model said, and what it should have been."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.conftest import Example


def result(example: Example, source: str, *options: str, process: bool = False) -> dict[str, Any]:
    """The report's entry of the only case."""
    example.tests(source).run("--promptopt-report=report.json", *options, process=process)
    report = json.loads((example.path / "report.json").read_text(encoding="utf-8"))
    (found,) = report["prompts"][0]["results"]
    assert isinstance(found, dict)
    return found


EQUALITIES = {
    "answer left": ('prompt(q="a") == "b"', "b", "a"),
    "answer right": ('"b" == prompt(q="a")', "b", "a"),
    "its text right": ('"b" == str(prompt(q="a"))', "b", "a"),
    "its text, trimmed": ('"b" == prompt(q="A b").lower()', "b", "a b"),
    "its JSON": ("""prompt(q='{"a": 1}').json() == {"a": 2}""", {"a": 2}, {"a": 1}),
    "a value of its JSON, right": ("""2 == prompt(q='{"a": [1]}').json()["a"][0]""", 2, 1),
    "neither: left": ('prompt(q="abc")[::-1] == "b"', "b", "cba"),
    "both: left": ('prompt(q="a") == prompt(q="b")', "b", "a"),
}


@pytest.mark.parametrize(("comparison", "expected", "actual"), EQUALITIES.values(), ids=EQUALITIES)
def test_equality_says_what_was_expected(
    example: Example, comparison: str, expected: object, actual: object
) -> None:
    found = result(example, f"def test_it(prompt): assert {comparison}")
    assert (found["status"], found["expected"], found["actual"]) == ("failed", expected, actual)


@pytest.mark.parametrize("handed", ["prompt", "ask=prompt.__call__"])
def test_a_function_that_is_handed_the_prompt_gives_what_the_model_said(
    example: Example, handed: str
) -> None:
    """Also where what it should give is the last answer of the model."""
    source = f"""
        def agreed(ask):
            return "human" if ask(q="billing") != ask(q="delivery") else "both"

        def test_it(prompt):
            assert "delivery" == agreed({handed})
    """
    found = result(example, source)
    assert (found["status"], found["expected"], found["actual"]) == ("failed", "delivery", "human")


@pytest.mark.parametrize(
    "comparison",
    ['"b" in prompt(q="a")', '"a" not in prompt(q="a")', 'prompt(q="a") != "a"', 'len(prompt(q="a")) > 1'],
)
def test_any_other_comparison_is_a_constraint_and_expects_no_value(example: Example, comparison: str) -> None:
    found = result(example, f"def test_it(prompt): assert {comparison}")
    assert found["status"] == "failed"
    assert found["expected"] is None


@pytest.mark.parametrize(
    "source",
    [
        'def test_it(prompt): assert prompt(q="a").startswith("b")',
        'def test_it(prompt): assert prompt(q="a") and False',
        'def test_it(prompt):\n    if prompt(q="a") != "b": pytest.fail("not b")',
        'def test_it(prompt):\n    if prompt(q="a") != "b": raise ValueError("not b")',
    ],
    ids=["method call", "truth", "fail", "raise"],
)
def test_without_a_comparison_there_is_a_message(example: Example, source: str) -> None:
    found = result(example, source)
    assert (found["status"], found["expected"]) == ("failed", None)
    assert found["message"]


def test_without_assertion_rewriting_there_is_a_message(example: Example) -> None:
    # In a process of its own: in this one, the session that runs this test rewrites assertions.
    source = 'def test_it(prompt): assert prompt(q="a") == "b", "not b"'
    found = result(example, source, "--assert=plain", process=True)
    assert (found["status"], found["expected"], found["message"]) == ("failed", None, "not b")


def test_a_comparison_that_was_caught_is_not_the_one_that_counts(example: Example) -> None:
    found = result(
        example,
        """
        def test_it(prompt):
            with pytest.raises(AssertionError):
                assert prompt(q="a") == "other"
            raise ValueError("mine")
        """,
    )
    assert (found["expected"], found["message"]) == (None, "mine")


def test_the_comparison_may_stand_in_a_function_that_the_test_calls(example: Example) -> None:
    source = """
    def check(answer, expected):
        assert answer == expected

    def test_it(prompt): check(prompt(q="a"), "b")
    """
    assert result(example, source)["expected"] == "b"


@pytest.mark.parametrize(("words", "rate"), [("aaab", 0.75), ("abbb", 0.25), ("bbbb", 0.0), ("aaaa", 1.0)])
def test_subtests_give_partial_credit(example: Example, words: str, rate: float) -> None:
    found = result(
        example,
        f"""
        def test_it(prompt, subtests):
            for number, word in enumerate({words!r}):
                with subtests.test(number=number):
                    assert prompt(q=word + str(number))[0] == "a"
        """,
    )
    assert found["rate"] == rate
    assert found["status"] == ("passed" if rate == 1 else "failed")


def test_a_test_that_fails_besides_its_subtests_earns_nothing(example: Example) -> None:
    found = result(
        example,
        """
        def test_it(prompt, subtests):
            with subtests.test():
                assert prompt(q="a") == "a"
            assert prompt(q="b") == "a"
        """,
    )
    assert (found["status"], found["rate"]) == ("failed", 0.0)


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ('def test_it(prompt): prompt(q="a") and pytest.skip()', "skipped"),
        ('def test_it(prompt): prompt(q="error")', "errored"),
        ('@pytest.fixture\ndef own(): raise OSError\ndef test_it(own, prompt): prompt(q="a")', "errored"),
        ('def test_it(prompt): assert prompt(q="a") == "a"', "passed"),
        ('def test_it(prompt): assert prompt(q="a") == "b"', "failed"),
    ],
)
def test_how_a_case_ended(example: Example, source: str, status: str) -> None:
    found = result(example, source)
    assert found["status"] == status
    assert found["rate"] == {"passed": 1.0, "failed": 0.0}.get(status)


def test_every_case_says_what_it_expected_whether_it_passed_or_not(example: Example) -> None:
    example.files(
        {
            "kept.py": """
            def pytest_runtest_logreport(report):
                data = getattr(report, "promptopt", {})
                for each in data.get("outcomes", ()):
                    with open("notes.log", "a") as file:
                        print(each["status"], each["expected"], each["parameters"], file=file)
                        print(each["check"], file=file)
            """
        }
    )
    example.tests(
        """
        @pytest.mark.parametrize(("q", "amount"), [('{"a": 1}', 1), ("no JSON", 2)])
        def test_it(prompt, q, amount):
            assert prompt(q=q).json() == {"a": amount}
        """
    )
    check = ("def test_it(prompt, q, amount):", '    assert prompt(q=q).json() == {"a": amount}')
    assert example.run("-p", "kept").notes == (
        "passed {'a': 1} {'q': '{\"a\": 1}', 'amount': '1'}",
        *check,
        "failed {'a': 2} {'q': 'no JSON', 'amount': '2'}",
        *check,
    )

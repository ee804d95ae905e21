"""When a case is run again, when it is not, and what happens to cases that cannot be."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Example

COUNTING = """
@pytest.mark.parametrize("word", "abc")
def test_it(prompt, word):
    note(f"{word} runs")
    assert prompt(q=word) == word
"""


def test_a_fully_cached_session_runs_each_case_once(example: Example) -> None:
    example.tests(COUNTING).run()
    run = example.run()
    assert run.outcomes == {"passed": 3}
    assert run.asked == ()
    assert run.notes == ("a runs", "b runs", "c runs")


def test_no_run_more_than_an_unknown_answer_needs(example: Example) -> None:
    run = example.tests(COUNTING).run("--promptopt-concurrency=1")
    assert sorted(run.notes) == ["a runs"] * 2 + ["b runs"] * 2 + ["c runs"] * 2


def test_a_known_depth_saves_the_runs_that_would_find_out(example: Example) -> None:
    """All cases of a function ask as often as its first one: the last run of each is the reported one."""
    example.tests(
        """
        @pytest.mark.parametrize("number", range(6))
        def test_it(prompt, number):
            note(f"{number} runs")
            assert prompt(q=prompt(q=number) + "!") == f"{number}!"
        """
    )
    run = example.run("--promptopt-concurrency=1")
    assert run.outcomes == {"passed": 6}
    assert [run.notes.count(f"{number} runs") for number in range(6)] == [3] * 6


def test_a_cached_session_imports_no_sdk(example: Example) -> None:
    example.tests("def test_it(prompt): assert prompt(q='a') == 'a'").conftest(
        """
        def pytest_unconfigure():
            import sys
            for name in ("anthropic", "litellm", "openai", "httpx"):
                if name in sys.modules:
                    house.note(f"{name} imported")
            house.note("done")
        """
    )
    assert example.run(process=True).notes == ("done",)
    run = example.run(process=True)
    assert (run.asked, run.notes) == ((), ("done",))


def test_a_case_that_asks_something_else_every_time_is_named(example: Example) -> None:
    example.tests(
        """
        import itertools
        numbers = itertools.count()

        def test_good(prompt):
            assert prompt(q="a") == "a"

        def test_random(prompt):
            note("runs")
            prompt(q=f"at {next(numbers)}")
        """
    )
    run = example.run()
    assert run.outcomes == {"passed": 1, "errors": 1}
    assert "test_it.py::test_random: asks something else in every run" in run.output
    assert "call 1 of say.md was given q = 'at 2' and then 'at 3'" in run.output
    assert "replay=False" in run.output
    assert run.notes == ("runs",) * 5  # once, three restarts, and the run that is reported


def test_what_differs_is_found_behind_a_repeatable_call(example: Example) -> None:
    example.tests(
        """
        import itertools
        numbers = itertools.count()

        def test_random(prompt):
            prompt(q=prompt(q="same") + str(next(numbers)))
        """
    )
    run = example.run()
    assert run.outcomes == {"errors": 1}
    assert "call 2 of say.md was given q = 'same" in run.output


def test_a_chain_longer_than_the_restarts_allowed_is_no_replay_error(example: Example) -> None:
    example.tests(
        """
        def test_it(prompt):
            text = ""
            for _ in range(10):
                text = prompt(q=text + "x")
            assert text == "x" * 10
        """
    )
    run = example.run()
    assert run.outcomes == {"passed": 1}
    assert len(run.asked) == 10


def test_a_case_that_asks_something_else_when_it_knows_more_is_fine(example: Example) -> None:
    example.tests(
        """
        def test_it(prompt):
            if prompt(q="a") == "a":
                assert prompt(q="b") == "b"
            else:
                prompt(q="never")
        """
    )
    assert example.run().asked == ("a", "b")


SWALLOWED = {
    "plain": 'prompt(q="error 1")',
    "pytest.raises": 'pytest.raises(Exception, prompt, q="error 1")',
    "except": """
    try:
        prompt(q="error 1")
    except Exception:
        pass
    """,
    "xfail": 'pytest.xfail(str(pytest.raises(Exception, prompt, q="error 1")))',
    "skip": 'pytest.skip(str(pytest.raises(Exception, prompt, q="error 1")))',
}


@pytest.mark.parametrize("body", SWALLOWED.values(), ids=SWALLOWED)
def test_a_model_error_makes_the_case_errored(example: Example, body: str) -> None:
    """Even if the test swallows it: an answer that never came says nothing about the prompt."""
    example.tests("def test_it(prompt):\n    " + body.strip())
    run = example.run()
    assert run.outcomes == {"errors": 1}
    assert run.ret == 1
    assert "no answer to 'error 1'" in run.output


def test_a_model_error_ends_no_other_case(example: Example) -> None:
    example.tests(
        """
        @pytest.mark.parametrize("word", ["a", "error", "b"])
        def test_it(prompt, word):
            assert prompt(q=word) == word
        """
    )
    run = example.run("-v")
    assert run.outcomes == {"passed": 2, "errors": 1}
    assert "test_it[error] ERROR" in run.output


def test_an_error_is_asked_again_in_the_next_session(example: Example) -> None:
    example.tests("def test_it(prompt): prompt(q='error')")
    assert example.run().asked == example.run().asked == ("error",)


class TestSamples:
    """`samples=k`: one item, one report, k independent answers."""

    def source(self, expected: str, **mark: object) -> str:
        options = "".join(f", {name}={value!r}" for name, value in mark.items())
        return f"""
        @pytest.mark.prompt("say.md", samples=4{options})
        def test_it(prompt):
            assert prompt(q="a") in {expected}
        """

    def test_all_answers_are_asked_for_at_once(self, example: Example) -> None:
        run = example.model("house/together-4-sampled").tests(self.source("('a0', 'a1', 'a2', 'a3')")).run()
        assert run.outcomes == {"passed": 1}
        assert run.peak == 4

    def test_one_that_fails_fails_the_case(self, example: Example) -> None:
        run = example.model("house/sampled").tests(self.source("('a0', 'a1', 'a2')")).run()
        assert run.outcomes == {"failed": 1}
        assert "3 of 4 samples passed; min_case_rate is 1" in run.output
        assert "'a3'" in run.output, "the sample that is shown is the one that failed"

    def test_enough_that_pass_pass_the_case(self, example: Example) -> None:
        run = (
            example.model("house/sampled").tests(self.source("('a1', 'a2', 'a3')", min_case_rate=0.75)).run()
        )
        assert run.outcomes == {"passed": 1}
        assert run.ret == 0

    def test_the_session_can_ask_for_samples_of_every_case(self, example: Example) -> None:
        run = example.tests("def test_it(prompt): assert prompt(q='a') == 'a'").run("--promptopt-samples=3")
        assert run.outcomes == {"passed": 1}
        assert run.asked == ("a",) * 3

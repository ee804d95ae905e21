"""A test may call the model in any way that Python has; its calls overlap, and each is made once."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Example

CHAIN = """
@pytest.mark.parametrize("word", list("abc"))
def test_it(prompt, word):
    first = prompt(q=word)
    second = prompt(q=first + "!")
    assert prompt(q=second + "?") == f"{word}!?"
"""

ASYNC = ("-p", "asyncio", "-p", "anyio", "-o", "asyncio_default_fixture_loop_scope=function")

#: Each makes four calls in one test, which need not wait for each other.
AT_ONCE = {
    "threads": """
        from concurrent.futures import ThreadPoolExecutor

        def test_it(prompt):
            with ThreadPoolExecutor(4) as pool:
                said = [pool.submit(prompt, q=word) for word in "abcd"]
                assert [each.result() for each in said] == list("abcd")
        """,
    "gather": """
        import asyncio

        @pytest.mark.asyncio
        async def test_it(prompt):
            assert await asyncio.gather(*(prompt.acall(q=word) for word in "abcd")) == list("abcd")
        """,
    "task group": """
        import asyncio

        @pytest.mark.asyncio
        async def test_it(prompt):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(prompt.acall(q=word)) for word in "abcd"]
            assert [task.result() for task in tasks] == list("abcd")
        """,
    "anyio": """
        import anyio

        @pytest.mark.anyio
        async def test_it(prompt):
            said = []

            async def ask(word):
                said.append(await prompt.acall(q=word))

            async with anyio.create_task_group() as group:
                for word in "abcd":
                    group.start_soon(ask, word)
            assert sorted(said) == list("abcd")

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """,
    "subtests": """
        def test_it(prompt, subtests):
            for word in "abcd":
                with subtests.test(word=word):
                    assert prompt(q=word) == word
        """,
    "except": """
        def test_it(prompt):
            said = []
            for word in "abcd":
                try:
                    said.append(prompt(q=word))
                except:
                    pass
            assert said == list("abcd")
        """,
}

#: Each asks "a" once, in a place where an exception might be lost or kept for later.
PLACES = {
    "fixture": """
        @pytest.fixture
        def said(prompt):
            yield prompt(q="a")

        def test_it(said):
            assert said == "a"
        """,
    "pytest.raises": """
        def test_it(prompt):
            with pytest.raises(Exception, match="wrong"):
                raise ValueError("wrong" + prompt(q="a"))
        """,
    "pytest.raises(BaseException)": """
        def test_it(prompt):
            with pytest.raises(BaseException, match="wrong a"):
                raise KeyboardInterrupt("wrong " + prompt(q="a"))
        """,
    "thread": """
        import threading

        def test_it(prompt):
            said = []
            thread = threading.Thread(target=lambda: said.append(prompt(q="a")))
            thread.start()
            thread.join()
            assert said == ["a"]
        """,
    "unittest": """
        import unittest

        class TestIt(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def ask(self, prompt):
                self.prompt = prompt

            def setUp(self):
                self.before = list("x")

            def test_it(self):
                self.before.append(self.prompt(q="a"))
                self.assertEqual(self.before, ["x", "a"])
        """,
    "addCleanup": """
        import unittest

        class TestIt(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def ask(self, prompt):
                self.prompt = prompt

            def test_it(self):
                self.addCleanup(lambda: self.assertEqual(self.prompt(q="a"), "a"))
        """,
    "fixture teardown": """
        @pytest.fixture
        def said(prompt):
            yield
            assert prompt(q="a") == "a"

        def test_it(said):
            pass
        """,
}


def test_calls_of_different_cases_overlap(example: Example) -> None:
    example.model("house/together-4").tests(
        """
        @pytest.mark.parametrize("word", list("abcd"))
        def test_it(prompt, word):
            assert prompt(q=word) == word
        """
    )
    run = example.run()
    assert run.outcomes == {"passed": 4}
    assert run.peak == 4
    assert sorted(run.asked) == ["a", "b", "c", "d"]


def test_calls_of_cases_in_several_modules_overlap(example: Example) -> None:
    example.model("house/together-3")
    for word in "abc":
        example.tests(f"def test_it(prompt): assert prompt(q='{word}') == '{word}'", name=f"test_{word}.py")
    run = example.run()
    assert run.outcomes == {"passed": 3}
    assert run.peak == 3


def test_in_a_chain_the_answer_of_one_call_feeds_the_next(example: Example) -> None:
    run = example.model("house/together-3").tests(CHAIN).run()
    assert run.outcomes == {"passed": 3}
    assert run.peak == 3
    assert sorted(run.asked) == sorted(word + tail for word in "abc" for tail in ("", "!", "!?"))


def test_a_loop_may_stop_when_an_answer_says_so(example: Example) -> None:
    example.tests(
        """
        def test_it(prompt):
            text = ""
            while len(text) < 4:
                text = prompt(q=text + "x")
            assert text == "xxxx"
        """
    )
    run = example.run()
    assert run.outcomes == {"passed": 1}
    assert run.asked == ("x", "xx", "xxx", "xxxx")


@pytest.mark.parametrize("source", AT_ONCE.values(), ids=AT_ONCE)
def test_calls_of_one_case_overlap(example: Example, source: str) -> None:
    run = example.model("house/together-4").tests(source).run(*ASYNC)
    assert run.outcomes["passed"] == 1
    assert run.ret == 0
    assert run.peak == 4
    assert sorted(run.asked) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("source", PLACES.values(), ids=PLACES)
def test_a_call_may_stand_anywhere(example: Example, source: str) -> None:
    run = example.tests(source).runs_as_without_plugin("-v", "-Werror")
    assert run.outcomes == {"passed": 1}


def test_equal_calls_of_different_cases_are_made_once(example: Example) -> None:
    example.tests(
        """
        @pytest.mark.parametrize("number", range(5))
        def test_it(prompt, number):
            assert prompt(q="same") == "same"
        """
    )
    run = example.run()
    assert run.outcomes == {"passed": 5}
    assert run.asked == ("same",)


def test_never_more_calls_in_flight_than_allowed(example: Example) -> None:
    example.tests(
        """
        @pytest.mark.parametrize("number", range(12))
        def test_it(prompt, number):
            assert prompt(q=number) == str(number)
        """
    )
    run = example.run("--promptopt-concurrency=3")
    assert run.outcomes == {"passed": 12}
    assert run.peak <= 3
    assert len(run.asked) == len(set(run.asked)) == 12


def test_with_replay_false_a_case_waits_for_each_answer(example: Example) -> None:
    example.tests(
        """
        @pytest.mark.prompt("say.md", replay=False)
        @pytest.mark.parametrize("word", "ab")
        def test_it(prompt, word):
            note(f"{word} runs")
            assert prompt(q=prompt(q=word) + "!") == word + "!"
        """
    )
    run = example.run()
    assert run.outcomes == {"passed": 2}
    assert run.notes == ("a runs", "b runs")
    assert run.asked == ("a", "a!", "b", "b!")
    assert run.peak == 1


def test_what_is_no_case_is_left_alone(example: Example) -> None:
    example.tests("def test_it(prompt): assert prompt(q='a') == 'a'").files(
        {"test_plain.py": "from house import note\ndef test_plain(): note('runs')"}
    )
    run = example.runs_as_without_plugin("-v")
    assert run.outcomes == {"passed": 2}
    assert run.notes == ("runs",)

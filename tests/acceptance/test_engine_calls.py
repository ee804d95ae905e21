"""A test may call the model in any way that Python has; its calls overlap, and each is made once."""

from __future__ import annotations

from tests.acceptance.conftest import Example


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


def test_in_a_chain_the_answer_of_one_call_feeds_the_next(example: Example) -> None:
    example.model("house/together-3").tests(
        """
        @pytest.mark.parametrize("word", list("abc"))
        def test_it(prompt, word):
            first = prompt(q=word)
            second = prompt(q=first + "!")
            assert prompt(q=second + "?") == f"{word}!?"
        """
    )
    run = example.run()
    assert run.outcomes == {"passed": 3}
    assert run.peak == 3
    assert sorted(run.asked) == sorted(word + tail for word in "abc" for tail in ("", "!", "!?"))

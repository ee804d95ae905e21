"""A prompt is found in what an application sends, and its values are read off, whatever rendered it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, SupportsIndex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_promptopt.prompts.template_languages import LANGUAGES, Fixed, Part, Variable
from pytest_promptopt.prompts.unrendering import NotFound, Rendered, filled, find_rendered
from tests.written_prompts import RENDERERS, TEXTS, VALUES, Written, written


def parts_of(source: str, language: str = "format") -> tuple[Part, ...]:
    return LANGUAGES[language].read(source, name="route.md", line=1).parts


def found(source: str, text: str, language: str = "format") -> Rendered:
    result = find_rendered(parts_of(source, language), text)
    assert isinstance(result, Rendered), result.reason
    return result


def missed(source: str, text: str, language: str = "format") -> str:
    result = find_rendered(parts_of(source, language), text)
    assert isinstance(result, NotFound), result
    return result.reason


class TestReading:
    def test_the_values_of_a_prompt_with_other_text_around_it(self) -> None:
        read = found("Route {ticket} to {queue}.", "Hello!\nRoute my refund to billing.\nBye!")

        assert dict(read.variables) == {"ticket": "my refund", "queue": "billing"}
        assert (read.start, read.end) == (7, 34)
        assert (read.unread, read.if_alone) == ({}, frozenset())

    def test_a_variable_at_the_end_reaches_to_the_end_of_the_message(self) -> None:
        read = found("Route this: {ticket}", "Hello. Route this: my refund\nBye.")

        assert dict(read.variables) == {"ticket": "my refund\nBye."}
        assert read.if_alone == {"ticket"}

    def test_where_a_value_holds_a_passage_the_text_alone_decides(self) -> None:
        read = found("Ticket: {ticket}\nAnswer:", "Ticket: Re: Ticket: 4\nAnswer:")

        assert dict(read.variables) == {"ticket": "Re: Ticket: 4"}
        assert read.if_alone == {"ticket"}

    def test_only_for_the_values_that_are_in_doubt(self) -> None:
        read = found("Route {ticket} to {queue}.", "Route my refund to billing. Be quick.")

        assert dict(read.variables) == {"ticket": "my refund", "queue": "billing. Be quick"}
        assert read.if_alone == {"queue"}

    def test_two_values_that_cannot_be_told_apart_are_ambiguous(self) -> None:
        read = found("Compare {a} and {b} now.", "Compare salt and pepper and oil now.")

        assert read.variables == {}
        assert read.unread["a"] == "`a` is ambiguous: what stands beside it stands in a value too"

    def test_a_prompt_that_is_there_twice_is_not_chosen_from(self) -> None:
        read = found("Route {ticket} now.", "First: Route a now. Then: Route b now.")

        assert (read.start, read.end, dict(read.variables)) == (0, 38, {})
        assert read.unread["ticket"].startswith("`ticket` is ambiguous")
        with pytest.raises(LookupError, match=r"cannot be told where the prompt begins .* 'Route ' is there"):
            filled(parts_of("Sort {ticket} now."), read, [], cut=read.cut)

    def test_where_it_ends_is_not_guessed(self) -> None:
        read = found("Route {ticket} to {queue}.", "Route my refund to billing. Be quick. Bye")

        assert (read.start, read.end, dict(read.variables)) == (0, 41, {"ticket": "my refund"})
        kept = filled(parts_of("Please: {ticket} is for {queue}."), read, [], cut=read.cut)
        assert kept == "Please: my refund is for billing. Be quick. Bye"
        with pytest.raises(LookupError, match=r"cannot be told where the prompt ends .* '.' is there"):
            filled(parts_of("Route {ticket}!"), read, [], cut=read.cut)

    def test_variables_side_by_side_are_not_told_apart(self) -> None:
        read = found("Route {a}{b} now.", "Route this now.")

        assert read.variables == {}
        assert read.unread["b"] == (
            "nothing stands between `a` and `b` in the prompt, so their values cannot be told apart"
        )

    def test_a_repeated_variable_has_one_value(self) -> None:
        assert found("Is {a} like {a}?", "Is tea like tea?").variables == {"a": "tea"}
        assert missed("Is {a} like {a}?", "Is tea like coffee?") == (
            "`a` stands there more than once, with different texts"
        )

    def test_a_repeated_variable_says_where_the_prompt_ends(self) -> None:
        read = found("Is {a} like this: {a}", "Is tea like this: tea\n\nThanks.")
        assert (dict(read.variables), read.end, read.if_alone) == ({"a": "tea"}, 21, frozenset())

    def test_no_variables_at_all(self) -> None:
        assert found("Be brief.", "You sort. Be brief. Now.").start == 10

    def test_nothing_but_variables(self) -> None:
        assert missed("{a}", "anything") == "it has no fixed text, so nothing tells it from any other text"


class TestWhatApplicationsDoToATemplate:
    def test_blanks_at_its_edges_may_be_stripped(self) -> None:
        read = found("\n  Route {ticket} now.\n", "Route it now.")
        assert (dict(read.variables), read.cut) == ({"ticket": "it"}, (True, True))

    def test_or_kept(self) -> None:
        read = found("\n  Route {ticket} now.\n", "\n  Route it now.\n")
        assert (read.start, read.end, read.cut) == (0, 17, (False, False))

    @pytest.mark.parametrize("text", ["Route: it\n", "Route: it"])
    def test_a_line_end_after_the_last_variable_is_not_of_its_value(self, text: str) -> None:
        assert found("Route: {ticket}\n", text).variables == {"ticket": "it"}

    def test_values_are_taken_as_they_arrive(self) -> None:
        read = found("Route {{ ticket }} now.", "Route Q&amp;A... now.", "jinja2")
        assert read.variables == {"ticket": "Q&amp;A..."}


class TestWhatIsMoreThanAVariable:
    SENT = "Route it. Price: 3.50. Labels: a, b."

    def test_a_format_hides_the_value_and_its_text_is_known(self) -> None:
        read = found("Route {t}. Price: {price:.2f}.", "Route it. Price: 3.50.")

        assert read.variables == {"t": "it"}
        assert "changes `price` before it puts it in" in read.unread["price"]
        assert filled(parts_of("{price:.2f} is the price of {t}"), read, [], cut=(False, False)) == (
            "3.50 is the price of it"
        )

    def test_a_loop_that_stays_keeps_its_text(self) -> None:
        loop = "{% for d in docs %}<{{ d }}>{% endfor %}"
        read = found(f"Read {loop} and answer.", "Read <a><b> and answer.", "jinja2")

        assert read.unread["docs"].startswith("`docs` is used in {% for %} in line 1")
        assert filled(parts_of(f"Answer from {loop} only.", "jinja2"), read, [], cut=(False, False)) == (
            "Answer from <a><b> only."
        )

    def test_a_loop_that_changed_has_no_text(self) -> None:
        read = found("Read {% for d in docs %}{{ d }}{% endfor %} now.", "Read ab now.", "jinja2")
        changed = parts_of("Read {% for d in docs %}- {{ d }}{% endfor %} now.", "jinja2")

        with pytest.raises(LookupError, match=r"{% for %} in line 1 was not in the prompt that was sent"):
            filled(changed, read, [], cut=(False, False))

    def test_what_is_ambiguous_may_move_together(self) -> None:
        read = found("Compare {a} and {b} now.", "Compare salt and pepper and oil now.")

        assert filled(parts_of("Look at {a} and {b}."), read, [], cut=(False, False)) == (
            "Look at salt and pepper and oil."
        )
        with pytest.raises(LookupError, match="`b` is ambiguous"):
            filled(parts_of("Look at {b} and {a}."), read, [], cut=(False, False))


CLOSEST = {
    "one word differs": (
        "You sort tickets by queue: {t}",
        "You sort tickets by team: x",
        "has 'You sort tickets by ' at character 0, but then 'team: x' where the prompt has 'queue: '",
    ),
    "the next passage is missing": (
        "You sort {t} tickets.",
        "You sort x",
        "has 'You sort ', but ' tickets.' does not follow",
    ),
    "the first passage is missing": (
        "You sort {t} by what they say.",
        "Now sort x by what they say.",
        "has ' by what they say.' at character 10, but not 'You sort ' before it",
    ),
    "nothing of it": ("You sort {t}.", "7 * 8 = 56", "has nothing of 'You sort '"),
    "less than a word of it": ("Sort the {t}.", "Say what: x.", "has nothing of 'Sort the '"),
    "the text ends": (
        "You sort tickets{t}",
        "You sort",
        "has 'You sort' at character 0, but then its end where the prompt has ' tickets'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "text", "reason"), CLOSEST.values(), ids=CLOSEST)
def test_a_prompt_that_is_not_there_says_what_is_closest(source: str, text: str, reason: str) -> None:
    assert missed(source, text) == reason


# --------------------------------------------------------------------------------- what holds for any text

LANGUAGE = st.sampled_from(sorted(RENDERERS))
PROMPTS = LANGUAGE.flatmap(written)


def check(read: Rendered | NotFound, prompt: Written, values: Mapping[str, str], *, alone: bool) -> None:
    """The values are right, or it is said why they are not known."""
    if isinstance(read, NotFound):
        assert read.told, f"it is there, but {read.reason}"
        return
    assert prompt.names == read.variables.keys() | read.unread.keys()
    assert not read.variables.keys() & read.unread.keys()
    sure = read.variables.keys() if alone else read.variables.keys() - read.if_alone
    assert {name: read.variables[name] for name in sure} == {name: values[name] for name in sure}


class TestAnyPrompt:
    @given(PROMPTS, VALUES)
    @example(Written("format", ("Sort it to a queue ", "?x", "\n")), {"x": "a\n", "y": "", "z": ""})
    def test_alone_in_a_message(self, prompt: Written, values: Mapping[str, str]) -> None:
        text = prompt.rendered(values)
        read = find_rendered(parts_of(prompt.source, prompt.language), text)

        check(read, prompt, values, alone=True)
        if isinstance(read, Rendered):
            assert (read.start, read.end) == (0, len(text))

    @given(PROMPTS, VALUES, TEXTS, TEXTS)
    def test_with_text_around_it(
        self, prompt: Written, values: Mapping[str, str], before: str, after: str
    ) -> None:
        text = before + prompt.rendered(values) + after
        check(find_rendered(parts_of(prompt.source, prompt.language), text), prompt, values, alone=False)

    @given(PROMPTS, VALUES)
    @example(Written("format", ("Sort it to a queue", "?x", "< ", "?y")), {"x": "< ", "y": "", "z": ""})
    def test_stripped(self, prompt: Written, values: Mapping[str, str]) -> None:
        read = find_rendered(parts_of(prompt.source, prompt.language), prompt.rendered(values).strip())
        if isinstance(read, Rendered):
            sure = read.variables.keys() - read.if_alone
            assert {name: read.variables[name] for name in sure} == {name: values[name] for name in sure}

    @given(PROMPTS, VALUES)
    def test_what_was_read_makes_the_same_text(self, prompt: Written, values: Mapping[str, str]) -> None:
        text, parts = prompt.rendered(values), parts_of(prompt.source, prompt.language)
        read = find_rendered(parts, text)

        if isinstance(read, Rendered):
            assert filled(parts, read, [], cut=read.cut) == text

    @given(LANGUAGE.flatmap(written), st.text())
    def test_any_text_is_read_or_refused_with_a_sentence(self, prompt: Written, text: str) -> None:
        read = find_rendered(parts_of(prompt.source, prompt.language), text)

        if isinstance(read, NotFound):
            assert read.reason
        else:
            assert 0 <= read.start <= read.end <= len(text)


# ------------------------------------------------------------------------------------------------------- work


class CountedText(str):
    """Counts the characters that are looked at."""

    work = 0

    def find(self, sub: str, start: Any = 0, end: Any = None) -> int:
        place = super().find(sub, start, end)
        until = len(self) if end is None else end
        CountedText.work += (until if place < 0 else place + len(sub)) - start
        return place

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        text = super().__getitem__(key)
        CountedText.work += len(text)
        return CountedText(text)


def variables_between(*passages: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for number, passage in enumerate(passages):
        parts += [Variable(f"v{number}"), Fixed(passage)]
    return tuple(parts)


BIG = 100_000
ADVERSARIAL = {
    "one letter": (variables_between(*["a"] * 300), "a" * BIG),
    "long runs": (variables_between(*["a" * 50 + "b"] * 100), "a" * BIG),
    "nearly there": (variables_between(*["a" * 50 + "b"] * 100), ("a" * 50 + "b") * 99 + "a" * BIG),
    "there twice": (variables_between(*["ab"] * 200), "ab" * (BIG // 2)),
    "a long passage": ((Fixed("a" * (BIG // 2) + "b"), Variable("x")), "a" * BIG),
    "an end that is missing": ((Fixed("a"), Variable("x"), Fixed("ab" * 500 + "!")), "ab" * (BIG // 2)),
    "blanks": ((Fixed("a "), Variable("x"), Fixed(" b")), " " * BIG),
    "the same variable": ((Fixed("a"), Variable("x")) * 200, "ab" * (BIG // 2)),
}


@pytest.mark.parametrize(("parts", "text"), ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_the_work_grows_with_the_text_and_no_faster(parts: tuple[Part, ...], text: str) -> None:
    CountedText.work = 0
    result = find_rendered(parts, CountedText(text))
    assert CountedText.work <= 12 * len(text)

    if isinstance(result, NotFound):  # which is only said, not searched, for the closest prompt of all
        CountedText.work = 0
        assert result.reason
        assert CountedText.work <= 2 * math.log2(BIG) * len(text)

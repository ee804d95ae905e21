"""Which prompt a request belongs to, and how the request reads under a candidate."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import jinja2
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_promptopt.errors import PromptFileError, RenderError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.examples import Example, Form, with_examples
from pytest_promptopt.prompts.prompt_matching import (
    NoMatch,
    PromptMatch,
    match_prompt,
    why_unrecognisable,
)
from pytest_promptopt.prompts.prompt_replacing import edits, replace
from pytest_promptopt.prompts.template_languages import JINJA2, LANGUAGES, TemplateLanguage
from pytest_promptopt.records import Message
from tests.written_prompts import NAMES, RENDERERS, TEXTS, VALUES, Written, written

ROUTE = "Route this ticket to a queue: {{ ticket }}\nAnswer with one word.\n"
CHAT = "system:\nYou sort tickets for {{ company }}.\n\nuser:\n{{ ticket }}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prompts")


def load(folder: Path, text: str, name: str = "route.md", language: TemplateLanguage = JINJA2) -> PromptFile:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return PromptFile.load(path, rootdir=folder, language=language)


def system(text: str) -> Message:
    return Message("system", text)


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str) -> Message:
    return Message("assistant", text)


def matched(prompts: PromptFile | Sequence[PromptFile], *messages: Message) -> PromptMatch:
    result = match_prompt([prompts] if isinstance(prompts, PromptFile) else prompts, messages)
    assert isinstance(result, PromptMatch), result.reason
    return result


def refused(prompts: PromptFile | Sequence[PromptFile], *messages: Message) -> str:
    result = match_prompt([prompts] if isinstance(prompts, PromptFile) else prompts, messages)
    assert isinstance(result, NoMatch), result
    return result.reason


class TestAPromptWithoutRoles:
    def test_it_may_stand_in_any_message_with_text_around_it(self, folder: Path) -> None:
        sent = (
            system("Be brief.\n\nRoute this ticket to a queue: My refund?\nAnswer with one word.\n\n-- v2"),
            user("Go."),
        )
        match = matched(load(folder, ROUTE), *sent)

        assert dict(match.variables) == {"ticket": "My refund?"}
        assert [(place.turn, place.message) for place in match.places] == [(0, 0)]
        place = match.places[0]
        assert sent[0].content[place.start : place.end] == (
            "Route this ticket to a queue: My refund?\nAnswer with one word.\n"
        )

    def test_a_candidate_stands_in_its_place_and_all_around_it_stays(self, folder: Path) -> None:
        prompt = load(folder, ROUTE)
        sent = (
            system("Be brief.\n\nRoute this ticket to a queue: A\nAnswer with one word.\n\n-- v2"),
            user("Go."),
        )
        match = matched(prompt, *sent)

        candidate = prompt.with_prose("Ticket: {{ ticket }}\nWhich queue is for {{ ticket }}?")
        after = replace(match, candidate, sent)
        assert after == (system("Be brief.\n\nTicket: A\nWhich queue is for A?\n\n-- v2"), user("Go."))
        assert after[1] is sent[1]

    def test_it_may_stand_in_several_messages(self, folder: Path) -> None:
        prompt = load(folder, "Question of a customer: {{ q }}\nAnswer it.\n")
        sent = (
            user("Question of a customer: one?\nAnswer it."),
            assistant("1"),
            user("Question of a customer: two?\nAnswer it."),
        )
        match = matched(prompt, *sent)

        assert dict(match.variables) == {"q": "two?"}
        assert replace(match, prompt.with_prose("Answer {{ q }}"), sent) == (
            user("Answer one?"),
            assistant("1"),
            user("Answer two?"),
        )

    @pytest.mark.parametrize("change", [str.strip, textwrap.dedent, str], ids=["strip", "dedent", "none"])
    def test_the_application_may_strip_or_dedent_its_template(self, folder: Path, change: type[str]) -> None:
        source = "    Route this ticket to a queue:\n      {ticket}\n    Answer with one word.\n"
        prompt = load(folder, source, language=LANGUAGES["format"])
        sent = (user(change(source).format(ticket="refund\nplease")),)
        match = matched(prompt, *sent)

        assert dict(match.variables) == {"ticket": "refund\nplease"}
        candidate = "    Which queue is for\n    {ticket}?"
        after = replace(match, prompt.with_prose(candidate), sent)
        assert after[0].content == change(candidate + "\n").format(ticket="refund\nplease")

    def test_what_it_does_not_strip_is_replaced_too(self, folder: Path) -> None:
        prompt = load(folder, "  Route this ticket to a queue: {{ ticket }}!")
        sent = (user("  Route this ticket to a queue: A!"),)
        assert replace(matched(prompt, *sent), prompt.with_prose("Sort {{ ticket }}"), sent) == (
            user("Sort A"),
        )

    def test_the_application_may_have_jinja2_trim_its_blocks(self, folder: Path) -> None:
        source = "Answer from these:\n  {% for d in docs %}\n- {{ d }}\n  {% endfor %}\nQuestion: {{ q }}"
        prompt, renderer = load(folder, source), jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        sent = (user(renderer.from_string(source).render(docs=["a", "b"], q="Why?")),)
        match = matched(prompt, *sent)

        assert dict(match.variables) == {"q": "Why?"}
        candidate = source.replace("Answer from these", "Read").replace("Question", "Q")
        after = replace(match, prompt.with_prose(candidate), sent)
        assert after[0].content == renderer.from_string(candidate).render(docs=["a", "b"], q="Why?")

    def test_a_line_end_of_the_file_is_no_part_of_the_last_value(self, folder: Path) -> None:
        prompt = load(folder, "Route this ticket: {{ ticket }}\n")
        assert matched(prompt, user("Route this ticket: A\n")).variables == {"ticket": "A"}
        assert matched(prompt, user("Route this ticket: A")).variables == {"ticket": "A"}


class TestAPromptWithTurns:
    def test_its_turns_are_messages_of_their_roles_in_order(self, folder: Path) -> None:
        prompt = load(folder, CHAT)
        sent = (system("You sort tickets for ACME."), user("My refund?"))
        match = matched(prompt, *sent)

        assert dict(match.variables) == {"company": "ACME", "ticket": "My refund?"}
        candidate = prompt.with_prose("system:\n{{ company }} needs you.\n\nuser:\nTicket: {{ ticket }}")
        assert replace(match, candidate, sent) == (system("ACME needs you."), user("Ticket: My refund?"))

    def test_roles_of_other_names(self, folder: Path) -> None:
        sent = (Message("developer", "You sort tickets for ACME."), user("My refund?"))
        assert matched(load(folder, CHAT), *sent).variables["company"] == "ACME"

    def test_a_turn_in_another_role_is_none(self, folder: Path) -> None:
        said = refused(load(folder, CHAT), user("You sort tickets for ACME."), user("My refund?"))
        assert said == (
            "the messages are no call of route.md: its `system:` turn: no message has that role; "
            "there are: user"
        )

    def test_turns_in_another_order_are_none(self, folder: Path) -> None:
        said = refused(load(folder, CHAT), user("My refund?"), system("You sort tickets for ACME."))
        assert said.endswith("its turns are there, but not in their order")

    def test_one_value_that_differs_from_turn_to_turn(self, folder: Path) -> None:
        prompt = load(folder, "system:\nYou sort tickets for {{ c }}.\n\nuser:\nI write to {{ c }}!\n")
        said = refused(prompt, system("You sort tickets for ACME."), user("I write to Apex!"))
        assert said.endswith("its turns are there, but with different texts for `c`")

    def test_a_turn_that_may_be_one_message_or_another_is_not_guessed(self, folder: Path) -> None:
        prompt = load(folder, CHAT)
        sent = (system("You sort tickets for ACME."), user("Hello"), assistant("Yes?"), user("My refund?"))
        match = matched(prompt, *sent)

        assert dict(match.variables) == {"company": "ACME"}
        assert match.unread["ticket"] == "its `user:` turn may be message 2 as well as message 4"
        kept = prompt.with_prose("system:\nBe kind to {{ company }}.\n\nuser:\n{{ ticket }}")
        assert replace(match, kept, sent) == (system("Be kind to ACME."), *sent[1:])
        with pytest.raises(RenderError, match=r"route.md:5: it cannot be put in: its `user:` turn may be"):
            replace(match, prompt.with_prose(CHAT.replace("{{ ticket", "Now: {{ ticket")), sent)

    def test_what_stands_at_the_edge_of_one_turn_is_of_no_other(self, folder: Path) -> None:
        source = "system:\nHello {{ a }} there, sort it.\n\nuser:\nI am {{ a }}!\n"
        sent = (system("Well. Hello all. Hello Ann there, sort it."), user("I am Ann!"))
        prompt = load(folder, source)
        match = matched(prompt, *sent)

        assert dict(match.variables) == {"a": "Ann"}
        candidate = prompt.with_prose(source.replace("I am {{ a }}", "Hello {{ a }}"))
        assert replace(match, candidate, sent) == (sent[0], user("Hello Ann!"))
        other = prompt.with_prose(source.replace("Hello", "Dear"))
        with pytest.raises(RenderError, match=r"cannot be told where the prompt begins in the message"):
            replace(match, other, sent)


class TestAPromptWhoseSystemMessageIsInTheFrontMatter:
    TEXT = "---\nsystem: You sort tickets for {{ company }}.\n---\n{{ ticket }}\n"

    def test_it_is_told_by_its_system_message(self, folder: Path) -> None:
        prompt = load(folder, self.TEXT)
        sent = tuple(prompt.render({"company": "ACME", "ticket": "My refund?"}))
        match = matched(prompt, *sent)

        assert dict(match.variables) == {"company": "ACME", "ticket": "My refund?"}
        assert match.fixed_length == 17
        candidate = prompt.with_prose("To {{ company }}: {{ ticket }}")
        assert replace(match, candidate, sent) == (sent[0], user("To ACME: My refund?"))

    def test_without_it_nothing_tells(self, folder: Path) -> None:
        said = refused(load(folder, self.TEXT), user("My refund?"))
        assert said.endswith("its `system:` turn: no message has that role; there are: user")

    def test_a_question_that_may_be_one_message_or_another(self, folder: Path) -> None:
        prompt = load(folder, self.TEXT)
        sent = (system("You sort tickets for ACME."), user("Hello"), user("My refund?"))
        match = matched(prompt, *sent)

        assert match.unplaced == {0: "its `user:` turn may be message 2 as well as message 3"}
        with pytest.raises(RenderError, match=r"route.md:4: it cannot be put in: its `user:` turn may be"):
            replace(match, prompt.with_prose("Now: {{ ticket }}"), sent)


class TestExamples:
    EXAMPLES = (
        Example({"ticket": "Where is it?"}, "shipping"),
        Example({"ticket": "Pay {{ me }}"}, "billing"),
    )

    def test_they_become_messages_before_the_last_turn(self, folder: Path) -> None:
        prompt = load(folder, CHAT)
        sent = (system("You sort tickets for ACME."), user("My refund?"))
        candidate = prompt.with_prose(with_examples(prompt.prose, self.EXAMPLES))

        shown = (user("Where is it?"), assistant("shipping"), user("Pay {{ me }}"), assistant("billing"))
        after = replace(matched(prompt, *sent), candidate, sent)
        assert after == (sent[0], *shown, sent[1])

        fewer = prompt.with_prose(with_examples(prompt.prose, self.EXAMPLES[:1]))
        assert replace(matched(candidate, *after), fewer, after) == (sent[0], *shown[:2], sent[1])
        assert replace(matched(candidate, *after), prompt, after) == sent

    def test_of_a_prompt_that_is_a_user_message(self, folder: Path) -> None:
        prompt = load(folder, ROUTE)
        sent = (system("Be brief."), user("Route this ticket to a queue: A\nAnswer with one word.\n"))
        candidate = prompt.with_prose(with_examples(prompt.prose, self.EXAMPLES[:1]))

        assert replace(matched(prompt, *sent), candidate, sent) == (
            sent[0],
            user("Route this ticket to a queue: Where is it?\nAnswer with one word."),
            assistant("shipping"),
            sent[1],
        )
        changes = edits(matched(prompt, *sent), candidate, sent)
        assert [len(added) for added in changes.inserted.values()] == [2]

    def test_in_a_system_message_they_must_be_text(self, folder: Path) -> None:
        prompt = load(folder, ROUTE)
        sent = (system("Route this ticket to a queue: A\nAnswer with one word."), user("Go."))
        turns = prompt.with_prose(with_examples(prompt.prose, self.EXAMPLES))
        with pytest.raises(RenderError, match="has chat turns, but the prompt stands in a system message"):
            replace(matched(prompt, *sent), turns, sent)

        block = prompt.with_prose(with_examples(prompt.prose, self.EXAMPLES[:1], Form.BLOCK))
        assert replace(matched(prompt, *sent), block, sent)[0].content == (
            "Examples:\n\nticket: Where is it?\nanswer: shipping\n\n"
            "Route this ticket to a queue: A\nAnswer with one word."
        )

    def test_a_message_with_other_text_in_it_is_not_left_out(self, folder: Path) -> None:
        prompt = load(folder, CHAT)
        shown = prompt.with_prose(with_examples(prompt.prose, self.EXAMPLES[:1]))
        sent = (
            system("You sort tickets for ACME."),
            user("(A sample) Where is it?"),
            assistant("shipping"),
            user("My refund?"),
        )
        with pytest.raises(RenderError, match=r"more than its `user:` turn stands in message 2"):
            replace(matched(shown, *sent), prompt, sent)


class TestSeveralPrompts:
    def test_the_one_with_most_fixed_text_is_meant(self, folder: Path) -> None:
        short = load(folder, "Route this ticket to a queue: {{ ticket }}\n", "short.md")
        long = load(folder, ROUTE, "long.md")
        sent = user("Route this ticket to a queue: A\nAnswer with one word.")

        assert matched([short, long], sent).prompt is long
        assert matched([long, short], sent).prompt is long
        assert matched([long, short], user("Route this ticket to a queue: A")).prompt is short

    def test_equal_ones_are_one(self, folder: Path) -> None:
        first, second = load(folder, ROUTE, "a.md"), load(folder, ROUTE, "b.md")
        sent = user("Route this ticket to a queue: A\nAnswer with one word.")
        assert matched([first, second], sent).prompt is first

    def test_two_with_as_much_fixed_text_are_not_chosen_from(self, folder: Path) -> None:
        prompts = [
            load(folder, "Route this ticket: {{ a }}.", "a.md"),
            load(folder, "{{ a }} - Answer with words", "b.md"),
        ]
        said = refused(prompts, user("Route this ticket: A - Answer with words."))
        assert said == "the messages hold as much fixed text of a.md and b.md, so they belong to none of them"

    def test_two_versions_of_one_prompt_that_differ_in_a_sign_only(self, folder: Path) -> None:
        prompt = load(folder, "Route this ticket: {{ ticket }}. Be quick.\n")
        other = prompt.with_prose("Route this ticket: {{ ticket }}. Be quick")
        sent = user("Route this ticket: A. Be quick.")

        assert matched([other, prompt], sent).prompt is prompt
        assert matched([prompt, other], sent).prompt is prompt

    def test_none_of_them_says_what_is_closest(self, folder: Path) -> None:
        prompts = [load(folder, ROUTE, "route.md"), load(folder, CHAT, "chat.md")]
        said = refused(prompts, system("You sort tickets of ACME."), user("Hi"))
        assert said == (
            "the messages are a call of none of the 2 prompts; the closest is chat.md: its `system:` turn: "
            "message 1 (system) has 'You sort tickets ' at character 0, but then 'of ACME.' "
            "where the prompt has 'for '"
        )

    def test_no_prompts(self) -> None:
        assert refused([], user("Hi")) == "there is no prompt that the messages could belong to"


class TestTooLittleFixedText:
    def test_it_is_never_recognised(self, folder: Path) -> None:
        prompt = load(folder, "Sort: {{ ticket }}\n")

        assert why_unrecognisable(prompt) == (
            "route.md: no call can be recognised as one of this prompt: it has 4 letters and digits besides "
            "its variables; at least 12 are needed, since fewer stand in other texts by chance"
        )
        assert "it has 4 letters and digits" in refused(prompt, user("Sort: me"))

    def test_enough_is_enough(self, folder: Path) -> None:
        assert why_unrecognisable(load(folder, ROUTE)) is None


class TestWhatACandidateNeeds:
    def test_a_value_that_was_not_sent(self, folder: Path) -> None:
        prompt = load(folder, "---\nsystem: You work for {{ company }}.\n---\n" + ROUTE)
        sent = (user("Route this ticket to a queue: A\nAnswer with one word."),)
        candidate = prompt.with_prose("For {{ company }}: {{ ticket }}")

        with pytest.raises(RenderError) as caught:
            replace(matched(prompt, *sent), candidate, sent)
        assert str(caught.value) == (
            "route.md:4: cannot be put in: the prompt that was sent does not hold `company`"
        )
        with_system = (system("You work for ACME."), *sent)
        assert replace(matched(prompt, *with_system), candidate, with_system)[1] == user("For ACME: A")

    def test_a_value_that_cannot_be_told(self, folder: Path) -> None:
        prompt = load(folder, "Compare the two things {{ a }} and {{ b }}, please.\n")
        sent = (user("Compare the two things salt and pepper and oil, please."),)

        with pytest.raises(RenderError, match=r"route.md:1: cannot be put in: `b` is ambiguous"):
            replace(matched(prompt, *sent), prompt.with_prose("{{ b }} and {{ a }}?"), sent)


# --------------------------------------------------------------------------------- what holds for any prompt

FILES: dict[str, PromptFile] = {}


def prompt_of(folder: Path, prompt: Written) -> PromptFile:
    language = prompt.language
    if language not in FILES:
        FILES[language] = load(folder, "x", f"{language}.md", LANGUAGES[language])
    try:
        file = FILES[language].with_prose(prompt.source)
    except PromptFileError:
        assume(False)
    assume(file.turns[0].source == prompt.source)  # blank lines around it are no part of a file's prose
    return file


PAIRS = st.sampled_from(sorted(RENDERERS)).flatmap(lambda name: st.tuples(written(name), written(name)))


class TestAnyPrompt:
    @given(PAIRS, VALUES, TEXTS, TEXTS, st.booleans())
    def test_a_candidate_reads_as_if_it_had_been_rendered_in_the_first_place(
        self,
        folder: Path,
        pair: tuple[Written, Written],
        values: Mapping[str, str],
        before: str,
        after: str,
        is_system: bool,
    ) -> None:
        prompt, candidate = pair
        make = system if is_system else user
        sent = (make(before + prompt.rendered(values) + after), assistant(before))
        match = match_prompt([prompt_of(folder, prompt)], sent)
        if isinstance(match, NoMatch):
            assert "different texts" in match.reason
            return

        assert replace(match, match.prompt, sent) == sent
        file, unread = prompt_of(folder, candidate), candidate.names - match.variables.keys()
        changes = any(piece.startswith("!") for piece in candidate.pieces)
        may_fail = unread or changes or match.places[0].reading.unknown != ("", "")
        with suppress(RenderError) if may_fail else nullcontext():
            replaced = replace(match, file, sent)
            if not match.if_alone or not (before + after):
                assert replaced == (make(before + candidate.rendered(values) + after), sent[1])

    @given(
        st.sampled_from(sorted(RENDERERS)).flatmap(written),
        st.lists(st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), st.text()), max_size=4),
    )
    def test_any_messages_are_matched_or_refused_with_a_sentence(
        self, folder: Path, prompt: Written, given_messages: list[tuple[str, str]]
    ) -> None:
        messages = [Message(role, content) for role, content in given_messages]
        match = match_prompt([prompt_of(folder, prompt)], messages)
        assert isinstance(match, PromptMatch) or match.reason


def test_the_names_are_those_of_the_values() -> None:
    assert set(NAMES) == {"x", "y", "z"}

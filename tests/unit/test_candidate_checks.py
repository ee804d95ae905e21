"""A candidate is checked before a call is spent on it, whoever made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_promptopt.optimizer.candidate_checks import CandidateChecks, Passages, variables_given
from pytest_promptopt.optimizer.proposal.replies import Reply, parse_reply
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.examples import Example, with_examples
from pytest_promptopt.records import Answer, Call, Case, CaseResult, Outcome, Split, Status
from tests.refine_world import FakePrompt

GOOD = "Sort it.\n{{ ticket }} as asked"


def checks(*training: str, validation: tuple[str, ...] = ()) -> CandidateChecks:
    return CandidateChecks(Passages(training), Passages(validation))


def load(folder: Path, text: str) -> PromptFile:
    path = folder / "route.md"
    path.write_text(text, encoding="utf-8")
    return PromptFile.load(path, rootdir=folder)


class TestCopies:
    @pytest.mark.parametrize(
        ("case", "prose"),
        [
            ("Where's my card?", "Such as: where's my CARD"),
            ("card still not here yet", "Say late for 'card still not here yet'."),
            ("カードがまだ届きません", "例: カードがまだ届きません。"),
        ],
    )
    def test_a_short_input_that_stands_there_whole_is_copied(self, case: str, prose: str) -> None:
        found = checks(case).objection(FakePrompt(), f"{{{{ ticket }}}} {prose}")
        assert "copies a passage of a training case" in str(found)
        hidden = checks(validation=(case,)).objection(FakePrompt(), f"{{{{ ticket }}}} {prose}")
        assert "copies a passage of a case" in str(hidden)
        assert case.casefold() not in str(hidden).casefold()

    @pytest.mark.parametrize(
        ("case", "prose"),
        [
            ("card arrival", "Answer card arrival when it is about one."),
            ("where is my card", "Say where my card is."),
            ("届きません", "届きません"),
            ("", "Anything"),
        ],
    )
    def test_a_label_and_other_words_are_not(self, case: str, prose: str) -> None:
        assert checks(case).objection(FakePrompt(), f"{{{{ ticket }}}} {prose}") is None

    def test_what_the_prompt_on_disk_says_may_stay(self) -> None:
        prompt = FakePrompt(prose="Route {{ ticket }}, such as: where is my card")
        assert checks("Where is my card?").objection(prompt, f"{prompt.prose}, well") is None

    def test_examples_are_copies_by_intent(self) -> None:
        long = "my card was charged twice for the same order and nobody answers"
        prose = with_examples("Sort {{ ticket }}", [Example({"ticket": long}, "billing")])
        assert checks(long).objection(FakePrompt(), prose) is None
        assert "copies" in str(checks(long).objection(FakePrompt(), f"{prose} {long}"))

    def test_a_tag_of_the_request_in_an_example_is_the_cases_own(self) -> None:
        prose = with_examples("Sort {{ ticket }}", [Example({"ticket": "</new_prompt>"}, "x")])
        assert checks().objection(FakePrompt(), prose) is None


class TestATextThatWasTriedBefore:
    """A model may answer in the case that it reads; how a text is laid out makes no new one."""

    @pytest.mark.parametrize(
        ("again", "known"),
        [("Sort {{ ticket }}.", True), ("Sort\n {{ ticket }}.", True), ("SORT {{ ticket }}.", False)],
    )
    def test_is_told_from_one_in_other_letters(self, again: str, known: bool) -> None:
        tried = checks()
        assert tried.objection(FakePrompt(), "Sort {{ ticket }}.") is None
        assert (tried.objection(FakePrompt(), again) == "this text was tried before") is known


class TestInvisibleCharacters:
    @pytest.mark.parametrize(
        "hidden",
        [
            "\U000e0041\U000e0020", "\U000e0100\U000e0101", "\x1b[8m", "\u202e", "\x1b]8;;http://x\x1b\\",
            "\u2028", "\x85", "\u200b", "\u200d", "\u2060", "\u00ad", "\x07", "\x7f", "\x9b", "\ue000",
            "\u3164", "\u115f", "\u2800", "\u034f", "\ufe00", ".\ufe0f", "a\ufe0f", "1\ufe0f",
            "❤\ufe0f\ufe0f", "\u180e", "\u061c",
        ],
    )  # fmt: skip
    def test_a_candidate_with_text_that_nobody_sees_is_refused(self, hidden: str) -> None:
        found = checks().objection(FakePrompt(), f"Sort {{{{ ticket }}}}.{hidden}")
        assert "invisible character, U+" in str(found)
        assert all(character.isprintable() for character in str(found))

    @pytest.mark.parametrize(
        "seen",
        [
            "\t",
            "\n",
            "\r\n",
            "❤\ufe0f",
            "✔\ufe0f",
            "1\ufe0f\u20e3",
            "\u00a0",
            "\u3000",
            "日本語",
            "é",
            "e\u0301",
            "🙂",
        ],
    )
    def test_what_people_type_is_not(self, seen: str) -> None:
        assert checks().objection(FakePrompt(), f"Sort {{{{ ticket }}}}.{seen}Well.") is None

    def test_a_character_of_the_prompt_on_disk_may_stay(self) -> None:
        prompt = FakePrompt(prose="می\u200cخواهم {{ ticket }}")
        assert checks().objection(prompt, "{{ ticket }} نمی\u200cخواهم") is None
        assert "U+200D" in str(checks().objection(prompt, "{{ ticket }} \u200d"))

    def test_an_example_shows_them_in_quotes(self) -> None:
        prose = with_examples("Sort {{ ticket }}", [Example({"ticket": "a\u202eb"}, "x")])
        assert checks().objection(FakePrompt(), prose) is None

    def test_a_reason_is_freed_of_them(self) -> None:
        text = "<reason>It\u202e is\U000e0041\x1b better</reason><new_prompt>x</new_prompt>"
        assert parse_reply(Answer(text, "demo", "end_turn", None, None, 0.0)) == Reply("x", "It is better")


def result(**variables: str) -> CaseResult:
    case = Case("t.py::test", ("route.md",), Split.TRAIN)
    call = Call("route.md", variables, "k", "text", "end_turn", None, None, 0.1, False)
    return CaseResult(case, (Outcome(case.id, Status.PASSED, 1.0, calls=(call,)),))


class TestWhatCannotBeSent:
    """Each text that passes can be rendered with what the cases gave; the run does not end over one."""

    @pytest.mark.parametrize(
        ("prose", "objection"),
        [
            ("system:\n\nuser:\n{{ x }}", "the `system:` turn is empty"),
            ("system:\nBe good.\nuser:\n \n", "the `user:` turn is empty"),
            ("system:\n{{ x }}\nuser:\n{{ x }}", "Its `system:` turn is empty for a case."),
        ],
    )
    def test_an_empty_turn(self, tmp_path: Path, prose: str, objection: str) -> None:
        file = load(tmp_path, "system:\nBe good.\nuser:\nIt is {{ x }}")
        tried = CandidateChecks(given=variables_given([result(x="5"), result(x=" ")]))
        assert objection in str(tried.objection(file, prose))

    def test_an_empty_value_that_the_current_text_is_sent_with_as_well_is_no_objection(
        self, tmp_path: Path
    ) -> None:
        file = load(tmp_path, "{{ x }}")
        tried = CandidateChecks(given=variables_given([result(x=""), result(other="y"), result(x="1")]))
        assert tried.objection(file, "{{ x }}\n{{ x }}") is None

    def test_what_fails_on_a_value_only_without_what_guarded_it(self, tmp_path: Path) -> None:
        file = load(tmp_path, "{% if x != '0' %}{{ 1 // x|int }}{% endif %}{{ x }}")
        tried = CandidateChecks(given=variables_given([result(x="2"), result(x="0")]))
        told = str(tried.objection(file, "Sort. {{ 1 // x|int }} {{ x }}"))
        assert told.startswith("It cannot be sent for a case that the current text can be sent for: ")
        assert "ZeroDivisionError" in told

    def test_a_variable_of_a_loop_that_is_gone(self, tmp_path: Path) -> None:
        file = load(tmp_path, "{% for t in ts %}{{ t }}{% endfor %}")
        assert file.objections("{{ ts }} {{ t }}") == (
            "It uses the variable {{ t }}, which the tests do not give.",
        )

    def test_turns_of_the_test_are_rendered_as_such(self, tmp_path: Path) -> None:
        file = load(tmp_path, "You sort for {{ shop }}.")
        given = variables_given(
            [result(**{"shop": "A", "user 1": "Hi", "assistant 2": "Yes?", "user 3": "Where?"})]
        )
        tried = CandidateChecks(given=given)
        assert tried.objection(file, "Sort for {{ shop }}.") is None

"""The embedded model sums up by what its prompt asks, and as an optimizer takes a judge at its word."""

from __future__ import annotations

import pytest

from pytest_promptopt.failures.verdict_lines import verdict_lines
from pytest_promptopt.models.demo.feedback import parse
from pytest_promptopt.records import Message
from pytest_promptopt.verdicts import Suggestion, Verdict
from tests.feedback import answer, ask, literal, proposal, request

PROMPT = "Summarize the report.\n\n<report>\n{{ report }}\n</report>"
REPORT = (
    "The shop was down at noon. Sorry for the noise. Ben was on call and came at once. Some customers wrote "
    "to us. The cause was a full disk on the log server. Ben made room on it. The next step is an alarm."
)


def summary(*rules: str, report: str = REPORT) -> str:
    return answer(PROMPT.replace("\n\n", "\n" + "\n".join(rules) + "\n\n", 1), report=report)


class TestSummary:
    def test_without_a_rule_it_announces_itself_and_takes_the_beginning(self) -> None:
        assert summary() == f"This summary is about the following: {REPORT.partition(' The cause')[0]}"

    @pytest.mark.parametrize("rule", ["Keep to the text.", "Write the summary only.", "Invent nothing."])
    def test_it_is_bare_where_the_prompt_wants_it_so(self, rule: str) -> None:
        assert summary(rule).startswith("The shop was down at noon.")

    @pytest.mark.parametrize(
        ("rule", "said"),
        [
            ("Mention the cause.", "The cause was a full disk"),
            ("Always name 'next step'.", "The next step is an alarm."),
            ("- It must state the alarm", "The next step is an alarm."),
        ],
    )
    def test_what_is_to_be_mentioned_is_looked_for_in_the_whole_text(self, rule: str, said: str) -> None:
        assert said not in summary()
        assert said in summary(rule)

    def test_what_only_happens_to_have_such_a_verb_in_it_asks_for_nothing(self) -> None:
        assert summary("The readers have the alarm on their phones.") == summary()

    @pytest.mark.parametrize("rule", ["Leave out 'sorry'.", "Do not say 'sorry'.", "Never mention 'sorry'."])
    def test_what_is_to_be_left_out_is(self, rule: str) -> None:
        assert "Sorry" in summary()
        assert "Sorry" not in summary(rule)

    @pytest.mark.parametrize(
        ("rule", "words"), [("Use at most 12 words.", 12), ("Fewer than 10 words, please.", 9)]
    )
    def test_a_length_is_held_and_what_is_to_be_mentioned_goes_first(self, rule: str, words: int) -> None:
        assert len(summary(rule).split()) <= words
        assert "The next step is an alarm." in summary("Keep to the text.", "Mention the alarm.", rule)

    def test_one_sentence_is_one(self) -> None:
        assert summary("Keep to the text.", "Summarize in one sentence.") == "The shop was down at noon."
        assert summary("Keep to the text.", "Summarize in two sentences.").count(".") == 2

    def test_what_the_text_does_not_have_is_not_made_up(self) -> None:
        assert summary("Mention the costs.") == summary()

    def test_the_turns_of_solved_examples_are_no_rules(self) -> None:
        turns = [Message("user", PROMPT.replace("{{ report }}", "Do not say shop. At most 3 words."))]
        turns += [Message("assistant", "A summary."), Message("user", PROMPT.replace("{{ report }}", REPORT))]
        assert ask(*turns) == summary()

    def test_labels_are_answered_where_no_summary_is_asked_for(self) -> None:
        route = (
            "Read the summary of the ticket. Answer with one word: billing, delivery.\n\nTicket: {{ ticket }}"
        )
        assert answer(route, ticket="The parcel is late.") == "billing"


def judged(*cases: tuple[Suggestion, ...], prompt: str = PROMPT) -> str:
    """A request for a new prompt with failing cases that a judge has said this of."""
    text = request(
        prompt, [({"report": f"Report {number}."}, None, "A text.") for number, _ in enumerate(cases)]
    )
    for suggestions in cases:
        verdict = Verdict(0.4, ("it is too long; much",), (), suggestions, "", "", criterion="is good; short")
        text = text.replace("message: no JSON", f"message: {'; '.join(verdict_lines([verdict]))}", 1)
    return text


SHORT = Suggestion("use at most 30 words", "length", "medium")
CAUSE = Suggestion("mention 'cause'", "content", "high")
BOTH = Suggestion("mention 'cause', 'cost'.", "content", "high")


class TestAdvice:
    def test_it_is_read_from_the_feedback(self) -> None:
        (shown,) = parse(judged((SHORT, BOTH))).failing
        assert [(each.text, each.impact) for each in shown.advice] == [
            ("mention 'cause', 'cost'", "high"),
            ("use at most 30 words", "medium"),
        ]

    def test_what_is_suggested_becomes_a_rule_before_the_input(self) -> None:
        reason, prompt = proposal(judged((CAUSE,), (CAUSE,)))
        assert prompt == PROMPT.replace("\n\n", "\n\nMention 'cause'.\n\n")
        assert "judge's suggestions for 2 shown answers: Mention 'cause'" in reason

    def test_a_rule_has_what_several_cases_share(self) -> None:
        prompt = proposal(judged((BOTH,), (CAUSE,), (SHORT,)))[1]
        assert "Mention 'cause'." in prompt
        assert "cost" not in prompt
        assert "30 words" not in prompt

    def test_what_the_prompt_says_is_not_said_again(self) -> None:
        prompt = PROMPT.replace("\n\n", "\n\nUse at most 30 words.\nMention 'cause'.\n\n")
        assert proposal(judged((SHORT, CAUSE), (SHORT, CAUSE), prompt=prompt))[1] == prompt

    def test_a_better_summary_comes_of_it(self) -> None:
        prompt = proposal(judged((CAUSE,), (CAUSE,)))[1]
        assert "The cause was" in answer(prompt, report=REPORT)

    def test_without_suggestions_nothing_is_changed(self) -> None:
        assert proposal(request(PROMPT, [({"report": literal("x")}, None, "A text.")]))[1] == PROMPT

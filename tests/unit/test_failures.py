"""A red suite tells its author, and the optimizer, what the failures have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_promptopt.failures import Category, FailedCase, Feedback, describe
from pytest_promptopt.records import Call, Case, CaseResult, Failure, Outcome, Split, Status, Usage

PROMPT = "prompts/route.md"


def call(text: str, /, *, prompt: str = PROMPT, stop: str = "end_turn", **variables: str) -> Call:
    return Call(prompt, variables, "key", text, stop, Usage(10, 20), None, 0.1, False)


def outcome(case: str, failure: Failure | None, *calls: Call) -> Outcome:
    status = Status.PASSED if failure is None else Status.FAILED
    # What passed was compared with its very answer.
    expected = failure.expected if failure else calls[-1].text if calls else None
    return Outcome(case, status, float(failure is None), failure=failure, calls=calls, expected=expected)


def result(name: str, failure: Failure | None, *calls: Call) -> CaseResult:
    case = Case(f"tests/test_support.py::{name}", (PROMPT,), Split.TRAIN)
    return CaseResult(case, (outcome(case.id, failure, *calls),))


def equal(expected: Any, actual: Any, message: str = "assert ... == ...") -> Failure:
    return Failure("AssertionError", message, "tests/test_support.py:9", "==", expected, actual)


def constraint(operator: str, words: str, actual: Any = None, message: str = "") -> Failure:
    return Failure(
        "AssertionError", message, "tests/test_support.py:9", operator, actual=actual, constraint=words
    )


def raised(kind: str, message: str) -> Failure:
    return Failure(kind, message, "tests/test_support.py:9")


def routed(rows: Sequence[tuple[str, str, str]], name: str = "test_routing") -> list[CaseResult]:
    """(ticket, expected, answer) rows as the results of one parametrized test."""
    return [
        result(
            f"{name}[{number}]",
            None if expected == answer else equal(expected, answer),
            call(answer, ticket=ticket),
        )
        for number, (ticket, expected, answer) in enumerate(rows)
    ]


def compared(expected: Any, actual: Any, *, answer: str | None = None, **variables: str) -> CaseResult:
    text = answer if answer is not None else actual if isinstance(actual, str) else json.dumps(actual)
    return result("test_answer[a]", equal(expected, actual), call(text, **variables))


def only(feedback: Feedback) -> Category:
    assert [category.count for category in feedback.categories] == [feedback.failing]
    return feedback.categories[0]


ROUTES = [
    ("my card was charged twice", "billing", "refunds"),
    ("the charge on my card is wrong", "billing", "refunds"),
    ("charged for a card I do not own", "billing", "refunds"),
    ("I want my money back", "refunds", "billing"),
    ("the app crashes at start", "technical", "technical"),
    ("the screen stays black", "technical", "technical"),
    ("where is my invoice", "billing", "billing"),
]


class TestBoundaryConfusion:
    def test_says_which_labels_are_confused_and_how_often(self) -> None:
        category = only(describe(routed(ROUTES), prompt=PROMPT))
        assert category.name == "boundary confusion"
        assert category.confusion == (("billing", "refunds", 3), ("refunds", "billing", 1))
        assert category.observed.startswith('4 of 4 failing cases: answered "refunds" for "billing" (3)')
        assert "in both directions (3 and 1)" in category.cause

    def test_names_the_words_that_these_inputs_share_and_others_do_not(self) -> None:
        category = only(describe(routed(ROUTES)))
        assert 'words of these 3 inputs: "card" (3), "charged" (2)' in category.fix

    def test_quotes_the_lines_of_the_prompt_that_do_not_tell_them_apart(self) -> None:
        prose = "Sort the ticket.\n- billing: money\n- refunds: money back\n- technical: the rest\n"
        category = only(describe(routed(ROUTES), prose=prose))
        assert (
            'line 2 ("- billing: money") and line 3 ("- refunds: money back") do not exclude each other'
            in (category.cause)
        )

    def test_says_when_the_prompt_does_not_name_a_label(self) -> None:
        category = only(describe(routed(ROUTES), prose="Answer with billing or technical."))
        assert 'the prompt does not name "refunds"' in category.cause

    def test_a_label_is_known_from_the_cases_that_pass(self) -> None:
        rows = [("black screen", "technical", "technical")] * 2 + [("my invoice", "billing", "technical")] * 2
        assert only(describe(routed(rows))).confusion == (("billing", "technical", 2),)

    def test_spelling_of_the_label_does_not_matter(self) -> None:
        rows = [("a", "card_payment", "Cash Withdrawal"), ("b", "cash_withdrawal", "card payment")]
        names = {row[:2] for row in only(describe(routed(rows))).confusion}
        assert names == {("card_payment", "cash_withdrawal"), ("cash_withdrawal", "card_payment")}

    def test_answers_that_never_repeat_are_no_labels(self) -> None:
        rows = [(f"capital {n}", f"City {n}", f"Town {n}") for n in range(5)]
        assert only(describe(routed(rows))).name == "wrong value"

    def test_ratings_are_labels_when_they_repeat(self) -> None:
        results = [
            compared(expected, actual)
            for expected, actual in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)]
        ]
        assert only(describe(results)).name == "boundary confusion"


class TestFormatViolation:
    @pytest.mark.parametrize(
        ("answer", "sign"),
        [
            ("Billing", "other case"),
            ('"billing"', "quotes"),
            ("billing.", "punctuation"),
            ("**billing**", "markdown marks"),
            ("```\nbilling\n```", "a code fence around the value"),
            ("Queue: billing", "a lead-in before the value"),
            ("billing\n", "surrounding whitespace"),
            ("This ticket should go to billing, since it is about money.", "prose around the value"),
            ('{"queue": "billing"}', "JSON around the value"),
        ],
    )
    def test_says_what_is_around_the_label(self, answer: str, sign: str) -> None:
        category = only(describe(routed([("my invoice", "billing", answer)])))
        assert category.name == "format violation"
        assert f"{sign} (1)" in category.observed

    def test_counts_each_way(self) -> None:
        answers = ["Billing", "Billing", "billing.", "Billing."]
        category = only(describe(routed([(f"ticket {n}", "billing", a) for n, a in enumerate(answers)])))
        assert "other case (3) and punctuation (2)" in category.observed

    def test_says_that_the_value_inside_is_wrong_too(self) -> None:
        rows = [
            *ROUTES[4:],
            ("refund please", "refunds", "refunds"),
            ("my invoice", "billing", "**refunds**"),
        ]
        category = only(describe(routed(rows)))
        assert category.name == "format violation"
        assert (
            'in 1 of them the value inside is another label too: answered "refunds" for "billing"'
            in category.observed
        )

    def test_names_the_rule_that_is_not_followed_or_its_absence(self) -> None:
        results = routed([("my invoice", "billing", "Sure! It is billing, I think.")])
        assert (
            "says nothing against prose around the value" in only(describe(results, prose="Sort it.")).cause
        )
        ruled = only(describe(results, prose="Sort it.\nAnswer with the queue only."))
        assert 'line 2 ("Answer with the queue only.") of the prompt touches on this' in ruled.cause

    def test_lists_the_labels_that_are_allowed(self) -> None:
        rows = [*ROUTES[4:], ("my invoice", "billing", "Billing!")]
        assert 'exactly one of "billing" and "technical"' in only(describe(routed(rows))).fix

    @pytest.mark.parametrize(
        ("answer", "sign"),
        [
            ('```json\n{"amount": 12}\n```', "a code fence around the value"),
            ('Here you go: {"amount": 12}', "prose around the JSON"),
            ("{'amount': 12}", "single quotes or Python words in the JSON"),
            ('{"amount": 12,}', "a trailing comma in the JSON"),
            ('{"amount": 12', "JSON that ends early"),
            ("The amount is twelve.", "no JSON at all"),
            ('{"amount" 12}', "broken JSON"),
        ],
    )
    @pytest.mark.parametrize("kind", ["JSONDecodeError", "json.decoder.JSONDecodeError", "ValueError"])
    def test_says_why_the_answer_could_not_be_parsed(self, answer: str, sign: str, kind: str) -> None:
        failure = raised(kind, "Expecting value: line 1 column 1 (char 0)")
        category = only(describe([result("test_fields", failure, call(answer, text="12 EUR"))]))
        assert category.name == "format violation"
        assert f"{sign} (1)" in category.observed
        compared_directly = only(describe([compared({"amount": 12}, answer)]))
        assert f"{sign} (1)" in compared_directly.observed
        assert 'one JSON object with the keys "amount"' in compared_directly.fix

    def test_a_parse_error_of_something_else_is_not_the_answers_fault(self) -> None:
        failure = raised("JSONDecodeError", "Expecting value: line 1 column 1 (char 0)")
        category = only(describe([result("test_fields", failure, call('{"amount": 12}'))]))
        assert category.name == "other failure"

    def test_a_number_was_wanted(self) -> None:
        failure = raised("ValueError", "invalid literal for int() with base 10: 'about 12'")
        assert "not a bare number (1)" in only(describe([result("t", failure, call("about 12"))])).observed

    def test_an_answer_without_the_fields_that_dspy_reads(self) -> None:
        failure = raised("dspy.utils.exceptions.AdapterParseError", "Adapter JSONAdapter failed to parse it.")
        category = only(describe([result("t", failure, call("I do not know."))]))
        assert category.name == "format violation"
        assert "no fields that DSPy can read (1)" in category.observed
        assert "every output field, laid out as DSPy's own part of the request says" in category.fix
        assert "JSON" not in category.fix

    def test_text_where_a_number_was_wanted(self) -> None:
        category = only(describe([compared({"amount": 12, "unit": "EUR"}, {"amount": "12", "unit": "eur"})]))
        assert category.name == "format violation"
        assert "another type or case at amount (1)" in category.observed

    def test_the_text_must_start_in_a_certain_way(self) -> None:
        message = (
            "assert False\n +  where False = <built-in method startswith of Completion object at 0x1>('Dear')"
        )
        results = [result("test_letter", raised("AssertionError", message), call("Hello"))]
        category = only(describe(results, prose="Write a letter."))
        assert category.name == "format violation"
        assert "a form that fails the check startswith() (1)" in category.observed
        assert "says nothing against a form that fails the check startswith()" in category.cause


class TestLength:
    def test_medians_of_what_was_expected_and_what_came(self) -> None:
        results = [compared("a line of six short words", "word " * count) for count in (20, 30, 90)]
        category = only(describe(results))
        assert category.name == "too verbose"
        assert category.observed == "3 of 3 failing cases: median 30 words where expected is 6"
        assert "5.0 times" in category.cause

    def test_too_terse(self) -> None:
        category = only(
            describe([compared("one two three four five six seven eight nine ten eleven", "one two")])
        )
        assert category.name == "too terse"

    @pytest.mark.parametrize(
        ("measure", "unit"),
        [(60, "words"), (299, "characters")],
    )
    def test_a_limit_that_the_test_sets(self, measure: int, unit: str) -> None:
        answer = " ".join(["word"] * 60)
        failure = constraint("<", f"{measure} < 50", measure)
        category = only(describe([result("test_short", failure, call(answer))], prose="Be brief.\n"))
        assert category.name == "too verbose"
        assert f"median {measure} {unit} where the limit is 50" in category.observed
        assert 'line 1 ("Be brief.") of the prompt speaks of length' in category.cause


class TestMissingInformation:
    def test_names_what_is_missing_most_often(self) -> None:
        needles = ["order number", "order number", "refund"]
        results = [
            result(
                f"test_reply[{n}]",
                constraint("in", f"'{needle}' in answer", "Thanks!"),
                call("Thanks!", ticket="a refund"),
            )
            for n, needle in enumerate(needles)
        ]
        category = only(describe(results, prose="Reply politely."))
        assert category.name == "missing information"
        assert 'missing most often "order number" (2) and "refund" (1)' in category.observed
        assert 'never asks for "order number"; inputs that hold it: 0 of 2' in category.cause

    def test_missing_and_emptied_keys(self) -> None:
        results = [compared({"name": "Ann", "tax": 3}, {"name": "Ann"}), compared({"tax": 3}, {"tax": None})]
        category = only(describe(results, prose='Give "name" and "tax".'))
        assert '"tax" (2)' in category.observed
        assert 'names "tax", yet it is left out of 2 answers' in category.cause

    @pytest.mark.parametrize("failure", [equal("billing", " "), constraint("!=", "answer != ''", "")])
    def test_an_empty_answer(self, failure: Failure) -> None:
        category = only(describe([result("t", failure, call(""))]))
        assert "the whole answer (it is empty) (1)" in category.observed

    def test_a_key_error_of_the_test(self) -> None:
        failure = raised("KeyError", "'amount'")
        category = only(describe([result("t", failure, call('{"total": 12}'))]))
        assert 'the key "amount" (1)' in category.observed

    def test_a_number_that_a_text_leaves_out(self) -> None:
        expected = "The order will arrive on the 14 of May with DHL as agreed before."
        category = only(
            describe([compared(expected, "The order will arrive with DHL as agreed before, on time.")])
        )
        assert category.name == "missing information"
        assert '"14" (1)' in category.observed

    def test_an_assertion_of_unittest(self) -> None:
        failure = raised("AssertionError", "'refund' not found in 'Thanks for writing'")
        assert (
            '"refund" (1)'
            in only(describe([result("T::test", failure, call("Thanks for writing"))])).observed
        )

    @pytest.mark.parametrize(
        "said",
        [
            r"Regex didn't match: '^\d+$' not found in 'hello'",
            "the model's 'refund' not found in 'hello'",
            "wrong: 'refund' != 'hello'",
        ],
    )
    def test_only_the_beginning_of_a_message_is_a_sentence_of_unittest(self, said: str) -> None:
        category = only(describe([result("T::test", raised("AssertionError", said), call("hello"))]))
        assert category.name == "other failure"


class TestWrongValue:
    def test_says_which_fields_and_how_often(self) -> None:
        results = [
            compared({"amount": 1200, "unit": "EUR"}, {"amount": "12.00", "unit": "EUR"}),
            compared({"amount": 900, "unit": "EUR"}, {"amount": 9, "unit": "USD"}),
        ]
        feedback = describe(results, prose="Give the amount.")
        category = only(feedback)
        assert category.name == "wrong value"
        assert '"amount" (2) and "unit" (1)' in category.observed
        assert feedback.failed[0].difference == ('at amount: expected 1200 but got "12.00"',)
        assert (
            'line 1 ("Give the amount.") of the prompt does not settle how "amount" is filled'
            in category.cause
        )
        assert "at amount: expected 900 but got 9" in category.fix

    def test_elements_of_a_list_fold_into_one_field(self) -> None:
        one = {"items": [{"price": 1}, {"price": 2}, {"price": 3}]}
        two = {"items": [{"price": 9}, {"price": 8}, {"price": 7}]}
        assert '"items[].price" (1)' in only(describe([compared(one, two)])).observed

    def test_a_score_below_its_limit(self) -> None:
        failures = [constraint(">=", f"{score} >= 0.7", score) for score in (0.1, 0.4, 0.5)]
        results = [result(f"t[{n}]", failure, call("text")) for n, failure in enumerate(failures)]
        category = only(describe(results))
        assert "a measure that must be >= 0.7 (3); measured 0.4 (median of 3)" in category.observed


class TestHallucinatedContent:
    def test_a_label_outside_the_known_set(self) -> None:
        rows = [
            *ROUTES[4:],
            *ROUTES[4:],
            ("parcel lost", "technical", "shipping"),
            ("late", "billing", "shipping"),
        ]
        category = only(describe(routed(rows), prose="Queues: billing, technical."))
        assert category.name == "hallucinated content"
        assert 'labels outside the known 2: "shipping" (2)' in category.observed
        assert "names 2 of the 2 known labels" in category.cause

    def test_a_value_that_the_test_does_not_allow(self) -> None:
        failure = constraint("in", "answer in ['billing', 'refunds']", "shipping")
        category = only(describe([result("t", failure, call("shipping"))]))
        assert (category.name, category.count) == ("hallucinated content", 1)
        assert '"shipping" (1)' in category.observed

    def test_facts_from_nowhere(self) -> None:
        summary = "The customer asks for help with a late parcel and wants an answer"
        answer = "The customer asks Miller for help with a late parcel and wants an answer within 48 hours"
        feedback = describe([compared(summary, answer, text="Where is my parcel? Please answer.")])
        assert only(feedback).name == "hallucinated content"
        assert '"Miller" (1) and "48" (1)' in only(feedback).observed
        told = describe([compared(summary, answer, text="Miller said 48 hours within which I get an answer")])
        assert only(told).name == "wrong value"

    def test_keys_that_nobody_asked_for(self) -> None:
        category = only(describe([compared({"a": 1}, {"a": 1, "note": "x"})]))
        assert category.name == "hallucinated content"
        assert '"note" (1)' in category.observed


class TestStopReasons:
    def test_truncated(self) -> None:
        results = [result("t", equal("a", "b " * 40), call("b " * 40, stop="max_tokens"))]
        category = only(describe(results))
        assert category.name == "truncated"
        assert "after 20 output tokens" in category.observed

    @pytest.mark.parametrize(
        "answer",
        [
            "I'm sorry, but I can't help with that.",
            "I’m sorry, I cannot assist with this request.",
            "Sorry, I can't provide medical advice.",
            "As an AI language model, I am not able to answer that.",
            "Unfortunately, I'm unable to discuss this topic.",
            "I must decline this request.",
            "I can't.",
        ],
    )
    def test_a_refusal_in_words(self, answer: str) -> None:
        category = only(
            describe([result("test_dose[a]", equal("200 mg", answer), call(answer, question="dose?"))])
        )
        assert category.name == "refusal"
        assert answer.split(".")[0] in category.observed
        assert "200 mg" in category.fix

    @pytest.mark.parametrize(
        "answer", ["I can't find your order 12.", "Sorry for the delay! It ships today.", "", "Sorry"]
    )
    def test_an_apology_is_no_refusal(self, answer: str) -> None:
        assert only(describe([result("t", equal("200 mg", answer), call(answer))])).name != "refusal"

    def test_a_refusal_by_stop_reason(self) -> None:
        assert only(describe([result("t", equal("a", ""), call("", stop="refusal"))])).name == "refusal"

    @pytest.mark.parametrize(
        ("name", "failure"),
        [
            ("test_refuses_dosage", raised("AssertionError", "assert False")),
            ("test_dosage", equal("I can't help with that.", "I cannot assist with this.")),
            ("test_dosage", constraint("in", "'I cannot help' in answer")),
        ],
    )
    def test_a_test_that_wants_a_refusal_gets_no_refusal_category(self, name: str, failure: Failure) -> None:
        answer = "I cannot assist with this."
        assert only(describe([result(name, failure, call(answer))])).name != "refusal"


class TestOtherFailures:
    def test_content_that_the_test_forbids(self) -> None:
        failure = constraint("not in", "'As an AI' not in answer", "As an AI I think so")
        category = only(describe([result("t", failure, call("As an AI I think so"))]))
        assert (category.name, '"As an AI" (1)' in category.observed) == ("forbidden content", True)

    @pytest.mark.parametrize(
        ("failure", "answer"),
        [
            (constraint("!=", "answer != 'see order'", "See order"), "see order"),
            (constraint("!=", "answer['queue'] != 'see order'", "see order"), '{"queue": "see order"}'),
            (constraint("not in", "answer not in ('see order', 'x')", "see order"), "see order"),
            (constraint("is not", "answer is not Queue.ORDER", "see order"), "see order"),
        ],
    )
    def test_an_answer_that_the_test_forbids(self, failure: Failure, answer: str) -> None:
        category = only(describe([result("t", failure, call(answer))]))
        assert category.name == "forbidden content"
        assert category.fix.casefold() == 'rule out by name: "see order"'

    @pytest.mark.parametrize(
        "failure",
        [
            constraint("is not", r"re.search('ORD-\\d+', answer) is not None"),
            constraint("is not", "answer.json().get('total') is not None"),
            constraint("!=", "answer.find('refund') != -1", -1),
            constraint("!=", "len(answer) != 0", 0),
            constraint("!=", "('order' in answer) != True", True),
            constraint("!=", "answer.json() != []", []),
            constraint("not in", "5 not in answer.json()", [1, 5]),
            constraint("!=", "type(answer).__name__ != 'dict'", "dict"),
        ],
    )
    def test_what_is_no_text_of_the_answer_is_not_told_as_forbidden(self, failure: Failure) -> None:
        feedback = describe([result("t", failure, call("see order"))])
        assert only(feedback).name == "wrong value"
        assert f"must hold: {failure.constraint}" in only(feedback).fix
        assert "rule out" not in only(feedback).fix
        assert f"must hold: {failure.constraint}" in feedback.failed[0].difference

    @pytest.mark.parametrize("negated", [True, False])
    def test_without_a_source_a_form_is_not_told_as_its_opposite(self, negated: bool) -> None:
        said = f"assert {'not True' if negated else 'False'}\n +  where <built-in method startswith>('a')"
        category = only(describe([result("t", raised("AssertionError", said), call("a"))]))
        assert category.name == ("other failure" if negated else "format violation")

    def test_an_exception_names_its_kind_and_place(self) -> None:
        failure = raised("ZeroDivisionError", "division by zero")
        category = only(describe([result("t", failure, call("x"))]))
        assert category.name == "other failure"
        assert "ZeroDivisionError: division by zero (1)" in category.observed
        assert "tests/test_support.py:9" in category.cause

    def test_checks_without_operands_fold_whatever_their_arguments(self) -> None:
        messages = [f"assert False\n +  where False = is_polite('text {n}')" for n in range(3)]
        results = [result(f"t[{n}]", raised("AssertionError", m), call(m)) for n, m in enumerate(messages)]
        assert "AssertionError: assert is_polite(…) (3)" in only(describe(results)).observed


class TestFailedCase:
    def test_shows_what_went_in_and_what_came_out(self) -> None:
        case = describe(routed(ROUTES[:1]), prompt=PROMPT).failed[0]
        assert case.case == "tests/test_support.py::test_routing[0]"
        assert case.inputs == {"ticket": "my card was charged twice"}
        assert (case.expected, case.actual) == ("billing", "refunds")
        assert case.difference == ('expected "billing" but got "refunds"',)

    def test_structures_are_compact_json(self) -> None:
        case = describe([compared({"a": [1, None]}, '{"a": [1, 2]}')]).failed[0]
        assert (case.expected, case.actual) == ('{"a": [1, null]}', '{"a": [1, 2]}')
        assert case.difference == ("at a[1]: expected null but got 2",)

    def test_a_constraint_has_no_expected_value(self) -> None:
        failure = constraint("<", "523 < 200", 523)
        case = describe([result("t", failure, call("long " * 9))]).failed[0]
        assert case.expected is None
        assert case.actual == "long " * 9
        assert case.difference[:2] == ("must hold: 523 < 200", "was: 523")

    def test_a_part_of_the_answer_is_shown_with_the_whole(self) -> None:
        case = describe([compared(5, 7, answer="five and two")]).failed[0]
        assert case.difference == ("expected 5 but got 7", 'the whole answer: "five and two"')

    @pytest.mark.parametrize(
        ("answer", "shown"),
        [
            ('{"b": [1],\n "a": 2}', ""),
            ('```json\n{"a": 2, "b": [1]}\n```', '```json\n{"a": 2, "b": [1]}\n```'),
            ('{"a": 2, "b": [true]}', '{"a": 2, "b": [true]}'),
        ],
    )
    def test_an_answer_that_is_the_compared_json_in_other_words_is_not_shown_again(
        self, answer: str, shown: str
    ) -> None:
        failed = describe([compared({"a": 1}, {"a": 2, "b": [1]}, answer=answer)]).failed[0]
        assert failed.answer == shown

    def test_of_a_pipeline_the_prompt_in_question_gives_the_inputs(self) -> None:
        plan = call("1. sum", prompt="plan.md", task="add")
        code = call("a - b", prompt="code.md", plan="1. sum")
        results = [result("t", equal("a + b", "a - b"), plan, code)]
        feedback = describe(results, prompt="plan.md").failed[0]
        assert feedback.inputs == {"task": "add"}
        assert 'this prompt\'s own answer, before the last call: "1. sum"' in feedback.difference
        assert describe(results).failed[0].inputs == {"task": "add", "plan": "1. sum"}

    def test_a_variable_with_several_values_says_which_call(self) -> None:
        results = [result("t", equal("x", "y"), call("a", ticket="one"), call("y", ticket="two"))]
        assert describe(results).failed[0].inputs == {"ticket": "one", "ticket (call 2)": "two"}

    def test_an_unstable_case_says_so(self) -> None:
        case = Case("t", (PROMPT,), Split.TRAIN, samples=3)
        good, bad = outcome("t", None, call("a")), outcome("t", equal("a", "b"), call("b"))
        feedback = describe([CaseResult(case, (good, bad, good))])
        assert "failed in 1 of 3 samples" in feedback.failed[0].difference

    def test_huge_texts_are_cut_and_say_so(self) -> None:
        case = describe([compared("a" * 100_000, "b" * 100_000, text="c" * 100_000)]).failed[0]
        for text in (case.expected or "", case.actual, case.inputs["text"]):
            assert "96,000 characters left out" in text
        assert sum(map(len, case.difference)) < 5_000


class TestTheWhole:
    def test_errored_and_skipped_cases_are_no_evidence(self) -> None:
        case = Case("t", (PROMPT,), Split.TRAIN)
        errored = CaseResult(case, (Outcome("t", Status.ERRORED, 0.0, error="timeout"),))
        skipped = CaseResult(case, (Outcome("t", Status.SKIPPED, 0.0),))
        feedback = describe([errored, skipped, *routed(ROUTES[:1]), *routed(ROUTES[4:5])])
        assert (feedback.total, feedback.failing, feedback.errored) == (2, 1, 1)

    def test_nothing_failed(self) -> None:
        assert describe(routed(ROUTES[4:])) == Feedback(3, 0, 0, (), ())

    def test_the_most_frequent_category_comes_first(self) -> None:
        rows = [("x", "billing", "Billing."), *ROUTES]
        feedback = describe(routed(rows))
        assert [(c.name, c.count) for c in feedback.categories] == [
            ("boundary confusion", 4),
            ("format violation", 1),
        ]

    def test_examples_differ_in_what_is_wrong(self) -> None:
        rows = [("a", "billing", "Billing")] * 5 + [
            ("b", "billing", "'billing'"),
            ("c", "billing", "*billing*"),
        ]
        examples = only(describe(routed(rows))).examples
        assert examples == tuple(f"tests/test_support.py::test_routing[{n}]" for n in (0, 5, 6))

    def test_a_hook_may_name_the_category(self) -> None:
        def tone(case: FailedCase) -> str | None:
            return (
                "wrong tone"
                if case.category == "boundary confusion" and "twice" in case.inputs["ticket"]
                else None
            )

        feedback = describe(routed(ROUTES), custom=tone)
        assert {c.name: c.count for c in feedback.categories} == {"boundary confusion": 3, "wrong tone": 1}
        assert 'expected "billing" but got "refunds" (1)' in feedback.categories[1].observed

    @pytest.mark.parametrize("wrong", ["", "  ", 7])
    def test_a_hook_that_answers_nonsense_is_told(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="must return a name or None"):
            describe(routed(ROUTES[:1]), custom=lambda case: wrong)

    @pytest.mark.parametrize(
        "name", ["format violation", "too verbose", "refusal", "truncated", "wrong value"]
    )
    def test_a_hook_may_use_a_built_in_name_for_any_case(self, name: str) -> None:
        failure = raised("AssertionError", "assert False")
        results = [result("t", failure, call("x")), result("u", failure)]
        assert only(describe(results, custom=lambda case: name)).name == name

    def test_without_any_call_or_message(self) -> None:
        category = only(describe([result("t", Failure("AssertionError", "", ""))]))
        assert category.name == "other failure"
        assert "no message" in category.observed


def test_every_category_speaks_of_its_own_cases() -> None:
    """No sentence is canned: other data, other words."""
    variables: Mapping[str, str] = {"ticket": "zebra stripes"}
    first = describe([compared({"alpha": 1}, {"alpha": 2}, **variables)], prose="Say alpha.")
    second = describe([compared({"beta": "x"}, {"beta": "y"}, **variables)], prose="Say beta.")
    for one, two in zip(first.categories, second.categories, strict=True):
        assert one.name == two.name
        assert one.observed != two.observed
        assert one.cause != two.cause
        assert one.fix != two.fix


class TestWhatIsKnown:
    """Advice says no more than is known of the cases and of the prompt."""

    def labelled(self, number: int, label: object, answer: str) -> CaseResult:
        """A passing case of `ROUTES`' test that was compared with `label`, or with nobody knows what."""
        name = f"tests/test_support.py::test_routing[passing {number}]"
        passed = Outcome(name, Status.PASSED, 1.0, calls=(call(answer, ticket="x"),), expected=label)
        return CaseResult(Case(name, (PROMPT,), Split.TRAIN), (passed,))

    def test_a_label_is_what_a_passing_case_expects_and_not_its_answer(self) -> None:
        rows = [("a", "negative", "The review is positive"), ("b", "positive", "positive!")]
        passing = [self.labelled(number, "positive", "Positive.") for number in range(3)]
        feedback = describe([*routed(rows), *passing])
        assert all("Positive." not in category.fix for category in feedback.categories)
        assert any('exactly one of "negative" and "positive"' in each.fix for each in feedback.categories)

    def test_no_answer_is_called_invented_while_some_cases_expect_nobody_knows_what(self) -> None:
        rows = [(f"ticket {n}", label, "account") for n, label in enumerate(["delivery", "returns"] * 3)]
        unknown = [self.labelled(number, None, "") for number in range(4)]
        known = [self.labelled(number, "account", "account") for number in range(4)]
        for category in describe([*routed(rows), *unknown]).categories:
            assert category.name == "wrong value"
            assert "never" not in category.fix
        assert only(describe([*routed(rows), *known])).name == "boundary confusion"
        assert only(describe([*routed(rows), *routed(rows)])).name == "hallucinated content"

    def test_what_every_case_puts_into_the_prompt_is_part_of_it(self) -> None:
        rows = [("a", "billing", "refunds"), ("b", "refunds", "billing")] * 2
        results = [
            result(f"test_it[{n}]", equal(wanted, got), call(got, ticket=ticket, labels="billing, refunds"))
            for n, (ticket, wanted, got) in enumerate(rows)
        ]
        cause = only(describe(results, prose="Sort {{ ticket }} as one of {{ labels }}.")).cause
        assert 'the variable labels ("billing, refunds") names both' in cause

    def test_what_an_application_puts_into_a_prompt_is_not_missing_from_it(self) -> None:
        rows = [("billing", "refunds"), ("refunds", "billing")] * 2
        results = [result(f"test_it[{n}]", equal(*row)) for n, row in enumerate(rows)]
        assert "does not name" not in only(describe(results, prose="One of {labels}.")).cause
        assert "does not name" in only(describe(results, prose="One word.")).cause

    def test_the_answer_that_was_compared_is_the_one_that_is_searched(self) -> None:
        failure = constraint("in", "'refund' in answer", "we can help")
        found = result("test_it", failure, call("we can help", q="a"), call("the Refund comes", q="b"))
        feedback = describe([found])
        assert only(feedback).name == "missing information"
        assert feedback.failed[0].actual == "we can help"

    def test_one_of_several_texts_is_missing(self) -> None:
        failure = constraint("or", "'refund' in answer or 'money' in answer", "Hello")
        assert 'one of "refund", "money"' in only(describe([result("t", failure, call("Hello"))])).observed

    @pytest.mark.parametrize(
        ("operator", "words", "category"),
        [("<", "len(answer) < 5", "too verbose"), (">", "len(answer) > 5", "too terse")],
    )
    def test_a_bound_is_read_in_its_direction(self, operator: str, words: str, category: str) -> None:
        found = result("test_it", constraint(operator, words, 5), call("abcde"))
        assert only(describe([found])).name == category

    def test_an_error_before_the_comparison_hides_no_expected_value(self) -> None:
        failed = outcome(
            "t", raised("ValueError", "the completion is not JSON: 'Sure!'"), call("Sure!", x="a")
        )
        name = Case("t", (PROMPT,), Split.TRAIN)
        feedback = describe([CaseResult(name, (replace(failed, expected={"amount": 5}),))])
        assert feedback.failed[0].expected == '{"amount": 5}'
        assert "'Sure!'" not in feedback.failed[0].message
        assert 'one JSON object with the keys "amount"' in only(feedback).fix

    def test_an_assert_without_values_is_told_by_its_source(self) -> None:
        failure = replace(raised("AssertionError", ""), check="assert is_polite(answer)", hint="say more")
        feedback = describe([result("t", failure, call("Go away"))])
        assert feedback.failed[0].message == "assert is_polite(answer)"
        assert "assert is_polite(answer)" in only(feedback).observed
        assert feedback.notes == ("say more",)

    def test_a_check_is_said_as_what_must_hold(self) -> None:
        failure = Failure("AssertionError", "assert False", "t.py:1", constraint="not is_rude(answer)")
        assert only(describe([result("t", failure, call("No"))])).fix.startswith(
            "have answers for which this holds: not is_rude(answer)"
        )

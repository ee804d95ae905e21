"""The embedded model as a target reads the prompt and answers by it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.models.demo import DemoModel
from pytest_promptopt.models.demo.reading import input_start, read_instructions, split
from pytest_promptopt.models.demo.target import answer as answer_to
from pytest_promptopt.models.demo.words import stem, stems
from pytest_promptopt.records import Message, Request
from tests.feedback import answer, ask

ROUTE = """Route the ticket.
- billing: invoice, charged, payment method
- delivery: parcel, tracking number
Answer with the label only.

Ticket: {{ ticket }}"""


def test_an_answer_is_free_counted_and_complete() -> None:
    request = Request("demo", (Message("user", "Summarize.\n\nText: A short story."),))

    said = asyncio.run(DemoModel().complete(request))

    assert (said.model, said.stop_reason, said.cost) == ("demo", "end_turn", 0.0)
    assert said.usage is not None
    assert said.usage.input_tokens == 8  # 32 characters
    assert said.usage.output_tokens == -(-len(said.text) // 4)
    assert said.latency >= 0


def test_a_conversation_without_a_turn_gets_an_answer_too() -> None:
    assert asyncio.run(DemoModel().complete(Request("demo", ()))).stop_reason == "end_turn"


def test_cue_words_of_the_prompt_decide() -> None:
    assert answer(ROUTE, ticket="The parcel has not come.") == "delivery"
    assert answer(ROUTE, ticket="You charged me twice.") == "billing"


def test_inflected_words_are_the_same_cue() -> None:
    assert answer(ROUTE, ticket="Two parcels are missing") == "delivery"
    assert stem("refunded") == stem("refunds") == stem("refunding") == stem("refund")
    assert stem("charge") == stem("charged") == stem("charging")


def test_a_phrase_outweighs_a_word_and_an_early_cue_a_late_one() -> None:
    assert answer(ROUTE, ticket="The tracking number is on the invoice") == "delivery"
    prompt = "One of: a1, b1. Answer with one word.\n- a1: red, blue\n- b1: blue, red\n\nText: {{ t }}"
    assert answer(prompt, t="It is blue") == "b1"
    assert answer(prompt, t="It is red") == "a1"


def test_without_a_format_rule_the_answer_is_chatty() -> None:
    loose = ROUTE.replace("Answer with the label only.\n", "")

    assert answer(loose, ticket="Where is my parcel?") == "I would route this to: delivery."


@pytest.mark.parametrize(
    "rule",
    [
        "Answer with the label only.",
        "Reply with just the label.",
        "Output the name of the queue, nothing else.",
        "Answer with one word.",
    ],
)
def test_format_rules_in_many_words(rule: str) -> None:
    assert answer(ROUTE.replace("Answer with the label only.", rule), ticket="parcel") == "delivery"


@pytest.mark.parametrize(
    "listing",
    [
        "Choose one of: billing, delivery, sales.",
        "Choose one of the following queues: `billing`, `delivery` or `sales`.",
        "Is it about billing, delivery, or sales?",
        "Classify it into billing, delivery and sales.",
        "Queues:\n- billing\n- delivery\n- sales",
        "Labels:\n1. billing\n2. delivery\n3. sales",
        "The labels are 'billing',\n'delivery', 'sales'.",
    ],
)
def test_label_lists_in_many_forms(listing: str) -> None:
    reading = read_instructions(f"Read the ticket. {listing}\nAnswer with the label only.\n\nTicket: ")

    assert [label.name for label in reading.labels] == ["billing", "delivery", "sales"]


def test_a_label_name_is_a_cue_of_its_own() -> None:
    prompt = "One of: card_lost, pin_blocked. Answer with the label only.\n\nMessage: {{ m }}"

    assert answer(prompt, m="My PIN is blocked") == "pin_blocked"


def test_without_a_cue_the_first_label_or_the_stated_default_is_answered() -> None:
    assert answer(ROUTE, ticket="Hello?") == "billing"
    stated = ROUTE.replace("Answer with", "If in doubt, answer delivery.\nAnswer with")
    assert answer(stated, ticket="Hello?") == "delivery"


def test_an_explicit_rule_beats_cues() -> None:
    ruled = ROUTE.replace("Answer with", 'If the ticket mentions "customs", choose delivery.\nAnswer with')

    assert answer(ruled, ticket="The invoice and the payment method for customs") == "delivery"
    assert answer(ROUTE, ticket="The invoice and the payment method for customs") == "billing"


def test_prose_with_commas_is_no_label_list() -> None:
    assert read_instructions("Be concise, polite, and helpful.\n\nText: ").labels == ()


@pytest.mark.parametrize(
    "template",
    [
        "Ticket: {}",
        "Ticket:\n{}\n\nQueue:",
        "Customer message: {}\nQueue:",
        "<ticket>\n{}\n</ticket>",
        "<ticket>{}</ticket>\n\nAnswer with the label only.",
        '"""\n{}\n"""',
        "```\n{}\n```",
        "Ticket: {}\n\nAnswer with the label only.",
    ],
)
@pytest.mark.parametrize(
    "text", ["Where is it?", "Two\n\nparagraphs <b>here</b>", "Date: today\n- billing: no"]
)
def test_the_input_is_found_in_many_templates(template: str, text: str) -> None:
    instructions, found = split("Route it.\n- billing: invoice\n\n" + template.format(text))

    assert found == text
    frame = "Route it.\n- billing: invoice\n\n" + template.format("")
    assert instructions.split() == frame.split()


def test_solved_examples_are_no_input() -> None:
    prompt = "Route it.\n\nTicket: an invoice\nQueue: billing\n\nTicket: a parcel\nQueue:"

    assert split(prompt)[1] == "a parcel"


@given(st.text(), st.text())
def test_any_conversation_gets_an_answer(first: str, second: str) -> None:
    asked = (Message("system", first), Message("user", second))

    assert answer_to(asked) == answer_to(asked)
    assert isinstance(ask(Message("user", f"- a: {first}\n- b: {second}\n\nText: {second}{first}")), str)


@given(st.text())
def test_nothing_of_a_message_is_lost_when_it_is_split(text: str) -> None:
    instructions, found = split(text)

    assert found in text
    assert len(instructions) + len(found) >= len(text.strip()) - text.count("\n") - text.count(" ")


def test_instructions_may_stand_in_a_system_message() -> None:
    system = Message("system", ROUTE.partition("\n\nTicket")[0])

    assert ask(system, Message("user", "You charged me.\n\nBest wishes")) == "billing"


def test_new_lines_go_before_the_block_that_holds_the_input() -> None:
    assert ROUTE[input_start(ROUTE) :] == "Ticket: {{ ticket }}"
    tagged = "Route it.\n\n<ticket>\n{{ ticket }}\n</ticket>\n\nQueue:"
    assert tagged[input_start(tagged) :].startswith("<ticket>")
    assert input_start("no variable") == len("no variable")


def test_a_schema_asks_for_its_properties_and_nothing_else() -> None:
    schema = {"type": "object", "properties": {"email": {"type": "string"}, "guests": {"type": "integer"}}}

    said = ask(Message("user", "Read it.\n\nText: 4 guests, ann@example.org"), response_schema=schema)

    assert json.loads(said) == {"email": "ann@example.org", "guests": 4}


def test_phrases_are_compared_as_whole_words() -> None:
    assert " ship " in stems("We ship it")
    assert " ship " not in stems("relationship")


def test_a_long_prompt_is_read_once_and_answered_fast() -> None:
    names = [f"label{chr(97 + n)}" for n in range(20)]
    lines = [f"- {name}: {', '.join(f'cue{name}{n} word' for n in range(7))}" for name in names]
    prompt = "\n".join([*lines, "Answer with the label only.", "", "Ticket: "])
    messages = [
        (Message("user", f"{prompt}please find case {n} of cuelabelk{n % 7} word"),) for n in range(50)
    ]
    answer_to(messages[0])

    started = time.perf_counter()
    answers = {answer_to(message) for message in messages}
    elapsed = (time.perf_counter() - started) / len(messages)

    assert answers == {"labelk"}
    assert len(prompt) > 2_000
    assert elapsed < 0.005  # ten times what it takes: this guards the cached reading, not the machine


@pytest.mark.parametrize(
    ("rule", "said"), [("Answer with the code only.", "{}"), ("", "Here is the code:\n\n```\n{}\n```")]
)
def test_where_each_line_has_code_the_code_is_the_answer(rule: str, said: str) -> None:
    prompt = f"""Write the code for the request.

- total: `sum(values)`
- largest: `max(values, key=len)`

{rule}

Request: {{{{ request }}}}"""

    assert answer(prompt, request="The largest, please.") == said.format("max(values, key=len)")
    assert answer(prompt.replace("`sum(values)`", "add"), request="The total.").rstrip(".")[-5:] == "total"

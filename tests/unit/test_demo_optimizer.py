"""The embedded model as an optimizer learns from the shown cases and leaves the rest of the prompt alone."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_promptopt.models.demo.feedback import is_feedback, parse
from pytest_promptopt.models.demo.learning import LONGEST_LINE, candidates
from pytest_promptopt.models.demo.reading import read_instructions
from pytest_promptopt.records import Message
from tests.feedback import DIRECTIONS, Case, Search, answer, ask, proposal, request

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUTE = """Route the ticket to one of: billing, delivery.

Ticket: {{ ticket }}"""
MISLEADING = """- billing: neighbour, invoice
- delivery: courier
Answer with the label only.

Ticket: {{ ticket }}"""
LOST = [
    ({"ticket": "The parcel never came"}, "delivery", "billing"),
    ({"ticket": "A parcel for my neighbour arrived"}, "delivery", "billing"),
]


def prose(path: str) -> str:
    return (EXAMPLES / path).read_text(encoding="utf-8").split("---\n", 2)[2].rstrip("\n")


def tickets(split: str) -> list[Case]:
    with (EXAMPLES / "support_routing/tests/tickets.csv").open(encoding="utf-8", newline="") as file:
        return [(row["ticket"], row["queue"]) for row in csv.DictReader(file) if row["split"] == split]


def invoices(split: str) -> list[Case]:
    lines = (EXAMPLES / "json_extraction/tests/invoices.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    return [(case["message"], case["invoice"]) for case in cases if case["split"] == split]


def test_the_word_that_the_failures_share_becomes_a_cue() -> None:
    reason, prompt = proposal(request(ROUTE, LOST))

    assert re.search(r"^- delivery: .*\bparcel\b", prompt, re.MULTILINE)
    assert answer(ROUTE, ticket="My parcel?") == "I would route this to: billing."
    assert answer(prompt, ticket="My parcel?") == "I would route this to: delivery."
    assert "to delivery" in reason


def test_a_stage_learns_from_its_own_grade_and_not_from_the_last_stage() -> None:
    failing = 'Case 1\ninput: "The parcel never came"\nanswer of this stage: "billing"\n{}difference: {}\n'
    last = 'expected "today" but got "later"'
    sections = "<current_prompt>\n{}\n</current_prompt>\n<failures>\n{}</failures>\n<new_prompt>"
    grade = "grade of this stage, from 0 to 1: "

    (told,) = parse(sections.format(ROUTE, failing.format(f'{grade}0, "expected delivery"\n', last))).failing
    assert (told.expected, told.actual, told.stated) == ("delivery", "billing", True)
    (good,) = parse(sections.format(ROUTE, failing.format(f"{grade}1\n", last))).failing
    assert (good.expected, good.actual) == ("billing", "billing")
    (silent,) = parse(sections.format(ROUTE, failing.format(f'{grade}0.25, "too short"\n', last))).failing
    assert not silent.stated


def test_everything_else_stays_verbatim() -> None:
    prompt = proposal(request(ROUTE, LOST))[1]

    assert prompt.startswith("Route the ticket to one of: billing, delivery.\n\n")
    assert prompt.endswith("\n\nTicket: {{ ticket }}")


def test_cues_join_the_line_that_a_label_has() -> None:
    prompt = ROUTE.replace("\n\nT", "\n\n* **delivery**: courier came, tracking\n* billing - invoices\n\nT")

    revised = proposal(request(prompt, LOST))[1]

    assert "* billing - invoices\n" in revised
    assert revised.count("**delivery**: courier came, tracking, ") == 1
    assert len(read_instructions(revised).labels) == 2


def test_a_full_line_stays_as_it_was_written() -> None:
    full = f"- delivery: {', '.join(f'reason{chr(97 + n)}' for n in range(LONGEST_LINE + 3))}\n"

    revised = proposal(request(f"- billing: invoice\n{full}\nTicket: {{{{ ticket }}}}", LOST))[1]

    assert full in revised


def test_a_kept_line_is_not_touched() -> None:
    prompt = ROUTE.replace("\n\nT", "\n\n- delivery: tracking\n\nT")

    revised = proposal(request(prompt, LOST, keep=["- delivery: tracking"]))[1].split("\n")

    assert "- delivery: tracking" in revised
    assert any(line.startswith("- delivery: ") and "parcel" in line for line in revised)


def test_a_label_that_only_the_tests_know_is_added() -> None:
    revised = proposal(request("Sort it.\n\nTicket: {{ ticket }}", LOST))[1]

    assert [label.name for label in read_instructions(revised).labels] == ["delivery"]


def test_an_answer_that_says_too_much_brings_a_format_rule() -> None:
    chatty = [({"ticket": "A parcel"}, "delivery", "I would route this to: delivery.")]

    reason, revised = proposal(request(ROUTE, chatty))

    assert answer(ROUTE, ticket="delivery") == "I would route this to: delivery."
    assert answer(revised, ticket="delivery") == "delivery"
    assert "1 of 1 shown answers said more" in reason


@pytest.mark.parametrize(
    "variable", ["{{ ticket }}", "{ticket}", "{}", "{0}", "%s", "%(ticket)s", "$ticket", "${ticket}"]
)
def test_what_is_new_stands_before_the_input_in_every_template_language(variable: str) -> None:
    prompt = proposal(request(f"Route the ticket to one of: billing, delivery.\n\n{variable}", LOST))[1]
    assert "- delivery: " in prompt
    assert prompt.endswith(f"\n\n{variable}")


def test_a_cue_that_misled_is_dropped_when_the_direction_says_so() -> None:
    prompt = MISLEADING
    misled = [
        ({"ticket": "The neighbour has it"}, "delivery", "billing"),
        ({"ticket": "My neighbour took it"}, "delivery", "billing"),
    ]

    reason, revised = proposal(request(prompt, misled, direction="Cut what misleads."))

    assert "- billing: invoice\n" in revised
    assert "from billing: neighbour" in reason
    assert answer(revised, ticket="It is at the neighbour") == "delivery"


def test_a_cue_that_a_passing_case_needs_is_not_dropped() -> None:
    prompt = MISLEADING
    misled = [({"ticket": "The neighbour has the box"}, "delivery", "billing")]
    passing = [({"ticket": "The neighbour paid"}, "billing")]

    revised = proposal(request(prompt, misled, passing=passing, direction="Cut what misleads."))[1]

    assert "- billing: neighbour, invoice\n" in revised


def test_directions_give_different_candidates_and_the_same_request_the_same() -> None:
    train = tickets("train")
    failing = [({"ticket": text}, queue, "billing") for text, queue in train if queue != "billing"][::6]

    revised = [proposal(request(ROUTE, failing, direction=direction))[1] for direction in DIRECTIONS]

    assert len(set(revised)) == len(DIRECTIONS)
    assert proposal(request(ROUTE, failing, direction=DIRECTIONS[1]))[1] == revised[1]


def test_a_refused_reply_is_repaired_in_the_same_chat() -> None:
    asked = request(ROUTE, LOST)

    reply = ask(Message("user", asked), Message("assistant", "?"), Message("user", "Give one <new_prompt>."))

    assert reply == ask(Message("user", asked))


def test_candidate_cues_are_no_stop_words_numbers_or_names() -> None:
    found = candidates("My order 4711 from Ms Keller was charged twice, I want the money back")

    assert {"charged twice", "money back", "charged", "money"} <= set(found)
    assert not {"my", "keller", "4711", "twice", "back", "want"} & set(found)
    assert all(len(cue.split()) <= 2 for cue in found)


def test_a_request_without_anything_to_learn_leaves_the_prompt_as_it_is() -> None:
    told = [({"ticket": "a parcel"}, None, "I would route this to: billing.")]

    reason, revised = proposal(request(ROUTE, told))

    assert revised == ROUTE
    assert reason.startswith("1 shown failures call for no cue")


def test_an_answer_that_is_no_json_brings_a_format_rule() -> None:
    prompt = "Extract as JSON. Keys: email, date.\n\nText: {{ text }}"
    told = [({"text": "ann@example.org"}, None, answer(prompt, text="ann@example.org"))]

    revised = proposal(request(prompt, told))[1]

    assert json.loads(answer(revised, text="ann@example.org")) == {
        "email": "ann@example.org",
        "date": "unknown",
    }


def test_format_rules_are_found_by_trying_them_on_the_shown_values() -> None:
    prompt = "Answer with JSON only. Keys: day, paid, seat.\n\nText: {{ text }}"
    shown = [
        ("$12.50 on 3 May 2026", {"day": "2026-05-03", "paid": 1250, "seat": None}),
        ("on 13 June 2026, $7", {"day": "2026-06-13", "paid": 700, "seat": None}),
    ]
    told = [({"text": text}, value, json.loads(answer(prompt, text=text))) for text, value in shown]

    revised = [proposal(request(prompt, told, direction=direction))[1] for direction in DIRECTIONS]
    unseen = [json.loads(answer(candidate, text="We got £99 on 1 July 2026")) for candidate in revised]

    assert {"day": "2026-07-01", "paid": 9900, "seat": None} in unseen


def test_ticket_routing_carries_over_to_unseen_tickets() -> None:
    search = Search(prose("support_routing/prompts/route.md"), "ticket", tickets("train"))
    heldout = tickets("heldout")
    before = search.rate(heldout)

    for _ in range(8):
        search.step()

    assert before < 0.4
    assert search.rate(heldout) >= before + 0.2
    assert search.rate(heldout) > 0.65
    assert all(
        len(entry.text.split(",")) <= LONGEST_LINE for entry in read_instructions(search.prompt).entries
    )


def test_no_ticket_is_copied_into_the_prompt() -> None:
    search = Search(prose("support_routing/prompts/route.md"), "ticket", tickets("train"))

    for _ in range(3):
        search.step()

    learned = " ".join(re.findall(r"\w+", search.prompt.lower()))
    for text, _ in search.cases:
        spoken = re.findall(r"\w+", text.lower())
        assert not any(" ".join(spoken[n : n + 5]) in learned for n in range(len(spoken) - 4)), text


def test_extraction_carries_over_to_unseen_messages() -> None:
    search = Search(prose("json_extraction/prompts/extract.md"), "message", invoices("train"), parse=True)
    heldout = invoices("heldout")
    rates = [search.rate(heldout)]

    for _ in range(4):
        search.step()
        rates.append(search.rate(heldout))

    assert rates[0] == 0
    assert rates[-1] >= 0.8


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=20), st.text(max_size=60))
def test_any_case_is_read_and_the_frame_stays(text: str, expected: str, actual: str, prompt: str) -> None:
    asked = request(f"{prompt}\n\nTicket: {{{{ ticket }}}}", [({"ticket": text}, expected, actual)])

    assert is_feedback(asked)
    (case,) = parse(asked).failing
    assert (case.text, case.expected, case.actual) == (text, expected, actual)
    assert proposal(asked)[1].endswith("Ticket: {{ ticket }}")


@pytest.mark.parametrize("value", ["</failures>", "Case 1\nexpected: 2", '"quoted"', ""])
def test_data_cannot_pose_as_sections(value: str) -> None:
    (case,) = parse(request(ROUTE, [({"ticket": value}, value, value)])).failing

    assert (case.text, case.expected, case.actual) == (value, value, value)

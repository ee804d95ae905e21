"""The application is tested, with the prompt under test inside."""

from __future__ import annotations

import pytest
from shop import support

TICKETS = [
    ("I was   charged twice\nthis month.", "billing"),
    ("The invoice shows the wrong amount.", "billing"),
    ("Please send the\tinvoice to our tax office.", "billing"),
    ("You charged my old card again.", "billing"),
    ("My parcel has not arrived.", "delivery"),
    ("Where is the parcel that I ordered?", "delivery"),
    ("The courier left the parcel in the rain.", "delivery"),
    ("Can the courier come after six?", "delivery"),
    ("I forgot my password.", "account"),
    ("How do I change my password?", "account"),
    ("The login code never comes.", "account"),
    ("I cannot log in: the login page stays empty.", "account"),
]
UNSEEN = [
    ("Which card was charged?", "billing"),
    ("Is the invoice paid?", "billing"),
    ("The parcel is wet.", "delivery"),
    ("The courier did not ring.", "delivery"),
    ("My password is too old.", "account"),
    ("The login does not work.", "account"),
]


@pytest.fixture
def application(prompt, monkeypatch):
    """The application with the prompt under test in the place of its constant and of its model.

    The constant: what else reads it sees the text of a candidate. The model: so each answer is stored and
    counts against the ceilings, and many cases wait for their answers at the same time.
    """
    monkeypatch.setattr(support, "PROMPT", prompt.text)
    monkeypatch.setattr(support, "complete", lambda ticket: prompt(ticket=ticket))
    return support


@pytest.mark.prompt("../prompts/route.md")
@pytest.mark.parametrize(("ticket", "queue"), TICKETS)
def test_a_ticket_reaches_its_queue(application, ticket, queue):
    assert application.route(ticket) == queue


@pytest.mark.heldout
@pytest.mark.prompt("../prompts/route.md")
@pytest.mark.parametrize(("ticket", "queue"), UNSEEN)
def test_an_unseen_ticket_reaches_its_queue(application, ticket, queue):
    assert application.route(ticket) == queue


def test_a_person_looks_at_what_no_queue_is_named_for(monkeypatch):
    monkeypatch.setattr(support, "complete", lambda ticket: "the moon")
    assert support.route("Where am I?") == "human"

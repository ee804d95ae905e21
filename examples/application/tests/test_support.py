"""The application is tested as it is: each test of its prompt has one mark, and nothing else is needed."""

from __future__ import annotations

from types import SimpleNamespace

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


@pytest.mark.prompt("../shop/support.py::PROMPT")
@pytest.mark.parametrize(("ticket", "queue"), TICKETS)
def test_a_ticket_reaches_its_queue(ticket, queue):
    assert support.route(ticket) == queue


@pytest.mark.heldout
@pytest.mark.prompt("../shop/support.py::PROMPT")
@pytest.mark.parametrize(("ticket", "queue"), UNSEEN)
def test_an_unseen_ticket_reaches_its_queue(ticket, queue):
    assert support.route(ticket) == queue


def test_a_person_looks_at_what_no_queue_is_named_for(monkeypatch):
    reply = SimpleNamespace(content=[SimpleNamespace(text="The moon.")])
    monkeypatch.setattr(support.client.messages, "create", lambda **_: reply)
    assert support.route("Where am I?") == support.FALLBACK

"""Two prompts, one after the other: the topic of a ticket, then how urgent it is."""

from __future__ import annotations

import pytest

TRAIN = [
    ("I was charged twice, please send the money back.", "payment", "today"),
    ("My card was charged and there is no order.", "payment", "today"),
    ("You took the wrong amount from my card.", "payment", "today"),
    ("Please send me a copy of the invoice.", "payment", "later"),
    ("The invoice shows my old address.", "payment", "later"),
    ("May I get the invoice as a file?", "payment", "later"),
    ("The parcel is two days late.", "parcel", "later"),
    ("Where is my parcel now?", "parcel", "later"),
    ("Can the courier leave the parcel with a neighbour?", "parcel", "later"),
    ("The courier lost my parcel.", "parcel", "today"),
    ("The parcel was stolen from the doorstep.", "parcel", "today"),
    ("My account is locked and I cannot log in.", "login", "today"),
    ("Somebody else has logged in to my account.", "login", "today"),
    ("My account was locked after three attempts.", "login", "today"),
    ("How do I change my password?", "login", "later"),
    ("I want a shorter password.", "login", "later"),
]
VALIDATION = [
    ("My card was charged a second time.", "payment", "today"),
    ("Please put the invoice into the parcel.", "payment", "later"),
    ("Is there news of the parcel?", "parcel", "later"),
    ("My account is locked again.", "login", "today"),
]
HELDOUT = [
    ("You charged the wrong card.", "payment", "today"),
    ("I need the invoice for my taxes.", "payment", "later"),
    ("Which courier has my parcel?", "parcel", "later"),
    ("The parcel was stolen.", "parcel", "today"),
    ("The new phone has locked my account.", "login", "today"),
    ("Where do I change the password?", "login", "later"),
]


@pytest.mark.prompt(topic="../prompts/topic.md", urgency="../prompts/urgency.md")
class TestTickets:
    def check(self, prompts, ticket, topic, urgency):
        said = prompts["topic"](ticket=ticket)
        assert said == topic
        assert prompts["urgency"](topic=said, ticket=ticket) == urgency

    @pytest.mark.parametrize(("ticket", "topic", "urgency"), TRAIN)
    def test_known_tickets(self, prompts, ticket, topic, urgency):
        self.check(prompts, ticket, topic, urgency)

    @pytest.mark.validation
    @pytest.mark.parametrize(("ticket", "topic", "urgency"), VALIDATION)
    def test_further_tickets(self, prompts, ticket, topic, urgency):
        self.check(prompts, ticket, topic, urgency)

    @pytest.mark.heldout
    @pytest.mark.parametrize(("ticket", "topic", "urgency"), HELDOUT)
    def test_unseen_tickets(self, prompts, ticket, topic, urgency):
        self.check(prompts, ticket, topic, urgency)

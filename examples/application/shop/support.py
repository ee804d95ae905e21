"""An application that asks a model: it cleans a ticket, has Claude name the queue, and checks the answer."""

from __future__ import annotations

import anthropic

PROMPT = """\
You route the tickets of a web shop.
The queue is one of: billing, delivery, account.
Answer with the queue only.

Ticket: {ticket}
"""
QUEUES = ("billing", "delivery", "account")

#: Where a person looks at the ticket.
FALLBACK = "human"

client = anthropic.Anthropic()


def route(ticket: str) -> str:
    """The queue for a ticket; `FALLBACK` for an answer that is none."""
    asked = PROMPT.format(ticket=" ".join(ticket.split()))
    reply = client.messages.create(
        model="claude-haiku-4-5", max_tokens=20, messages=[{"role": "user", "content": asked}]
    )
    answer = reply.content[0].text.strip().lower()
    return answer if answer in QUEUES else FALLBACK

"""Async code asks several times at once: with `acall` all calls of a `gather` are in flight together."""

from __future__ import annotations

import asyncio

import pytest

MAILS = [
    ("Charged twice", "My card was charged twice.", "billing"),
    ("Wrong invoice", "The invoice shows the wrong amount.", "billing"),
    ("Old card charged", "You charged my old card, not the new one.", "billing"),
    ("Late parcel", "The parcel has not arrived.", "delivery"),
    ("Courier", "The courier never came.", "delivery"),
    ("Parcel lost", "The courier has lost the parcel.", "delivery"),
    ("Password", "I forgot my password.", "account"),
    ("Login code", "The login code never comes.", "account"),
    ("Login", "The login page does not take my password.", "account"),
]
UNSEEN = [
    ("Invoice", "Which card was charged?", "billing"),
    ("Where is my parcel?", "The courier did not ring.", "delivery"),
    ("New password", "The login does not work any more.", "account"),
]


async def route(ask, subject, text):
    """The queue on which subject and text agree; an application does this with its own client."""
    first, second = await asyncio.gather(ask(text=subject), ask(text=text))
    return first if first == second else "human"


@pytest.mark.prompt("../prompts/route.md")
@pytest.mark.parametrize(("subject", "text", "queue"), MAILS)
def test_a_mail_reaches_its_queue(prompt, subject, text, queue):
    # With pytest-asyncio or anyio, write `async def` and `await route(...)`.
    assert asyncio.run(route(prompt.acall, subject, text)) == queue


@pytest.mark.heldout
@pytest.mark.prompt("../prompts/route.md")
@pytest.mark.parametrize(("subject", "text", "queue"), UNSEEN)
def test_an_unseen_mail_reaches_its_queue(prompt, subject, text, queue):
    assert asyncio.run(route(prompt.acall, subject, text)) == queue

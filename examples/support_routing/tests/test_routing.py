"""Every ticket must reach the queue whose people can close it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

TICKETS = Path(__file__).with_name("tickets.csv")
SPLITS = {"train": (), "validation": pytest.mark.validation, "heldout": pytest.mark.heldout}


def tickets():
    with TICKETS.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            name = f"{row['queue']}-line{number}"
            yield pytest.param(row["ticket"], row["queue"], marks=SPLITS[row["split"]], id=name)


@pytest.mark.prompt("../prompts/route.md")
@pytest.mark.parametrize(("ticket", "queue"), tickets())
def test_routing(prompt, ticket, queue):
    assert prompt(ticket=ticket) == queue

"""Every ticket must reach the queue whose people can close it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

TICKETS = Path(__file__).with_name("tickets.csv")
SPLITS = {"train": (), "validation": pytest.mark.validation, "heldout": pytest.mark.heldout}


def tickets():
    with TICKETS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        pytest.param(row["ticket"], row["queue"], marks=SPLITS[row["split"]], id=f"{row['queue']}-line{line}")
        for line, row in enumerate(rows, 2)
    ]


@pytest.mark.prompt("../prompts/route.md")
@pytest.mark.parametrize(("ticket", "queue"), tickets())
def test_routing(prompt, ticket, queue):
    assert prompt(ticket=ticket) == queue

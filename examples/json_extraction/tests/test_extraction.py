"""The facts of an invoice, however the message words them, come out in one form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

INVOICES = Path(__file__).with_name("invoices.jsonl")
SPLITS = {"train": (), "validation": pytest.mark.validation, "heldout": pytest.mark.heldout}


def invoices():
    for number, line in enumerate(INVOICES.read_text(encoding="utf-8").splitlines(), 1):
        case = json.loads(line)
        yield pytest.param(case["message"], case["invoice"], marks=SPLITS[case["split"]], id=f"line{number}")


@pytest.mark.prompt("../prompts/extract.md")
@pytest.mark.parametrize(("message", "invoice"), invoices())
def test_extraction(prompt, message, invoice):
    assert prompt(message=message).json() == invoice

"""The facts of an invoice, however the message words them, come out in one form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

INVOICES = Path(__file__).with_name("invoices.jsonl")
SPLITS = {"train": (), "validation": pytest.mark.validation, "heldout": pytest.mark.heldout}


def invoices():
    cases = [json.loads(line) for line in INVOICES.read_text(encoding="utf-8").splitlines()]
    return [
        pytest.param(case["message"], case["invoice"], marks=SPLITS[case["split"]], id=f"line{line}")
        for line, case in enumerate(cases, 1)
    ]


@pytest.mark.prompt("../prompts/extract.md")
@pytest.mark.parametrize(("message", "invoice"), invoices())
def test_extraction(prompt, message, invoice):
    assert prompt(message=message).json() == invoice

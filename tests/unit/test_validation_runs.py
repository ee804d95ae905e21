"""Which candidates are run on validation cases."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_promptopt.optimizer.acceptance import compare
from pytest_promptopt.optimizer.candidates import Candidate, EvaluatedCandidate
from pytest_promptopt.records import Split
from pytest_promptopt.strategies.refine.validation_runs import ValidationRuns
from tests.changing_world import rates, results


@pytest.mark.parametrize(
    ("after", "lead", "keeps"),
    [
        ("PPPPPF", 0.1, True),
        ("PPPPPF", -0.02, True),
        ("PPPFFP", 0.1, True),
        ("PPPFFP", -0.1, False),
        ("", 0.1, False),
    ],
    ids=[
        "nothing is broken",
        "nothing is broken, though some may be where it was not run",
        "more is broken than fixed among the few that fail, but not of all",
        "more is broken, and so it is of all",
        "it was not run",
    ],
)
def test_what_keeps_the_training_cases_as_counted_or_as_estimated_is_run(
    after: str, lead: float, keeps: bool
) -> None:
    before, ran = (tuple(results(rates(letters))) for letters in ("PPPPPF", after))
    search = SimpleNamespace(best=EvaluatedCandidate("0", {}, {Split.TRAIN: before}))
    runs = ValidationRuns(cast(Any, search), *(cast(Any, None) for _ in range(5)))
    compared = replace(compare(before, ran), lead=lead)
    found = {Split.TRAIN: ran} if ran else {}
    candidate = Candidate("1.1", ("p.md",), "", results=found, compared={Split.TRAIN: compared})
    assert runs._keeps(candidate) is keeps

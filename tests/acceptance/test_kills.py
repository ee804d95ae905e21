"""A run that is killed again and again pays for nothing twice and ends as it would have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.killing import Killing


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_kills_at_random_moments_change_nothing_and_cost_what_was_in_flight(tmp_path: Path) -> None:
    """A hundred of them: ``python -m tests.benchmarks.kills``."""
    tally = Killing(tmp_path, latency=0.03, concurrency=8, seed=1).run(4)
    assert tally.kills == 4
    assert tally.wrong == []
    assert tally.requests <= tally.allowed

"""What the journal of an earlier process knows of its calls."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from pytest_promptopt.errors import ErrorKind
from pytest_promptopt.journal import Journal
from pytest_promptopt.records import Answer, Role, Spend
from pytest_promptopt.runs.past import PastRun

ANSWER = Answer("A", "fake/model", "end_turn", None, None, 0.0)


def settled(journal: Journal, key: str, *, attempts: int, answered: bool) -> None:
    journal.append(
        "call",
        key=key,
        role=Role.TARGET,
        model="fake/model",
        sample=0,
        attempts=attempts,
        answer=ANSWER.to_json() if answered else None,
        error=None if answered else "a timeout",
        kind=None if answered else ErrorKind.BAD_REQUEST,
        spend=astuple(Spend(calls=attempts)),
    )


def test_every_end_is_known_with_the_calls_that_were_charged_for_it(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "run", "run")
    journal.append("opened")
    journal.append("known", key="from the cache", answer=ANSWER.to_json())
    settled(journal, "at once", attempts=1, answered=True)
    settled(journal, "at the third try", attempts=3, answered=True)
    settled(journal, "never", attempts=4, answered=False)
    journal.append("results")
    journal.close()
    calls = {key: end.calls for key, end in PastRun.load(tmp_path / "run").known().items()}
    assert calls == {"from the cache": 0, "at once": 1, "at the third try": 3, "never": 4}

"""What the journal of an earlier process knows of its calls."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from pytest_promptopt.errors import ErrorKind
from pytest_promptopt.journal import Event, Journal
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.records import Answer, Role, Spend
from pytest_promptopt.runs.past import PastRun

ANSWER = Answer("A", "fake/model", "end_turn", None, None, 0.0)


def settled(journal: Journal, key: str, *, candidates: int, answered: bool) -> None:
    journal.append(
        "call",
        key=key,
        role=Role.TARGET,
        model="fake/model",
        sample=0,
        candidates=candidates,
        answer=ANSWER.to_json() if answered else None,
        error=None if answered else "a timeout",
        kind=None if answered else ErrorKind.BAD_REQUEST,
        spend=astuple(Spend(calls=candidates)),
    )


def test_every_end_is_known_with_the_calls_that_were_charged_for_it(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "run", "run")
    journal.append("opened")
    journal.append("known", key="from the cache", answer=ANSWER.to_json())
    settled(journal, "at once", candidates=1, answered=True)
    settled(journal, "at the third try", candidates=3, answered=True)
    settled(journal, "never", candidates=4, answered=False)
    journal.append("results")
    journal.close()
    calls = {key: end.calls for key, end in PastRun.load(tmp_path / "run").recorded_calls().items()}
    assert calls == {"from the cache": 0, "at once": 1, "at the third try": 3, "never": 4}


def ended(*prompts: tuple[HaltReason, int], pipeline: bool = False) -> PastRun:
    """A run whose prompts ended so: why their search stopped, and the calls that confirming them needs."""
    names = [f"{number}.md" for number in range(len(prompts))]
    data = [
        {
            "prompt": name,
            "pipeline": names if pipeline else [],
            "stop": stop,
            "accepted": False,
            "confirmation": {"needed": needed} if needed else None,
        }
        for name, (stop, needed) in zip(names, prompts, strict=True)
    ]
    end = Event(1, "run", "end", "2026-01-01T00:00:00", 1, {"prompts": data, "interrupted": False})
    return PastRun(Path("run"), (end,))


@pytest.mark.parametrize(
    ("prompts", "to_confirm", "unfinished"),
    [
        ([(HaltReason.BUDGET, 40)], True, True),
        ([(HaltReason.BUDGET, 40), (HaltReason.PASSING, 0)], True, True),
        ([(HaltReason.BUDGET, 40), (HaltReason.BUDGET, 12)], True, True),
        ([(HaltReason.TARGET, 40), (HaltReason.BUDGET, 0)], False, True),
        ([(HaltReason.TARGET, 0), (HaltReason.PASSING, 0)], False, False),
    ],
)
def test_only_where_no_other_search_may_go_on_a_text_is_all_that_is_left_to_confirm(
    prompts: list[tuple[HaltReason, int]], to_confirm: bool, unfinished: bool
) -> None:
    run = ended(*prompts)
    assert (run.to_confirm, run.unfinished) == (to_confirm, unfinished)


def test_an_unchanged_prompt_of_the_same_pipeline_has_no_search_of_its_own() -> None:
    assert ended((HaltReason.BUDGET, 40), (HaltReason.BUDGET, 0), pipeline=True).to_confirm

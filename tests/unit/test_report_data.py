"""What a report carries to the process that prints goes through xdist, whatever a test or a model wrote."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import execnet
import pytest

from pytest_promptopt.pytest_engine import report_data
from pytest_promptopt.pytest_session.report_payload import ReportTotals, payload
from pytest_promptopt.records import Call, Case, Failure, Outcome, Split, Status, StopReason, Usage


class Itself(str):
    def __str__(self) -> str:
        return self


class Model(enum.StrEnum):
    A = "house/a"


def report() -> Any:
    return SimpleNamespace(nodeid="t.py::test")


def carried(outcome: Outcome, *, model: str = "house/a") -> Any:
    """A report of `outcome` on xdist's other side."""
    case = Case(outcome.case, ("p.md",), Split.TRAIN, models=(model,))
    told = payload(
        SimpleNamespace(case=case, mark=SimpleNamespace(thresholds={})),  # type: ignore[arg-type]
        [outcome],
        Status.FAILED,
        tolerated="",
    )
    sent = report()
    report_data.attach_data(sent, told)
    received = report()
    received.promptopt = execnet.loads(execnet.dumps(report_data.read_data(sent)))
    return received


def outcome(text: str) -> Outcome:
    call = Call("p.md", {text: text}, "key", text, StopReason.END, Usage(1, 2), 0.1, 0.1, False)
    failure = Failure("AssertionError", text, "t.py:1", "==", {"a": [text, (1, None)]}, text, check=text)
    return Outcome(
        "t.py::test",
        Status.FAILED,
        0.0,
        failure=failure,
        calls=(call,),
        parameters={"a": text},
        inputs={"b": text},
    )


@pytest.mark.parametrize("text", ["a", Itself("a"), Model.A, "half an emoji \ud83d", "\udcffx"])
def test_any_text_reaches_the_other_side(text: str) -> None:
    tally = ReportTotals()
    tally.add(carried(outcome(text), model=text))
    ((result,),) = tally.results.values()
    shown = str.__str__(text).encode("utf-8", "backslashreplace").decode()
    (found,) = result.outcomes
    assert found.status is Status.FAILED
    assert (found.calls[0].text, found.calls[0].variables) == (shown, {shown: shown})
    assert found.calls[0].usage == Usage(1, 2)
    assert found.failure is not None
    assert (found.failure.message, found.failure.expected) == (shown, {"a": [shown, [1, None]]})
    assert (found.parameters, found.inputs) == ({"a": shown}, {"b": shown})
    assert result.case.models == (shown,)
    assert result.case.split is Split.TRAIN


def test_an_answer_that_cases_share_comes_from_the_cache_once_and_not_at_all_where_the_session_paid() -> None:
    tally = ReportTotals()
    for case, keys in {"t.py::a": ("old", "new"), "t.py::b": ("old", "of another worker")}.items():
        calls = tuple(
            Call("p.md", {}, key, "", StopReason.END, None, None, 0.1, cached=key != "new") for key in keys
        )
        tally.add(carried(Outcome(case, Status.FAILED, 0.0, calls=calls)))
    assert tally.count_cached({"new", "of another worker"}) == 1

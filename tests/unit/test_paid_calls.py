"""What several processes have paid is added up in the one that prints."""

from __future__ import annotations

import execnet

from pytest_promptopt.models.call_records import PaidCall
from pytest_promptopt.pytest_session.paid_calls import PaidCalls
from pytest_promptopt.records import Message, Request, Role, Spend


def paid(text: str, spend: Spend) -> PaidCall:
    request = Request("house/a", (Message("user", text),))
    return PaidCall(request, Role.TARGET, None, None, spend.calls, spend)


def test_calls_and_requests_of_all_processes_are_counted() -> None:
    one, other, printing = PaidCalls(), PaidCalls(), PaidCalls()
    one.add(paid("a", Spend(1, 10, 2, 0.5)))
    one.add(paid("b", Spend(3, 30, 4, 0.25)))
    other.add(paid("c", Spend(1, 5, 1, unpriced=1)))
    for told in (one, other):
        printing.add_told(execnet.loads(execnet.dumps(told.to_json())))
    assert printing.calls == 3
    assert printing.spend == Spend(5, 45, 7, 0.75, unpriced=1)
    assert printing.keys == {paid(text, Spend()).request.key for text in "abc"}

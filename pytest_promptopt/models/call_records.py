"""What is known of model calls that have ended, in this process or an earlier one."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_promptopt.errors import ModelError
from pytest_promptopt.records import Answer, Request, Role, Spend


@dataclass(frozen=True)
class CallResult:
    """What this session knows about a request: an answer or the error that it ended with.

    :param cached: the answer was not paid for in this run, be it in an earlier session of it.
    """

    answer: Answer | None
    error: ModelError | None
    cached: bool


@dataclass(frozen=True)
class PaidCall:
    """One settled flight that reached a provider.

    :param error: why there is no answer.
    :param attempts: requests sent, at least one.
    :param spend: what they were charged.
    """

    request: Request
    role: Role
    answer: Answer | None
    error: ModelError | None
    attempts: int
    spend: Spend


@dataclass(frozen=True)
class RecordedCall:
    """How a request ended in an earlier process, which was charged for `calls`: none if it was cached."""

    end: Answer | ModelError
    calls: int

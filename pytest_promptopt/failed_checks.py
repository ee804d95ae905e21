"""A check that does not hold, as an error that knows why."""

from __future__ import annotations

from pytest_promptopt.records import Failure


class CheckFailed(AssertionError):
    """Raised for a case of a file whose answer fails a check.

    :param failure: the check that failed first, as data: what the optimizer is told.
    """

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure

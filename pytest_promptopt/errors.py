"""One family of exceptions. `plugin` turns those that are the user's to mend into `pytest.UsageError`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_promptopt.wire_records import WireAnswer


class PromptoptError(Exception):
    """Base of every error that pytest-promptopt raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        """A process that cannot read an error of its child would wait for it for ever."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(
    kind: type[PromptoptError], args: tuple[object, ...], state: dict[str, object]
) -> PromptoptError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class SettingsError(PromptoptError):
    """An option, ini value or mark is wrong: the message names it, what was given and what is accepted."""


class NoModelError(SettingsError):
    """No model is named that could answer a prompt."""


class PromptFileError(PromptoptError):
    """A prompt file cannot be used. Reads ``path:line: what is wrong``.

    :param path: the file as the user knows it (relative to rootdir where possible).
    :param line: 1-based line, or None when the whole file is meant.
    """

    def __init__(self, path: object, line: int | None, message: str) -> None:
        where = str(path) if line is None else f"{path}:{line}"
        super().__init__(f"{where}: {message}")
        self.path = str(path)
        self.line = line


class RenderError(PromptFileError):
    """The variables of a call do not fit the prompt, or its template fails on them."""


class PromptConflictError(PromptoptError):
    """The prompt file changed on disk since it was read; nothing was written."""


class UnusableVerdict(PromptoptError):
    """A judge's reply that is no verdict. It is an error, never a score."""


class UntestedJudge(PromptoptError):
    """A judge would decide that was not shown to agree with labels."""


class ErrorKind(StrEnum):
    """Why a model gave no usable answer. `CONSEQUENCES` is the table of what follows from each kind."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate limit"
    OVERLOADED = "overloaded"
    SERVER = "server error"
    MALFORMED = "malformed reply"
    EMPTY = "empty reply"
    CUT_SHORT = "cut short"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    PAYMENT = "payment"
    BAD_REQUEST = "bad request"
    PARAMETER = "refused parameter"
    NOT_FOUND = "not found"
    TOO_LARGE = "request too large"
    UNAVAILABLE = "unavailable"
    SETUP = "setup"
    DEFECT = "defect of the model"
    BUDGET = "budget"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Consequence:
    """What follows from a failed attempt. Whatever the kind: the case is errored, not failed.

    :param retry: another attempt may succeed.
    :param charged: the provider may have billed the attempt, so that its reservation stays charged.
    :param slows: the model has more to do than it can: everybody may have to wait.
    :param stops: no other call to this model can succeed, so none is made.
    """

    retry: bool = False
    charged: bool = False
    slows: bool = False
    stops: bool = False


CONSEQUENCES: Mapping[ErrorKind, Consequence] = {
    ErrorKind.CONNECTION: Consequence(retry=True, charged=True),
    ErrorKind.TIMEOUT: Consequence(retry=True, charged=True),
    ErrorKind.RATE_LIMIT: Consequence(retry=True, slows=True),
    ErrorKind.OVERLOADED: Consequence(retry=True, slows=True),
    ErrorKind.SERVER: Consequence(retry=True),
    ErrorKind.MALFORMED: Consequence(retry=True, charged=True),
    ErrorKind.EMPTY: Consequence(retry=True, charged=True),
    ErrorKind.CUT_SHORT: Consequence(charged=True),
    ErrorKind.AUTHENTICATION: Consequence(stops=True),
    ErrorKind.PERMISSION: Consequence(stops=True),
    ErrorKind.PAYMENT: Consequence(stops=True),
    ErrorKind.BAD_REQUEST: Consequence(),
    ErrorKind.PARAMETER: Consequence(stops=True),
    ErrorKind.NOT_FOUND: Consequence(stops=True),
    ErrorKind.TOO_LARGE: Consequence(),
    ErrorKind.UNAVAILABLE: Consequence(stops=True),
    ErrorKind.SETUP: Consequence(stops=True),  # its client cannot be made
    ErrorKind.DEFECT: Consequence(charged=True),  # of the code that asks it, which does the same again
    ErrorKind.BUDGET: Consequence(),
    ErrorKind.CANCELLED: Consequence(charged=True),
}


class ModelError(PromptoptError):
    """A model call ended without an answer. Never holds a key: messages are built from known-safe parts.

    :param retry_after: seconds the server asked to wait, when it did.
    :param reply: what the server sent, to a request of the application's own.
    :param raised: what the application's client has raised instead.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        model: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        reply: WireAnswer | None = None,
        raised: Exception | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.model = model
        self.status = status
        self.retry_after = retry_after
        self.reply = reply
        self.raised = raised

    @property
    def stops_run(self) -> bool:
        """Whether no other call to this model can succeed: a wrong key, no credit, it is down."""
        return CONSEQUENCES[self.kind].stops

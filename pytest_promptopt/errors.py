"""One family of exceptions. `plugin` turns those that are the user's to mend into `pytest.UsageError`."""

from __future__ import annotations

from enum import StrEnum


class PromptoptError(Exception):
    """Base of every error that pytest-promptopt raises on purpose."""


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


class ErrorKind(StrEnum):
    """Why a model gave no usable answer. `models.retry` holds the table of what follows from each kind."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate limit"
    OVERLOADED = "overloaded"
    SERVER = "server error"
    MALFORMED = "malformed reply"
    EMPTY = "empty reply"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    PAYMENT = "payment"
    BAD_REQUEST = "bad request"
    PARAMETER = "refused parameter"
    NOT_FOUND = "not found"
    TOO_LARGE = "request too large"
    BUDGET = "budget"
    CANCELLED = "cancelled"


class ModelError(PromptoptError):
    """A model call ended without an answer. Never holds a key: messages are built from known-safe parts.

    :param retry_after: seconds the server asked to wait, when it did.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        model: str = "",
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.model = model
        self.status = status
        self.retry_after = retry_after

    @property
    def stops_run(self) -> bool:
        """Whether no other call can succeed: a wrong key, no credit, a refused parameter."""
        return self.kind in (
            ErrorKind.AUTHENTICATION,
            ErrorKind.PERMISSION,
            ErrorKind.PAYMENT,
            ErrorKind.PARAMETER,
        )

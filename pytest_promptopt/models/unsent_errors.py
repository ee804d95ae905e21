"""Errors that a library raises before anything is sent: nothing was paid, and a retry ends the same way."""

from __future__ import annotations

import re

from pytest_promptopt.errors import ErrorKind

#: Libraries use many classes for such errors, some with an HTTP status that no provider sent.
_NO_KEY = (
    r"missing (\S+ )?(credentials|api[ _-]?key)",
    r"api[ _-]?key (is )?(not set|missing|required|must be)",
    r"api_key client option",
    r"no api[ _-]?key",
    r"credentials (were )?not found",
    r"unable to locate credentials",
    r"could not (find|resolve) .{0,30}(credentials|authentication)",
    r"default credentials",
)
_NO_CLIENT = (
    r"no module named",
    r"llm provider not provided",
    r"unmapped llm provider",
    r"must provide (an? )?(api[ _-]?(base|version)|base[ _-]?url|region|project)",
    r"(api[ _-]?(base|version)|region|project|deployment)(_name|_id)? (is )?(not set|missing|required)",
    r"you must specify a region",
)
_WORDS = {
    ErrorKind.AUTHENTICATION: re.compile("|".join(_NO_KEY), re.IGNORECASE),
    ErrorKind.SETUP: re.compile("|".join(_NO_CLIENT), re.IGNORECASE),
}


def kind_of_unsent_error(error: BaseException) -> ErrorKind | None:
    """The kind of an error that a call ended with before it was sent; None for one that came back.

    To be asked only of errors that no reply of a provider stands behind.
    """
    if _caused_by(error, ImportError):
        return ErrorKind.SETUP
    return next((kind for kind, words in _WORDS.items() if words.search(str(error))), None)


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    for _ in range(10):
        if error is None or isinstance(error, kind):
            return error is not None
        error = error.__cause__ or error.__context__
    return False

"""Errors in code of users and plugins: each ends a search as a ceiling does, and is told in a sentence."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from pytest_promptopt.errors import PromptoptError
from pytest_promptopt.models.secret_redaction import redact_secrets
from pytest_promptopt.optimizer.halting import HaltReason
from pytest_promptopt.optimizer.protocols import StopRun
from pytest_promptopt.text import cut_end, one_line
from pytest_promptopt.user_frames import raised_inside

#: How a search's own code is called in a sentence.
STRATEGY = "the strategy"

#: The longest message of an exception that is told.
MAX_SAID = 400

P = ParamSpec("P")
T = TypeVar("T")


class ForeignErrors:
    """All that went wrong in a run.

    Any exception counts but Ctrl-C, also one that is no `Exception`: a hook that calls `sys.exit` or
    `pytest.skip` ends nothing but the search.

    :param rootdir: of the user's project, whose innermost frame is told.
    :param record: writes an event to the journal; None without one.
    """

    def __init__(self, rootdir: Path = Path(), record: Callable[..., object] | None = None) -> None:
        self._rootdir = rootdir.resolve()
        self._record = record
        self.told: list[str] = []

    def note(self, what: str, error: BaseException) -> str:
        """Keep an exception of `what`; the sentence about it."""
        said = redact_secrets(self._sentence(what, error))
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        return self.say(said, redact_secrets("".join(lines)))

    def say(self, said: str, trace: str = "") -> str:
        """Keep this sentence, once."""
        if said not in self.told:
            self.told.append(said)
            with suppress(Exception):  # the journal may be what went wrong
                if self._record is not None:
                    self._record("error", why=said, traceback=trace.splitlines())
        return said

    def stop(self, what: str, error: BaseException) -> StopRun:
        """An exception of `what` as a stop of the search."""
        return StopRun(HaltReason.ERROR, self.note(what, error))

    def contained(self, what: str, call: Callable[P, T]) -> Callable[P, T]:
        """`call`, but what it raises becomes a stop of the search; stops and Ctrl-C pass."""

        def safe(*args: P.args, **given: P.kwargs) -> T:
            try:
                return call(*args, **given)
            except (StopRun, KeyboardInterrupt):
                raise
            except BaseException as error:
                raise self.stop(what, error) from error

        return safe

    def observer(self, what: str, call: Callable[P, object]) -> Callable[P, None]:
        """`call` as an observer: its first exception is noted, and the run goes on whatever it raises."""
        failed = False

        def safe(*args: P.args, **given: P.kwargs) -> None:
            nonlocal failed
            try:
                call(*args, **given)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if not failed:
                    self.note(what, error)
                failed = True

        return safe

    def _sentence(self, what: str, error: BaseException) -> str:
        place = raised_inside(error, self._rootdir)
        if isinstance(error, PromptoptError) and not place:
            return _words(error)  # it says by itself what is wrong, and where
        place = place or _innermost(error)
        name, words = type(error).__name__, _words(error)
        return f"{what} raised at {place}: {name}{f': {words}' * bool(words)}"


def _innermost(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"


def _words(error: BaseException) -> str:
    try:
        text = one_line(str(error))
    except BaseException:  # an exception of the user's own may have a __str__ that fails
        return ""
    return cut_end(text, MAX_SAID)

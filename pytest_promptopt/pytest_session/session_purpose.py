"""Whether a session has what it is for, as far as its collected tests tell."""

from __future__ import annotations

import pytest

from pytest_promptopt.settings import Mode, Settings


def check_purpose(session: pytest.Session, settings: Settings, deselected: int) -> None:
    """Raises `UsageError` when a session without prompt cases was to optimize or to break prompts.

    A worker tells of it.

    :param deselected: how many tests with a prompt were deselected.
    """
    mutating = settings.mode is Mode.MUTATE
    asked = "--promptopt-mutate: there is no prompt to break"
    asked = asked if mutating else "--optimize: there is nothing to optimize"
    count = len(session.items)
    left_out = f" ({deselected} that have it are deselected)" if deselected else ""
    problem = (
        f'{asked}: none of the {count} collected tests has @pytest.mark.prompt("path/to/prompt.md"){left_out}'
    )
    if not (settings.optimizing or mutating) or session.testsfailed or not (session.items or deselected):
        problem = ""  # pytest says what is wrong
    if hasattr(session.config, "workerinput"):
        from pytest_promptopt.pytest_session.xdist_channel import connection_of

        if connection := connection_of(session.config):
            connection.send("refused", problem=problem)
    elif problem:
        raise pytest.UsageError(problem)

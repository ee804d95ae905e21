"""What of a configuration is not supported: it is skipped where everybody sees it."""

from __future__ import annotations

from typing import Any

from pytest_promptopt.text import cut_end

#: Characters of a value in a reason.
MAX_SHOWN = 60


class NotSupported(Exception):
    """A part of a configuration that would not be done as promptfoo does it.

    :param where: ``file:line``.
    """

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.where = where


def shown(value: Any) -> str:
    """A value in a reason."""
    return cut_end(" ".join(str(value).split()), MAX_SHOWN, mark="...")

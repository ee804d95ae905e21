"""What a ceiling on calls leaves, and what of it is kept for judging the result."""

from __future__ import annotations

from collections.abc import Callable


class Purse:
    """The calls of a run.

    :param left: how many calls the ceiling leaves, all roles together; None without a ceiling.
    :param heldout: calls that scoring the held-out cases under both texts will take.
    """

    def __init__(self, left: Callable[[], int | None] = lambda: None, heldout: int = 0) -> None:
        self.left = left
        self.heldout = heldout
        #: Calls that a search must not touch; who knows what the end will cost keeps it up to date.
        self.aside = 0

    @property
    def free(self) -> int | None:
        """Calls that a search may still make; None without a ceiling."""
        left = self.left()
        return None if left is None else max(0, left - self.aside)

    def affords(self, calls: float) -> bool:
        """Whether so many calls may be made now."""
        free = self.free
        return free is None or calls <= free

"""What a ceiling on calls leaves, and what of it is reserved for later."""

from __future__ import annotations

from collections.abc import Callable, Hashable


class CallBudget:
    """The calls under the ceiling.

    :param left: how many the ceiling leaves, those reserved for later included; None without a ceiling.
    :param tell: called with the number of reserved calls whenever it
        changes, so that nobody else spends them.
    """

    def __init__(
        self, left: Callable[[], int | None] = lambda: None, tell: Callable[[int], None] = lambda calls: None
    ) -> None:
        self.left = left
        self._tell = tell
        self._reserved: dict[Hashable, int] = {}

    @property
    def total_reserved(self) -> int:
        """Calls that are reserved for what comes later."""
        return sum(self._reserved.values())

    def reserve(self, what: Hashable, calls: int) -> None:
        """Keep so many calls for `what`, in place of what was reserved for it before; 0 gives them back."""
        self._reserved[what] = calls
        self._tell(self.total_reserved)

    def reserved(self, what: Hashable) -> int:
        """Calls that are reserved for `what`."""
        return self._reserved.get(what, 0)

    def available(self) -> int | None:
        """Calls that may be spent now; None without a ceiling."""
        left = self.left()
        return None if left is None else max(0, left - self.total_reserved)

    def affords(self, calls: float) -> bool:
        """Whether so many calls may be spent now."""
        free = self.available()
        return free is None or calls <= free

"""What a ceiling on calls leaves, and what of it is kept for later."""

from __future__ import annotations

from collections.abc import Callable


class CallBudget:
    """The calls under the ceiling.

    :param left: how many the ceiling leaves, those kept for later included; None without a ceiling.
    :param tell: told how many are kept, so that nobody can spend them.
    """

    def __init__(
        self, left: Callable[[], int | None] = lambda: None, tell: Callable[[int], None] = lambda calls: None
    ) -> None:
        self.left = left
        self._tell = tell
        self._kept: dict[str, int] = {}

    @property
    def aside(self) -> int:
        """Calls that are kept for what comes later."""
        return sum(self._kept.values())

    def keep(self, what: str, calls: int) -> None:
        """Keep so many calls for `what`, in place of what was kept for it before; 0 gives them back."""
        self._kept[what] = calls
        self._tell(self.aside)

    def kept(self, what: str) -> int:
        """Calls that are kept for `what`."""
        return self._kept.get(what, 0)

    def free(self) -> int | None:
        """Calls that may be spent now; None without a ceiling."""
        left = self.left()
        return None if left is None else max(0, left - self.aside)

    def affords(self, calls: float) -> bool:
        """Whether so many calls may be spent now."""
        free = self.free()
        return free is None or calls <= free

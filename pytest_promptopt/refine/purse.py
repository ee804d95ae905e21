"""What a ceiling on calls leaves, and what of it is kept for the end of the run."""

from __future__ import annotations

from collections.abc import Callable


class Purse:
    """The calls under the ceiling.

    :param left: how many the ceiling leaves, those kept for the end included; None without a ceiling.
    :param keep: told of what is kept, so that nobody can spend it.
    """

    def __init__(
        self, left: Callable[[], int | None] = lambda: None, keep: Callable[[int], None] = lambda calls: None
    ) -> None:
        self.left = left
        self._keep = keep
        self._aside = 0

    @property
    def aside(self) -> int:
        """Calls that are kept for what comes later."""
        return self._aside

    @aside.setter
    def aside(self, calls: int) -> None:
        self._aside = calls
        self._keep(calls)

    def free(self) -> int | None:
        """Calls that may be spent now; None without a ceiling."""
        left = self.left()
        return None if left is None else max(0, left - self._aside)

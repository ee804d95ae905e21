"""Reading a judge's reply, whatever form the model gave it; a reply that is no verdict is refused."""

from __future__ import annotations

from pytest_promptopt.grading.verdicts import THRESHOLD, Preference, Verdict


def read_verdict(text: str, *, criterion: str = "", threshold: float = THRESHOLD) -> Verdict:
    """The verdict in a reply: JSON of `VERDICT_SCHEMA`, else marked lines. Raises `UnusableVerdict`."""
    raise NotImplementedError


def read_preference(text: str) -> tuple[Preference, str]:
    """The preference in a reply and its reasons. Raises `UnusableVerdict`."""
    raise NotImplementedError

"""The check `similar`: how alike two texts are, by the embeddings of a model or by their letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.settings import NO_MODEL
from pytest_promptopt.suites.checks import Check, CheckContext, Found
from pytest_promptopt.suites.text_checks import similarity

#: A check of a file of ours, and promptfoo's for several texts.
SIMILAR_TYPES = ("similar", "promptfoo-similar")

#: What a check asks for when it names no threshold: of a ratio of letters, and of a cosine.
RATIO, COSINE = 0.8, 0.75

#: Vectors are kept with seven digits.
SLACK = 1e-6


class Embedder(Protocol):
    """Compares texts by their embeddings."""

    @property
    def model(self) -> str | None:
        """Who makes them where a check does not say it; None where letters are compared then."""

    def cosine(self, one: str, two: str, model: str) -> float:
        """Of the angle between the vectors that `model` gives both texts.

        Raises what ends a run without a verdict.
        """


#: Each pytest session's way to the embedder of the case that is run just now, the innermost session last: a
#: test that calls `case.check(answer)` by itself has no other way to it.
_SESSIONS: list[Callable[[], Embedder]] = []


@contextmanager
def comparing_with(embedder: Callable[[], Embedder]) -> Iterator[None]:
    """For its length checks ask this embedder."""
    _SESSIONS.append(embedder)
    try:
        yield
    finally:
        _SESSIONS.remove(embedder)


def current_embedder() -> Embedder | None:
    """That of the innermost session; None where no session runs prompt cases."""
    return _SESSIONS[-1]() if _SESSIONS else None


def similar(check: Check, answer: str, context: CheckContext) -> Found:
    """By embeddings where the check or the session names a model for it; else by letters."""
    __tracebackhide__ = True
    model = check.options.get("model") or (context.embedder.model if context.embedder else None)
    if model is None or model == NO_MODEL:
        ratio = similarity(answer, str(check.value))
        return _found(check, ratio, RATIO, "similarity", f"a text ratio of {ratio:.2f}")
    if context.embedder is None:
        raise SettingsError(
            f"{check.where}: {check.name}: embeddings of {model} are compared in a test with the mark "
            "`prompt`, where calls are counted and kept; `model: none` compares letters"
        )
    # Providers refuse a text of nothing; an answer of nothing is like no text.
    cosine = context.embedder.cosine(str(answer), str(check.value), model) if answer.strip() else 0.0
    return _found(check, cosine, COSINE, "cosine similarity", f"a cosine of {cosine:.3f} by {model}")


def _found(check: Check, measured: float, default: float, name: str, told: str) -> Found:
    least = default if check.threshold is None else check.threshold
    bar = f", and {least:g} counts as similar" if check.threshold is None else ""
    return Found(
        measured >= least - SLACK,
        ">=",
        f"{name} to {str(check.value)!r}",
        f"{least:g}",
        round(measured, 4),
        why=f"got {told}{bar}",
    )

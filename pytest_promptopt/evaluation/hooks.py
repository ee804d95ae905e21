"""Asks the user's hooks: what goes wrong in one is the user's to mend, so it ends as a sentence about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.evaluation.place import place_of

if TYPE_CHECKING:
    from pytest_promptopt.failures import FailedCase


class HookError(SettingsError):
    """An implementation of a hook raised, or returned what it may not. The message names hook and place."""


def ask_hook(config: pytest.Config, hook: str, *, returns: type | tuple[type, ...], **given: object) -> Any:
    """What the implementations of `hook` answer; None when they leave the matter to the plugin.

    :param returns: the types that an answer may have.
    :raises HookError: an implementation raised something, or answered something else. Errors of the plugin's
        own pass through: `pytest_promptopt_propose` may meet the end of a budget while it asks.
    """
    try:
        answer = getattr(config.hook, hook)(**given)
    except PromptoptError:
        raise
    except Exception as error:
        place = place_of(error.__traceback__, str(config.rootpath))
        raise HookError(f"{hook} raised at {place}: {type(error).__name__}: {error}") from error
    if answer is None or isinstance(answer, returns):
        return answer
    accepted = " or ".join(each.__name__ for each in (returns if isinstance(returns, tuple) else (returns,)))
    raise HookError(f"{hook} returned {answer!r:.80}; accepted: {accepted}, or None")


def tell_hook(config: pytest.Config, hook: str, **given: object) -> None:
    """Call an observer, whose answers are nobody's concern. Raises `HookError` as `ask_hook` does."""
    ask_hook(config, hook, returns=object, **given)


def categorize(config: pytest.Config, case: FailedCase) -> str | None:
    """The category that the user's hook gives a failed case; None for the built-in one."""
    hook = "pytest_promptopt_categorize"
    category: str | None = ask_hook(config, hook, returns=str, case=case)
    if category is not None and not category.strip():
        raise HookError(f"{hook} returned {category!r} for {case.case}; accepted: a name, or None")
    return category

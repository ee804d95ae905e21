"""Asks the user's hooks: what goes wrong in one is the user's to mend, so it ends as a sentence about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pytest_promptopt.assertions.source_location import location_of
from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.models.answer_validation import error_words
from pytest_promptopt.text import MAX_QUOTE, safe_repr

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
    return _ask(config, hook, getattr(config.hook, hook), returns, given)


def _ask(
    config: pytest.Config,
    hook: str,
    caller: Callable[..., Any],
    returns: type | tuple[type, ...],
    given: Mapping[str, object],
) -> Any:
    """:param caller: of all implementations, or of some."""
    try:
        answer = caller(**given)
    except (PromptoptError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also `sys.exit` and `pytest.skip`, which are to end nothing here
        place = location_of(error.__traceback__, str(config.rootpath))
        raise HookError(f"{hook} raised at {place}: {error_words(error)}") from error
    if answer is None or isinstance(answer, returns):
        return answer
    accepted = " or ".join(each.__name__ for each in (returns if isinstance(returns, tuple) else (returns,)))
    raise HookError(f"{hook} returned {safe_repr(answer)[:MAX_QUOTE]}; accepted: {accepted}, or None")


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


def redact(config: pytest.Config, text: str) -> str:
    """`text` as the user's hooks leave it: each is given what the one before it has returned."""
    hook = "pytest_promptopt_redact"
    plugins = [each.plugin for each in reversed(getattr(config.hook, hook).get_hookimpls())]
    for plugin in plugins:
        others = [other for other in plugins if other is not plugin]
        caller = config.pluginmanager.subset_hook_caller(hook, others)
        answer: str | None = _ask(config, hook, caller, str, {"text": text})
        text = text if answer is None else answer
    return text

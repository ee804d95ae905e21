"""`Case`: what a script gives as a case, checked where it is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pytest_promptopt.completion import Completion
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.records import Split

#: Whether an answer is right, or which share of what was asked it has, from 0 to 1.
Check = Callable[[Completion], bool | float]

_MISSING: Any = object()


class Case:
    """One case of `optimize`: what the prompt is given, and what its answer must be.

    >>> Case({"ticket": "Where is my refund?"}, "billing")
    >>> Case({"invoice": text}, {"total": 12.5, "currency": "EUR"})
    >>> Case({"ticket": "My card is lost"}, lambda answer: "card" in answer)

    :param inputs: the prompt's variables by name; ``messages``, ``response_schema``, ``tools``,
        ``tool_choice``, ``images`` and ``documents`` as in ``prompt(...)``.
    :param expected: a string: the answer's text must equal it, without white space around both. Any other
        JSON-like value (a dict, a list, a number, True, None): the answer must be JSON that equals it. A
        function: it is `check`.
    :param check: is given the answer (a `Completion`, which is a `str`) and returns True or False, or a share
        from 0 to 1 as partial credit. It may also assert; then its assert is read for feedback.
    :param split: ``"train"``, ``"validation"`` or ``"heldout"``; None leaves it to ``split=`` of `optimize`.
    :param samples: how often it is run each time, from 1; None leaves it to ``samples=`` of `optimize`.
    :param id: its name in results and reports; ``case 1``, ``case 2`` ... when not given.
    :param prompt: which prompt it asks, by the name of its stage; needed when there are several.
    :raises SettingsError: names the argument, what was given and what is accepted.
    """

    def __init__(
        self,
        inputs: Mapping[str, object],
        expected: object = _MISSING,
        *,
        check: Check | None = None,
        split: Split | str | None = None,
        samples: int | None = None,
        id: str = "",
        prompt: str = "",
    ) -> None:
        given: object = inputs
        if not (isinstance(given, Mapping) and all(isinstance(name, str) for name in given)):
            raise SettingsError(
                f"Case(inputs={inputs!r:.200}): inputs must be a mapping from the prompt's variables to "
                "their values; a function is a case by itself, or Case.of(function, ...)"
            )
        if (expected is _MISSING) is (check is None):
            raise SettingsError("Case(inputs, ...): give one of expected and check")
        if check is None and callable(expected):
            check, expected = expected, _MISSING
        if check is not None and not callable(check):
            raise SettingsError(f"Case(check={check!r:.200}): check must be a function of the answer")
        self.inputs: Mapping[str, object] = dict(inputs)
        self.function: Callable[..., Any] | None = None
        self.check = check
        self._expected = expected
        self._name(split, samples, id, prompt)

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        split: Split | str | None = None,
        samples: int | None = None,
        id: str = "",
    ) -> Case:
        """A case that is a function, as a test is under pytest: it calls the prompt and asserts.

        >>> def refunds_go_to_billing(prompt):
        ...     assert prompt(ticket="Where is my refund?") == "billing"

        A plain function in the list of cases is the same; this form also takes what `Case` takes by name.

        :param function: takes ``prompt`` (or ``prompts``, the prompts by stage); may be async, and calls
            ``await prompt.acall(...)`` then. It is run again from the top for every answer that it waits for,
            so it must ask the same each time and have no lasting effect.
        """
        if not takes(function):
            raise SettingsError(
                f"a case that is a function must take `prompt` or `prompts`, got {function!r:.200}"
            )
        self = cls.__new__(cls)
        self.inputs, self.function, self.check, self._expected = {}, function, None, _MISSING
        self._name(split, samples, id, "")
        return self

    def _name(self, split: Split | str | None, samples: int | None, id: str, prompt: str) -> None:
        if split is not None and split not in list(Split):
            raise SettingsError(f"Case(split={split!r}): split must be one of {', '.join(Split)}")
        if samples is not None and (type(samples) is not int or samples < 1):
            raise SettingsError(f"Case(samples={samples!r}): samples must be a whole number from 1")
        if {type(id), type(prompt)} != {str}:
            raise SettingsError(f"Case(id={id!r}, prompt={prompt!r}): both must be texts")
        self.split = None if split is None else Split(split)
        self.samples, self.id, self.prompt = samples, id, prompt

    def __repr__(self) -> str:
        what = self.function or self.check or self.expected
        return f"Case({what!r})" if self.function else f"Case({dict(self.inputs)!r}, {what!r})"

    @property
    def expected(self) -> Any:
        """The text or JSON value that the answer must equal. Raises `AttributeError` when a check decides."""
        if self._expected is _MISSING:
            raise AttributeError("a check decides this case")
        return self._expected


def takes(function: Callable[..., Any]) -> str:
    """How a function takes its prompts: as ``prompt`` or ``prompts``; empty when it takes neither."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return ""
    return next((name for name in ("prompt", "prompts") if name in parameters), "")

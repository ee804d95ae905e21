"""Jinja2 with limits: a prompt file may be wrong, or come from somebody else, and must still end.

Its time and the size of its values are limited; the sandbox itself keeps it from Python's insides.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from types import BuiltinMethodType
from typing import Any

from jinja2 import Environment, StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from pytest_promptopt.unpatched import time

#: Seconds of one rendering; looked at in each round of a loop, call, filter and operation.
MAX_SECONDS = 5.0

#: Characters and items that all intermediate values of one rendering have together.
MAX_SIZE = 100_000_000

#: A number given to a filter or to a method of a text is mostly a width; the sandbox's own limit of `range`.
MAX_NUMBER = 100_000

#: Bits of a number that is computed.
MAX_BITS = 10_000

# Names that no template can write.
_COUNTED, _JOINED = "promptopt counted", "promptopt joined"

#: What puts a text that it is given into its result many times; at once in `replace`, else with each line.
_REPEATING = ("replace", "indent", "wordwrap")

#: What is put in by ``%`` or `format`, with its width; a width may be given like a value.
_FIELD = re.compile(r"\{[^{}]*\}|%(?:\([^)]*\))?[^%a-zA-Z]*[a-zA-Z]")
_NUMBER = re.compile(r"\d+")
_NESTED_FIELD = re.compile(r"\{[^{}]*\{|%[^%a-zA-Z]*\*")


class _Meter:
    """What one rendering has done so far. Each method raises `OverflowError` when it is too much."""

    def __init__(self) -> None:
        self._size = 0
        self._end = time.monotonic() + MAX_SECONDS

    def step(self) -> None:
        if time.monotonic() > self._end:
            raise OverflowError(f"it takes more than {MAX_SECONDS:g} seconds")

    def grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_SIZE:
            raise OverflowError(f"its values grow beyond {MAX_SIZE:,} characters")

    def text_operation(self, name: str, subject: Any, given: Iterable[Any]) -> None:
        """Before a filter or a method: what it may come to, by its name."""
        self.step()
        text, given = _text(subject), [_text(value) for value in given]
        if name in ("format", "format_map", "%") and isinstance(text, str):
            fields = " ".join(_FIELD.findall(text))
            _check_numbers(int(number[:9]) for number in _NUMBER.findall(fields))
            if not _NESTED_FIELD.search(text):
                return  # the numbers given are shown, and none is a width
        _check_numbers(value for value in given if type(value) is int)
        texts = [value for value in given if isinstance(value, str)]
        longest = max(map(len, texts), default=0)
        if name == "join":
            items, separator = (
                (given[0], len(text)) if isinstance(text, str) and given else (subject, longest)
            )
            self.grow(separator * (len(items) if isinstance(items, Sized) else MAX_NUMBER))
        elif isinstance(text, str) and texts and name in _REPEATING:
            self.grow(longest * (1 + text.count(texts[0] if name == "replace" else "\n")))

    def operation(self, operator: str, left: Any, right: Any) -> None:
        """Before ``+``, ``*``, ``**`` and ``%``."""
        self.step()
        if isinstance(left, int) and isinstance(right, int):
            bits, more = left.bit_length(), right.bit_length()
            if (operator == "**" and bits * abs(right) > MAX_BITS) or (
                operator == "*" and bits + more > MAX_BITS
            ):
                raise OverflowError(f"a number of more than {MAX_BITS:,} bits")
        elif operator == "*":
            for value, times in ((left, right), (right, left)):
                if isinstance(value, Sized) and isinstance(times, int):
                    self.grow(len(value) * max(0, times))
        elif operator == "+":
            self.grow(sum(len(value) for value in (left, right) if isinstance(value, Sized)))
        elif operator == "%":
            given = list(right) if isinstance(right, tuple) else [right]
            self.text_operation("%", left, given)


def _check_numbers(numbers: Iterable[int]) -> None:
    for number in numbers:
        if number > MAX_NUMBER:
            raise OverflowError(f"a width of more than {MAX_NUMBER:,}")


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


_running: ContextVar[_Meter | None] = ContextVar("_running", default=None)


def _meter() -> _Meter:
    return _running.get() or _Meter()


@contextmanager
def rendering_limits() -> Iterator[None]:
    """The limits of one rendering, in one thread."""
    token = _running.set(_Meter())
    try:
        yield
    finally:
        _running.reset(token)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox of all prompt files."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
        # Equal variables must render equal messages: nothing random.
        del self.globals["lipsum"], self.filters["random"]
        # Fewer reserved names: `dict` or `cycler` are fine names for a variable.
        for unused in ("dict", "cycler", "joiner"):
            del self.globals[unused]
        self.filters = {name: _metered_filter(name, function) for name, function in self.filters.items()}
        self.filters |= {_COUNTED: _counted, _JOINED: _concat}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _meter().operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        method = getattr(__obj, "__wrapped__", __obj)  # of `format`, which the sandbox wraps
        if isinstance(method, BuiltinMethodType) and isinstance(method.__self__, str | bytes):
            if method.__name__ == "translate":
                raise SecurityError("`translate` is not supported in a prompt file")
            _meter().text_operation(method.__name__, method.__self__, [*args, *kwargs.values()])
        else:
            _meter().step()
        result = super().call(__context, __obj, *args, **kwargs)
        _meter().grow(len(result) if isinstance(result, str | bytes | list | tuple) else 0)
        return result

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        return _concat(pieces)


def _concat(values: Iterable[Any]) -> str:
    texts = [str(value) for value in values]
    _meter().step()
    _meter().grow(sum(map(len, texts)))
    return str_join(texts)


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    meter, iterator = _meter(), iter(values)

    def items() -> Iterator[Any]:
        for value in iterator:
            meter.step()
            yield value

    return items()


def _metered_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        subject, *given = [arg for arg in args if not isinstance(arg, Context | EvalContext | Environment)]
        _meter().text_operation(name, subject, [*given, *kwargs.values()])
        result = function(*args, **kwargs)
        _meter().grow(len(result) if isinstance(result, str | bytes | list | tuple) else 0)
        return result

    return filtered


class _Counting(NodeTransformer):
    """Puts the meter into loops and ``~``."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, _COUNTED, [], [], None, None, lineno=node.iter.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        together = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(together, _JOINED, [], [], None, None, lineno=node.lineno)


def with_limits(tree: nodes.Template, environment: PromptEnvironment) -> nodes.Template:
    """The same template with the meter in its loops."""
    counted: nodes.Template = _Counting().visit(tree)
    counted.set_environment(environment)
    return counted

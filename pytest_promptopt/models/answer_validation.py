"""What a model reports is checked before anybody reckons with it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import astuple, replace
from json import dumps
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.models.secret_redaction import redact_secrets
from pytest_promptopt.records import Answer, Request, Usage
from pytest_promptopt.records.content import ToolCall

#: No call has more tokens, or costs more dollars; what says so is a mistake.
MOST_TOKENS, MOST_DOLLARS = 2**40, 1e6

#: Longer than anybody waits.
MOST_SECONDS = 1e9


def usage_of(*counters: object) -> Usage | None:
    """The counters in the order of `Usage`; None (the provider did not say) when one cannot be true.

    One that is missing counts as 0, except the first two.
    """
    first, second, *more = counters
    found = [_count(counter) for counter in (first, second, *(0 if c is None else c for c in more))]
    return None if None in found else Usage(*(count for count in found if count is not None))


def validated_answer(answer: Any, request: Request, seconds: float) -> Answer:
    """`answer` with what can be reckoned with; what cannot be true was not said.

    :param seconds: how long it took, in case it does not say so itself.

    Raises `ModelError` (DEFECT) when it is no answer, which its author has to mend.
    """
    if not isinstance(answer, Answer):
        raise _mistake(request.model, f"a {type(answer).__name__}, and no Answer")
    for name in ("text", "stop_reason"):
        if not isinstance(getattr(answer, name), str):
            value = getattr(answer, name)
            raise _mistake(request.model, f"an Answer whose {name} is a {type(value).__name__}, and no str")
    calls: Any = answer.tool_calls
    if not isinstance(calls, list | tuple) or not all(isinstance(call, ToolCall) for call in calls):
        raise _mistake(request.model, f"an Answer whose tool_calls are {calls!r}, and no ToolCalls"[:300])
    for call in calls:
        _check_call(call, request.model)
    usage = usage_of(*astuple(answer.usage)) if isinstance(answer.usage, Usage) else None
    # A cost is mostly reckoned from the counters: if those are wrong, so is it.
    cost = _amount(answer.cost) if answer.usage is None or usage is not None else None
    model: Any = answer.model
    thinking: Any = answer.thinking
    return replace(
        answer,
        text=str(answer.text),
        stop_reason=str(answer.stop_reason),
        model=str(model) if isinstance(model, str) else request.model,
        thinking=str(thinking) if isinstance(thinking, str) else "",
        tool_calls=tuple(
            replace(call, id=call.id or f"call_{number}") for number, call in enumerate(calls, start=1)
        ),
        usage=usage,
        cost=cost,
        latency=latency if (latency := _amount(answer.latency)) is not None else seconds,
    )


def validated_error(error: ModelError, model: str) -> ModelError:
    """`error`, which a model or the hook that makes it has raised, with what can be reckoned with.

    One of no known kind is a DEFECT, and says so.

    :param model: that was asked, in case it does not say so itself.
    """
    given, kind, said = getattr(error, "kind", None), ErrorKind.DEFECT, error_words(error, kind=False)
    try:
        kind = ErrorKind(given)  # type: ignore[arg-type]
    except ValueError:
        what = repr(given) if isinstance(given, str) else f"a {type(given).__name__}"
        said += f" (a ModelError whose kind is {what}, and no ErrorKind; that is for its author to mend)"
    name, status = getattr(error, "model", None), getattr(error, "status", None)
    return ModelError(
        kind,
        said,
        model=name if isinstance(name, str) and name else model,
        status=status if isinstance(status, int) else None,
        retry_after=_seconds(getattr(error, "retry_after", None)),
        reply=getattr(error, "reply", None),
        raised=getattr(error, "raised", None),
    )


def error_words(error: BaseException, *, kind: bool = True) -> str:
    """What `error` says, without secrets; an error of code that is not ours may not even have words.

    :param kind: with the name of its class before it.
    """
    name = type(error).__name__
    try:
        return redact_secrets(f"{name}: {error}" if kind else str(error))
    except Exception:
        return name


def _seconds(value: object) -> float | None:
    """A time to wait; None for anything that is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return float(min(value, MOST_SECONDS))


def _count(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        count = operator.index(value)
    except TypeError:
        return None
    return count if 0 <= count < MOST_TOKENS else None


def _amount(value: object) -> float | None:
    """A number that is not negative and not absurd; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MOST_DOLLARS else None


def _check_call(call: Any, model: str) -> None:
    """Raises `ModelError` (DEFECT) unless the arguments of a call are a JSON object, and its name a text."""
    texts = [call.name, call.id, call.unreadable]
    try:
        told = all(isinstance(text, str) for text in texts) and isinstance(call.arguments, Mapping)
        dumps(dict(call.arguments) if told else None)
    except (TypeError, ValueError, RecursionError):
        told = False
    if not told:
        said = f"ToolCall({call.name!r}, {call.arguments!r})"[:200]
        raise _mistake(model, f"{said}, whose arguments are no JSON object, or whose name is no str")


def _mistake(model: str, what: str) -> ModelError:
    said = f"{model}: the model returned {what}; that is for its author to mend"
    return ModelError(ErrorKind.DEFECT, redact_secrets(said), model=model)

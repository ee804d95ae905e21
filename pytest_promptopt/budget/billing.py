"""What a request may be billed: how many answers, how long, and what nobody can know before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from json import dumps

from pytest_promptopt.records import LENGTH_NAMES, Request

# Without capitals and underscores: providers write the same names in both ways.

#: Parameters that ask for several answers to one request, each billed.
_COUNTS = frozenset(
    {"n", "bestof", "candidatecount", "numgenerations", "numoutputs", "numresults", "numreturnsequences"}
    | {"samplecount"}
)

#: Tokens of thought that some providers bill on top of the answer; a negative number leaves it to the model.
_THOUGHT = "thinkingbudget"

#: Parameters that limit an answer; where several are given, a provider may hold to any one of them.
_LIMITS = frozenset(
    {name.replace("_", "").lower() for name in LENGTH_NAMES}
    | {"maxgenlen", "maxlength", "maxtokencount", "maxtokens"}
)

#: Parameters by which a provider reads or says more than what is sent and what the limit allows: results of
#: searches, audio, what it keeps of earlier calls, further calls to other models.
_UNBOUNDED = frozenset(
    {
        "audio",
        "cachedcontent",
        "connectors",
        "container",
        "contextwindowfallbackdict",
        "contextwindowfallbacks",
        "conversation",
        "datasources",
        "enablesearch",
        "fallbacks",
        "googlesearchretrieval",
        "mcpservers",
        "modalities",
        "models",
        "plugins",
        "previousresponseid",
        "responsemodalities",
        "searchparameters",
        "websearch",
        "websearchoptions",
    }
)

#: Tokens. More are no number that an account can hold together with others, so they are none that a call has.
MOST = 2**40

#: Tools of these types are the caller's own; any other one the provider runs, and bills.
_OWN_TOOLS = ("function", "custom")

#: What describes a tool of the caller's own without a type: one of the first, or one of the others alone.
_DESCRIBED = frozenset({"name", "function"})
_LISTED = (frozenset({"functiondeclarations"}), frozenset({"toolspec"}))


def answer_bound(request: Request, default: int) -> int:
    """The most tokens of all answers to `request` together.

    :param default: tokens of an answer without a limit.
    """
    given = [(_plain(name), value) for name, value in _named(request.parameters)]
    limits = [request.max_tokens, *(_whole_number(value) for name, value in given if name in _LIMITS)]
    counts = [_whole_number(value) or 1 for name, value in given if name in _COUNTS]
    # A predicted answer is billed where the real one differs.
    predicted = sum(len(dumps(value).encode()) for name, value in given if name == "prediction")
    thought = max((_whole_number(value) or 0 for name, value in given if name == _THOUGHT), default=0)
    longest = max((limit for limit in limits if limit is not None), default=default)
    return min((longest + thought) * max(counts, default=1) + predicted, MOST)


def unbounded_parameter(request: Request) -> str:
    """The parameter by which `request` may bill more than can be known before; empty when there is none."""
    return next(
        (name for name, value in _named(request.parameters) if _is_unbounded(_plain(name), value)), ""
    )


def _is_unbounded(name: str, value: object) -> bool:
    if name in _LIMITS | _COUNTS:
        number = _parse_number(value)
        return number is not None and not 0 < number < MOST  # some read 0 or less as "no limit"
    if name == _THOUGHT:
        number = _parse_number(value)
        return number is not None and not 0 <= number < MOST
    # Not even an empty mapping is nothing: `web_search_options={}` has it search.
    return (bool(value) or isinstance(value, Mapping)) and (
        name in _UNBOUNDED or (name == "tools" and has_foreign_tools(value))
    )


def _named(value: object) -> Iterator[tuple[str, object]]:
    """All names in a value, however deep: ``extra_body``, ``generation_config`` and ``options`` hold more."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name), inner
            yield from _named(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _named(inner)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _whole_number(value: object) -> int | None:
    number = _parse_number(value)
    return None if number is None or not math.isfinite(number) else max(0, math.ceil(number))


def _parse_number(value: object) -> float | None:
    """A number, also one that is written as text; None for anything else, which is no setting."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None if isinstance(value, str) else math.inf


def has_foreign_tools(tools: object) -> bool:
    """Whether a provider runs one of these tools by itself, and bills it."""
    return not all(map(_is_own, tools if isinstance(tools, list | tuple) else [tools]))


def _is_own(tool: object) -> bool:
    if not isinstance(tool, Mapping):
        return False
    if "type" in tool:
        return tool["type"] in _OWN_TOOLS
    names = {_plain(str(name)) for name in tool}
    return bool(names & _DESCRIBED) or names in _LISTED

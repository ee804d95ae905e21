"""What is wrong with the tools that an answer calls: which one, with what, how many, in which order.

A check on calls is known by its values (the name of a tool that was called, the arguments of a call), and by
its source where the values alone could be something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.failures.failure_context import FailureContext
from pytest_promptopt.failures.symptoms import Symptom, SymptomKind
from pytest_promptopt.records.content import ToolCall
from pytest_promptopt.text import quote

#: A check that speaks of calls.
_ABOUT = re.compile(r"\b(?:tool_)?calls?\b|\.arguments\b")
#: ``call.arguments["city"]`` and ``call.arguments.get("city")``.
_ARGUMENT = re.compile(r"\barguments(?:\[|\.get\()\s*(['\"])(?P<name>.+?)\1")
#: ``call.name == "book"``.
_NAMED = re.compile(r"\.name == (['\"])(?P<name>[\w-]+)\1")
_KEY = re.compile(r"KeyError: |^['\"]|['\"]$")
_UNPACKED = re.compile(r"(?:not enough|too many) values to unpack \(expected (?:at least )?(\d+)")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class ToolFault:
    """One thing that is wrong with the calls of an answer.

    :param told: the same with the values of this answer.
    """

    symptom: Symptom
    told: str


def tool_faults(subject: FailureContext) -> tuple[ToolFault, ...]:
    """What is wrong with the calls of the answer; empty where the failed check is about something else."""
    call = subject.judged
    if call is None or not (call.tool_calls or call.tools):
        return ()
    return tuple(dict.fromkeys(_Faults(subject, call.tool_calls, _names(call.tools)).found()))


def _names(lines: Sequence[str]) -> tuple[str, ...]:
    """The names of tools in a line each, ``look_up(city: string)``."""
    return tuple(line.partition("(")[0] for line in lines)


class _Faults:
    def __init__(self, subject: FailureContext, made: Sequence[ToolCall], offered: Sequence[str]) -> None:
        self._subject = subject
        self._made = made
        self._offered = offered
        failure = subject.failure
        self._source = f"{failure.check}\n{failure.constraint or ''}"
        #: Without a text of its own the answer has nothing else that a check could be about.
        self._about = _ABOUT.search(self._source) is not None or not subject.said_text

    def found(self) -> Iterator[ToolFault]:
        broken = [call for call in self._made if call.unreadable]
        if broken and self._about:
            yield from (_unreadable(call) for call in broken)
            return
        subject = self._subject
        if not subject.asserted and subject.operator is None:
            yield from self._raised()
        elif subject.operator == "==":
            yield from self._unequal(subject.expected, subject.actual)
        elif subject.operator in ("in", "not in"):
            yield from self._membership(subject.operator)
        elif subject.operator is not None:
            yield from self._counted()
        else:
            yield from self._unmet()

    # ------------------------------------------------------------------------------------ equality

    def _unequal(self, expected: Any, actual: Any) -> Iterator[ToolFault]:
        called = [call.name for call in self._made]
        if (wanted := _as_calls(expected)) is not None and self._is_all(actual):
            yield from compare_calls(wanted, self._made)
        elif isinstance(expected, list) and isinstance(actual, list) and self._are_names(actual, expected):
            yield from _compare_names([str(name) for name in expected], called)
        elif isinstance(expected, str) and isinstance(actual, str) and actual in called and self._about:
            if expected in called:
                yield _out_of_order(expected, actual)
            elif expected in self._offered or _ABOUT.search(self._source) or "name" in self._source:
                yield _wrong_tool(expected, actual)
        elif isinstance(expected, Mapping) and isinstance(actual, Mapping) and (one := self._with(actual)):
            yield from _compare_arguments(one.name, expected, one.arguments)
        elif (one_wanted := _as_call(expected)) is not None and (call := self._told_as(actual)) is not None:
            yield from compare_calls([one_wanted], [call])
        elif isinstance(actual, int) and isinstance(expected, int) and self._counts():
            yield from self._number(expected, actual)
        elif actual is None and (lacking := self._lacking()) is not None:
            yield _missing_argument(*lacking, expected)
        elif (name := self._argument(actual)) is not None:
            yield _wrong_argument(*name, expected, actual)
        elif self._made and self._is_text(actual):
            yield _called_instead(self._made)

    def _is_all(self, actual: Any) -> bool:
        """Whether what was compared is all calls of the answer."""
        told = _as_calls(actual)
        return told is not None and list(told) == list(self._made) and bool(told or self._about)

    def _are_names(self, actual: list[Any], expected: list[Any]) -> bool:
        texts = all(isinstance(each, str) for each in (*actual, *expected))
        return texts and actual == [call.name for call in self._made] and self._about

    def _with(self, arguments: Mapping[str, Any]) -> ToolCall | None:
        """The call with these arguments."""
        return next((call for call in self._made if dict(call.arguments) == dict(arguments)), None)

    def _told_as(self, actual: Any) -> ToolCall | None:
        found = _as_call(actual)
        return found if found in self._made else None

    def _argument(self, value: Any) -> tuple[str, str] | None:
        """Tool and name of the argument that a check is about."""
        for named in _ARGUMENT.finditer(self._source):
            for call in self._made:
                if call.arguments.get(named["name"]) == value:
                    return call.name, named["name"]
        if not self._about:
            return None
        holding = [
            (call.name, name)
            for call in self._made
            for name, given in call.arguments.items()
            if given == value and type(given) is type(value)
        ]
        return holding[0] if len(set(holding)) == 1 else None

    def _lacking(self) -> tuple[str, str] | None:
        """Tool and name of the argument that a check reads and that its call does not have."""
        for named in _ARGUMENT.finditer(self._source):
            for call in self._made:
                if named["name"] not in call.arguments:
                    return call.name, named["name"]
        return None

    def _unfit(self) -> ToolFault | None:
        """The argument that a check reads, whose value is not as it has to be."""
        for named in _ARGUMENT.finditer(self._source):
            for call in self._made:
                if (name := named["name"]) in call.arguments:
                    rule = self._subject.requirement or self._subject.failure.check
                    told = f"the argument {name} of {call.name} is {quote(call.arguments[name])}"
                    symptom = Symptom.of(SymptomKind.WRONG_ARGUMENT, name, call.name)
                    return ToolFault(symptom, f"{told}; must hold: {rule.removeprefix('assert ')}")
        return None

    def _wanted_call(self) -> ToolFault | None:
        """The tool that a check looks for among the calls, ``any(c.name == 'book' for c in ...)``."""
        called = [call.name for call in self._made]
        for named in _NAMED.finditer(self._source):
            if named["name"] not in called:
                return _missing_call(named["name"]) if called else _no_call()
        return None

    def _is_text(self, actual: Any) -> bool:
        return isinstance(actual, str) and not actual.strip() and not self._subject.said_text

    # ------------------------------------------------------------------------- membership and counts

    def _membership(self, operator: str) -> Iterator[ToolFault]:
        failure, (_, looked_for) = self._subject.failure, self._subject.membership or ("", "")
        actual = failure.actual
        called = [call.name for call in self._made]
        if isinstance(actual, Mapping) and (call := self._with(actual)) is not None and looked_for:
            yield (
                _missing_argument(call.name, looked_for)
                if operator == "in"
                else _extra_argument(call.name, looked_for)
            )
        elif isinstance(actual, list) and actual == called and looked_for and self._about:
            yield _missing_call(looked_for) if operator == "in" else _extra_call(looked_for)
        elif isinstance(actual, str) and actual in called and self._about:
            allowed = (failure.constraint or "").partition(f" {operator} ")[2]
            yield _wrong_tool(allowed, actual)
        elif operator == "in" and (name := self._argument(actual)) is not None:
            allowed = (failure.constraint or "").partition(" in ")[2]
            yield _wrong_argument(*name, f"one of {allowed}" if allowed else "", actual, quoted=False)
        elif self._made and not self._subject.said_text and looked_for and operator == "in":
            yield _called_instead(self._made)

    def _counts(self) -> bool:
        return re.search(r"\blen\(", self._source) is not None and self._about

    def _counted(self) -> Iterator[ToolFault]:
        given = self._subject.failure.actual
        if self._subject.operator == "!=" and self._about and given in [call.name for call in self._made]:
            yield _extra_call(str(given))
        elif not self._counts() and (unfit := self._unfit()) is not None:
            yield unfit
        if not self._counts() or not isinstance(given, int) or given != len(self._made):
            return
        numbers = [int(text) for text in _NUMBER.findall(self._subject.failure.constraint or "")]
        if numbers:
            yield from self._number(numbers[-1], given)

    def _number(self, wanted: int, given: int) -> Iterator[ToolFault]:
        if given != len(self._made):
            return
        if not given:
            yield _no_call()
        elif given > wanted:
            names = ", ".join(call.name for call in self._made)
            yield ToolFault(
                Symptom(SymptomKind.TOO_MANY_CALLS), f"{given} calls where {wanted} was wanted: {names}"
            )
        else:
            yield ToolFault(
                Symptom(SymptomKind.TOO_FEW_CALLS), f"{given} of the {wanted} calls that were wanted"
            )

    # -------------------------------------------------------------------------- exceptions and checks

    def _raised(self) -> Iterator[ToolFault]:
        kind, message = self._subject.kind, self._subject.failure.message
        if kind == "KeyError" and self._made and self._about:
            key = _KEY.sub("", message.strip())
            lacking = next((call for call in self._made if key not in call.arguments), None)
            if key and lacking is not None:
                yield _missing_argument(lacking.name, key)
        elif kind == "IndexError" and "index out of range" in message and self._about:
            if self._made:
                told = f"{len(self._made)} calls, and the check asks for a later one"
                yield ToolFault(Symptom(SymptomKind.TOO_FEW_CALLS), told)
            else:
                yield _no_call()
        elif kind == "ValueError" and self._about and (wanted := _UNPACKED.search(message)):
            yield from self._number(int(wanted[1]), len(self._made))
        elif kind == "StopIteration" and (missing := self._wanted_call()) is not None:
            yield missing
        elif "JSON" in kind + message and self._made and not self._subject.said_text:
            yield _called_instead(self._made)

    def _unmet(self) -> Iterator[ToolFault]:
        check = (self._subject.failure.constraint or self._subject.message).removeprefix("assert ").strip()
        if (unfit := self._unfit()) is not None:
            yield unfit
        if unfit is not None or not re.search(r"\btool_calls\b", check):
            return
        if check.startswith("not ") and self._made:
            yield _called_instead(self._made)
        elif not self._made:
            yield _no_call()
        elif check.startswith("any(") and (missing := self._wanted_call()) is not None:
            yield missing


def compare_calls(wanted: Sequence[ToolCall], made: Sequence[ToolCall]) -> Iterator[ToolFault]:
    """What is wrong with the calls `made` where those of `wanted` had to be made."""
    names, called = [call.name for call in wanted], [call.name for call in made]
    if Counter(names) != Counter(called):
        yield from _compare_names(names, called)
        return
    rest = list(made)
    for call in wanted:
        same = [each for each in rest if each.name == call.name]
        other = next((each for each in same if each == call), same[0])
        rest.remove(other)
        yield from _compare_arguments(call.name, call.arguments, other.arguments)
    yield from _compare_order(names, called)


def _compare_names(names: Sequence[str], called: Sequence[str]) -> Iterator[ToolFault]:
    if not called:
        yield _no_call()
        return
    missing, extra = Counter(names) - Counter(called), Counter(called) - Counter(names)
    lost, added = list(missing.elements()), list(extra.elements())
    if len(names) == len(called):
        yield from (_wrong_tool(one, two) for one, two in zip(lost, added, strict=True))
    else:
        yield from map(_missing_call, lost)
        yield from map(_extra_call, added)
    if not lost and not added:
        yield from _compare_order(names, called)


def _compare_order(names: Sequence[str], called: Sequence[str]) -> Iterator[ToolFault]:
    place = (
        next((one, two) for one, two in zip(names, called, strict=True) if one != two)
        if list(names) != list(called)
        else None
    )
    if place is not None:
        yield _out_of_order(*place)


def _compare_arguments(tool: str, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[ToolFault]:
    for name, value in wanted.items():
        if name not in given:
            yield _missing_argument(tool, name, value)
        elif given[name] != value:
            yield _wrong_argument(tool, name, value, given[name])
    yield from (_extra_argument(tool, name) for name in given if name not in wanted)


def _as_calls(value: Any) -> list[ToolCall] | None:
    """A list of calls, as data; None for anything else."""
    if not isinstance(value, list):
        return None
    found = [_as_call(each) for each in value]
    return None if None in found else [call for call in found if call is not None]


def _as_call(value: Any) -> ToolCall | None:
    if isinstance(value, Mapping) and isinstance(value.get("name"), str) and "arguments" in value:
        return ToolCall.read(value["name"], value["arguments"])
    match value:
        case [str() as name, Mapping() as arguments]:
            return ToolCall(name, dict(arguments))
    return None


def _wrong_tool(wanted: str, called: str) -> ToolFault:
    return ToolFault(Symptom.of(SymptomKind.WRONG_TOOL, called, wanted), f"called {called}, and not {wanted}")


def _out_of_order(wanted: str, called: str) -> ToolFault:
    told = f"called {called} where {wanted} had to come first"
    return ToolFault(Symptom.of(SymptomKind.OUT_OF_ORDER, called, wanted), told)


def _missing_call(name: str) -> ToolFault:
    return ToolFault(Symptom.of(SymptomKind.MISSING_CALL, name), f"the call of {name} is missing")


def _extra_call(name: str) -> ToolFault:
    return ToolFault(Symptom.of(SymptomKind.EXTRA_CALL, name), f"the call of {name} is one too many")


def _no_call() -> ToolFault:
    return ToolFault(Symptom(SymptomKind.NO_CALL), "no tool was called")


def _called_instead(made: Sequence[ToolCall]) -> ToolFault:
    names = ", ".join(dict.fromkeys(call.name for call in made))
    return ToolFault(Symptom.of(SymptomKind.CALLED_INSTEAD, names), f"called {names} instead of answering")


def _unreadable(call: ToolCall) -> ToolFault:
    told = f"the arguments of {call.name} are no JSON object: {quote(call.unreadable)}"
    return ToolFault(Symptom.of(SymptomKind.UNREADABLE_ARGUMENTS, call.name), told)


_NOTHING = object()


def _missing_argument(tool: str, name: str, wanted: Any = _NOTHING) -> ToolFault:
    told = f"the argument {name} of {tool} is missing"
    told += "" if wanted is _NOTHING else f"; expected {quote(wanted)}"
    return ToolFault(Symptom.of(SymptomKind.MISSING_ARGUMENT, name, tool), told)


def _extra_argument(tool: str, name: str) -> ToolFault:
    told = f"the argument {name} of {tool} was not wanted"
    return ToolFault(Symptom.of(SymptomKind.EXTRA_ARGUMENT, name, tool), told)


def _wrong_argument(tool: str, name: str, wanted: Any, given: Any, *, quoted: bool = True) -> ToolFault:
    told = f"the argument {name} of {tool}: expected {quote(wanted) if quoted else wanted}"
    return ToolFault(Symptom.of(SymptomKind.WRONG_ARGUMENT, name, tool), f"{told} but got {quote(given)}")

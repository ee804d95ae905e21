"""A model's answer as a test sees it."""

from __future__ import annotations

import sys
from json import loads
from typing import Any

from pytest_promptopt.records import Answer, Usage
from pytest_promptopt.records.content import Part, Text, Thought, ToolCall, written_calls


class Completion(str):
    """A model's answer as a test sees it: a `str` that also knows where it came from.

    ``==``, ``in``, ``re`` and ``json.loads`` work as on any string. `cost` and `usage` are None when unknown;
    `cached` says that the answer was not paid for in this run; `thinking` is what the model thought aloud
    before the answer, empty when it did not. `tool_calls` are the tools that it calls, each with `name`,
    `arguments` and `id`; of an answer that does nothing else the text is empty. `content` is all of it, in
    parts: to go on, give it back as the ``content`` of an assistant turn in ``messages=``.
    """

    usage: Usage | None
    cost: float | None
    latency: float
    model: str
    stop_reason: str
    cached: bool
    thinking: str
    tool_calls: list[ToolCall]
    content: list[Part]

    def __new__(cls, answer: Answer, *, cached: bool = False) -> Completion:
        yaml = sys.modules.get("yaml.representer")
        if yaml is not None and Completion not in yaml.SafeRepresenter.yaml_representers:
            _teach(yaml.SafeRepresenter)
        self = super().__new__(cls, answer.text)
        self.usage = answer.usage
        self.cost = answer.cost
        self.latency = answer.latency
        self.model = answer.model
        self.stop_reason = answer.stop_reason
        self.cached = cached
        self.thinking = answer.thinking
        self.tool_calls = list(answer.tool_calls)
        thoughts = answer.thoughts or ((Thought(answer.thinking),) if answer.thinking else ())
        self.content = [*thoughts, *([Text(answer.text)] if answer.text else []), *answer.tool_calls]
        return self

    def json(self) -> Any:
        """The answer parsed as JSON.

        Raises `ValueError` that shows the start of the answer when it is not JSON.
        """
        try:
            return loads(self)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the completion is not JSON ({error}): {str(self)[:200]!r}") from None

    def __reduce__(self) -> tuple[object, ...]:
        answer = Answer(
            str(self),
            self.model,
            self.stop_reason,
            self.usage,
            self.cost,
            self.latency,
            self.thinking,
            tool_calls=tuple(self.tool_calls),
            thoughts=tuple(p for p in self.content if isinstance(p, Thought) and (p.signature or p.redacted)),
        )
        return (_rebuild_completion, (answer, self.cached))


def told_answer(answer: str) -> str:
    """An answer for whoever reads it: its text, and the calls of tools of one that makes some."""
    calls = written_calls(answer.tool_calls) if isinstance(answer, Completion) else ""
    return "\n".join(filter(None, (str(answer), calls))) if calls else answer


def _teach(dumper: Any) -> None:
    """Have the dumpers of PyYAML, which take `str` itself only, write completions; later ones inherit it."""
    if "yaml_representers" in vars(dumper):
        dumper.add_representer(Completion, lambda writer, answer: writer.represent_str(str(answer)))
    for other in dumper.__subclasses__():
        _teach(other)


def _rebuild_completion(answer: Answer, cached: bool) -> Completion:
    return Completion(answer, cached=cached)

"""An optimizer request and a small refinement loop around `demo`, for tests that need no engine."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_promptopt.models.demo import DemoModel
from pytest_promptopt.records import Message, Request

Case = tuple[str, Any]

DIRECTIONS = (
    "State outright the rules that the failures show to be missing.",
    "Draw the boundaries: say what tells confused answers apart.",
    "Cut what misleads and keep the rest as it is.",
)
MOST_FAILURES = 12
MOST_PASSING = 3


def ask(*messages: Message, **options: Any) -> str:
    """What `demo` answers."""
    return asyncio.run(DemoModel().complete(Request("demo", messages, **options))).text


def answer(prompt: str, **variables: str) -> str:
    """What `demo` answers to a template with ``{{ name }}`` variables."""
    for name, value in variables.items():
        prompt = prompt.replace(f"{{{{ {name} }}}}", value)
    return ask(Message("user", prompt))


def literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("</", "<\\/")


def request(
    prompt: str,
    failing: Sequence[tuple[Mapping[str, str], Any, Any]],
    *,
    passing: Sequence[tuple[Mapping[str, str], Any]] = (),
    direction: str = DIRECTIONS[0],
    keep: Sequence[str] = (),
) -> str:
    """The user message of the proposer: (inputs, expected, actual) per failure; None is not told."""
    lines = ["<keep>", *keep, "</keep>"] if keep else []
    lines += [f'<failures failing="{len(failing)}" total="{len(failing) + len(passing)}">']
    lines += [f'<category name="wrong" count="{len(failing)}">', "observed: these answers are wrong"]
    for number, (inputs, expected, actual) in enumerate(failing, 1):
        lines += [f"Case {number}", *(f"input {name}: {literal(value)}" for name, value in inputs.items())]
        lines += ["message: no JSON" if expected is None else f"expected: {literal(expected)}"]
        lines += [f"actual: {literal(actual)}", f"difference: got {literal(actual)}"]
    lines += ["</category>", "</failures>", "<passing>"]
    for number, (inputs, actual) in enumerate(passing, len(failing) + 1):
        lines += [f"Case {number}", *(f"input {name}: {literal(value)}" for name, value in inputs.items())]
        lines += [f"answer: {literal(actual)}"]
    lines += [
        "</passing>",
        "<patterns>",
        "</patterns>",
        "<current_prompt>",
        prompt,
        "</current_prompt>",
        "<variables>any</variables>",
        f"<direction>\n{direction}\n</direction>",
        "",
    ]
    return "\n".join([*lines, "Write it between <new_prompt> and </new_prompt>, a <reason> before it."])


def proposal(text: str) -> tuple[str, str]:
    """The reason and the prompt in the reply to a request."""
    reply = ask(Message("system", "You improve prompts."), Message("user", text))
    match = re.fullmatch(r"<reason>(.+?)</reason>\n<new_prompt>\n(.*)\n</new_prompt>", reply, re.DOTALL)
    assert match, reply
    return match[1], match[2]


class Search:
    """Refinement without the plugin: of three candidates the best on the cases is kept."""

    def __init__(self, prompt: str, variable: str, cases: Sequence[Case], *, parse: bool = False) -> None:
        self.prompt = prompt
        self.variable = variable
        self.cases = cases
        self.parse = parse
        self._draw = random.Random(0)

    def rate(self, cases: Sequence[Case]) -> float:
        """The share of `cases` that pass under the prompt as it is now."""
        return self._rate(self.prompt, cases)

    def step(self) -> None:
        """One iteration."""
        answered = [(text, expected, self._answer(self.prompt, text)) for text, expected in self.cases]
        failing = [
            ({self.variable: text}, None if self.parse and isinstance(actual, str) else expected, actual)
            for text, expected, actual in answered
            if actual != expected
        ]
        passing = [
            ({self.variable: text}, actual) for text, expected, actual in answered if actual == expected
        ]
        if not failing:
            return
        shown = self._draw.sample(failing, min(MOST_FAILURES, len(failing)))
        guards = self._draw.sample(passing, min(MOST_PASSING, len(passing)))
        candidates = [
            proposal(request(self.prompt, shown, passing=guards, direction=direction))[1]
            for direction in DIRECTIONS
        ]
        best = max(candidates, key=lambda candidate: self._rate(candidate, self.cases))
        if self._rate(best, self.cases) >= self.rate(self.cases):
            self.prompt = best

    def _rate(self, prompt: str, cases: Sequence[Case]) -> float:
        right = [text for text, expected in cases if self._answer(prompt, text) == expected]
        return len(right) / len(cases)

    def _answer(self, prompt: str, text: str) -> Any:
        said = answer(prompt, **{self.variable: text})
        if self.parse:
            try:
                return json.loads(said)
            except ValueError:
                pass
        return said

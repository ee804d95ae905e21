"""``program.json::classify``: the instructions of a predictor in the state that a DSPy module has saved.

``module.save("program.json")`` writes a key for each predictor, such as ``classify``, ``rewrite.predict``
(that of a ChainOfThought called ``rewrite``) or ``steps[0]``, and below it ``signature.instructions``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_promptopt.errors import PromptFileError
from pytest_promptopt.prompts.layout import decode
from pytest_promptopt.prompts.sources.key_paths import KeyPath, missing
from pytest_promptopt.prompts.sources.probed_values import json_value
from pytest_promptopt.prompts.sources.source import SourceText

#: What the predictor within a module such as ChainOfThought is called; it may be left out.
_INNER = ".predict"

_INSTRUCTIONS = ("signature", "instructions")

#: The name of the template language of instructions: DSPy fills nothing in.
_LANGUAGE = "none"


@dataclass(frozen=True)
class JsonText:
    """A string of a JSON file; in a saved state of DSPy the name of a predictor means its instructions."""

    path: KeyPath

    def read(self, content: bytes, *, name: str) -> SourceText:
        state = _state(content, name)
        key = _predictor(self.path, state)
        if key is not None:
            place = KeyPath((key, *_INSTRUCTIONS))
            return replace(json_value(place).read(content, name=name), language=_LANGUAGE, is_dspy=True)
        if state and str(self.path.steps[0]) not in state:
            said = missing(str(self.path), predictors(content, name=name), "the saved state of a DSPy module")
            raise PromptFileError(name, None, said.replace("no key", "no predictor"))
        return json_value(self.path).read(content, name=name)


def predictors(content: bytes, *, name: str) -> Sequence[str]:
    """The predictors in a saved state of DSPy, as they are named after ``::``; none for any other file."""
    return [key.removesuffix(_INNER) for key, value in _state(content, name).items() if _has_text(value)]


def predictor_path(name: str) -> str:
    """What stands after ``::`` for a predictor; in quotes where it would be read as another path."""
    try:
        reads_the_same = str(KeyPath.parse(name)) == name
    except ValueError:
        reads_the_same = False
    return name if reads_the_same else str(KeyPath((name,)))


def _state(content: bytes, name: str) -> dict[str, Any]:
    """A file's content if it is the state of a DSPy module; else nothing."""
    try:
        data = json.loads(decode(content, name=name).removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return {}
    if isinstance(data, dict) and any(_has_text(value) for value in data.values()):
        return data
    return {}


def _has_text(value: Any) -> bool:
    """Whether a value of a state is a predictor's."""
    signature = value.get(_INSTRUCTIONS[0]) if isinstance(value, dict) and "demos" in value else None
    return isinstance(signature, dict) and isinstance(signature.get(_INSTRUCTIONS[1]), str)


def _predictor(path: KeyPath, state: dict[str, Any]) -> str | None:
    """The key of the predictor that a path means, by its name or by the path to its instructions."""
    steps = path.steps
    if steps[-2:] == _INSTRUCTIONS and len(steps) == 3:
        steps = steps[:1]
    # A dot or brackets in a predictor's name are not those of a path.
    name = str(steps[0]) if len(steps) == 1 else str(path)
    found = (key for key in (name, name + _INNER) if _has_text(state.get(key)))
    return next(found, None)

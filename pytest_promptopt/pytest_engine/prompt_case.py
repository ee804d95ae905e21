"""A prompt case: an item with its mark, its prompt files and the requests that its calls become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.assertions.function_source import TestSource, source_of
from pytest_promptopt.assertions.plain_values import parameter_text, readable_value
from pytest_promptopt.assertions.static_values import NoValue
from pytest_promptopt.errors import NoModelError, SettingsError
from pytest_promptopt.models.registry import canonical_name
from pytest_promptopt.models.strict_schemas import schema_of
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.pytest_engine import internals
from pytest_promptopt.pytest_engine.mark import Mark, is_json
from pytest_promptopt.records import SPELLED, Case, Message, Request


@dataclass(frozen=True, eq=False)
class PromptCase:
    """An item with everything that its runs need."""

    item: pytest.Item
    case: Case
    files: Mapping[str, PromptFile]
    mark: Mark
    #: Of the settings; marks and prompt files may name others.
    model: str | None
    #: The samples that its item runs: all of the case, unless several items repeat one.
    samples: range

    @property
    def replays(self) -> bool:
        """Whether the case may be run again from the top to find its answers."""
        return self.mark.replay

    def model_of(self, file: PromptFile) -> str:
        """The model that answers `file`: the mark decides over the front matter, that over the settings.

        Raises `SettingsError` when none is named.
        """
        model = self.mark.model or file.front.model or self.model
        if model is None:
            raise NoModelError(
                f"{file.name}: no model to ask; set --promptopt-model=PROVIDER/MODEL (ini promptopt_model), "
                "model= in @pytest.mark.prompt or `model:` in the front matter; `demo` needs no key"
            )
        return canonical_name(model)

    @property
    def asks(self) -> bool:
        """Whether its test has one of our fixtures; otherwise there is no answer that it could wait for."""
        return not {"prompt", "prompts"}.isdisjoint(getattr(self.item, "fixturenames", ()))

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """The values that the test is parametrized with."""
        callspec = getattr(self.item, "callspec", None)
        return {} if callspec is None else callspec.params

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """`values` as short texts."""
        return {name: parameter_text(value) for name, value in self.values.items()}

    @cached_property
    def source(self) -> TestSource:
        """The test function as it is written."""
        return source_of(getattr(self.item, "function", None), frozenset(self.values))

    @cached_property
    def expected(self) -> Any | None:
        """What the test compares the answer with, by its source and its parameters; None if not known."""
        try:
            return readable_value(self.source.expected(self.values))
        except NoValue:
            return None

    def request(
        self,
        file: PromptFile,
        messages: Sequence[Message],
        response_schema: object,
        *,
        sample: int,
    ) -> Request:
        """The request of one call; parameters of the mark win over those of the front matter."""
        schema = schema_of(response_schema)
        if not (schema is None or isinstance(schema, Mapping)):
            accepted = "a JSON schema or a type that pydantic knows, such as a model"
            raise SettingsError(f"prompt(...): response_schema= must be {accepted}, got {response_schema!r}")
        if not is_json(schema):
            raise SettingsError(f"prompt(...): response_schema= must be JSON, got {response_schema!r}")
        parameters = {**file.front.parameters, **self.mark.parameters}
        if "max_tokens" in self.mark.parameters and SPELLED not in self.mark.parameters:
            parameters.pop(SPELLED, None)
        stop = parameters.pop("stop", file.front.stop)
        return Request(
            model=self.model_of(file),
            messages=tuple(messages),
            max_tokens=parameters.pop("max_tokens", file.front.max_tokens),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            parameters=parameters,
            response_schema=schema,
            sample=sample,
        )

    def parameter_lines(self, file: PromptFile) -> dict[str, str]:
        """Where each parameter of a call is set: ``file:line`` of the front matter, or of the test."""
        own = {key.removeprefix("parameters."): line for key, line in file.front.lines.items()}
        given = [*file.front.parameters, "max_tokens", "stop"]
        lines = {name: f"{file.name}:{own[name]}" for name in given if name in own}
        return lines | dict.fromkeys(self.mark.parameters, self.case.where)

    def temporary(self) -> Path:
        """A folder for copies of candidates, gone with pytest's other temporary folders."""
        return internals.temporary_root(self.item.config)


def models_named(cases: Iterable[PromptCase]) -> frozenset[str]:
    """The models that the cases ask, as far as they are named."""
    found = set()
    for case in cases:
        for file in case.files.values():
            with suppress(SettingsError):
                found.add(case.model_of(file))
    return frozenset(found)

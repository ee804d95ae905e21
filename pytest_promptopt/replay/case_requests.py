"""What a call of a prompt becomes: the request, and the model that it goes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from json import dumps
from typing import Any, Protocol

from pytest_promptopt.errors import ErrorKind, ModelError, SettingsError
from pytest_promptopt.models.strict_schemas import schema_of
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.records import SPELLED, Message, Request

#: In the place of a model's name, of a case whose code chooses its model by itself.
APPLICATION = "application"


def request_of(
    file: PromptFile,
    messages: Sequence[Message],
    response_schema: object,
    *,
    model: str,
    parameters: Mapping[str, Any],
    sample: int,
) -> Request:
    """The request of one call. Raises `SettingsError` for a schema that is none.

    :param parameters: of the case; they win over those of the front matter.
    """
    schema = schema_of(response_schema)
    if not (schema is None or isinstance(schema, Mapping)):
        accepted = "a JSON schema or a type that pydantic knows, such as a model"
        raise SettingsError(f"prompt(...): response_schema= must be {accepted}, got {response_schema!r}")
    if not is_json(schema):
        raise SettingsError(f"prompt(...): response_schema= must be JSON, got {response_schema!r}")
    merged = {**file.front.parameters, **parameters}
    if "max_tokens" in parameters and SPELLED not in parameters:
        merged.pop(SPELLED, None)
    stop = merged.pop("stop", file.front.stop)
    return Request(
        model=model,
        messages=tuple(messages),
        max_tokens=merged.pop("max_tokens", file.front.max_tokens),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        parameters=merged,
        response_schema=schema,
        sample=sample,
    )


def parameter_lines(file: PromptFile) -> dict[str, str]:
    """Where the front matter sets each parameter of a call: ``file:line``."""
    own = {key.removeprefix("parameters."): line for key, line in file.front.lines.items()}
    given = [*file.front.parameters, "max_tokens", "stop"]
    return {name: f"{file.file_name}:{own[name]}" for name in given if name in own}


def is_json(value: object) -> bool:
    try:
        dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


class ModelCase(Protocol):
    """A case that knows who answers its prompts."""

    @property
    def files(self) -> Mapping[str, PromptFile]: ...

    def model_of(self, file: PromptFile) -> str: ...


def models_named(cases: Iterable[ModelCase]) -> frozenset[str]:
    """The models that the cases ask, as far as they are named."""
    found = set()
    for case in cases:
        for file in case.files.values():
            with suppress(SettingsError):
                found.add(case.model_of(file))
    return frozenset(found)


def ends_search(error: ModelError, cases: Iterable[ModelCase], *, decides_all: bool = False) -> bool:
    """Whether no case can be decided any more: of one model of several, only its own cases are lost.

    :param decides_all: whether it is of the judge, or of the model for embeddings, and every case needs that.
    """
    if error.stops_run:
        return decides_all or models_named(cases) <= {error.model}
    return error.kind is ErrorKind.BUDGET

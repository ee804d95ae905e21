"""``@pytest.mark.prompt(...)``, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models.registry import FORMS, canonical_name
from pytest_promptopt.prompts.frontmatter import (
    FROM_ENVIRONMENT,
    LANGUAGES,
    SAME_LENGTH,
    is_connection,
    without_lengths,
)
from pytest_promptopt.prompts.sources import looks_like_source
from pytest_promptopt.records import LENGTH_NAMES
from pytest_promptopt.replay.case_requests import is_json
from pytest_promptopt.thresholds import GateName

MARK = "prompt"
SIGNATURE = (
    "@pytest.mark.prompt(path, *, model=None, samples=1, min_case_rate=1.0, min_pass_rate=None, "
    "max_cost_per_case=None, p95_latency=None, replay=True, freeze=False, template=None, "
    "**model_parameters), or stage=path for each stage of a pipeline"
)


@dataclass(frozen=True)
class Mark:
    """A checked ``@pytest.mark.prompt``.

    :param paths: stage -> path as written; a single prompt's stage is ``""``.
    :param freeze: stages that are never rewritten.
    :param template: stage -> the name of its template language, where the mark gives it.
    :param samples: None leaves it to the settings.
    :param parameters: of the model, passed on as they are.
    """

    paths: Mapping[str, str]
    model: str | None
    samples: int | None
    min_case_rate: float
    thresholds: Mapping[GateName, float]
    replay: bool
    freeze: frozenset[str]
    template: Mapping[str, str]
    parameters: Mapping[str, Any]

    @classmethod
    def parse(cls, paths: Mapping[str, str], arguments: Mapping[str, Any], *, where: str) -> Mark:
        """Raises `SettingsError` that names `where`, what was given and what is accepted."""
        given = dict(arguments)
        if not paths:
            raise SettingsError(
                f"{where}: @pytest.mark.prompt(...) names no prompt file, nor does a mark around it; use "
                f"{SIGNATURE}"
            )
        for name, value in given.items():
            if problem := problem_of(name, value):
                shown = "..." if is_connection(name) else repr(value)  # its value may be a key
                raise SettingsError(f"{where}: @pytest.mark.prompt({name}={shown}): {problem}")
        return cls(
            paths=paths,
            model=given.pop("model", None),
            samples=given.pop("samples", None),
            min_case_rate=float(given.pop("min_case_rate", 1.0)),
            thresholds={name: value for name in GateName if (value := given.pop(name, None)) is not None},
            replay=given.pop("replay", True),
            freeze=_frozen(given.pop("freeze", False), paths, where),
            template=_templates(given.pop("template", None), paths, where),
            parameters=_with_one_length(given, where),
        )


def problem_of(name: str, value: object) -> str:
    """What is wrong with an argument that is no path, without its value; empty for nothing."""
    if is_connection(name):
        return f"{name} {FROM_ENVIRONMENT}"
    if name not in _ARGUMENTS and (meant := get_close_matches(name, _OWN, n=1, cutoff=0.85)):
        return f"did you mean {meant[0]}=?"
    accepted, fits = _ARGUMENTS.get(name, _PARAMETER)
    return "" if fits(value) else f"{name} must be {accepted}"


def lengths_in(parameters: Iterable[str]) -> list[str]:
    """The names of parameters that are the length of an answer; there may be one."""
    return [name for name in parameters if name in LENGTH_NAMES | {"max_tokens"}]


def paths_of(mark: pytest.Mark, *, where: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The paths that a mark names, by stage, and its other arguments; no path where another mark names it.

    Raises `SettingsError`.
    """
    given = dict(mark.kwargs)
    paths = {stage: str(given.pop(stage)) for stage, value in mark.kwargs.items() if _is_path(value)}
    if not mark.args:
        return paths, given
    if len(mark.args) > 1 or paths or not _is_text(mark.args[0]):
        written = ", ".join([*map(repr, mark.args), *(f"{k}={v!r}" for k, v in paths.items())])
        raise SettingsError(
            f"{where}: @pytest.mark.prompt({written}): expected one path or stages; use {SIGNATURE}"
        )
    return {"": str(mark.args[0])}, given


def _with_one_length(parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`parameters` in which the length of an answer is called ``max_tokens``, whatever it was called."""
    first, *more = lengths_in(parameters) or [""]
    if more:
        raise SettingsError(
            f"{where}: @pytest.mark.prompt({first}=..., {more[0]}=...): {more[0]} {SAME_LENGTH}"
        )
    return without_lengths(parameters) | ({"max_tokens": parameters[first]} if first else {})


def _frozen(given: object, paths: Mapping[str, str], where: str) -> frozenset[str]:
    if isinstance(given, bool):
        return frozenset(paths if given else ())
    names = (given,) if isinstance(given, str) else tuple(given)  # type: ignore[arg-type]
    stages = [stage for stage in paths if stage]
    for name in names:
        if name not in stages:
            accepted = f"a stage of the mark ({', '.join(stages)})" if stages else "True or False"
            raise SettingsError(f"{where}: @pytest.mark.prompt(freeze={given!r}): {name!r} is not {accepted}")
    return frozenset(names)


def _templates(given: object, paths: Mapping[str, str], where: str) -> Mapping[str, str]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(paths, str(given)) if given else {}
    stages = f"a stage of the mark ({', '.join(paths)})" if all(paths) else "needed for a single prompt"
    for name in given:
        if name not in paths:
            written = f"{where}: @pytest.mark.prompt(template={given!r})"
            raise SettingsError(f"{written}: {name!r} is not {stages}")
    return dict(given)


def _is_language(value: object) -> bool:
    given = value.values() if isinstance(value, Mapping) else (value,)
    return value is None or all(each in LANGUAGES for each in given)


def _is_text(value: object) -> bool:
    return isinstance(value, (str, Path)) and bool(str(value).strip())


def _is_path(value: object) -> bool:
    return _is_text(value) and looks_like_source(str(value))


def _is_model(value: object) -> bool:
    try:
        return value is None or (isinstance(value, str) and bool(canonical_name(value)))
    except SettingsError:
        return False


def _is_whole(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_rate(value: object) -> bool:
    return _is_number(value) and value <= 1  # type: ignore[operator]


def _is_positive(value: object) -> bool:
    return _is_number(value) and value > 0  # type: ignore[operator]


#: Arguments that are no parameter of a model: a name that is nearly one of them is a typing error.
_OWN = ("samples", "min_case_rate", *GateName, "replay", "freeze", "template")

Accepted = tuple[str, Callable[[Any], bool]]

_ARGUMENTS: Mapping[str, Accepted] = {
    "model": (f"the name of a model; {FORMS}", _is_model),
    "samples": ("a whole number from 1", _is_whole),
    "min_case_rate": ("a number from 0 to 1", _is_rate),
    GateName.PASS_RATE: ("a number from 0 to 1", lambda value: value is None or _is_rate(value)),
    GateName.COST: ("a number of US dollars above 0", lambda value: value is None or _is_positive(value)),
    GateName.LATENCY: ("a number of seconds above 0", lambda value: value is None or _is_positive(value)),
    "replay": ("True or False", lambda value: isinstance(value, bool)),
    "freeze": (
        "True, False or the names of stages that are never rewritten",
        lambda value: (
            isinstance(value, (bool, str))
            or (isinstance(value, (list, tuple, set)) and all(isinstance(name, str) for name in value))
        ),
    ),
    "template": (f"one of {', '.join(LANGUAGES)}, or one for each stage by its name", _is_language),
    **dict.fromkeys(("max_tokens", *LENGTH_NAMES), ("a whole number from 1", _is_whole)),
    "temperature": ("a number from 0", _is_number),
    "stop": (
        "a string or a list of strings",
        lambda value: isinstance(value, (str, list, tuple)) and all(isinstance(text, str) for text in value),
    ),
    **dict.fromkeys(
        ("messages", "system", "stream", "stop_sequences"),
        ("left out: the prompt file and the call decide it", lambda value: False),
    ),
}
_PARAMETER: Accepted = ("a value that JSON can hold, as every model parameter", is_json)

"""The gate: what was measured of each prompt, beside what it must reach."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.gate_rule import BY_RATE, GateRule
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import CaseResult
from pytest_promptopt.thresholds import Thresholds

_RATE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?P<percent>%)?", re.ASCII)


def parse_rate(value: object, *, name: str) -> float:
    """A rate as a user writes it: ``0.9``, ``"0.9"`` or ``"90%"`` -> 0.9.

    :param name: what the value was given to, for the message.
    :raises SettingsError: for anything that is not a share from 0 to 1 or a percentage up to 100.
    """
    rate = _number(value)
    if rate is None or not 0.0 <= rate <= 1.0:
        raise SettingsError(
            f"{name}: {value!r} is not a rate; accepted are a share from 0 to 1 (0.9) or a percentage (90%)"
        )
    return rate


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    return float(match["number"]) / (100 if match["percent"] else 1)


def check_prompts(
    results: Mapping[str, Sequence[CaseResult]],
    thresholds: Mapping[str, Thresholds],
    rule: GateRule = BY_RATE,
    models: tuple[str, ...] = (),
) -> tuple[PromptCheck, ...]:
    """What was measured for each prompt, in the order of `results`.

    Errored cases are counted as such and are in no rate; skipped ones are no cases at all. A case is failing
    when one of its samples failed. A prompt without any result is left out: nothing of it ran.

    :param models: those that come first where several answer.
    """
    return tuple(
        PromptCheck.of(prompt, tuple(cases), thresholds.get(prompt), rule, models)
        for prompt, cases in results.items()
        if cases
    )

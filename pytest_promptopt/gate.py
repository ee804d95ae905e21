"""The gate: which pass rate each prompt must reach, and whether it does."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.gate_rule import BY_RATE, GateRule
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import CaseResult

_RATE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?P<percent>%)?", re.ASCII)


@dataclass(frozen=True)
class Threshold:
    """The least pass rate of a prompt, and who asks for it: ``file:line`` of a mark or the option's name."""

    rate: float
    where: str


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


def thresholds(
    prompts: Iterable[str], marked: Iterable[tuple[str, Threshold]], *, default: Threshold | None = None
) -> dict[str, Threshold]:
    """The threshold of each prompt that has one; a mark beats `default`, which is the option's.

    :param marked: (prompt, threshold) for every ``min_pass_rate`` of a mark; equal ones may repeat.
    :raises SettingsError: when two marks ask different rates of one prompt; names both lines.
    """
    found: dict[str, Threshold] = {}
    for prompt, threshold in marked:
        first = found.setdefault(prompt, threshold)
        if first.rate != threshold.rate:
            raise SettingsError(
                f"{prompt}: two different min_pass_rate: {first.rate:g} at {first.where} and "
                f"{threshold.rate:g} at {threshold.where}; a prompt has one, write it once"
            )
    if default is not None:
        for prompt in prompts:
            found.setdefault(prompt, default)
    return found


def check_prompts(
    results: Mapping[str, Sequence[CaseResult]],
    thresholds: Mapping[str, Threshold],
    rule: GateRule = BY_RATE,
    models: tuple[str, ...] = (),
) -> tuple[PromptCheck, ...]:
    """What was measured for each prompt, in the order of `results`.

    Errored cases are counted as such and are in no rate; skipped ones are no cases at all. A case is failing
    when one of its samples failed. A prompt without any result is left out: nothing of it ran.

    :param models: those that come first where several answer.
    """
    return tuple(
        PromptCheck.of(
            prompt,
            tuple(cases),
            None if (asked := thresholds.get(prompt)) is None else asked.rate,
            "" if asked is None else asked.where,
            rule,
            models,
        )
        for prompt, cases in results.items()
        if cases
    )

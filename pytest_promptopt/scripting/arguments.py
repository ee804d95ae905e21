"""The keyword arguments of `optimize`: the options of pytest by their names, read into `Settings`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.models import Model
from pytest_promptopt.option_table import OPTIONS
from pytest_promptopt.results import Iteration
from pytest_promptopt.settings import Mode, Settings


class OptimizeArguments(TypedDict, total=False):
    """What `optimize` takes by name, all of it optional.

    Those that are options of pytest too (``--promptopt-max-calls`` and the like) mean and accept the same.
    """

    model: str | None
    """Who answers prompts whose front matter names no model: ``provider/model``, or ``demo``."""
    optimizer_model: str
    """Who writes candidates; ``"none"`` tries examples only. Default: ``anthropic/claude-opus-5-5``."""
    write: bool
    """Whether better texts are put into the prompt files. Default: False, nothing is written."""
    rootdir: str | Path
    """The project's folder: prompt files lie below it, ``.promptopt/`` in it. Default: the current one."""
    strategy: str
    candidates: int
    examples: int | str
    max_iterations: int
    plateau: int
    learn: bool
    critique: str
    target: float
    accept: str
    alpha: float
    max_calls: int
    max_tokens: int
    max_cost: float
    """US dollars."""
    max_time: float | str
    """Seconds, or a text such as ``"15m"``."""
    concurrency: int
    samples: int
    seed: int
    cache: str
    least_gain: float
    split: str
    """``"60/20/20"``: percentages of train, validation and held-out cases among those that name no split."""
    no_regressions: bool
    template: str | Mapping[str, str] | None
    """The template language of the prompts, or of each stage; None has the files say so, or their texts."""
    resolve_model: Callable[[str], Model | None] | None
    """Models of your own by name; None leaves a name to the built-in ones."""
    progress: bool
    """Whether the run is shown on standard error while it goes on. Default: False, it is quiet."""
    on_iteration: Callable[[Iteration], object] | None
    """Called after every iteration, in the thread that searches."""


#: Arguments that are no setting.
OTHERS = frozenset(
    {"write", "rootdir", "no_regressions", "resolve_model", "progress", "on_iteration", "template"}
)
#: Settings of pytest's own loop and of its other commands, which a script does not have.
NOT_FOR_SCRIPTS = frozenset(
    {
        "min_pass_rate",
        "max_cost_per_case",
        "p95_latency",
        "gate",
        "mutate_by",
        "gate_samples",
        "gate_margin",
        "gate_confidence",
        "gate_partial",
        "gate_population",
        "gate_split",
        "undecided",
        "compare_margin",
        "fail_on",
        "from_model",
        "prompt",
        "intercept",
        "ignore_fields",
        "foreign_suites",
        "embedding_model",
        "judge_model",
        "judge_prompt",
        "judge_labels",
        "judge_threshold",
        "judge_floor",
    }
)

_BY_NAME = {option.field: option for option in OPTIONS if option.field not in NOT_FOR_SCRIPTS}


def settings_of(given: Mapping[str, Any]) -> Settings:
    """Raises `SettingsError` that names the argument, what was given and what is accepted."""
    for name in given:
        if name not in _BY_NAME and name not in OTHERS:
            near = difflib.get_close_matches(name, [*_BY_NAME, *OTHERS], 1)
            hint = (
                f"; did you mean {near[0]}?"
                if near
                else f"; accepted: {', '.join([*_BY_NAME, *sorted(OTHERS)])}"
            )
            raise SettingsError(f"optimize(): there is no argument {name!r}{hint}")
    for name in ("write", "no_regressions", "progress"):
        if not isinstance(given.get(name, False), bool):
            raise SettingsError(f"{name}: {given[name]!r} is not True or False")
    for name in ("resolve_model", "on_iteration"):
        if given.get(name) is not None and not callable(given[name]):
            raise SettingsError(f"{name}: {given[name]!r:.80} is not a function")
    values: dict[str, Any] = {
        name: option.parse(name, _text(given[name]))
        for name, option in _BY_NAME.items()
        if given.get(name) is not None
    }
    if isinstance(values.get("model"), tuple):
        raise SettingsError(
            f"model: {given['model']!r} names several models; a script takes one, and "
            "pytest --promptopt-model= several"
        )
    settings = Settings(
        rootdir=_rootdir(given.get("rootdir", ".")),
        mode=Mode.OPTIMIZE if given.get("write") else Mode.DRY_RUN,
        no_regressions=given.get("no_regressions", False),
        **values,
    )
    if settings.comparing and settings.mode is not Mode.DRY_RUN:
        raise SettingsError(
            f"strategy: {','.join(settings.strategy)!r} names several, which are compared, and which of "
            "their texts to keep is yours to say: leave out write=True, or name one"
        )
    return settings


def _text(value: object) -> str:
    """An argument as the option's text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


def _rootdir(given: object) -> Path:
    if not isinstance(given, (str, Path)) or not Path(given).is_dir():
        raise SettingsError(f"rootdir: {given!r} is not a folder")
    return Path(given).resolve()


def replace_option_names(text: str) -> str:
    """A sentence that names options of pytest, with the arguments in their place."""
    text = re.sub(r"--promptopt-([a-z-]+[a-z])", lambda found: found[1].replace("-", "_"), text)
    return re.sub(r"--optimize: ", "optimize(): ", text)

"""The options and their ini twins: one table, read into `Settings`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.settings import (
    MAX_EXAMPLES,
    NO_OPTIMIZER,
    Accept,
    CacheMode,
    Mode,
    Settings,
    home_of,
)

if TYPE_CHECKING:
    import pytest

    from pytest_promptopt.runs.past import PastRun

Parse = Callable[[str, str], object]

#: The smallest alpha: parts of a smaller one (0.86 of it, say) could not be told from zero in a float.
LEAST_ALPHA = 1e-300


def _whole(least: int, most: int | None = None) -> Parse:
    def parse(name: str, text: str) -> int:
        accepted = f"a whole number from {least}" + (f" to {most}" if most is not None else "")
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise SettingsError(f"{name}: {text!r} is not {accepted}")
        return value

    return parse


def _money(name: str, text: str) -> float:
    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise SettingsError(f"{name}: {text!r} is not an amount in US dollars above 0, such as 2.50")
    return value


def _examples(name: str, text: str) -> int:
    known = {"auto": MAX_EXAMPLES, "off": 0}
    try:
        count = known[text] if text in known else int(text)
    except ValueError:
        count = -1
    if text not in known and not 1 <= count <= MAX_EXAMPLES:
        raise SettingsError(f"{name}: {text!r} is not auto, off or a whole number from 1 to {MAX_EXAMPLES}")
    return count


def _switch(name: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise SettingsError(f"{name}: {text!r} is not on or off")
    return text == "on"


_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _time(name: str, text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([smh]?)", text.strip(), re.ASCII)
    value = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < value < float("inf"):
        raise SettingsError(f"{name}: {text!r} is not a time above 0, such as 90, 90s, 15m or 2h")
    return value


#: The run that ``--optimize-resume`` means without a name: no name, also not an empty one, is like it.
LAST = "(the last one)"


def _rate(name: str, text: str) -> float:
    from pytest_promptopt.gate import parse_rate

    return parse_rate(text, name=name)


def _model(name: str, text: str) -> str:
    from pytest_promptopt.models.registry import canonical_name

    try:
        return canonical_name(text)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None


def _optimizer(name: str, text: str) -> str:
    return text if text == NO_OPTIMIZER else _model(name, text)


def _one_of(accepted: type[StrEnum]) -> Parse:
    def parse(name: str, text: str) -> StrEnum:
        try:
            return accepted(text)
        except ValueError:
            raise SettingsError(f"{name}: {text!r} is not one of {', '.join(accepted)}") from None

    return parse


def _strategies(name: str, text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise SettingsError(
            f"{name}: {text!r} is not the name of a strategy, or several different ones separated by commas, "
            "such as refine,evolve"
        )
    return names


def _points(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise SettingsError(f"{name}: {text!r} is not a number of points from 0, such as 0.5")
    return value


def _alpha(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not LEAST_ALPHA <= value <= 0.5:
        raise SettingsError(f"{name}: {text!r} is not a number above 0 and at most 0.5, such as 0.05")
    return value


def _split(name: str, text: str) -> tuple[float, float, float]:
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) != 3 or min(parts) < 0 or not abs(sum(parts) - 100) <= 1e-6 or not parts[0]:
        raise SettingsError(
            f"{name}: {text!r} is not three percentages train/validation/held-out that add up to 100, "
            "such as 60/20/20"
        )
    return (parts[0] / 100, parts[1] / 100, parts[2] / 100)


@dataclass(frozen=True)
class Option:
    """One setting.

    :param field: of `Settings`.
    :param flag: of the option, without its prefix; None for a setting of the ini file only.
    :param ini_type: as `parser.addini` takes it.
    :param parse: from the name to blame and the text given to the value; raises `SettingsError`.
    """

    field: str
    flag: str | None
    ini_type: str
    metavar: str
    help: str
    parse: Parse

    @property
    def ini(self) -> str:
        return f"promptopt_{self.field}"


OPTIONS = (
    Option(
        "model", "model", "string", "MODEL", "Model that the prompts are for: provider/model, or demo", _model
    ),
    Option(
        "optimizer_model",
        "optimizer-model",
        "string",
        "MODEL",
        "Model that writes candidates, or none: only examples are tried (default: anthropic/claude-opus-5-5)",
        _optimizer,
    ),
    Option(
        "strategy",
        "strategy",
        "string",
        "NAME",
        "How to search: refine, evolve, hybrid, gepa, dspy-miprov2, or a plugin's; several, separated by "
        "commas, are compared by --optimize-dry-run (default: refine)",
        _strategies,
    ),
    Option(
        "candidates",
        "candidates",
        "int",
        "N",
        "Candidates per iteration, 1 to 10 (default: 3)",
        _whole(1, 10),
    ),
    Option(
        "examples",
        "examples",
        "string",
        "K",
        f"Training cases in a prompt as examples: auto (as many as pay, up to {MAX_EXAMPLES}), off, or K at "
        "most (default: auto)",
        _examples,
    ),
    Option("max_iterations", "max-iterations", "int", "N", "Iterations at most (default: 20)", _whole(1)),
    Option(
        "plateau",
        "plateau",
        "int",
        "N",
        "Stop after this many iterations that gain less than 2 points (default: 5)",
        _whole(1),
    ),
    Option(
        "learn",
        "learn",
        "string",
        "SWITCH",
        "Begin with what earlier runs of the same cases have taught: on or off (default: on)",
        _switch,
    ),
    Option("target", "target", "float", "RATE", "Pass rate to stop at, such as 0.95 (default: 1.0)", _rate),
    Option(
        "accept",
        "accept",
        "string",
        "WHAT",
        "Write an improved text only, or the best one even if not shown to be better (default: improved)",
        _one_of(Accept),
    ),
    Option(
        "alpha",
        "alpha",
        "float",
        "P",
        "A change counts as shown from this p-value down, above 0 and at most 0.5 (default: 0.05)",
        _alpha,
    ),
    Option(
        "max_calls",
        "max-calls",
        "int",
        "N",
        "Model calls of the session at most, all roles together",
        _whole(1),
    ),
    Option(
        "max_tokens",
        "max-tokens",
        "int",
        "N",
        "Tokens of the session at most, of requests and answers, all roles together",
        _whole(1),
    ),
    Option("max_cost", "max-cost", "float", "USD", "Spend of the session at most, in US dollars", _money),
    Option(
        "max_time",
        "max-time",
        "string",
        "TIME",
        "No model call is sent or waited for after this time: 90s, 15m, 2h",
        _time,
    ),
    Option(
        "concurrency",
        "concurrency",
        "int",
        "N",
        "Model calls in flight at most (default: 50)",
        _whole(1, 1000),
    ),
    Option("samples", "samples", "int", "N", "How often each case is run (default: 1)", _whole(1)),
    Option(
        "seed", "seed", "int", "N", "Seed of every choice that is the plugin's own (default: 0)", _whole(0)
    ),
    Option(
        "cache",
        "cache",
        "string",
        "MODE",
        "Stored answers: use, refresh (ask again, store) or off",
        _one_of(CacheMode),
    ),
    Option(
        "min_pass_rate",
        "min-pass-rate",
        "float",
        "RATE",
        "Gate: each prompt must reach this pass rate; its single failing cases no longer fail the session",
        _rate,
    ),
    Option(
        "least_gain",
        None,
        "float",
        "POINTS",
        "End a search when its next iteration is expected to win less than this for 100 calls (default: 1)",
        _points,
    ),
    Option(
        "split",
        None,
        "string",
        "A/B/C",
        "Divide unmarked cases into train/validation/held-out by these percentages, such as 60/20/20",
        _split,
    ),
)


def add_options(parser: pytest.Parser) -> None:
    """Declare all options and ini values in a group of their own."""
    group = parser.getgroup("promptopt", "prompt evaluation and optimization")
    group.addoption(
        "--optimize",
        action="store_true",
        help="Improve prompts whose cases fail: rewrite their files, with a held-out score",
    )
    group.addoption(
        "--optimize-dry-run",
        action="store_true",
        help="As --optimize, but show the diff and write no prompt file",
    )
    group.addoption(
        "--optimize-resume",
        nargs="?",
        const=LAST,
        default=None,
        metavar="RUN",
        help="Continue an interrupted --optimize: the run named with =RUN, else the last one; nothing is "
        "paid twice",
    )
    group.addoption(
        "--promptopt-runs",
        action="store_true",
        help="List the runs of --optimize, and run no test",
    )
    group.addoption(
        "--promptopt-restore",
        metavar="RUN",
        default=None,
        help="Put the prompt files back as they were before a run, and run no test",
    )
    for option in OPTIONS:
        if option.flag is not None:
            group.addoption(
                f"--promptopt-{option.flag}",
                dest=option.ini,
                metavar=option.metavar,
                default=None,
                help=option.help,
            )
        ini_type: Any = option.ini_type
        parser.addini(option.ini, option.help, type=ini_type, default=None)
    no_regressions = "Take no candidate that fails a training or validation case which the original passed"
    group.addoption("--promptopt-no-regressions", action="store_true", help=no_regressions)
    parser.addini("promptopt_no_regressions", no_regressions, type="bool", default=False)
    group.addoption(
        "--promptopt-report",
        dest="promptopt_report",
        metavar="PATH",
        action="append",
        default=[],
        help="Write a report; the ending says the format (.json); may be given several times",
    )
    parser.addini("promptopt_report", "Reports to write, one path a line", type="linelist", default=[])


def read_settings(config: pytest.Config) -> Settings:
    """The session's settings.

    Options of the command line that began a run hold for its continuation as well, unless given anew.

    Raises `SettingsError` that names the option or ini value, what it was and what fits, and `JournalError`
    when the run to continue has a damaged journal.
    """
    resumed = _resumed(config)
    given: dict[str, str] = {} if resumed is None else dict(resumed.options)
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if option.flag is not None and (text := config.getoption(option.ini, None)) is not None:
            given[option.field] = text
        if option.field in given:
            values[option.field] = option.parse(f"--promptopt-{option.flag}", given[option.field])
        elif (text := _ini_text(config, option.ini)) is not None:
            values[option.field] = option.parse(option.ini, text)
    if config.getoption("promptopt_no_regressions"):
        given["no_regressions"] = "on"
    values["no_regressions"] = "no_regressions" in given or _ini_flag(config, "promptopt_no_regressions")
    mode = _mode(config)
    if resumed is not None and mode is Mode.CHECK:
        mode = Mode(resumed.opened["mode"])
    return Settings(
        rootdir=config.rootpath,
        mode=mode,
        reports=_reports(config),
        resume="" if resumed is None else resumed.id,
        options=given,
        **values,
    )


def _resumed(config: pytest.Config) -> PastRun | None:
    name = config.getoption("optimize_resume")
    if name is None:
        return None
    from pytest_promptopt.runs.past import find_run, newest_unfinished

    home = home_of(config.rootpath)
    return newest_unfinished(home) if name == LAST else find_run(home, name, option="--optimize-resume")


def _ini_flag(config: pytest.Config, name: str) -> bool:
    try:
        return bool(config.getini(name))
    except Exception as error:
        raise SettingsError(f"{name}: {error}; accepted are true and false") from None


def _ini_text(config: pytest.Config, name: str) -> str | None:
    try:
        value = config.getini(name)
    except Exception as error:
        # The conversion is pytest's: it takes no "90%" and says neither whose value is wrong nor what fits.
        # What its versions raise differs, but it ends with the value.
        return str(error).rpartition(": ")[2].strip("'\"")
    return None if value is None else str(value)


def _mode(config: pytest.Config) -> Mode:
    optimize, dry_run = config.getoption("optimize"), config.getoption("optimize_dry_run")
    if optimize and dry_run:
        raise SettingsError("--optimize and --optimize-dry-run: give one of them")
    return Mode.OPTIMIZE if optimize else Mode.DRY_RUN if dry_run else Mode.CHECK


def _reports(config: pytest.Config) -> tuple[Path, ...]:
    given = [
        (config.invocation_params.dir, "--promptopt-report", text) for text in config.option.promptopt_report
    ]
    given += [(config.rootpath, "promptopt_report", text) for text in _ini_lines(config, "promptopt_report")]
    if not given:
        return ()
    from pytest_promptopt.reports.json_report import check_report_path

    return tuple(dict.fromkeys(folder / check_report_path(text, name=name) for folder, name, text in given))


def _ini_lines(config: pytest.Config, name: str) -> list[str]:
    try:
        return list(config.getini(name))
    except Exception as error:
        raise SettingsError(f"{name}: {error}; accepted is a list of paths") from None


def check_combination(config: pytest.Config, settings: Settings) -> None:
    """Refuse what cannot go together with refinement. Raises `SettingsError`."""
    if settings.comparing and settings.mode is not Mode.DRY_RUN:
        raise SettingsError(
            f"--promptopt-strategy={','.join(settings.strategy)}: several strategies are compared, and which "
            "of their texts to keep is yours to say: add --optimize-dry-run, or name one strategy"
        )
    if not settings.optimizing:
        return
    mode = "--optimize" if settings.mode is Mode.OPTIMIZE else "--optimize-dry-run"
    mode = "--optimize-resume" if settings.resume else mode
    reasons = {
        "lf": "--lf runs only the cases that failed last; nothing would guard the others",
        "failedfirst": "--ff reorders the cases by their last result",
        "stepwise": "--sw stops at the first failure; refinement needs all of them",
        "collectonly": "--collect-only runs no case",
        "setupplan": "--setup-plan runs no case",
        "setuponly": "--setup-only runs no case",
    }
    for name, reason in reasons.items():
        if config.getoption(name, False):
            raise SettingsError(f"{mode}: {reason}; leave it out")
    if config.getoption("dist", "no") != "no" or config.getoption("tx", None):
        raise SettingsError(f"{mode} runs in one process for now: leave out -n (plain pytest -n works)")

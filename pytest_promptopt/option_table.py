"""The settings that a user gives as text, by option, ini value or argument: what each accepts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.settings import MAX_EXAMPLES, NO_OPTIMIZER, Accept, CacheMode, CritiqueMode, Intercept

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


def _rate(name: str, text: str) -> float:
    from pytest_promptopt.gate import parse_rate

    return parse_rate(text, name=name)


def _model(name: str, text: str) -> str:
    from pytest_promptopt.models.registry import canonical_name

    try:
        return canonical_name(text)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None


def _target_models(name: str, text: str) -> str | tuple[str, ...]:
    """One model, or several."""
    from pytest_promptopt.models.registry import canonical_names

    try:
        names = canonical_names(text)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None
    return names if len(names) > 1 else names[0]


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


_HOST = re.compile(r"[+-][A-Za-z0-9][A-Za-z0-9.-]*")


def _intercept(name: str, text: str) -> Intercept:
    words = text.replace(",", " ").split()
    hosts = [word for word in words if word not in ("on", "off")]
    for word in hosts:
        if not _HOST.fullmatch(word):
            raise SettingsError(
                f"{name}: {text!r}: {word} is not on, off, +HOST (all its requests) or -HOST (none of them), "
                "such as +models.example.com; a host has no scheme, port or path"
            )
    if "off" in words and len(words) > 1:
        raise SettingsError(f"{name}: {text!r} is off and more; off stands alone")
    return Intercept(
        on="off" not in words,
        also=tuple(word[1:].lower() for word in hosts if word[0] == "+"),
        without=tuple(word[1:].lower() for word in hosts if word[0] == "-"),
    )


def _names(name: str, text: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    if names == ("none",):
        return ()
    if not names or not all(re.fullmatch(r"[A-Za-z_][\w-]*", each) for each in names):
        raise SettingsError(f"{name}: {text!r} is not a list of names, such as request_id session_id")
    return names


def _path(name: str, text: str) -> str:
    if not text.strip() or "\0" in text:
        raise SettingsError(f"{name}: {text!r} is not the path of a file")
    return text.strip()


def _paths(name: str, text: str) -> tuple[str, ...]:
    paths = [each for each in re.split(r"[,\n]", text) if each.strip()]
    if not paths:
        raise SettingsError(f"{name}: {text!r} is not a list of paths of files, such as labels.jsonl")
    return tuple(_path(name, each) for each in paths)


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
        "model",
        "model",
        "string",
        "MODEL",
        "Model that the prompts are for: provider/model, or demo; several, separated by commas, are compared",
        _target_models,
    ),
    Option(
        "from_model",
        "from-model",
        "string",
        "MODEL",
        "With --optimize: move the prompts from this model to --promptopt-model, and report both",
        _model,
    ),
    Option(
        "prompt",
        "prompt",
        "string",
        "PATH",
        "Prompt file of the cases in a table that is named on the command line: pytest cases.csv "
        "--promptopt-prompt=PATH",
        _path,
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
        "judge_model",
        "judge-model",
        "string",
        "MODEL",
        "Model that grades answers for the fixture judge: provider/model, or demo",
        _model,
    ),
    Option(
        "judge_prompt",
        None,
        "string",
        "PATH",
        "Prompt file of the judge, from rootdir; without it the one of the package",
        _path,
    ),
    Option(
        "judge_labels",
        None,
        "linelist",
        "PATHS",
        "Files of labelled answers, from rootdir, by which a judge is tested; one a line",
        _paths,
    ),
    Option(
        "judge_threshold",
        None,
        "string",
        "SCORE",
        "Score from which a verdict is true, and from which an answer counts as good in the test of a judge "
        "(default: 0.7)",
        _rate,
    ),
    Option(
        "judge_floor",
        None,
        "string",
        "RATE",
        "Precision and recall that a judge must be shown to reach before it may decide (default: 0.7)",
        _rate,
    ),
    Option(
        "critique",
        "critique",
        "string",
        "SWITCH",
        "Have a model say what is wrong with the worst answers before candidates are asked for: on, off, or "
        "auto (where most failures do not say what would be right) (default: off)",
        _one_of(CritiqueMode),
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
    Option(
        "intercept",
        None,
        "string",
        "on|off|+HOST|-HOST",
        "Handle the model calls that the code under test makes by itself: off, or hosts to add or leave out "
        "(default: on)",
        _intercept,
    ),
    Option(
        "ignore_fields",
        None,
        "string",
        "NAMES",
        "Fields of such calls' bodies that only tell one call from another, besides metadata and user",
        _names,
    ),
    Option(
        "foreign_suites",
        None,
        "linelist",
        "PATTERNS",
        "Configurations of promptfoo and evals of skills that are collected unnamed: patterns of their paths "
        "from rootdir, one a line",
        _paths,
    ),
)

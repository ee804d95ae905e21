"""How the values of settings are read from text: each function takes the option's name and what was given.

Each raises `SettingsError` that says both, and what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.settings import MAX_EXAMPLES, NO_MODEL, Intercept

Parse = Callable[[str, str], object]

#: The smallest alpha: parts of a smaller one (0.86 of it, say) could not be told from zero in a float.
LEAST_ALPHA = 1e-300


def whole_number(least: int, most: int | None = None) -> Parse:
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


def money(name: str, text: str) -> float:
    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise SettingsError(f"{name}: {text!r} is not an amount in US dollars above 0, such as 2.50")
    return value


def example_count(name: str, text: str) -> int:
    known = {"auto": MAX_EXAMPLES, "off": 0}
    try:
        count = known[text] if text in known else int(text)
    except ValueError:
        count = -1
    if text not in known and not 1 <= count <= MAX_EXAMPLES:
        raise SettingsError(f"{name}: {text!r} is not auto, off or a whole number from 1 to {MAX_EXAMPLES}")
    return count


def on_or_off(name: str, text: str) -> bool:
    if text not in ("on", "off"):
        raise SettingsError(f"{name}: {text!r} is not on or off")
    return text == "on"


_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def seconds(name: str, text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([smh]?)", text.strip(), re.ASCII)
    value = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < value < float("inf"):
        raise SettingsError(f"{name}: {text!r} is not a time above 0, such as 90, 90s, 15m or 2h")
    return value


def pass_rate(name: str, text: str) -> float:
    from pytest_promptopt.gate import parse_rate

    return parse_rate(text, name=name)


def confidence(name: str, text: str) -> float:
    rate = pass_rate(name, text)
    if not 0.5 <= rate < 1:
        raise SettingsError(f"{name}: {text!r} is not a confidence from 0.5 to below 1, such as 0.95 or 99%")
    return rate


def model_name(name: str, text: str) -> str:
    from pytest_promptopt.models.registry import canonical_name

    try:
        return canonical_name(text)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None


def target_models(name: str, text: str) -> str | tuple[str, ...]:
    """One model, or several."""
    from pytest_promptopt.models.registry import canonical_names

    try:
        names = canonical_names(text)
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None
    return names if len(names) > 1 else names[0]


def model_or_none(name: str, text: str) -> str:
    return text if text == NO_MODEL else model_name(name, text)


def one_of(accepted: type[StrEnum]) -> Parse:
    def parse(name: str, text: str) -> StrEnum:
        try:
            return accepted(text)
        except ValueError:
            raise SettingsError(f"{name}: {text!r} is not one of {', '.join(accepted)}") from None

    return parse


def several_of(accepted: type[StrEnum]) -> Parse:
    """Some of them, separated by commas, in this order."""

    def parse(name: str, text: str) -> tuple[StrEnum, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not set(parts) <= set(accepted) or len(set(parts)) < len(parts):
            raise SettingsError(
                f"{name}: {text!r} is not one of {', '.join(accepted)}, or several of them, separated by "
                "commas"
            )
        return tuple(map(accepted, parts))

    return parse


def strategy_names(name: str, text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise SettingsError(
            f"{name}: {text!r} is not the name of a strategy, or several different ones separated by commas, "
            "such as refine,evolve"
        )
    return names


def least_points(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise SettingsError(f"{name}: {text!r} is not a number of points from 0, such as 0.5")
    return value


def significance(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not LEAST_ALPHA <= value <= 0.5:
        raise SettingsError(f"{name}: {text!r} is not a number above 0 and at most 0.5, such as 0.05")
    return value


def split_shares(name: str, text: str) -> tuple[float, float, float]:
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


def intercepted_hosts(name: str, text: str) -> Intercept:
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


def field_names(name: str, text: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    if names == ("none",):
        return ()
    if not names or not all(re.fullmatch(r"[A-Za-z_][\w-]*", each) for each in names):
        raise SettingsError(f"{name}: {text!r} is not a list of names, such as request_id session_id")
    return names


def file_path(name: str, text: str) -> str:
    if not text.strip() or "\0" in text:
        raise SettingsError(f"{name}: {text!r} is not the path of a file")
    return text.strip()


def file_paths(name: str, text: str) -> tuple[str, ...]:
    paths = [each for each in re.split(r"[,\n]", text) if each.strip()]
    if not paths:
        raise SettingsError(f"{name}: {text!r} is not a list of paths of files, such as labels.jsonl")
    return tuple(file_path(name, each) for each in paths)

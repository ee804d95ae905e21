"""Every option and ini value is read strictly; what does not fit is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_promptopt import options
from pytest_promptopt.errors import SettingsError
from pytest_promptopt.settings import (
    Accept,
    Breaking,
    CacheMode,
    FailOn,
    GateMode,
    GatePopulation,
    GateSplit,
    Intercept,
    Mode,
    Settings,
    Undecided,
)

BY_FIELD = {option.field: option for option in options.OPTIONS}


def test_every_option_fills_a_field_of_the_settings() -> None:
    assert set(BY_FIELD) <= set(Settings.__dataclass_fields__)
    assert set(Settings.__dataclass_fields__) - set(BY_FIELD) == {
        "rootdir",
        "mode",
        "reports",
        "pr_body",
        "save_baseline",
        "compare",
        "resume",
        "options",
        "no_regressions",
        "trust_judge",
        "otel",
        "models",  # of the option for `model`
    }


def test_defaults_that_the_help_names_are_the_settings_own() -> None:
    defaults = Settings(rootdir=Path())
    for option in options.OPTIONS:
        if "(default: " in option.help:
            named = option.help.partition("(default: ")[2].rstrip(")")
            assert option.parse(option.ini, named) == getattr(defaults, option.field), option.field


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("model", "demo", "demo"),
        ("model", "claude-haiku-4-5", "anthropic/claude-haiku-4-5"),
        ("model", "openai/gpt-x", "openai/gpt-x"),
        ("model", "demo, claude-haiku-4-5", ("demo", "anthropic/claude-haiku-4-5")),
        ("from_model", "claude-haiku-4-5", "anthropic/claude-haiku-4-5"),
        ("optimizer_model", "gemini/a/b", "gemini/a/b"),
        ("candidates", "1", 1),
        ("candidates", "10", 10),
        ("examples", "auto", 16),
        ("examples", "off", 0),
        ("examples", "1", 1),
        ("examples", "16", 16),
        ("learn", "on", True),
        ("learn", "off", False),
        ("least_gain", "0", 0.0),
        ("least_gain", "2.5", 2.5),
        ("max_iterations", "1", 1),
        ("plateau", "7", 7),
        ("target", "0.95", 0.95),
        ("target", "95%", 0.95),
        ("accept", "improved", Accept.IMPROVED),
        ("accept", "best", Accept.BEST),
        ("alpha", "0.5", 0.5),
        ("alpha", "1e-3", 0.001),
        ("max_calls", "1000", 1000),
        ("max_tokens", "200000", 200000),
        ("max_time", "90", 90.0),
        ("max_time", "1.5 m", 90.0),
        ("max_time", "2h", 7200.0),
        ("max_cost", "2.50", 2.5),
        ("max_cost", "$2.50", 2.5),
        ("concurrency", "1", 1),
        ("concurrency", "1000", 1000),
        ("samples", "3", 3),
        ("seed", "0", 0),
        ("cache", "use", CacheMode.USE),
        ("cache", "refresh", CacheMode.REFRESH),
        ("cache", "off", CacheMode.OFF),
        ("min_pass_rate", "0", 0.0),
        ("min_pass_rate", "1", 1.0),
        ("min_pass_rate", "90 %", 0.9),
        ("max_cost_per_case", "$0.002", 0.002),
        ("p95_latency", "2s", 2.0),
        ("gate", "interval", GateMode.INTERVAL),
        ("undecided", "pass", Undecided.PASS),
        ("gate_samples", "8", 8),
        ("gate_margin", "2.5", 2.5),
        ("gate_confidence", "99%", 0.99),
        ("gate_population", "cases", GatePopulation.CASES),
        ("gate_split", "heldout", GateSplit.HELDOUT),
        ("fail_on", "any", FailOn.ANY),
        ("compare_margin", "2.5", 2.5),
        ("strategy", "refine", ("refine",)),
        ("strategy", "refine, gepa", ("refine", "gepa")),
        ("mutate_by", "delete", (Breaking.DELETE,)),
        ("mutate_by", "negate, delete", (Breaking.NEGATE, Breaking.DELETE)),
        ("split", "60/20/20", (0.6, 0.2, 0.2)),
        ("intercept", "on", Intercept()),
        ("intercept", "off", Intercept(on=False)),
        ("intercept", "+My.Host, -other.example", Intercept(also=("my.host",), without=("other.example",))),
        ("ignore_fields", "request_id, session-id", ("request_id", "session-id")),
        ("foreign_suites", "a.yaml\nskills/*/evals/evals.json", ("a.yaml", "skills/*/evals/evals.json")),
        ("split", "100/0/0", (1.0, 0.0, 0.0)),
        ("split", "33.4/33.3/33.3", (0.334, 0.333, 0.333)),
    ],
)
def test_accepted(field: str, text: str, value: Any) -> None:
    found = BY_FIELD[field].parse("--x", text)
    assert found == (pytest.approx(value) if field == "split" else value)
    assert type(found) is type(value)


WRONG = [
    ("model", "gpt", "accepted are 'anthropic/<model>'"),
    ("model", "", "accepted are"),
    ("model", "a b/c", "accepted are"),
    ("model", "a/b,", "one model, or several separated by commas"),
    ("model", "a/b,c/d,a/b", "name each model once"),
    ("from_model", "gpt", "accepted are"),
    ("optimizer_model", "/x", "accepted are"),
    ("candidates", "0", "a whole number from 1 to 10"),
    ("candidates", "11", "a whole number from 1 to 10"),
    ("candidates", "2.0", "a whole number from 1 to 10"),
    ("candidates", "many", "a whole number from 1 to 10"),
    ("candidates", "True", "a whole number from 1 to 10"),
    ("examples", "0", "auto, off or a whole number from 1 to 16"),
    ("examples", "17", "auto, off or a whole number from 1 to 16"),
    ("examples", "on", "auto, off or a whole number from 1 to 16"),
    ("examples", "", "auto, off or a whole number from 1 to 16"),
    ("examples", "-1", "auto, off or a whole number from 1 to 16"),
    ("learn", "yes", "on or off"),
    ("learn", "", "on or off"),
    ("least_gain", "-1", "a number of points from 0, such as 0.5"),
    ("least_gain", "inf", "a number of points from 0"),
    ("least_gain", "nan", "a number of points from 0"),
    ("least_gain", "1%", "a number of points from 0"),
    ("least_gain", "", "a number of points from 0"),
    ("max_iterations", "0", "a whole number from 1"),
    ("plateau", "-1", "a whole number from 1"),
    ("target", "1.1", "a share from 0 to 1"),
    ("target", "nan", "a share from 0 to 1"),
    ("target", "101%", "a percentage"),
    ("accept", "all", "improved, best"),
    ("accept", "", "improved, best"),
    ("alpha", "0", "above 0 and at most 0.5"),
    ("alpha", "0.51", "above 0 and at most 0.5"),
    ("alpha", "-0.05", "above 0 and at most 0.5"),
    ("alpha", "nan", "above 0 and at most 0.5"),
    ("alpha", "5%", "such as 0.05"),
    ("max_calls", "0", "a whole number from 1"),
    ("max_calls", "1e3", "a whole number from 1"),
    ("max_tokens", "0", "a whole number from 1"),
    ("max_time", "0s", "such as 90, 90s, 15m or 2h"),
    ("max_time", "1d", "such as 90, 90s, 15m or 2h"),
    ("max_time", "-5", "such as 90, 90s, 15m or 2h"),
    ("max_time", "1h30m", "such as 90, 90s, 15m or 2h"),
    ("max_cost", "0", "above 0"),
    ("max_cost", "-1", "above 0"),
    ("max_cost", "inf", "above 0"),
    ("max_cost", "nan", "above 0"),
    ("max_cost", "free", "such as 2.50"),
    ("concurrency", "0", "a whole number from 1 to 1000"),
    ("concurrency", "1001", "a whole number from 1 to 1000"),
    ("samples", "0", "a whole number from 1"),
    ("seed", "-1", "a whole number from 0"),
    ("cache", "no", "use, refresh, off"),
    ("critique", "yes", "auto, on, off"),
    ("judge_model", "gpt", "anthropic/<model>"),
    ("embedding_model", "small", "anthropic/<model>"),
    ("judge_prompt", " ", "path of a file"),
    ("prompt", " ", "path of a file"),
    ("judge_labels", ",", "a list of paths"),
    ("judge_threshold", "7", "share from 0 to 1"),
    ("judge_floor", "-1", "share from 0 to 1"),
    ("min_pass_rate", "-0.1", "a share from 0 to 1"),
    ("min_pass_rate", "most", "a share from 0 to 1"),
    ("max_cost_per_case", "0", "an amount in US dollars above 0"),
    ("p95_latency", "fast", "a time above 0"),
    ("gate", "strict", "rate, interval"),
    ("undecided", "skip", "fail, pass"),
    ("gate_samples", "1", "a whole number from 2"),
    ("gate_margin", "-1", "a number of points from 0"),
    ("gate_confidence", "0.4", "a confidence from 0.5 to below 1"),
    ("gate_confidence", "100%", "a confidence from 0.5 to below 1"),
    ("gate_population", "prompts", "answers, cases"),
    ("gate_split", "train", "all, heldout"),
    ("gate_partial", "yes", "on or off"),
    ("fail_on", "all", "significant, any"),
    ("compare_margin", "-1", "a number of points from 0"),
    ("intercept", "maybe", "is not on, off, +HOST"),
    ("intercept", "+http://host", "a host has no scheme, port or path"),
    ("intercept", "off +host", "off stands alone"),
    ("ignore_fields", "a b/c", "such as request_id"),
    ("ignore_fields", "", "is not a list of names"),
    ("foreign_suites", "\n", "a list of paths"),
    ("split", "60/20", "add up to 100"),
    ("split", "60/20/30", "add up to 100"),
    ("split", "0/50/50", "such as 60/20/20"),
    ("split", "120/-10/-10", "such as 60/20/20"),
    ("split", "nan/20/20", "such as 60/20/20"),
    ("split", "a/b/c", "such as 60/20/20"),
    ("split", "60,20,20", "such as 60/20/20"),
    ("mutate_by", "", "delete, weaken, negate, or several of them"),
    ("mutate_by", "delete,delete", "delete, weaken, negate, or several of them"),
    ("strategy", "", "the name of a strategy"),
    ("strategy", "refine,", "such as refine,evolve"),
    ("strategy", "refine, evolve, refine", "several different ones"),
]


@pytest.mark.parametrize(("field", "text", "accepted"), WRONG)
def test_refused_with_the_name_the_value_and_what_fits(field: str, text: str, accepted: str) -> None:
    with pytest.raises(SettingsError) as caught:
        BY_FIELD[field].parse("--the-option", text)
    message = str(caught.value)
    assert message.startswith("--the-option: ")
    assert repr(text) in message
    assert accepted in message


def test_every_option_has_a_wrong_value_above() -> None:
    assert {field for field, _, _ in WRONG} == set(BY_FIELD)


def test_modes_have_names_for_reports() -> None:
    assert [mode.value for mode in Mode] == ["check", "optimize", "dry-run", "calibrate", "mutate"]
    optimizing = [mode for mode in Mode if Settings(rootdir=Path(), mode=mode).optimizing]
    assert optimizing == [Mode.OPTIMIZE, Mode.DRY_RUN]

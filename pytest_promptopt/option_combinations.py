"""Options that cannot go together, of the plugin's own and of pytest's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.settings import GateMode, Mode, Settings

if TYPE_CHECKING:
    import pytest

#: Options of pytest, by their names in it, that ask for no run.
_RUNS_NO_CASE = {
    "collectonly": "--collect-only runs no case",
    "setupplan": "--setup-plan runs no case",
    "setuponly": "--setup-only runs no case",
}


def check_combination(config: pytest.Config, settings: Settings) -> None:
    """Refuse what cannot go together with refinement, or with the test of a judge. Raises `SettingsError`."""
    if settings.comparing and settings.mode is not Mode.DRY_RUN:
        raise SettingsError(
            f"--promptopt-strategy={','.join(settings.strategy)}: several strategies are compared, and which "
            "of their texts to keep is yours to say: add --optimize-dry-run, or name one strategy"
        )
    if config.option.promptopt_from_traces:
        _check_traces(config, settings)
    elif settings.mode is Mode.CALIBRATE:
        _check_calibration(config, settings)
    _check_mutation(config, settings)
    if settings.from_model is not None:
        _check_migration(config, settings)
    if settings.measuring:
        _check_measuring(config, settings)
    _check_fail_on(config, settings)
    if settings.gate_samples is not None:
        _check_gate_samples(config, settings)
    if settings.pr_body is not None:
        _check_pr_body(config, settings)
    if not settings.optimizing:
        return
    mode = "--optimize" if settings.mode is Mode.OPTIMIZE else "--optimize-dry-run"
    mode = "--optimize-resume" if settings.resume else mode
    reasons = {
        "lf": "--lf runs only the cases that failed last; nothing would guard the others",
        "failedfirst": "--ff reorders the cases by their last result",
        "stepwise": "--sw stops at the first failure; refinement needs all of them",
        **_RUNS_NO_CASE,
    }
    _refuse(config, mode, reasons)
    _check_distribution(config, mode)


def _refuse(config: pytest.Config, given: str, reasons: Mapping[str, str], why: str = "") -> None:
    """Refuse options of pytest, by their names in it, beside one of ours, each for its reason.

    :param why: what follows each reason.
    """
    for name, reason in reasons.items():
        if config.getoption(name, False):
            raise SettingsError(f"{given}: {reason}{why}; leave it out")


def _check_distribution(config: pytest.Config, given: str) -> None:
    """Of what has xdist's workers run cases before its own loop."""
    if config.getoption("dist", "no") == "each":
        raise SettingsError(f"{given}: --dist=each runs every case on every worker; use --dist=load")


def _check_fail_on(config: pytest.Config, settings: Settings) -> None:
    if settings.compare is None and config.getoption("promptopt_fail_on") is not None:
        given = f"--promptopt-fail-on={settings.fail_on}"
        raise SettingsError(f"{given} is of a comparison: add --promptopt-compare, with a file or git:REF")


def _check_measuring(config: pytest.Config, settings: Settings) -> None:
    option = "--promptopt-compare" if settings.save_baseline is None else "--promptopt-save-baseline"
    if settings.mode is not Mode.CHECK:
        mode = {Mode.CALIBRATE: "--promptopt-calibrate", Mode.MUTATE: "--promptopt-mutate"}.get(
            settings.mode, "--optimize"
        )
        raise SettingsError(f"{option} is about a plain check; leave {mode} out")
    for name in ("setupplan", "setuponly"):
        if settings.earlier_ref is not None and config.getoption(name, False):
            raise SettingsError(f"--promptopt-compare={settings.compare}: {_RUNS_NO_CASE[name]}")
    if settings.earlier_ref is not None:
        _check_distribution(config, f"--promptopt-compare={settings.compare}")


def _check_pr_body(config: pytest.Config, settings: Settings) -> None:
    given = f"--promptopt-pr-body={config.option.promptopt_pr_body}"
    if settings.mode is Mode.DRY_RUN:
        raise SettingsError(
            f"{given} tells what was written, and --optimize-dry-run writes no prompt file: use "
            "--promptopt-report=FILE.md, or --optimize"
        )
    if settings.mode is not Mode.OPTIMIZE:
        raise SettingsError(f"{given} tells what --optimize has written: add --optimize")
    if settings.pr_body in settings.reports:
        raise SettingsError(f"{given} and a report would be written to the same file: give each its own")


def _check_gate_samples(config: pytest.Config, settings: Settings) -> None:
    asked = config.getoption("promptopt_gate_samples") is not None
    given = f"{'--promptopt-gate-samples' if asked else 'promptopt_gate_samples'}={settings.gate_samples}"
    if settings.most_gate_samples is None:
        if not asked:
            return  # in the ini file it waits for a check by intervals
        if settings.mode is not Mode.CHECK:
            raise SettingsError(
                f"{given} is about a plain check; leave --optimize, --promptopt-calibrate and "
                "--promptopt-mutate out"
            )
        if settings.gate is not GateMode.INTERVAL:
            raise SettingsError(f"{given} is for gates that may be undecided: add --promptopt-gate=interval")
        raise SettingsError(
            f"{given} decides no gate with promptopt_gate_population = cases: only further cases do"
        )
    _check_distribution(config, given)
    for name, option in (("setupshow", "--setup-show"), ("trace", "--trace")):
        if config.getoption(name, False):
            raise SettingsError(
                f"{given} runs cases unseen, and {option} is to show every run; leave one out"
            )


def _check_migration(config: pytest.Config, settings: Settings) -> None:
    given = f"--promptopt-from-model={settings.from_model}"
    if not settings.optimizing:
        if config.getoption("promptopt_from_model") is None:
            return  # in the ini file it waits for an optimization
        raise SettingsError(f"{given} is of a migration, which rewrites prompts: add --optimize")
    new = settings.model or ",".join(settings.models)
    if settings.model is None:
        was = f"; --promptopt-model={new} names several" if new else ""
        raise SettingsError(
            f"{given} names the model that the prompts were for: name the one that they are to be for with "
            f"--promptopt-model=MODEL{was}"
        )
    if settings.model == settings.from_model:
        raise SettingsError(f"{given}: --promptopt-model={new} is the same model; a migration is between two")
    if settings.comparing:
        raise SettingsError(
            f"{given}: a migration is done by one strategy, and --promptopt-strategy="
            f"{','.join(settings.strategy)} names several"
        )


def _check_traces(config: pytest.Config, settings: Settings) -> None:
    option = "--promptopt-from-traces"
    if settings.mode is not Mode.CHECK:
        mode = "--promptopt-calibrate" if settings.mode is Mode.CALIBRATE else "--optimize"
        raise SettingsError(f"{option} runs no test; leave {mode} out")
    if config.getoption("dist", "no") != "no":
        raise SettingsError(f"{option} writes the cases of all prompts together; leave -n out, or add -n 0")
    _refuse(config, option, _RUNS_NO_CASE, ", and this writes them")


def _check_mutation(config: pytest.Config, settings: Settings) -> None:
    if settings.mode is not Mode.MUTATE:
        if (given := config.getoption("promptopt_mutate_by", None)) is not None:
            raise SettingsError(f"--promptopt-mutate-by={given} is of --promptopt-mutate: add that")
        return
    if config.getoption("dist", "no") != "no":
        raise SettingsError("--promptopt-mutate runs all cases in one process; leave -n out, or add -n 0")
    reasons = {
        "stepwise": "--sw stops at the first failure, and here cases are meant to fail",
        "setupshow": "--setup-show is to show every run, and here cases run unseen",
        "trace": "--trace stops at every run, and here cases run unseen",
        **_RUNS_NO_CASE,
    }
    _refuse(config, "--promptopt-mutate", reasons)


def _check_calibration(config: pytest.Config, settings: Settings) -> None:
    if config.getoption("dist", "no") != "no":
        raise SettingsError("--promptopt-calibrate asks everything in one process; leave -n out, or add -n 0")
    if settings.reports:
        raise SettingsError(
            "--promptopt-calibrate runs no case that --promptopt-report could tell of; leave it out: the "
            "result is stored beside the labels"
        )
    _refuse(config, "--promptopt-calibrate", _RUNS_NO_CASE, ", and this asks the judge")

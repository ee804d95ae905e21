"""The options and their ini twins, read into `Settings`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.option_table import OPTIONS as OPTIONS
from pytest_promptopt.option_table import Option as Option
from pytest_promptopt.settings import BASELINE_FILE, GIT, Mode, Settings, home_of

if TYPE_CHECKING:
    import pytest

    from pytest_promptopt.runs.past import PastRun

#: The run that ``--optimize-resume`` and ``--promptopt-show`` mean without a name: no name, also not an empty
#: one, is like it.
LAST = "(the last one)"


#: What is switched on, by the field of `Settings`.
FLAGS = {
    "no_regressions": "Take no candidate that fails a training or validation case which the original passed",
    "otel": "Send spans of calls, cases and candidates to OpenTelemetry",
    "trust_judge": "Let a judge decide whose verdicts were not shown to agree with labels",
}


def add_options(parser: pytest.Parser) -> None:
    """Declare all options and ini values in a group of their own."""
    group = parser.getgroup("promptopt", "prompt evaluation and optimization")
    _add_actions(group)
    _add_imports(group)
    _add_baselines(group)
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
    for name, meaning in FLAGS.items():
        group.addoption(f"--promptopt-{name.replace('_', '-')}", action="store_true", help=meaning)
        parser.addini(f"promptopt_{name}", meaning, type="bool", default=False)
    group.addoption(
        "--promptopt-report",
        dest="promptopt_report",
        metavar="PATH",
        action="append",
        default=[],
        help="Write a report; the ending says which: .html for people, .md for a pull request, "
        ".json for scripts, .xml for servers that read JUnit; may be given several times",
    )
    parser.addini("promptopt_report", "Reports to write, one path a line", type="linelist", default=[])
    group.addoption(
        "--promptopt-pr-body",
        metavar="FILE",
        default=None,
        help="With --optimize: write the body of a pull request to this .md file; it is empty where no "
        "prompt file was written",
    )


def _add_actions(group: pytest.OptionGroup) -> None:
    """The options that say what the session does."""
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
        "--promptopt-calibrate",
        action="store_true",
        help="Test the judge on labelled answers, store what it may decide, and run no test",
    )
    group.addoption(
        "--promptopt-mutate",
        action="store_true",
        help="Break the instructions of each prompt, one at a time, name those that no test notices, and "
        "change no file",
    )
    group.addoption(
        "--promptopt-runs",
        action="store_true",
        help="List the runs of --optimize, and run no test",
    )
    group.addoption(
        "--promptopt-show",
        nargs="?",
        const=LAST,
        default=None,
        metavar="RUN",
        help="Write the page of a past run of --optimize, named with =RUN, else the last one, open it, and "
        "run no test",
    )
    group.addoption(
        "--promptopt-restore",
        metavar="RUN",
        default=None,
        help="Put the prompt files back as they were before a run, and run no test",
    )


def _add_imports(group: pytest.OptionGroup) -> None:
    """The options that make cases of what is kept elsewhere."""
    group.addoption(
        "--promptopt-import",
        metavar="FILE",
        default=None,
        help="Write a configuration of promptfoo as *.promptopt.yaml beside it, and run no test",
    )
    group.addoption(
        "--promptopt-from-traces",
        metavar="FILE",
        action="append",
        default=[],
        help="Write requests that were recorded in production (OTLP, OpenInference, Langfuse) as cases to "
        "review, *.traces.promptopt.yaml, and run no test; may be given several times",
    )


def _add_baselines(group: pytest.OptionGroup) -> None:
    """The options that keep what was measured, or compare with it."""
    group.addoption(
        "--promptopt-save-baseline",
        nargs="?",
        const="",
        default=None,
        metavar="FILE",
        help=f"Write what was measured to =FILE, or to {BASELINE_FILE} in rootdir, to compare later runs",
    )
    group.addoption(
        "--promptopt-compare",
        nargs="?",
        const="",
        default=None,
        metavar="FILE|git:REF",
        help=f"Compare with a baseline =FILE, or {BASELINE_FILE} in rootdir; =git:REF compares with the "
        "prompts as they were at a commit",
    )


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
    if isinstance(values.get("model"), tuple):
        values["models"] = values.pop("model")
    for name in FLAGS:
        if config.getoption(f"promptopt_{name}"):
            given[name] = "on"
        values[name] = name in given or _ini_flag(config, f"promptopt_{name}")
    mode = _mode(config)
    if resumed is not None and mode is Mode.CHECK:
        mode = Mode(resumed.opened["mode"])
    return Settings(
        rootdir=config.rootpath,
        mode=mode,
        reports=_reports(config),
        pr_body=_pr_body(config),
        save_baseline=_baseline(config, "--promptopt-save-baseline"),
        compare=_compared(config),
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
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return None if value is None else str(value)


def _mode(config: pytest.Config) -> Mode:
    optimize, dry_run = config.getoption("optimize"), config.getoption("optimize_dry_run")
    if optimize and dry_run:
        raise SettingsError("--optimize and --optimize-dry-run: give one of them")
    if config.getoption("promptopt_calibrate"):
        if optimize or dry_run or config.getoption("optimize_resume") is not None:
            raise SettingsError("--promptopt-calibrate runs no optimization: give one of them")
        if config.getoption("promptopt_mutate"):
            raise SettingsError("--promptopt-calibrate and --promptopt-mutate: give one of them")
        return Mode.CALIBRATE
    if config.getoption("promptopt_mutate"):
        if optimize or dry_run or config.getoption("optimize_resume") is not None:
            raise SettingsError("--promptopt-mutate runs no optimization: give one of them")
        return Mode.MUTATE
    return Mode.OPTIMIZE if optimize else Mode.DRY_RUN if dry_run else Mode.CHECK


def _reports(config: pytest.Config) -> tuple[Path, ...]:
    given = [
        (config.invocation_params.dir, "--promptopt-report", text) for text in config.option.promptopt_report
    ]
    given += [(config.rootpath, "promptopt_report", text) for text in _ini_lines(config, "promptopt_report")]
    if not given:
        return ()
    from pytest_promptopt.reports.report_files import check_report_path

    return tuple(dict.fromkeys(folder / check_report_path(text, name=name) for folder, name, text in given))


def _pr_body(config: pytest.Config) -> Path | None:
    text: str | None = config.option.promptopt_pr_body
    if text is None:
        return None
    path = config.invocation_params.dir / text
    if path.suffix.lower() != ".md" or path.is_dir():
        was = "a folder" if path.is_dir() else "no path of a .md file"
        raise SettingsError(f"--promptopt-pr-body: {text!r} is {was}; write --promptopt-pr-body=FILE.md")
    return path


def _baseline(config: pytest.Config, option: str) -> Path | None:
    """The file that an option names: from where pytest was started, the default one from rootdir."""
    text: str | None = config.getoption(option.lstrip("-").replace("-", "_"))
    if text is None:
        return None
    if not text:
        return config.rootpath / BASELINE_FILE
    path = config.invocation_params.dir / text
    if path.suffix.lower() != ".json" or path.is_dir():
        raise SettingsError(f"{option}: {text!r} is not the path of a .json file; write {option}=FILE.json")
    return path


def _compared(config: pytest.Config) -> str | None:
    text: str | None = config.getoption("promptopt_compare")
    if text is not None and text.startswith(GIT):
        return text
    path = _baseline(config, "--promptopt-compare")
    return None if path is None else str(path)


def _ini_lines(config: pytest.Config, name: str) -> list[str]:
    try:
        return list(config.getini(name))
    except Exception as error:
        raise SettingsError(f"{name}: {error}; accepted is a list of paths") from None

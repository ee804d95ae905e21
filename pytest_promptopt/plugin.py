"""The pytest plugin: options, marks, fixtures, and hooks of a few lines that hand over.

This module is imported in every pytest session on the machine, so it imports pytest and the standard library
only, and everything else when a session has prompt cases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence, Set
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_promptopt import options
from pytest_promptopt import unpatched as unpatched  # first of all: nothing has been exchanged yet
from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.option_combinations import check_combination
from pytest_promptopt.settings import ROOTS, Mode, Settings
from pytest_promptopt.suites import file_endings

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_promptopt.pytest_session.case_runner import CaseRunner
    from pytest_promptopt.pytest_session.distributed_session import DistributedSession
    from pytest_promptopt.pytest_session.live_session import LiveSession
    from pytest_promptopt.pytest_session.summary import Summary
    from pytest_promptopt.pytest_session.worker_partition import Parts
    from pytest_promptopt.replay.judge_calls import CaseJudge
    from pytest_promptopt.replay.prompt_calls import Prompt, Prompts

#: Under this name the session's `CaseRunner` is registered, once there are prompt cases.
RUNNER = "promptopt-runner"

#: Under this name the `Listener` is, in the process that prints.
LISTENER = "promptopt-listener"

T = TypeVar("T")

settings_key = pytest.StashKey[Settings]()
deselected_key = pytest.StashKey[list[pytest.Item]]()

MARKERS = (
    "prompt(path, *, model=None, samples=1, min_case_rate=1.0, min_pass_rate=None, max_cost_per_case=None, "
    "p95_latency=None, replay=True, freeze=False, **model_parameters): the prompt file that this test "
    "checks; stage=path for each stage of a pipeline",
    "validation: a case that chooses among improvements; the optimizer sees of it only patterns",
    "judge_labels(path, ..., criterion=None): files of labelled answers that a judge is tested by; a test "
    "with the argument `label` has a case for each",
    "heldout: a case that no step of an optimization sees; it scores the result",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_promptopt import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    try:
        settings = config.stash[settings_key] = options.read_settings(config)
        check_combination(config, settings)
        if not hasattr(config, "workerinput"):
            _check_files(config, settings)
    except PromptoptError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[deselected_key] = []
    ROOTS.append(config.rootpath)
    config.add_cleanup(lambda: ROOTS.remove(config.rootpath))
    if settings.otel:
        from pytest_promptopt.pytest_session.span_session import NAME, SpanSession

        config.pluginmanager.register(SpanSession(config, settings), NAME)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Listener(config, settings), LISTENER)
        if settings.runs_ahead and config.getoption("dist", "no") != "no" and not config.option.collectonly:
            _register_controller(config, settings)


def _check_files(config: pytest.Config, settings: Settings) -> None:
    """What the session is to write, and what it is compared with. Raises `PromptoptError`."""
    if settings.reports or settings.pr_body is not None or settings.save_baseline is not None:
        from pytest_promptopt.pytest_session.written_files import check_written_files

        check_written_files(config, settings)
    if settings.measuring:
        from pytest_promptopt.pytest_session.baseline_session import open_baseline

        open_baseline(config, settings)


def _register_controller(config: pytest.Config, settings: Settings) -> None:
    """In the place of a `CaseRunner`: xdist's workers run the cases."""
    session: DistributedSession
    if settings.optimizing:
        from pytest_promptopt.pytest_session.distributed_optimization import DistributedOptimization

        session = DistributedOptimization(config, settings)
    else:
        from pytest_promptopt.pytest_session.distributed_check import DistributedCheck

        session = DistributedCheck(config, settings)
    config.pluginmanager.register(session, RUNNER)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    given = config.option
    imported, shown, restored = given.promptopt_import, given.promptopt_show, given.promptopt_restore
    if not given.promptopt_runs and all(each is None for each in (imported, shown, restored)):
        return None
    from pytest_promptopt.runs.commands import import_cases, list_runs, restore_run, show_run

    try:
        if given.promptopt_runs:
            list_runs(config.rootpath, sys.stdout)
            return pytest.ExitCode.OK
        if imported is not None:
            import_cases(config.invocation_params.dir / imported, options.read_settings(config), sys.stdout)
            return pytest.ExitCode.OK
        if shown is not None:
            show_run(None if shown == options.LAST else shown, config.rootpath, sys.stdout)
            return pytest.ExitCode.OK
        done = restore_run(restored, config.rootpath, sys.stdout)
    except (PromptoptError, OSError) as error:
        raise pytest.UsageError(str(error)) from None
    return pytest.ExitCode.OK if done else pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    try:
        return (yield)
    except pytest.UsageError as error:
        named = [str(said).partition("\n")[0] for said in error.args]
        if session.config.stash[settings_key].prompt is None and any(
            n.lower().endswith(file_endings.ONLY_TABLES) for n in named
        ):
            hint = "a table of cases needs a prompt file: add --promptopt-prompt=PATH"
            raise pytest.UsageError(*error.args, hint) from None
        raise


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    prompt, ending = parent.config.stash[settings_key].prompt, file_path.suffix.lower()
    if file_path.name.endswith(file_endings.SUITES):
        from pytest_promptopt.pytest_engine.case_files import CaseFile

        return CaseFile.from_parent(parent, path=file_path)
    if ending in file_endings.FOREIGN and _is_foreign_suite(file_path, parent):
        from pytest_promptopt.pytest_engine.foreign_case_files import foreign_file

        embedder = parent.config.stash[settings_key].embedder
        return foreign_file(file_path, parent, embedding_model=embedder)
    if prompt is None or ending not in file_endings.TABLES or not parent.session.isinitpath(file_path):
        return None
    from pytest_promptopt.pytest_engine.case_files import CaseTableFile

    return CaseTableFile.from_parent(parent, path=file_path, prompt=prompt)


def _is_foreign_suite(path: Path, parent: pytest.Collector) -> bool:
    """Whether another program's file of cases is named on the command line or in the ini file."""
    settings = parent.config.stash[settings_key]
    if settings.prompt is None and parent.session.isinitpath(path):
        return True
    if not settings.foreign_suites or not path.is_relative_to(parent.config.rootpath):
        return False
    from fnmatch import fnmatchcase

    name = path.relative_to(parent.config.rootpath).as_posix()
    return any(fnmatchcase(name, pattern) for pattern in settings.foreign_suites)


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Generator[None]:
    settings, definition = metafunc.config.stash[settings_key], metafunc.definition
    try:
        if definition.get_closest_marker("judge_labels") is not None:
            from pytest_promptopt.pytest_engine.label_cases import parametrize_labels

            parametrize_labels(metafunc, settings)
        yield
        if _uses_prompt(metafunc):
            from pytest_promptopt.pytest_engine.collection import check_function, use_every_model

            check_function(metafunc, settings)
            if settings.models:
                use_every_model(metafunc, settings)
    except PromptoptError as error:
        raise pytest.Collector.CollectError(str(error)) from None


def _uses_prompt(metafunc: pytest.Metafunc) -> bool:
    """Whether the function or one of its parameters is marked; `internals` is not imported for the others."""
    if metafunc.definition.get_closest_marker("prompt") is not None:
        return True
    return any(mark.name == "prompt" for call in metafunc._calls for mark in call.marks)


def pytest_itemcollected(item: pytest.Item) -> None:
    if (files := sys.modules.get("pytest_promptopt.suites.file_case")) is not None:
        given = getattr(item, "callspec", None)
        for value in () if given is None else given.params.values():
            if type(value) is files.FileCase:  # an object may raise whatever it is asked
                item.extra_keyword_matches.update(value.tags)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("prompt") is not None:
            item.config.stash[deselected_key].append(item)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    settings, deselected = config.stash[settings_key], config.stash[deselected_key]
    if config.option.promptopt_from_traces:
        from pytest_promptopt.pytest_session.trace_import import TraceImport

        config.pluginmanager.register(TraceImport(session, settings), "promptopt-from-traces")
        return
    if settings.mode is Mode.CALIBRATE:
        _calibrate(session)
        return
    if not any(item.get_closest_marker("prompt") for item in session.items):
        if settings.runs_ahead or settings.mode is Mode.MUTATE:
            from pytest_promptopt.pytest_session.session_purpose import check_purpose

            check_purpose(session, settings, len(deselected))
        return
    from pytest_promptopt.pytest_engine.unseen_reports import UnseenReports
    from pytest_promptopt.pytest_session.case_runner import CaseRunner

    runner = CaseRunner(session, settings, deselected=deselected)
    config.pluginmanager.register(runner, RUNNER)
    config.pluginmanager.register(runner.running)
    config.pluginmanager.register(UnseenReports(lambda: runner.engine.buffered))
    if hasattr(config, "workerinput"):
        from pytest_promptopt.pytest_session.running_figures import tell_figures

        tell_figures(config, runner)
        return
    try:
        runner.check()
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    listener: Listener | None = config.pluginmanager.get_plugin(LISTENER)
    if listener is not None:
        listener.watch(runner)
    if settings.mode is Mode.MUTATE:
        from pytest_promptopt.pytest_session.mutation_session import MUTATION, MutationSession

        config.pluginmanager.register(MutationSession(runner), MUTATION)


def _calibrate(session: pytest.Session) -> None:
    """Have the judge tested in the place of the session's tests. Raises `UsageError`."""
    from pytest_promptopt.pytest_session.calibration_session import CalibrationSession

    try:
        calibration = CalibrationSession(session, session.config.stash[settings_key])
    except PromptoptError as error:
        raise pytest.UsageError(str(error)) from None
    session.config.pluginmanager.register(calibration, "promptopt-calibration")


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    runner: CaseRunner | None = config.pluginmanager.get_plugin(RUNNER)
    return [] if runner is None else runner.header()


@pytest.fixture
def prompt(request: pytest.FixtureRequest) -> Prompt:
    """The prompt file named by ``@pytest.mark.prompt``; called with its variables, it gives the answer."""
    return _or_fail(lambda: _runner(request).prompt(request.node))


@pytest.fixture
def prompts(request: pytest.FixtureRequest) -> Prompts:
    """The prompts of a pipeline by stage: ``prompts["plan"](...)``."""
    return _or_fail(lambda: _runner(request).prompts(request.node))


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> CaseJudge:
    """Grades answers by a model: ``assert judge(answer, "cites the policy").score >= 0.7``."""
    return _or_fail(lambda: _runner(request).judge(request.node))


def _or_fail(get: Callable[[], T]) -> T:
    """Fail with an error's text alone: the user's mistake is in no frame of a traceback."""
    try:
        return get()
    except PromptoptError as error:
        problem = str(error)
    pytest.fail(problem, pytrace=False)


def _runner(request: pytest.FixtureRequest) -> CaseRunner:
    runner: CaseRunner | None = request.config.pluginmanager.get_plugin(RUNNER)
    if runner is None or request.node.get_closest_marker("prompt") is None:
        raise SettingsError(
            f"{request.node.nodeid} uses the fixture {request.fixturename!r} but has no "
            '@pytest.mark.prompt("path/to/prompt.md")'
        )
    return runner


class Listener:
    """Hears every report in the process that prints them; idle in a session without prompt cases."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._summary: Summary | None = None
        #: The account that xdist workers share.
        self._lent: Path | None = None
        #: The parts of the work that xdist workers have.
        self._parts: Parts | None = None
        self._live: LiveSession | None = None
        self._lock = Lock()

    def _open(self) -> Summary:
        if self._summary is None:
            from pytest_promptopt.pytest_session.summary import Summary

            self._summary = Summary(self._config, self._settings)
        return self._summary

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        if not hasattr(report, "promptopt"):
            return (yield)
        self._open().add(report)
        if live := self._open_live():
            live.note(report)
        yield
        self._open().remember_tolerated_failure(report)
        if live:
            live.noted()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, object] | None:
        return self._open().status(report) if hasattr(report, "promptopt") else None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        from pytest_promptopt.pytest_session.known_files import tell_left_out
        from pytest_promptopt.pytest_session.worker_partition import Parts
        from pytest_promptopt.pytest_session.worker_shared import KEY, lend

        self._parts = self._parts or Parts()
        self._parts.give(node.workerinput)
        try:
            self._lent = lend(self._settings, node.workerinput["testrunuid"])
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from None
        if self._lent is not None:
            node.workerinput[KEY] = str(self._lent)
        tell_left_out(self._config, node.workerinput)
        if self._config.option.verbose >= 0:
            from pytest_promptopt.pytest_session import running_figures, xdist_channel

            worker = str(node.gateway.id)
            connection = xdist_channel.connection_to(node, running_figures.KEY)
            connection.listen(lambda kind, told: self._hear(worker, told), lambda: None)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        if self._lent is not None:
            from pytest_promptopt.pytest_session.worker_shared import take_away

            take_away(self._lent)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        if self._parts is not None:
            self._parts.take_back(node.workerinput)
        if self._live is not None:
            self._live.lost(str(node.gateway.id))
        told = getattr(node, "workeroutput", {}).get("promptopt_told")
        if told is not None:
            self._open().take_in(told)

    def watch(self, runner: CaseRunner) -> None:
        """The cases run in this process: show how they go, if anybody wants to see it."""
        live = None if self._config.option.collectonly else self._open_live()
        if live is not None:
            from pytest_promptopt.pytest_session.live_session import LIVE

            live.watch(runner)
            self._config.pluginmanager.register(live, LIVE)

    def _open_live(self) -> LiveSession | None:
        """What shows how the cases go; None where nobody wants to see it. In any thread."""
        from pytest_promptopt.pytest_session.live_session import LiveSession, is_watched

        with self._lock:
            if self._live is None and is_watched(self._config):
                self._live = LiveSession(self._config, self._count_cached)
                self._live.pays = getattr(self._config.pluginmanager.get_plugin(RUNNER), "paid", None)
            return self._live

    def _count_cached(self, paid: Set[str]) -> int:
        return 0 if self._summary is None else self._summary.count_cached(paid)

    def _hear(self, worker: str, told: Mapping[str, Any]) -> None:
        """In a thread of execnet's."""
        if (live := self._open_live()) is not None:
            live.hear(worker, told)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._live is not None:
            self._live.close()
        runner: CaseRunner | None = self._config.pluginmanager.get_plugin(RUNNER)
        if runner is not None:
            self._open().close(runner)
        if self._summary is not None:
            self._summary.finish(session)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        cases_began = self._summary is not None or self._config.pluginmanager.has_plugin(RUNNER)
        if cases_began and type(excinfo.value) is KeyboardInterrupt:  # pytest has errors that inherit it
            self._open().note_interrupt()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None]:
        """Last of all: above pytest's own list of failures nobody would see it."""
        yield
        if self._summary is not None:
            self._summary.show(terminalreporter)

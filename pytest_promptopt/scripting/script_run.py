"""One optimization of a script: what the script brings to the driver, opened and closed as one."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_promptopt.assertions.source_location import location_of
from pytest_promptopt.budget.ledger import Ledger
from pytest_promptopt.driver.optimization_driver import OptimizationDriver
from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.models.answer_validation import error_words
from pytest_promptopt.models.client import ModelClient
from pytest_promptopt.models.user_models import UserModels
from pytest_promptopt.optimizer.search_hooks import SearchHooks
from pytest_promptopt.optimizer.strategy import Strategy
from pytest_promptopt.prompts import PromptFile, locate_prompt_file
from pytest_promptopt.prompts.template_languages import TemplateLanguage, language_named
from pytest_promptopt.replay.case_table import CaseTable
from pytest_promptopt.reports.live import Progress, SilentProgress, progress_for
from pytest_promptopt.response_cache import ResponseCache
from pytest_promptopt.results import Iteration, PromptResult, RunResult
from pytest_promptopt.runs.imported_code import imported_code
from pytest_promptopt.scripting.arguments import replace_option_names, settings_of
from pytest_promptopt.scripting.given_cases import Case
from pytest_promptopt.scripting.script_case import ScriptCase, resolve_cases
from pytest_promptopt.scripting.script_engine import ScriptEngine
from pytest_promptopt.settings import CacheMode, Settings
from pytest_promptopt.strategies import load_strategy

#: How `optimize` is told its prompts.
Prompts = str | Path | Sequence[str | Path] | Mapping[str, str | Path]


class OptimizationInterrupted(KeyboardInterrupt):
    """Ctrl-C ended an optimization. No prompt file was written.

    :param result: what was found until then; its `interrupted` is True.
    """

    def __init__(self, result: RunResult) -> None:
        super().__init__("the optimization was interrupted")
        self.result = result


class ScriptRun(OptimizationDriver[str, ScriptCase]):
    """A run of `optimize`."""

    def __init__(
        self,
        cases: CaseTable[str, ScriptCase],
        engine: ScriptEngine,
        ledger: Ledger,
        settings: Settings,
        models: UserModels,
        *,
        given: Mapping[str, Any],
        stop: threading.Event,
    ) -> None:
        """:param stop: set by who wants the run to end as with Ctrl-C."""
        super().__init__(cases, engine, ledger, settings, models, imported_code(settings.rootdir))
        self._shows = given.get("progress", False)
        self._on_iteration: Callable[[Iteration], object] | None = given.get("on_iteration")
        self._stop = stop

    def _selection(self) -> str:
        return "optimize() in a script"

    def _strategies(self) -> dict[str, Strategy]:
        return {name: load_strategy(name, {}) for name in self._settings.strategy}

    def _user_hooks(self) -> SearchHooks:
        observer = self._on_iteration
        if observer is None:
            return SearchHooks()

        def tell(iteration: Iteration) -> None:
            observer(iteration)

        return SearchHooks(iteration_finished=tell)

    def _open_progress(self) -> Progress:
        return progress_for(sys.stderr, sys.stderr.isatty()) if self._shows else SilentProgress()

    def _say(self, line: str) -> None:
        if self._shows:
            print(replace_option_names(line), file=sys.stderr)  # noqa: T201  # the user has asked for it

    @property
    def _heldout_advice(self) -> str:
        return "give some cases split='train', or split='60/20/20' for all"

    def _show_calls(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        super()._show_calls()


def run_script(
    prompts: Prompts,
    cases: Iterable[Case | Callable[..., Any]],
    given: Mapping[str, Any],
    stop: threading.Event,
) -> RunResult:
    """The whole of `optimize`, in the thread that calls it; raises what that raises."""
    notes: list[str] = []
    try:
        settings = settings_of(given)
        with tempfile.TemporaryDirectory(prefix="promptopt-") as scratch:
            files = _load(prompts, settings.rootdir, given.get("template"))
            notes += [hint for file in files.values() for hint in file.hints]
            resolved = resolve_cases(_listed(cases), files, settings, Path(scratch))
            with _opened(CaseTable(resolved), settings, given, stop, notes) as (run, ledger):
                result = run.run()
                result = replace(result, notes=(*result.notes, *_ended(run, ledger)))
    except PromptoptError as error:
        raise _as_arguments(error) from None
    result = _replace_option_names(replace(result, notes=(*notes, *result.notes)))
    if result.interrupted:
        raise OptimizationInterrupted(result)
    return result


def _listed(cases: object) -> list[Any]:
    if isinstance(cases, Iterable) and not isinstance(cases, (str, Mapping)):
        return list(cases)
    raise SettingsError(f"cases: {cases!r:.80} is not a list of Case(...) and functions")


def _resolver(given: Mapping[str, Any], rootdir: Path) -> Callable[[str], Any]:
    """The user's `resolve_model`; raises `SettingsError` with the place where it has raised."""
    own: Callable[[str], Any] | None = given.get("resolve_model")

    def resolve(name: str) -> Any:
        if own is None:
            return None
        try:
            return own(name)
        except PromptoptError:
            raise
        except Exception as error:
            place = location_of(error.__traceback__, str(rootdir))
            raise SettingsError(f"resolve_model raised at {place}: {error_words(error)}") from error

    return resolve


@contextmanager
def _opened(
    cases: CaseTable[str, ScriptCase],
    settings: Settings,
    given: Mapping[str, Any],
    stop: threading.Event,
    notes: list[str],
) -> Iterator[tuple[ScriptRun, Ledger]]:
    """Everything that a run holds open, closed in the end however it ends."""
    models = UserModels(_resolver(given, settings.rootdir))
    ledger = Ledger(
        max_calls=settings.max_calls,
        max_tokens=settings.max_tokens,
        max_cost=settings.max_cost,
        max_time=settings.max_time,
    )
    cached = settings.cache is not CacheMode.OFF
    cache = ResponseCache(settings.home / "cache", warn=notes.append) if cached else None
    runs: list[ScriptRun] = []
    client = ModelClient(
        resolve=models.take,
        cache=cache,
        ledger=ledger,
        concurrency=settings.concurrency,
        refresh=settings.cache is CacheMode.REFRESH,
        on_paid=lambda paid: runs[0].paid(paid),
        on_cached_answer=lambda request, answer: runs[0].journal_cached_answer(request, answer),
        price=models.price,
        longest=models.longest,
        rootdir=settings.rootdir,
    )
    engine = ScriptEngine(cases, client, concurrency=settings.concurrency)
    run = ScriptRun(cases, engine, ledger, settings, models, given=given, stop=stop)
    runs.append(run)
    try:
        try:
            yield run, ledger
        finally:
            run.release_interrupts()
    finally:
        client.close()
        if cache is not None:
            cache.close()
        run.close()
        ledger.close()


def _ended(run: ScriptRun, ledger: Ledger) -> Iterator[str]:
    """What the user should know at the end."""
    if said := run.withheld_note():
        yield said
    if ledger.breach:
        yield ledger.breach


def _load(prompts: object, rootdir: Path, template: object = None) -> dict[str, PromptFile]:
    """The prompt files by stage; a single prompt's stage is ``""``."""
    where = "optimize(prompts=...)"
    given: dict[str, object]
    if isinstance(prompts, Mapping):
        given = dict(prompts)
    elif isinstance(prompts, (str, Path)):
        given = {"": prompts}
    elif isinstance(prompts, Sequence) and len(prompts) == 1:
        given = {"": prompts[0]}
    elif isinstance(prompts, Sequence):
        given = {str(path): path for path in prompts}
    else:
        given = {}
    if not given:
        raise SettingsError(
            f"{where}: {prompts!r:.80} names no prompt file; accepted: a path, several, or a mapping from "
            "stages to paths"
        )
    here = Path.cwd()
    languages = _languages(template, given)
    return {
        stage: PromptFile.load(
            locate_prompt_file(path, test_dir=here, rootdir=rootdir, where=where),
            rootdir=rootdir,
            language=languages.get(stage),
        )
        for stage, path in given.items()
    }


def _as_arguments(error: PromptoptError) -> PromptoptError:
    """`error`, with arguments where it names options."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (replace_option_names(error.args[0]),)
    return error.with_traceback(None)


def _replace_option_names(result: RunResult) -> RunResult:
    """`result`, with arguments where its sentences name options."""

    def told(prompt: PromptResult) -> PromptResult:
        return replace(prompt, why=replace_option_names(prompt.why), note=replace_option_names(prompt.note))

    return replace(
        result,
        prompts=tuple(map(told, result.prompts)),
        notes=tuple(map(replace_option_names, result.notes)),
        errors=tuple(map(replace_option_names, result.errors)),
        compared=tuple(map(_replace_option_names, result.compared)),
    )


def _languages(template: object, stages: Mapping[str, object]) -> Mapping[str, TemplateLanguage]:
    """The template language of each stage that has one given."""
    named = template if isinstance(template, Mapping) else dict.fromkeys(stages, template)
    for stage in named:
        if stage not in stages:
            raise SettingsError(f"template: {stage!r} is none of the prompts ({', '.join(stages)})")
    return {stage: language_named(name, "template") for stage, name in named.items() if name is not None}

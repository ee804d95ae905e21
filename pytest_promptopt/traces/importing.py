"""``--promptopt-from-traces``: exports of tracing tools become suites that a person reviews."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_promptopt.baselines.earlier_files import versions_of
from pytest_promptopt.errors import PromptoptError, SettingsError
from pytest_promptopt.prompts import PromptFile
from pytest_promptopt.prompts.prompt_matching import why_unrecognisable
from pytest_promptopt.text import one_line, plural, shown_path
from pytest_promptopt.traces.case_file import PlannedFile, plan_file
from pytest_promptopt.traces.case_making import MadeCases, make_cases
from pytest_promptopt.traces.export_reading import read_exports
from pytest_promptopt.traces.recorded_call import Export

OPTION = "--promptopt-from-traces"

#: Commits of a prompt's file that are looked at.
MAX_VERSIONS = 30

#: Reasons that are told, of calls that are no cases.
MAX_REASONS = 5


@dataclass(frozen=True)
class Imported:
    """What became of exports, in lines to be shown."""

    files: tuple[PlannedFile, ...]
    lines: tuple[str, ...]


def import_traces(
    exports: Sequence[Path],
    prompts: Sequence[PromptFile],
    folder: Path,
    rootdir: Path,
    *,
    redact: Callable[[str], str],
) -> Imported:
    """Write the suites. Raises `SettingsError`; before anything is written, unless a file cannot be.

    :param prompts: whose requests are looked for.
    :param folder: where the suites are.
    """
    for path in exports:
        if not path.is_file():
            raise SettingsError(f"{OPTION}: there is no file {path}; name an export of traces")
    if not prompts:
        raise SettingsError(
            f"{OPTION}: there is no prompt that the requests could belong to: name it with "
            "--promptopt-prompt=PATH, or have tests or suites that use it"
        )
    export = read_exports([(path, shown_path(path, rootdir)) for path in exports])
    made = make_cases(export, prompts, redact, cache(lambda: earlier_texts(prompts)))
    _check_found(export, made, prompts)
    files = tuple(plan_file(group, folder, rootdir) for group in made.prompts.values())
    for file in files:
        file.write(rootdir)
    return Imported(files, tuple(_lines(export, made, files, rootdir)))


def earlier_texts(prompts: Sequence[PromptFile]) -> tuple[PromptFile, ...]:
    """The texts that prompts had at their last commits: what was recorded may be older than a change."""
    versions = cache(versions_of)
    found: list[PromptFile] = []
    for prompt in prompts:
        for content in versions(prompt.path, MAX_VERSIONS):
            with suppress(PromptoptError):  # it was no prompt then, or is in the file no more
                earlier = prompt.read_again(before=content)
                if earlier.fingerprint != prompt.fingerprint:
                    found.append(earlier)
    return tuple(found)


def _check_found(export: Export, made: MadeCases, prompts: Sequence[PromptFile]) -> None:
    """Raises `SettingsError` where there is no case, with the reasons."""
    if made.prompts:
        return
    if not export.calls:
        raise SettingsError(f"{OPTION}: no call of a model is recorded there{_others(export)}")
    told = [f"{OPTION}: none of {plural(made.calls, 'call')} can be a case", *_reasons(made)]
    told += [f"  {why}" for each in prompts if (why := why_unrecognisable(each)) is not None]
    raise SettingsError("\n".join(told))


def _lines(export: Export, made: MadeCases, files: Sequence[PlannedFile], rootdir: Path) -> Iterator[str]:
    formats = f" ({', '.join(export.formats)})" if export.formats else ""
    yield f"{plural(made.calls, 'recorded call')} read{formats}{_others(export)}"
    for file in files:
        name = shown_path(file.path, rootdir)
        reviewed = sum(case.expected is not None for case in file.added)
        seen = sum(case.seen for case in file.added)
        new = f"{plural(len(file.added), 'new case')} of {plural(seen, 'call')}, {reviewed} of them reviewed"
        known = f"; {plural(file.known, 'case')} known already" if file.known else ""
        if file.content is None:
            yield f"{file.prompt.name}: nothing new; {plural(file.known, 'case')} known already: {name}"
        else:
            yield f"{file.prompt.name}: {new}{known}: wrote {name}"
    if made.earlier:
        yield f"{plural(made.earlier, 'call')} of earlier texts, which git has: their inputs are still cases"
    yield from _reasons(made)
    if any(case.expected is None for file in files for case in file.added):
        yield "cases that nobody has reviewed are skipped; look at `recorded` in them"


def _others(export: Export) -> str:
    return f"; {plural(export.others, 'other span')} left out" if export.others else ""


def _reasons(made: MadeCases) -> Iterator[str]:
    if made.unrecorded:
        yield (
            f"  {plural(made.unrecorded, 'call')} left out: their messages were not recorded; most "
            "instrumentations do that only with OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true"
        )
    for reason, count in made.left_out.most_common(MAX_REASONS):
        example = f"; one of them: {made.examples[reason]}" if reason in made.examples else ""
        yield f"  {plural(count, 'call')} left out: {one_line(reason + example)}"
    if len(made.left_out) > MAX_REASONS:
        rest = sum(count for _, count in made.left_out.most_common()[MAX_REASONS:])
        yield f"  {plural(rest, 'call')} left out for other reasons"

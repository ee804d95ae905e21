"""What ``--optimize`` has written, as the body of a pull request: title, evidence, diff, and the way back.

It is made of the parts of the Markdown report; the failing cases of the session are left to that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_promptopt.file_writing import replace_file
from pytest_promptopt.reports.evidence_wording import heldout_score, outcome_words
from pytest_promptopt.reports.markdown_report import MAX_BODY, overview, version_line
from pytest_promptopt.reports.markdown_run import run_blocks
from pytest_promptopt.reports.markdown_text import code, fit, words
from pytest_promptopt.reports.session_report import SessionReport
from pytest_promptopt.reports.wording import percent
from pytest_promptopt.results import PromptOutcome, PromptResult, RunResult
from pytest_promptopt.text import plural

#: The longest name of a prompt in a title: a forge takes 255 characters.
MAX_NAME = 120


def write_pull_request_body(path: Path, report: SessionReport) -> bool:
    """Write the body, whole or not at all; missing folders are made. Raises `OSError`.

    :returns: whether there is one. Without a prompt file that was written the body is empty.
    """
    body = pull_request_body(report, MAX_BODY)
    replace_file(path, body.encode("utf-8", "backslashreplace"))
    return bool(body)


def pull_request_body(report: SessionReport, limit: int) -> str:
    """The body in at most so many bytes, its first line the title; empty when no prompt file was written."""
    run = report.run
    written = [] if run is None else [prompt for prompt in run.prompts if prompt.written]
    return "" if run is None or not written else fit(list(_blocks(report, run, written)), limit)


def _blocks(report: SessionReport, run: RunResult, written: Sequence[PromptResult]) -> Iterator[str]:
    yield title(written)
    yield (
        f"`pytest --optimize` has rewritten {plural(len(written), 'prompt')}. A model wrote the new text "
        "after it had read training cases: read the diff. No step of the search has seen the **held-out** "
        "cases; theirs are the figures to believe."
    )
    # Early, since the end of a long page is left out.
    yield (
        "To undo it, revert the commit. Where the run was made, "
        f"{code(f'pytest --promptopt-restore={run.id}')} puts the files back."
    )
    if report.checks:
        yield "All cases with the text as it is now:"
        yield overview(report)
    yield from run_blocks(replace(run, prompts=tuple(written)), report.settings)
    if others := [prompt for prompt in run.prompts if not prompt.written]:
        yield "Other prompts of the run, which are not in this change:"
        yield "\n".join(f"* {code(each.prompt)}: {words(outcome_words(each))}" for each in others)
    yield version_line(report)


def title(written: Sequence[PromptResult]) -> str:
    """``Improve prompts/route.md: held-out 24.4% -> 86.7%``: plain text, also in Markdown."""
    improved = all(prompt.outcome is PromptOutcome.IMPROVED for prompt in written)
    verb = "Improve" if improved else "Rewrite"
    if len(written) != 1:
        return f"{verb} {plural(len(written), 'prompt')}"
    (prompt,) = written
    said = f"{verb} {prompt.prompt if _is_plain(prompt.prompt) else 'a prompt'}"
    score = heldout_score(prompt.scores)
    if score is None or score.before is None or score.after is None:
        return said
    return f"{said}: held-out {percent(score.before)} -> {percent(score.after)}"


def _is_plain(name: str) -> bool:
    """Whether a forge shows a name as it is, in a title and in Markdown."""
    return len(name) <= MAX_NAME and words(name, MAX_NAME).replace("\\_", "_") == name

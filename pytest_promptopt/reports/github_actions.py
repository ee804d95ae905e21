"""What a job on GitHub Actions shows of a session: a summary, and annotations at the lines that failed.

The forms are those of GitHub's page "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import CaseResult
from pytest_promptopt.reports.check_report import gate_verdicts
from pytest_promptopt.text import cut_end, printable

if TYPE_CHECKING:
    from pytest_promptopt.failures import FailedCase, Feedback
    from pytest_promptopt.reports.session_report import SessionReport

#: The largest summary of one step.
MAX_SUMMARY = 1024 * 1024

#: Annotations of one prompt; GitHub shows ten of a step.
MAX_ANNOTATIONS = 10

MAX_VALUE = 300


def summary_file(environment: Mapping[str, str]) -> Path | None:
    """Where the job wants the summary of this step; None outside of such a job."""
    name = environment.get("GITHUB_STEP_SUMMARY", "")
    return Path(name) if name else None


def append_summary(path: Path, report: SessionReport) -> None:
    """Add the report to what the step has written so far, as far as there is room. Raises `OSError`."""
    from pytest_promptopt.reports.markdown_report import markdown

    before = path.stat().st_size if path.exists() else 0
    if (room := MAX_SUMMARY - before - 1) < 1:
        raise OSError(f"it has {before:,} bytes, and a step may have {MAX_SUMMARY:,}")
    text = "\n" * bool(before) + markdown(report, room)
    with path.open("ab") as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


def annotation_lines(
    checks: Iterable[PromptCheck],
    feedbacks: Mapping[str, Feedback],
    failed: Set[str],
    *,
    root: Path,
    environment: Mapping[str, str],
    cases: bool,
) -> Iterator[str]:
    """One line for each gate that does not hold, then one for each case that failed the session.

    :param failed: the ids of these cases, without those that a gate or a rule tolerates.
    :param root: the folder that places are relative to.
    :param cases: whether cases are told; another plugin may do so.
    """
    base = environment.get("GITHUB_WORKSPACE", "")
    checks = list(checks)
    for check in checks:
        for gate in gate_verdicts(check):
            if gate.held is False:
                yield _command(gate.line.text, gate.where, check.prompt, root, base)
    told: set[str] = set()
    for check in checks if cases else ():
        feedback = feedbacks.get(check.prompt)
        known = {} if feedback is None else feedback.by_case
        wanted = [r for r in check.results if r.case.id in failed and r.case.id not in told]
        told.update(result.case.id for result in wanted)
        for result in wanted[:MAX_ANNOTATIONS]:
            text, where = _case(result, known.get(result.case.id))
            yield _command(text, where, check.prompt, root, base)


def _case(result: CaseResult, case: FailedCase | None) -> tuple[str, str]:
    """What is said of a case that failed, and the place of its assert."""
    outcome = result.failing
    if outcome is None or outcome.failure is None:
        error = next((each.error for each in result.outcomes if each.error), None)
        said = f"no usable answer: {error}" if error else "failed"
        return f"{result.case.id}: {said}", result.case.where
    lines = [result.case.id]
    if case is not None:
        lines[0] += f": {case.category}"
        if case.expected is not None:
            lines += [f"expected: {_value(case.expected)}", f"got: {_value(case.actual)}"]
        lines += [_value(fault) for fault in case.faults]
    if len(lines) == 1:
        lines.append(_value(outcome.failure.message))
    return "\n".join(lines), outcome.failure.where or result.case.where


def _value(text: str) -> str:
    return cut_end(printable(text), MAX_VALUE)


def _command(text: str, where: str, prompt: str, root: Path, base: str) -> str:
    """``::error file=tests/test_it.py,line=3,title=prompts/route.md::...``."""
    file, _, line = where.rpartition(":")
    properties = {"title": printable(prompt)}
    if file and line.isdecimal():
        properties = {"file": _from_workspace(root / file, base), "line": line, **properties}
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::error {given}::{_data(text)}"


def _from_workspace(path: Path, base: str) -> str:
    """As GitHub names a file: from the folder of the checkout."""
    if base and PurePath(os.path.normpath(path)).is_relative_to(base):
        return PurePath(os.path.normpath(path)).relative_to(base).as_posix()
    return path.as_posix()


def _data(text: str) -> str:
    """As GitHub reads it; what a terminal obeys is written out, the ends of lines are kept."""
    text = "\n".join(map(printable, text.split("\n")))
    return text.replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

"""What the test of a judge says in pytest's terminal: agreement, bias, disagreements, what it may decide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_promptopt.grading.agreement import Estimate
from pytest_promptopt.grading.calibrating import JudgeTest
from pytest_promptopt.grading.calibration import Calibration, LabelledScore, LabelledVerdict
from pytest_promptopt.grading.judge_bias import BiasTest
from pytest_promptopt.grading.judge_setup import JudgeSetup
from pytest_promptopt.labels import AnyLabel
from pytest_promptopt.reports.lines import BAD, BOLD, DIM, GOOD, WARN, Line
from pytest_promptopt.text import excerpt, plural, printable, quote, shown_path

#: Disagreements, and labels without a verdict, that are shown.
MAX_SHOWN = 8

#: Characters of an answer.
MAX_ANSWER = 100


def calibration_lines(
    judge: JudgeSetup,
    tested: Sequence[tuple[Path, JudgeTest]],
    missing: Sequence[Sequence[Sequence[str]]],
    *,
    rootdir: Path,
    width: int = 100,
) -> list[Line]:
    """The section of the terminal.

    :param tested: the files of labels, and what came of each.
    :param missing: for each calibration of each file, why the judge may not decide; nothing when it may.
    """
    lines = [Line(f"judge {judge.name} ({judge.fingerprint[:8]}), answered by {judge.model}", BOLD)]
    for (path, test), of_file in zip(tested, missing, strict=True):
        name = shown_path(path, rootdir)
        for calibration, why in zip(test.calibrations, of_file, strict=True):
            lines += _calibration(name, calibration, why, width)
        lines += _unusable(name, test)
    return lines


def _calibration(name: str, calibration: Calibration, missing: Sequence[str], width: int) -> Iterator[Line]:
    table = calibration.confusion
    criterion = quote(calibration.criterion, 80)
    yield Line()
    yield Line(f"{criterion}: {plural(table.labels, 'label')} of {name}", BOLD)
    if calibration.kind == "answers":
        yield from _table(
            (f"judged good (from {calibration.threshold:g})", "judged bad"),
            (("labelled good", table.tp, table.fn), ("labelled bad", table.fp, table.tn)),
        )
    else:
        ties = f" ({plural(calibration.ties, 'tie')} count as errors)" if calibration.ties else ""
        yield Line(f"  pairs, asked in both orders{ties}")
        yield from _table(
            ("a is judged better", "b is judged better"),
            (("a is better", table.tp, table.fn), ("b is better", table.fp, table.tn)),
        )
    yield Line(
        f"  precision {_estimate(table.precision)}   recall {_estimate(table.recall)}   "
        f"kappa {_estimate(table.kappa)}   (in brackets: 95% interval)"
    )
    yield Line(f"  {_length(calibration)}", WARN if calibration.length.rejects else {})
    if calibration.position is not None:
        yield Line(f"  {_position(calibration.position)}", WARN if calibration.position.rejects else {})
    if calibration.repeats.of:
        yield Line(f"  asked again, the same verdict: {calibration.repeats}")
    if not missing:
        yield Line("  certified: it may decide about this in --optimize and in gates", GOOD)
    for reason in missing:
        yield from (
            Line(line, BAD)
            for line in textwrap.wrap(
                f"not certified: {printable(reason)}",
                width,
                initial_indent="  ",
                subsequent_indent="    ",
            )
        )
    yield from _disagreements(name, calibration.disagreements)


def _table(heads: tuple[str, str], rows: Sequence[tuple[str, int, int]]) -> Iterator[Line]:
    first, second = map(len, heads)
    left = max(len(row[0]) for row in rows)
    yield Line(f"  {'':{left}}  {heads[0]}  {heads[1]}", DIM)
    for name, one, two in rows:
        yield Line(f"  {name:{left}}  {one:>{first}}  {two:>{second}}")


def _estimate(figure: Estimate) -> str:
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


def _length(calibration: Calibration) -> str:
    test = calibration.length
    one, two = test.shares
    if calibration.kind == "answers":
        return (
            f"length: of answers labelled alike, {one} longer ones pass and {two} shorter ones "
            f"(p = {test.p:.2g})"
        )
    return (
        f"length: missed {one} pairs whose better answer is the shorter one, {two} whose better answer is "
        f"the longer one (p = {test.p:.2g})"
    )


def _position(test: BiasTest) -> str:
    one, two = test.shares
    return f"position: the first in both orders in {one} pairs, the second in {two} (p = {test.p:.2g})"


def _disagreements(name: str, found: Sequence[LabelledVerdict]) -> Iterator[Line]:
    if found:
        yield Line(f"  {plural(len(found), 'disagreement')}, the farthest off first:")
    for each in found[:MAX_SHOWN]:
        yield Line(f"    {printable(_disagreement(name, each))}", DIM)
    if len(found) > MAX_SHOWN:
        yield Line(f"    ... and {len(found) - MAX_SHOWN:,} more", DIM)


def _disagreement(name: str, verdict: LabelledVerdict) -> str:
    where = _line_of(name, verdict.label)
    if isinstance(verdict, LabelledScore):
        label = verdict.label
        said = f"labelled {'good' if label.good else 'bad'}, judged {verdict.score:.2f}"
        why = f" ({excerpt(verdict.said, MAX_ANSWER)})" if verdict.said else ""
        return f"{where}: {said}{why}: {quote(label.answer, MAX_ANSWER)}"
    pair = verdict.label
    texts = ", ".join(
        f"{name} {quote(text, MAX_ANSWER // 2)}" for name, text in (("a", pair.a), ("b", pair.b))
    )
    return f"{where}: {pair.better} is better, judged {' and '.join(verdict.orders)}: {texts}"


def _line_of(name: str, label: AnyLabel) -> str:
    """``file:line``, with the file as the section names it."""
    return f"{name}:{label.where.rpartition(':')[2]}"


def _unusable(name: str, test: JudgeTest) -> Iterator[Line]:
    if test.unusable:
        count = plural(len(test.unusable), "label")
        yield Line()
        again = "--promptopt-cache=refresh asks again"
        yield Line(f"{count} without a usable verdict, in no figure ({again}):", WARN)
    for each in test.unusable[:MAX_SHOWN]:
        yield Line(f"  {_line_of(name, each.label)}: {printable(excerpt(each.why, 160))}", WARN)

"""What has become of each prompt in one line: the end of what ``--optimize`` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_promptopt.records import Split
from pytest_promptopt.reports.comparison import gain_words
from pytest_promptopt.reports.evidence_wording import outcome_words
from pytest_promptopt.reports.lines import BOLD, Line
from pytest_promptopt.reports.optimization import OUTCOME_MARKUP
from pytest_promptopt.reports.wording import SPLIT_NAMES, percent
from pytest_promptopt.results import PromptOutcome, RunResult, SplitScore
from pytest_promptopt.text import printable


def run_verdicts(result: RunResult, *, alpha: float) -> Iterator[Line]:
    """A line for each prompt; of a comparison, for each strategy.

    :param alpha: as of `run_summary`.
    """
    for prompt in result.prompts:
        written = ", written" * (prompt.written and prompt.outcome is PromptOutcome.IMPROVED)
        words = f"{outcome_words(prompt)}{written}{_rates(prompt.scores)}"
        yield Line(
            f"verdict: {printable(prompt.prompt)} {printable(words)}",
            {**BOLD, **OUTCOME_MARKUP[prompt.outcome]},
        )
    for run in result.compared:
        if run.prompts:
            scores = run.prompts[0].scores
            heldout = next((score for score in scores if score.split is Split.HELDOUT), None)
            words = f"{gain_words(run.prompts, heldout, alpha)}{_rates(scores)}"
            yield Line(f"verdict: strategy {printable(run.strategy)}: {printable(words)}", BOLD)


def _rates(scores: Sequence[SplitScore]) -> str:
    """``, held-out 24.4% -> 91.1%``: of the cases that say most of those that were measured."""
    for score in reversed(scores):
        if score.before is not None:
            rates = [rate for rate in (score.before, score.after) if rate is not None]
            return f", {SPLIT_NAMES[score.split]} {' -> '.join(dict.fromkeys(map(percent, rates)))}"
    return ""

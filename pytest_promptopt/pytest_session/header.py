"""The lines above the tests: how many cases each split has, and what weakens the evidence of a rewrite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.records import Split
from pytest_promptopt.statistics import small_split
from pytest_promptopt.text import plural


def counts(cases: Collection[PromptCase]) -> list[str]:
    """How many prompts there are, and how many cases in each split."""
    cases = _distinct(cases)
    prompts = {prompt for case in cases for prompt in case.case.prompts}
    split = Counter(case.case.split for case in cases)
    return [
        f"promptopt: {plural(len(prompts), 'prompt')}, cases: {split[Split.TRAIN]} train, "
        f"{split[Split.VALIDATION]} validation, {split[Split.HELDOUT]} held-out"
    ]


def weaknesses(
    cases: Collection[PromptCase], deselected: Collection[PromptCase], *, alpha: float
) -> list[str]:
    """A small held-out split, and cases that the command line left out."""
    lines = []
    cases, deselected = _distinct(cases), _distinct(deselected)
    heldout = sum(case.case.split is Split.HELDOUT for case in cases)
    if heldout < small_split(alpha):
        found = (
            "no held-out case, so no honest score of the result"
            if not heldout
            else f"only {plural(heldout, 'held-out case')}, so only a rough score of the result"
        )
        lines.append(
            f'promptopt: {found}: mark some with @pytest.mark.heldout, or set promptopt_split = "60/20/20"'
        )
    left_out = Counter(prompt for case in deselected for prompt in case.case.prompts)
    for prompt, count in left_out.items():
        lines.append(f"promptopt: {plural(count, 'case')} of {prompt} deselected; they cannot guard it")
    return lines


def _distinct(cases: Collection[PromptCase]) -> list[PromptCase]:
    """Without the items that repeat another."""
    return list({case.case.id: case for case in cases}.values())

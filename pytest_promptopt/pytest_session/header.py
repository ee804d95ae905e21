"""The lines above the tests: how many cases each split has, and what weakens the evidence of a rewrite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pytest_promptopt.pytest_engine.prompt_case import PromptCase
from pytest_promptopt.pytest_session.known_files import in_words
from pytest_promptopt.records import Split
from pytest_promptopt.statistics import small_split
from pytest_promptopt.text import plural, quote

#: So many cases that all expect one answer of a last stage are hardly chance.
LEAST_ALIKE = 4


def counts(cases: Collection[PromptCase]) -> list[str]:
    """How many prompts there are, and how many cases in each split."""
    cases = _distinct(cases)
    prompts = {prompt for case in cases for prompt in case.case.prompts}
    split = Counter(case.case.split for case in cases)
    models = {model for case in cases if case.case.pair for model in case.case.models}
    with_models = f", {len(models)} models" if len(models) > 1 else ""
    return [
        f"promptopt: {plural(len(prompts), 'prompt')}{with_models}, cases: {split[Split.TRAIN]} train, "
        f"{split[Split.VALIDATION]} validation, {split[Split.HELDOUT]} held-out"
    ]


def weaknesses(
    cases: Collection[PromptCase],
    deselected: Collection[PromptCase],
    files: Mapping[str, Sequence[str]],
    *,
    alpha: float,
) -> list[str]:
    """A small held-out split, cases that the command line left out, and a stage that may be a judge.

    :param files: those that are known to have cases of a prompt, and are not run.
    """
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
    for prompt in sorted(files.keys() & {prompt for case in cases for prompt in case.case.prompts}):
        found = in_words(files[prompt])
        lines.append(f"promptopt: cases of {prompt} in {found} are not run; they cannot guard it")
    return [*lines, *_possible_judges(cases)]


def _possible_judges(cases: Collection[PromptCase]) -> Iterator[str]:
    """Last stages of which every case expects the same answer; a rewrite could have them give no other."""
    frozen = {prompt for case in cases for prompt in case.frozen}
    expected: dict[tuple[str, str], list[Any]] = {}
    for case in cases:
        *others, (stage, file) = case.files.items()
        if others and file.name not in frozen:
            expected.setdefault((stage, file.name), []).append(case.expected)
    for (stage, prompt), answers in expected.items():
        first = answers[0]
        if len(answers) >= LEAST_ALIKE and first is not None and all(each == first for each in answers):
            yield (
                f"promptopt: all {len(answers)} cases expect {quote(first)} of {prompt}: if it judges the "
                f"other prompts, a rewrite may have it agree with everything; keep it with freeze={stage!r}"
            )


def _distinct(cases: Collection[PromptCase]) -> list[PromptCase]:
    """Without the items that repeat another."""
    return list({case.case.id: case for case in cases}.values())

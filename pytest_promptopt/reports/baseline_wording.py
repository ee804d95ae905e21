"""What a comparison with a baseline says, in the same words in every report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_promptopt.baselines.compare_rule import CompareRule, CompareVerdict
from pytest_promptopt.baselines.comparison import PromptComparison
from pytest_promptopt.baselines.noise import SuiteNoise, suite_noise
from pytest_promptopt.prompt_check import PromptCheck
from pytest_promptopt.records import CaseResult, Spend, Status
from pytest_promptopt.reports.wording import cost, model_name
from pytest_promptopt.text import plural, printable

#: Kinds of failure that are told.
MAX_CATEGORIES = 6

_VERDICTS: Mapping[CompareVerdict, str] = {
    CompareVerdict.GAIN: "a gain is shown",
    CompareVerdict.LOSS: "a loss is shown",
    CompareVerdict.TOLERATED_LOSS: "a loss is shown, within the margin of {margin:g} points",
    CompareVerdict.NO_GAIN: "no gain is shown",
    CompareVerdict.NO_LOSS: "no loss is shown",
    CompareVerdict.NO_CHANGE: "no change",
    CompareVerdict.INCOMPARABLE: "none of its cases can be compared",
    CompareVerdict.NEW: "not in the baseline",
}


def name_of(found: PromptComparison) -> str:
    """The prompt, with its model."""
    return f"{printable(found.prompt)} with {model_name(found.model)}"


def verdict_words(found: PromptComparison, rule: CompareRule) -> str:
    """``no loss is shown``, or why it fails the session: ``FAILED: 2 cases broken``."""
    if failed := rule.why_failed(found):
        return f"FAILED: {failed}"
    return _VERDICTS[rule.verdict(found)].format(margin=100 * rule.margin)


def change_words(found: PromptComparison) -> str:
    """``-33.3 points``."""
    return f"{100 * found.change:+.1f} points"


def p_words(value: float) -> str:
    """``< 0.001``, ``= 0.031``."""
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def other_models_words(found: PromptComparison) -> str:
    """Who answered before, where another model answers now; else empty."""
    if not found.other_models:
        return ""
    others = ", ".join(map(model_name, found.other_models))
    return f"the baseline has it with {others}: another model is not compared"


def only_new(found: PromptComparison) -> list[str]:
    """The cases that are new, without those that are new because something in them has changed."""
    return _without_changed(found, found.new)


def only_removed(found: PromptComparison) -> list[str]:
    """The cases that are gone, likewise."""
    return _without_changed(found, found.removed)


def _without_changed(found: PromptComparison, cases: Iterable[str]) -> list[str]:
    changed = {case for some in found.changed.values() for case in some}
    return [case for case in cases if case not in changed]


def not_compared(found: PromptComparison) -> dict[str, Sequence[str]]:
    """Why cases that both runs know, or could know, are not compared -> these cases."""
    reasons: dict[str, Sequence[str]] = {
        **found.changed,
        "no usable answer, before or now": found.unanswered,
        "left out of this run": found.left_out,
    }
    return {reason: cases for reason, cases in reasons.items() if cases}


def figure_lines(found: PromptComparison) -> Iterator[str]:
    """The kinds of failure that came or went, then cost and latency, as far as they are known."""
    changed = [(name, was, is_) for name, (was, is_) in found.categories.items() if was != is_]
    if changed:
        told = [f"{printable(name)} {was:,} -> {is_:,}" for name, was, is_ in changed[:MAX_CATEGORIES]]
        more = f"; {len(changed) - MAX_CATEGORIES} more" * (len(changed) > MAX_CATEGORIES)
        yield f"kinds of failure: {'; '.join(told)}{more}"
    told = []
    if found.costs is not None and any(found.costs):
        told.append("cost " + " -> ".join(cost(Spend(calls=1, cost=each)) for each in found.costs))
    if found.latencies is not None and any(found.latencies):
        told.append("latency p50 " + " -> ".join(f"{each:.2f}s" for each in found.latencies))
    if told:
        yield ", ".join(told)


def noises(check: PromptCheck, alpha: float) -> dict[str, SuiteNoise]:
    """By model, what the cases of a prompt do by themselves; without models whose cases ran once."""
    found = {
        model: suite_noise([_passed(result) for result in part.results], alpha)
        for model, part in check.by_model.items()
    }
    return {model: noise for model, noise in found.items() if noise is not None}


def _passed(result: CaseResult) -> tuple[int, int]:
    """How many of its samples passed, and how many there are."""
    return sum(outcome.status is Status.PASSED for outcome in result.counted), len(result.counted)


def noise_sentences(check: PromptCheck, alpha: float) -> Iterator[str]:
    """What the cases of a prompt do by themselves with each model, where they ran several times."""
    several = len(check.by_model) > 1
    for model, noise in noises(check, alpha).items():
        yield noise_sentence(f"{check.prompt} with {model}" if several else check.prompt, noise)


def noise_sentence(prompt: str, noise: SuiteNoise) -> str:
    """How many cases of a prompt flip under one text, and what a comparison of it can show."""
    flip = f"{noise.flipping:,} of {plural(noise.cases, 'case')} {'flips' if noise.flipping == 1 else 'flip'}"
    shows = "no change of any size can be shown with so few steady cases"
    if noise.smallest is not None:
        shows = f"the smallest change that can be shown is {100 * noise.smallest:.1f} points"
    return f"noise: {printable(prompt)}: {flip} under the same text; {shows}"

"""`demo` as an optimizer of a judge's prompt: it looks for the rule that tells good answers from bad ones.

It tries rules about length, faithfulness and single words on the shown cases, and drops one that is there and
does harm. What an answer was labelled is read from the expected value; without one, a failing case was
labelled otherwise than the judge said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from pytest_promptopt.models.demo.feedback import Feedback, Shown
from pytest_promptopt.models.demo.judge import RULE, Judging, graded
from pytest_promptopt.models.demo.words import STOP_WORDS, words
from pytest_promptopt.verdicts import THRESHOLD

_WORDS_FOR = {
    **dict.fromkeys(("good", "pass", "passed", "true", "yes", "a"), True),
    **dict.fromkeys(("bad", "fail", "failed", "false", "no", "b"), False),
}
_SCORE = re.compile(r"^\W*score\W+(\d(?:\.\d+)?)|\"score\": (\d(?:\.\d+)?)", re.IGNORECASE | re.MULTILINE)
_OPENING = "\n<criterion>"
_MOST_WORDS = 20


@dataclass(frozen=True)
class Labelled:
    """A shown case: what the judge was asked, and whether the answer is good."""

    judging: Judging
    good: bool


def is_judge_prompt(prompt: str) -> bool:
    """Whether a prompt asks to grade one answer between the tags of a judge."""
    return all(f"<{tag}>" in prompt and f"</{tag}>" in prompt for tag in ("criterion", "answer"))


def revise_judge(feedback: Feedback) -> tuple[str, str]:
    """The prompt with the rule that does most for the shown cases, and in words what was done."""
    rules = [match["rule"] for match in RULE.finditer(feedback.prompt)]
    cases = [*_labelled(feedback.failing, failed=True), *_labelled(feedback.passing, failed=False)]
    best, change = _right(cases, rules), ("", "")
    for rule in _candidates(cases):
        if (right := _right(cases, [*rules, rule])) > best:
            best, change = right, (rule, "")
    for line in _own_rules(feedback):
        left = [rule for rule in rules if rule not in line]
        if (right := _right(cases, left)) > best:
            best, change = right, ("", line)
    added, dropped = change
    told = f"{best} of {len(cases)} shown answers are then judged as they were labelled"
    if added:
        return _with_rule(feedback.prompt, f"Pass only answers that {added}."), f"{told}: they {added}"
    if dropped:
        lines = [line for line in feedback.prompt.split("\n") if line != dropped]
        return "\n".join(lines), f"{told} without the line {dropped!r}"
    return feedback.prompt, ""


def _own_rules(feedback: Feedback) -> list[str]:
    """Lines with a rule that may be dropped."""
    return [line for line in feedback.prompt.split("\n") if RULE.match(line) and line not in feedback.keep]


def _right(cases: Sequence[Labelled], rules: Sequence[str]) -> int:
    """How many of the answers are judged as they were labelled."""
    scores = [graded(replace(case.judging, rules=tuple(rules)))[0] for case in cases]
    return sum((score >= THRESHOLD) is case.good for score, case in zip(scores, cases, strict=True))


def _candidates(cases: Sequence[Labelled]) -> Iterator[str]:
    """Rules that the answers suggest: between the lengths of two of them, and words of bad ones only."""
    lengths = sorted({len(case.judging.answers[0].split()) for case in cases})
    for low, high in pairwise(lengths):
        yield f"have at most {(low + high) // 2} words"
        yield f"have at least {(low + high + 1) // 2} words"
    if any(case.judging.context for case in cases):
        yield "are faithful to the context"
    said = Counter(
        (word, case.good)
        for case in cases
        for word in {*words(case.judging.answers[0])} - STOP_WORDS
        if not word.isdigit()
    )
    only_bad = [(count, word) for (word, good), count in said.items() if not good and not said[word, True]]
    for _, word in sorted(only_bad, key=lambda each: (-each[0], each[1]))[:_MOST_WORDS]:
        yield f"do not mention '{word}'"


def _labelled(cases: Sequence[Shown], *, failed: bool) -> Iterator[Labelled]:
    for case in cases:
        answer, criterion = case.named.get("answer"), case.named.get("criterion")
        good = _is_good(case.expected) if case.stated else None
        if good is None and (judged := _is_good(case.actual)) is not None:
            good = judged is not failed
        if answer is not None and criterion is not None and good is not None:
            reference, context = case.named.get("reference", ""), case.named.get("context", "")
            yield Labelled(Judging(criterion, (answer,), reference, context, ()), good)


def _is_good(value: Any) -> bool | None:
    """Whether a label or a verdict calls an answer good; None when it says neither."""
    if isinstance(value, dict):
        value = value.get("score")
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value >= THRESHOLD
    if not isinstance(value, str):
        return None
    if value.strip().lower() in _WORDS_FOR:
        return _WORDS_FOR[value.strip().lower()]
    found = _SCORE.search(value)
    return float(found[1] or found[2]) >= THRESHOLD if found else None


def _with_rule(prompt: str, line: str) -> str:
    """The prompt with a rule after the last one that it has, else before the criterion."""
    rules = list(RULE.finditer(prompt))
    if rules:
        end = rules[-1].end()
        return f"{prompt[:end]}\n{line}{prompt[end:]}"
    before, opening, after = f"\n{prompt}".partition(_OPENING)
    return f"{before}\n{line}\n{opening}{after}".removeprefix("\n")

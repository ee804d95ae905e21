"""`demo` as an optimizer where a judge decides: what the judge suggests again and again becomes a rule.

A suggestion is written as it stands. The terms that it quotes are those that several cases share, so that a
rule is about the task and not about one text.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from pytest_promptopt.models.demo.feedback import Feedback
from pytest_promptopt.models.demo.learning import Plan

_QUOTED = re.compile(r"(?<!\w)['\"]([^'\"\n]+)['\"](?!\w)")
_WEIGHTS = {"high": 3, "medium": 2, "low": 1}


def advised_rules(feedback: Feedback, plan: Plan) -> list[str]:
    """Lines for the prompt, those first that would do most; as many as the plan allows.

    A case counts once for each of its suggestions. One that only a single case of several has is left out.
    """
    weights: Counter[str] = Counter()
    cases: Counter[str] = Counter()
    terms: dict[str, Counter[str]] = defaultdict(Counter)
    advised = [case.advice for case in feedback.failing if case.advice]
    for advice in advised:
        for each in advice:
            head = _QUOTED.sub("", each.text).strip(" ,")
            weights[head] += _WEIGHTS.get(each.impact, 1)
            cases[head] += 1
            terms[head].update(dict.fromkeys(_QUOTED.findall(each.text), 1))
    least = min(2, len(advised))
    heads = [head for head, _ in weights.most_common() if cases[head] >= least]
    rules = [_rule(head, terms[head], least, feedback.prompt) for head in heads]
    return [rule for rule in rules if rule and rule not in feedback.prompt][: plan.per_case]


def _rule(head: str, terms: Counter[str], least: int, prompt: str) -> str:
    """A sentence; empty when it would quote terms and none is left that is new."""
    known = set(_QUOTED.findall(prompt))
    shared = [term for term, count in terms.most_common() if count >= least and term not in known]
    if terms and not shared:
        return ""
    said = " ".join(filter(None, [head, ", ".join(f"'{term}'" for term in shared)]))
    return f"{said[:1].upper()}{said[1:]}."

"""Finding format rules for the fields of a JSON answer by trying them on the shown cases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_promptopt.models.demo.feedback import Shown
from pytest_promptopt.models.demo.fields import Field, find, kind_of, write
from pytest_promptopt.models.demo.learning import Plan
from pytest_promptopt.models.demo.words import STOP_WORDS, words

#: What a rule can ask for, by the kind of field it makes sense for; "" stands for every kind.
_FORMATS = {
    "date": ("as YYYY-MM-DD", "as YYYY-MM-DD, day first"),
    "amount": ("in cents, as an integer", "as a plain number"),
    "currency": ("as a three-letter upper-case code",),
    "": ("as an integer", "digits only", "in lower case", "in upper case"),
}
_NULL = "null when missing"
_MOST_LEADS = 3


def infer_rules(
    known: Mapping[str, str], cases: Sequence[Shown], plan: Plan
) -> tuple[dict[str, str], list[str]]:
    """What to add to the rule of each expected field ("" for nothing), and in words what was added.

    :param known: the fields of the prompt and what it says about them.
    :param plan: with one cue per case, only half of the fields are looked at.
    """
    names = list(dict.fromkeys(name for case in cases for name in case.expected))
    if plan.per_case == 1:
        names = sorted(plan.draw.sample(names, len(names) - len(names) // 2), key=names.index)
    rules: dict[str, str] = {}
    done: list[str] = []
    for name in names:
        shown = [(case.text, case.expected[name]) for case in cases if name in case.expected]
        new = _improve(name, known.get(name, ""), shown)
        if new or name not in known:
            rules[name] = new
            done.append(f"{name}: {new}" if new else f"{name} was not listed")
    return rules, [f"rules that the shown values call for ({', '.join(done)})"] if done else []


def _improve(name: str, rule: str, shown: Sequence[tuple[str, Any]]) -> str:
    """Add the piece that makes most shown values right, as long as one more is."""
    added = ""
    best = _right(name, rule, shown)
    while best < len(shown):
        pieces = [p for p in (*_pieces(name, rule), *_leads(rule, shown)) if p not in rule]
        scored = [(_right(name, _join(rule, piece), shown), -len(piece), piece) for piece in pieces]
        if not scored or max(scored)[0] <= best:
            return added
        best, _, piece = max(scored)
        rule, added = _join(rule, piece), _join(added, piece)
    return added


def _join(rule: str, piece: str) -> str:
    return f"{rule}; {piece}" if rule else piece


def _right(name: str, rule: str, shown: Sequence[tuple[str, Any]]) -> int:
    field = Field(name, rule)
    return sum(_same(write(field, find(field, text)), expected) for text, expected in shown)


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON: ``1`` and ``true`` are not."""
    return json.dumps(left) == json.dumps(right)


def _pieces(name: str, rule: str) -> tuple[str, ...]:
    return (*_FORMATS.get(kind_of(Field(name, rule)), ()), *_FORMATS[""], _NULL)


def _leads(rule: str, shown: Sequence[tuple[str, Any]]) -> list[str]:
    """Rules that name the words which stand before the expected value, the most frequent together first."""
    before: Counter[str] = Counter()
    for text, expected in shown:
        at = text.lower().find(str(expected).lower()) if isinstance(expected, str) and expected else -1
        before.update(words(text[:at].rpartition("\n")[2])[-1:] if at > 0 else [])
    leads = [
        json.dumps(word)
        for word, count in before.most_common()
        if word.isalpha() and (count > 1 or word in STOP_WORDS) and json.dumps(word) not in rule
    ][:_MOST_LEADS]
    return [f"after {' or '.join(leads[:size])}" for size in range(1, len(leads) + 1)]

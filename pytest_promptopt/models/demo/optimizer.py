"""`demo` as an optimizer: it learns from the shown cases and writes what it learned into the prompt.

The prompt's own text is its only memory; whatever it does not revise stays verbatim.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

from pytest_promptopt.models.demo.advice import advised_rules
from pytest_promptopt.models.demo.feedback import Feedback, parse
from pytest_promptopt.models.demo.fields import fields_of
from pytest_promptopt.models.demo.judge_rules import is_judge_prompt, revise_judge
from pytest_promptopt.models.demo.learning import LabelLines, Plan, learn
from pytest_promptopt.models.demo.reading import (
    ENTRY,
    VARIABLE,
    Entry,
    cues_of,
    input_start,
    read_instructions,
)
from pytest_promptopt.models.demo.rules import infer_rules

_LABEL_ONLY = "Answer with the label only."
_JSON_ONLY = "Answer with JSON only."
_LABEL_HEADING = "Cues that speak for each label:"
_FIELD_HEADING = "Fields of the JSON object:"
_LONGEST_LABEL = 60
_PRUNING = re.compile(r"\b(?:short|concise|prun|remov|simpl|drop|fewer|cut|mislead|conflict)", re.IGNORECASE)


@dataclass(frozen=True)
class _Revision:
    """Lines to replace by index, lines to add, and in words what was done."""

    replaced: dict[int, str]
    added: list[str]
    heading: str
    done: list[str]


def propose(request: str) -> str:
    """The reply to an optimizer request: a reason and the whole new prompt."""
    feedback = parse(request)
    if feedback.versions:
        return _reply(f"it does what {len(feedback.versions)} versions do", _merge(feedback))
    if is_judge_prompt(feedback.prompt):
        prompt, why = revise_judge(feedback)
        return _reply(why or "no rule tells the shown answers apart", prompt)
    revision = _revise_fields(feedback) if _is_extraction(feedback) else _revise_labels(feedback)
    rule, why = _format_rule(feedback)
    done = [*revision.done, *([why] if why else [])]
    advised = advised_rules(feedback, _plan_of(feedback))
    if advised:
        said = " ".join(advised).removesuffix(".")
        done.append(f"the judge's suggestions for {len(feedback.failing)} shown answers: {said}")
    prompt = _apply(feedback.prompt, revision, [*([rule] if rule else []), *advised])
    reason = (
        "; ".join(done) or f"{len(feedback.failing)} shown failures call for no cue or rule that is not there"
    )
    return _reply(reason, prompt)


def _reply(reason: str, prompt: str) -> str:
    return f"<reason>{reason[0].upper()}{reason[1:]}.</reason>\n<new_prompt>\n{prompt}\n</new_prompt>"


def _merge(feedback: Feedback) -> str:
    """The prompt with the cues and the rules of all versions; a cue that most of them drop is dropped."""
    readings = [read_instructions(version) for version in feedback.versions]
    present = read_instructions(feedback.prompt)
    separator, heading = ("; ", _FIELD_HEADING) if present.wants_json else (", ", _LABEL_HEADING)
    old = _parts(present.entries, separator)
    new = [_parts(reading.entries, separator) for reading in readings]
    changes = {}
    for name in dict.fromkeys([*old, *(name for parts in new for name in parts)]):
        before = old.get(name, [])
        said = [part for parts in new for part in parts.get(name, [])]
        kept = [part for part in before if 2 * said.count(part) >= len(new)]
        changes[name] = (before, list(dict.fromkeys([*kept, *(part for part in said if part not in before)])))
    merged = _write_entries(feedback, present.entries, changes, [], separator, heading)
    known = {
        line.strip() for line in (*feedback.prompt.split("\n"), *merged.added, _LABEL_HEADING, _FIELD_HEADING)
    }
    rules = [
        line
        for version in feedback.versions
        for line in version.split("\n")
        if line.strip() and line.strip() not in known and not ENTRY.match(line)
    ]
    return _apply(feedback.prompt, merged, list(dict.fromkeys(rules)))


def _parts(entries: tuple[Entry, ...], separator: str) -> dict[str, list[str]]:
    """What each entry lists, by name."""
    parts: dict[str, list[str]] = {}
    for entry in entries:
        found = cues_of(entry.text) if separator == ", " else entry.text.split(separator)
        parts.setdefault(entry.name, []).extend(part for part in found if part)
    return parts


def _plan_of(feedback: Feedback) -> Plan:
    """The line of attack: what the direction's words ask for, the rest drawn from the request's own hash."""
    draw = random.Random(hashlib.sha256(feedback.seed.encode()).digest())
    return Plan(
        per_case=draw.choice((1, 2, 2, 3)),
        prune=bool(_PRUNING.search(feedback.direction)) or draw.random() < 0.5,
        draw=draw,
    )


def _is_extraction(feedback: Feedback) -> bool:
    return read_instructions(feedback.prompt).wants_json or any(
        isinstance(case.expected, dict) for case in feedback.failing
    )


def _is_label(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_LABEL and "\n" not in value


def _revise_labels(feedback: Feedback) -> _Revision:
    reading = read_instructions(feedback.prompt)
    taught = [case for case in feedback.failing if case.stated and _is_label(case.expected)]
    names = list(dict.fromkeys([*(e.name for e in reading.entries), *(case.expected for case in taught)]))
    kept = [case for case in feedback.passing if case.expected in names]
    before = LabelLines({name: [] for name in names})
    for entry in reading.entries:
        before.cues[entry.name].extend(cues_of(entry.text))
    after, learned = learn(before, taught, kept, _plan_of(feedback), default=reading.default)
    return _write_entries(
        feedback,
        reading.entries,
        {n: (before.cues[n], after.cues[n]) for n in names},
        learned,
        ", ",
        _LABEL_HEADING,
    )


def _revise_fields(feedback: Feedback) -> _Revision:
    reading = read_instructions(feedback.prompt)
    known = {field.name: field.rule for field in fields_of(reading.entries)}
    cases = [case for case in (*feedback.failing, *feedback.passing) if isinstance(case.expected, dict)]
    rules, done = infer_rules(known, cases, _plan_of(feedback))
    changes = {
        name: (
            [known[name]] if known.get(name) else [],
            [part for part in (known.get(name, ""), new) if part],
        )
        for name, new in rules.items()
    }
    return _write_entries(feedback, reading.entries, changes, done, "; ", _FIELD_HEADING)


def _write_entries(
    feedback: Feedback,
    entries: tuple[Entry, ...],
    changes: dict[str, tuple[list[str], list[str]]],
    done: list[str],
    separator: str,
    heading: str,
) -> _Revision:
    """Put each changed entry on its own line: its present one unless that must stay verbatim."""
    lines = feedback.prompt.split("\n")
    own = {e.name: e.line for e in entries if e.line is not None and lines[e.line] not in feedback.keep}
    listed = {entry.name for entry in entries}
    replaced: dict[int, str] = {}
    added: list[str] = []
    for name, (old, new) in changes.items():
        line = own.get(name)
        if old == new and name in listed:
            continue
        if line is None:
            fresh = [cue for cue in new if cue not in old]
            added.append(f"- {name}: {separator.join(fresh)}" if fresh else f"- {name}")
        else:
            replaced[line] = _rewrite(lines[line], old, new, separator)
    return _Revision(replaced, added, heading, done)


def _rewrite(line: str, old: list[str], new: list[str], separator: str) -> str:
    match = ENTRY.match(line)
    head, colon, text = (match["head"], match["colon"], match["cues"]) if match else line.partition(":")
    if old and new[: len(old)] == old and text:
        text = separator.join([text.rstrip(" .,;"), *new[len(old) :]])
    else:
        text = separator.join(new)
    return f"{head}{colon or ':'} {text.strip()}".rstrip()


def _format_rule(feedback: Feedback) -> tuple[str, str]:
    """The rule that keeps an answer bare, when shown answers say more than the expected value."""
    if read_instructions(feedback.prompt).bare:
        return "", ""
    wordy = [
        case
        for case in feedback.failing
        if isinstance(case.actual, str) and _is_wordy(case.expected, case.actual)
    ]
    if not wordy:
        return "", ""
    rule = _JSON_ONLY if _is_extraction(feedback) else _LABEL_ONLY
    return (
        rule,
        f"{len(wordy)} of {len(feedback.failing)} shown answers said more than was asked, so: {rule[:-1]}",
    )


def _is_wordy(expected: object, actual: str) -> bool:
    if isinstance(expected, dict) or "```" in actual:
        return "{" in actual
    return _is_label(expected) and len(actual.split()) > len(str(expected).split()) + 1


def _apply(prompt: str, revision: _Revision, rules: list[str]) -> str:
    """The prompt with the revision in it. New lines follow the present list, else stand before the input."""
    lines = prompt.split("\n")
    last = max(
        (n for n, line in enumerate(lines) if ENTRY.match(line) and not VARIABLE.search(line)), default=None
    )
    for number, line in revision.replaced.items():
        lines[number] = line
    block = list(rules)
    if revision.added and last is not None:
        lines[last + 1 : last + 1] = revision.added
    elif revision.added:
        block = [revision.heading, *revision.added, *(["", *rules] if rules else [])]
    text = "\n".join(lines)
    if not block:
        return text
    start = input_start(text)
    before, after = text[:start].rstrip("\n"), text[start:].lstrip("\n")
    return "\n\n".join(part for part in (before, "\n".join(block), after) if part)

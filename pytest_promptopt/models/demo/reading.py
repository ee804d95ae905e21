"""How `demo` reads a prompt: where the input is, which labels or fields it lists, which format it asks for.

Nothing here knows a task: a prompt that says more is understood better, one that says little is misread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pytest_promptopt.models.demo.words import stems, words
from pytest_promptopt.text import one_line

_LEADS = (
    "article chat comment complaint conversation document e-?mail feedback input "
    "inquiry invoice letter log mail message post query question receipt record "
    "request review sentence statement text ticket transcript utterance"
).replace(" ", "|")
_LEAD = re.compile(
    rf"(?:^|(?<=\n))[ \t]*(?:[\w']+ ){{0,3}}?(?P<lead>{_LEADS})s?[ \t]*:[ \t]*\n?", re.IGNORECASE
)
_TAGGED = re.compile(r"<(?P<tag>[A-Za-z][\w-]*)>[ \t]*\n?(?P<body>.*?)\n?[ \t]*</(?P=tag)>", re.DOTALL)
_FENCED = re.compile(r"(?P<fence>\"\"\"|'''|```)[^\S\n]*\n?(?P<body>.*?)\n?(?P=fence)", re.DOTALL)
_QUOTED = re.compile(r"[\"“](?P<body>[^\"”]+ [^\"”]+)[\"”]")
_TAIL = re.compile(
    r"\n(?:[ \t]*\n(?=[^\n]*\S)(?:answer|reply|respond|output|choose|classify|route|return only)\b.*"
    r"|[ \t]*(?:the |your )?[\w ]{1,20}:[ \t]*)\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_NOT_INPUT = frozenset(words("example examples labels rules instructions output format fields keys queues"))

_NAME = r"[A-Za-z][\w&/-]*(?: [\w&/-]+){0,3}?"
#: ``- billing: invoice, charged`` or a bare ``- billing``; the bullet may be a number.
ENTRY = re.compile(
    rf"^(?P<head>[ \t]*(?:[-*•+]|\d+[.)])[ \t]+[`\"'*]*(?P<name>{_NAME})[`\"'*]*)"
    r"(?:(?P<colon>[ \t]*(?::|=|—|–|->|[ \t]-[ \t])[`\"'*]*)[ \t]*(?P<cues>.*?))?[ \t]*$"
)
#: A variable of any template language.
VARIABLE = re.compile(r"\{\{|(?<!\{)\{\w*\}(?!\})|(?<!%)%(?:\(\w+\))?s|\$\{?[A-Za-z_]")
_PLAIN_ENTRY = re.compile(rf"^(?P<head>(?P<name>{_NAME}))(?P<colon>[ \t]*:)[ \t]+(?P<cues>\S.*)$")
_NOT_NAMES = frozenset(
    words("answer default example examples fields format hint important input keys labels note notes")
    + words("otherwise output reply rule rules task tie ties tip")
)
_ITEM = re.compile(rf"^[`\"'*]*({_NAME})[`\"'*]*$")
_ITEM_BREAK = re.compile(r"\s*,\s*(?:and|or)\s+|\s*[,;|]\s*|\s+(?:and|or)\s+")
_INTRO = re.compile(
    r"\b(?:one of|following|these|labels?|queues?|categor(?:y|ies)|intents?|teams?|topics?|"
    r"class(?:es)?|options?|choices|departments?|keys?|fields?|types?|tags?|values|route|assign|answer|reply|"
    r"classify|choose|pick|send|sort|about|extract|json)\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^.*?(?::|\(|\b(?:one of|into|among|between|either|extract|about|to|as|are|is|with|keys|fields)\b)\s*",
    re.IGNORECASE,
)
_JSON = re.compile(r"\bjson\b|\b(?:keys|fields)\s*:", re.IGNORECASE)
_CLOSING = re.compile(r"(?:\s(?:as|from|in)\s[^,]*)?[ .:;?!)]*$")
_ONLY = re.compile(
    r"\b(?:only|just|nothing (?:else|more)|no (?:other|explanation|prose|extra)|(?:one|a single) word)\b",
    re.IGNORECASE,
)
_SAY = re.compile(r"\b(?:answer|reply|respond|output|return|write|print|give|say)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n|(?<![,;])\n(?=[ \t]*[-*•\dA-Z])")
_DEFAULT = re.compile(
    r"\b(?:default(?: is| to)?|otherwise|(?:if|when) (?:unsure|in doubt|nothing fits|none fits))\W+"
    r"(?:(?:answer|choose|use|reply|pick)(?: with)?\W+)?(?P<name>[\w&/-]+(?: [\w&/-]+){0,3})",
    re.IGNORECASE,
)
_RULE = re.compile(
    r"\b(?:if|when)\b.*?\b(?:mentions?|says?|contains?|about|asks? for)\s+(?P<cues>.+?),?\s*"
    r"\b(?:choose|answer|use|pick|route (?:it )?to|it is|reply)(?: with)?\W+"
    r"(?P<name>[\w&/-]+(?: [\w&/-]+){0,3})",
    re.IGNORECASE,
)
_CUE_BREAK = re.compile(r"\s*[,;|]\s*|\s+(?:and|or)\s+|[\"“”()]+|\.\s+|\.$")

#: A rule says more than a cue, a phrase more than a word, and what is listed first more than what follows.
_RULE_WEIGHT = 6.0
_NAME_WEIGHT = 0.9
_PHRASE_WEIGHT = 0.8
_PART_WEIGHT = 0.3
_LAST_WEIGHT = 0.6


@dataclass(frozen=True)
class Label:
    """An answer that the prompt allows, with the stemmed phrases that speak for it and their weights."""

    name: str
    cues: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Entry:
    """A listed label or field: `text` is what its line says about it, `line` that line's index or None."""

    name: str
    text: str
    line: int | None


@dataclass(frozen=True)
class Reading:
    """What a prompt asks for. `default` is the label to fall back on, None when no labels are listed."""

    entries: tuple[Entry, ...]
    labels: tuple[Label, ...]
    default: str | None
    wants_json: bool
    bare: bool


def split(text: str) -> tuple[str, str]:
    """The instructions and the input of one message.

    The input is what stands in the last tag or fence, else after a line lead like ``Ticket:``, else the last
    quotation or paragraph; a text of one paragraph is both.
    """
    blocks = [m for pattern in (_TAGGED, _FENCED) for m in pattern.finditer(text) if not _is_instruction(m)]
    own_lines = [m for m in blocks if _stands_alone(m, text)]
    lead = _lead(text)
    if own_lines or (blocks and lead is None):
        start, end = (own_lines or blocks)[-1].span("body")
        return text[:start] + text[end:], text[start:end]
    if lead is not None:
        tail = _TAIL.search(text, lead)
        end = tail.start() if tail else len(text)
        return text[:lead] + text[end:], text[lead:end].strip()
    quoted = list(_QUOTED.finditer(text))
    if quoted:
        return text[: quoted[-1].start("body")] + text[quoted[-1].end("body") :], quoted[-1]["body"]
    before, blank, last = text.rstrip().rpartition("\n\n")
    return (before + blank, last) if blank else (text, text)


def _is_instruction(block: re.Match[str]) -> bool:
    return block.groupdict().get("tag", "").lower() in _NOT_INPUT


def _stands_alone(block: re.Match[str], text: str) -> bool:
    """Whether a block begins and ends its lines: one inside a line may well be part of the input."""
    start, end = block.span()
    return text[:start].rpartition("\n")[2].strip() == "" and text[end:].partition("\n")[0].strip() == ""


def _lead(text: str) -> int | None:
    """Where the input begins. Solved examples repeat its lead, so the last of the first kind counts."""
    leads = list(_LEAD.finditer(text))
    opening = [
        m for m in leads if not text[: m.start()].strip() or text[: m.start()].endswith("\n\n")
    ] or leads[-1:]
    same = [m for m in opening if m["lead"].lower() == opening[0]["lead"].lower()]
    return same[-1].end() if same else None


def input_start(template: str) -> int:
    """Where the last block of `template` that uses a variable starts: rules are written before it."""
    variables = [found.start() for found in VARIABLE.finditer(template)]
    if not variables:
        return len(template)
    last = variables[-1]
    tag = template.rfind("\n<", 0, last)
    paragraph = template.rfind("\n\n", 0, last)
    if paragraph >= 0:
        return paragraph + 2
    return (tag if tag >= 0 else template.rfind("\n", 0, last)) + 1


@lru_cache(maxsize=256)
def read_instructions(instructions: str) -> Reading:
    """Read the part of a prompt that is the same for every input."""
    sentences = _SENTENCE.split(instructions)
    entries = listed(instructions)
    prose = "\n".join(line for line in instructions.split("\n") if not ENTRY.match(line))
    wants_json = _JSON.search(prose) is not None
    lines: dict[str, list[str]] = {}
    for entry in entries:
        lines.setdefault(entry.name, []).extend(cues_of(entry.text))
    rules = [(m["name"], m["cues"]) for s in sentences for m in _RULE.finditer(s)]
    return Reading(
        entries=entries,
        labels=() if wants_json else weigh(lines, rules=rules),
        default=_default(sentences, list(lines)),
        wants_json=wants_json,
        bare=any(_ONLY.search(s) and _SAY.search(s) for s in sentences),
    )


def listed(instructions: str) -> tuple[Entry, ...]:
    """The labels or fields: those of a list in a sentence, then those with a line each."""
    inline = [Entry(name, "", None) for name in _inline(instructions)]
    named = {entry.name for entry in inline}
    lines = instructions.split("\n")
    found = []
    for number, line in enumerate(lines):
        match = ENTRY.match(line) or _plain(lines, number, named)
        if match and match["name"].lower() not in _NOT_NAMES and "{{" not in line:
            found.append(Entry(match["name"], match["cues"] or "", number))
    return (*inline, *found)


def _plain(lines: Sequence[str], number: int, named: set[str]) -> re.Match[str] | None:
    """A line without a bullet counts when its name is listed elsewhere."""
    match = _PLAIN_ENTRY.match(lines[number])
    return match if match and match["name"] in named else None


def _inline(instructions: str) -> list[str]:
    for sentence in _SENTENCE.split(instructions):
        text = one_line(sentence)
        if _INTRO.search(text) and not ENTRY.match(text) and (names := _names(text)):
            return list(dict.fromkeys(names))
    return []


def _names(sentence: str) -> list[str]:
    """The items of the list that ends a sentence: what opens it is cut off, up to a colon at the most."""
    found: list[str] = []
    while (opening := _OPENING.match(sentence)) is not None:
        sentence = sentence[opening.end() :]
        items = _ITEM_BREAK.split(_CLOSING.sub("", sentence))
        names = [m[1] for item in items if (m := _ITEM.match(item.strip())) and not _ONLY.search(item)]
        if len(names) >= 2 and len(names) == len(items):
            found = names
            if opening[0].rstrip().endswith((":", "(", "one of")):
                break
    return found


def cues_of(text: str) -> list[str]:
    """The cues that a label line names, in order."""
    return [cue for part in _CUE_BREAK.split(text) if (cue := part.strip(" `'*."))]


def weigh(lines: Mapping[str, Sequence[str]], *, rules: Sequence[tuple[str, str]] = ()) -> tuple[Label, ...]:
    """Turn label lines into weighted cues. A cue that several labels share says as much less about each."""
    weighted: dict[str, dict[str, float]] = {name: {} for name in lines}
    for name, cues in lines.items():
        own = weighted[name]
        for position, cue in enumerate(cues):
            phrase = stems(cue)
            size = len(phrase.split())
            fade = 1 - (1 - _LAST_WEIGHT) * min(position / 15, 1.0)
            own[phrase] = max(own.get(phrase, 0.0), fade * (1 + _PHRASE_WEIGHT * (size - 1)))
            for part in phrase.split() if size > 1 else ():
                own.setdefault(f" {part} ", _PART_WEIGHT)
        for part in stems(name).split():
            own[f" {part} "] = max(own.get(f" {part} ", 0.0), _NAME_WEIGHT)
    shared: dict[str, int] = {}
    for own in weighted.values():
        for phrase in own:
            shared[phrase] = shared.get(phrase, 0) + 1
    for name, text in rules:
        label = next((known for known in lines if stems(known) == stems(name)), None)
        for cue in cues_of(text) if label else ():
            weighted[label or ""][stems(cue)] = _RULE_WEIGHT
    return tuple(
        Label(name, tuple((phrase, weight / shared.get(phrase, 1)) for phrase, weight in own.items()))
        for name, own in weighted.items()
    )


def _default(sentences: Sequence[str], names: Sequence[str]) -> str | None:
    for sentence in sentences:
        for match in _DEFAULT.finditer(sentence):
            for name in names:
                if f" {match['name'].lower()} ".startswith(f" {name.lower()} "):
                    return name
    return names[0] if names else None


def classify(labels: Sequence[Label], text: str, *, default: str) -> str:
    """The label whose cues weigh most in `text`; the first of equals; `default` when no cue is in it."""
    found = stems(text)
    best, most = default, 0.0
    for label in labels:
        score = sum([weight for phrase, weight in label.cues if phrase in found])
        if score > most + 1e-9:
            best, most = label.name, score
    return best

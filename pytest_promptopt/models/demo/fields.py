"""Finding the value of a named field in a text, and writing it in the format that its rule asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from pytest_promptopt.models.demo.reading import Entry
from pytest_promptopt.models.demo.words import stem, words

_MONTHS = words("january february march april may june july august september october november december")
_MONTH_NAME = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.?"
_MONTH = rf"(?P<month>{_MONTH_NAME})"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_YEAR}[-/](?P<number>\d{{1,2}})[-/]{_DAY}\b",
        rf"\b{_DAY}(?: of)?[ -]{_MONTH},?[ -]{_YEAR}\b",
        rf"\b{_MONTH} {_DAY},? {_YEAR}\b",
        r"\b(?P<first>\d{1,2})(?P<dot>[./-])(?P<second>\d{1,2})[./-](?P<year>\d{4})\b",
    )
)
_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}
_CURRENCIES = {
    "usd": "USD", "dollar": "USD", "eur": "EUR", "euro": "EUR", "gbp": "GBP", "pound": "GBP", "jpy": "JPY",
    "yen": "JPY", "chf": "CHF", "franc": "CHF", "sek": "SEK", "pln": "PLN",
}  # fmt: skip
_MONEY_WORD = rf"(?:{'|'.join(_CURRENCIES)})s?"
_FIGURE = r"\d{1,3}(?:[ ,.']\d{3})+(?:[.,]\d{2})?(?!\d)|\d+(?:[.,]\d{1,2})?(?!\d)"
_SMALL = words("zero one two three four five six seven eight nine ten eleven twelve")
#: Words with a capital that begin no name: those that open a sentence, and months.
_NO_NAME = r"(?:I|We|The|This|That|Please|Hi|Hello|Dear|Thanks|My|Our|Your|It|On|In|At|For|From|To)\b"
_PATTERNS = {
    "email": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w"),
    "amount": re.compile(
        rf"(?:[$€£¥]\s?|\b{_MONEY_WORD}\s)(?:{_FIGURE})|\b(?:{_FIGURE})\s?(?:[€£$¥]|{_MONEY_WORD}\b)",
        re.IGNORECASE,
    ),
    "currency": re.compile(rf"[$€£¥]|(?<![a-z]){_MONEY_WORD}\b", re.IGNORECASE),
    "count": re.compile(rf"\b(?:\d{{1,4}}|{'|'.join(_SMALL)})\b(?![.,:/-]\d)", re.IGNORECASE),
    "number": re.compile(r"#?\b(?:[A-Za-z]{1,6}[-/]?)?\d[\dA-Za-z]*(?:[-/][\dA-Za-z]+)*\b"),
    "name": re.compile(
        rf"\b(?!{_NO_NAME}|(?i:{_MONTH_NAME})[ ,.\d]|(?i:{_MONEY_WORD})\b)[A-Z](?:[\w'’.&-]*\w)?"
        r"(?:(?: (?:&|and|of|de|van|von|der|the) (?=[A-Z])| )[A-Z][\w'’.&-]*\w)*"
    ),
}
#: The first kind with a word in the field's name decides, else with one in its rule; else it is a name.
_KINDS = tuple(
    (kind, frozenset(stem(word) for word in vocabulary.split()))
    for kind, vocabulary in (
        ("email", "email mail"),
        ("currency", "currency"),
        ("date", "date due deadline birthday day departure checkin checkout"),
        ("amount", "amount total price cost sum fee paid balance budget cents value"),
        ("count", "quantity qty count guests persons seats nights items pieces units adults children copies"),
        ("number", "id number no order invoice reference ref account code sku case tracking booking"),
    )
)
_NAME_WORDS = frozenset(stem(w) for w in words("vendor customer name merchant supplier company city person"))
_NEAR = 40
_AFTER = re.compile(r"\bafter (?P<leads>(?:\"[^\"]+\"(?:,? or |, )?)+)")
_NO_VALUE = "unknown"


@dataclass(frozen=True)
class Field:
    """One key of the answer and what the prompt says about it."""

    name: str
    rule: str


def fields_of(entries: Sequence[Entry]) -> tuple[Field, ...]:
    """The fields of a prompt; what several entries say about one of them adds up."""
    rules: dict[str, str] = {}
    for entry in entries:
        rules[entry.name] = f"{rules.get(entry.name, '')}; {entry.text}".strip("; ")
    return tuple(Field(name, rule) for name, rule in rules.items())


@dataclass(frozen=True)
class _Clues:
    kind: str
    keywords: tuple[str, ...]
    leads: tuple[str, ...]


def extract(fields: Sequence[Field], text: str) -> dict[str, Any]:
    """The value of every field in `text`, in the format of its rule."""
    return {field.name: write(field, find(field, text)) for field in fields}


def find(field: Field, text: str) -> str | None:
    """The words of `text` that are the value of `field`; None when nothing of its kind is there."""
    clues = _clues(field)
    best, most = None, 0.0
    for order, match in enumerate(_spans(clues.kind, text)):
        score = 1.0 - 0.01 * order + _nearness(clues, text, match)
        if score > most and (clues.kind != "name" or score >= 1.0 or clues.leads == ()):
            best, most = match[0], score
    return best.removeprefix("#") if best else None


@lru_cache(maxsize=512)
def _clues(field: Field) -> _Clues:
    leads = tuple(
        lead.lower()
        for match in _AFTER.finditer(field.rule)
        for lead in re.findall(r'"([^"]+)"', match["leads"])
    )
    return _Clues(kind_of(field), tuple(w for w in words(field.name) if len(w) > 1), leads)


def kind_of(field: Field) -> str:
    """The detector that fits the field, from the words of its name, else of its rule."""
    for said in (words(field.name), words(_AFTER.sub("", field.rule))):
        found = {stem(word) for word in said}
        if found & _NAME_WORDS and said == words(field.name):
            return "name"
        for kind, vocabulary in _KINDS:
            if found & vocabulary:
                return kind
    return "name"


def _spans(kind: str, text: str) -> Iterator[re.Match[str]]:
    if kind == "date":
        yield from sorted((m for pattern in _DATES for m in pattern.finditer(text)), key=lambda m: m.start())
        return
    others = ("date", "amount", "email") if kind in ("count", "number") else ()
    taken = [match.span() for other in others for match in _spans(other, text)]
    for match in _PATTERNS[kind].finditer(text):
        start, end = match.span()
        if any(start < stop and begin < end for begin, stop in taken):
            continue
        if kind == "number" and match[0].isdigit() and len(match[0]) < 2:
            continue
        yield match


def _nearness(clues: _Clues, text: str, match: re.Match[str]) -> float:
    before = text[max(0, match.start() - _NEAR) : match.start()].lower().rstrip(" :#=")
    score = sum(
        4.0 for lead in set(clues.leads) if before.endswith(lead) and not before[: -len(lead)][-1:].isalnum()
    )
    line = before.rpartition("\n")[2]
    after = text[match.end() : match.end() + _NEAR // 2].lower().partition("\n")[0]
    for word in clues.keywords:
        at = line.rfind(word)
        if at >= 0:
            score += 1.0 - (len(line) - at) / (2 * _NEAR)
        elif word in after:
            score += 0.7 - after.find(word) / _NEAR
    return score


def write(field: Field, raw: str | None) -> Any:
    """`raw` in the format that the rule of `field` states; as it stands when the rule states none."""
    rule = field.rule.lower()
    if raw is None:
        return None if "null" in rule else _NO_VALUE
    kind = kind_of(field)
    if kind == "date":
        return _date(raw, rule)
    if kind == "amount":
        return _amount(raw, rule)
    if kind == "currency":
        return _currency(raw) if "code" in rule or "iso" in rule else raw
    return _plain(raw, rule)


def _plain(raw: str, rule: str) -> Any:
    if "integer" in rule or "plain number" in rule:
        figure = str(_SMALL.index(raw.lower())) if raw.lower() in _SMALL else re.sub(r"\D", "", raw)
        return int(figure) if figure else raw
    if "digits only" in rule or "only the digits" in rule:
        return re.sub(r"\D", "", raw)
    if re.search(r"lower.?case", rule):
        return raw.lower()
    return raw.upper() if re.search(r"upper.?case", rule) else raw


def _date(raw: str, rule: str) -> str:
    if "yyyy-mm-dd" not in rule and "iso" not in rule:
        return raw
    for pattern in _DATES:
        match = pattern.fullmatch(raw)
        if match:
            parts = match.groupdict()
            if "first" in parts:
                day_first = "day first" in rule or (parts["dot"] == "." and "month first" not in rule)
                day, month = (parts["first"], parts["second"])[:: 1 if day_first else -1]
            else:
                day, month = parts["day"], parts.get("number") or _month(parts["month"])
            try:
                return date(int(parts["year"]), int(month), int(day)).isoformat()
            except ValueError:
                return raw
    return raw


def _month(name: str) -> str:
    return str(next(n for n, month in enumerate(_MONTHS, 1) if month.startswith(name[:3].lower())))


def _amount(raw: str, rule: str) -> Any:
    figure = re.sub(r"[^\d.,]", "", raw).strip(".,")
    whole, cents = re.fullmatch(r"(.*?)(?:[.,](\d{1,2}))?", figure).groups()  # type: ignore[union-attr]
    hundredths = int(re.sub(r"\D", "", whole) or "0") * 100 + int((cents or "0").ljust(2, "0"))
    if "cents" in rule:
        return hundredths
    if "number" in rule or "integer" in rule or "decimal" in rule:
        return hundredths // 100 if hundredths % 100 == 0 or "integer" in rule else hundredths / 100
    return raw


def _currency(raw: str) -> str:
    return (
        _SIGNS.get(raw)
        or _CURRENCIES[raw.lower() if raw.lower() in _CURRENCIES else raw.lower().removesuffix("s")]
    )

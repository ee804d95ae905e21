"""Two texts that look the same: which characters tell them apart, by their code points."""

from __future__ import annotations

import difflib
import unicodedata

from pytest_promptopt.failures.symptoms import Symptom, SymptomKind
from pytest_promptopt.text import code_point

#: Characters named in a sentence.
MAX_NAMED = 3
#: Characters that are read of an answer of any size.
MAX_READ = 20_000
#: Characters compared one by one: a longer text is told apart by its forms only.
MAX_COMPARED = 2_000

#: Letters of other scripts that look like Latin ones, and what typography makes of plain marks. NFKC does the
#: rest: full-width forms, ligatures, superscripts, no-break spaces.
_LOOKALIKES = {
    "a": "\u0430\u03b1", "c": "\u0441", "d": "\u0501", "e": "\u0435", "h": "\u04bb", "i": "\u0456\u03b9",
    "j": "\u0458", "k": "\u03ba", "l": "\u04cf", "o": "\u043e\u03bf", "p": "\u0440\u03c1", "q": "\u051b",
    "s": "\u0455", "u": "\u03c5", "v": "\u03bd", "w": "\u051d", "x": "\u0445\u03c7", "y": "\u0443",
    "A": "\u0410\u0391", "B": "\u0412\u0392", "C": "\u0421", "E": "\u0415\u0395", "H": "\u041d\u0397",
    "I": "\u0406\u0399", "J": "\u0408", "K": "\u041a\u039a", "M": "\u041c\u039c", "N": "\u039d",
    "O": "\u041e\u039f", "P": "\u0420\u03a1", "S": "\u0405", "T": "\u0422\u03a4", "X": "\u0425\u03a7",
    "Y": "\u0423\u03a5", "Z": "\u0396",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "'": "\u2018\u2019\u201a\u201b\u02bc\u2032",
    '"': "\u201c\u201d\u201e\u201f", "/": "\u2044\u2215",
}  # fmt: skip
_PLAIN = {ord(other): letter for letter, others in _LOOKALIKES.items() for other in others}


def visible_form(text: str) -> str:
    """`text` as its reader sees it: one form for all that looks the same, and nothing that cannot be seen."""
    text = unicodedata.normalize("NFKC", text[:MAX_READ]).translate(_PLAIN)
    return "".join(each for each in text if unicodedata.category(each) not in ("Cf", "Cc") or each in "\n\t")


def lookalike_symptom(expected: str, actual: str) -> Symptom | None:
    """What tells two texts apart that look the same; None when they are equal or look different."""
    if expected == actual or visible_form(expected) != visible_form(actual):
        return None
    if unicodedata.normalize("NFC", expected) == unicodedata.normalize("NFC", actual):
        return Symptom.of(SymptomKind.UNICODE_FORM, _form(actual), _form(expected))
    if max(len(expected), len(actual)) > MAX_COMPARED:
        return Symptom(SymptomKind.OTHER_LOOKALIKES)
    found = list(dict.fromkeys(_changes(expected, actual)))
    more = f" and {len(found) - MAX_NAMED} more" * (len(found) > MAX_NAMED)
    return Symptom.of(SymptomKind.LOOKALIKE_CHARACTERS, ", ".join(found[:MAX_NAMED]) + more)


def _form(text: str) -> str:
    return next((form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, text)), "mixed forms")


def _changes(expected: str, actual: str) -> list[str]:
    found = []
    matcher = difflib.SequenceMatcher(None, expected, actual, autojunk=False)
    for operation, i1, i2, j1, j2 in matcher.get_opcodes():
        wanted, given = expected[i1:i2], actual[j1:j2]
        if operation == "equal":
            continue
        if len(wanted) == len(given):
            found += [f"{_named(two)} for {_named(one)}" for one, two in zip(wanted, given, strict=True)]
        elif not given:
            found.append(f"no {' '.join(map(_named, wanted))}")
        else:
            told = " ".join(map(_named, given))
            found.append(f"{told} for {' '.join(map(_named, wanted))}" if wanted else f"{told} besides")
    return found


def _named(character: str) -> str:
    """``'a'``, or ``U+0430 CYRILLIC SMALL LETTER A``."""
    if character.isascii() and character.isprintable():
        return repr(character)
    return code_point(character, nameless="without a name")

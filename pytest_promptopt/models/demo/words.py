"""Words as `demo` sees them: lower-cased, lightly stemmed, without the ones that every text has."""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[a-z0-9]+(?:['’][a-z]+)?")
STOP_WORDS = frozenset(
    _WORD.findall("""
    a about actually after again all already also always am an and any anyone anything are as ask
    asked at away be because been before being but by can cannot cant come comes could couldnt day
    days did didnt do does doesnt doing done dont each else ever every everything few find for from
    further get gets getting give given go goes going good got had hadnt happen happened happening
    has hasnt have havent having he hello help her here hey hi him his how however i id if ill im in
    into is isnt it its ive just keep kind know let like little ll long look looking lot make makes
    making many may maybe me mean might mine more most much must my myself need needed needs never
    new now of off oh ok okay on once one ones only or other our out over own people please possible
    put quite rather re really right said same saw say says see seem seems she should shouldnt since
    so some somebody someone something sorry still such sure tell than thank thanks that thats the
    their them then there these they thing things think this those though through time times to
    today told too took tried trying two understand until up us use used using usually very via want
    wanted wants was wasnt way we week weeks well went were what whats when where which while who
    why will wish with within wont would wouldnt wed youd theyd hed shed theyre youre youll theyll
    yes yesterday yet you your yours youve
    """)
)

#: Words that say nothing alone but turn the meaning of the word beside them.
MODIFIERS = frozenset(
    {"no", "not", "without", "back", "down", "away", "twice", "again", "never", "up", "off", "out"}
)

_SUFFIXES = ("ingly", "edly", "ing", "ies", "ied", "ed", "ly", "es", "s", "e", "y")
_SHORTEST_STEM = 3


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """The word without its inflection: ``refunded``, ``refunds`` and ``refund`` are one."""
    for suffix in _SUFFIXES:
        root = word.removesuffix(suffix)
        if root != word and len(root) >= _SHORTEST_STEM and not (suffix == "s" and root.endswith("s")):
            doubled = suffix in ("ing", "ed") and root[-1] == root[-2] and root[-1] not in "lsz"
            return (root[:-1] if doubled else root).removesuffix("e").removesuffix("i")
    return word


def words(text: str) -> list[str]:
    """Every word of `text` in lower case, without apostrophes; ``card_arrival`` is two."""
    return [w.replace("'", "").replace("’", "") for w in _WORD.findall(text.lower())]


def content(text: str) -> list[str]:
    """The words of `text` that carry meaning, in order; all of its words if none does."""
    found = words(text)
    return [w for w in found if w in MODIFIERS or w not in STOP_WORDS] or found


def stems(text: str) -> str:
    """The stems of the words that carry meaning, each between blanks, so that ``in`` finds whole phrases."""
    return f" {' '.join(stem(w) for w in content(text))} "

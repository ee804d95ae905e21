"""What a search must not learn from: cases that turn out, in its middle, to ask what a stricter one asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_promptopt.records import Case, Split
from pytest_promptopt.text import plural


@dataclass
class WithheldCases:
    """Nobody knows the later calls of a case before its first are answered, so a twin may show late.

    Only while `begin` and `end` enclose a search.
    """

    #: The strictest split that asks something, by the key of the request.
    _asked: dict[str, Split] = field(default_factory=dict)
    cases: set[str] = field(default_factory=set)

    def begin(self, asked: Mapping[Case, Iterable[str]]) -> None:
        """:param asked: the keys of what cases ask, as far as they are known."""
        for case, keys in asked.items():
            self._note(case, keys)

    def end(self) -> list[str]:
        """The cases that were withheld."""
        found = sorted(self.cases)
        self._asked.clear()
        self.cases.clear()
        return found

    def end_with_note(self) -> str:
        """`end`, in a sentence for the user; empty when none was withheld."""
        found = self.end()
        if not found:
            return ""
        return (
            f"{plural(len(found), 'case')} turned out to ask what a stricter case asks, and had no part in "
            f"the search ({found[0]})"
        )

    def asks(self, case: Case, keys: Iterable[str]) -> bool:
        """Note what a case asks; whether it is withheld from now on."""
        if self._asked and self._note(case, keys):
            self.cases.add(case.id)
        return case.id in self.cases

    def _note(self, case: Case, keys: Iterable[str]) -> bool:
        known = {key: self._asked.get(key, Split.TRAIN) for key in keys}
        for key, split in known.items():
            self._asked[key] = max(split, case.split, key=lambda each: each.strictness)
        return any(split.strictness > case.split.strictness for split in known.values())

"""What a file says, with the line of every value, so that a mistake is told where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_promptopt.errors import SettingsError
from pytest_promptopt.text import did_you_mean, quote

#: Keys and indices that lead to a value.
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Located:
    """A value of a file, and where it and what is in it stand.

    :param name: of the file, for messages.
    :param lines: the line of each value of the whole file, by the keys and indices that lead to it.
    :param place: what leads to this one.
    """

    name: str
    value: Any
    lines: Mapping[Place, int] = field(repr=False)
    place: Place = ()

    def where(self, *inside: str | int) -> str:
        """``file:line`` of a value inside; of one that is not there, of the nearest around it."""
        return f"{self.name}:{self.line(*inside)}"

    def line(self, *inside: str | int) -> int:
        place = (*self.place, *inside)
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def wrong(self, what: str, *inside: str | int) -> SettingsError:
        """An error at a value inside, to be raised."""
        return SettingsError(f"{self.where(*inside)}: {what}")

    def at(self, key: str | int) -> Located:
        """The value under a key or an index."""
        return replace(self, value=self.value[key], place=(*self.place, key))

    def get(self, key: str) -> Located | None:
        """The value under a key of a mapping; None where it is not given, or empty."""
        return None if self.value.get(key) is None else self.at(key)

    def items(self) -> Iterator[Located]:
        """The values of a list."""
        return (self.at(number) for number in range(len(self.value)))

    def mapping(self, what: str) -> Located:
        """It, if it is a mapping. Raises `SettingsError`.

        :param what: what it is, for the message.
        """
        if not isinstance(self.value, dict):
            raise self.wrong(f"{what} must be a mapping (`key: value` lines), got {quote(self.value)}")
        return self

    def check_keys(self, known: Iterable[str], *, what: str = "key", hints: Mapping[str, str] = {}) -> None:
        """Raises `SettingsError` for a key that is not `known`.

        :param hints: what is meant by words that other programs use.
        """
        accepted = list(known)
        for key in self.value:
            if key not in accepted:
                hint = f"did you mean `{hints[key]}`?" if key in hints else did_you_mean(key, accepted)
                raise self.wrong(f"there is no {what} {quote(key)}; {hint}", key)

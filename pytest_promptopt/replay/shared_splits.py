"""Which split a case falls into, and which cases share one since they ask the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from pytest_promptopt.records import Split
from pytest_promptopt.replay.searched_case import SearchedCase

K = TypeVar("K")
S = TypeVar("S", bound=SearchedCase)


def split_by_identity(identity: str, shares: tuple[float, float, float] | None) -> Split:
    """The split of an unmarked case, the same whatever other cases there are.

    :param identity: what makes the case this case, as text.
    :param shares: of train, validation and held-out cases; None puts all into train.
    """
    if shares is None:
        return Split.TRAIN
    train, validation, _ = shares
    digest = hashlib.sha256(identity.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return Split.TRAIN if place < train else Split.VALIDATION if place < train + validation else Split.HELDOUT


def restrict(cases: dict[K, S], members: Collection[K]) -> None:
    """Give all `members`, and what repeats them, the strictest split among them, in place."""
    strictest = max((cases[item].case.split for item in members), key=lambda split: split.strictness)
    changed = {cases[item].case.id for item in members if cases[item].case.split is not strictest}
    if not changed:
        return
    for item, case in cases.items():
        if case.case.id in changed:
            cases[item] = replace(case, case=replace(case.case, split=strictest))


def give_splits(cases: dict[K, S], splits: Mapping[str, Split]) -> None:
    """Give cases, by their ids, other splits, in place."""
    for item, case in cases.items():
        if case.case.id in splits:
            cases[item] = replace(case, case=replace(case.case, split=splits[case.case.id]))


def share_by_question(cases: dict[K, S], asked: Mapping[K, frozenset[str]]) -> None:
    """Cases that have any model request in common, directly or through others, share the strictest split.

    :param asked: the keys of the requests of each case, as far as they are known.
    """
    groups: dict[str, tuple[list[K], set[str]]] = {}
    for item, keys in asked.items():
        found = {id(groups[key]): groups[key] for key in keys if key in groups}
        members, together = [item], set(keys)
        for items, others in found.values():
            members += items
            together |= others
        groups |= dict.fromkeys(together, (members, together))
    for members, _ in {id(group): group for group in groups.values()}.values():
        restrict(cases, members)

"""Which split a case falls into that is marked for none."""

from __future__ import annotations

import hashlib

from pytest_promptopt.records import Split


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

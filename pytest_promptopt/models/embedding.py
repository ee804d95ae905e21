"""Embeddings: texts as vectors, asked for as answers are, and so kept and counted as those are."""

from __future__ import annotations

import math
import struct
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_promptopt.errors import ErrorKind, ModelError
from pytest_promptopt.records import Answer, Message, Request, StopReason, Usage
from pytest_promptopt.text import safe_repr

#: Bytes of a number as it is kept. Providers give no more digits, and a vector has some thousand numbers.
_BYTES = 4
#: The largest number that fits into them.
_MOST = 3.4e38

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Embeddings:
    """What a built-in model gives for several texts, in their order; a model of the user's gives a list.

    :param usage: None when the provider did not say.
    :param cost: US dollars; None when the price is unknown.
    """

    vectors: tuple[Vector, ...]
    usage: Usage | None = None
    cost: float | None = None


def embedding_request(model: str, text: str) -> Request:
    """What asks `model` for the vector of `text`; one request a text, so that equal texts are paid once."""
    return Request(model, (Message("user", text),), max_tokens=0, embeds=True)


async def embedded(model: Any, request: Request) -> Answer:
    """The vector that `request` wants, as an answer. Raises `ModelError`.

    :param model: has ``async def embed(texts)``, which returns a vector for each text.
    """
    embed = getattr(model, "embed", None)
    if embed is None:
        said = (
            f"{request.model} makes no embeddings; name an embedding model, such as "
            "openai/text-embedding-3-small, or give a model of your own `async def embed(self, texts)`"
        )
        raise ModelError(ErrorKind.NOT_FOUND, said, model=request.model)
    found: object = await embed([message.content for message in request.messages])
    given = found if isinstance(found, Embeddings) else Embeddings(_vectors(found, request.model))
    if len(given.vectors) != 1 or not _is_usable(given.vectors[0]):
        raise _mistake(request.model, given.vectors)
    return Answer(
        text=_packed(given.vectors[0]),
        model=request.model,
        stop_reason=StopReason.END,
        usage=given.usage,
        cost=given.cost,
        latency=-1.0,  # not known here, so the caller's measure is taken
    )


def vector_in(answer: Answer) -> Vector:
    """The vector that an answer of `embedded` holds. Raises `ValueError` for any other answer."""
    packed = b64decode(answer.text, validate=True)
    try:
        return struct.unpack(f"<{len(packed) // _BYTES}f", packed)
    except struct.error as error:
        raise ValueError(str(error)) from None


def cosine(one: Vector, two: Vector) -> float:
    """Of the angle between two vectors: 1 where they point in the same direction.

    Raises `ValueError` where they have no such angle.
    """
    if len(one) != len(two):
        raise ValueError(f"vectors of {len(one)} and of {len(two)} numbers cannot be compared")
    lengths = math.hypot(*one) * math.hypot(*two)
    if not lengths:
        raise ValueError("a vector of zeros has no direction")
    return max(-1.0, min(1.0, math.fsum(a * b for a, b in zip(one, two, strict=True)) / lengths))


def _packed(vector: Vector) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _vectors(found: Any, model: str) -> tuple[Vector, ...]:
    """What a model of the user's has returned: lists, or arrays of numpy."""
    try:
        return tuple(tuple(map(float, vector)) for vector in found)
    except (TypeError, ValueError):
        raise _mistake(model, found) from None


def _is_usable(vector: Sequence[float]) -> bool:
    return bool(vector) and all(abs(each) <= _MOST for each in vector)


def _mistake(model: str, found: object) -> ModelError:
    said = (
        f"{model}: embed(texts) returned {safe_repr(found)[:80]}; accepted: a vector of numbers for each text"
    )
    return ModelError(ErrorKind.DEFECT, said, model=model)

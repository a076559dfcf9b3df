"""Where values are from: of samples, of batches, and of samples that were taken out of batches again."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, final

from webds.errors import StateError
from webds.typing import Origin

__all__ = ["PartOrigin", "pack_origins", "samples_of", "unpack_origins"]

_BATCH: Final = -1
_PART: Final = -2
_NUMBER: Final = 4
"""Bytes of a number."""


@final
class PartOrigin(tuple[object, ...]):  # noqa: SLOT001  # no tuple of any length can have slots
    """The origin of a value that was taken out of a batch: that with which it came there, for all who look at it.

    Attributes:
        whole: the origin of the batch.
        part: the number of the value in it.
    """

    whole: Origin
    part: int

    @classmethod
    def of(cls, origin: Origin, whole: Origin, part: int) -> PartOrigin:
        """Return the origin of one part of ``whole``."""
        made = cls(origin)
        made.whole, made.part = whole, part
        return made


def samples_of(origin: Origin) -> list[Origin]:
    """Return the origins of all samples in a batch, or in a batch of batches; of one sample, its own."""
    if origin and isinstance(origin[0], tuple):
        return [one for part in origin for one in samples_of(part)]
    return [origin]


def pack_origins(origins: Sequence[Origin], shards: Mapping[str, int]) -> str:
    """Return origins as text, without keys and URLs.

    It is base64 of zlib of little-endian 32-bit numbers: how many batches there are that were taken apart, these, and
    the origins. A sample is the numbers of shard and sample; a batch is -1, its length, and its parts; a part of a
    batch that was taken apart is -2, its number in it, and the number of that batch, which stands before.

    Args:
        origins: what to pack.
        shards: shard → its number.

    Raises:
        StateError: a shard that is not among these.
    """
    wholes: dict[int, int] = {}
    packed_wholes: list[int] = []

    def pack(origin: Origin, into: list[int]) -> None:
        if isinstance(origin, PartOrigin):
            if id(origin.whole) not in wholes:
                packed: list[int] = []
                pack(origin.whole, packed)  # which may have others in it, and these come first
                packed_wholes.extend(packed)
                wholes[id(origin.whole)] = len(wholes)
            into += (_PART, origin.part, wholes[id(origin.whole)])
        elif isinstance(origin[0], tuple):
            into += (_BATCH, len(origin))
            for one in origin:
                pack(one, into)
        elif (number := shards.get(origin[0])) is not None:
            into += (number, origin[1])
        else:
            raise StateError("a sample that is held back is of no shard that the dataset has now", url=origin[0])

    numbers: list[int] = []
    for origin in origins:
        pack(origin, numbers)
    numbers = [len(wholes), *packed_wholes, *numbers]
    return base64.b64encode(zlib.compress(struct.pack(f"<{len(numbers)}i", *numbers))).decode()


def unpack_origins(text: str, shards: Sequence[str]) -> list[Origin]:
    """Return what was packed; keys are None.

    Raises:
        StateError: it is damaged.
    """
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        numbers = iter(struct.unpack(f"<{len(data) // _NUMBER}i", data))
        wholes: list[Origin] = []

        def origin(first: int) -> Origin:
            if first == _BATCH:
                return tuple(origin(next(numbers)) for _ in range(next(numbers)))
            if first == _PART:
                part, whole = next(numbers), wholes[next(numbers)]
                is_batch = isinstance(whole[0], tuple) and part < len(whole)
                return PartOrigin.of(whole[part] if is_batch else whole, whole, part)
            return (shards[first], next(numbers), None)

        wholes.extend(origin(next(numbers)) for _ in range(next(numbers)))
        return [origin(first) for first in numbers]
    except (ValueError, IndexError, StopIteration, RuntimeError, struct.error, zlib.error, binascii.Error) as error:
        raise StateError("the state is damaged: what it says of the samples that are held back is cut short") from error

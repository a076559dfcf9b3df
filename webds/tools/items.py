"""Samples that are still to be put together: what each of their fields is, or where it is."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeAlias, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import annotate
from webds.openers.named import read_named
from webds.tools.reading import Passed
from webds.typing import Sample
from webds.urls import scheme_of

__all__ = ["Batch", "FilePart", "Item", "PackSource", "Part", "batches"]


@final
@attrs.frozen
class FilePart:
    """The content of a file.

    Attributes:
        url: its path or URL.
        size: its bytes, where they are known.
    """

    url: str
    size: int | None = None

    def read(self, opener: Opener) -> bytes:
        """Return the content.

        Raises:
            OpenError: it cannot be read.
            UntrustedDataError: it is what a command prints, and its name came out of a file.
        """
        return read_named(self.url, opener)


Part: TypeAlias = FilePart | bytes
"""A field: the content of a file, or its bytes themselves."""


@final
@attrs.frozen
class Item:
    """A sample.

    Attributes:
        key: its key.
        fields: its fields.
        origin: what is to be said of where it comes from, in errors: a file, a table and its row.
    """

    key: str
    fields: dict[str, Part]
    origin: str

    def size(self, opener: Opener) -> int:
        """Return the bytes of all fields, as far as they are known without reading them."""
        return sum(len(part) if isinstance(part, bytes) else _size(part, opener) for part in self.fields.values())

    def sample(self, opener: Opener) -> Sample:
        """Return the sample, its files read.

        Raises:
            OpenError: one cannot be read.
        """
        sample: Sample = {"__key__": self.key}
        for field, part in self.fields.items():
            try:
                sample[field] = part if isinstance(part, bytes) else part.read(opener)
            except Exception as error:
                annotate(error, url=self.origin, key=self.key, field=field, stage="pack")
                raise
        return sample


def _size(part: FilePart, opener: Opener) -> int:
    if part.size is not None:
        return part.size
    if scheme_of(part.url) in ("-", "pipe"):
        return 0  # it is refused when it is read
    return opener.size(part.url) or 0


class PackSource(ABC):
    """Where samples come from that are to be packed.

    Must hold: `items` yields the same each time, as long as nothing is changed.

    Attributes:
        is_inline: whether items carry their contents with them, so that many of them are not held in memory.
        passed: what was found and is part of no item; filled by `items`.
    """

    is_inline: bool = False
    passed: Passed

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield all samples, in their order."""

    @abstractmethod
    def identity(self) -> list[Any]:
        """Return, for JSON, what tells this from other sources, and from what it was before a change."""

    def count(self) -> int | None:
        """Return the number of samples, where it is known at once."""
        return None


@final
@attrs.frozen
class Batch:
    """The samples of one shard.

    Attributes:
        number: of the shard.
        items: the samples.
    """

    number: int
    items: list[Item]

    @override
    def __str__(self) -> str:
        return f"shard {self.number}, which begins with {self.items[0].key!r}"


def batches(items: Iterator[Item], maxcount: float, maxsize: float, opener: Opener) -> Iterator[Batch]:
    """Cut samples into shards, where `webds.ShardWriter` would."""
    numbers = itertools.count()
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        if maxsize != float("inf"):
            size += item.size(opener)
        if len(batch) >= maxcount or size >= maxsize:
            yield Batch(next(numbers), batch)
            batch, size = [], 0
    if batch:
        yield Batch(next(numbers), batch)

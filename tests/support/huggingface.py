"""Data sets of Hugging Face's for tests, also what workers that are spawned import."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["encoded", "numbered_rows", "rows_of"]


def encoded(number: int, kind: str) -> bytes:
    """Return a small grey image of that brightness."""
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 5), number, np.uint8)).save(stream, kind)
    return stream.getvalue()


def numbered_rows(first: int, count: int) -> list[dict[str, Any]]:
    """Return rows that are numbered through."""
    return [{"number": number, "text": f"text {number}"} for number in range(first, first + count)]


def rows_of(shards: list[int]) -> Iterator[dict[str, Any]]:
    """Yield five rows for each shard: for ``IterableDataset.from_generator``."""
    for shard in shards:
        yield from numbered_rows(5 * shard, 5)

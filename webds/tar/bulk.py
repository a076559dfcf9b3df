"""Samples out of plain members, as many at once as there are."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from webds.tar.names import Split
from webds.tar.plain import Plain
from webds.typing import UNREAD, Sample

__all__ = ["samples_of"]


def samples_of(plain: Plain, split: Split, keys: Iterator[str], wanted: Collection[str] | None) -> Iterator[Sample]:
    """Yield the samples of plain members, the data of each taken when it is due.

    Args:
        plain: the members.
        split: what their names say.
        keys: an iterator over the keys of ``split``: how many it has left tells how far this has come.
        wanted: the fields to read, the others are `webds.typing.UNREAD`; None for all.
    """
    if not split.regular:
        return _one_by_one(plain, split.shapes, keys, wanted)
    first, shape, *_, last = split.shapes
    begin, end, step = len(first) - 1, 1 - len(last), len(shape) - 1
    columns: list[Iterator[Any]] = [
        plain.contents(plain.starts[i:end:step], plain.sizes[i:end:step])
        if wanted is None or field in wanted
        else itertools.repeat(UNREAD)
        for i, field in enumerate(shape[1:], begin)
    ]
    middle = itertools.islice(keys, len(split.keys) - 2)
    rows = _dicts(shape, zip(middle, *columns, strict=False))
    return itertools.chain(
        _one_by_one(plain, [first], keys, wanted),
        rows,
        _one_by_one(plain, [last], keys, wanted, len(plain.sizes) + end),
    )


def _dicts(shape: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> Iterator[Sample]:
    """Return samples of one shape, out of their values, by the quickest way there is."""
    if len(shape) == 2:
        key, a = shape
        return ({key: x, a: y} for x, y in rows)
    if len(shape) == 3:
        key, a, b = shape
        return ({key: x, a: y, b: z} for x, y, z in rows)
    if len(shape) == 4:
        key, a, b, c = shape
        return ({key: w, a: x, b: y, c: z} for w, x, y, z in rows)
    return map(dict, map(zip, itertools.repeat(shape), rows))  # without a line of Python for each


def _one_by_one(
    plain: Plain, shapes: Sequence[tuple[str, ...]], keys: Iterator[str], wanted: Collection[str] | None, first: int = 0
) -> Iterator[Sample]:
    """Yield samples of these shapes, beginning with the member ``first``."""
    members = itertools.islice(zip(plain.starts, plain.sizes, strict=True), first, None)
    for shape, key in zip(shapes, keys, strict=False):
        sample: Sample = {"__key__": key}
        for field, (start, size) in zip(shape[1:], members, strict=False):
            sample[field] = plain.content(start, size) if wanted is None or field in wanted else UNREAD
        yield sample

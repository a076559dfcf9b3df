"""Samples out of the members of an archive: neighbours that share a key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from webds.checks import checkmember, checkrange
from webds.tar.grouping import Duplicates, Grouping, ReadStats
from webds.tar.members import Members, MissingEnd
from webds.tar.naming import base_plus_ext
from webds.typing import KeyFunction, Readable, Sample

__all__ = ["Duplicates", "ReadStats", "read_samples"]


def read_samples(
    stream: Readable,
    *,
    url: str = "",
    keys: KeyFunction = base_plus_ext,
    fields: Collection[str] | None = None,
    start: int = 0,
    missing_end: MissingEnd = "error",
    duplicates: Duplicates = "error",
    on_error: Callable[[Exception], bool] | None = None,
    stats: ReadStats | None = None,
) -> Iterator[Sample]:
    """Yield the samples of an archive: ``{"__key__": key, field: bytes, …}``.

    A sample is yielded when one more has been read after it, so that members of two samples that alternate are
    noticed before a fragment is delivered. Where the archive is damaged, the samples that were complete before
    come first, then the error; the sample in which it happened is never delivered.

    Memory: three samples, what has been read ahead, and the keys of the shard; these in a row as long as they ascend.

    Args:
        stream: the archive, which may be compressed (gz, bz2, xz, zst); any ``read`` will do. It stays open.
        url: named in errors.
        keys: member path → (key, field); a member for which either is None belongs to no sample.
        fields: the fields to read; the others have the value `webds.typing.UNREAD`. None for all.
        start: ordinal of the first sample to yield. The data of those before it is not read.
        missing_end: what an archive without end marker is: cut short (``"error"``), or good (``"accept"``).
        duplicates: what becomes of fields and samples that come twice; see `Duplicates`.
        on_error: called with the `SampleError` of a sample that can be left out: True goes on without it, False
            ends the iteration. None raises it. Other errors are raised in any case.
        stats: counts are added to it.

    Raises:
        TarFormatError: the archive is damaged, cut short, followed by another one, or no archive.
        SampleError: a field that comes twice; or a key that comes back after other samples.
        MissingExtraError: zst, and the package zstandard is not installed.
        Exception: what ``stream.read`` or ``keys`` raised, with a note of where.
    """
    checkmember(duplicates, ("error", "skip", "first", "last"), "duplicates")
    checkrange(start, 0, float("inf"), "start")
    if isinstance(fields, str):
        raise TypeError(f"fields={fields!r}: expected a collection of field names, not one string")
    wanted = None if fields is None else frozenset(fields)
    grouping = Grouping(url or None, wanted, start, duplicates, on_error, stats or ReadStats())
    return grouping.run(Members(stream, url=url, missing_end=missing_end), keys)

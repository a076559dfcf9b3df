"""The member table of a shard that exists: its headers read, its data passed over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast, final

import attrs

from webds.index.table import MemberTable, TableBuilder
from webds.tar.compression import recognise
from webds.tar.grouping import Grouping, ReadStats
from webds.tar.header import BLOCK, has_valid_checksum
from webds.tar.members import Member, Members, MissingEnd
from webds.tar.naming import base_plus_ext
from webds.typing import KeyFunction, Readable

__all__ = ["Hindrance", "ScannedShard", "scan"]

Hindrance: TypeAlias = Literal["compressed", "sparse"]
"""Why no member of a shard can be read by itself."""


@final
@attrs.frozen
class ScannedShard:
    """What a shard holds.

    Attributes:
        count: number of samples.
        table: where their members lie; None where none can be read by itself.
        hindrance: why there is no table.
        sayable: whether the table can be written as a file: no name has white space.
    """

    count: int
    table: MemberTable | None
    hindrance: Hindrance | None = None
    sayable: bool = True


def scan(
    stream: Readable, *, url: str = "", keys: KeyFunction = base_plus_ext, missing_end: MissingEnd = "error"
) -> ScannedShard:
    """Find out what a shard holds. Of a stream that seeks, no more than the headers of large members is read.

    The samples are those that reading the shard as a stream delivers, and the errors are those that it raises.

    Args:
        stream: the shard, from its beginning. It stays open.
        url: named in errors.
        keys: member path → (key, field).
        missing_end: see `webds.tar.MissingEnd`.

    Raises:
        TarFormatError: the archive is damaged, cut short or none.
        SampleError: a field that comes twice, or members of a sample that are apart.
    """
    head = _Head(stream)
    recorder = _Recorder(Members(head, url=url, missing_end=missing_end), keys)
    grouping = Grouping(url or None, frozenset(), 0, "error", None, ReadStats())
    builder = TableBuilder()
    # The members of a sample that is delivered are the next ones that were recorded.
    at = 0
    # It asks nothing of the members but what the recorder has.
    for sample in grouping.run(cast("Any", recorder), recorder.split):
        taken = recorder.found[at : at + len(sample) - 1]
        at += len(taken)
        for member, field in taken:
            builder.add(member.name, field, member.offset, member.size)
        builder.end_sample()
        if at > 4096:
            del recorder.found[:at]
            at = 0
    hindrance: Hindrance | None = "compressed" if head.compressed else "sparse" if recorder.sparse else None
    if hindrance is not None:
        return ScannedShard(len(builder), None, hindrance)
    return ScannedShard(len(builder), builder.table(), sayable=builder.sayable and keys is base_plus_ext)


@final
class _Recorder:
    """Members, and what they were."""

    def __init__(self, members: Members, keys: KeyFunction) -> None:
        self._members = members
        self._keys = keys
        self._last: Member | None = None
        self.found: list[tuple[Member, str]] = []
        self.sparse = False

    @property
    def ended(self) -> bool:
        return self._members.ended

    def plain(self) -> None:
        """Say that each is to be taken by itself."""

    def __iter__(self) -> _Recorder:
        return self

    def __next__(self) -> Member:
        self._last = next(self._members)
        self.sparse |= self._last.sparse
        return self._last

    def split(self, name: str) -> tuple[str | None, str | None]:
        key, field = self._keys(name)
        if key is not None and field is not None and self._last is not None:
            self.found.append((self._last, field))
        return key, field


@final
class _Head:
    """A stream whose first block is looked at."""

    def __init__(self, stream: Readable) -> None:
        self._stream: Any = stream
        self._head = b""
        while len(self._head) < BLOCK and (part := stream.read(BLOCK - len(self._head))):
            self._head += part
        self.compressed = recognise(self._head) is not None and not (
            len(self._head) == BLOCK and has_valid_checksum(self._head)
        )
        self._at = 0
        seekable: Callable[[], bool] | None = getattr(stream, "seekable", None)
        self._seeks = seekable is not None and seekable()
        if self._seeks:
            self.seek(-len(self._head), 1)
            self._head = b""

    def seekable(self) -> bool:
        return self._seeks

    def tell(self) -> int:
        return int(self._stream.tell())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._stream.seek(offset, whence))

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            end = len(self._head) if size < 0 else size
            data, self._head = self._head[:end], self._head[end:]
            return data
        data = self._stream.read(size)
        return cast("bytes", data)

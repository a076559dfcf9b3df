"""The member tables of tar shards: found beside them or through a manifest, checked, or made by reading headers."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Generator
from typing import Any, BinaryIO, Final, final

from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError, StaleIndexError
from webds.index import MemberTable, RangeStream, index_path, parse_table, scan
from webds.index.build import ScannedShard
from webds.index.manifest import ListedShard
from webds.index.table import MAX_TABLE, count_in
from webds.sources.tar import TarSource
from webds.tar import base_plus_ext
from webds.typing import Readable
from webds.urls import local_path, scheme_of

__all__ = ["Tables", "open_whole", "stale"]

_KEPT: Final = 64
_BLOCK: Final = 512
_PIECE: Final = 1 << 20


@contextlib.contextmanager
def open_whole(opener: Opener, url: str, start: int = 0) -> Generator[Readable]:
    """Open a shard so that passing over data costs little, where that can be: by a seek, or by asking for ranges.

    Args:
        opener: opens it.
        url: the shard.
        start: where to begin.
    """
    # An opener that knows the size knows ranges, too.
    if local_path(url) is None and (size := opener.size(url)) is not None:
        yield RangeStream(opener, url, size, start)
        return
    with opener.open(url) as stream:
        _pass_over(stream, start)
        yield stream


def _pass_over(stream: BinaryIO, start: int) -> None:
    if start and stream.seekable():
        stream.seek(start)
        return
    while start > 0 and (passed := stream.read(min(start, _PIECE))):
        start -= len(passed)


def stale(what: str, shard: str, *, key: str | None = None, field: str | None = None) -> StaleIndexError:
    """Return the error for an index that does not fit its shard."""
    return StaleIndexError(
        f"{what}: the index is of another version of this shard; run webds.build_index(…, rebuild=True) again",
        url=shard, key=key, field=field, stage="index",
    )  # fmt: skip


def _beside(shard: str) -> str:
    """Return the URL of the table beside a shard; what follows the path in it stays."""
    if scheme_of(shard) not in ("http", "https"):
        return index_path(shard)
    path, mark, query = shard.partition("?")
    return index_path(path) + mark + query


@final
class Tables:
    """The tables of the shards of a source. Those that were used last are kept; a pickled one keeps none.

    Args:
        tar: the shards, and what decides on their samples.
    """

    def __init__(self, tar: TarSource) -> None:
        self._tar = tar
        self._kept: OrderedDict[str, MemberTable | int] = OrderedDict()
        self._lock = threading.RLock()

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return Tables, (self._tar,)

    def get(self, shard: str) -> MemberTable | int:
        """Return the table of a shard; the number of its samples where nothing in it can be read by itself.

        Raises:
            StaleIndexError: the index does not fit the shard, or a remote shard has none.
            WebdsError: the shard cannot be read, or its members make no samples.
        """
        with self._lock:
            found = self._kept.get(shard)
            if found is None:
                found = self._kept[shard] = self._load(shard)
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(shard)
            return found

    def count(self, shard: str) -> int:
        """Return the number of samples of a shard, by the cheapest way there is."""
        listed = self._tar.listed(shard)
        if listed.samples is not None and self._follows_rule:
            return listed.samples
        found = self._kept.get(shard)
        if found is None and self._follows_rule and (head := self._read_index(shard, listed, 64)) is not None:
            return count_in(head, self._index_url(shard, listed))[0]
        found = self.get(shard)
        return found if isinstance(found, int) else len(found)

    @property
    def _follows_rule(self) -> bool:
        return self._tar.keys is base_plus_ext  # indexes know no other

    def stored(self, shard: str) -> MemberTable | None:
        """Return the table that is stored of a shard, in its place or where the manifest says; None if there is none.

        Raises:
            StaleIndexError: it does not fit the shard.
        """
        listed = self._tar.listed(shard)
        size = self._size(shard, listed)
        table = None if "no_index" in listed.more else self._read_table(shard, listed, size)
        if table is not None:
            self._check_count(shard, listed, len(table))
            self._check_end(shard, table)
        return table

    def _load(self, shard: str) -> MemberTable | int:
        listed = self._tar.listed(shard)
        size = self._size(shard, listed)
        table: MemberTable | None = None
        why = listed.more.get("no_index")
        if self._follows_rule and why in ("compressed", "sparse") and listed.samples is not None:
            return listed.samples
        if self._follows_rule and why is None:
            table = self._read_table(shard, listed, size)
            if table is None and local_path(shard) is None:
                raise StaleIndexError(
                    "this shard has no index, and is not local: make one with webds.build_index(…, directory=…)",
                    url=shard, stage="index",
                )  # fmt: skip
        if table is None:
            found = self._scan(shard)
            self._check_count(shard, listed, found.count)
            return found.count if found.table is None else found.table
        self._check_count(shard, listed, len(table))
        self._check_end(shard, table)
        return table

    def _size(self, shard: str, listed: ListedShard) -> int | None:
        size = self._tar.shard_opener.size(shard)
        if None not in (size, listed.size) and size != listed.size:
            raise stale(f"the manifest says {listed.size} bytes, and there are {size}", shard)
        return size

    def _read_table(self, shard: str, listed: ListedShard, size: int | None) -> MemberTable | None:
        data = self._read_index(shard, listed, MAX_TABLE)
        return None if data is None else parse_table(data, self._index_url(shard, listed), size=size)

    def _check_count(self, shard: str, listed: ListedShard, count: int) -> None:
        if self._follows_rule and listed.samples is not None and listed.samples != count:
            raise stale(f"the manifest says {listed.samples} samples, and there are {count}", shard)

    def _check_end(self, shard: str, table: MemberTable) -> None:
        """Look whether the archive ends where the table does; if something follows, whether it is part of samples."""
        block = self._tar.shard_opener.read_range(shard, table.end, _BLOCK)
        if len(block) == _BLOCK and not block.strip(b"\0"):
            return
        if not block and self._tar.missing_end == "accept" and len(table):
            return
        found = self._scan(shard).table
        if found is None or not found.same(table):
            raise stale("other members are in it than its index says", shard)

    def _scan(self, shard: str) -> ScannedShard:
        with open_whole(self._tar.shard_opener, shard) as stream:
            return scan(stream, url=shard, keys=self._tar.keys, missing_end=self._tar.missing_end)

    def _index_url(self, shard: str, listed: ListedShard) -> str:
        index = listed.more.get("index")
        return index if isinstance(index, str) else _beside(shard)

    def _read_index(self, shard: str, listed: ListedShard, limit: int) -> bytes | None:
        """Return the first ``limit`` bytes of the index file; None if there is none."""
        url = self._index_url(shard, listed)
        if url == shard or scheme_of(url) in ("pipe", "-"):
            return None
        parts: list[bytes] = []
        try:
            stream = self._tar.opener.open(url)
        except (OpenError, FileNotFoundError):
            if "index" in listed.more:
                raise
            return None
        with stream:
            while limit > 0 and (part := stream.read(min(limit, _PIECE))):
                parts.append(part)
                limit -= len(part)
        return b"".join(parts)

"""One member out of shards."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from webds.errors import FieldError
from webds.index import MemberTable
from webds.sources.indexed import IndexedTarSource
from webds.sources.tar import TarSource
from webds.tools.walking import Wanted, groups_of, stored_table, walking
from webds.typing import Writable

__all__ = ["copy_member"]


def copy_member(source: TarSource, name: str, stream: Writable, *, use_index: bool = True) -> str:
    """Write the content of the first member of a name to a stream.

    Memory: a few MiB; of a remote shard with an index, the member.

    Args:
        source: the shards, which are searched in their order.
        name: the path of a member; or a key, a dot and a field.
        stream: is written.
        use_index: whether a remote shard that has an index is searched by that.

    Returns:
        The URL of the shard that has it.

    Raises:
        FieldError: no shard has it.
        WebdsError: a shard cannot be read; see `webds.TarSource`.
    """
    wanted = Wanted(name, source.keys)
    shards = source.shards()
    for url in shards:
        with contextlib.closing(_content(source, url, wanted, use_index=use_index)) as pieces:
            for piece in pieces:
                stream.write(piece)
        if wanted.found:
            return url
    where = f"these {len(shards)} shards" if len(shards) > 1 else "this shard"
    if wanted.fields:
        text = f"name one of its fields, as in {name}.{wanted.fields[0]}: there are {', '.join(wanted.fields)}"
        raise FieldError(f"{name!r} is a sample; {text}", url=shards[0] if len(shards) == 1 else None, key=name)
    raise FieldError(f"{where} have no member {name!r}" if len(shards) > 1 else f"{where} has no member {name!r}",
                     url=shards[0] if len(shards) == 1 else None)  # fmt: skip


def _content(source: TarSource, url: str, wanted: Wanted, *, use_index: bool) -> Generator[bytes]:
    """Yield the content of the member, if this shard has it."""
    table = stored_table(source, url) if use_index else None
    if table is not None:
        yield from _by_index(source, url, table, wanted)
        return
    with walking(source, url) as walk:
        if walk.find(wanted) is not None:
            yield from walk.pieces()


def _by_index(source: TarSource, url: str, table: MemberTable, wanted: Wanted) -> Generator[bytes]:
    for ordinal, group in enumerate(groups_of(table)):
        for entry in group.members:
            if wanted(entry.name):
                indexed = IndexedTarSource(source.with_shards([url]))
                (sample,) = indexed.read_at(url, [ordinal], {entry.field})
                yield sample[entry.field]
                return

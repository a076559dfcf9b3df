"""The samples of shards, one after the other, with their fields and sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import attrs

from webds.errors import WebdsError
from webds.sources.tar import TarSource
from webds.tools.walking import Check, Group, groups_in

__all__ = ["Listed", "list_samples"]


@final
@attrs.frozen
class Listed:
    """One thing that a shard has: a sample, or an error.

    Attributes:
        url: the shard.
        group: the sample, or members that are part of none; None where the shard cannot be read any further.
        error: what is wrong with it; None for a sound sample.
    """

    url: str
    group: Group | None
    error: WebdsError | None = None


def list_samples(source: TarSource, *, use_index: bool = True) -> Iterator[Listed]:
    """Yield the samples of all shards by their headers, with what is wrong, at its place. Nothing is raised.

    Args:
        source: the shards.
        use_index: whether a remote shard that has an index is listed from that, and not read at all.
    """
    for url in source.shards():
        try:
            with groups_in(source, url, use_index=use_index) as (groups, _):
                check = Check()
                for group in groups:
                    fault = check(group)
                    yield Listed(url, group, None if fault is None else fault.error(url))
        except WebdsError as error:
            yield Listed(url, None, error)

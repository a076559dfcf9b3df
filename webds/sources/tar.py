"""Samples out of tar shards, read as streams."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, TypeAlias, final

import attrs
from typing_extensions import override

from webds.abc import Opener, Source
from webds.errors import WebdsError
from webds.sources.urls import expand_urls
from webds.tar import ReadStats, base_plus_ext, read_samples
from webds.typing import KeyFunction, Sample

__all__ = ["Duplicates", "MissingEnd", "TarSource", "Urls"]

Urls: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
Duplicates: TypeAlias = Literal["error", "skip", "first", "last"]
MissingEnd: TypeAlias = Literal["error", "accept"]


@final
@attrs.frozen(slots=False)
class TarSource(Source[Sample]):
    """Tar shards, each read from its beginning.

    Attributes:
        urls: a brace expression, a glob, a path, a manifest's URL, or a list of these. Expanded when it is
            first asked for its shards.
        opener: makes streams of URLs.
        keys: member path → (key, field), or (None, None) to pass the member over.
        missing_end: whether an archive without end blocks is an error or accepted.
        duplicates: what to do with a field that a sample has twice.
        trust_commands: whether shell commands that come out of a manifest or list file may run.
    """

    urls: Urls
    opener: Opener
    keys: KeyFunction = base_plus_ext
    missing_end: MissingEnd = attrs.field(default="error", validator=attrs.validators.in_(("error", "accept")))
    duplicates: Duplicates = attrs.field(
        default="error", validator=attrs.validators.in_(("error", "skip", "first", "last"))
    )
    trust_commands: bool = False

    @functools.cached_property
    def _expanded(self) -> list[str]:
        return expand_urls(self.urls, self.opener, trust_commands=self.trust_commands)

    @override
    def shards(self) -> Sequence[str]:
        return list(self._expanded)

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        return self.read_on(shard, fields, start)

    def read_on(
        self,
        shard: str,
        fields: Collection[str] | None = None,
        start: int = 0,
        *,
        on_error: Callable[[Exception], bool] | None = None,
        stats: ReadStats | None = None,
    ) -> Iterator[Sample]:
        """Read like `read`; see `webds.plan.RecoveringSource`."""
        try:
            stream = self.opener.open(shard)
        except WebdsError as error:
            raise error.locate(url=shard, stage="open")
        with stream:
            yield from read_samples(
                stream,
                url=shard,
                keys=self.keys,
                fields=fields,
                start=start,
                missing_end=self.missing_end,
                duplicates=self.duplicates,
                on_error=on_error,
                stats=stats,
            )

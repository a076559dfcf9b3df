"""Samples, or bare members, out of tar shards that are read as streams."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Literal, Self, TypeAlias, cast, final

import attrs
from typing_extensions import override

from webds.abc import Opener, Source
from webds.errors import UrlError, annotate
from webds.index.manifest import ListedShard
from webds.redaction import redact
from webds.sources.urls import listed_shards
from webds.stages.functions import name_of
from webds.streams.observing import observed_open
from webds.streams.verify import Verify, VerifyingReader
from webds.tar import Duplicates, MissingEnd, ReadStats, base_plus_ext, read_files, read_samples
from webds.typing import KeyFunction, Sample, T_co
from webds.urls import absolute_url

__all__ = ["Ahead", "MemberSource", "TarShards", "TarSource", "Urls"]

Urls: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"

Ahead: TypeAlias = Callable[[Opener, Sequence[str]], AbstractContextManager[Opener]]
"""From an opener, and the shards that will be opened by it in this order, to one that begins to read them early."""


def _kept(urls: Urls | Iterator[str | os.PathLike[str]]) -> Urls:
    """Return ``urls`` as they are now: a list may change later, and an iterator is used up by its first reader."""
    return tuple(urls) if isinstance(urls, list | Iterator) else urls


@attrs.frozen(slots=False)
class TarShards(Source[T_co]):
    """What sources of tar shards have in common: their URLs and how these are opened.

    Attributes:
        urls: a brace expression, a glob, a path, a manifest's URL, or a list of these. Expanded when the source
            is first asked for its shards.
        opener: makes streams of URLs.
        missing_end: whether an archive without end blocks is an error or accepted.
        trust_commands: whether shell commands that come out of a manifest or list file may run.
        through: makes of the opener the one that shards are opened by, such as one with a cache. Manifests and list
            files are not shards, and may change.
        ahead: what reads the next shards while one is being read; None for nothing.
        verify: ``"size"``: a shard of which a manifest says the size must have it. ``"hash"``: every shard must have
            the MD5 or SHA-256 that a manifest says, and the size. Both are seen when a shard has been read to its
            end, without a second read, and are about the file as it is stored, compressed or not; samples that came
            before have been delivered. For a hash all bytes are read, also those of fields that nobody wants. What is
            not as it should be does not get into a cache, and a copy is verified again as it is read. None compares
            nothing.
    """

    urls: Urls = attrs.field(converter=_kept, repr=lambda urls: redact(repr(urls)))
    opener: Opener
    missing_end: MissingEnd = attrs.field(
        default="error", validator=attrs.validators.in_(("error", "accept")), kw_only=True
    )
    trust_commands: bool = attrs.field(default=False, kw_only=True)
    through: Callable[[Opener], Opener] | None = attrs.field(default=None, kw_only=True)
    ahead: Ahead | None = attrs.field(default=None, kw_only=True)
    verify: Verify = attrs.field(default="size", validator=attrs.validators.in_(("size", "hash", None)), kw_only=True)

    @functools.cached_property
    def _listed(self) -> list[ListedShard]:
        return listed_shards(self.urls, self.opener, trust_commands=self.trust_commands)

    @functools.cached_property
    def _known(self) -> dict[str, ListedShard]:
        """URL → what manifests say of it, where they say something."""
        known: dict[str, ListedShard] = {}
        for shard in self._listed:
            if shard != ListedShard(shard.url) and known.setdefault(shard.url, shard) != shard:
                raise UrlError("the manifests, or two entries of one, contradict each other about it", url=shard.url)
        for shard in self._listed if self.verify == "hash" else ():
            if not known.get(shard.url, shard).has_hash:
                raise _without_hash(shard.url)
        return known

    @override
    def shards(self) -> Sequence[str]:
        """Return the URLs of all shards, always in the same order.

        Raises:
            UrlError: nothing matches; manifests contradict each other; a hash is to be verified, and there is none.
        """
        if self.verify is not None:
            _ = self._known  # what is wrong with it shows before anything is read
        return [shard.url for shard in self._listed]

    def listed(self, shard: str) -> ListedShard:
        """Return what the manifests say of a shard; no more than its URL where none does.

        Raises:
            UrlError: what they say is contradictory.
        """
        return self._known.get(shard) or ListedShard(shard)

    def listing(self) -> Sequence[ListedShard]:
        """Return what is known of each of `shards`, in their order; see `webds.plans.planning.ListingSource`."""
        return [self.listed(shard) for shard in self.shards()]

    def with_shards(self, urls: Sequence[str], opener: Opener | None = None) -> Self:
        """Return the source with these shards, taken as they are, and perhaps another opener for them.

        What is known of the shards already still holds.
        """
        return self._of(urls, opener=opener or self.opener)

    def _of(self, urls: Sequence[str], **changes: Any) -> Self:
        known = self._known if "_listed" in self.__dict__ else {}
        source = attrs.evolve(self, urls=list(urls), **changes)
        listed = [known.get(url) or ListedShard(url) for url in urls]
        object.__setattr__(source, "_listed", listed)  # what it would be expanded to
        return source

    def absolute(self) -> Self:
        """Return the source in which all local paths are absolute, for processes that work in other folders."""
        listed = [
            attrs.evolve(
                shard,
                url=absolute_url(shard.url),
                more={name: absolute_url(value) if name == "index" else value for name, value in shard.more.items()},
            )
            for shard in self._listed
        ]
        source = attrs.evolve(self, urls=[shard.url for shard in listed])
        object.__setattr__(source, "_listed", listed)
        return source

    @functools.cached_property
    def shard_opener(self) -> Opener:
        """What shards are opened by. What is kept of them on the way, by a cache, has been verified before."""
        return self._way(_VerifyingOpener(self.opener, self._verified))

    def _way(self, verifying: _VerifyingOpener) -> Opener:
        return self.opener if self.through is None else self.through(verifying)

    @property
    def foresees(self) -> bool:
        """Whether shards are read ahead."""
        return self.ahead is not None

    @contextlib.contextmanager
    def reading(self, shards: Sequence[str]) -> Generator[Self]:
        """Return the source of ``shards``, to be read in this order; see `webds.plans.byshard.ForeseeingSource`."""
        if self.ahead is None:
            yield self
            return
        # Hashes are made where it is read ahead. A size costs nothing here, and a plain local file is left as it is.
        hashed = self.verify == "hash"
        opener = _VerifyingOpener(self.shard_opener, lambda shard, _: self._open(shard, _called)) if hashed else None
        with self.ahead(opener or self.shard_opener, shards) as early:
            verify = None if hashed else self.verify
            yield self._of(shards, opener=early, through=None, ahead=None, verify=verify)

    def open(self, shard: str) -> BinaryIO:
        """Open a shard, to be verified as it is read; any exception says which."""
        try:
            return self._open(shard, observed_open)
        except Exception as error:
            annotate(error, url=shard, stage="open")
            raise

    def _open(self, shard: str, how: Callable[[Callable[[], BinaryIO]], BinaryIO]) -> BinaryIO:
        """Open a shard, to be verified once: on its way into a cache, if it is fetched now, or else on its way here."""
        verifying = _VerifyingOpener(self.opener, self._verified)
        opener = self._way(verifying)
        return self._verified(shard, lambda: how(lambda: opener.open(shard)), lambda: verifying.has_opened)

    def _verified(
        self, shard: str, opening: Callable[[], BinaryIO], is_verified: Callable[[], bool] = lambda: False
    ) -> BinaryIO:
        """Return the stream of a shard, to be verified as it is read, unless it turns out that it already is."""
        listed = self._to_verify(shard)
        stream = opening()
        if is_verified() or (listed.size is None and not listed.has_hash):
            return stream
        expected = VerifyingReader(stream, size=listed.size, md5=listed.md5, sha256=listed.sha256, url=shard)
        return cast("BinaryIO", expected)

    def _to_verify(self, shard: str) -> ListedShard:
        """Return what is to be found true of a shard."""
        listed = self.listed(shard)
        if self.verify is None:
            return ListedShard(shard)
        if self.verify == "size":
            return ListedShard(shard, size=listed.size)
        if not listed.has_hash:
            raise _without_hash(shard)
        return listed

    def describe(self) -> Sequence[tuple[str, str]]:
        """Return what `webds.plans.explaining.explained` is to say of it: what is verified."""
        if self.verify == "hash":
            return [("verify", "size and hash of every shard; all bytes are read for it, also of what is passed over")]
        sized = sum(shard.size is not None for shard in self._listed)
        if not sized or self.verify is None:
            return []
        return [("verify", f"the size, which a manifest says of {sized} of the {len(self._listed)} shards")]


def _called(opening: Callable[[], BinaryIO]) -> BinaryIO:
    return opening()


@contextlib.contextmanager
def _closing(stream: BinaryIO) -> Generator[BinaryIO]:
    """Close the stream at the end; without a word if its reader has stopped early, who does not ask how it goes on."""
    try:
        yield stream
    except GeneratorExit:
        with contextlib.suppress(Exception):
            stream.close()
        raise
    except BaseException:
        stream.close()
        raise
    stream.close()


@final
@attrs.define
class _VerifyingOpener(Opener):
    """Opens shards by another opener, to be verified as they are read.

    Attributes:
        inner: opens them.
        verified: from a shard, and what opens it, to its stream.
        has_opened: whether it has opened any.
    """

    inner: Opener
    verified: Callable[[str, Callable[[], BinaryIO]], BinaryIO]
    has_opened: bool = attrs.field(init=False, default=False)

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        if mode != "rb":
            return self.inner.open(url, mode)
        self.has_opened = True
        return self.verified(url, lambda: self.inner.open(url))

    @override
    def size(self, url: str) -> int | None:
        return self.inner.size(url)

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        return self.inner.read_range(url, start, length)

    @override
    def open_local(self, url: str) -> BinaryIO | None:
        return self.inner.open_local(url)

    @override
    def list(self, pattern: str) -> Sequence[str]:
        return self.inner.list(pattern)


def _without_hash(shard: str) -> UrlError:
    return UrlError(
        'verify="hash" wants the hash of every shard, and no manifest says one of this; '
        'give the URL of a manifest with md5sum or sha256 for each, or verify="size"',
        url=shard,
    )


@final
@attrs.frozen(slots=False)
class TarSource(TarShards[Sample]):
    """The samples of tar shards, each shard read from its beginning.

    Attributes:
        keys: member path → (key, field), or (None, None) to pass the member over.
        duplicates: what to do with a field that a sample has twice.
    """

    keys: KeyFunction = attrs.field(default=base_plus_ext, kw_only=True)
    duplicates: Duplicates = attrs.field(
        default="error", validator=attrs.validators.in_(("error", "skip", "first", "last")), kw_only=True
    )

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        return self.read_on(shard, fields, start)

    def identity(self) -> Mapping[str, object]:
        """Return what else decides on the samples; see `webds.plans.plan.IdentifiedSource`."""
        keys = {} if self.keys is base_plus_ext else {"keys": name_of(self.keys)}
        return keys | ({} if self.duplicates == "error" else {"duplicates": self.duplicates})

    def read_on(
        self,
        shard: str,
        fields: Collection[str] | None = None,
        start: int = 0,
        *,
        on_error: Callable[[Exception], bool] | None = None,
        stats: ReadStats | None = None,
    ) -> Generator[Sample]:
        """Read like `read`; see `webds.plans.byshard.RecoveringSource`."""
        with _closing(self.open(shard)) as stream:
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


@final
@attrs.frozen(slots=False)
class MemberSource(TarShards[Any]):
    """The members of tar shards as (name, bytes), or what functions make of a shard's members.

    Attributes:
        stages: functions from iterator to iterator; the first is given the (name, bytes) pairs of one shard.
        keys: member path → (key, field).
        suffixes: the fields whose members there are; None for all members.
    """

    stages: tuple[Callable[[Iterator[Any]], Iterable[Any]], ...] = attrs.field(default=(), kw_only=True)
    keys: KeyFunction = attrs.field(default=base_plus_ext, kw_only=True)
    suffixes: Collection[str] | None = attrs.field(default=None, kw_only=True)

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Generator[Any]:
        with _closing(self.open(shard)) as stream:
            values: Iterable[Any] = read_files(stream, url=shard, missing_end=self.missing_end)
            if (suffixes := self.suffixes) is not None:
                values = (member for member in values if self.keys(member[0])[1] in suffixes)
            for stage in self.stages:
                values = stage(iter(values))
            for ordinal, value in enumerate(values):
                if ordinal >= start:
                    yield value

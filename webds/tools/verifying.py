"""Whether shards are what they should be: structure, samples, hashes, indexes, and values that can be decoded."""

from __future__ import annotations

import functools
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, TypeAlias, cast, final

import attrs

from webds.abc import Decoder
from webds.codecs.tables import default_decoders
from webds.errors import MissingExtraError, OpenError, StaleIndexError, TarFormatError, UntrustedDataError, WebdsError
from webds.index import TableBuilder
from webds.index.manifest import ListedShard
from webds.sources.tables import Tables, open_whole
from webds.sources.tar import TarSource
from webds.streams.verify import VerifyingReader
from webds.tar import by_extension
from webds.tools.engine import Engine, report
from webds.tools.progress import NoProgress, Progress
from webds.tools.reading import engine_for, measured, total_size
from webds.tools.walking import Check, Group, Walk
from webds.typing import Readable

__all__ = ["Problem", "ProblemKind", "Verified", "undecodable", "verify_shard", "verify_shards"]

ProblemKind: TypeAlias = Literal["open", "structure", "sample", "contents", "index", "decode"]
"""What a problem is about: the shard cannot be read; is damaged; holds members that make no whole samples; is not what
its manifest says; nor what its index says; or has values that cannot be decoded."""

_MOST: Final = 1000
"""Problems of one shard that are kept."""

_HEADER: Final = 768
"""Bytes that a member takes besides, more or less."""


@final
@attrs.frozen
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: what it is about.
        text: a sentence.
        key: the sample, if it is one's.
        field: its field.
        offset: position in the uncompressed archive.
    """

    kind: ProblemKind
    text: str
    key: str | None = None
    field: str | None = None
    offset: int | None = None

    @classmethod
    def of(cls, kind: ProblemKind, error: WebdsError) -> Problem:
        """Return what an error says."""
        return cls(kind, error.message, error.key, error.field, error.offset)


@final
@attrs.define
class Verified:
    """What was found out about one shard.

    Attributes:
        url: the shard.
        samples: number of sound samples.
        members: number of members of groups, sound or not.
        bytes: of these members.
        passed_over: number of members that belong to no sample.
        problems: the first 1000 things that are wrong.
        count: how many things are wrong.
        hashed: whether the hash that a manifest says was compared.
        indexed: whether it has an index, and that was compared.
        undecoded: field → why its values were not decoded, as far as they were to be.
    """

    url: str
    samples: int = 0
    members: int = 0
    bytes: int = 0
    passed_over: int = 0
    problems: list[Problem] = attrs.field(factory=list[Problem])
    count: int = 0
    hashed: bool = False
    indexed: bool = False
    undecoded: dict[str, str] = attrs.field(factory=dict[str, str])

    def add(self, problem: Problem) -> None:
        """Add something that is wrong."""
        self.count += 1
        if len(self.problems) < _MOST:
            self.problems.append(problem)


def verify_shards(
    source: TarSource,
    *,
    decode: bool = False,
    hashes: bool = True,
    jobs: int = 1,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Generator[Verified]:
    """Yield what is wrong with each shard, in their order. Nothing is raised for what is wrong with one.

    Args:
        source: the shards.
        decode: whether every value is decoded, by the default decoders; pickles are not.
        hashes: whether hashes that manifests say are compared, for which all bytes are read.
        jobs: how many processes.
        engine: does the work in place of these.
        progress: is told how far it is.
    """
    progress = progress or NoProgress()
    shards = source.shards()
    if not isinstance(progress, NoProgress):
        progress.begin("verify", total_size(source, measured(source)), "bytes")
    function = functools.partial(verify_shard, source, decode=decode, hashes=hashes)
    yield from engine_for(shards, engine, jobs).run(function, shards, progress.advance)


def verify_shard(source: TarSource, url: str, *, decode: bool = False, hashes: bool = True) -> Verified:
    """Return what is wrong with one shard; see `verify_shards`."""
    found = Verified(url)
    builder = TableBuilder()
    try:
        listed = source.listed(url)
        size = source.shard_opener.size(url)
        if None not in (size, listed.size) and size != listed.size:
            found.add(Problem("contents", f"it has {size} bytes, where its manifest says {listed.size}"))
            listed = attrs.evolve(listed, size=None, md5=None, sha256=None)  # that they differ goes without saying
        _read(source, listed, found, builder, decode=decode, hashes=hashes)
        if not found.count:
            _compare_index(source, listed, found, builder)
    except WebdsError as error:
        found.add(Problem.of("open", error))
    except OSError as error:  # of a user's opener
        found.add(Problem("open", str(error)))
    return found


def _read(
    source: TarSource, listed: ListedShard, found: Verified, builder: TableBuilder, *, decode: bool, hashes: bool
) -> None:
    """Go through a shard: by its headers, unless all of it is to be decoded or hashed."""
    hashed = hashes and listed.has_hash
    stream = _opened(source, listed, hashed=hashed) if decode or hashed else open_whole(source.shard_opener, listed.url)
    with stream as opened:
        walk = Walk(opened, url=listed.url, keys=source.keys, missing_end=source.missing_end, read=decode)
        try:
            _walk(walk, found, builder, default_decoders("rgb8") if decode else None)
            found.hashed = hashed
        except TarFormatError as error:
            found.add(Problem.of("structure", error))
        except OpenError as error:
            differs = isinstance(opened, VerifyingReader) and opened.failure is error
            found.add(Problem.of("contents" if differs else "open", error))
        finally:
            found.passed_over = walk.passed_over


def _opened(source: TarSource, listed: ListedShard, *, hashed: bool) -> AbstractContextManager[Readable]:
    stream = source.shard_opener.open(listed.url)
    md5, sha256 = (listed.md5, listed.sha256) if hashed else (None, None)
    verifying = VerifyingReader(stream, size=listed.size, md5=md5, sha256=sha256, url=listed.url)
    return cast("AbstractContextManager[Readable]", verifying)


def _walk(walk: Walk, found: Verified, builder: TableBuilder, decoders: Mapping[str, Decoder[Any]] | None) -> None:
    check = Check()
    for group in walk:
        found.members += len(group.members)
        size = group.size
        found.bytes += size
        report(size + _HEADER * len(group.members))
        fault = check(group)
        if fault is not None:
            found.add(Problem("sample", fault.text, fault.key, fault.field, fault.offset))
            continue
        found.samples += 1
        for entry in group.members:
            builder.add(entry.name, entry.field, entry.offset, entry.size)
        builder.end_sample()
        if decoders is not None:
            for problem in undecodable(group, decoders, found.undecoded):
                found.add(problem)


def undecodable(group: Group, decoders: Mapping[str, Decoder[Any]], undecoded: dict[str, str]) -> Generator[Problem]:
    """Yield what of a sample cannot be decoded.

    Args:
        group: the sample, with its data.
        decoders: extension → decoder.
        undecoded: to which is added, field → reason, what was not tried.
    """
    for entry in group.members:
        decoder = by_extension(decoders, entry.field)
        if decoder is None:
            undecoded.setdefault(entry.field, "no decoder is known for it")
            continue
        try:
            decoder.decode(entry.data or b"", entry.field)
        except (UntrustedDataError, MissingExtraError) as error:
            undecoded.setdefault(entry.field, error.message)
        except Exception as error:  # any other than a DecodeError is a decoder's fault, and worth knowing
            text = error.message if isinstance(error, WebdsError) else f"{type(error).__name__}: {error}"
            yield Problem("decode", text, group.key, entry.field, entry.offset)


def _compare_index(source: TarSource, listed: ListedShard, found: Verified, builder: TableBuilder) -> None:
    """Compare what was found with the count in the manifest, and with the member table, if there is one."""
    if listed.samples is not None and listed.samples != found.samples:
        found.add(Problem("index", f"its manifest says {listed.samples} samples, and there are {found.samples}"))
        return
    try:
        table = Tables(source).stored(listed.url)
    except StaleIndexError as error:
        found.add(Problem.of("index", error))
        return
    found.indexed = table is not None
    if table is not None and not table.same(builder.table()):
        found.add(Problem("index", "its index tells of other members than there are: webds index --rebuild mends it"))

"""What tools read: the samples of shards, as they are stored."""

from __future__ import annotations

import fnmatch
import os
import secrets
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, final

import attrs

from webds.abc import Opener
from webds.errors import OpenError, WriteError, annotate
from webds.openers.schemes import OpenerLike, as_opener, default_opener
from webds.sources.tar import TarSource, Urls
from webds.tar import MissingEnd, ReadStats
from webds.tools.engine import Engine, SerialEngine, engine_of, report
from webds.tools.functions import identity_of
from webds.typing import UNREAD, Sample
from webds.urls import local_path, scheme_of

__all__ = [
    "Passed",
    "Selection",
    "Wanted",
    "check_names",
    "engine_for",
    "identity",
    "measured",
    "opener_of",
    "samples_of",
    "source_of",
    "total_size",
    "weight",
]

_COMPRESSED: Final = (".gz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz", ".zst", ".tzst")
_AT_ONCE: Final = 16
_BLOCK: Final = 512


def opener_of(opener: OpenerLike | None) -> Opener:
    """Return what opens URLs: ``opener``, or the default."""
    return default_opener() if opener is None else as_opener(opener)


def source_of(urls: Urls, opener: OpenerLike | None = None, missing_end: MissingEnd = "error") -> TarSource:
    """Return the shards that ``urls`` stands for; arguments and errors as for `webds.DatasetBuilder`."""
    source = TarSource(urls, opener_of(opener), missing_end=missing_end)
    source.shards()
    return source


def engine_for(shards: Sequence[str], engine: Engine | None, jobs: int) -> Engine:
    """Return what does the work: this process, where a shard comes from standard input, which other processes lack."""
    if "-" in shards:
        return SerialEngine()
    return engine_of(jobs) if engine is None else engine


def measured(source: TarSource) -> list[int | None]:
    """Return the bytes of each shard as it is stored; None where they are not known beforehand."""
    urls = source.shards()
    if all(local_path(url) is not None for url in urls):
        return [_local_size(url) for url in urls]
    with ThreadPoolExecutor(_AT_ONCE, "webds-sizes") as pool:
        return list(pool.map(lambda url: _size(source, url), urls))


def _size(source: TarSource, url: str) -> int | None:
    if local_path(url) is not None:
        return _local_size(url)
    listed = source.listed(url).size
    if listed is not None or scheme_of(url) in ("-", "pipe"):
        return listed
    try:
        return source.shard_opener.size(url)
    except OpenError:
        return None  # it is said when the shard is opened


def _local_size(url: str) -> int | None:
    path = local_path(url)
    return os.stat(path).st_size if path is not None and os.path.isfile(path) else None


def identity(source: TarSource, sizes: Sequence[int | None]) -> list[Any]:
    """Return, for JSON, what tells the shards of a source from others, and from what they were before a change."""
    found: list[Any] = []
    for url, size in zip(source.shards(), sizes, strict=True):
        path, listed = local_path(url), source.listed(url)
        if path is not None and os.path.isfile(path):
            found.append([os.path.abspath(path), size, os.stat(path).st_mtime_ns])
        elif scheme_of(url) in ("-", "pipe"):
            found.append([url, secrets.token_hex(8)])  # nobody knows what comes out of it the next time
        else:
            found.append([url, size, listed.md5, listed.sha256])
    return found


def total_size(source: TarSource, sizes: Sequence[int | None]) -> int | None:
    """Return the bytes of the archives of all shards; None where they are not known before they are read."""
    known = [size for size in sizes if size is not None]
    packed = any(url.lower().endswith((".tgz", *_COMPRESSED)) for url in source.shards())
    return None if packed or len(known) < len(sizes) else sum(known)


def weight(sample: Sample) -> int:
    """Return the bytes that a sample takes in an archive, as far as its values are bytes."""
    return sum(_BLOCK + len(value) + -len(value) % _BLOCK for value in sample.values() if isinstance(value, bytes))


@final
@attrs.define
class Passed:
    """What was read and is not part of the result.

    Attributes:
        members: number of members that belong to no sample; metadata (see `webds.tar.is_metadata`) left aside.
        examples: names of the first of them.
        samples: number of samples that were not selected.
    """

    members: int = 0
    examples: list[str] = attrs.field(factory=list)
    samples: int = 0

    def add(self, other: Passed) -> None:
        """Add what was counted elsewhere."""
        self.members += other.members
        self.examples = (self.examples + other.examples)[:10]
        self.samples += other.samples

    def note(self, stats: ReadStats) -> None:
        """Add what the reading of a shard has passed over."""
        self.add(Passed(stats.passed_over, stats.examples))


@final
@attrs.frozen(kw_only=True)
class Selection:
    """Which samples, and which of their fields, are taken.

    Attributes:
        fields: the fields that are kept; None for all. A sample that has none of them is left out.
        without: fields that are not kept.
        where: called with each sample, its values the bytes of the shard: whether it is taken. It sees what is kept.
    """

    fields: Collection[str] | None = None
    without: Collection[str] = ()
    where: Callable[[Sample], object] | None = None

    def take(self, sample: Sample) -> Sample | None:
        """Return what is kept of a sample; None if it is not taken."""
        if self.fields is not None or self.without:
            sample = {name: value for name, value in sample.items() if self._keeps(name, value)}
            if len(sample) <= 1:
                return None
        return sample if self.where is None or self.where(sample) else None

    def _keeps(self, name: str, value: object) -> bool:
        return name == "__key__" or (value is not UNREAD and name not in self.without)


@final
@attrs.frozen(kw_only=True)
class Wanted:
    """A predicate of samples, for the ``where`` of a `Selection`: all that is given has to be true.

    Attributes:
        match: a pattern of the shell for the key; ``*`` stands for slashes, too.
        keys: the keys that are wanted.
        function: called with the sample.
    """

    match: str | None = None
    keys: frozenset[str] | None = None
    function: Callable[[Sample], object] | None = None

    def __call__(self, sample: Sample) -> bool:
        """Return whether a sample is wanted."""
        key: str = sample["__key__"]
        return (
            (self.match is None or fnmatch.fnmatchcase(key, self.match))
            and (self.keys is None or key in self.keys)
            and (self.function is None or bool(self.function(sample)))
        )

    def identity(self) -> str:
        """Return what tells this from other predicates; see `webds.tools.functions.identity_of`."""
        keys = None if self.keys is None else sorted(self.keys)
        return repr([self.match, keys, identity_of(self.function)])


def samples_of(
    source: TarSource, shard: str, passed: Passed, selection: Selection | None = None
) -> Generator[tuple[int, Sample]]:
    """Yield ordinal and sample of all that is taken of a shard, its values as they are stored; `report` the bytes.

    Raises:
        WebdsError: the shard cannot be read; see `webds.TarSource`.
        WriteError: a field whose name no writer stores.
        Exception: what ``where`` raised, with a note of where.
    """
    stats = ReadStats()
    fields = None if selection is None else selection.fields
    samples = source.read_on(shard, None if fields is None else set(fields), stats=stats)
    try:
        for ordinal, sample in enumerate(samples):
            report(weight(sample))
            taken = _taken(sample, shard, selection)
            if taken is None:
                passed.samples += 1
            else:
                check_names(taken, shard)
                yield ordinal, taken
    finally:
        samples.close()
        passed.note(stats)


def _taken(sample: Sample, shard: str, selection: Selection | None) -> Sample | None:
    if selection is None:
        return sample
    try:
        return selection.take(sample)
    except Exception as error:
        annotate(error, url=shard, key=sample["__key__"], stage="where")
        raise


def check_names(sample: Mapping[str, Any], url: str) -> None:
    """Raise an error if a writer would leave out a field of ``sample`` without a word."""
    for name in sample:
        if name[:2] == "__" and name[-2:] == "__" and name != "__key__":
            raise WriteError(
                f"the field {name!r} cannot be written: names of this form are kept for what webds itself says",
                url=url,
                key=sample["__key__"],
                field=name,
                stage="write",
            )

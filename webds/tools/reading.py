"""What tools read: the samples of shards, as they are stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import Any, Final, final

import attrs

from webds.abc import Opener
from webds.errors import WriteError, annotate
from webds.openers.schemes import OpenerLike, as_opener, default_opener
from webds.sources.tar import TarSource, Urls
from webds.tar import MissingEnd, ReadStats
from webds.tools.engine import Engine, SerialEngine, engine_of, report
from webds.typing import UNREAD, Sample
from webds.urls import local_path

__all__ = [
    "Passed",
    "Selection",
    "engine_for",
    "identity",
    "opener_of",
    "samples_of",
    "source_of",
    "total_size",
    "weight",
]

_COMPRESSED: Final = ("gz", "bz2", "xz", "zst")
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


def identity(source: TarSource) -> list[Any]:
    """Return, for JSON, what tells the shards of a source from others, and from what they were before a change."""
    found: list[Any] = []
    for url in source.shards():
        path, listed = local_path(url), source.listed(url)
        status = os.stat(path) if path is not None and os.path.isfile(path) else None
        if status is None:
            found.append([url, listed.size, listed.md5, listed.sha256])
        else:
            found.append([os.path.abspath(path or ""), status.st_size, status.st_mtime_ns])
    return found


def total_size(source: TarSource) -> int | None:
    """Return the bytes of all shards; None where they are not known at once, or say nothing of what will be read."""
    total = 0
    for url in source.shards():
        path = local_path(url)
        size = os.stat(path).st_size if path is not None and os.path.isfile(path) else source.listed(url).size
        if size is None or url.lower().endswith((".tgz", *_COMPRESSED)):
            return None
        total += size
    return total


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

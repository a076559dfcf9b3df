"""How fast a data set is read, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, final

import attrs

from webds.datasets.builder import DatasetBuilder
from webds.datasets.loader import Loader
from webds.datasets.stats import Stats
from webds.sources.tar import Urls
from webds.tar import MissingEnd
from webds.tools.progress import NoProgress, Progress

__all__ = ["Bench", "Measured", "bench"]


@final
@attrs.frozen(kw_only=True)
class Bench:
    """What is measured.

    Attributes:
        decode: image specification to decode to, such as ``"rgb8"``; None for bytes as they are stored.
        fields: fields that are read; none for all.
        size: height and width that images are brought to.
        shuffle: samples in the shuffle buffer; 0 for none.
        batch: samples in a batch; 0 for single samples. They are put together by the default collation.
        workers: DataLoader workers; 0 for this process.
        threads: threads that decode, in each.
        seconds: how long, at most, not counting the start of workers.
        samples: how many samples, at most; None for one epoch.
        epochs: how often the data set is read.
        skip: whether what cannot be read or decoded is left out.
    """

    decode: str | None = None
    fields: Sequence[str] = ()
    size: tuple[int, int] | None = None
    shuffle: int = 0
    batch: int = 0
    workers: int = 0
    threads: int = 0
    seconds: float = 10.0
    samples: int | None = None
    epochs: int = 1
    skip: bool = False

    def builder(self, urls: Urls, *, missing_end: MissingEnd = "error") -> DatasetBuilder[Any]:
        """Return the data set that is measured."""
        builder: DatasetBuilder[Any] = DatasetBuilder(urls, missing_end=missing_end).measure()
        if self.skip:
            builder = builder.on_error("skip")
        if self.epochs > 1:
            builder = builder.repeat(self.epochs)
        if self.shuffle:
            builder = builder.shuffle(self.shuffle)
        if self.fields:
            builder = builder.select(*self.fields)
        if self.decode is not None:
            builder = builder.decode(self.decode, threads=self.threads, size=self.size)
        return builder.batch(self.batch) if self.batch else builder


@final
@attrs.frozen
class Measured:
    """What came of it.

    Attributes:
        samples: how many came out.
        values: how many values: batches, or samples.
        first: seconds until the first of them, with the start of workers and the opening of a shard.
        seconds: from the start until the last of them.
        stats: what the data set itself has to tell.
        whole: whether all of it was read.
    """

    samples: int
    values: int
    first: float
    seconds: float
    stats: Stats
    whole: bool

    @property
    def rate(self) -> float:
        """Samples a second, from the first value on."""
        later = self.seconds - self.first
        return (self.samples - self.samples / self.values) / later if self.values > 1 and later > 0 else 0.0

    @property
    def bytes_rate(self) -> float:
        """Bytes a second that were read for these."""
        return self.stats.bytes_read / self.seconds if self.seconds else 0.0


def bench(urls: Urls, what: Bench, *, missing_end: MissingEnd = "error", progress: Progress | None = None) -> Measured:
    """Read a data set as training would, and note where the time goes.

    Args:
        urls: the shards.
        what: is done with them, and for how long.
        missing_end: see `webds.DatasetBuilder`.
        progress: is told how many samples have come.

    Raises:
        WebdsError: what the data set raises.
    """
    progress = progress or NoProgress()
    dataset = what.builder(urls, missing_end=missing_end).build()
    progress.begin("bench", what.samples, "samples")
    samples = values = 0
    first = last = 0.0
    whole = True
    start = time.perf_counter()
    iterator = iter(Loader(dataset, num_workers=what.workers))
    for value in iterator:
        last = time.perf_counter() - start
        first = first or last
        count = _samples_in(value) if what.batch else 1
        samples += count
        values += 1
        progress.advance(count)
        if last >= first + what.seconds or (what.samples is not None and samples >= what.samples):
            whole = False
            break
    del iterator  # its workers end, and hand on what they have counted
    return Measured(samples, values, first, last, dataset.stats(), whole)


def _samples_in(batch: dict[str, Any]) -> int:
    return len(batch["__key__"])

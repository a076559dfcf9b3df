"""The table: what is measured, who takes part, and how much faster webds is to be."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, final

import attrs

from tests.benchmarks.contest import Contestant, MemoryOfReader, Reader
from tests.benchmarks.contestants import access, cloud, decode, imports, indexed, loader, raw, tenbin, write

__all__ = ["ROWS", "Level", "Limit", "Ratio", "Row", "Target", "row_named"]

Level: TypeAlias = Literal["at least", "beyond"]
"""What must be reached, and what is hoped for."""


@final
@attrs.frozen
class Ratio:
    """The subject is to need so many times less than the peer.

    Attributes:
        text: what is asked for, in words.
        peer: name of the other contestant.
        least: the smallest good ratio of the peer's quantity to the subject's.
        level: how much it is wanted.
        subject: name of the contestant that is to be better.
        quantity: of what: ``seconds`` (per sample) or another fact.
    """

    text: str
    peer: str
    least: float
    level: Level = "at least"
    subject: str = "webds"
    quantity: str = "seconds"


@final
@attrs.frozen
class Limit:
    """The subject is to need no more than this.

    Attributes:
        text: what is asked for, in words.
        most: the largest good value, in seconds or bytes.
        quantity: of what.
        level: how much it is wanted.
        subject: name of the contestant.
    """

    text: str
    most: float
    quantity: str
    level: Level = "at least"
    subject: str = "webds"


Target: TypeAlias = Ratio | Limit


@final
@attrs.frozen
class Row:
    """One kind of work.

    Attributes:
        name: for ``--only``.
        work: what is done, in words.
        data: which of the kinds of data it is done on.
        contestants: who does it; the first one is what the others are compared with.
        targets: what is to be reached.
        quantity: which fact the report shows: ``seconds``, which are per sample, or another.
    """

    name: str
    work: str
    data: str
    contestants: tuple[Contestant, ...]
    targets: tuple[Target, ...]
    quantity: str = "seconds"


def _memory(*readers: Reader) -> tuple[MemoryOfReader, ...]:
    return tuple(MemoryOfReader(reader.name, reader, needs=reader.needs) for reader in readers)


_GZ = (
    attrs.evolve(raw.webds, hides=("isal",)),
    attrs.evolve(raw.webds, name="webds with isal", needs=("isal",), uses=("isal",)),
)

ROWS: Final = (
    Row(
        "raw-tiny",
        "raw samples, 100 B text + class, local tar",
        "tiny",
        (raw.webds, raw.webdataset, raw.dali, raw.spdl, raw.datasets, raw.read2),
        (
            Ratio("15x webdataset", "webdataset", 15),
            Ratio("2x DALI", "DALI", 2),
            Ratio("22x webdataset", "webdataset", 22, "beyond"),
        ),
    ),
    Row(
        "raw-10k",
        "raw samples, 10 KB + class, local tar",
        "medium",
        (raw.webds, raw.webdataset, raw.dali, raw.spdl, raw.datasets, raw.read2, raw.read2_one_buffer),
        (
            Ratio("9x webdataset", "webdataset", 9),
            Ratio("half the speed of read(2)", "read(2)", 0.5, "beyond"),
        ),
    ),
    Row(
        "raw-photos",
        "raw samples, 50 KB jpg + class + json, local tar",
        "photos",
        (raw.webds, raw.webdataset, raw.dali, raw.spdl, raw.read2, raw.read2_one_buffer),
        (
            Ratio("7x webdataset", "webdataset", 7),
            Ratio("0.8 of the speed of read(2)", "read(2)", 0.8, "beyond"),
        ),
    ),
    Row(
        "raw-photos-gz",
        "the same, gzip'd",
        "photos-gz",
        (*_GZ, raw.webdataset, raw.zlib_alone, raw.isal_alone),
        (
            Ratio("with zlib, 1.1x webdataset", "webdataset", 1.1),
            Ratio("with `fast`, 2x webdataset", "webdataset", 2, subject="webds with isal"),
        ),
    ),
    Row(
        "labels",
        "class labels only, out of 50 KB photo shards",
        "photos",
        (raw.labels_webds, raw.labels_webdataset, raw.labels_webdataset_selecting),
        (
            Ratio("20x webdataset", "webdataset", 20),
            Ratio("25x webdataset", "webdataset", 25, "beyond"),
        ),
    ),
    Row(
        "indexed-10k",
        "raw samples, 10 KB + class: by an index, as streams, and shuffled in windows of 2 shards",
        "medium",
        indexed.READ,
        (
            Ratio("at most 1.15x as long as streaming", "webds, streaming", 1 / 1.15, subject="webds, indexed"),
            Ratio("windows: 0.6 of the speed in order", "webds, indexed", 0.6, subject="webds, windows of 2 shards"),
        ),
    ),
    Row(
        "indexed-photos",
        "raw samples, 50 KB jpg + class + json: by an index, as streams, and shuffled in windows of 2 shards",
        "photos",
        indexed.READ,
        (
            Ratio("at most 1.15x as long as streaming", "webds, streaming", 1 / 1.15, subject="webds, indexed"),
            Ratio("windows: 0.6 of the speed in order", "webds, indexed", 0.6, subject="webds, windows of 2 shards"),
        ),
    ),
    Row(
        "resume",
        "going on in the middle of the last of 1,000 shards, which has 15,000 samples, until the first is there",
        "thousand",
        indexed.RESUME,
        (
            Limit("50 ms", 0.05, "seconds"),
            Limit("a state of less than 4 KB", 4000, "bytes"),
            Ratio("100x reading what was before", "webdataset, reading what was before", 100, "beyond"),
        ),
    ),
    Row(
        "raw-http",
        "raw samples, 50 KB jpg + class + json, from a web server on this machine",
        "photos",
        access.HTTP,
        (Ratio("0.85 of the speed of a bare urllib3 loop", "urllib3", 0.85),),
    ),
    Row(
        "raw-s3",
        "raw samples, 50 KB jpg + class + json, from moto's S3 server",
        "photos",
        (cloud.webds, cloud.obstore),
        (Ratio("0.85 of the speed of obstore's stream", "obstore's stream", 0.85),),
    ),
    Row(
        "cache",
        "raw samples, 10 KB + class, out of a cache",
        "medium",
        access.CACHE,
        (
            Ratio(
                "what a local file costs, within 5 %",
                "webds, the local file",
                0.95,
                subject="webds, a copy in the cache",
            ),
        ),
    ),
    Row(
        "prefetch",
        "raw samples, 10 KB + class, 8 shards from a server that takes 50 ms to answer",
        "medium",
        access.LATENCY,
        (Ratio("quicker than in turn", "webds, nothing ahead", 1.1, "beyond", subject="webds, 2 shards ahead"),),
    ),
    Row(
        "measured",
        "100 B text + class through four stages that do nothing, not measured and measured",
        "tiny",
        (raw.webds_stages, raw.webds_measuring),
        (Ratio("0.3 of the speed of not measuring", "webds", 0.3, subject="webds, measuring"),),
    ),
    Row(
        "decode-pillow",
        "decode rgb8, 500x375 jpg, Pillow only",
        "decode",
        decode.PILLOW_ONLY,
        (
            Ratio("1.1x webdataset", "webdataset", 1.1),
            Ratio("1.25x webdataset", "webdataset", 1.25, "beyond"),
        ),
    ),
    Row(
        "decode-fast",
        "decode rgb8, 500x375 jpg, with `fast`",
        "decode",
        decode.FAST,
        (
            Ratio("1.85x webdataset", "webdataset", 1.85),
            Ratio("within 8 % of simplejpeg alone", "simplejpeg alone", 1 / 1.08),
            Ratio("two threads: 1.9x one", "webds", 1.9, "beyond", subject="webds, 2 threads"),
        ),
    ),
    Row(
        "decode-scaled",
        "2000x1500 jpg to 224 pixels",
        "large",
        decode.SCALED,
        (Ratio("3x decoding whole, then resizing", "webds, whole, then resized", 3, subject="webds, size=224"),),
    ),
    Row(
        "loader",
        "DataLoader, 2 workers: decode, resize, batch 64",
        "loader",
        loader.LOADER,
        (Ratio("1.6x webdataset", "webdataset", 1.6, subject="webds, size=224"),),
    ),
    Row(
        "write-10k",
        "write 10 KB samples",
        "medium",
        write.WRITE,
        (
            Ratio("5x webdataset", "webdataset", 5),
            Ratio("within 1.5x of writing 1 MiB blocks", "1 MiB blocks", 1 / 1.5, "beyond"),
        ),
    ),
    Row(
        "write-tiny",
        "write tiny samples",
        "tiny",
        write.WRITE,
        (Ratio("15x webdataset", "webdataset", 15),),
    ),
    Row(
        "tenbin-decode",
        "tenbin decode, 16 arrays of 600 KB",
        "tiny",
        tenbin.DECODE,
        (
            Ratio("10x copying the buffer", "copying the buffer", 10),
            # What is there to do does not depend on the size; but larger arrays are farther apart in memory.
            Ratio("constant time: 10x the bytes, at most 1.5x as long", "webds, arrays of 60 KB", 1 / 1.5),
        ),
    ),
    Row(
        "tenbin-encode",
        "tenbin encode, 16 arrays of 600 KB",
        "tiny",
        tenbin.ENCODE,
        (
            Ratio("1.8x webdataset", "webdataset", 1.8),
            Ratio("one memory copy, within 5 %", "copying the buffer", 0.95, "beyond"),
        ),
    ),
    Row(
        "memory",
        "peak memory of reading 100,000 raw samples of one shard",
        "many",
        _memory(raw.webds, raw.webdataset, raw.dali, raw.spdl),
        (
            Limit("flat: 2 MiB more from the first 10,000 to the end", 2 << 20, "growth"),
            Ratio("below webdataset", "webdataset", 1, quantity="peak"),
        ),
        quantity="peak",
    ),
    Row(
        "import",
        "import webds",
        "tiny",
        imports.IMPORTS,
        (
            Limit("0.1 s", 0.1, "seconds"),
            Limit("no torch", 0, "torch"),
        ),
    ),
)


def row_named(name: str) -> Row:
    """Return the row of that name."""
    (row,) = (row for row in ROWS if row.name == name)
    return row

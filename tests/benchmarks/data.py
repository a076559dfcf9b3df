"""The benchmarks' data: shards that are always alike, made when they are first needed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Final, final

import attrs

from tests.benchmarks.contest import Job
from tests.benchmarks.photos import large_jpeg, photo_jpeg, sources

__all__ = ["KINDS", "Kind", "provide", "read_through"]

_RECIPE: Final = 1
"""To be increased by whoever changes what is made: data of an older recipe are made anew."""

_LETTERS: Final = bytes(97 + value % 26 if value % 6 else 32 for value in range(256))
_WARM: Final = 16


def _noise(name: str, number: int, length: int) -> bytes:
    return hashlib.shake_128(f"{name} {number}".encode()).digest(length)


def _label(number: int) -> bytes:
    return b"%d" % (number * 7919 % 1000)


def _tiny(number: int) -> dict[str, bytes]:
    return {"cls": _label(number), "txt": _noise("text", number, 100).translate(_LETTERS)}


def _medium(number: int) -> dict[str, bytes]:
    return {"bin": _noise("bytes", number, 10_000), "cls": _label(number)}


def _photo(number: int) -> dict[str, bytes]:
    about = {
        "number": number,
        "width": 500,
        "height": 375,
        "caption": _noise("caption", number, 100).translate(_LETTERS).decode(),
        "box": [number % 100, number % 77, 300, 200],
    }
    return {"cls": _label(number), "jpg": photo_jpeg(number), "json": json.dumps(about).encode()}


def _large(number: int) -> dict[str, bytes]:
    return {"cls": _label(number), "jpg": large_jpeg(number)}


@final
@attrs.frozen
class Kind:
    """One kind of shards.

    Attributes:
        shards: how many.
        samples: in each, at scale 1.
        make: number of a sample → its fields.
        gzipped: whether the shards are.
        least: how many samples a shard has at any scale.
        last: how many the last shard has, at scale 1; None for as many as the others.
        fewest: how many shards there are at any scale; None for as many at all scales.
    """

    shards: int
    samples: int
    make: Callable[[int], Mapping[str, bytes]]
    gzipped: bool = False
    least: int = 4
    last: int | None = None
    fewest: int | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "tiny": Kind(2, 20_000, _tiny, least=64),
    "medium": Kind(2, 10_000, _medium, least=16),
    "photos": Kind(2, 2_000, _photo),
    "photos-gz": Kind(1, 1_500, _photo, gzipped=True),
    "decode": Kind(1, 800, _photo),
    "large": Kind(1, 64, _large),
    "loader": Kind(4, 320, _photo),
    "many": Kind(1, 100_000, _tiny, least=1000),
    "thousand": Kind(1000, 100, _tiny, least=1, last=15_000, fewest=8),
}


def _write(path: str, index: str, name: str, kind: Kind, numbers: range) -> None:
    """Write a shard by the standard library, and its member table in the format of DALI's index files."""
    rows: list[str] = []
    with gzip.GzipFile(path, "wb", mtime=0) if kind.gzipped else open(path, "wb") as stream:
        offset = 0
        for number in numbers:
            row: list[str] = []
            for field, data in sorted(kind.make(number).items()):
                info = tarfile.TarInfo(f"{name}/{number:07d}.{field}")
                info.size, info.mode = len(data), 0o444
                info.uname = info.gname = "bigdata"
                block = info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
                row.append(f"{field} {offset + 512} {len(data)} {info.name}")
                stream.write(block)
                offset += len(block)
            rows.append(" ".join(row))
        stream.write(bytes(1024 + -(offset + 1024) % tarfile.RECORDSIZE))
    with open(index, "w", encoding="ascii") as table:
        table.write("\n".join([f"v1.2 {len(rows)}", *rows, ""]))


def _jobs(folder: str, name: str, kind: Kind, per_shard: int, last: int, scratch: str) -> Iterator[tuple[Job, range]]:
    """Yield one job for each shard, the one to warm up with first; with the numbers of its samples."""
    suffix = ".tar.gz" if kind.gzipped else ".tar"
    fields = tuple(sorted(kind.make(0)))
    for shard in range(-1, kind.shards):
        first, count = (0, min(_WARM, per_shard)) if shard < 0 else (shard * per_shard, per_shard)
        count = last if shard == kind.shards - 1 else count
        stem = "warm" if shard < 0 else f"{name}-{shard:06d}"
        path = os.path.join(folder, stem + suffix)
        # Not beside the shard: there, webds would find it as well, and others do without.
        index = os.path.join(folder, "index", stem + ".idx")
        yield Job((path,), (index,), fields, count, scratch), range(first, first + count)


def provide(folder: str, name: str, scale: float) -> tuple[Job, Job]:
    """Return the job to warm up with, and that to be measured; the shards are made unless they are there.

    Args:
        folder: where the data are kept.
        name: the kind, one of `KINDS`.
        scale: how many samples, relative to the usual number.
    """
    kind = KINDS[name]
    per_shard = max(kind.least, round(kind.samples * scale))
    if kind.fewest is not None:
        kind = attrs.evolve(kind, shards=max(kind.fewest, round(kind.shards * scale)))
    scratch = os.path.join(folder, "written")
    os.makedirs(scratch, exist_ok=True)
    home = os.path.join(folder, f"{name}-{per_shard}")
    last = per_shard if kind.last is None else max(kind.least, round(kind.last * scale))
    jobs = list(_jobs(home, name, kind, per_shard, last, scratch))
    mark = os.path.join(home, "made.json")
    made = {"recipe": _RECIPE, "photographs": [os.path.basename(path) for path in sources()]}
    if not _holds(mark, made):
        shutil.rmtree(home, ignore_errors=True)
        os.makedirs(os.path.join(home, "index"))
        for job, numbers in jobs:
            _write(job.shards[0], job.indexes[0], name, kind, numbers)
        with open(mark, "w", encoding="utf-8") as stream:
            json.dump(made, stream)
    (warm, _), *rest = jobs
    whole = Job(
        tuple(job.shards[0] for job, _ in rest),
        tuple(job.indexes[0] for job, _ in rest),
        warm.fields,
        sum(job.samples for job, _ in rest),
        scratch,
    )
    return warm, whole


def _holds(path: str, value: object) -> bool:
    try:
        with open(path, encoding="utf-8") as stream:
            return bool(json.load(stream) == value)
    except (OSError, ValueError):
        return False


def read_through(job: Job) -> None:
    """Bring the shards into the page cache."""
    for path in job.shards:
        with open(path, "rb", buffering=0) as stream:
            while stream.read(1 << 20):
                pass

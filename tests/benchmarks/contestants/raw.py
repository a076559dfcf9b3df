"""Samples as they are stored: every field as bytes, or whatever the peer has instead of bytes."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.benchmarks.contest import Contents, Job, Reader, Task, peer

__all__ = [
    "dali",
    "dali_batch",
    "datasets",
    "isal_alone",
    "labels_webdataset",
    "labels_webdataset_selecting",
    "labels_webds",
    "read2",
    "read2_one_buffer",
    "spdl",
    "webdataset",
    "webds",
    "webds_measuring",
    "webds_stages",
    "zlib_alone",
]


def _fields(sample: Any) -> Contents:
    """Return the fields of a sample that is a dict: all but those that tell where it came from."""
    return [sample[field] for field in sorted(sample) if not field.startswith("__")]


def _open_webds(job: Job) -> Iterable[Any]:
    import webds

    return webds.DatasetBuilder(list(job.shards)).build()


def _open_stages(job: Job, *, measured: bool = False) -> Iterable[Any]:
    """Four stages that do almost nothing, so that what counts is what is done around them."""
    import webds

    builder = webds.DatasetBuilder(list(job.shards)).filter(bool).map(dict).filter(bool).map(dict)
    return (builder.measure() if measured else builder).build()


def _open_webdataset(job: Job) -> Iterable[Any]:
    wds = peer("webdataset")
    dataset: Iterable[Any] = wds.WebDataset(list(job.shards), shardshuffle=False)
    return dataset


def dali_batch(job: Job) -> int:
    """Return a size of batches that is large, but lets what is read ahead in vain at the end be little."""
    return max(8, min(256, job.samples // 100))


def _open_dali(job: Job) -> Iterable[Any]:
    """Each member as a numpy array. The pipeline is built beforehand, so that reading its index is not measured."""
    fn, dali = peer("nvidia.dali.fn"), peer("nvidia.dali")
    batch = dali_batch(job)
    # Two threads are slower than one where there is nothing to decode.
    pipeline = dali.Pipeline(batch_size=batch, num_threads=1, device_id=None)
    with pipeline:
        pipeline.set_outputs(
            *fn.readers.webdataset(
                paths=list(job.shards),
                index_paths=list(job.indexes),
                ext=list(job.fields),
                missing_component_behavior="error",
            )
        )
    pipeline.build()

    def samples() -> Iterator[tuple[Any, ...]]:
        for start in range(0, job.samples, batch):
            outputs = pipeline.run()
            for i in range(min(batch, job.samples - start)):
                yield tuple([output.at(i) for output in outputs])

    return samples()


def _open_datasets(job: Job) -> Iterable[Any]:
    """Text and labels come decoded: its reader offers nothing else."""
    dataset: Iterable[Any] = peer("datasets").load_dataset(
        "webdataset", data_files={"train": list(job.shards)}, split="train", streaming=True
    )
    return dataset


def _contents_of_datasets(sample: Any) -> Contents:
    values = [sample[field] for field in sorted(sample) if not field.startswith("__")]
    return [value if isinstance(value, bytes) else str(value).encode() for value in values]


def _open_spdl(job: Job) -> Iterable[Any]:
    """It knows members, not samples: as many as a sample has are put together, without a look at their names."""
    io = peer("spdl.io")

    def samples() -> Iterator[tuple[Any, ...]]:
        for path in job.shards:
            with open(path, "rb") as stream:
                members = io.iter_tarfile(stream)
                yield from zip(*[members] * len(job.fields), strict=False)

    return samples()


def _read(job: Job) -> Callable[[], int]:
    def run() -> int:
        for path in job.shards:
            file = os.open(path, os.O_RDONLY)
            while os.read(file, 1 << 20):
                pass
            os.close(file)
        return job.samples

    return run


def _read_into(job: Job) -> Callable[[], int]:
    buffer = [bytearray(1 << 20)]

    def run() -> int:
        for path in job.shards:
            file = os.open(path, os.O_RDONLY)
            while os.readv(file, buffer):
                pass
            os.close(file)
        return job.samples

    return run


def _inflate(module: str) -> Callable[[Job], Callable[[], int]]:
    def prepare(job: Job) -> Callable[[], int]:
        decompressobj = peer(module).decompressobj

        def run() -> int:
            for path in job.shards:
                inflater = decompressobj(wbits=31)
                with open(path, "rb", buffering=0) as stream:
                    while piece := stream.read(1 << 18):
                        inflater.decompress(piece)
            return job.samples

        return run

    return prepare


def _labels_webds(job: Job) -> Iterable[Any]:
    import webds

    return webds.DatasetBuilder(list(job.shards)).to_tuple("cls").build()


def _labels_webdataset(job: Job) -> Iterable[Any]:
    dataset: Iterable[Any] = peer("webdataset").WebDataset(list(job.shards), shardshuffle=False).to_tuple("cls")
    return dataset


def _labels_webdataset_selecting(job: Job) -> Iterable[Any]:
    dataset: Iterable[Any] = (
        peer("webdataset")
        .WebDataset(list(job.shards), shardshuffle=False, select_files=lambda name: name.endswith(".cls"))
        .to_tuple("cls")
    )
    return dataset


webds = Reader("webds", _open_webds, _fields)
webds_stages = Reader("webds", _open_stages, _fields)
webds_measuring = Reader("webds, measuring", functools.partial(_open_stages, measured=True), _fields)
webdataset = Reader("webdataset", _open_webdataset, _fields, needs=("webdataset",))
dali = Reader("DALI", _open_dali, lambda sample: [memoryview(value) for value in sample], needs=("nvidia.dali",))
datasets = Reader("datasets", _open_datasets, _contents_of_datasets, needs=("datasets",))
spdl = Reader("SPDL, members only", _open_spdl, lambda pairs: [data for _, data in pairs], needs=("spdl.io",))
read2 = Task("read(2)", _read)
zlib_alone = Task("zlib alone", _inflate("zlib"))
isal_alone = Task("isal alone", _inflate("isal.isal_zlib"), needs=("isal",))
read2_one_buffer = Task("read(2) into one buffer", _read_into)
labels_webds = Reader("webds", _labels_webds, lambda sample: sample)
labels_webdataset = Reader("webdataset", _labels_webdataset, lambda sample: sample, needs=("webdataset",))
labels_webdataset_selecting = Reader(
    "webdataset, select_files", _labels_webdataset_selecting, lambda sample: sample, needs=("webdataset",)
)

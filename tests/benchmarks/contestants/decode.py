"""Photographs decoded: arrays of shape (height, width, 3), uint8, and a label beside each."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.benchmarks.contest import Contents, Job, Reader, Task, only_if_accepted, peer
from tests.benchmarks.contestants.raw import dali_batch

__all__ = ["FAST", "PILLOW_ONLY", "SCALED"]

SIDE = 224
"""Length of the shorter side that pictures are resized to."""


def _unpack(sample: Any) -> Contents:
    image, label = sample
    return [str(image.shape).encode(), image.tobytes(), str(label).encode()]


def _unpack_shape(sample: Any) -> Contents:
    """What differs a little between decoders, or between ways to resize, is compared by its shape."""
    image, label = sample
    return [str(image.shape).encode(), str(label).encode()]


def _webds(**options: Any) -> Callable[[Job], Iterable[Any]]:
    def samples(job: Job) -> Iterable[Any]:
        import webds

        accepted = only_if_accepted(webds.DatasetBuilder.decode, **options)
        return webds.DatasetBuilder(list(job.shards)).decode("rgb8", **accepted).to_tuple("jpg", "cls").build()

    return samples


def _webdataset(job: Job) -> Iterable[Any]:
    wds = peer("webdataset")
    dataset: Iterable[Any] = wds.WebDataset(list(job.shards), shardshuffle=False).decode("rgb8").to_tuple("jpg", "cls")
    return dataset


def _dali(threads: int) -> Callable[[Job], Iterable[Any]]:
    def samples(job: Job) -> Iterable[Any]:
        fn, dali = peer("nvidia.dali.fn"), peer("nvidia.dali")
        batch = dali_batch(job)
        pipeline = dali.Pipeline(batch_size=batch, num_threads=threads, device_id=None)
        with pipeline:
            jpg, cls = fn.readers.webdataset(paths=list(job.shards), index_paths=list(job.indexes), ext=["jpg", "cls"])
            pipeline.set_outputs(fn.decoders.image(jpg, device="cpu"), cls)
        pipeline.build()

        def decoded() -> Iterator[tuple[Any, int]]:
            for start in range(0, job.samples, batch):
                images, labels = pipeline.run()
                for i in range(min(batch, job.samples - start)):
                    yield images.at(i), int(bytes(labels.at(i)))

        return decoded()

    return samples


def _in_memory(job: Job) -> list[tuple[bytes, int]]:
    """Return the jpgs and labels, read by the standard library."""
    found: list[tuple[bytes, int]] = []
    for path in job.shards:
        with tarfile.open(path) as archive:
            members: dict[str, bytes] = {}
            for member in archive:
                field = member.name.rpartition(".")[2]
                stream = archive.extractfile(member)
                assert stream is not None
                members[field] = stream.read()
                if field == "jpg":  # the label stands before it
                    found.append((members["jpg"], int(members["cls"])))
    return found


def _alone(
    make_decoder: Callable[[], Callable[[bytes], Any]],
) -> tuple[Callable[[Job], Callable[[], int]], Callable[[Job], Iterable[tuple[Any, int]]]]:
    """Return how to decode what is in memory, measured; and what comes of it."""

    def prepare(job: Job) -> Callable[[], int]:
        jpgs = [jpg for jpg, _ in _in_memory(job)]
        decode = make_decoder()

        def run() -> int:
            image = None  # the last one stays while the next is decoded, as where samples are read
            for jpg in jpgs:
                image = decode(jpg)
            return len(jpgs) if image is not None else 0

        return run

    def found(job: Job) -> Iterator[tuple[Any, int]]:
        decode = make_decoder()
        return ((decode(jpg), label) for jpg, label in _in_memory(job))

    return prepare, found


def _by_pillow() -> Callable[[bytes], Any]:
    import numpy as np
    from PIL import Image

    def decode(data: bytes) -> Any:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    return decode


def _by_simplejpeg() -> Callable[[bytes], Any]:
    decode: Callable[[bytes], Any] = peer("simplejpeg").decode_jpeg
    return decode


def resized(image: Any) -> Any:
    """Return a Pillow image as an array of which the shorter side has `SIDE` pixels."""
    import numpy as np
    from PIL.Image import Resampling

    short = min(image.size)
    size = image.width * SIDE // short, image.height * SIDE // short
    return np.asarray(image.convert("RGB").resize(size, Resampling.BILINEAR))


def _whole_webds(job: Job) -> Iterable[Any]:
    import webds

    return (
        webds.DatasetBuilder(list(job.shards)).decode("pilrgb").to_tuple("jpg", "cls").map_tuple(resized, int).build()
    )


def _whole_webdataset(job: Job) -> Iterable[Any]:
    wds = peer("webdataset")
    dataset: Iterable[Any] = (
        wds.WebDataset(list(job.shards), shardshuffle=False)
        .decode("pilrgb")
        .to_tuple("jpg", "cls")
        .map_tuple(resized, int)
    )
    return dataset


_WEBDATASET = Reader("webdataset", _webdataset, _unpack, needs=("webdataset",))

_prepare_pillow, _found_pillow = _alone(_by_pillow)
_prepare_simplejpeg, _found_simplejpeg = _alone(_by_simplejpeg)

PILLOW_ONLY = (
    Reader("webds", _webds(), _unpack, hides=("simplejpeg",)),
    _WEBDATASET,
    Task("Pillow alone", _prepare_pillow, lambda job: map(_unpack, _found_pillow(job)), needs=("PIL",)),
)

FAST = (
    Reader("webds", _webds(), _unpack, needs=("simplejpeg",), uses=("simplejpeg",), same="simplejpeg"),
    Reader("webds, 2 threads", _webds(threads=2), _unpack, needs=("simplejpeg",), uses=("simplejpeg",),
           same="simplejpeg"),
    _WEBDATASET,
    Task("simplejpeg alone", _prepare_simplejpeg, lambda job: map(_unpack, _found_simplejpeg(job)),
         needs=("simplejpeg",), same="simplejpeg"),
    Reader("DALI", _dali(1), _unpack_shape, needs=("nvidia.dali",), same=None),
    Reader("DALI, 2 threads", _dali(2), _unpack_shape, needs=("nvidia.dali",), same=None),
)  # fmt: skip

SCALED = (
    Reader("webds, size=224", _webds(size=SIDE), _unpack_shape),
    Reader("webds, size=224, Pillow only", _webds(size=SIDE), _unpack_shape, hides=("simplejpeg",)),
    Reader("webds, whole, then resized", _whole_webds, _unpack_shape),
    Reader("webdataset, whole, then resized", _whole_webdataset, _unpack_shape, needs=("webdataset",)),
)

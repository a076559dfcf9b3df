"""Lists of arrays in one buffer: 16 arrays of 600 KB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.benchmarks.contest import Contents, Job, Task, peer

__all__ = ["DECODE", "ENCODE"]

_ARRAYS = 16
_BYTES = 600_000


def _arrays(size: int) -> list[Any]:
    import numpy as np

    return [np.arange(i, i + size // 4, dtype=np.float32).reshape(-1, 30) for i in range(_ARRAYS)]


def _module(package: str) -> Any:
    return peer(f"{package}.tenbin")


def _decoding(package: str, size: int) -> Callable[[Job], Callable[[], int]]:
    def prepare(job: Job) -> Callable[[], int]:
        from webds.tenbin import encode_buffer

        tenbin = _module(package)
        buffer = bytes(encode_buffer(_arrays(size)))
        return lambda: len(tenbin.decode_buffer(buffer))

    return prepare


def _encoding(package: str) -> Callable[[Job], Callable[[], int]]:
    def prepare(job: Job) -> Callable[[], int]:
        tenbin = _module(package)
        arrays = _arrays(_BYTES)

        def run() -> int:
            tenbin.encode_buffer(arrays)
            return _ARRAYS

        return run

    return prepare


def _copying(job: Job) -> Callable[[], int]:
    from webds.tenbin import encode_buffer

    buffer = bytes(encode_buffer(_arrays(_BYTES)))

    def run() -> int:
        bytearray(buffer)
        return _ARRAYS

    return run


def _decoded(package: str) -> Callable[[Job], Iterator[Contents]]:
    def found(job: Job) -> Iterator[Contents]:
        from webds.tenbin import encode_buffer

        for array in _module(package).decode_buffer(bytes(encode_buffer(_arrays(_BYTES)))):
            yield [str((array.dtype, array.shape)).encode(), array.tobytes()]

    return found


def _encoded(package: str) -> Callable[[Job], Iterator[Contents]]:
    def found(job: Job) -> Iterator[Contents]:
        yield [bytes(_module(package).encode_buffer(_arrays(_BYTES)))]

    return found


_COPY = Task("copying the buffer", _copying)

DECODE = (
    Task("webds", _decoding("webds", _BYTES), _decoded("webds")),
    Task("webds, arrays of 60 KB", _decoding("webds", _BYTES // 10)),
    Task("webdataset", _decoding("webdataset", _BYTES), _decoded("webdataset"), needs=("webdataset",)),
    _COPY,
)

ENCODE = (
    Task("webds", _encoding("webds"), _encoded("webds")),
    Task("webdataset", _encoding("webdataset"), _encoded("webdataset"), needs=("webdataset",)),
    _COPY,
)

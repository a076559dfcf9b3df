"""34, tenbin: absurd lengths and shapes are errors before the memory is taken, whichever way they come in."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from webds import tenbin
from webds.errors import DecodeError


def prefix(length: int) -> bytes:
    return b"~TenBin~" + struct.pack("<q", length)


def head(code: bytes, dims: tuple[int, ...], length: int, info: bytes = b"") -> bytes:
    """All that comes before the data of an array, whatever it claims."""
    payload = code.ljust(8, b"\0") + info.ljust(8, b"\0") + struct.pack(f"<{1 + len(dims)}q", len(dims), *dims)
    return prefix(len(payload)) + payload + bytes(-len(payload) % 64) + prefix(length)


TERABYTE = 1 << 40
LIMIT = 2_000_000

HOSTILE = {
    "a terabyte that shape and length agree on": head(b"u1", (TERABYTE,), TERABYTE) + bytes(4096),
    "a terabyte that only the shape knows": head(b"f8", (TERABYTE // 8,), 4096) + bytes(4096),
    "a terabyte that only the length knows": head(b"u1", (4096,), TERABYTE) + bytes(4096),
    "a header of a terabyte": prefix(TERABYTE) + bytes(4096),
    "the largest length there is": head(b"u1", (2**63 - 1,), 2**63 - 1) + bytes(4096),
    "a negative length": head(b"u1", (4096,), -4096) + bytes(4096),
    "a product that wraps around to nothing": head(b"u1", (2**32, 2**32), 0),
    "a product that wraps around to the length": head(b"u1", (2**62, 4, 4096), 4096) + bytes(4096),
    "negative dimensions with a positive product": head(b"u1", (-64, -64), 4096) + bytes(4096),
    "an empty array beyond all addresses": head(b"f8", (0, 2**62, 2**62), 0),
    "objects": head(b"O8", (512,), 4096) + bytes(4096),
    "a structure": head(b"V8", (512,), 4096) + bytes(4096),
    "a thousand dimensions": prefix(8 * 1003) + b"u1".ljust(16, b"\0") + struct.pack("<1001q", 1000, *[1] * 1000),
}

Reader = Callable[[bytes, Path], Any]


class Pipe:
    """A stream that cannot be sought in."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(size)


def from_file(mmap: bool) -> Reader:
    def load(data: bytes, tmp_path: Path) -> Any:
        path = tmp_path / "x.ten"
        path.write_bytes(data)
        return tenbin.load(path, mmap=mmap)

    return load


READERS: dict[str, Reader] = {
    "decode_buffer": lambda data, _: tenbin.decode_buffer(data),
    "read": lambda data, _: tenbin.read(Pipe(data)),
    "load": from_file(mmap=False),
    "load, mapped": from_file(mmap=True),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_34_hostile_tenbin_is_refused_before_memory_is_taken(name: str, reader: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            READERS[reader](HOSTILE[name], tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LIMIT


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits on the address space")
def test_34_hostile_tenbin_is_refused_by_a_process_that_has_little_memory(tmp_path: Path) -> None:
    """The same where the kernel counts: 100 MB more than the process has when it starts is all there is."""
    paths = [tmp_path / f"{number}.ten" for number in range(len(HOSTILE))]
    for path, data in zip(paths, HOSTILE.values(), strict=True):
        path.write_bytes(data)
    code = (
        "import resource, sys\n"
        "from webds import errors, tenbin\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 100_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size, size))\n"
        "for path in sys.argv[1:]:\n"
        "    for read in (tenbin.load, lambda p: tenbin.load(p, mmap=True), lambda p: tenbin.read(open(p, 'rb'))):\n"
        "        try:\n"
        "            read(path)\n"
        "        except errors.DecodeError:\n"
        "            print('refused')\n"
    )
    run = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["refused"] * 3 * len(HOSTILE)


def test_34_a_tenbin_frame_from_a_stranger_is_refused_before_memory_is_taken() -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
        port = push.bind_to_random_port("tcp://127.0.0.1")
        pull.connect(f"tcp://127.0.0.1:{port}")
        for data in HOSTILE.values():
            push.send(data)
            push.send_multipart([data[16:96], data[96:]])
        tracemalloc.start()
        try:
            for _ in HOSTILE:
                with pytest.raises(DecodeError):
                    tenbin.zrecv_single(pull)
                with pytest.raises(DecodeError):
                    tenbin.zrecv_multipart(pull)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < LIMIT

"""Line 1, reading: a shard that is cut short or has a damaged header raises after the good samples before."""

from __future__ import annotations

import io
import re
import tarfile

import pytest

from webds.errors import TarFormatError
from webds.tar import read_samples
from webds.typing import Sample

URL = "https://user:secret@host/train-000.tar?signature=abc"
SHOWN = "https://***@host/train-000.tar?***"
EXPECTED: list[Sample] = [
    {"__key__": "a", "cls": b"0", "jpg": b"A" * 600},
    {"__key__": "b", "cls": b"1", "jpg": b"B" * 512},
    {"__key__": "c/d", "cls": b"2", "jpg": b""},
]


def shard() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in EXPECTED:
            for field in ("cls", "jpg"):
                info = tarfile.TarInfo(f"{sample['__key__']}.{field}")
                info.size = len(sample[field])
                tar.addfile(info, io.BytesIO(sample[field]))
    return buffer.getvalue()


SHARD = shard()
# Each sample as (its first block, the block after its last): header and data of cls, header and data of jpg.
BLOCKS = [(0, 5), (5, 9), (9, 12)]
HEADERS = [0, 2, 5, 7, 9, 11]
END = 12 * 512


def until_error(data: bytes) -> tuple[list[Sample], Exception | None]:
    samples: list[Sample] = []
    try:
        for sample in read_samples(io.BytesIO(data), url=URL):
            samples.append(sample)  # noqa: PERF402 - an error may come in between
    except Exception as error:
        return samples, error
    return samples, None


def check(samples: list[Sample], error: Exception | None, good: int, at_most: int) -> None:
    """Check that the first ``good`` samples were delivered, and an error that names URL, offset and their number."""
    assert samples == EXPECTED[:good]
    assert isinstance(error, TarFormatError)
    assert error.url == SHOWN
    assert error.offset is not None
    assert error.offset <= at_most
    assert re.search(rf"after {good} samples?\b", str(error))
    assert "secret" not in str(error)
    assert "abc" not in str(error)


@pytest.mark.parametrize("block", range(END // 512 + 1))
@pytest.mark.parametrize("more", [0, 1, 100, 511])
def test_01_a_shard_cut_short_anywhere_raises_after_the_good_samples(block: int, more: int) -> None:
    end = block * 512 + more
    samples, error = until_error(SHARD[:end])
    # A sample is known to be complete when the header of the next one is there, the last one by the end marker.
    good = sum(end >= (last + 1) * 512 for _, last in BLOCKS[:2])
    check(samples, error, good, end)


def test_01_what_follows_the_end_marker_is_no_loss() -> None:
    for end in range(END + 512, len(SHARD), 512):
        assert until_error(SHARD[:end]) == (EXPECTED, None)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("header", HEADERS)
def test_01_a_flipped_byte_in_a_header_raises_after_the_good_samples(header: int, flip: int) -> None:
    good = sum(last < header for _, last in BLOCKS)
    for at in range(header * 512, (header + 1) * 512):
        damaged = bytearray(SHARD)
        damaged[at] ^= flip
        samples, error = until_error(bytes(damaged))
        check(samples, error, good, (header + 1) * 512)


def test_01_a_flipped_byte_in_the_end_marker_raises() -> None:
    damaged = bytearray(SHARD)
    damaged[END + 100] ^= 1
    samples, error = until_error(bytes(damaged))
    check(samples, error, 2, END + 512)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Please sign in</body></html>", "an HTML page"),
        (b"\x00\x01\x02" * 1000, "not a tar archive"),
    ],
)
def test_01_what_is_no_archive_is_called_so(data: bytes, said: str) -> None:
    samples, error = until_error(data)
    check(samples, error, 0, 0)
    assert said in str(error)

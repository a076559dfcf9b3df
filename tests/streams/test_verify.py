from __future__ import annotations

import hashlib
import io

import pytest

from webds.errors import OpenError
from webds.streams.verify import VerifyingReader

DATA = bytes(range(256)) * 9000
MD5 = hashlib.md5(DATA).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("size", [-1, 1000, 1 << 20])
def test_what_fits_passes_unchanged(size: int) -> None:
    with VerifyingReader(io.BytesIO(DATA), size=len(DATA), md5=MD5.upper(), sha256=SHA256) as stream:
        parts: list[bytes] = []
        while part := stream.read(size):
            parts.append(part)
    assert b"".join(parts) == DATA


@pytest.mark.parametrize("expected", [{"size": len(DATA) + 1}, {"md5": "0" * 32}, {"sha256": "0" * 64}])
def test_what_does_not_fit_is_an_error_at_the_end_and_stays_one(expected: dict[str, object]) -> None:
    stream = VerifyingReader(io.BytesIO(DATA), url="http://h/x?sig=hush", **expected)  # type: ignore[arg-type]
    taken = stream.read(len(DATA))
    assert taken == DATA
    for _ in range(2):
        with pytest.raises(OpenError, match="not what it should be") as caught:
            stream.read(1)
        assert "hush" not in str(caught.value)
    with pytest.raises(OpenError, match="not what it should be"):
        VerifyingReader(io.BytesIO(DATA), **expected).read()  # type: ignore[arg-type]


def test_too_much_is_an_error_at_once() -> None:
    with pytest.raises(OpenError, match="99 were expected"):
        VerifyingReader(io.BytesIO(DATA), size=99).read(100)


def test_a_reader_that_stops_early_is_not_judged() -> None:
    inner = io.BytesIO(DATA)
    with VerifyingReader(inner, size=5000, md5="0" * 32) as stream:
        assert stream.read1(10) == DATA[:10]
        assert stream.tell() == 10
        assert not stream.seekable()
    assert inner.closed


@pytest.mark.parametrize("expected", [{"size": -1}, {"md5": "abc"}, {"sha256": MD5}])
def test_what_cannot_be_expected_is_refused(expected: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(expected))):
        VerifyingReader(io.BytesIO(DATA), **expected)  # type: ignore[arg-type]


def test_it_reads_into_buffers() -> None:
    stream = VerifyingReader(io.BytesIO(DATA), size=len(DATA))
    buffer = bytearray(100)
    assert stream.readinto(buffer) == 100
    assert stream.readinto1(buffer) == 100
    assert bytes(buffer) == DATA[100:200]

"""Fields compressed one by one: what comes back, what is refused."""

from __future__ import annotations

import gzip
import pickle
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from webds.abc import Decoder, Encoder
from webds.codecs import AudioDecoder, GzipCodec, ImageCodec, IntCodec, JsonCodec, TextCodec
from webds.codecs.tables import FunctionEncoder
from webds.errors import DecodeError, EncodeError
from webds.testing import CodecSuite

INNER: dict[str, Decoder[Any] | Encoder[Any]] = {
    "txt": TextCodec(),
    "json": JsonCodec(),
    "cls": IntCodec(),
    "flac": AudioDecoder(),
    "low": FunctionEncoder(str.lower),
}


class TestGzipCodec(CodecSuite[Any]):
    @override
    def make_codec(self) -> GzipCodec:
        return GzipCodec(INNER, max_bytes=100_000)

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        return [
            ("naïve", "txt.gz"),
            ({"a": [1]}, "json.gz"),
            (b"", "gz"),
            (b"bytes" * 1000, "gz"),
            (b"\x00", "gz"),
        ]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        good = gzip.compress(b"abc", mtime=0)
        texts = [
            b"",
            b"abc",
            good[:-1],
            good[:5],
            good + b"x",
            good + b"\0\0x",
            good + good[:5],
            good[:-5] + b"abcde",
            zlib.compress(b"abc"),
        ]
        return [(text, "gz") for text in texts] + [
            (gzip.compress(b"\xff"), "txt.gz"),
            (gzip.compress(bytes(100_001)), "gz"),
        ]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [
            ("text", "gz"),
            (bytearray(b"a"), "gz"),
            (b"bytes", "txt.gz"),
            ((1, 2), "json.gz"),
            ("text", "blob.gz"),
            (b"x", "flac.gz"),
            ("x", "low.gz"),
            (bytes(100_001), "gz"),
            ("x" * 100_001, "txt.gz"),
        ]


def test_others_read_gzip_and_the_reverse() -> None:
    codec = GzipCodec(INNER)
    assert gzip.decompress(codec.encode("naïve", "txt.gz")) == "naïve".encode()
    assert codec.decode(gzip.compress("naïve".encode()), "txt.gz") == "naïve"


def test_several_members_and_zeros_behind_them_are_read() -> None:
    data = b"".join(gzip.compress(part) for part in (b"one, ", b"", b"two, ", b"x" * 5000)) + bytes(600)
    assert GzipCodec().decode(data, "gz") == b"one, two, " + b"x" * 5000


def test_nothing_that_changes_from_day_to_day_is_written() -> None:
    data = GzipCodec().encode(b"abc", "gz")
    assert data[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_the_error_of_the_inner_codec_names_the_field_of_the_sample() -> None:
    with pytest.raises(DecodeError, match="UTF-8") as caught:
        GzipCodec(INNER).decode(gzip.compress(b"\xff"), "a.txt.gz")
    assert caught.value.field == "a.txt.gz"
    assert "a.txt.gz" in str(caught.value)
    with pytest.raises(EncodeError, match="tuple") as refused:
        GzipCodec(INNER).encode((1,), "a.json.gz")
    assert refused.value.field == "a.json.gz"


def test_a_whole_name_goes_before_its_extension() -> None:
    inner: dict[str, Decoder[Any] | Encoder[Any]] = {**INNER, "meta.txt": IntCodec()}
    assert GzipCodec(inner).decode(gzip.compress(b"7"), "meta.txt.gz") == 7
    assert GzipCodec(inner).decode(gzip.compress(b"7"), "other.txt.gz") == "7"


def test_it_is_lossless_as_far_as_what_it_holds_is() -> None:
    assert GzipCodec(INNER).lossless
    assert not GzipCodec({"jpg": ImageCodec()}).lossless


def test_the_level_changes_the_size() -> None:
    data = b"".join(b"%d" % (i * i * 7919) for i in range(3000)) * 3
    sizes = [len(GzipCodec(level=level).encode(data, "gz")) for level in (0, 1, 9)]
    assert sizes[0] > sizes[1] > sizes[2]
    with pytest.raises(ValueError, match="level"):
        GzipCodec(level=10)


def test_34_a_gzip_bomb_is_refused_before_memory_is_taken() -> None:
    bomb = gzip.compress(bytes(20_000_000))
    tracemalloc.start()
    try:
        for data in (bomb, gzip.compress(bytes(900_000)) + bomb):
            with pytest.raises(DecodeError, match="max_bytes=1000000"):
                GzipCodec(max_bytes=1_000_000).decode(data, "gz")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert len(GzipCodec(max_bytes=20_000_000).decode(bomb, "gz")) == 20_000_000


def test_data_of_exactly_max_bytes_comes_back() -> None:
    codec = GzipCodec(max_bytes=1000)
    assert codec.decode(codec.encode(bytes(1000), "gz"), "gz") == bytes(1000)


def test_it_pickles_with_its_tables_and_compares() -> None:
    codec = GzipCodec(INNER, max_bytes=5, level=1)
    assert pickle.loads(pickle.dumps(codec)) == codec != GzipCodec(INNER)
    assert hash(codec) == hash(GzipCodec(INNER, max_bytes=5, level=1))


@given(st.binary(max_size=3000), st.integers(0, 9))
def test_all_bytes_come_back(data: bytes, level: int) -> None:
    codec = GzipCodec(level=level)
    encoded = codec.encode(data, "gz")
    assert codec.decode(encoded, "gz") == data == gzip.decompress(encoded)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=5))
def test_members_come_back_joined(parts: list[bytes]) -> None:
    assert GzipCodec().decode(b"".join(map(gzip.compress, parts)), "gz") == b"".join(parts)

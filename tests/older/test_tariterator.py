"""`tariterator`: the samples of one tar stream that is open already."""

from __future__ import annotations

import gzip
import io
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shards import sample_of, tar_bytes, write_shard

import webds


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """A shard of five samples."""
    return Path(write_shard(tmp_path / "a.tar", map(sample_of, range(5))))


def labels(samples: Iterable[dict[str, Any]]) -> list[int]:
    return [int(sample["cls"]) for sample in samples]


class OnlyReads:
    """A stream that has nothing but read, and gives little at a time."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(min(size, 700) if size >= 0 else 700)


def test_it_yields_decoded_samples(shard: Path) -> None:
    with shard.open("rb") as stream:
        samples = list(webds.tariterator(stream))
    assert samples[0] == {"__key__": "key00000", "cls": 0, "txt": "text 0"}
    assert labels(samples) == list(range(5))


def test_the_stream_is_left_open_whether_read_to_its_end_or_not(shard: Path) -> None:
    with shard.open("rb") as stream:
        next(webds.tariterator(stream))
        assert not stream.closed
        stream.seek(0)
        list(webds.tariterator(stream))
        assert not stream.closed


def test_any_object_with_read_will_do(shard: Path) -> None:
    assert labels(webds.tariterator(OnlyReads(shard.read_bytes()))) == list(range(5))


def test_a_process_may_write_it(shard: Path) -> None:
    with subprocess.Popen(["cat", str(shard)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert labels(webds.tariterator(process.stdout)) == list(range(5))


def test_a_compressed_stream(shard: Path) -> None:
    assert labels(webds.tariterator(io.BytesIO(gzip.compress(shard.read_bytes())))) == list(range(5))


@pytest.mark.parametrize("nothing", [False, None])
def test_decoder_false_and_none_leave_bytes(shard: Path, nothing: bool | None) -> None:
    assert next(webds.tariterator(io.BytesIO(shard.read_bytes()), decoder=nothing))["cls"] == b"0"


def test_decoder_is_rgb_by_default_and_may_be_another_a_function_or_a_dict(tmp_path: Path) -> None:
    png = webds.ImageCodec("l8").encode(np.full((2, 3), 7, np.uint8), "png")
    data = tar_bytes([("a.png", png), ("a.cls", b"3")])
    assert next(webds.tariterator(io.BytesIO(data)))["png"].dtype == "float32"
    assert next(webds.tariterator(io.BytesIO(data), decoder="l8"))["png"].dtype == "uint8"
    assert next(webds.tariterator(io.BytesIO(data), decoder={"png": len}))["png"] == len(png)
    assert next(webds.tariterator(io.BytesIO(data), decoder=sorted)) == ["__key__", "cls", "png"]


def test_suffixes_keep_only_these_fields(shard: Path) -> None:
    for suffixes in (["txt"], {"txt", "png"}, "txt"):
        samples = list(webds.tariterator(io.BytesIO(shard.read_bytes()), suffixes=suffixes))
        assert all(set(sample) == {"__key__", "txt"} for sample in samples)
        assert len(samples) == 5


def test_keys_replaces_the_rule(shard: Path) -> None:
    samples = webds.tariterator(io.BytesIO(shard.read_bytes()), lambda path: (path[-9:-4], path[-3:]))
    assert next(samples) == {"__key__": "00000", "cls": 0, "txt": "text 0"}


class TestErrors:
    @pytest.fixture
    def cut(self, shard: Path) -> bytes:
        return shard.read_bytes()[: 3 * 2048 + 700]

    def test_damage_is_raised_after_the_good_samples_and_says_where(self, cut: bytes, tmp_path: Path) -> None:
        (tmp_path / "cut.tar").write_bytes(cut)
        seen: list[int] = []
        with (tmp_path / "cut.tar").open("rb") as stream, pytest.raises(webds.TarFormatError) as caught:
            seen.extend(int(sample["cls"]) for sample in webds.tariterator(stream))
        assert caught.value.url == str(tmp_path / "cut.tar")
        assert "after 3 samples" in str(caught.value)

    @pytest.mark.parametrize("handler", [webds.ignore_and_continue, webds.ignore_and_stop])
    def test_tar_errors_may_end_it_quietly(self, cut: bytes, handler: Any) -> None:
        assert labels(webds.tariterator(io.BytesIO(cut), tar_errors=handler)) == [0, 1, 2]

    def test_tar_errors_may_warn(self, cut: bytes) -> None:
        with pytest.warns(RuntimeWarning, match="TarFormatError"):
            assert labels(webds.tariterator(io.BytesIO(cut), tar_errors=webds.warn_and_continue)) == [0, 1, 2]

    def test_tar_errors_leave_out_a_sample_that_is_unsound_and_go_on(self) -> None:
        data = tar_bytes([("a.cls", b"0"), ("b.cls", b"1"), ("b.cls", b"1"), ("c.cls", b"2")])
        assert labels(webds.tariterator(io.BytesIO(data), tar_errors=webds.ignore_and_continue)) == [0, 2]
        with pytest.raises(webds.SampleError):
            list(webds.tariterator(io.BytesIO(data), decode_errors=webds.ignore_and_continue))

    def test_decode_errors_are_another_matter(self) -> None:
        data = tar_bytes([("a.json", b"0"), ("b.json", b"{"), ("c.json", b"2")])

        def iterate(**handlers: Any) -> list[Any]:
            return [sample["json"] for sample in webds.tariterator(io.BytesIO(data), **handlers)]

        with pytest.raises(webds.DecodeError) as caught:
            iterate(tar_errors=webds.ignore_and_continue)
        assert (caught.value.key, caught.value.field) == ("b", "json")
        assert iterate(decode_errors=webds.ignore_and_continue) == [0, 2]
        assert iterate(decode_errors=webds.ignore_and_stop) == [0]

    def test_missing_end_accepts_what_writers_without_end_blocks_made(self, shard: Path) -> None:
        data = shard.read_bytes()[: 5 * 2048]
        with pytest.raises(webds.TarFormatError):
            list(webds.tariterator(io.BytesIO(data)))
        assert labels(webds.tariterator(io.BytesIO(data), missing_end="accept")) == list(range(5))

    def test_a_text_stream_is_an_error(self, shard: Path) -> None:
        with shard.open(encoding="latin-1") as stream, pytest.raises((TypeError, webds.WebdsError)):
            list(webds.tariterator(stream))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # as one may

"""Line 1 for whole datasets: damage raises with its place, or is counted and the good samples before it delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from expecting import raises
from shards import numbered_shards, tar_bytes

import webds
from webds.errors import TarFormatError

MEMBERS = [(f"{key}.{field}", data) for key in "abc" for field, data in (("cls", b"1"), ("jpg", key.encode() * 600))]
WHOLE = tar_bytes(MEMBERS)
BLOCKS_OF_A_SAMPLE = 5  # two headers, one block and two of data
END = 3 * BLOCKS_OF_A_SAMPLE * 512
SAMPLES = [{"__key__": key, "cls": b"1", "jpg": key.encode() * 600} for key in "abc"]


def _good(blocks: int) -> int:
    """Return how many samples are known to be whole after so many blocks: a header more tells that they are over."""
    return max(blocks - 1, 0) // BLOCKS_OF_A_SAMPLE


def _iterate(builder: webds.DatasetBuilder[Any]) -> tuple[list[Any], Exception | None]:
    values: list[Any] = []
    try:
        for value in builder.build():
            values.append(value)  # noqa: PERF402  # those before an error count
    except Exception as error:
        return values, error
    return values, None


@pytest.mark.parametrize("cut", range(0, END + 512, 512))
def test_01_a_shard_cut_short_anywhere(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(WHOLE[:cut])
    builder = webds.DatasetBuilder(path)
    good = _good(cut // 512)

    values, error = _iterate(builder)
    assert values == SAMPLES[:good]
    assert isinstance(error, TarFormatError)
    assert error.url == str(path)
    assert error.offset is not None
    assert error.offset <= cut
    assert error.stage == "read"
    assert f"after {good} sample" in error.message

    dataset = builder.on_error("skip").build()
    assert list(dataset) == SAMPLES[:good]
    (loss,) = dataset.stats().losses
    assert (loss.stage, loss.url) == ("read", str(path))
    assert loss.error.startswith("TarFormatError: ")


@pytest.mark.parametrize("cut", range(END + 512, len(WHOLE), 2048))
def test_01_one_zero_block_ends_an_archive(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(WHOLE[:cut])
    assert _iterate(webds.DatasetBuilder(path)) == (SAMPLES, None)


@pytest.mark.parametrize("header", [0, 2, 5, 12])
@pytest.mark.parametrize("position", [0, 1, 100, 108, 124, 125, 135, 150, 156, 257, 300, 345, 511])
def test_01_a_flipped_byte_of_a_header(tmp_path: Path, header: int, position: int) -> None:
    data = bytearray(WHOLE)
    data[header * 512 + position] ^= 0x10
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    builder = webds.DatasetBuilder(path)
    good = _good(header)
    values, error = _iterate(builder)
    assert values == SAMPLES[:good]
    assert isinstance(error, TarFormatError)
    assert (error.url, error.offset) == (str(path), header * 512)
    dataset = builder.on_error("skip").build()
    assert list(dataset) == SAMPLES[:good]
    assert dataset.stats().counts == {"read": {str(path): 1}}


@pytest.fixture
def damaged(tmp_path: Path) -> list[str]:
    """Six shards of five samples; the second is cut in its third sample, the fifth has a damaged first header."""
    urls = numbered_shards(tmp_path, shards=6)
    Path(urls[1]).write_bytes(Path(urls[1]).read_bytes()[: (2 * 4 + 3) * 512])
    data = bytearray(Path(urls[4]).read_bytes())
    data[5] ^= 0xFF
    Path(urls[4]).write_bytes(data)
    return urls


GOOD = [*range(7), *range(10, 20), *range(25, 30)]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_01_a_policy_that_goes_on_delivers_the_rest_across_workers(damaged: list[str], workers: int) -> None:
    dataset = webds.DatasetBuilder(damaged, on_error="skip").decode().to_tuple("cls", "txt").build()
    values = list(webds.Loader(dataset, num_workers=workers))
    assert sorted(values) == [(n, f"text {n}") for n in GOOD]
    assert dataset.stats().counts == {"read": {damaged[1]: 1, damaged[4]: 1}}


@pytest.mark.parametrize("workers", [0, 2])
def test_01_a_raised_error_names_its_place_also_out_of_a_worker(damaged: list[str], workers: int) -> None:
    loader = webds.DatasetBuilder(damaged[:2]).decode().to_tuple("cls").loader(num_workers=workers)
    with raises(TarFormatError) as caught:
        list(loader)
    error = caught.value
    assert (error.url, error.stage, error.key) == (damaged[1], "read", "key00007")
    assert error.offset is not None
    assert "after 2 samples" in str(error)


def test_01_a_policy_that_stops_ends_its_worker_alone(damaged: list[str]) -> None:
    dataset = webds.DatasetBuilder(damaged, on_error="stop").decode().to_tuple("cls").build()
    values = [n for (n,) in webds.Loader(dataset, num_workers=2)]
    assert sorted(values) == [*range(7), *range(10, 15)]
    assert len(dataset.stats().losses) == 2

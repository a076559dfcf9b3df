"""Line 2 for whole datasets: a sample that an error or the end of a stream interrupts is never delivered in part."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shards import tar_bytes
from typing_extensions import override

import webds
from webds.errors import TarFormatError

FIELDS = {"a": b"1" * 700, "b": b"2", "c": b"3" * 512}
CONTENT = tar_bytes([(f"{key}.{field}", data) for key in "xyz" for field, data in FIELDS.items()])
SAMPLES = [{"__key__": key, **FIELDS} for key in "xyz"]
BLOCKS_OF_A_SAMPLE = 7
POINTS = [0, 1, 511, 512, 600, *range(1024, 22 * 512, 700)]


class _Breaks(io.RawIOBase):
    """A stream that delivers ``length`` bytes and then fails, or ends."""

    def __init__(self, length: int, *, fails: bool) -> None:
        self._left = io.BytesIO(CONTENT[:length])
        self._fails = fails

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int:
        count = self._left.readinto(buffer)
        if count == 0 and self._fails:
            raise ConnectionResetError("the line went dead")
        return count


def _open(length: int, fails: bool, url: str) -> io.BufferedReader:
    return io.BufferedReader(_Breaks(length, fails=fails))


def _opener(length: int, *, fails: bool) -> Callable[[str], io.BufferedReader]:
    return functools.partial(_open, length, fails)


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("length", POINTS)
def test_02_samples_are_whole_or_not_there(length: int, fails: bool) -> None:
    builder = webds.DatasetBuilder(["one"], opener=_opener(length, fails=fails))
    # A header more tells that a sample is over.
    whole = SAMPLES[: max(length // 512 - 1, 0) // BLOCKS_OF_A_SAMPLE]
    values: list[Any] = []
    with pytest.raises(ConnectionResetError if fails else TarFormatError) as caught:
        values.extend(builder.build())
    assert '"one"' in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    for policy in ("skip", "stop"):
        dataset = builder.on_error(policy).build()
        assert list(dataset) == whole
        assert [(loss.stage, loss.url) for loss in dataset.stats().losses] == [("read", "one")]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fails", [True, False])
def test_02_the_same_in_workers_and_behind_stages(workers: int, fails: bool) -> None:
    builder = webds.DatasetBuilder([f"s{i}" for i in range(4)], opener=_opener(11 * 512 + 7, fails=fails))
    chain = builder.on_error("skip").shuffle(3).to_tuple("a", "b", "c").batch(2, collate=list)
    dataset = chain.build()
    for _ in range(2):
        samples = [sample for batch in webds.Loader(dataset, num_workers=workers) for sample in batch]
        assert samples == [tuple(FIELDS.values())] * 4
    assert dataset.stats().counts == {"read": {f"s{i}": 2 for i in range(4)}}


def test_02_a_skipped_field_does_not_hide_that_a_sample_is_cut(tmp_path: Path) -> None:
    """The last member is not wanted, so that nobody would read it: that it is not there counts all the same."""
    path = tmp_path / "x.tar"
    path.write_bytes(CONTENT[: 5 * 512 + 512])
    builder = webds.DatasetBuilder(path).to_tuple("a", "__key__")
    with pytest.raises(TarFormatError):
        list(builder.build())
    assert list(builder.on_error("skip").build()) == []

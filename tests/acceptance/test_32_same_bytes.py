"""32. The same samples in give the same bytes out; no pax header per member."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from webds.sinks import ShardWriter, TarWriter
from webds.typing import Sample


def samples() -> list[Sample]:
    return [
        {
            "__key__": f"train/{number:04d}",
            "cls": number,
            "json": {"b": number, "a": [1.5, None]},
            "npy": np.arange(number + 1, dtype=np.float32),
            "npz": {"x": np.arange(3), "y": np.zeros((2, 2))},
            "png": np.full((4, 5, 3), number, np.uint8),
            "pth": {"t": torch.arange(4)},
            "txt": "text",
        }
        for number in range(3)
    ]


@pytest.mark.parametrize("compress", [False, "gz", "bz2", "xz", "zst"])
def test_32_equal_samples_give_equal_bytes_at_any_time(
    tmp_path: Path, compress: Literal["gz", "bz2", "xz", "zst"] | bool
) -> None:
    first, second = tmp_path / "first.tar.any", tmp_path / "second.tar.any"
    for path in (first, second):
        with TarWriter(path, compress=compress) as sink:
            for sample in samples():
                sink.write(dict(reversed(sample.items())) if path is second else sample)
        time.sleep(1.1 if path is first and compress in {False, "gz"} else 0)  # a clock would show in seconds
    assert first.read_bytes() == second.read_bytes()


def test_32_files_pipes_and_streams_get_the_same_bytes(tmp_path: Path) -> None:
    stream = io.BytesIO()
    for target in (stream, tmp_path / "a.tar", f"pipe:cat > '{tmp_path}/b.tar'"):
        with TarWriter(target) as sink:
            for sample in samples():
                sink.write(sample)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes() == stream.getvalue()


def test_32_shards_are_the_same_too(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with ShardWriter(f"{tmp_path}/{folder}/%d.tar", maxcount=2) as sink:
            for sample in samples():
                sink.write(sample)
    for shard in ("0.tar", "1.tar"):
        assert (tmp_path / "a" / shard).read_bytes() == (tmp_path / "b" / shard).read_bytes()


def test_32_the_time_is_a_whole_number_and_can_be_set(tmp_path: Path) -> None:
    options: list[dict[str, Any]] = [{}, {"mtime": 1_700_000_000}]
    for number, kw in enumerate(options):
        with TarWriter(tmp_path / f"{number}.tar", **kw) as sink:
            sink.write({"__key__": "a", "txt": "t"})
    for number, mtime in enumerate((0, 1_700_000_000)):
        with tarfile.open(tmp_path / f"{number}.tar") as tar:
            assert [member.mtime for member in tar] == [mtime]


def test_32_a_member_takes_its_header_and_its_data_only(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with TarWriter(path) as sink:
        for number in range(100):
            sink.write({"__key__": f"{'directory/' * 10}{number:06d}", "bin": b"x" * 512})
    assert os.path.getsize(path) == -(-(100 * 1024 + 1024) // 10240) * 10240
    data = path.read_bytes()
    assert {data[at + 156 : at + 157] for at in range(0, 100 * 1024, 1024)} == {b"0"}

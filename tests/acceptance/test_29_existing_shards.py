"""29. Creating a writer over existing shards refuses, unless ``overwrite=True`` or ``resume=True``."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from webds.errors import WriteError
from webds.sinks import ShardWriter, TarWriter
from webds.typing import Sample


def sample(number: int) -> Sample:
    return {"__key__": f"{number:03d}", "cls": number}


def write(sink: ShardWriter | TarWriter, *numbers: int) -> None:
    with sink:
        for number in numbers:
            sink.write(sample(number))


def shards(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for path in sorted(folder.iterdir()):
        with tarfile.open(path) as tar:
            found[path.name] = [int(name.partition(".")[0]) for name in tar.getnames()]
    return found


@pytest.mark.parametrize("existing", [0, 1, 7, 1234])
def test_29_any_existing_shard_is_refused_at_creation(tmp_path: Path, existing: int) -> None:
    pattern = f"{tmp_path}/x-%03d.tar"
    Path(pattern % existing).write_bytes(b"of an earlier run")
    with pytest.raises(WriteError, match=r"overwrite=True .*resume=True") as caught:
        ShardWriter(pattern)
    assert caught.value.url == pattern % existing
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"of an earlier run"]


def test_29_files_of_other_names_are_not_in_the_way(tmp_path: Path) -> None:
    for name in ("x-.tar", "x-1.tar", "y-000.tar", "x-000.tar.idx", "x-000.tar.bak", "xx-000.tar"):
        (tmp_path / name).touch()
    with ShardWriter(f"{tmp_path}/x-%03d.tar") as sink:
        sink.write(sample(0))
    assert (tmp_path / "x-000.tar").exists()


def test_29_an_existing_tar_is_refused_at_creation(tmp_path: Path) -> None:
    write(TarWriter(tmp_path / "x.tar"), 1)
    with pytest.raises(WriteError, match="overwrite=True"):
        TarWriter(tmp_path / "x.tar")
    assert shards(tmp_path) == {"x.tar": [1]}
    write(TarWriter(tmp_path / "x.tar", overwrite=True), 2)
    assert shards(tmp_path) == {"x.tar": [2]}


def test_29_overwrite_leaves_shards_of_the_new_run_only(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/x-%03d.tar"
    write(ShardWriter(pattern, maxcount=2), *range(8))
    write(ShardWriter(pattern, maxcount=2, overwrite=True), 20, 21, 22)
    assert shards(tmp_path) == {"x-000.tar": [20, 21], "x-001.tar": [22]}


def test_29_resume_goes_on_after_the_last_good_shard(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/x-%03d.tar"
    write(ShardWriter(pattern, maxcount=2), *range(4))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write(ShardWriter(pattern, maxcount=2, resume=True), 4, 5, 6)
    assert shards(tmp_path) == {"x-000.tar": [0, 1], "x-001.tar": [2, 3], "x-002.tar": [4, 5], "x-003.tar": [6]}
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


def test_29_resume_names_a_last_shard_that_is_cut_short(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/x-%03d.tar"
    write(ShardWriter(pattern, maxcount=2), *range(4))
    last = tmp_path / "x-001.tar"
    last.write_bytes(last.read_bytes()[:2048])  # all of its members, no end of archive
    with pytest.raises(WriteError, match=r"x-001\.tar"):
        ShardWriter(pattern, resume=True)


def test_29_no_file_appears_before_the_first_write(tmp_path: Path) -> None:
    for sink in (TarWriter(tmp_path / "x.tar"), ShardWriter(f"{tmp_path}/y-%03d.tar")):
        assert not list(tmp_path.iterdir())
        with pytest.raises(WriteError):
            sink.write({"cls": 1})
        assert not list(tmp_path.iterdir())
        sink.abort()
    assert not list(tmp_path.iterdir())

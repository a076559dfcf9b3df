from __future__ import annotations

import errno
import os
import pickle
import tarfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from typing_extensions import override

from webds.abc import Sink
from webds.errors import EncodeError, OpenError, WriteError
from webds.sinks import ShardWriter, TarWriter
from webds.testing import SinkSuite
from webds.typing import Sample


def read(path: Path) -> dict[str, bytes]:
    with tarfile.open(path, mode="r:") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]  # files only  # pyright: ignore[reportOptionalMemberAccess]


def keys(folder: Path, glob: str = "*.tar") -> list[list[str]]:
    return [[name.partition(".")[0] for name in read(path)] for path in sorted(folder.glob(glob))]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(sink: Sink[Sample], *numbers: int) -> None:
    for number in numbers:
        sink.write({"__key__": f"{number}", "bin": bytes(100)})


def pattern(folder: Path) -> str:
    return f"{folder}/x-%03d.tar"


def fail_to_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "dup", fail)


class TestShardWriterIsASink(SinkSuite[Sample]):
    @override
    def make_sink(self, folder: Path) -> Sink[Sample]:
        return ShardWriter(pattern(folder))

    @override
    def samples(self) -> Sequence[Sample]:
        return [{"__key__": str(number), "txt": str(number)} for number in range(4)]

    @override
    def refused(self) -> Sequence[Sample]:
        return [{"__key__": "b", "bin": b"1", "txt": 3}, {"__key__": "b.c", "bin": b"1"}, {"bin": b"1"}]

    @override
    def read_back(self, folder: Path) -> Sequence[Sample]:
        return [
            {"__key__": name.partition(".")[0], "txt": data.decode()}
            for path in sorted(folder.glob("*"))
            for name, data in read(path).items()
        ]


def test_shards_hold_at_most_maxcount_samples(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=2) as sink:
        fill(sink, *range(5))
    assert names(tmp_path) == ["x-000.tar", "x-001.tar", "x-002.tar"]
    assert keys(tmp_path) == [["0", "1"], ["2", "3"], ["4"]]


def test_reaching_maxsize_in_payload_bytes_closes_the_shard(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxsize=250) as sink:
        fill(sink, 0, 1)
        assert names(tmp_path)[-1].endswith(".part")
        fill(sink, 2)
        assert names(tmp_path) == ["x-000.tar"]
        fill(sink, 3)
    assert keys(tmp_path) == [["0", "1", "2"], ["3"]]


def test_a_shard_filled_exactly_is_not_followed_by_an_empty_one(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=2) as sink:
        fill(sink, *range(4))
    assert keys(tmp_path) == [["0", "1"], ["2", "3"]]


def test_a_key_may_come_again_in_another_shard(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=1) as sink:
        fill(sink, 0, 0)
    assert keys(tmp_path) == [["0"], ["0"]]


def test_post_is_called_with_each_finished_shard(tmp_path: Path) -> None:
    seen: list[tuple[str, list[str]]] = []
    with ShardWriter(pattern(tmp_path), maxcount=2, post=lambda name: seen.append((name, names(tmp_path)))) as sink:
        fill(sink, 0, 1, 2)
        assert len(seen) == 1
    assert seen == [
        (f"{tmp_path}/x-000.tar", ["x-000.tar"]),
        (f"{tmp_path}/x-001.tar", ["x-000.tar", "x-001.tar"]),
    ]


def test_an_exception_of_post_is_located_and_leaves_a_finished_shard(tmp_path: Path) -> None:
    def post(name: str) -> None:
        raise ConnectionError("upload failed")

    sink = ShardWriter(pattern(tmp_path), maxcount=1, post=post)
    with pytest.raises(ConnectionError, match="upload failed") as caught:
        fill(sink, 0)
    assert "x-000.tar" in str(caught.value.__notes__)
    assert names(tmp_path) == ["x-000.tar"]
    with pytest.raises(ConnectionError):
        fill(sink, 1)
    sink.close()
    assert keys(tmp_path) == [["0"], ["1"]]


def test_the_attributes_say_where_it_is(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=3, start_shard=5) as sink:
        assert (sink.fname, sink.shard, sink.count, sink.size, sink.total) == (f"{tmp_path}/x-005.tar", 6, 0, 0, 0)
        fill(sink, 0, 1)
        assert (sink.shard, sink.count, sink.size, sink.total) == (6, 2, 200, 2)
        sink.next_stream()
        assert (sink.fname, sink.shard, sink.count, sink.size, sink.total) == (f"{tmp_path}/x-006.tar", 7, 0, 0, 2)
        fill(sink, 2)
    assert keys(tmp_path) == [["0", "1"], ["2"]]


def test_finish_ends_the_shard_and_the_next_write_begins_another(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path)) as sink:
        sink.finish()
        fill(sink, 0)
        sink.finish()
        sink.finish()
        assert names(tmp_path) == ["x-000.tar"]
        sink.next_stream()
        sink.next_stream()
        fill(sink, 1)
    assert names(tmp_path) == ["x-000.tar", "x-001.tar"]


def test_without_samples_there_are_no_shards(tmp_path: Path) -> None:
    seen: list[str] = []
    with ShardWriter(pattern(tmp_path), post=seen.append) as sink:
        with pytest.raises(EncodeError):
            sink.write({"__key__": "a", "txt": 1})
        assert names(tmp_path) == []
    assert names(tmp_path) == []
    assert not seen


def test_tarwriters_arguments_are_passed_on(tmp_path: Path) -> None:
    with ShardWriter(
        f"{tmp_path}/%d.tar.gz", user="ann", group="staff", mode=0o600, mtime=5, compress=False, encoder=False
    ) as sink:
        fill(sink, 0)
        with pytest.raises(EncodeError):
            sink.write({"__key__": "a", "txt": "text"})
    with tarfile.open(tmp_path / "0.tar.gz", "r:") as tar:
        (member,) = tar
    assert (member.uname, member.gname, member.mode, member.mtime) == ("ann", "staff", 0o600, 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"maxcount": 0},
        {"maxsize": -1},
        {"maxsize": float("nan")},
        {"post": "upload"},
        {"start_shard": -1},
        {"start_shard": "3"},
        {"resume": True, "overwrite": True},
        {"compress": "rar"},
    ],
)
def test_arguments_are_checked_at_creation(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ShardWriter(pattern(tmp_path), **wrong)
    assert names(tmp_path) == []


def test_an_unknown_argument_is_a_type_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="maxcont"):
        ShardWriter(pattern(tmp_path), **cast("Any", {"maxcont": 3}))
    with pytest.raises(TypeError, match="encoder=3"):
        ShardWriter(pattern(tmp_path), encoder=cast("Any", 3))


def test_a_pattern_without_a_number_is_an_error_at_creation(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one place for the shard's number"):
        ShardWriter(f"{tmp_path}/x.tar")


def test_a_missing_directory_is_an_error_at_creation(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match="no directory"):
        ShardWriter(f"{tmp_path}/missing/%d.tar")


def test_a_path_is_a_pattern_too(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "x-%03d.tar") as sink:
        fill(sink, 0)
    assert names(tmp_path) == ["x-000.tar"]


def test_patterns_of_pipes_are_written_through_their_commands(tmp_path: Path) -> None:
    with ShardWriter(f"pipe:gzip > '{tmp_path}/%d.tar.gz'", maxcount=2) as sink:
        fill(sink, 0, 1, 2)
    assert names(tmp_path) == ["0.tar.gz", "1.tar.gz"]
    with tarfile.open(tmp_path / "0.tar.gz") as tar:
        assert tar.getnames() == ["0.bin", "1.bin"]


def test_resuming_needs_files_or_a_store_that_lists() -> None:
    with pytest.raises(ValueError, match="resume=True needs files or a store that lists"):
        ShardWriter("pipe:cat > %d.tar", resume=True)


def test_dropped_metadata_is_said_once_for_all_shards(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=1) as sink, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(3):
            sink.write({"__key__": f"{number}", "txt": "t", "_origin": "here"})
    assert len(caught) == 1
    assert "'_origin'" in str(caught[0].message)


def test_existing_shards_below_start_shard_are_not_in_the_way(tmp_path: Path) -> None:
    for start in (0, 2):
        with ShardWriter(pattern(tmp_path), maxcount=1, start_shard=start, overwrite=True) as sink:
            fill(sink, start, start + 1)
    assert keys(tmp_path) == [["0"], ["1"], ["2"], ["3"]]
    with ShardWriter(pattern(tmp_path), start_shard=4) as sink:
        fill(sink, 4)
    assert keys(tmp_path)[-1] == ["4"]


def test_a_shard_that_appears_meanwhile_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    sink = ShardWriter(pattern(tmp_path), maxcount=1)
    fill(sink, 0)
    with TarWriter(tmp_path / "x-001.tar") as other:
        fill(other, 9)
    with pytest.raises(WriteError, match=r"x-001\.tar' exists"):
        fill(sink, 1)
    (tmp_path / "x-001.tar").unlink()
    fill(sink, 1)
    sink.close()
    assert keys(tmp_path) == [["0"], ["1"]]


def test_overwriting_removes_stale_shards_at_a_clean_close(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=1) as sink:
        fill(sink, 0, 1, 2, 3)
    with ShardWriter(pattern(tmp_path), maxcount=1, overwrite=True) as sink:
        fill(sink, 10, 11)
        assert keys(tmp_path) == [["10"], ["11"], ["2"], ["3"]]
    assert keys(tmp_path) == [["10"], ["11"]]


def test_overwriting_with_nothing_leaves_everything(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=1) as sink:
        fill(sink, 0, 1)
    with ShardWriter(pattern(tmp_path), overwrite=True):
        pass
    ShardWriter(pattern(tmp_path), overwrite=True).abort()
    assert keys(tmp_path) == [["0"], ["1"]]


def test_a_crash_while_overwriting_says_which_shards_are_old(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=1) as sink:
        fill(sink, 0, 1, 2)
    sink = ShardWriter(pattern(tmp_path), maxcount=1, overwrite=True)
    fill(sink, 10)
    with pytest.warns(RuntimeWarning, match=r"x-000\.tar' and those before it are new.*x-001\.tar"):
        sink.abort()
    assert keys(tmp_path) == [["10"], ["1"], ["2"]]


def test_a_failed_post_at_close_still_removes_stale_shards(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=1) as sink:
        fill(sink, 0, 1, 2)

    def post(name: str) -> None:
        raise ConnectionError("upload failed")

    sink = ShardWriter(pattern(tmp_path), overwrite=True, post=post)
    fill(sink, 10)
    with pytest.raises(ConnectionError):
        sink.close()
    assert keys(tmp_path) == [["10"]]


def test_a_failure_while_overwriting_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=1) as sink:
        fill(sink, 0, 1, 2)
    sink = ShardWriter(pattern(tmp_path), maxcount=1, overwrite=True)
    fill(sink, 10)
    fail_to_finish(monkeypatch)
    with pytest.raises(OpenError):
        fill(sink, 11)
    with pytest.raises(WriteError), pytest.warns(RuntimeWarning, match="not everything was written"):
        sink.close()
    assert keys(tmp_path) == [["10"], ["1"], ["2"]]


def test_resume_in_an_empty_folder_begins_at_the_start(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path), resume=True, start_shard=3) as sink:
        fill(sink, 0)
    assert names(tmp_path) == ["x-003.tar"]


def test_resume_refuses_while_another_writer_is_at_work(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path)) as sink:
        fill(sink, 0)
        with pytest.raises(WriteError, match="another writer is at work"):
            ShardWriter(pattern(tmp_path), resume=True)
        fill(sink, 1)
    assert keys(tmp_path) == [["0", "1"]]


def test_a_new_writer_leaves_the_files_of_one_at_work_alone(tmp_path: Path) -> None:
    first = ShardWriter(pattern(tmp_path))
    fill(first, 0)
    ShardWriter(pattern(tmp_path)).close()
    fill(first, 1)
    first.close()
    assert keys(tmp_path) == [["0", "1"]]


@pytest.mark.parametrize("compress", [None, "gz", "xz"])
@pytest.mark.parametrize("cut", [0, 300, 512, 10_000])
def test_resume_refuses_a_last_shard_that_is_not_whole(tmp_path: Path, cut: int, compress: Any) -> None:
    with ShardWriter(pattern(tmp_path), maxcount=2, compress=compress) as sink:
        for number in range(4):
            sink.write({"__key__": f"{number}", "bin": os.urandom(5000)})
    last = tmp_path / "x-001.tar"
    whole = last.read_bytes()
    last.write_bytes(whole[:cut])
    with pytest.raises(WriteError, match=r"x-001\.tar', which is not whole") as caught:
        ShardWriter(pattern(tmp_path), resume=True)
    assert caught.value.url == str(last)
    last.unlink()
    with ShardWriter(pattern(tmp_path), maxcount=2, resume=True, compress=compress) as sink:
        assert sink.fname == str(last)


def test_after_a_failure_no_further_samples_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = ShardWriter(pattern(tmp_path), maxcount=2)
    fill(sink, 0, 1, 2)
    fail_to_finish(monkeypatch)
    with pytest.raises(OpenError, match="Input/output error"):
        fill(sink, 3)
    monkeypatch.undo()
    with pytest.raises(WriteError, match="earlier shard could not be finished"):
        fill(sink, 4)
    with pytest.raises(WriteError, match="its samples are lost"):
        sink.close()
    sink.close()
    assert keys(tmp_path) == [["0", "1"]]
    assert names(tmp_path) == ["x-000.tar"]


def test_a_full_device_fails_the_writer() -> None:
    sink = ShardWriter("pipe:cat > /dev/full; echo %d >&2", maxcount=1)
    with pytest.raises(OpenError):
        sink.write({"__key__": "a", "bin": bytes(1 << 20)})
    with pytest.raises(WriteError):
        fill(sink, 1)
    with pytest.raises(WriteError):
        sink.close()


def test_an_open_writer_cannot_be_pickled(tmp_path: Path) -> None:
    with ShardWriter(pattern(tmp_path)) as sink, pytest.raises(TypeError, match="ShardWriter cannot be pickled"):
        pickle.dumps(sink)

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rays import killing
from shards import numbered_shards
from work import contents, leftovers

import webds
import webds.ray
from webds.errors import EncodeError, OpenError, WriteError

if TYPE_CHECKING:
    from objectstores import S3Server

pytestmark = pytest.mark.usefixtures("local_ray")


def numbered(count: int, blocks: int = 4) -> Any:
    """Return a dataset of samples that are numbered through, in blocks of equal size."""
    import ray.data

    def sample(row: dict[str, Any]) -> dict[str, Any]:
        return {"__key__": f"key{row['id']:05d}", "cls": row["id"], "txt": f"text {row['id']}"}

    return ray.data.range(count, override_num_blocks=blocks).map(sample)


def read(urls: Any) -> list[dict[str, Any]]:
    return list(webds.DatasetBuilder(urls).decode().build())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def by_hand(folder: Path, counts: list[int], **options: Any) -> dict[str, bytes]:
    """Return the files that webds.ShardWriter makes of the samples of `numbered`, cut as the counts say."""
    folder.mkdir()
    number = 0
    with webds.ShardWriter(str(folder / "x-%06d.tar"), **options) as sink:
        for count in counts:
            for _ in range(count):
                sink.write({"__key__": f"key{number:05d}", "cls": number, "txt": f"text {number}"})
                number += 1
            sink.next_stream()
    return files(folder)


def test_each_block_becomes_a_shard_with_index_and_manifest(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    written = webds.ray.write_shards(numbered(20), tmp_path / "new" / "x-%06d.tar", manifest="m.json", md5=True)
    assert (written.shards, written.samples, written.kept) == (4, 20, 0)
    assert files(tmp_path / "new") == by_hand(tmp_path / "own", [5] * 4, manifest="m.json", md5=True)
    assert len(webds.DatasetBuilder(str(tmp_path / "new" / "m.json")).indexed().build()) == 20
    assert leftovers(tmp_path) == []


def test_without_index_there_are_shards_alone_and_a_relative_pattern_is_meant_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    webds.ray.write_shards(numbered(6, 2), "x-%d.tar")
    assert sorted(os.listdir()) == ["x-0.tar", "x-1.tar"]
    webds.ray.write_shards(numbered(6, 2), "y-%d.tar", index=True)
    assert sorted(path.name for path in tmp_path.glob("y*")) == ["y-0.idx", "y-0.tar", "y-1.idx", "y-1.tar"]


def test_maxcount_is_what_is_brought_together_and_cut(tmp_path: Path) -> None:
    written = webds.ray.write_shards(numbered(20), tmp_path / "x-%d.tar", maxcount=10)
    assert (written.shards, written.samples) == (2, 20)
    assert [len(read(str(tmp_path / f"x-{number}.tar"))) for number in range(2)] == [10, 10]
    written = webds.ray.write_shards(numbered(20, 1), tmp_path / "y-%d.tar", maxcount=8)
    assert [len(read(str(tmp_path / f"y-{number}.tar"))) for number in range(3)] == [7, 7, 6]
    assert [sample["cls"] for sample in read(str(tmp_path / "y-{0..2}.tar"))] == list(range(20))


def test_maxsize_ends_a_shard(tmp_path: Path) -> None:
    written = webds.ray.write_shards(numbered(8, 1), tmp_path / "x-%d.tar", maxsize=20)
    assert (written.shards, written.samples) == (3, 8)  # the third sample reaches 21 bytes
    with pytest.raises(ValueError, match="maxsize=0"):
        webds.ray.write_shards(numbered(8, 1), tmp_path / "z-%d.tar", maxsize=0)


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    import ray.data

    items = [
        {"__key__": str(n), "json": {"a": n}, "npy": np.full((2, 2), n), "bin": b"\0", "txt": None if n else "ä"}
        for n in range(3)
    ]
    webds.ray.write_shards(ray.data.from_items(items, override_num_blocks=1), tmp_path / "x-%d.tar")
    found = read(str(tmp_path / "x-0.tar"))
    assert [sample.get("txt") for sample in found] == ["ä", None, None]
    assert "txt" not in found[1]
    assert [(sample["json"], sample["bin"]) for sample in found] == [({"a": n}, b"\0") for n in range(3)]
    np.testing.assert_array_equal(found[2]["npy"], np.full((2, 2), 2))


def test_what_was_read_is_written_as_it_was(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3, 4)
    webds.ray.write_shards(webds.ray.read_shards(urls), tmp_path / "new-%d.tar")
    assert contents(str(tmp_path / "new-*.tar")) == contents(urls)


def test_compress_encoder_keep_meta_and_mtime_are_those_of_the_writer(tmp_path: Path) -> None:
    dataset = numbered(2, 1).map(lambda row: {**row, "_note": "n"})
    webds.ray.write_shards(
        dataset, tmp_path / "x-%d.tar.gz", encoder={"txt": lambda text: text[::-1].encode()}, keep_meta=True, mtime=5
    )
    with webds.TarWriter(str(tmp_path / "own.tar.gz"), keep_meta=True, mtime=5) as sink:
        for n in range(2):
            sink.write({"__key__": f"key{n:05d}", "cls": n, "txt": f"text {n}"[::-1], "_note": "n"})
    assert (tmp_path / "x-0.tar.gz").read_bytes() == (tmp_path / "own.tar.gz").read_bytes()
    webds.ray.write_shards(numbered(2, 1), tmp_path / "y-%d.tar", compress="gz")
    assert (tmp_path / "y-0.tar").read_bytes()[:2] == b"\x1f\x8b"


def test_what_exists_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    from ray.exceptions import RayTaskError

    pattern = tmp_path / "x-%06d.tar"
    webds.ray.write_shards(numbered(20), pattern, manifest="m.json")
    before = files(tmp_path)
    with pytest.raises(WriteError, match="overwrite=True"):
        webds.ray.write_shards(numbered(10), pattern, manifest="m.json")
    with pytest.raises(RayTaskError, match="by zero"):
        webds.ray.write_shards(numbered(10).map(lambda row: 1 // 0), pattern, manifest="m.json", overwrite=True)
    assert files(tmp_path) == before
    written = webds.ray.write_shards(numbered(10, 2), pattern, manifest="m.json", overwrite=True)
    assert written.shards == 2
    assert files(tmp_path) == by_hand(tmp_path / "own", [5, 5], manifest="m.json")
    assert leftovers(tmp_path) == []


def test_a_task_that_is_killed_in_the_middle_is_done_again(tmp_path: Path) -> None:
    encoder = {"txt": killing(tmp_path / "killed")}
    written = webds.ray.write_shards(numbered(20), tmp_path / "x-%06d.tar", index=True, encoder=encoder)
    assert (tmp_path / "killed").exists()
    assert (written.shards, written.samples) == (4, 20)
    again = tmp_path / "again"
    again.mkdir()
    webds.ray.write_shards(numbered(20), again / "x-%06d.tar", index=True, encoder=encoder)  # kills no more
    (tmp_path / "killed").unlink()
    assert files(tmp_path) == files(again)
    assert [sample["cls"] for sample in read(str(tmp_path / "x-*.tar"))] == list(range(20))
    assert leftovers(tmp_path) == []


def failing_at(marker: str) -> Any:
    """Return an encoder that fails at the text 17 as long as there is such a file."""

    def encode(value: str) -> bytes:
        if value == "text 17" and os.path.exists(marker):
            raise RuntimeError("seventeen")
        return value.encode()

    return encode


def test_what_was_broken_off_goes_on_from_what_is_done(tmp_path: Path) -> None:
    marker, folder = tmp_path / "fails", tmp_path / "new"
    folder.mkdir()
    marker.touch()
    encoder = {"txt": failing_at(str(marker))}
    with pytest.raises(RuntimeError, match="seventeen"):
        webds.ray.write_shards(numbered(20), folder / "x-%06d.tar", encoder=encoder, index=True, concurrency=1)
    assert files(folder) == {}
    (staged,) = (path for path in folder.iterdir() if path.is_dir())
    assert sorted(path.name[:6] for path in staged.iterdir()) == ["000000", "000001", "000002"]
    marker.unlink()
    # Other rows, or other arguments, and it is other work.
    changed = numbered(20).map(lambda row: {**row, "cls": row["cls"] + (row["cls"] == 7)})
    times = {path.name: path.stat().st_mtime_ns for path in staged.iterdir()}
    written = webds.ray.write_shards(changed, folder / "x-%06d.tar", encoder=encoder, index=True)
    assert (written.shards, written.samples, written.kept) == (4, 20, 2)
    assert len(times) == 3
    assert [sample["cls"] for sample in read(str(folder / "x-*.tar"))] == [*range(7), 8, *range(8, 20)]
    assert leftovers(folder) == []


def test_names_that_were_given_before_it_was_broken_off_are_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, names = os.replace, list[str]()

    def replace(source: str, target: str) -> None:
        if target.endswith(".tar"):
            names.append(target)
            if len(names) == 3:
                raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            webds.ray.write_shards(numbered(20), tmp_path / "x-%06d.tar", manifest="m.json")
    assert sorted(path.name for path in tmp_path.glob("*.tar")) == ["x-000000.tar", "x-000001.tar"]
    written = webds.ray.write_shards(numbered(20), tmp_path / "x-%06d.tar", manifest="m.json")
    assert (written.shards, written.kept) == (4, 4)
    assert files(tmp_path) == by_hand(tmp_path / "own", [5] * 4, manifest="m.json")
    assert leftovers(tmp_path) == []


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: str, target: str) -> None:
        raise PermissionError(1, "not here")

    monkeypatch.setattr(os, "link", link)
    webds.ray.write_shards(numbered(20), tmp_path / "x-%06d.tar", manifest="m.json")
    assert files(tmp_path) == by_hand(tmp_path / "own", [5] * 4, manifest="m.json")


def test_an_error_names_sample_and_pattern(tmp_path: Path) -> None:
    pattern = str(tmp_path / "x-%d.tar")
    dataset = numbered(20).map(lambda row: {**row, "odd": "text"})
    with pytest.raises(EncodeError) as caught:
        webds.ray.write_shards(dataset, pattern)
    assert (caught.value.url, caught.value.field, caught.value.stage) == (pattern, "odd", "write")
    assert caught.value.key is not None
    with pytest.raises(WriteError, match="__key__"):
        webds.ray.write_shards(numbered(4).drop_columns(["__key__"]), pattern)
    with pytest.raises(OpenError):
        webds.ray.write_shards(numbered(4), tmp_path / "nowhere" / "x-%d.tar")


def test_a_folder_that_hosts_do_not_share_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from webds.ray import writing

    real = writing._run

    def run(*arguments: Any) -> Any:
        parts = real(*arguments)
        shutil.rmtree(parts[1].place)  # as if another host had written it to a disk of its own
        return parts

    monkeypatch.setattr(writing, "_run", run)
    with pytest.raises(WriteError, match="all hosts share"):
        webds.ray.write_shards(numbered(4, 2), tmp_path / "x-%d.tar")


def test_the_order_of_a_dataset_is_set_for_the_writing_alone(tmp_path: Path) -> None:
    dataset = numbered(4, 1)
    webds.ray.write_shards(dataset, tmp_path / "x-%d.tar")
    assert not dataset.context.execution_options.preserve_order


def test_shards_of_a_store_have_the_numbers_of_their_tasks(s3: S3Server) -> None:
    bucket, opener = s3.bucket(), s3.opener()
    pattern = f"s3://{bucket}/x-%06d.tar"
    written = webds.ray.write_shards(numbered(20), pattern, opener=opener)
    assert (written.shards, written.samples) == (4, 20)
    assert s3.keys(bucket) == [f"x-00000{number}.tar" for number in range(4)]

    def numbers() -> list[int]:
        shards = webds.DatasetBuilder(f"s3://{bucket}/x-*.tar", opener=opener).decode().build()
        return [sample["cls"] for sample in shards]

    assert numbers() == list(range(20))
    with pytest.raises(WriteError, match="overwrite=True"):
        webds.ray.write_shards(numbered(10), pattern, opener=opener)
    webds.ray.write_shards(numbered(10), pattern, opener=opener, maxcount=5, overwrite=True)
    assert numbers() == list(range(10))
    with pytest.raises(ValueError, match="for local files"):
        webds.ray.write_shards(numbered(10), pattern, opener=opener, index=True)

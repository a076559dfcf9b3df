"""What `ShardWriter` writes beside its shards: member tables and a manifest."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from webds.errors import OpenError, UrlError
from webds.index import parse_table, scan
from webds.sinks import ShardWriter, TarWriter


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(sink: ShardWriter, *numbers: int) -> None:
    for number in numbers:
        sink.write({"__key__": f"{number:03d}", "bin": bytes(number), "txt": f"text {number}"})


def entries(path: Path) -> list[dict[str, Any]]:
    manifest = json.loads(path.read_text())
    assert manifest["__kind__"] == "wids-shard-index-v1"
    found: list[dict[str, Any]] = manifest["shardlist"]
    return found


def check(folder: Path, manifest: str = "m.json") -> list[str]:
    """See that all sidecars fit their shards, and return the shards that the manifest lists."""
    listed = entries(folder / manifest)
    for entry in listed:
        path = folder / entry["url"]
        found = scan(io.BytesIO(path.read_bytes()))
        table = parse_table(path.with_suffix(".idx").read_bytes(), "x.idx", size=path.stat().st_size)
        assert found.table is not None
        assert table is not None
        assert table.same(found.table)
        assert (entry["nsamples"], entry["filesize"]) == (found.count, path.stat().st_size)
    assert sorted(entry["url"] for entry in listed) == [name for name in names(folder) if name.endswith(".tar")]
    return [entry["url"] for entry in listed]


def test_without_index_there_are_shards_only(tmp_path: Path) -> None:
    with ShardWriter(f"{tmp_path}/x-%03d.tar") as sink:
        fill(sink, 0)
    assert names(tmp_path) == ["x-000.tar"]


def test_index_writes_a_member_table_beside_each_shard(tmp_path: Path) -> None:
    with ShardWriter(f"{tmp_path}/x-%03d.tar", maxcount=2, index=True) as sink:
        fill(sink, 0, 1, 2)
        assert names(tmp_path)[-2:] == ["x-000.idx", "x-000.tar"]
    assert names(tmp_path) == ["x-000.idx", "x-000.tar", "x-001.idx", "x-001.tar"]
    assert (tmp_path / "x-001.idx").read_text() == "v1.2 1\nbin 512 2 002.bin txt 1536 6 002.txt\n"


def test_manifest_lists_the_shards_and_implies_index(tmp_path: Path) -> None:
    with ShardWriter(f"{tmp_path}/x-%03d.tar", maxcount=2, manifest="m.json") as sink:
        fill(sink, *range(5))
    assert check(tmp_path) == ["x-000.tar", "x-001.tar", "x-002.tar"]
    assert "md5sum" not in entries(tmp_path / "m.json")[0]


def test_names_of_all_kinds_have_their_right_offsets(tmp_path: Path) -> None:
    keys = ["a", "é/ö", "k" * 96, "d/" * 60 + "k", "k" * 150]
    with ShardWriter(f"{tmp_path}/x-%03d.tar", manifest="m.json") as sink:
        for key in keys:
            sink.write({"__key__": key, "bin": bytes(3 << 20), "txt": "t", "jpg": b"1"})
    assert check(tmp_path) == ["x-000.tar"]


def test_md5_is_that_of_the_file(tmp_path: Path) -> None:
    with ShardWriter(f"{tmp_path}/x-%d.tar.gz", manifest="m.json", md5=True) as sink:
        fill(sink, *range(50))
    (entry,) = entries(tmp_path / "m.json")
    assert entry["md5sum"] == hashlib.md5((tmp_path / "x-0.tar.gz").read_bytes()).hexdigest()


def test_a_compressed_shard_is_counted_and_has_no_table(tmp_path: Path) -> None:
    with ShardWriter(f"{tmp_path}/x-%d.tar.gz", manifest="m.json") as sink:
        fill(sink, 1, 2)
    size = (tmp_path / "x-0.tar.gz").stat().st_size
    assert names(tmp_path) == ["m.json", "x-0.tar.gz"]
    assert entries(tmp_path / "m.json") == [
        {"url": "x-0.tar.gz", "nsamples": 2, "filesize": size, "no_index": "compressed"}
    ]


def test_a_name_with_white_space_has_no_table(tmp_path: Path) -> None:
    with ShardWriter(f"{tmp_path}/x-%d.tar", manifest="m.json") as sink:
        sink.write({"__key__": "a b", "txt": "t"})
    assert names(tmp_path) == ["m.json", "x-0.tar"]
    assert entries(tmp_path / "m.json")[0]["no_index"] == "names"


def test_what_others_wrote_into_the_manifest_is_kept(tmp_path: Path) -> None:
    other = {"url": "https://host/y.tar", "nsamples": 7, "colour": "blue"}
    manifest = {"__kind__": "wids-shard-index-v1", "name": "mine", "shardlist": [other]}
    (tmp_path / "m.json").write_text(json.dumps(manifest))
    with ShardWriter(f"{tmp_path}/x-%d.tar", manifest="m.json") as sink:
        fill(sink, 1)
    assert json.loads((tmp_path / "m.json").read_text())["name"] == "mine"
    assert entries(tmp_path / "m.json")[0] == other


@pytest.mark.parametrize("folder", ["", "lists/"])
def test_urls_are_relative_to_the_manifest(tmp_path: Path, folder: str) -> None:
    (tmp_path / "lists").mkdir()
    with ShardWriter(f"{tmp_path}/x-%d.tar", manifest=f"{folder}m.json") as sink:
        fill(sink, 1)
    (entry,) = entries(tmp_path / folder / "m.json")
    assert (tmp_path / folder / entry["url"]).resolve() == tmp_path / "x-0.tar"


def test_arguments_without_meaning_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="md5=True"):
        ShardWriter(f"{tmp_path}/x-%d.tar", md5=True)
    with pytest.raises(ValueError, match="local files"):
        ShardWriter("pipe:cat > %d.tar", index=True)
    with pytest.raises(OpenError, match="no such directory"):
        ShardWriter(f"{tmp_path}/x-%d.tar", manifest="missing/m.json")
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(UrlError, match="no manifest"):
        ShardWriter(f"{tmp_path}/x-%d.tar", manifest="m.json")


def test_an_exception_leaves_sidecars_of_finished_shards_only(tmp_path: Path) -> None:
    def run() -> None:
        with ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=2, manifest="m.json") as sink:
            fill(sink, *range(5))
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        run()
    assert check(tmp_path) == ["x-0.tar", "x-1.tar"]


def test_overwriting_replaces_sidecars_and_removes_stale_ones(tmp_path: Path) -> None:
    with ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=1, manifest="m.json") as sink:
        fill(sink, *range(5))
    with ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=2, manifest="m.json", overwrite=True) as sink:
        fill(sink, 10, 11, 12)
    assert check(tmp_path) == ["x-0.tar", "x-1.tar"]
    assert names(tmp_path) == ["m.json", "x-0.idx", "x-0.tar", "x-1.idx", "x-1.tar"]


@pytest.mark.parametrize("lost", [["x-1.idx"], ["m.json"], ["m.json", "x-0.idx", "x-1.idx"]])
@pytest.mark.parametrize("md5", [False, True])
def test_resume_makes_up_for_what_is_missing(tmp_path: Path, lost: list[str], md5: bool) -> None:
    with ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=2, manifest="m.json", md5=md5) as sink:
        fill(sink, *range(4))
    whole = entries(tmp_path / "m.json")
    for name in lost:
        (tmp_path / name).unlink()
    with ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=2, manifest="m.json", resume=True, md5=md5) as sink:
        fill(sink, 4)
    assert check(tmp_path) == ["x-0.tar", "x-1.tar", "x-2.tar"]
    assert entries(tmp_path / "m.json")[:2] == whole


WRITER = """
import os, sys
from webds.sinks import ShardWriter
pattern, start, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with ShardWriter(pattern, maxcount=3, manifest="m.json", resume=True) as sink:
    begun = sink.shard - 1
    for number in range(3 * begun, count):
        sink.write({"__key__": f"{start + number:06d}", "bin": bytes(number % 999), "txt": "t"})
        print(number, flush=True)
"""


def writer(folder: Path, name: str, start: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, f"{folder}/{name}-%03d.tar", str(start), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_writers_share_a_manifest(tmp_path: Path) -> None:
    processes = [writer(tmp_path, name, 1000 * i, 90) for i, name in enumerate("abcd")]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert check(tmp_path) == [f"{name}-{n:03d}.tar" for name in "abcd" for n in range(30)]
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("lines", [1, 7, 12, 40])
def test_a_writer_that_is_killed_and_resumed_leaves_a_right_manifest(tmp_path: Path, lines: int) -> None:
    process = writer(tmp_path, "x", 0, 3000)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    process = writer(tmp_path, "x", 0, 3 * (lines + 400) + 1)
    process.communicate()
    assert process.returncode == 0
    check(tmp_path)
    assert sum(entry["nsamples"] for entry in entries(tmp_path / "m.json")) == 3 * (lines + 400) + 1


def test_on_member_and_on_bytes_tell_what_a_tar_writer_writes(tmp_path: Path) -> None:
    members: list[tuple[str, int, int]] = []
    parts: list[bytes] = []
    path = tmp_path / "x.tar"
    with TarWriter(
        path, on_member=lambda *member: members.append(member), on_bytes=lambda data: parts.append(bytes(data))
    ) as sink:
        sink.write({"__key__": "a", "txt": "text", "bin": bytes(600)})
    assert members == [("a.bin", 512, 600), ("a.txt", 2048, 4)]
    assert b"".join(parts) == path.read_bytes()
    assert path.read_bytes()[2048:2052] == b"text"


def test_dali_reads_our_table_and_we_read_its(tmp_path: Path) -> None:
    dali = pytest.importorskip("nvidia.dali")
    wds2idx = pytest.importorskip("wds2idx")
    with ShardWriter(f"{tmp_path}/x-%d.tar", index=True) as sink:
        for number in range(5):
            sink.write({"__key__": f"d/{number}", "bin": bytes([number] * (number + 1)), "cls": number})
    ours = (tmp_path / "x-0.idx").read_bytes()
    with wds2idx.IndexCreator(f"{tmp_path}/x-0.tar", f"{tmp_path}/dali.idx", verbose=False) as creator:
        creator.create_index()
    theirs = (tmp_path / "dali.idx").read_bytes()
    assert theirs == ours

    @dali.pipeline_def(batch_size=5, num_threads=1, device_id=None)  # type: ignore[untyped-decorator]
    def pipeline() -> Any:
        return dali.fn.readers.webdataset(
            paths=[f"{tmp_path}/x-0.tar"], index_paths=[f"{tmp_path}/x-0.idx"], ext=["bin"]
        )

    pipe = pipeline()
    pipe.build()
    (batch,) = pipe.run()
    assert [bytes(batch.at(i)) for i in range(5)] == [bytes([i] * (i + 1)) for i in range(5)]


def test_dali_reads_our_shards_by_their_tables_and_decodes_the_images(tmp_path: Path) -> None:
    """Several shards, members in any order, images decoded by the processor, and a field that a sample lacks."""
    dali = pytest.importorskip("nvidia.dali")
    images = np.random.default_rng(0).integers(0, 256, (7, 6, 5, 3), np.uint8)
    with ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=3, index=True) as sink:
        for number, image in enumerate(images):
            extra = {"txt": f"text {number}"} if number % 2 else {}
            sink.write({"__key__": f"d/{number}", "png": image, "cls": number, **extra})
    shards = sorted(map(str, tmp_path.glob("*.tar")))

    @dali.pipeline_def(batch_size=7, num_threads=1, device_id=None)  # type: ignore[untyped-decorator]
    def pipeline() -> Any:
        stored, label, text = dali.fn.readers.webdataset(
            paths=shards, index_paths=[shard.replace(".tar", ".idx") for shard in shards], ext=["png", "cls", "txt"],
            missing_component_behavior="empty",
        )  # fmt: skip
        return dali.fn.decoders.image(stored, device="cpu"), label, text

    pipe = pipeline()
    pipe.build()
    decoded, labels, texts = pipe.run()
    assert [int(bytes(labels.at(i))) for i in range(7)] == list(range(7))
    assert [bytes(texts.at(i)).decode() for i in range(7)] == ["", "text 1", "", "text 3", "", "text 5", ""]
    for i, image in enumerate(images):
        assert np.array_equal(decoded.at(i), image)


def test_what_a_killed_writer_left_of_indexes_is_removed_by_who_resumes(tmp_path: Path) -> None:
    pattern = str(tmp_path / "x-%03d.tar")
    with ShardWriter(pattern, manifest="m.json") as sink:
        fill(sink, 1, 2)
    token = "0123456789abcdef"
    for name in (f".x-000.idx.{token}.part", f".m.json.{token}.part"):
        (tmp_path / name).write_text("half")
    others = [f".y-000.idx.{token}.part", f".n.json.{token}.part", ".x-000.idx.part"]
    for name in others:
        (tmp_path / name).write_text("somebody else's")
    with ShardWriter(pattern, manifest="m.json", resume=True) as sink:
        fill(sink, 3)
    assert names(tmp_path) == sorted([*others, "m.json", "x-000.idx", "x-000.tar", "x-001.idx", "x-001.tar"])
    check(tmp_path)


def test_a_table_goes_with_the_shard_that_is_replaced(tmp_path: Path) -> None:
    """Whoever does not ask for a new one is not left with the old one, which would not fit."""
    with ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=1, index=True) as sink:
        fill(sink, 1, 2, 3)
    with ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=1, overwrite=True) as sink:
        fill(sink, 4, 5)
    assert names(tmp_path) == ["x-0.tar", "x-1.tar"]

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from shards import numbered_shards, tar_bytes, write_members, write_shard
from typing_extensions import override
from webserver import Exchange, WebServer, serving

import webds
from webds.abc import Opener
from webds.errors import OpenError, SampleError, StaleIndexError, TarFormatError
from webds.openers.schemes import default_opener
from webds.sources.indexed import IndexedTarSource, SampleInfo
from webds.sources.tar import TarSource
from webds.testing import IndexedSourceSuite
from webds.typing import UNREAD, Sample

SHARDS: list[list[dict[str, Any]]] = [
    [{"__key__": "a", "cls": b"1", "txt": b"one"}, {"__key__": "b", "cls": b"2"}, {"__key__": "c", "txt": b"three"}],
    [],
    [{"__key__": "é/d", "cls": b"4" * 3000, "seg.png": b""}, {"__key__": "e" * 120, "cls": b"5"}],
]


def source(urls: Any, **options: Any) -> IndexedTarSource:
    return IndexedTarSource(TarSource(urls, default_opener(), **options))


def numbered(folder: Path, **options: Any) -> IndexedTarSource:
    return source(numbered_shards(folder), **options)


def write(folder: Path, suffix: str = "") -> list[str]:
    folder.mkdir(exist_ok=True)
    urls: list[str] = []
    for number, samples in enumerate(SHARDS):
        path = folder / f"x-{number}.tar{suffix}"
        members = [(f"{s['__key__']}.{f}", s[f]) for s in samples for f in s if f != "__key__"]
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        path.write_bytes(gzip.compress(stream.getvalue()) if suffix else stream.getvalue())
        urls.append(str(path))
    return urls


class _Suite(IndexedSourceSuite[Sample]):
    @override
    def samples(self) -> Sequence[Sequence[Sample]]:
        return SHARDS

    @override
    def make_source(self, folder: Path) -> IndexedTarSource:
        raise NotImplementedError

    @override
    def make_damaged(self, folder: Path) -> IndexedTarSource:
        made = self.make_source(folder)
        made.counts()
        last = made.tar.shards()[-1]
        data = Path(last).read_bytes()
        Path(last).write_bytes(data[: len(data) // 2 if last.endswith("gz") else 6000])
        return made


class TestScannedShards(_Suite):
    @override
    def make_source(self, folder: Path) -> IndexedTarSource:
        return source(write(folder))


class TestIndexedShards(_Suite):
    @override
    def make_source(self, folder: Path) -> IndexedTarSource:
        return source(webds.build_index(write(folder), rebuild=True))


class TestTablesWithoutManifest(_Suite):
    @override
    def make_source(self, folder: Path) -> IndexedTarSource:
        urls = write(folder)
        (folder / "m.json").unlink(missing_ok=True)
        webds.build_index(urls, manifest=folder / "m.json")
        return source(urls)


class TestCompressedShards(_Suite):
    @override
    def make_source(self, folder: Path) -> IndexedTarSource:
        return source(webds.build_index(write(folder, ".gz"), rebuild=True))


def is_not_dropped(info: SampleInfo) -> bool:
    return info.key != "dropped"


class TestSelectedSamples(_Suite):
    @override
    def make_source(self, folder: Path) -> IndexedTarSource:
        urls = write(folder)
        write_shard(folder / "x-1.tar", [{"__key__": "dropped", "cls": "1"}])
        return source(urls).where(is_not_dropped)


NAMES = st.sampled_from(
    ["a.x", "a.y", "b.x", "b.Y", "c.x", "nodot", ".hidden", "__meta__/a.x", "d/a.x", "é.x", "k" * 120 + ".x"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(NAMES, st.binary(max_size=600)), max_size=8), st.data())
def test_the_samples_are_those_of_the_stream(tmp_path: Path, members: list[tuple[str, bytes]], data: Any) -> None:
    path = tmp_path / "x.tar"
    path.with_suffix(".idx").unlink(missing_ok=True)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    path.write_bytes(stream.getvalue())
    plain = TarSource(str(path), default_opener())
    try:
        samples = list(plain.read(str(path)))
    except SampleError as error:
        expected = error.key, error.field
        with pytest.raises(SampleError) as caught:
            source(str(path)).counts()
        assert (caught.value.key, caught.value.field) == expected
        return
    if data.draw(st.booleans()):
        webds.build_index(str(path), manifest=tmp_path / "m.json", rebuild=True)
        assert path.with_suffix(".idx").exists()
    indexed = source(str(path))
    assert indexed.counts() == [len(samples)]
    start = data.draw(st.integers(0, len(samples)))
    assert list(indexed.read(str(path), start=start)) == samples[start:]
    ordinals = data.draw(st.lists(st.integers(0, len(samples) - 1), max_size=6)) if samples else []
    assert list(indexed.read_at(str(path), ordinals)) == [samples[i] for i in ordinals]


def test_fields_that_nobody_wants_are_not_read(tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path / "x.tar", [{"__key__": str(i), "cls": str(i), "jpg": bytes(1 << 20)} for i in range(8)]
    )
    asked: list[tuple[int, int]] = []
    inner = default_opener()

    class Counting(Opener):
        @override
        def open(self, url: str, mode: Any = "rb") -> Any:
            with inner.open(url, mode) as stream:
                return io.BytesIO(stream.read())

        @override
        def size(self, url: str) -> int | None:
            return inner.size(url)

        @override
        def read_range(self, url: str, start: int, length: int) -> bytes:
            asked.append((start, length))
            return inner.read_range(url, start, length)

    webds.build_index(shard)
    indexed = IndexedTarSource(TarSource(shard, Counting()))
    indexed._tables.get(shard)
    asked.clear()
    (sample,) = indexed.read_at(shard, [3], ["cls"])
    assert sample == {"__key__": "3", "cls": b"3", "jpg": UNREAD}
    assert [length for _, length in asked] == [513]


def ranged(web: WebServer, path: str, body: bytes) -> str:
    def answer(exchange: Exchange) -> None:
        exchange.reply_range(body)

    web.routes[path] = answer
    return web.url(path)


def test_neighbours_of_a_remote_shard_are_read_in_one_request(tmp_path: Path) -> None:
    body = tar_bytes([(f"{i}.{field}", bytes([i]) * 3000) for i in range(50) for field in ("bin", "txt")])
    with serving() as web:
        url = ranged(web, "/x.tar", body)
        manifest = webds.build_index(url, directory=tmp_path)
        assert json.loads(Path(manifest).read_text())["shardlist"] == [
            {"url": url, "nsamples": 50, "filesize": len(body), "index": "x.idx"}
        ]
        indexed = source(manifest)
        assert indexed.counts() == [50]
        list(indexed.read_at(url, [0]))
        web.asked.clear()
        samples = list(indexed.read_at(url, [7, 5, 6, 30]))
        assert [sample["__key__"] for sample in samples] == ["7", "5", "6", "30"]
        assert samples[3]["bin"] == bytes([30]) * 3000
        assert len(web.asked) == 1, "the gap between them is smaller than what a request costs"
        assert [sample["__key__"] for sample in indexed.read(url, start=48)] == ["48", "49"]


def test_a_remote_table_beside_a_remote_shard_is_found(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "x.tar", [{"__key__": "a", "cls": "1"}])
    webds.build_index(shard)
    with serving() as web:
        url = ranged(web, "/x.tar", Path(shard).read_bytes())
        indexed = source(url)
        with pytest.raises(StaleIndexError, match="no index, and is not local"):
            indexed.counts()
        web.routes["/x.idx"] = (tmp_path / "x.idx").read_bytes()
        assert source(url).counts() == [1]
        assert list(source(url).read_at(url, [0])) == [{"__key__": "a", "cls": b"1"}]


class TestStale:
    def manifest(self, folder: Path) -> tuple[str, Path]:
        write_shard(folder / "x.tar", [{"__key__": f"{i}", "cls": f"{i}", "txt": "t"} for i in range(6)])
        return webds.build_index(folder / "x.tar"), folder / "x.tar"

    def test_another_size(self, tmp_path: Path) -> None:
        manifest, shard = self.manifest(tmp_path)
        write_shard(shard, [{"__key__": f"{i}", "cls": f"{i}"} for i in range(60)])
        indexed = source(manifest)
        with pytest.raises(StaleIndexError, match=r"manifest says 20480 bytes.*build_index") as caught:
            list(indexed.read_at(str(shard), [0]))
        assert caught.value.url == str(shard)
        with pytest.raises(OpenError, match="where 20480 were expected"):
            list(source(manifest).read(str(shard)))
        with pytest.raises(StaleIndexError, match="there are more"):
            list(source(manifest, verify=None).read(str(shard)))

    @pytest.mark.parametrize(
        "samples",
        [
            [{"__key__": f"{i + 1}", "cls": f"{i}", "txt": "t"} for i in range(6)],
            [{"__key__": f"{i}", "cls": f"{i}" * 3, "txt": "t"} for i in range(6)],
            [{"__key__": f"{i}", "cls": "1" * 700, "txt": "t"} for i in range(6)],
        ],
    )
    def test_another_shard_of_the_same_size(self, tmp_path: Path, samples: Any) -> None:
        manifest, shard = self.manifest(tmp_path)
        size = shard.stat().st_size
        write_shard(shard, samples)
        assert shard.stat().st_size == size
        with pytest.raises(StaleIndexError, match="index is of another version"):
            list(source(manifest).read_at(str(shard), [4]))

    def test_further_samples(self, tmp_path: Path) -> None:
        manifest, shard = self.manifest(tmp_path)
        Path(manifest).unlink()
        write_shard(shard, [{"__key__": f"{i}", "cls": f"{i}", "txt": "t"} for i in range(7)])
        with pytest.raises(StaleIndexError, match="other members"):
            list(source(str(shard)).read_at(str(shard), [0]))

    def test_a_count_that_is_not_so(self, tmp_path: Path) -> None:
        manifest, shard = self.manifest(tmp_path)
        text = Path(manifest).read_text()
        Path(manifest).write_text(text.replace('"nsamples": 6', '"nsamples": 7'))
        with pytest.raises(StaleIndexError, match="there are 6"):
            list(source(manifest).read(str(shard)))
        with pytest.raises(StaleIndexError, match="says 7 samples"):
            list(source(manifest).read_at(str(shard), [6]))

    def test_a_damaged_table(self, tmp_path: Path) -> None:
        manifest, shard = self.manifest(tmp_path)
        (tmp_path / "x.idx").write_bytes(b"\0" * 100)
        with pytest.raises(StaleIndexError, match="no member table"):
            list(source(manifest).read_at(str(shard), [0]))

    def test_metadata_at_the_end_is_no_sample(self, tmp_path: Path) -> None:
        url = write_members(tmp_path / "x.tar", [("a.x", b"1"), ("__meta__/b.x", b"2")])
        webds.build_index(url)
        assert list(source(url).read_at(url, [0])) == [{"__key__": "a", "x": b"1"}]


def test_an_older_table_without_names_is_passed_by(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("a.x", b"1")])
    (tmp_path / "x.idx").write_bytes(b"v1.1 1\nx 512 1\n")
    indexed = source(url)
    assert indexed.counts() == [1]
    assert list(indexed.read_at(url, [0])) == [{"__key__": "a", "x": b"1"}]


def test_another_keys_rule_is_followed_without_the_index(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("a/1", b"1"), ("a/2", b"2"), ("b/1", b"3")])
    indexed = source(url, keys=lambda name: tuple(name.split("/")))
    assert indexed.counts() == [2]
    assert list(indexed.read_at(url, [1, 0])) == [{"__key__": "b", "1": b"3"}, {"__key__": "a", "1": b"1", "2": b"2"}]
    assert indexed.find("b") == [(url, 1)]


def test_sparse_members_are_expanded(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    (tmp_path / "a.bin").write_bytes(b"1")
    with open(tmp_path / "a.bin", "r+b") as file:
        file.seek(1 << 20)
        file.write(b"2")
    command = ["tar", "-C", str(tmp_path), "--sparse", "-cf", str(path), "a.bin"]
    if shutil.which("tar") is None or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("no GNU tar")
    indexed = source(webds.build_index(str(path)))
    (sample,) = indexed.read_at(str(path), [0])
    assert sample["bin"] == b"1" + bytes((1 << 20) - 1) + b"2"


def test_a_user_s_stream_is_read_as_it_says(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("a.x", b"1"), ("b.x", b"2")])
    zipped = tmp_path / "x.bin"
    zipped.write_bytes(gzip.compress(Path(url).read_bytes()))
    from webds.openers.functions import FunctionOpener

    indexed = IndexedTarSource(TarSource(str(zipped), FunctionOpener(gzip.open)))
    assert list(indexed.read_at(str(zipped), [1])) == [{"__key__": "b", "x": b"2"}]


def test_where_leaves_samples_out_before_data_is_read(tmp_path: Path) -> None:
    seen: list[SampleInfo] = []

    def even(info: SampleInfo) -> bool:
        seen.append(info)
        return info.ordinal % 2 == 0

    indexed = numbered(tmp_path).where(even)
    assert indexed.counts() == [3, 3, 3, 3]
    assert len(seen) == 20
    assert seen[6] == SampleInfo(indexed.shards()[1], 1, "key00006", {"cls": 1, "txt": 6})
    assert [s["__key__"] for s in indexed.read(indexed.shards()[1], start=1)] == ["key00007", "key00009"]
    assert indexed.find("key00007") == [(indexed.shards()[1], 1)]
    assert indexed.find("key00006") == []
    copy = pickle.loads(pickle.dumps(indexed))
    assert copy.counts() == [3, 3, 3, 3]
    assert len(seen) == 20, "they are asked once"
    assert indexed.where(lambda info: info.sizes["cls"] == 2).counts() == [0, 0, 3, 3]


def test_damage_behind_the_start_is_located_in_the_whole_shard(tmp_path: Path) -> None:
    indexed = numbered(tmp_path)
    shard = indexed.shards()[0]
    list(indexed.read_at(shard, [0]))
    data = bytearray(Path(shard).read_bytes())
    data[1024 * 8] ^= 1
    Path(shard).write_bytes(data)
    with pytest.raises(TarFormatError) as plain:
        list(indexed.tar.read(shard))
    with pytest.raises(TarFormatError) as caught:
        list(indexed.read(shard, start=2))
    assert caught.value.offset == plain.value.offset


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    indexed = source([str(tmp_path / "missing.tar")])
    with pytest.raises(OpenError) as caught:
        indexed.counts()
    assert caught.value.url == str(tmp_path / "missing.tar")


def test_duplicates_other_than_errors_are_refused() -> None:
    with pytest.raises(ValueError, match="duplicates='first'"):
        source("x.tar", duplicates="first")


def test_a_source_is_equal_to_its_copy(tmp_path: Path) -> None:
    indexed = numbered(tmp_path)
    assert pickle.loads(pickle.dumps(indexed)) == indexed
    assert attrs.evolve(indexed).counts() == indexed.counts()

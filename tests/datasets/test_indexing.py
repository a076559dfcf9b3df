"""``build_index``: tables and a manifest for shards that exist."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from shards import numbered_shards, tar_bytes, write_members, write_shard
from webserver import Exchange, serving

import webds
from webds.errors import OpenError, SampleError, TarFormatError, UrlError


def entries(manifest: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(manifest).read_text())["shardlist"]
    return found


def test_it_writes_tables_beside_the_shards_and_a_manifest(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    manifest = webds.build_index(f"{tmp_path}/shard-*.tar")
    assert manifest == f"{tmp_path}/index.json"
    assert entries(manifest) == [
        {"url": f"shard-{n:06d}.tar", "nsamples": 5, "filesize": os.path.getsize(urls[n])} for n in range(4)
    ]
    assert (tmp_path / "shard-000001.idx").read_text().startswith("v1.2 5\ncls 512 1 key00005.cls txt 1536 6 key")
    assert list(webds.DatasetBuilder(manifest).indexed().build()) == list(webds.DatasetBuilder(urls).build())


def test_manifest_and_directory_say_where(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    (tmp_path / "apart").mkdir()
    manifest = webds.build_index(urls, manifest=tmp_path / "m.json", directory=tmp_path / "apart")
    assert entries(manifest)[0]["index"] == "apart/shard-000000.idx"
    assert not list(tmp_path.glob("*.idx"))
    assert len(webds.DatasetBuilder(manifest).indexed().build()) == 20


def test_workers_do_it_in_processes(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    assert len(entries(webds.build_index(urls, workers=2))) == 4
    with pytest.raises(ValueError, match="workers=-1"):
        webds.build_index(urls, workers=-1)


def test_an_error_in_a_process_names_the_shard_and_the_others_are_kept(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    Path(urls[3]).write_bytes(Path(urls[3]).read_bytes()[:3000])
    with pytest.raises(TarFormatError) as caught:
        webds.build_index(urls)
    assert caught.value.url == urls[3]
    assert len(entries(f"{tmp_path}/index.json")) == 3


def test_it_goes_on_where_it_was_and_does_stale_ones_again(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    webds.build_index(urls)
    tables = [Path(url).with_suffix(".idx") for url in urls]
    tables[0].unlink()
    tables[1].write_bytes(b"v1.2 9\n")
    write_shard(Path(urls[2]), [{"__key__": f"{i}", "cls": "1"} for i in range(30)])
    before = tables[3].stat().st_ino, tables[3].stat().st_mtime_ns
    manifest = webds.build_index(urls)
    assert (tables[3].stat().st_ino, tables[3].stat().st_mtime_ns) == before
    assert [entry["nsamples"] for entry in entries(manifest)] == [5, 5, 30, 5]
    assert len(list(webds.DatasetBuilder(manifest).indexed().map_style())) == 45


def test_rebuild_does_all_again(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    webds.build_index(urls)
    before = Path(urls[0]).with_suffix(".idx").stat().st_ino
    keep = Path(urls[0]).with_suffix(".idx").open("rb")  # its inode is not used again meanwhile
    with keep:
        webds.build_index(urls, rebuild=True)
        assert Path(urls[0]).with_suffix(".idx").stat().st_ino != before


def test_md5_is_noted(tmp_path: Path) -> None:
    (url, *_) = numbered_shards(tmp_path)
    webds.build_index(url)
    (entry,) = entries(webds.build_index(url, md5=True))
    assert entry["md5sum"] == hashlib.md5(Path(url).read_bytes()).hexdigest()


def test_compressed_shards_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes([("a.x", b"1"), ("b.x", b"2")])))
    (entry,) = entries(webds.build_index(path))
    assert (entry["nsamples"], entry["no_index"]) == (2, "compressed")
    dataset = webds.DatasetBuilder(f"{tmp_path}/index.json").indexed().map_style()
    assert [dataset[i]["x"] for i in (1, 0)] == [b"2", b"1"]


def test_missing_end_accepts_an_archive_without_end_blocks(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes([("a.x", b"1")])[:1024])
    with pytest.raises(TarFormatError):
        webds.build_index(path)
    manifest = webds.build_index(path, missing_end="accept")
    assert webds.DatasetBuilder(manifest, missing_end="accept").indexed().map_style()[0]["x"] == b"1"


def test_samples_that_are_not_sound_are_errors(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("a.x", b""), ("b.x", b""), ("a.y", b"")])
    with pytest.raises(SampleError, match="apart"):
        webds.build_index(url)


def test_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name / "x.tar", [{"__key__": "a", "x": "1"}])
    with pytest.raises(UrlError, match="would both be"):
        webds.build_index([f"{tmp_path}/a/x.tar", f"{tmp_path}/b/x.tar"], directory=tmp_path)


def test_of_remote_shards_headers_are_read_by_ranges(tmp_path: Path) -> None:
    body = tar_bytes([(f"{i}.bin", bytes(4 << 20)) for i in range(5)])
    sent: list[int] = []

    def answer(exchange: Exchange) -> None:
        if exchange.command == "GET":
            first, last = exchange.headers["Range"].removeprefix("bytes=").split("-")
            sent.append(int(last) + 1 - int(first))
        exchange.reply_range(body)

    with serving() as web:
        web.routes["/x.tar"] = answer
        url = web.url("/x.tar")
        with pytest.raises(UrlError, match="directory="):
            webds.build_index(url)
        (entry,) = entries(webds.build_index(url, directory=tmp_path))
        assert (entry["url"], entry["nsamples"], entry["filesize"]) == (url, 5, len(body))
        assert sum(sent) < len(body) / 4
        dataset = webds.DatasetBuilder(f"{tmp_path}/index.json").indexed().map_style()
        assert dataset["3"]["bin"] == bytes(4 << 20)
        (tmp_path / "index.json").unlink()
        assert len(entries(webds.build_index(url, directory=tmp_path, opener=webds.HttpOpener()))) == 1


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(OpenError) as caught:
        webds.build_index(tmp_path / "x.tar")
    assert caught.value.url == str(tmp_path / "x.tar")

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pytest
import work
from objectstores import S3Server
from shards import numbered_shards, tar_bytes
from typing_extensions import override
from webserver import Exchange, serving
from work import leftovers

import webds
from webds.abc import Opener
from webds.errors import OpenError, WriteError
from webds.openers import FileOpener, SchemeOpener
from webds.tools.copying import copy


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_copies_are_the_same_bytes(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3)
    done = copy(urls, f"{tmp_path}/out/", jobs=2)
    assert files(tmp_path / "out") == {os.path.basename(url): Path(url).read_bytes() for url in urls}
    assert (done.files, done.kept, done.size) == (3, 0, sum(map(os.path.getsize, urls)))
    copy(urls, f"{tmp_path}/named-%03d.tar")
    assert (tmp_path / "named-002.tar").read_bytes() == Path(urls[2]).read_bytes()
    copy(urls[0], f"{tmp_path}/one")
    assert (tmp_path / "one").read_bytes() == Path(urls[0]).read_bytes()
    with pytest.raises(ValueError, match="are not written to"):
        copy(urls, f"{tmp_path}/several")
    assert leftovers(tmp_path) == []


def test_what_is_there_is_kept_if_it_is_the_same_whatever_its_size_says(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2)
    out = tmp_path / "out"
    copy(urls, f"{out}/")
    (out / "shard-000001.tar").unlink()
    done = copy(urls, f"{out}/")
    assert (done.files, done.kept) == (1, 1)
    data = bytearray(Path(urls[1]).read_bytes())
    data[600] ^= 1
    (out / "shard-000001.tar").write_bytes(data)
    with pytest.raises(WriteError, match="exists with another content") as caught:
        copy(urls, f"{out}/")
    assert caught.value.url == f"{out}/shard-000001.tar"
    done = copy(urls, f"{out}/", overwrite=True)
    assert done.files == 2
    assert files(out)["shard-000001.tar"] == Path(urls[1]).read_bytes()
    with pytest.raises(WriteError, match="is read, and would be written over"):
        copy(urls, f"{tmp_path}/", overwrite=True)


def test_between_a_web_server_a_store_and_files(tmp_path: Path, s3: S3Server) -> None:
    urls = numbered_shards(tmp_path, 2)
    bodies = {os.path.basename(url): Path(url).read_bytes() for url in urls}
    opener = SchemeOpener().with_opener("s3", s3.opener())
    bucket = s3.bucket()
    with serving() as web:
        web.routes |= {f"/{name}": functools.partial(Exchange.reply_range, body=body) for name, body in bodies.items()}
        copy([web.url(f"/{name}") for name in bodies], f"s3://{bucket}/data/", target_opener=opener, verify="hash")
        assert s3.keys(bucket) == [f"data/{name}" for name in bodies]
        done = copy([web.url(f"/{name}") for name in bodies], f"s3://{bucket}/data/", target_opener=opener)
        assert done.kept == 2
    copy(f"s3://{bucket}/data/*.tar", f"{tmp_path}/back/", opener=opener, verify="hash")
    assert files(tmp_path / "back") == bodies
    copy(f"s3://{bucket}/data/*.tar", f"s3://{bucket}/again/", opener=opener, target_opener=opener)
    assert len(s3.keys(bucket)) == 4


def test_what_is_read_is_compared_with_its_manifest(tmp_path: Path) -> None:
    with webds.ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=2, manifest="m.json", md5=True) as sink:
        for number in range(4):
            sink.write({"__key__": f"k{number}", "cls": number})
    copy(f"{tmp_path}/m.json", f"{tmp_path}/good/", index=True, manifest="n.json")
    names = ["n.json", "x-0.idx", "x-0.tar", "x-1.idx", "x-1.tar"]
    assert sorted(files(tmp_path / "good")) == names
    new, old = (json.loads((tmp_path / name).read_text()) for name in ("good/n.json", "m.json"))
    assert new == old
    assert len(webds.DatasetBuilder(f"{tmp_path}/good/n.json").indexed().build()) == 4
    data = bytearray((tmp_path / "x-1.tar").read_bytes())
    data[600] ^= 1
    (tmp_path / "x-1.tar").write_bytes(data)
    with pytest.raises(OpenError, match=r"md5 of its .* bytes is") as caught:
        copy(f"{tmp_path}/m.json", f"{tmp_path}/bad/")
    assert caught.value.url == f"{tmp_path}/x-1.tar"
    assert sorted(files(tmp_path / "bad")) == [".folder.job", "x-0.tar"]


def test_a_source_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    body = tar_bytes([("a.bin", bytes(5000))])

    def cut(exchange: Exchange) -> None:
        if exchange.command == "HEAD":
            exchange.reply(body)
            return
        exchange.reply(body[:3000], Content_Length=str(len(body)))
        exchange.cut_off()

    with serving() as web:
        web.routes["/x.tar"] = cut
        opener = webds.HttpOpener(attempts=1)
        with pytest.raises(OpenError) as caught:
            copy(web.url("/x.tar"), f"{tmp_path}/out/", opener=opener)
        assert caught.value.url == web.url("/x.tar")
    assert files(tmp_path / "out") == {}


class Spoiling(Opener):
    """Files of which what is written is not what can be read."""

    def __init__(self, longer: bool) -> None:
        self.longer = longer

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        path = url.removeprefix("spoil://")
        if mode == "wb" and path.endswith(".tar"):
            return cast("BinaryIO", _Spoiled(FileOpener().open(path, "wb"), self.longer))
        return FileOpener().open(path, mode)

    @override
    def size(self, url: str) -> int | None:
        return FileOpener().size(url.removeprefix("spoil://"))

    @override
    def list(self, pattern: str) -> Any:
        return FileOpener().list(pattern.removeprefix("spoil://"))

    def remove(self, url: str) -> None:
        os.unlink(url.removeprefix("spoil://"))


class _Spoiled:
    def __init__(self, stream: BinaryIO, longer: bool) -> None:
        self.stream, self.longer = stream, longer

    def write(self, data: bytes) -> int:
        self.stream.write(bytes(len(data)))
        return len(data)

    def close(self) -> None:
        if self.longer:
            self.stream.write(b"more")
        self.stream.close()


def test_a_copy_that_is_not_what_was_read_is_removed(tmp_path: Path) -> None:
    url = numbered_shards(tmp_path, 1)[0]
    (tmp_path / "out").mkdir()
    target = f"spoil://{tmp_path}/out/x.tar"
    opener = SchemeOpener().with_opener("spoil", Spoiling(longer=True))
    with pytest.raises(OpenError, match=r"the copy is not what was written, and was removed: it has .* bytes"):
        copy(url, target, target_opener=opener)
    opener = SchemeOpener().with_opener("spoil", Spoiling(longer=False))
    with pytest.raises(OpenError, match="its SHA-256 is not that of what was read"):
        copy(url, target, target_opener=opener, verify="hash")
    assert "x.tar" not in files(tmp_path / "out")
    copy(url, target, target_opener=opener)  # its size is right, and nothing else was asked for
    assert "x.tar" in files(tmp_path / "out")


SCRIPT = """
import os, sys
from webds.tools.copying import copy
from webds.tools.progress import NoProgress
from webds.openers import FileOpener
class Waiting(FileOpener.__bases__[0]):
    def open(self, url, mode="rb"):
        stream = FileOpener().open(url, mode)
        if url.endswith("2.tar"):
            stream.read(700)
            open(sys.argv[1], "w").close()
            sys.stdin.read()
        return stream
    def size(self, url):
        return FileOpener().size(url)
copy(sys.argv[3:], sys.argv[2], opener=Waiting())
"""


def test_a_run_that_was_killed_is_taken_up_again(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 4)
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "ready"), f"{out}/", *urls]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        work.until((tmp_path / "ready").exists)
        process.kill()
    assert sorted(path.name for path in out.glob("[!.]*")) == ["shard-000000.tar", "shard-000001.tar"]
    done = copy(urls, f"{out}/")
    assert (done.files, done.kept) == (2, 2)
    assert files(out) == {os.path.basename(url): Path(url).read_bytes() for url in urls}

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import FileOpener
from webds.testing import OpenerSuite


class TestFileOpener(OpenerSuite):
    @override
    def make_opener(self) -> Opener:
        return FileOpener()

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{len(os.listdir(folder))}.bin"
        path.write_bytes(content)
        return str(path)

    @override
    def missing_url(self, folder: Path) -> str:
        return f"{folder}/nothing"

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"{folder}/written"

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        (folder / "9.bin").mkdir()
        return f"{folder}/?.bin", [self.url_of(folder, b"a"), self.url_of(folder, b"b")]


class TestFileUrls(TestFileOpener):
    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{len(os.listdir(folder))} 100%.bin"
        path.write_bytes(content)
        return f"file://{path}".replace("%", "%25").replace(" ", "%20")

    @override
    def missing_url(self, folder: Path) -> str:
        return f"file://{folder}/nothing"

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"FILE://localhost{folder}/written%20here"

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        for name in "ab":
            (folder / f"{name} x.bin").write_bytes(b"")
        return f"file://{folder}/?%20x.bin", [f"{folder}/a x.bin", f"{folder}/b x.bin"]


def test_percent_signs_of_a_plain_path_are_themselves(tmp_path: Path) -> None:
    (tmp_path / "a%20b").write_bytes(b"percent")
    with FileOpener().open(str(tmp_path / "a%20b")) as stream:
        assert stream.read() == b"percent"


def test_a_name_that_is_no_unicode_can_be_opened_both_ways(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.tar"
    Path(os.fsdecode(name)).write_bytes(b"latin")
    for url in (os.fsdecode(name), f"file://{tmp_path}/caf%E9.tar"):
        assert FileOpener().read_range(url, 0, 9) == b"latin"


def test_a_directory_is_named_as_one_with_a_hint(tmp_path: Path) -> None:
    for call in (FileOpener().open, FileOpener().size):
        with pytest.raises(OpenError, match=r"directory.*\*\.tar"):
            call(f"{tmp_path}/")


def test_a_file_of_another_host_is_refused() -> None:
    with pytest.raises(OpenError, match="no path of the local file system"):
        FileOpener().open("file://host/share/x.tar")


@pytest.mark.parametrize("url", ["nul\0byte", "file:///nul%00byte", ""])
def test_what_no_file_can_be_called_is_an_open_error(url: str) -> None:
    with pytest.raises(OpenError):
        FileOpener().open(url)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full disk")
def test_a_full_disk_is_an_open_error_with_the_url() -> None:
    stream = FileOpener().open("/dev/full", "wb")
    stream.write(b"data")
    with pytest.raises(OpenError, match="No space left") as caught:
        stream.close()
    assert caught.value.url == "/dev/full"


def test_an_absurd_length_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    assert FileOpener().read_range(str(tmp_path / "x"), 4, 1 << 60) == b"456789"
    assert FileOpener().read_range(str(tmp_path / "x"), 1 << 60, 5) == b""


def test_a_negative_range_is_refused(tmp_path: Path) -> None:
    for start, length in ((-1, 5), (0, -1)):
        with pytest.raises(ValueError, match="range"):
            FileOpener().read_range(str(tmp_path), start, length)


def test_a_named_pipe_has_no_size_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert FileOpener().size(str(path)) is None
    writer = threading.Thread(target=path.write_bytes, args=(b"0123456789",))
    writer.start()
    assert FileOpener().read_range(str(path), 3, 4) == b"3456"
    writer.join()


@pytest.mark.parametrize(("buffer_size", "taken"), [(100, 100), (7, 7), (0, 1000), (-1, 1000)])
def test_the_buffer_size_is_how_much_is_read_at_once(tmp_path: Path, buffer_size: int, taken: int) -> None:
    (tmp_path / "x").write_bytes(bytes(1000))
    with FileOpener(buffer_size).open(str(tmp_path / "x")) as stream:
        stream.read(1)
        assert os.lseek(stream.fileno(), 0, os.SEEK_CUR) == taken


def test_two_stars_stand_for_any_directories(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("x.tar", "a/y.tar", "a/b/z.tar"):
        (tmp_path / name).write_bytes(b"")
    found = FileOpener().list(f"{tmp_path}/**/*.tar")
    assert found == [f"{tmp_path}/a/b/z.tar", f"{tmp_path}/a/y.tar", f"{tmp_path}/x.tar"]

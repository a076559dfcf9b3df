from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest
from typing_extensions import Buffer, override

from webds.errors import OpenError
from webds.sinks import TarWriter
from webds.sinks.targets import FileTarget, OpenedTarget, Target, is_device, remove_abandoned, write_all


def partial(folder: Path) -> str:
    (name,) = (path for path in folder.iterdir() if path.name.startswith("."))
    return str(name)


def test_a_target_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Target()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  # this is tested


def test_the_file_of_a_writer_at_work_is_not_removed(tmp_path: Path) -> None:
    target = FileTarget(str(tmp_path / "x.tar"))
    name = partial(tmp_path)
    assert not remove_abandoned(name)
    target.write(b"data")
    target.commit()
    assert (tmp_path / "x.tar").read_bytes() == b"data"
    assert not os.path.exists(name)


def test_the_file_of_a_writer_that_is_gone_is_removed(tmp_path: Path) -> None:
    path = tmp_path / ".x.tar.0123456789abcdef.part"
    path.write_bytes(b"half")
    assert remove_abandoned(str(path))
    assert not path.exists()
    assert remove_abandoned(str(path)), "somebody else removed it"


def test_discarding_leaves_nothing_and_may_come_again(tmp_path: Path) -> None:
    target = FileTarget(str(tmp_path / "x.tar"))
    target.write(b"data")
    target.discard()
    target.discard()
    assert not list(tmp_path.iterdir())


def test_discarding_after_commit_keeps_the_file(tmp_path: Path) -> None:
    target = FileTarget(str(tmp_path / "x.tar"))
    target.write(b"data")
    target.commit()
    target.discard()
    assert (tmp_path / "x.tar").read_bytes() == b"data"


def test_a_directory_that_took_the_name_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    target = FileTarget(str(path), overwrite=True)
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OpenError, match="directory") as caught:
        target.commit()
    assert caught.value.url == str(path)
    target.discard()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.tar"]
    assert (path / "inside").exists()


def test_a_temporary_file_that_vanished_is_an_error_and_no_empty_file_takes_the_name(tmp_path: Path) -> None:
    target = FileTarget(str(tmp_path / "x.tar"))
    os.unlink(partial(tmp_path))
    with pytest.raises(OpenError, match="No such file"):
        target.commit()
    target.discard()
    assert not list(tmp_path.iterdir())


def test_what_a_file_system_could_not_write_shows_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = FileTarget(str(tmp_path / "x.tar"))
    target.write(b"data")
    close, copies = os.close, list[int]()

    def copy(descriptor: int) -> int:
        copies.append(duplicate(descriptor))
        return copies[-1]

    def fail(descriptor: int) -> None:
        close(descriptor)
        if descriptor in copies:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    duplicate = os.dup
    monkeypatch.setattr(os, "dup", copy)
    monkeypatch.setattr(os, "close", fail)
    with pytest.raises(OpenError, match="quota"):
        target.commit()
    monkeypatch.undo()
    assert not (tmp_path / "x.tar").exists()
    target.discard()
    assert not list(tmp_path.iterdir())


def test_a_file_is_locked_until_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = FileTarget(str(tmp_path / "x.tar"))
    name, link, seen = partial(tmp_path), os.link, list[bool]()

    def look(source: str, destination: str) -> None:
        seen.append(remove_abandoned(name))
        link(source, destination)

    monkeypatch.setattr(os, "link", look)
    target.commit()
    assert seen == [False]
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.tar"]


def test_a_name_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match="too long"):
        FileTarget(str(tmp_path / ("x" * 250)))


def test_a_stream_is_given_up_with_its_abort_where_it_has_one() -> None:
    class Upload(io.BytesIO):
        ended_by = ""

        def abort(self) -> None:
            self.ended_by += "abort"

        @override
        def close(self) -> None:
            self.ended_by += "close"

    for commit, expected in ((True, "close"), (False, "abort")):
        stream = Upload()
        target = OpenedTarget(stream)
        if commit:
            target.commit()
        else:
            target.discard()
        assert stream.ended_by == expected


def test_discarding_hides_the_errors_of_the_stream() -> None:
    class Broken(io.BytesIO):
        closings = 0

        @override
        def close(self) -> None:
            self.closings += 1
            if self.closings == 1:
                raise OpenError("the command failed")

    stream = Broken()
    OpenedTarget(stream).discard()
    assert stream.closings == 1


@pytest.mark.parametrize("answer", [0, None])
def test_a_raw_stream_that_takes_nothing_is_an_error(answer: int | None) -> None:
    class Stuck(io.RawIOBase):
        @override
        def write(self, data: Buffer, /) -> int | None:
            return answer

    with pytest.raises(BlockingIOError, match="none of the last 5 bytes"):
        write_all(Stuck(), b"hello")


def test_a_stream_that_returns_something_else_gets_everything_once() -> None:
    class Compressing:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: Buffer, /) -> int:
            self.data += bytes(data)
            return 2

    stream = Compressing()
    write_all(stream, b"hello")
    assert stream.data == b"hello"


def test_devices_and_fifos_are_told_from_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    assert is_device("/dev/null")
    assert is_device(str(tmp_path / "fifo"))
    assert not is_device(str(tmp_path / "file"))
    assert not is_device(str(tmp_path))
    assert not is_device(str(tmp_path / "missing"))


def test_a_path_is_a_path_even_if_it_looks_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-", "pipe:cat", "x:y.tar"):
        with TarWriter(Path(name)) as sink:
            sink.write({"__key__": "a", "txt": "t"})
        assert (tmp_path / name).stat().st_size == 10240
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["-", "pipe:cat", "x:y.tar"]

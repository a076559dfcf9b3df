from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pytest
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import FunctionOpener
from webds.testing import OpenerSuite


def open_path(url: str) -> BinaryIO:
    try:
        return open(url.removeprefix("my:"), "rb")
    except OSError:
        raise OpenError("nothing there", url=url) from None


class TestFunctionOpener(OpenerSuite):
    @override
    def make_opener(self) -> Opener:
        return FunctionOpener(open_path)

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{len(os.listdir(folder))}.bin"
        path.write_bytes(content)
        return f"my:{path}"

    @override
    def missing_url(self, folder: Path) -> str:
        return f"my:{folder}/nothing"


class Minimal:
    """An object with no more than read and close."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, 7))

    def close(self) -> None:
        self._file.close()


def open_minimal(url: str) -> Minimal:
    return Minimal(open_path(url))


class TestMinimalStreams(TestFunctionOpener):
    @override
    def make_opener(self) -> Opener:
        return FunctionOpener(open_minimal)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda: b"data", "io.BytesIO"),
        (lambda: io.StringIO("text"), "text stream.*'rb'"),
        (lambda: None, "NoneType, which has no read"),
        (lambda: "x.tar", "str, which has no read"),
        (lambda: io.BufferedWriter(io.BytesIO()), "not open for reading"),
        (type("OnlyReads", (), {"read": lambda self, n: b""}), "OnlyReads, which has no close"),
    ],
)
def test_what_is_no_binary_stream_is_called_that(returned: Callable[[], Any], words: str) -> None:
    with pytest.raises(OpenError, match=words) as caught:
        FunctionOpener(lambda url: returned()).open("x.tar")
    assert caught.value.url == "x.tar"


def test_a_text_stream_that_is_refused_is_closed() -> None:
    stream: Any = io.StringIO("text")
    with pytest.raises(OpenError):
        FunctionOpener(lambda url: stream).open("x.tar")
    assert stream.closed


@pytest.mark.parametrize("data", ["text", None, bytes(1 << 17)])
def test_a_read_that_returns_something_else_is_an_error(data: Any) -> None:
    minimal: Any = type("Odd", (), {"read": lambda self, n: data, "close": lambda self: None})
    with pytest.raises(OpenError, match="read of Odd"):
        FunctionOpener(lambda url: minimal()).open("x.tar").read(10)


def test_an_exception_of_the_function_keeps_its_type_and_gets_the_url() -> None:
    def fail(url: str) -> NoReturn:
        raise LookupError("no such bucket")

    with pytest.raises(LookupError, match="no such bucket") as caught:
        FunctionOpener(fail).open("my:x?token=hush")
    assert "my:x" in caught.value.__notes__[0]
    assert "hush" not in caught.value.__notes__[0]


def test_it_pickles_with_its_function() -> None:
    assert pickle.loads(pickle.dumps(FunctionOpener(open_path))).function is open_path

"""Arrays in files and streams."""

from __future__ import annotations

import contextlib
import io
import mmap as mapping
import os
import shutil
import stat
import uuid
from collections.abc import Generator, Sequence
from typing import BinaryIO, Final, Literal, overload

import numpy as np
from typing_extensions import override

from webds.checks import checkrange
from webds.errors import DecodeError, OpenError, UrlError, WebdsError
from webds.tenbin.format import (
    ALIGNMENT,
    PREFIX,
    AnyArray,
    Arrays,
    Encoded,
    Infos,
    answer,
    cut_short,
    decode_buffer,
    encode_arrays,
    head_length,
    parse_head,
    parse_prefix,
)
from webds.typing import Readable, Writable

__all__ = ["load", "read", "save", "write"]

_STEP: Final = 1 << 20
_ALL: Final = 999999


class _Stream:
    """A stream of unknown length: memory is taken as the bytes arrive, whatever a chunk says of its length."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.offset = 0

    def take(self, length: int) -> bytearray:
        """Return the next ``length`` bytes, fewer only at the end of the stream."""
        taken = bytearray()
        while len(taken) < length:
            part = self._stream.read(min(length - len(taken), _STEP))
            if len(part) == 0:
                break
            taken += part
        self.offset += len(taken)
        return taken

    def data(self, length: int) -> bytearray | memoryview:
        """Return the next ``length`` bytes and pass over the padding after them."""
        taken = self.take(length)
        skip = -length % ALIGNMENT
        left = len(taken) + len(self.take(skip) if len(taken) == length else b"")
        if left < length + skip:
            raise cut_short(length + skip, left)
        return taken


class _File(_Stream):
    """A file whose size is known: no memory is taken for what it cannot hold, and then all at once."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        super().__init__(file)
        self._file = file
        self._size = size

    @override
    def data(self, length: int) -> bytearray | memoryview:
        skip = -length % ALIGNMENT
        if length + skip > self._size - self.offset:
            raise cut_short(length + skip, self._size - self.offset)
        taken = np.empty(length, np.uint8)
        rest = taken.data
        while rest and (count := self._file.readinto(rest)):
            rest = rest[count:]
        self.offset += length - len(rest)
        if rest or len(self.take(skip)) < skip:
            raise cut_short(length + skip, length - len(rest))
        return taken.data


def _read(stream: _Stream, n: int) -> tuple[Arrays, list[str]]:
    arrays: Arrays = []
    names: list[str] = []
    start = stream.offset
    try:
        while (len(arrays) < n or n >= _ALL) and (head := stream.take(PREFIX.size)):
            parse_prefix(bytes(head))  # what is no array is known before more is waited for
            head += stream.take(head_length(head) - len(head))
            header = parse_head(bytes(head))
            arrays.append(np.ndarray(header.shape, header.dtype, stream.data(header.nbytes)))
            names.append(header.info)
            start = stream.offset
    except DecodeError as error:
        error.locate(offset=start)
        raise
    return arrays, names


@overload
def read(stream: Readable, n: int = _ALL, infos: Literal[False] | Sequence[str] = False) -> Arrays: ...
@overload
def read(stream: Readable, n: int = _ALL, *, infos: Literal[True]) -> tuple[Arrays, list[str]]: ...
@overload
def read(stream: Readable, n: int, infos: Literal[True]) -> tuple[Arrays, list[str]]: ...
@overload
def read(stream: Readable, n: int = _ALL, *, infos: Infos) -> Arrays | tuple[Arrays, list[str]]: ...
@overload
def read(stream: Readable, n: int, infos: Infos) -> Arrays | tuple[Arrays, list[str]]: ...
def read(stream: Readable, n: int = 999999, infos: Infos = False) -> Arrays | tuple[Arrays, list[str]]:
    """Read arrays from a stream, which may give them in pieces.

    No more memory is taken than what arrives, whatever length a chunk speaks of. Reading stops right after
    the last array that was asked for, so that the next call goes on there.

    Args:
        stream: any object with ``read``.
        n: how many arrays to read at most; 999999, the default, and more mean all.
        infos: True to get the infos too; a list to be sure that the infos are these.

    Returns:
        The arrays, little-endian and writable, each with memory of its own, and fewer than ``n`` where the
        stream ends before; with ``infos=True`` (arrays, infos).

    Raises:
        DecodeError: these are no arrays in tenbin form, or the stream ends inside one; the offset is where
            the array begins, counted from where reading began. Or the infos differ.
    """
    checkrange(n, 0, float("inf"), "n")
    return answer(*_read(_Stream(stream), n), infos)


def _put(stream: Writable, data: bytes | memoryview) -> None:
    """Write all of ``data``, also to an unbuffered file, the only stream that may take less and say so."""
    if not isinstance(stream, io.RawIOBase):
        stream.write(data)
        return
    rest = memoryview(data)
    while rest:
        count = stream.write(rest)
        if not count:
            raise BlockingIOError("an unbuffered stream takes no more bytes now")
        rest = rest[count:]


def _write(stream: Writable, encoded: list[Encoded]) -> None:
    for one in encoded:
        _put(stream, one.before_data())
        _put(stream, one.data())
        _put(stream, one.after_data())


def write(stream: Writable, l: Sequence[AnyArray], infos: Sequence[str] | None = None) -> None:  # noqa: E741  the older API's name
    """Write arrays to a stream, without a copy of those that are in C order and little-endian.

    Args:
        stream: any object with ``write``.
        l: the arrays, as in `encode_buffer`.
        infos: a name for each array, at most 8 ASCII characters; None for no names.

    Raises:
        EncodeError: an array or an info has no form in tenbin; then nothing was written.
    """
    _write(stream, encode_arrays(l, infos))


def _path(fname: str | os.PathLike[str], nocheck: bool) -> str:
    path = os.fspath(fname)
    if not nocheck and not path.endswith(".ten"):
        raise UrlError("the name of a tenbin file ends in .ten (nocheck=True allows any)", url=path)
    return path


@contextlib.contextmanager
def _replacing(path: str) -> Generator[BinaryIO]:
    """Open a file that takes the name ``path`` when all is written, and disappears if that fails."""
    final = os.path.realpath(path)
    if os.path.exists(final) and not os.path.isfile(final):  # a pipe or a device is written where it is
        with open(final, "wb") as file:
            yield file
        return
    temporary = f"{final}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "xb") as file:
            yield file
        if os.path.exists(final):
            shutil.copymode(final, temporary)
        os.replace(temporary, final)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise


def save(
    fname: str | os.PathLike[str], *args: AnyArray, infos: Sequence[str] | None = None, nocheck: bool = False
) -> None:
    """Write arrays to a file.

    The file appears under its name when it is complete: until then, and if anything fails, what was there
    stays, so that arrays mapped from a file can be saved to the same name.

    Args:
        fname: name of the file, ending in ``.ten``.
        args: the arrays, as in `encode_buffer`.
        infos: a name for each array, at most 8 ASCII characters; None for no names.
        nocheck: take any name.

    Raises:
        UrlError: the name does not end in ``.ten``.
        EncodeError: an array or an info has no form in tenbin.
        OSError: the file cannot be written.
    """
    path = _path(fname, nocheck)
    encoded = encode_arrays(args, infos)
    with _replacing(path) as file:
        _write(file, encoded)


def _load(path: str, mmap: bool, infos: Infos) -> Arrays | tuple[Arrays, list[str]]:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        regular = stat.S_ISREG(status.st_mode)
        if mmap:
            if not regular:
                raise OpenError("only a regular file can be mapped")
            return decode_buffer(
                mapping.mmap(file.fileno(), 0, access=mapping.ACCESS_READ) if status.st_size else b"", infos
            )
        return answer(*_read(_File(file, status.st_size) if regular else _Stream(file), _ALL), infos)


@overload
def load(
    fname: str | os.PathLike[str], infos: Literal[False] | Sequence[str] = False, nocheck: bool = False, *,
    mmap: bool = False,
) -> Arrays: ...  # fmt: skip
@overload
def load(
    fname: str | os.PathLike[str], infos: Literal[True], nocheck: bool = False, *, mmap: bool = False
) -> tuple[Arrays, list[str]]: ...
@overload
def load(
    fname: str | os.PathLike[str], infos: Infos, nocheck: bool = False, *, mmap: bool = False
) -> Arrays | tuple[Arrays, list[str]]: ...
def load(
    fname: str | os.PathLike[str], infos: Infos = False, nocheck: bool = False, *, mmap: bool = False
) -> Arrays | tuple[Arrays, list[str]]:
    """Read the arrays of a file.

    Args:
        fname: name of the file, ending in ``.ten``.
        infos: True to get the infos too; a list to be sure that the infos are these.
        nocheck: take any name.
        mmap: map the file instead of reading it: this takes the same short time whatever the size, the arrays
            are read-only, and their pages are read when they are looked at. The file must not be cut short
            meanwhile; `save` to the same name leaves a mapped file as it is.

    Returns:
        The arrays, little-endian; unless mapped, writable and each with memory of its own. With ``infos=True``
        (arrays, infos).

    Raises:
        UrlError: the name does not end in ``.ten``.
        DecodeError: the file holds no arrays in tenbin form, or the infos differ.
        OpenError: ``mmap`` is asked for, and this is no regular file.
        OSError: the file cannot be opened or read.
    """
    path = _path(fname, nocheck)
    try:
        return _load(path, mmap, infos)
    except WebdsError as error:
        error.locate(url=path)
        raise

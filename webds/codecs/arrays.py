"""Arrays: npy, npz and tenbin."""

from __future__ import annotations

import ast
import io
import math
import re
import struct
import zipfile
from typing import Any, Final, final

import attrs
import numpy as np
import numpy.typing as npt
from typing_extensions import override

from webds import tenbin
from webds.abc import Codec
from webds.codecs.buffers import flat
from webds.codecs.exact import shown
from webds.errors import DecodeError, EncodeError
from webds.typing import Buffer

__all__ = ["NpyCodec", "NpzCodec", "TenbinCodec"]

_MAGIC: Final = b"\x93NUMPY"
_VERSIONS: Final = {(1, 0): ("<H", "latin-1"), (2, 0): ("<I", "latin-1"), (3, 0): ("<I", "utf-8")}
"""Version of the npy format → how the length of the header is written, and the header itself."""

MAX_HEADER: Final = 10_000
"""Bytes of a header that are parsed; numpy's own limit, since Python's parser is no match for malice."""

_LONG: Final = re.compile(r"\b(\d+)L\b")


def _parse_header(text: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Return dtype, shape and whether the order is Fortran's, of the header of an npy file."""
    try:
        header = ast.literal_eval(text)
    except SyntaxError:  # Python 2 wrote (3L, 4L)
        header = ast.literal_eval(_LONG.sub(r"\1", text))
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("the header does not have exactly descr, fortran_order and shape")
    shape, fortran = header["shape"], header["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"impossible shape {shown(shape)}")
    if not isinstance(fortran, bool):
        raise ValueError(f"fortran_order is {shown(fortran)}")  # noqa: TRY004  # of the data, not of an argument
    dtype = np.lib.format.descr_to_dtype(header["descr"])
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which only a pickle can, and a pickle may run code")
    if dtype.itemsize == 0 or dtype.subdtype is not None:
        raise ValueError(f"impossible dtype {shown(header['descr'])}")
    return dtype, shape, fortran


def _parse_npy(view: memoryview) -> npt.NDArray[Any]:
    """Return the array of an npy file, with memory of its own; the size is checked before any is taken.

    Raises:
        ValueError: it is none; what the parsers raise besides is no other kind of finding.
    """
    if bytes(view[:6]) != _MAGIC or len(view) < 8:
        raise ValueError(f"it starts with {bytes(view[:8])!r} in place of {_MAGIC!r} and a version")
    version = (view[6], view[7])
    if version not in _VERSIONS:
        raise ValueError(f"version {version[0]}.{version[1]} of the format is not known")
    length_format, encoding = _VERSIONS[version]
    (length,) = struct.unpack_from(length_format, view, 8)
    start = 8 + struct.calcsize(length_format) + length
    if length > MAX_HEADER or start > len(view):
        raise ValueError(f"a header of {length} bytes, in {len(view)} bytes of which at most {MAX_HEADER} are header")
    dtype, shape, fortran = _parse_header(str(view[start - length : start], encoding))
    expected = math.prod(shape) * dtype.itemsize
    if expected != len(view) - start:
        raise ValueError(
            f"{len(view) - start} bytes of data, where shape {shown(shape)} and dtype {dtype} make {shown(expected)}"
        )
    # A copy, since a view of bytes could neither be written to nor made a tensor without a warning.
    return np.ndarray(shape, dtype, bytearray(view[start:]), order="F" if fortran else "C")


def _format_npy(value: Any) -> bytes:
    """Return the npy file of an array.

    Raises:
        ValueError: it would not come back as it is.
    """
    if type(value) is not np.ndarray and type(value) is not np.memmap:
        kind = type(value)
        raise ValueError(
            f"{kind.__module__}.{kind.__qualname__} is no plain numpy array, and would not come back as one of its kind"
        )
    dtype = value.dtype
    if dtype.hasobject:
        raise ValueError(f"dtype {dtype} holds Python objects, which only a pickle can")
    if dtype.itemsize == 0 or dtype.kind not in "biufcmMSUV" or np.lib.format.drop_metadata(dtype) is not dtype:
        raise ValueError(f"the npy format has no form for dtype {dtype!r}")
    if np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype)) != dtype:
        raise ValueError(f"dtype {dtype!r} would come back as another one")
    # Always in C order, and with zeros between the fields of a structure, so that equal arrays give equal bytes.
    array = np.asarray(value, order="C")
    if dtype.names is not None:
        array = np.zeros(value.shape, dtype)
        _copy_fields(array, value)
    file = io.BytesIO()
    try:
        np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    except ValueError:  # too long a header, or names that Latin-1 does not have
        file = io.BytesIO()
        np.lib.format.write_array(file, array, version=(3, 0), allow_pickle=False)
    data = file.getvalue()
    if len(data) - array.nbytes > MAX_HEADER:
        raise ValueError(f"the names of the fields take more than {MAX_HEADER} bytes, which would not be read")
    return data


def _copy_fields(target: npt.NDArray[Any], source: npt.NDArray[Any]) -> None:
    """Copy a structured array without what lies between its fields, which is any memory's old content."""
    for name in source.dtype.names or ():
        if source[name].dtype.names is not None:
            _copy_fields(target[name], source[name])
        else:
            target[name][...] = source[name]


@final
@attrs.frozen
class NpyCodec(Codec[npt.NDArray[Any]]):
    """A numpy array in numpy's npy format (versions 1.0 to 3.0), never with pickle.

    Any shape and dtype that the format has a form for, big-endian ones, dates and structures included. What is
    decoded is an array of its own, writable. It is written in C order: an array in Fortran order comes back equal,
    with its elements in the other order in memory.

    Refused is what would not come back as it is: dtypes that hold objects or metadata, masked arrays and other
    subclasses (a ``memmap`` comes back as the plain array that it stands for), numpy scalars, tensors (use
    ``x.numpy()``, or ``pth``). Data whose length is not what the header says is refused before memory is taken.
    """

    @override
    def decode(self, data: Buffer, field: str) -> npt.NDArray[Any]:
        try:
            return _parse_npy(flat(data))
        except Exception as error:
            raise DecodeError(f"no npy array: {error}", field=field) from error

    @override
    def encode(self, value: npt.NDArray[Any], field: str) -> bytes:
        try:
            return _format_npy(value)
        except Exception as error:
            raise EncodeError(f"no npy array: {error}", field=field) from error


@final
@attrs.frozen
class NpzCodec(Codec[dict[str, npt.NDArray[Any]]]):
    """A dict of arrays in numpy's npz format, a zip archive of npy files, never with pickle.

    Names are any str that a zip archive can hold (no NUL, at most some 65,000 bytes); for the arrays see `NpyCodec`.
    Written without compression and without dates, so that equal arrays give equal bytes; compressed archives are read.

    Attributes:
        max_bytes: an archive whose arrays are declared to take more than this, and more than the archive itself,
            is refused before the memory is taken.
    """

    max_bytes: int = 1 << 30

    @override
    def decode(self, data: Buffer, field: str) -> dict[str, npt.NDArray[Any]]:
        try:
            return self._decode(flat(data))
        except Exception as error:
            raise DecodeError(f"no npz archive: {error}", field=field) from error

    def _decode(self, view: memoryview) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {}
        with zipfile.ZipFile(io.BytesIO(view)) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if total > max(self.max_bytes, len(view)):
                raise ValueError(f"it would grow from {len(view)} to {total} bytes; max_bytes is {self.max_bytes}")
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"{name!r} is there twice")
                if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                    raise ValueError(f"{name!r} is compressed in a way that numpy does not use")
                try:
                    arrays[name] = _parse_npy(memoryview(archive.read(entry)))
                except Exception as error:
                    raise ValueError(f"{name!r} is no npy array: {error}") from error
        return arrays

    @override
    def encode(self, value: dict[str, npt.NDArray[Any]], field: str) -> bytes:
        if type(value) is not dict:
            raise EncodeError(f"an npz archive is made of a dict of arrays, not of {shown(value)}", field=field)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in value.items():
                try:
                    archive.writestr(_zip_entry(name), _format_npy(array))
                except Exception as error:
                    raise EncodeError(f"no npz archive: array {shown(name)}: {error}", field=field) from error
        return file.getvalue()


def _zip_entry(name: Any) -> zipfile.ZipInfo:
    if type(name) is not str:
        raise ValueError("names must be str")
    entry = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
    if entry.filename != name + ".npy":
        raise ValueError("the name would come back as another one")
    # The same on all systems:
    entry.create_system = 3
    entry.external_attr = 0o600 << 16
    return entry


@final
@attrs.frozen
class TenbinCodec(Codec[list[npt.NDArray[Any]]]):
    """A list of arrays in the tenbin format; see `webds.tenbin`.

    Types f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8, less than 10 dimensions each. What is decoded are views of the data:
    nothing is copied, and they are read-only where the data is (bytes are). CPU tensors are taken as well, as
    the format has it, and come back as arrays of the same dtype, shape and values. Names ("infos") are not
    written, and passed over.

    Refused is what would come back as something else: other types, big-endian arrays, numpy scalars, masked
    arrays and other subclasses (except ``memmap``), a tuple or a single array in place of a list.
    """

    @override
    def decode(self, data: Buffer, field: str) -> list[npt.NDArray[Any]]:
        try:
            return tenbin.decode_buffer(flat(data))
        except DecodeError as error:
            raise error.locate(field=field) from error.__cause__
        except Exception as error:
            raise DecodeError(f"no tenbin arrays: {error}", field=field) from error

    @override
    def encode(self, value: list[npt.NDArray[Any]], field: str) -> bytes:
        if type(value) is not list:
            raise EncodeError(f"tenbin holds a list of arrays, not a {type(value).__name__}", field=field)
        for index, array in enumerate(value):
            _check_tenbin(array, index, field)
        try:
            return tenbin.encode_buffer(value)
        except EncodeError as error:
            raise error.locate(field=field) from error.__cause__
        except Exception as error:
            raise EncodeError(f"no tenbin arrays: {error}", field=field) from error


def _check_tenbin(array: Any, index: int, field: str) -> None:
    """Raise `EncodeError` for an array that tenbin could hold, but that would come back as another."""
    if isinstance(array, (np.ndarray, np.generic)):
        if type(array) is not np.ndarray and type(array) is not np.memmap:
            raise EncodeError(
                f"array {index} is a {type(array).__name__}, and would come back as an array", field=field
            )
        if array.dtype.newbyteorder("<") != array.dtype:
            raise EncodeError(
                f"array {index} is big-endian, and would not come back so: use x.astype(x.dtype.newbyteorder('<'))",
                field=field,
            )

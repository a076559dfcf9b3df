"""The tenbin format: arrays to bytes and back.

A buffer is a sequence of chunks, two for each array: a header and the data. All numbers are little-endian.

- chunk: magic ``~TenBin~`` · payload length in bytes (int64) · payload, zero-padded to a multiple of 64 bytes
- payload of a header, 8 bytes each: code of the dtype · name of the array, the "info" · number of dimensions ·
  each dimension. Code and info are ASCII, padded with NUL; the numbers are int64; less than 10 dimensions.
- payload of the data: the bytes of the array in C order

The magic and the length make 16 bytes, so in a buffer that starts at a multiple of 16 every array does too.
"""

from __future__ import annotations

import functools
import math
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, final, overload

import numpy as np
import numpy.typing as npt

from webds.checks import checktype
from webds.errors import DecodeError, EncodeError
from webds.typing import Buffer

__all__ = [
    "ALIGNMENT",
    "PREFIX",
    "AnyArray",
    "Arrays",
    "Encoded",
    "Header",
    "Infos",
    "answer",
    "check_data_length",
    "check_header_length",
    "cut_short",
    "decode_buffer",
    "encode_arrays",
    "encode_buffer",
    "head_length",
    "parse_head",
    "parse_header",
    "parse_prefix",
]

ALIGNMENT: Final = 64
"""A payload is padded to a multiple of this many bytes."""

PREFIX: Final = struct.Struct("<8sq")
"""What every chunk starts with: magic and payload length."""

MAGIC: Final = b"~TenBin~"
WORD: Final = 8
MAX_NDIM: Final = 9
_HEADERS: Final = {s.size: s for s in (struct.Struct(f"<8s8sq{ndim}q") for ndim in range(MAX_NDIM + 1))}

_DTYPES: Final = {
    code.encode().ljust(WORD, b"\0"): np.dtype(f"<{code}")
    for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
}
_CODES: Final = {same: code for code, dtype in _DTYPES.items() for same in (dtype, dtype.newbyteorder(">"))}
_LITTLE: Final = "<|=" if sys.byteorder == "little" else "<|"
"""How numpy says that the bytes of an element need not be turned around; ``|`` is where there is only one."""

_NAMES: Final = frozenset(dtype.name for dtype in _DTYPES.values())

Arrays: TypeAlias = list[npt.NDArray[Any]]

Infos: TypeAlias = bool | Sequence[str]
"""What to do with the infos that were read: leave them out, return them too, or compare them with this list."""


class AnyArray(Protocol):
    """A numpy array, a numpy scalar or a CPU tensor."""

    @property
    def shape(self) -> Any:
        """Number of elements along each dimension."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        ...


@final
class Header(NamedTuple):
    """What the header of an array says.

    Attributes:
        dtype: little-endian type of the elements.
        shape: the dimensions.
        nbytes: number of bytes that the data must have.
        info: name of the array.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nbytes: int
    info: str


@final
class Encoded(NamedTuple):
    """An array that has passed all checks, ready to be written.

    Attributes:
        header: payload of its header.
        array: the array itself, in whatever order and byte order.
    """

    header: bytes
    array: npt.NDArray[Any]

    def ordered(self) -> npt.NDArray[Any]:
        """Return the array if its bytes are those of the payload, in their order, else a copy of it that is so."""
        array = self.array
        if array.flags.c_contiguous and array.dtype.byteorder in _LITTLE:
            return array
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))

    def data(self) -> memoryview:
        """Return the payload of the data: a view of the array where its bytes are in order, else of a copy."""
        return self.ordered().reshape(-1).view(np.uint8).data

    def before_data(self) -> bytes:
        """Return the header's chunk, and of the data's chunk all that comes before its payload."""
        return _before_data(self.header, self.array.nbytes)

    def after_data(self) -> bytes:
        """Return what fills up the data's chunk."""
        return padding(self.array.nbytes)


@functools.lru_cache(maxsize=1024)  # batch after batch holds arrays of the same kinds
def _before_data(header: bytes, nbytes: int) -> bytes:
    chunk = PREFIX.pack(MAGIC, len(header)) + header + padding(len(header))
    return chunk + PREFIX.pack(MAGIC, nbytes)


def padding(length: int) -> bytes:
    """Return the zeros that follow a payload of ``length`` bytes."""
    return bytes(-length % ALIGNMENT)


def _tensor_to_array(tensor: Any, torch: Any, index: int) -> npt.NDArray[Any]:
    if tensor.device.type != "cpu":
        raise EncodeError(f"array {index} is a tensor on the device {tensor.device}: move it with .cpu() first")
    if tensor.layout is not torch.strided:
        raise EncodeError(f"array {index} is a tensor of layout {tensor.layout}: make it dense with .to_dense() first")
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _NAMES:
        raise EncodeError(_unsupported(name, index))
    try:
        array: npt.NDArray[Any] = tensor.detach().resolve_neg().numpy()
    except (RuntimeError, TypeError) as error:
        raise EncodeError(f"array {index} is a tensor that gives no numpy array: {error}") from error
    return array


def _unsupported(name: str, index: int) -> str:
    return (
        f"array {index} has dtype {name}, which tenbin does not have: convert it to one of {', '.join(sorted(_NAMES))}"
    )


def _to_array(value: object, index: int) -> npt.NDArray[Any]:
    """Return the numpy array that shares the memory of ``value``."""
    torch: Any = sys.modules.get("torch")  # where it was never imported, nothing is a tensor
    if isinstance(value, getattr(torch, "Tensor", ())):
        return _tensor_to_array(value, torch, index)
    if isinstance(value, np.ma.MaskedArray):
        raise EncodeError(f"array {index} has a mask, which would be lost: fill it with .filled() first")
    if not isinstance(value, (np.ndarray, np.generic)):
        raise EncodeError(f"array {index} is of type {type(value).__name__}: expected a numpy array or a CPU tensor")
    return np.asarray(value)


def _encode_info(info: object, index: int) -> bytes:
    if not isinstance(info, str) or not info.isascii() or len(info) > WORD or "\0" in info:
        raise EncodeError(f"the info of array {index} is {info!r}: expected at most {WORD} ASCII characters, none NUL")
    return info.encode()


def _encode_array(value: object, info: object, index: int) -> Encoded:
    array = _to_array(value, index)
    code = _CODES.get(array.dtype)
    if code is None:
        raise EncodeError(_unsupported(str(array.dtype), index))
    if array.ndim > MAX_NDIM:
        raise EncodeError(f"array {index} has {array.ndim} dimensions: tenbin has at most {MAX_NDIM}")
    layout = _HEADERS[WORD * (3 + array.ndim)]
    return Encoded(layout.pack(code, _encode_info(info, index), array.ndim, *array.shape), array)


def encode_arrays(arrays: object, infos: Sequence[str] | None) -> list[Encoded]:
    """Check all arrays and infos, and encode the headers; no data is copied yet.

    Raises:
        EncodeError: one of them has no form in tenbin; the text says which.
    """
    if isinstance(arrays, (str, bytes)) or not isinstance(arrays, Sequence):  # an array is not taken for its rows
        raise EncodeError(f"{type(arrays).__name__} in place of a list of arrays")
    if infos is None:
        infos = [""] * len(arrays)
    if isinstance(infos, str) or len(infos) != len(arrays):
        raise EncodeError(f"infos={infos!r}: expected a list of {len(arrays)}, one for each array")
    return [_encode_array(array, info, i) for i, (array, info) in enumerate(zip(arrays, infos, strict=True))]


def encode_buffer(l: Sequence[AnyArray], infos: Sequence[str] | None = None) -> bytes:  # noqa: E741  the older API's name
    """Return the tenbin form of a list of arrays.

    The memory is taken once, and the data copied once, but for arrays that are not in C order and
    little-endian, which are brought into it first.

    Args:
        l: numpy arrays or CPU tensors of types f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8, less than 10 dimensions each.
            Of a tensor that requires grad the values are taken.
        infos: a name for each array, at most 8 ASCII characters; None for no names.

    Raises:
        EncodeError: an array or an info has no form in tenbin: another type (bool, complex, bfloat16, object),
            too many dimensions, a tensor on another device, an info that is too long.
    """
    parts: list[bytes | memoryview] = []
    for encoded in encode_arrays(l, infos):
        parts += encoded.before_data(), encoded.ordered().data, encoded.after_data()
    return b"".join(parts)


def cut_short(wanted: int, available: int) -> DecodeError:
    """Return the error for data that ends inside a chunk."""
    return DecodeError(f"cut short: a tenbin chunk needs {wanted} more bytes, {available} are left")


def check_header_length(length: int) -> None:
    """Raise `DecodeError` unless a header can have ``length`` bytes."""
    if length not in _HEADERS:
        raise DecodeError(f"a header of {length} bytes: expected 24 to 96, a multiple of 8")


def check_data_length(length: int, header: Header) -> None:
    """Raise `DecodeError` unless the array that ``header`` describes has ``length`` bytes of data."""
    if length != header.nbytes:
        raise DecodeError(
            f"{length} bytes of data: an array of shape {header.shape} and dtype {header.dtype.name} has "
            f"{header.nbytes}"
        )


def parse_header(payload: bytes) -> Header:
    """Return what a header says whose length `check_header_length` has found good.

    Raises:
        DecodeError: its dtype is unknown, its shape impossible or not as long as it says, its info not ASCII.
    """
    code, info, ndim, *dims = _HEADERS[len(payload)].unpack(payload)
    dtype = _DTYPES.get(code)
    if dtype is None:
        raise DecodeError(f"unknown dtype code {code!r}")
    if ndim != len(dims):
        raise DecodeError(f"a header of {len(payload)} bytes for {ndim} dimensions")
    # As numpy does: no array whose bytes could not be counted if its empty dimensions had one element.
    if min(dims, default=0) < 0 or math.prod(max(1, n) for n in dims) * dtype.itemsize > sys.maxsize:
        raise DecodeError(f"an impossible shape {tuple(dims)}")
    name = info.rstrip(b"\0")
    if not name.isascii() or b"\0" in name:
        raise DecodeError(f"an info that is not ASCII padded with NUL: {info!r}")
    return Header(dtype, tuple(dims), math.prod(dims) * dtype.itemsize, name.decode())


def head_length(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Return how many bytes the array at ``start`` has before its data: two prefixes, and the padded header.

    Args:
        data: bytes of which the first 16 from ``start`` on are looked at, or what there is of them.
        start: where the array begins in there.

    Returns:
        96 or 160, since a header takes one or two steps of `ALIGNMENT`; that low whatever the data says.
    """
    steps = 2 if len(data) > start + WORD and data[start + WORD] > ALIGNMENT else 1
    return 2 * PREFIX.size + steps * ALIGNMENT


@functools.lru_cache(maxsize=1024)  # batch after batch holds arrays of the same kinds
def parse_head(head: bytes) -> Header:
    """Return the header of an array, from the `head_length` bytes before its data, all of which are checked.

    Raises:
        DecodeError: no array begins like this, or there are less bytes.
    """
    length = parse_prefix(head)
    check_header_length(length)
    rest = head[PREFIX.size :]
    padded = length + -length % ALIGNMENT
    if len(rest) < padded:
        raise cut_short(padded, len(rest))
    header = parse_header(rest[:length])
    check_data_length(parse_prefix(rest[padded:]), header)
    return header


def parse_prefix(data: bytes) -> int:
    """Return the payload length of the chunk that ``data`` begins with."""
    magic = data[: len(MAGIC)]
    if not MAGIC.startswith(magic):
        raise DecodeError(f"no tenbin chunk: it starts with {magic!r} in place of {MAGIC!r}")
    if len(data) < PREFIX.size:
        raise cut_short(PREFIX.size, len(data))
    length: int = PREFIX.unpack_from(data)[1]
    if length < 0:
        raise DecodeError(f"a tenbin chunk of negative length {length}")
    return length


def _decode(buf: Buffer) -> tuple[Arrays, list[str]]:
    whole = memoryview(buf)
    if not whole.c_contiguous:
        raise DecodeError("a buffer that is not contiguous")
    if whole.nbytes == 0:
        return [], []
    view = np.frombuffer(whole, np.uint8).data  # bytes, whatever the items of the buffer are
    arrays: Arrays = []
    names: list[str] = []
    start, total = 0, len(view)
    try:
        while start < total:
            data = start + head_length(view, start)
            header = parse_head(bytes(view[start:data]))
            end = data + header.nbytes + -header.nbytes % ALIGNMENT
            if end > total:
                raise cut_short(end - data, total - data)
            arrays.append(np.ndarray(header.shape, header.dtype, view, data))
            names.append(header.info)
            start = end
    except DecodeError as error:
        error.locate(offset=start)
        raise
    return arrays, names


def answer(arrays: Arrays, names: list[str], infos: Infos | None) -> Arrays | tuple[Arrays, list[str]]:
    """Return ``arrays``, with their infos if ``infos`` is True.

    Raises:
        DecodeError: ``infos`` is a list, and ``names`` are not these.
    """
    if infos is True:
        return arrays, names
    if infos is not False and infos is not None:
        checktype(infos, (list, tuple), "infos")
        if len(infos) != len(names):
            raise DecodeError(f"{len(names)} arrays: expected {len(infos)}, one for each info asked for")
        for index, (name, expected) in enumerate(zip(names, infos, strict=True)):
            if name != expected:
                raise DecodeError(f"the info of array {index} is {name!r}: expected {expected!r}")
    return arrays


@overload
def decode_buffer(buf: Buffer, infos: Literal[False] | Sequence[str] = False) -> Arrays: ...
@overload
def decode_buffer(buf: Buffer, infos: Literal[True]) -> tuple[Arrays, list[str]]: ...
@overload
def decode_buffer(buf: Buffer, infos: Infos) -> Arrays | tuple[Arrays, list[str]]: ...
def decode_buffer(buf: Buffer, infos: Infos = False) -> Arrays | tuple[Arrays, list[str]]:
    """Return the arrays of a buffer in tenbin form.

    Nothing is copied: the arrays are views of the buffer, read-only where it is, and keep it alive. In a
    buffer that starts at no multiple of 8 they are unaligned (``flags.aligned``), which numpy copes with,
    slower. What the padding holds is not looked at.

    Args:
        buf: any contiguous bytes-like object: bytes, bytearray, memoryview, mmap, array.
        infos: True to get the infos too; a list to be sure that the infos are these.

    Returns:
        The arrays, little-endian; with ``infos=True`` (arrays, infos).

    Raises:
        DecodeError: these are no arrays in tenbin form (the text says what is wrong, the offset where
            the array begins), or the infos differ.
    """
    return answer(*_decode(buf), infos)

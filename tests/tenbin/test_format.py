"""The tenbin format against bytes written by hand from its description."""

from __future__ import annotations

import math
import mmap
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings, strategies as st

from webds import tenbin
from webds.errors import DecodeError, EncodeError

CODES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]

Array = npt.NDArray[Any]


class Subclass(np.ndarray[Any, np.dtype[Any]]):
    """What libraries that attach units or names to arrays make."""


def chunk(payload: bytes) -> bytes:
    return b"~TenBin~" + struct.pack("<q", len(payload)) + payload.ljust(math.ceil(len(payload) / 64) * 64, b"\0")


def header(code: str, info: str, *dims: int) -> bytes:
    words = [code.encode().ljust(8, b"\0"), info.encode().ljust(8, b"\0")]
    return b"".join(words) + struct.pack(f"<{1 + len(dims)}q", len(dims), *dims)


def by_hand(code: str, info: str, dims: tuple[int, ...], data: bytes) -> bytes:
    return chunk(header(code, info, *dims)) + chunk(data)


def same(got: Array, expected: Array) -> bool:
    """Equal bit for bit, NaNs included."""
    little = expected.dtype.newbyteorder("<")
    return got.dtype == little and got.shape == expected.shape and got.tobytes() == expected.astype(little).tobytes()


# --- the bytes ---------------------------------------------------------------------------------------------


def test_a_whole_buffer_is_what_the_description_says() -> None:
    data = struct.pack("<6f", 1.5, -2, 0, 4, 5, 1e30)
    expected = (
        b"~TenBin~" + b"\x28\0\0\0\0\0\0\0"
        b"f4\0\0\0\0\0\0" b"image\0\0\0" b"\2\0\0\0\0\0\0\0" b"\2\0\0\0\0\0\0\0" b"\3\0\0\0\0\0\0\0" + bytes(24)
        + b"~TenBin~" + b"\x18\0\0\0\0\0\0\0" + data + bytes(40)
    )  # fmt: skip
    array = np.array([[1.5, -2, 0], [4, 5, 1e30]], "f4")
    assert tenbin.encode_buffer([array], ["image"]) == expected


@pytest.mark.parametrize(
    ("code", "letter", "values"),
    [
        ("f2", "e", (0.5, -2.0)),
        ("f4", "f", (0.5, -2.0)),
        ("f8", "d", (0.1, -1e300)),
        ("i1", "b", (-128, 127)),
        ("i2", "h", (-32768, 258)),
        ("i4", "i", (-(2**31), 2**24 + 1)),
        ("i8", "q", (-(2**63), 2**56 + 1)),
        ("u1", "B", (0, 255)),
        ("u2", "H", (258, 65535)),
        ("u4", "I", (2**24 + 1, 2**32 - 1)),
        ("u8", "Q", (2**56 + 1, 2**64 - 1)),
    ],
)
def test_every_dtype_has_its_code_and_little_endian_data(code: str, letter: str, values: tuple[Any, Any]) -> None:
    expected = by_hand(code, "", (2,), struct.pack(f"<2{letter}", *values))
    array = np.array(values, code)
    assert tenbin.encode_buffer([array]) == expected
    assert tenbin.encode_buffer([array.astype(f">{code}")]) == expected, "big-endian arrays are converted"
    (back,) = tenbin.decode_buffer(expected)
    assert same(back, array)


@pytest.mark.parametrize("ndim", range(10))
def test_up_to_nine_dimensions(ndim: int) -> None:
    shape = tuple(range(1, 3))[:ndim] + (1,) * (ndim - 2)
    array = np.arange(math.prod(shape), dtype="i4").reshape(shape)
    expected = by_hand("i4", "", shape, array.tobytes())
    assert len(expected) == 16 + (64 if ndim <= 5 else 128) + 16 + 64
    assert tenbin.encode_buffer([array]) == expected
    (back,) = tenbin.decode_buffer(expected)
    assert same(back, array)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 128])
def test_payloads_are_padded_with_zeros_to_64_bytes(size: int) -> None:
    array = np.full(size, 255, "u1")
    assert tenbin.encode_buffer([array]) == by_hand("u1", "", (size,), b"\xff" * size)


def test_several_arrays_follow_one_another() -> None:
    first, second = np.arange(3, dtype="u1"), np.arange(100, dtype="f8")
    expected = by_hand("u1", "a", (3,), first.tobytes()) + by_hand("f8", "12345678", (100,), second.tobytes())
    assert tenbin.encode_buffer([first, second], ["a", "12345678"]) == expected
    arrays, infos = tenbin.decode_buffer(expected, True)
    assert infos == ["a", "12345678"]
    assert [array.tolist() for array in arrays] == [first.tolist(), second.tolist()]


def test_no_arrays_are_no_bytes() -> None:
    assert tenbin.encode_buffer([]) == b""
    assert tenbin.decode_buffer(b"") == []
    assert tenbin.decode_buffer(np.zeros((3, 0)).data) == []
    assert tenbin.decode_buffer(b"", infos=True) == ([], [])


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2**40)])
def test_empty_arrays_keep_their_shape(shape: tuple[int, ...]) -> None:
    array = np.empty(shape, "i2")
    buffer = tenbin.encode_buffer([array, np.array([1], "u1")])
    assert buffer == by_hand("i2", "", shape, b"") + by_hand("u1", "", (1,), b"\1")
    assert tenbin.decode_buffer(buffer)[0].shape == shape


def test_a_number_without_dimensions() -> None:
    expected = by_hand("f8", "", (), struct.pack("<d", 2.5))
    assert tenbin.encode_buffer([np.array(2.5)]) == expected
    assert tenbin.encode_buffer([np.float64(2.5)]) == expected
    (back,) = tenbin.decode_buffer(expected)
    assert back.shape == ()
    assert back == 2.5


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.T,
        lambda a: a[::2, ::-1],
        np.asfortranarray,
        lambda a: np.broadcast_to(a[:1], (4, 6)),
        lambda a: a[1:2, 3],
        lambda a: a.view(Subclass),
        lambda a: a.T.astype(">i4"),
    ],
)  # fmt: skip
def test_arrays_in_another_order_are_brought_into_c_order(change: Callable[[Array], Array]) -> None:
    array = change(np.arange(24, dtype="i4").reshape(4, 6))
    expected = by_hand("i4", "", array.shape, array.astype("<i4").tobytes("C"))
    assert tenbin.encode_buffer([array]) == expected


@pytest.mark.parametrize("dtype", [np.longlong, np.intc, np.ulonglong, np.dtype("f4", metadata={"unit": "m"})])
@pytest.mark.parametrize("order", ["<", ">", "="])
def test_types_that_are_the_same_by_another_name_have_the_same_code(dtype: Any, order: Any) -> None:
    array = np.arange(5).astype(np.dtype(dtype).newbyteorder(order))
    code = f"{array.dtype.kind}{array.dtype.itemsize}"
    assert tenbin.encode_buffer([array]) == by_hand(code, "", (5,), array.astype(f"<{code}").tobytes())


def test_what_is_encoded_stays_as_it_was() -> None:
    array = np.arange(6, dtype=">i2").reshape(2, 3).T
    before = array.copy()
    tenbin.encode_buffer([array])
    assert array.dtype == ">i2"
    assert array.strides == (2, 6)
    assert (array == before).all()


# --- tensors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_tensors_are_encoded_like_arrays(code: str) -> None:
    array = np.arange(12).astype(code).reshape(3, 4)
    tensor = torch.from_numpy(array)
    assert tenbin.encode_buffer([tensor.T]) == tenbin.encode_buffer([array.T])


def test_of_tensors_that_require_grad_the_values_are_taken() -> None:
    parameter = torch.nn.Parameter(torch.arange(3.0))
    assert tenbin.encode_buffer([parameter]) == tenbin.encode_buffer([np.arange(3, dtype="f4")])


def test_tensors_that_are_views_with_a_changed_sign() -> None:
    negated = torch.tensor([1 + 2j]).conj().imag
    assert negated.is_neg()
    assert tenbin.encode_buffer([negated]) == tenbin.encode_buffer([np.array([-2], "f4")])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.zeros(2, dtype=torch.bfloat16), "array 1 has dtype bfloat16"),
        (lambda: torch.zeros(2, dtype=torch.bool), "array 1 has dtype bool"),
        (lambda: torch.zeros(2, dtype=torch.complex64), "array 1 has dtype complex64"),
        (lambda: torch.zeros(2, device="meta"), "array 1 is a tensor on the device meta.*cpu"),
        (lambda: torch.eye(2).to_sparse(), "array 1 is a tensor of layout.*to_dense"),
        (lambda: np.zeros(2, "?"), "array 1 has dtype bool"),
        (lambda: np.zeros(2, "c8"), "array 1 has dtype complex64"),
        (lambda: np.array([None]), "array 1 has dtype object"),
        (lambda: np.array(["text"]), "array 1 has dtype <U4"),
        (lambda: np.array([b"text"]), "array 1 has dtype [|]S4"),
        (lambda: np.zeros(2, "M8[s]"), "array 1 has dtype datetime64"),
        (lambda: np.zeros(2, "m8[s]"), "array 1 has dtype timedelta64"),
        (lambda: np.zeros(2, [("x", "f4")]), "array 1 has dtype"),
        (lambda: np.zeros(2, "V4"), "array 1 has dtype [|]V4"),
        (lambda: np.zeros((1,) * 10), "array 1 has 10 dimensions.*at most 9"),
        (lambda: np.ma.masked_array(np.zeros(2), [True, False]), "array 1 has a mask"),
        (lambda: [1, 2], "array 1 is of type list"),
        (lambda: 1.0, "array 1 is of type float"),
        (lambda: None, "array 1 is of type NoneType"),
    ],
)
def test_what_tenbin_does_not_have_is_refused_by_name(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(EncodeError, match=words):
        tenbin.encode_buffer([np.zeros(2), make()])


def test_tensors_that_have_no_memory_of_their_own_are_refused() -> None:
    def encode(tensor: torch.Tensor) -> torch.Tensor:
        tenbin.encode_buffer([tensor])
        return tensor

    with pytest.raises(EncodeError, match="array 0 is a tensor that gives no numpy array"):
        torch.func.vmap(encode)(torch.zeros(2, 3))


@pytest.mark.skipif(np.dtype("longdouble").itemsize == 8, reason="long double is double here")
def test_long_double_is_refused() -> None:
    with pytest.raises(EncodeError, match="array 0 has dtype"):
        tenbin.encode_buffer([np.zeros(2, "longdouble")])


@pytest.mark.parametrize("value", [np.zeros((2, 3)), torch.zeros(2, 3), "text", {"a": np.zeros(2)}, None])
def test_one_array_in_place_of_a_list_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError, match=f"{type(value).__name__} in place of a list"):
        tenbin.encode_buffer(value)


def test_torch_and_zmq_are_not_imported_for_tenbin() -> None:
    code = (
        "import sys, numpy, webds.tenbin as t\n"
        "assert t.decode_buffer(t.encode_buffer([numpy.arange(3)]))[0].tolist() == [0, 1, 2]\n"
        "print(sorted({'torch', 'zmq', 'PIL'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_names_are_those_of_the_older_api() -> None:
    names = "load save read write encode_buffer decode_buffer zsend_single zrecv_single zsend_multipart"
    assert sorted(tenbin.__all__) == sorted([*names.split(), "zrecv_multipart", "sctp_send", "sctp_recv"])


# --- infos -------------------------------------------------------------------------------------------------


def test_infos_are_left_out_given_or_compared() -> None:
    buffer = tenbin.encode_buffer([np.zeros(1), np.ones(1)], ["x", ""])
    assert len(tenbin.decode_buffer(buffer)) == 2
    assert tenbin.decode_buffer(buffer, infos=True)[1] == ["x", ""]
    assert len(tenbin.decode_buffer(buffer, ["x", ""])) == 2
    assert len(tenbin.decode_buffer(buffer, ("x", ""))) == 2
    with pytest.raises(DecodeError, match="info of array 1 is '': expected 'y'"):
        tenbin.decode_buffer(buffer, ["x", "y"])
    with pytest.raises(DecodeError, match="2 arrays: expected 1"):
        tenbin.decode_buffer(buffer, ["x"])
    with pytest.raises(DecodeError, match="2 arrays: expected 0"):
        tenbin.decode_buffer(buffer, [])
    with pytest.raises(ValueError, match="infos: 'x'"):
        tenbin.decode_buffer(buffer, "x")


@pytest.mark.parametrize(
    ("infos", "words"),
    [
        (["a"], "expected a list of 2"),
        (["a", "b", "c"], "expected a list of 2"),
        ("ab", "expected a list of 2"),
        (["a", "123456789"], "info of array 1 is '123456789'"),
        (["ä", "b"], "info of array 0 is 'ä'"),
        (["a", "b\0"], "info of array 1"),
        (["a", b"b"], "info of array 1"),
        ([None, "b"], "info of array 0"),
    ],
)
def test_infos_that_would_not_come_back_are_refused(infos: Any, words: str) -> None:
    with pytest.raises(EncodeError, match=words):
        tenbin.encode_buffer([np.zeros(1), np.zeros(1)], infos)


# --- decoding copies nothing -------------------------------------------------------------------------------


def example() -> tuple[list[Array], bytes]:
    arrays: list[Array] = [np.arange(1000, dtype="f4").reshape(10, 100), np.arange(7, dtype="u1"), np.array(3)]
    return arrays, tenbin.encode_buffer(arrays)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, "<i8").copy()])
def test_arrays_are_views_of_the_buffer(kind: Callable[[bytes], Any]) -> None:
    arrays, encoded = example()
    buffer = kind(encoded)
    whole = np.frombuffer(buffer, "u1")
    for back, array in zip(tenbin.decode_buffer(buffer), arrays, strict=True):
        assert same(back, array)
        assert np.shares_memory(back, whole)
        assert back.flags.aligned
        assert back.flags.writeable == (not memoryview(buffer).readonly)


def test_arrays_are_views_of_a_mapped_file_and_keep_it_open(tmp_path: Path) -> None:
    arrays, encoded = example()
    path = tmp_path / "x"
    path.write_bytes(encoded)
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    first = tenbin.decode_buffer(mapped)[0]
    assert np.shares_memory(first, np.frombuffer(mapped, "u1"))
    first[0, 0] = 77
    mapped.flush()
    with pytest.raises(BufferError):
        mapped.close()
    assert tenbin.load(path, nocheck=True)[0][0, 0] == 77
    assert arrays[0][0, 0] == 0


def test_a_change_of_the_buffer_shows_in_the_arrays() -> None:
    buffer = bytearray(example()[1])
    array = tenbin.decode_buffer(buffer)[1]
    buffer[buffer.index(bytes(range(7)))] = 200
    assert array[0] == 200


@pytest.mark.parametrize("shift", [1, 4, 8])
def test_an_unaligned_buffer_is_decoded_in_place_too(shift: int) -> None:
    arrays, encoded = example()
    buffer = memoryview(bytes(shift) + encoded)[shift:]
    decoded = tenbin.decode_buffer(buffer)
    assert all(same(back, array) for back, array in zip(decoded, arrays, strict=True))
    assert all(np.shares_memory(back, np.frombuffer(buffer, "u1")) for back in decoded)
    assert decoded[0].flags.aligned == (shift % 4 == 0)


def test_decoding_takes_no_memory_for_the_data() -> None:
    buffer = tenbin.encode_buffer([np.zeros(1 << 20)] * 4)
    tracemalloc.start()
    try:
        arrays = tenbin.decode_buffer(buffer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(arrays) == 4
    assert peak < 20_000


def test_encoding_takes_the_memory_of_the_result_once() -> None:
    arrays = [np.zeros(1 << 18)] * 16
    tracemalloc.start()
    try:
        buffer = tenbin.encode_buffer(arrays)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(buffer) < peak < len(buffer) + 100_000


def test_a_buffer_in_pieces_is_refused() -> None:
    buffer = np.frombuffer(tenbin.encode_buffer([np.zeros(100)]), "u1")
    with pytest.raises(DecodeError, match="not contiguous"):
        tenbin.decode_buffer(buffer[::2].data)
    with pytest.raises(DecodeError, match="not contiguous"):
        tenbin.decode_buffer(np.asfortranarray(buffer[:192].reshape(2, 96)).data)
    with pytest.raises(TypeError):
        tenbin.decode_buffer("text")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


# --- bad input ---------------------------------------------------------------------------------------------

GOOD = by_hand("u1", "", (3,), b"abc")
HUGE = 2**62


def raw_header(code: bytes, info: bytes, *words: int) -> bytes:
    return chunk(code.ljust(8, b"\0") + info.ljust(8, b"\0") + struct.pack(f"<{len(words)}q", *words))


BAD = {
    "garbage": (b"x" * 200, "starts with b'xxxxxxxx' in place of b'~TenBin~'"),
    "a tar file": (b"a.jpg".ljust(512, b"\0"), "in place of"),
    "one magic changed": (GOOD[:80] + b"~tenbin~" + GOOD[88:], "starts with b'~tenbin~'"),
    "a part of the magic": (b"~Ten", "cut short.*16 more bytes, 4"),
    "a magic alone": (b"~TenBin~", "cut short.*16 more bytes, 8"),
    "no header": (GOOD[:16], "cut short.*64 more bytes, 0"),
    "half a header": (GOOD[:50], "cut short.*64 more bytes, 34"),
    "a header without data": (GOOD[:80], "cut short.*16 more bytes, 0"),
    "no data": (GOOD[:96], "cut short.*64 more bytes, 0"),
    "a part of the data": (GOOD[:98], "cut short.*64 more bytes, 2"),
    "a part of the padding": (GOOD[:-1], "cut short.*64 more bytes, 63"),
    "a negative length": (b"~TenBin~" + struct.pack("<q", -1) + bytes(64), "negative length -1"),
    "a huge header": (b"~TenBin~" + struct.pack("<q", HUGE) + bytes(64), f"header of {HUGE} bytes"),
    "a header of odd length": (chunk(header("u1", "", 3)[:25]) + chunk(b"abc"), "header of 25 bytes"),
    "a header too short": (chunk(bytes(16)) + chunk(b""), "header of 16 bytes"),
    "a header too long": (raw_header(b"u1", b"", 10, *[1] * 10) + chunk(b"a"), "header of 104 bytes"),
    "more dimensions than header": (raw_header(b"u1", b"", 2, 3) + chunk(b"abc"), "32 bytes for 2 dimensions"),
    "less dimensions than header": (raw_header(b"u1", b"", 1, 3, 1) + chunk(b"abc"), "40 bytes for 1 dimensions"),
    "negative rank": (raw_header(b"u1", b"", -1) + chunk(b""), "24 bytes for -1 dimensions"),
    "huge rank": (raw_header(b"u1", b"", HUGE) + chunk(b""), "bytes for 4611686018427387904 dimensions"),
    "negative dimension": (raw_header(b"u1", b"", 1, -3) + chunk(b"abc"), r"impossible shape \(-3,\)"),
    "two negative dimensions": (raw_header(b"u1", b"", 2, -1, -3) + chunk(b"abc"), "impossible shape"),
    "a product beyond 64 bits": (raw_header(b"u1", b"", 2, 2**33, 2**31) + chunk(b""), "impossible shape"),
    "a product that wraps to 3": (raw_header(b"u1", b"", 2, 3, 2**63 - 1) + chunk(b"abc"), "impossible"),
    "an empty array beyond 64 bits": (raw_header(b"u1", b"", 3, 0, HUGE, HUGE) + chunk(b""), "impossible shape"),
    "a size beyond 64 bits by the dtype": (raw_header(b"f8", b"", 1, HUGE) + chunk(b""), "impossible shape"),
    "less data than the shape": (by_hand("u1", "", (4,), b"abc"), r"3 bytes of data.*\(4,\).*uint8 has 4"),
    "more data than the shape": (by_hand("u1", "", (2,), b"abc"), "3 bytes of data"),
    "data for another dtype": (by_hand("f4", "", (3,), b"abc"), "float32 has 12"),
    "huge data": (GOOD[:88] + struct.pack("<q", HUGE), f"{HUGE} bytes of data"),
    "huge data that fits its shape": (
        chunk(header("u1", "", HUGE)) + b"~TenBin~" + struct.pack("<q", HUGE) + bytes(640),
        f"cut short.*{HUGE} more bytes, 640",
    ),
    "negative data": (GOOD[:88] + struct.pack("<q", -64), "negative length -64"),
    "unknown dtype": (by_hand("c8", "", (1,), bytes(8)), r"unknown dtype code b'c8"),
    "a dtype of objects": (by_hand("O8", "", (1,), bytes(8)), "unknown dtype code"),
    "a dtype with byte order": (by_hand(">f4", "", (1,), bytes(4)), "unknown dtype code"),
    "no dtype": (by_hand("", "", (1,), bytes(8)), "unknown dtype code"),
    "a dtype with something after it": (raw_header(b"u1\0x", b"", 0) + chunk(b"a"), "unknown dtype code"),
    "an info beyond ASCII": (raw_header(b"u1", b"\xc3\xa4", 0) + chunk(b"a"), "info that is not ASCII"),
    "an info with a NUL inside": (raw_header(b"u1", b"a\0b", 0) + chunk(b"a"), "info that is not ASCII"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_buffers_are_refused_with_the_reason_and_the_offset(name: str) -> None:
    buffer, words = BAD[name]
    with pytest.raises(DecodeError, match=words) as caught:
        tenbin.decode_buffer(buffer)
    assert caught.value.offset == 0
    with pytest.raises(DecodeError, match=words) as caught:
        tenbin.decode_buffer(GOOD + buffer)
    assert caught.value.offset == len(GOOD)


@pytest.mark.parametrize("end", range(1, len(GOOD)))
def test_a_buffer_cut_short_anywhere_is_refused(end: int) -> None:
    with pytest.raises(DecodeError, match="cut short"):
        tenbin.decode_buffer(GOOD + GOOD[:end])


def test_what_the_padding_holds_makes_no_difference() -> None:
    garbage = GOOD[:16] + GOOD[16:48] + b"\xff" * 32 + GOOD[80:99] + b"\xff" * 61
    assert len(garbage) == len(GOOD)
    assert tenbin.decode_buffer(garbage)[0].tobytes() == b"abc"


# --- properties --------------------------------------------------------------------------------------------

arrays = st.lists(
    hnp.arrays(
        st.sampled_from(CODES).flatmap(lambda code: st.sampled_from([f"<{code}", f">{code}"])).map(np.dtype),
        hnp.array_shapes(min_dims=0, max_dims=9, min_side=0, max_side=3),
    ),
    max_size=4,
)
names = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=8)


@given(arrays, st.data())
@settings(deadline=None, max_examples=60)
def test_what_was_encoded_is_decoded(given_arrays: list[Array], data: st.DataObject) -> None:
    infos = [data.draw(names) for _ in given_arrays]
    views = [array.T if data.draw(st.booleans()) else array for array in given_arrays]
    buffer = tenbin.encode_buffer(views, infos)
    assert len(buffer) % 32 == 0
    decoded, back = tenbin.decode_buffer(buffer, infos=True)
    assert back == infos
    assert len(decoded) == len(views)
    assert all(same(one, other) for one, other in zip(decoded, views, strict=True))
    assert tenbin.encode_buffer(decoded, back) == buffer


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_damaged_buffers_give_errors_and_take_no_memory(data: st.DataObject) -> None:
    buffer = bytearray(example()[1])
    for _ in range(data.draw(st.integers(1, 3))):
        # Heads are hit more often than data, where a flip is no error.
        spot = data.draw(st.sampled_from(range(len(buffer))) | st.integers(0, 96))
        buffer[spot] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del buffer[data.draw(st.integers(0, len(buffer) - 1)) :]
    decoded: list[Array] = []
    located = True
    tracemalloc.start()
    try:
        decoded = tenbin.decode_buffer(buffer)
    except DecodeError as error:
        located = error.offset is not None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert located
    assert peak < 200_000
    assert sum(array.nbytes for array in decoded) <= len(buffer)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    prefixed = b"~TenBin~" + data
    for buffer in (data, prefixed):
        if buffer:
            with pytest.raises(DecodeError):
                tenbin.decode_buffer(buffer)

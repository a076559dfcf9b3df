"""Tensors as torch.save writes them: what comes back, what is refused, and that no code runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from typing_extensions import override

from webds.codecs import TorchCodec
from webds.errors import DecodeError, EncodeError, UntrustedDataError
from webds.testing import CodecSuite, same

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


class TestTorchCodec(CodecSuite[Any]):
    @override
    def make_codec(self) -> TorchCodec:
        return TorchCodec()

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        grid = torch.arange(6.0).reshape(2, 3)
        nested = {
            "x": [grid, (1, 2.5, None, True)],
            "storage": {3: b"x" * 3, None: "ü"},
            "size": grid.shape,
            "dtype": grid.dtype,
        }
        return [
            (grid, "pth"),
            (grid.t(), "pt"),
            (nested, "a.pth"),
            (OrderedDict(b=torch.tensor(3), a=torch.zeros(0, 2)), "pt"),
        ]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"", "pth"), (b"PK\x03\x04", "pth"), (pickle.dumps([1]), "pth"), (saved(torch.arange(9))[:-30], "pth")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        grid = torch.arange(6.0).reshape(2, 3)
        named = torch.zeros(2)
        named.label = 1  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        trained = torch.zeros(2, requires_grad=True)
        trained.sum().backward()
        values: list[Any] = [
            np.zeros(2),
            np.float32(1),
            grid.to_sparse(),
            grid.clone().requires_grad_() * 2,
            trained,
            named,
            grid.to("meta"),
            b"",
            {1, 2},
            range(3),
            1j,
            2**3000,
            bytearray(b"a"),
            {(1, 2): 3},
            {grid: 1},
            torch.device("cpu"),
            torch.nn.Linear(1, 1),
            torch.nn.Buffer(grid) if hasattr(torch.nn, "Buffer") else object(),
        ]
        return [(value, "pth") for value in values] + [({"deep": [value]}, "pth") for value in values]

    @override
    def same(self, actual: Any, expected: Any) -> bool:
        return same(actual, expected)


def saved(value: Any, **how: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **how)
    return file.getvalue()


def rewritten(data: bytes, changes: dict[bytes, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive of torch.save with its pickle changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                for before, after in changes.items():
                    assert before in content
                    content = content.replace(before, after)
            new.writestr(entry.filename, content)
    return file.getvalue()


def round_trip(value: Any) -> Any:
    return TorchCodec().decode(TorchCodec().encode(value, "pth"), "pth")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_every_dtype_come_back(dtype: torch.dtype) -> None:
    values = torch.arange(7).to(dtype)
    found = round_trip([values, values[2:5], values[3]])
    for one, expected in zip(found, [values, values[2:5], values[3]], strict=True):
        assert one.dtype == dtype
        assert one.shape == expected.shape
        assert one.reshape(-1).view(torch.uint8).tolist() == expected.clone().reshape(-1).view(torch.uint8).tolist()


def test_torch_loads_what_was_encoded_without_this_package() -> None:
    value = {"x": torch.arange(3), "y": [1, "a"]}
    assert same(torch.load(io.BytesIO(TorchCodec().encode(value, "pth")), weights_only=True), value)


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "older"])
def test_what_torch_saves_is_read(how: dict[str, Any]) -> None:
    value = {"x": torch.arange(30).reshape(5, 6)[1:3, ::2], "p": torch.nn.Parameter(torch.ones(2)), "n": 1}
    found = TorchCodec().decode(bytearray(saved(value, **how)), "pth")
    assert same({**found, "p": found["p"].data}, {**value, "p": torch.ones(2)})


def test_parameters_and_flags_come_back() -> None:
    value = {"p": torch.nn.Parameter(torch.ones(2)), "q": torch.nn.Parameter(torch.ones(2), requires_grad=False)}
    found = round_trip({**value, "t": torch.ones(2, requires_grad=True)})
    assert type(found["p"]) is torch.nn.Parameter
    assert found["p"].requires_grad
    assert type(found["q"]) is torch.nn.Parameter
    assert not found["q"].requires_grad
    assert type(found["t"]) is torch.Tensor
    assert found["t"].requires_grad


def test_conjugate_and_negative_views_come_back_as_what_they_show() -> None:
    value = torch.tensor([1 + 2j, 3 - 4j])
    assert round_trip(value.conj()).tolist() == [1 - 2j, 3 + 4j]
    assert round_trip(value.conj().imag).tolist() == [-2.0, 4.0]


def test_31_a_view_is_stored_at_its_own_size() -> None:
    codec, large = TorchCodec(), torch.zeros(1000, 1000)
    alone = len(codec.encode(torch.zeros(1000), "pth"))
    assert len(codec.encode(large[3], "pth")) == alone
    assert len(codec.encode(large[:, 3], "pth")) == alone
    assert len(codec.encode({"a": [large[0, :10]]}, "pth")) < 2000


def test_encoding_does_not_change_a_view() -> None:
    large = torch.zeros(10, 10)
    view = large[3]
    TorchCodec().encode(view, "pth")
    assert view.untyped_storage().data_ptr() == large.untyped_storage().data_ptr()
    assert not view.requires_grad


def test_tensors_that_share_memory_come_back_with_their_values() -> None:
    base = torch.arange(6, dtype=torch.int32)
    value = [base, base, base[:3], base.view(2, 3), base.view(torch.float32), {"again": base[:3]}]
    found = round_trip(value)
    assert same(found, value)
    assert found[0] is found[1]


def test_equal_values_give_equal_bytes_however_they_came_about() -> None:
    codec = TorchCodec()
    one = {"storage": "storage", "x": ["ab", "ab", torch.arange(6.0).reshape(2, 3)], "data": b"abc", "more": b"abc"}
    grid = torch.arange(6.0).reshape(2, 3).t().contiguous().t()
    other = {
        "".join(list("storage")): "".join(list("storage")),
        "x": ["".join(list("ab")), "".join(list("ab")), grid],
        "data": bytes(bytearray(b"abc")),
    }
    other["more"] = bytes(bytearray(b"abc"))
    assert codec.encode(one, "pth") == codec.encode(other, "pth")


def test_the_error_names_the_place_and_the_way_out() -> None:
    with pytest.raises(EncodeError, match=r"value\['a'\]\[1\]: .*numpy\.ndarray.*from_numpy") as caught:
        TorchCodec().encode({"a": [1, np.zeros(2)]}, "a.pth")
    assert caught.value.field == "a.pth"
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(EncodeError, match="in itself"):
        TorchCodec().encode(loop, "pth")


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "older"])
def test_34_torch_data_with_code_is_refused_and_the_refusal_says_how(how: dict[str, Any]) -> None:
    data = saved({"x": torch.zeros(2), "r": range(3)}, **how)
    with pytest.raises(
        UntrustedDataError, match=r"'range'.*with_decoder\('pt', webds\.TorchCodec\(trusted=True\)"
    ) as caught:
        TorchCodec().decode(data, "a.pt")
    assert caught.value.field == "a.pt"
    assert TorchCodec(trusted=True).decode(data, "a.pt")["r"] == range(3)


def test_34_torch_data_with_code_does_not_run(tmp_path: Path) -> None:
    data = saved([Bomb(tmp_path / "ran")])
    with pytest.raises(UntrustedDataError, match=r"mkdir"):
        TorchCodec().decode(data, "pth")
    assert not (tmp_path / "ran").exists()
    TorchCodec(trusted=True).decode(data, "pth")
    assert (tmp_path / "ran").exists(), "so it was a real one"


def test_34_a_compressed_archive_is_refused_before_memory_is_taken() -> None:
    data = rewritten(saved(torch.zeros(4_000_000, dtype=torch.uint8)), {}, zipfile.ZIP_DEFLATED)
    assert len(data) < 20_000
    with pytest.raises(DecodeError, match="compressed"):
        TorchCodec().decode(data, "pth")


@pytest.mark.parametrize("maker", ["torch FloatTensor", "__builtin__ bytearray", "torch._tensor Tensor"])
def test_34_tensors_that_are_made_by_their_length_are_refused(maker: str) -> None:
    name = "\n".join(maker.split()).encode()
    call = b"c" + name + b"\n\x8a\x05\x00\x00\x00\x00\x02\x85R"  # maker(2**33)
    data = rewritten(saved([torch.zeros(2), 12345]), {b"M90": call})
    with pytest.raises(DecodeError, match="by their length"):
        TorchCodec().decode(data, "pth")


def test_34_a_storage_shorter_than_its_tensor_is_refused() -> None:
    data = rewritten(saved(torch.zeros(200)), {b"K\xc8": b"M\x00\x70"})
    with pytest.raises(DecodeError):
        TorchCodec().decode(data, "pth")


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(min_size=1, max_size=5)
    | st.builds(lambda n, dtype: torch.arange(n).to(dtype), st.integers(0, 5), st.sampled_from(DTYPES[:15]))
)
KEYS = st.text(max_size=5) | st.integers() | st.binary(min_size=1, max_size=3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@given(VALUES)
def test_nested_values_come_back(value: Any) -> None:
    assert same(round_trip(value), value)

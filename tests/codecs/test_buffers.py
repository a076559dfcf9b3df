"""Bytes-like objects of all kinds as flat bytes."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

from webds.codecs.buffers import flat


@pytest.mark.parametrize(
    "data",
    [
        b"abcd",
        bytearray(b"abcd"),
        memoryview(b"-abcd-")[1:-1],
        memoryview(b"a-b-c-d")[::2],
        array.array("H", b"abcd"),
        np.frombuffer(b"abcd", ">u2").reshape(2, 1),
        np.frombuffer(b"abcd", [("x", "u1"), ("y", "u1")]),
    ],
)
def test_the_bytes_of_any_buffer_are_seen_as_they_are(data: Any) -> None:
    view = flat(data)
    assert view.format == "B"
    assert len(view) == view.nbytes == 4
    assert bytes(view) == b"abcd"


def test_empty_buffers_are_empty() -> None:
    empty: Any = np.zeros((0, 3))
    assert len(flat(b"")) == len(flat(empty)) == 0


def test_flat_bytes_are_not_copied() -> None:
    data = bytearray(b"abcd")
    flat(data)[0] = ord("x")
    assert data == b"xbcd"


def test_what_is_no_buffer_is_a_type_error() -> None:
    text: Any = "abcd"
    with pytest.raises(TypeError):
        flat(text)

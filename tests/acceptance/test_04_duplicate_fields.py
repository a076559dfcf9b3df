"""Line 4, reading: a field or a sample that comes twice is an error, or what the policy says."""

from __future__ import annotations

import io
import tarfile

import pytest

from webds.errors import SampleError
from webds.tar import Duplicates, read_samples
from webds.typing import Sample


def shard(*members: tuple[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


TWICE = [("a.jpg", b"1"), ("a.cls", b"2"), ("a.JPG", b"3"), ("b.jpg", b"4"), ("b.cls", b"5")]
B: Sample = {"__key__": "b", "jpg": b"4", "cls": b"5"}
AGAIN = [("a.jpg", b"1"), ("b.jpg", b"4"), ("b.cls", b"5"), ("a.jpg", b"6"), ("c.jpg", b"7")]


def test_04_a_field_that_comes_twice_is_an_error_by_default() -> None:
    with pytest.raises(SampleError, match="'jpg' twice") as caught:
        list(read_samples(shard(*TWICE), url="x.tar"))
    assert (caught.value.url, caught.value.key, caught.value.field) == ("x.tar", "a", "jpg")


@pytest.mark.parametrize(
    ("duplicates", "expected"),
    [
        ("skip", [B]),
        ("first", [{"__key__": "a", "jpg": b"1", "cls": b"2"}, B]),
        ("last", [{"__key__": "a", "jpg": b"3", "cls": b"2"}, B]),
    ],
)
def test_04_the_policies_for_a_field_that_comes_twice(duplicates: Duplicates, expected: list[Sample]) -> None:
    assert list(read_samples(shard(*TWICE), duplicates=duplicates)) == expected


@pytest.mark.parametrize("duplicates", ["error", "last"])
def test_04_a_sample_that_comes_back_with_the_same_fields_is_an_error(duplicates: Duplicates) -> None:
    with pytest.raises(SampleError, match="'a' comes a second time") as caught:
        list(read_samples(shard(*AGAIN), url="x.tar", duplicates=duplicates))
    assert (caught.value.url, caught.value.key) == ("x.tar", "a")


@pytest.mark.parametrize("duplicates", ["skip", "first"])
def test_04_or_is_passed_over(duplicates: Duplicates) -> None:
    expected = [{"__key__": "a", "jpg": b"1"}, B, {"__key__": "c", "jpg": b"7"}]
    assert list(read_samples(shard(*AGAIN), duplicates=duplicates)) == expected


@pytest.mark.parametrize("duplicates", ["error", "skip", "first", "last"])
def test_04_a_key_that_comes_back_with_new_fields_is_an_error_under_every_policy(duplicates: Duplicates) -> None:
    members = [*AGAIN[:3], ("a.txt", b"new"), *AGAIN[4:]]
    with pytest.raises(SampleError, match="tar --sort=name"):
        list(read_samples(shard(*members), duplicates=duplicates, on_error=lambda error: True))

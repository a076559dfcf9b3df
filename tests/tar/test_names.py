"""Many names split at once are what the rule makes of each."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings
from numpy.typing import NDArray

from webds.tar import base_plus_ext
from webds.tar.names import split_names


def block_of(names: list[bytes]) -> NDArray[np.uint8]:
    return np.array(names, dtype="S100").view(np.uint8).reshape(len(names), 100)


def one_by_one(names: list[str]) -> list[tuple[str | None, list[str | None]]]:
    """Return the samples that neighbours make: key and fields."""
    found: list[tuple[str | None, list[str | None]]] = []
    for name in names:
        key, field = base_plus_ext(name)
        if not found or found[-1][0] != key:
            found.append((key, []))
        found[-1][1].append(field)
    return found


keys = st.one_of(
    st.from_regex(r"(d\.e/)?[a-c]{1,3}", fullmatch=True),
    st.sampled_from(["0001", "0002", "x/0001", "__m__/a", ".a", "ü", "a\nb", "", "a.b"]),
)
fields = st.sampled_from(["cls", "jpg", "JPG", "seg.png", "json", "", "__key__", "a/b", "é"])


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(keys, st.lists(fields, min_size=1, max_size=3)), min_size=1, max_size=12))
@example([(f"{i:04d}", ["cls", "JPG"]) for i in range(12)])
@example([(f"{i}", ["cls", "jpg"]) for i in range(8, 12)])
def test_names_are_split_by_the_rule_or_left_to_be_looked_at_one_by_one(
    samples: list[tuple[str, list[str]]],
) -> None:
    names = [f"{key}.{field}" for key, fields in samples for field in fields]
    split = split_names(block_of([name.encode() for name in names]))
    expected = one_by_one(names)
    if split is None:
        return
    assert list(split.keys) == [key for key, _ in expected]
    assert [list(shape) for shape in split.shapes] == [["__key__", *fields] for _, fields in expected]
    middle = set(split.shapes[1:-1])
    assert not split.regular or len(middle) == 1
    assert all(len(set(shape)) == len(shape) for shape in split.shapes)


@pytest.mark.parametrize("form", ["{:06d}", "d/{:06d}", "d.e/x{:06d}", "{}", "n01440764_{}", "{:x}/{:x}"])
@pytest.mark.parametrize("shape", [["cls", "jpg"], ["jpg"], ["JPG", "cls", "seg.png", "json"]])
def test_ordinary_names_are_split(form: str, shape: list[str]) -> None:
    names = [f"{form.format(i, i)}.{field}" for i in range(95, 120) for field in shape]
    split = split_names(block_of([name.encode() for name in names[1:]]))
    assert split is not None
    assert split.regular
    assert list(split.keys) == [form.format(i, i) for i in range(95 + (len(shape) == 1), 120)]
    assert split.shapes[-1] == ("__key__", *(field.lower() for field in shape))


@pytest.mark.parametrize(
    "odd",
    [
        "a", ".a", "a.", "__x__/a.b", "_a.b", "d/.a.b", "a.__key__", "a.B\0c", "a\0b.c", "\xff.a", "a.\xff", "a\n.b",
        "a/b.c/d",
    ],
)  # fmt: skip
@pytest.mark.parametrize("position", [0, 1, 5])
def test_what_is_odd_is_left(odd: str, position: int) -> None:
    names = [f"{i:03d}.{field}".encode() for i in range(6) for field in ("cls", "jpg")]
    assert split_names(block_of(names)) is not None
    names[position] = odd.encode("latin-1")
    split = split_names(block_of(names))
    texts = [name.rstrip(b"\0").decode("utf-8", "surrogateescape") for name in names]
    assert split is None or [key for key, _ in one_by_one(texts)] == list(split.keys)
    assert split is None or "\0" not in "".join(split.keys)


def test_a_field_twice_in_a_sample_is_left() -> None:
    assert split_names(block_of([b"a.jpg", b"a.cls", b"a.JPG"])) is None
    assert split_names(block_of([b"%03d.jpg" % (i // 2) for i in range(20)])) is None

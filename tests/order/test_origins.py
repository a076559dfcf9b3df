from __future__ import annotations

import base64
import pickle
import zlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from webds.errors import StateError
from webds.order.origins import PartOrigin, pack_origins, samples_of, unpack_origins

SHARDS = [f"s{i}" for i in range(5)]
NUMBERS = {shard: number for number, shard in enumerate(SHARDS)}

samples = st.tuples(st.sampled_from(SHARDS), st.integers(0, 2**31 - 1), st.none())


def _batches(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(parts, min_size=1, max_size=4).map(tuple)


def _parts(wholes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return wholes.flatmap(
        lambda whole: st.integers(0, len(whole) - 1).map(lambda part: PartOrigin.of(whole[part], whole, part))
    )


origins = st.recursive(samples, lambda inner: _batches(inner) | _parts(_batches(inner)), max_leaves=6)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, PartOrigin):
        return isinstance(b, PartOrigin) and a == b and a.part == b.part and _same(a.whole, b.whole)
    if isinstance(a[0], tuple):
        return type(b) is tuple and len(a) == len(b) and all(map(_same, a, b))
    return type(b) is tuple and a == b


@given(st.lists(origins, max_size=4))
def test_what_is_packed_comes_back(listed: list[Any]) -> None:
    unpacked = unpack_origins(pack_origins(listed, NUMBERS), SHARDS)
    assert len(unpacked) == len(listed)
    assert all(map(_same, listed, unpacked))
    assert all(map(_same, listed, pickle.loads(pickle.dumps(listed))))


def test_a_batch_of_many_parts_is_packed_once() -> None:
    whole = tuple(("s1", i, None) for i in range(64))
    one = pack_origins([PartOrigin.of(whole[0], whole, 0)], NUMBERS)
    all_of_them = pack_origins([PartOrigin.of(whole[i], whole, i) for i in range(64)], NUMBERS)
    assert len(all_of_them) < 2 * len(one)


def test_a_part_is_where_it_was_before() -> None:
    whole = (("s1", 4, "a"), ("s2", 7, "b"))
    assert samples_of(PartOrigin.of(whole[1], whole, 1)) == [("s2", 7, "b")]
    assert samples_of((whole, whole[0])) == [*whole, whole[0]]


def test_an_unknown_shard_is_named() -> None:
    with pytest.raises(StateError, match=r"no shard that the dataset has now.*elsewhere"):
        pack_origins([("elsewhere", 1, None)], NUMBERS)


@pytest.mark.parametrize("text", [
    "no base64!", base64.b64encode(b"no zlib").decode(), base64.b64encode(zlib.compress(b"abc")).decode(),
    base64.b64encode(zlib.compress(bytes(4) + b"\1\0\0\0")).decode(),
    base64.b64encode(zlib.compress(bytes(4) + b"\xff\0\0\0\1\0\0\0")).decode(), "",
])  # fmt: skip
def test_what_is_damaged_is_refused(text: str) -> None:
    with pytest.raises(StateError, match="damaged"):
        unpack_origins(text, SHARDS)

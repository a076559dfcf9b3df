from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings, strategies as st

from webds.tar import seen
from webds.tar.seen import SeenKeys

keys = st.text(st.characters(codec="utf-8"), max_size=4)


@given(
    st.lists(st.tuples(keys, st.sampled_from([("a",), ("a", "b"), ()])), max_size=60), st.booleans(), st.integers(1, 5)
)
def test_it_knows_what_a_dict_knows(pairs: list[tuple[str, tuple[str, ...]]], ascending: bool, together: int) -> None:
    known: dict[str, tuple[str, ...]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen, "_PACKED_TOGETHER", together)
        patch.setattr(seen, "_MOST_NUMBERS", together % 3)
        record = SeenKeys()
        for key, fields in sorted(pairs) if ascending else pairs:
            assert record.get(key) == known.get(key)
            if key not in known:
                known[key] = fields
                record.add(key, fields)
            assert record.get(key) == known[key]
        assert {key: record.get(key) for key, _ in pairs} == known


def test_keys_that_ascend_take_little_more_than_their_text() -> None:
    record = SeenKeys()
    tracemalloc.start()
    try:
        for i in range(100_000):
            record.add(f"sample{i:08d}", ("__key__", "jpg"))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 100_000 * (14 + 1 + 2) * 1.3
    assert record.get("sample00099999") == ("__key__", "jpg")
    assert record.get("sample00100000") is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.text("abc0", min_size=1, max_size=3), min_size=1, max_size=6),
            st.lists(st.sampled_from([("__key__", "a"), ("__key__", "b", "c")]), min_size=6, max_size=6),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_keys_added_many_at_a_time_are_known_as_if_added_one_by_one(
    batches: list[tuple[list[str], list[tuple[str, ...]], bool]],
) -> None:
    record, known = SeenKeys(), dict[str, tuple[str, ...]]()
    for keys, shapes, one_by_one in batches:
        new = len(set(keys)) == len(keys) and not known.keys() & set(keys)
        assert record.are_new(keys) == new
        if not new:
            continue
        shapes = shapes[: len(keys)]
        if one_by_one:
            for key, shape in zip(keys, shapes, strict=True):
                record.add(key, shape)
        else:
            record.add_all(keys, shapes)
        known |= zip(keys, shapes, strict=True)
        assert record.last == max(known)
    for key in {*known, "a", "c00", "~"}:
        assert record.get(key) == known.get(key)

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest
from hypothesis import given, strategies as st
from shards import tar_bytes
from typing_extensions import override

from webds.errors import SampleError, WebdsError
from webds.index import RangeStream, scan
from webds.openers.functions import FunctionOpener
from webds.tar import read_samples

NAMES = st.sampled_from(["a.x", "a.y", "b.x", "b.Y", "c.x", "nodot", ".hidden", "__meta__/a.x", "d/a.x"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=600)), max_size=8))
def test_a_scan_reports_what_streaming_does(members: list[tuple[str, bytes]]) -> None:
    whole = tar_bytes(members)
    try:
        samples: list[dict[str, Any]] = list(read_samples(io.BytesIO(whole)))
    except WebdsError as error:
        expected = error.key, error.field
        with pytest.raises(type(error)) as caught:
            scan(io.BytesIO(whole))
        assert (caught.value.key, caught.value.field) == expected
        return
    found = scan(io.BytesIO(whole))
    table = found.table
    assert table is not None
    assert found.count == len(samples)
    for number, sample in enumerate(samples):
        got = {
            table.fields[table.kinds[m]]: whole[int(table.offsets[m]) : int(table.offsets[m] + table.sizes[m])]
            for m in table.members(number)
        }
        assert got == {field: value for field, value in sample.items() if field != "__key__"}


def test_samples_that_are_not_sound_are_errors() -> None:
    with pytest.raises(SampleError, match="twice"):
        scan(io.BytesIO(tar_bytes([("a.x", b""), ("a.x", b"")])), url="u.tar")


def test_a_compressed_shard_is_counted_and_has_no_table() -> None:
    found = scan(io.BytesIO(gzip.compress(tar_bytes([("a.x", b"1"), ("b.x", b"2")]))))
    assert (found.count, found.table, found.hindrance) == (2, None, "compressed")


def test_a_stream_that_does_not_seek_will_do() -> None:
    class Pipe(io.BytesIO):
        @override
        def seekable(self) -> bool:
            return False

    assert scan(Pipe(tar_bytes([("a.x", b"1"), ("b.x", b"2")]))).count == 2


def test_the_data_of_large_members_is_not_read_from_ranges() -> None:
    whole = tar_bytes([(f"{i}.bin", bytes(3 << 20)) for i in range(4)])
    asked: list[int] = []

    class Ranged(io.BytesIO):
        @override
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(-1 if size is None else size)
            return super().read(size)

    opener = FunctionOpener(lambda url: Ranged(whole))
    assert scan(RangeStream(opener, "u", len(whole))).count == 4
    assert 0 < sum(asked) < len(whole) / 4

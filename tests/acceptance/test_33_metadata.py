"""33. A ``_field`` that would be dropped is said (once) or kept."""

from __future__ import annotations

import tarfile
import warnings
from pathlib import Path

import pytest

from webds.sinks import ShardWriter, TarWriter
from webds.typing import Sample


def samples(count: int = 5) -> list[Sample]:
    return [{"__key__": str(n), "txt": "t", "_origin": f"caméra {n}", "_who": "ann"} for n in range(count)]


def fields(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]  # files only  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize("sharded", [False, True])
def test_33_a_dropped_field_is_said_once_by_name(tmp_path: Path, sharded: bool) -> None:
    sink = ShardWriter(f"{tmp_path}/%d.tar", maxcount=2) if sharded else TarWriter(tmp_path / "0.tar")
    with warnings.catch_warnings(record=True) as caught, sink:
        warnings.simplefilter("always")
        for sample in samples():
            sink.write(sample)
    assert [warning.category for warning in caught] == [RuntimeWarning, RuntimeWarning]
    assert ["'_origin'" in str(caught[0].message), "'_who'" in str(caught[1].message)] == [True, True]
    assert all("keep_meta=True" in str(warning.message) for warning in caught)
    assert set(fields(tmp_path / "0.tar")) <= {f"{n}.txt" for n in range(5)}


def test_33_the_warning_points_to_the_call(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar") as sink, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sink.write(samples()[0])
    assert [warning.filename for warning in caught] == [__file__, __file__]


def test_33_a_field_is_kept_on_demand_and_nothing_is_said(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar", keep_meta=True) as sink:
        sink.write(samples(1)[0])
    assert fields(tmp_path / "x.tar") == {"0._origin": "caméra 0".encode(), "0._who": b"ann", "0.txt": b"t"}


def test_33_where_nothing_is_dropped_nothing_is_said(tmp_path: Path) -> None:
    with warnings.catch_warnings(), TarWriter(tmp_path / "x.tar") as sink:
        warnings.simplefilter("error")
        sink.write({"__key__": "a", "__url__": "somewhere", "txt": "t"})

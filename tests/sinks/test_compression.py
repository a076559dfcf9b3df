from __future__ import annotations

import sys

import pytest

from webds.errors import MissingExtraError
from webds.sinks.compression import compression_of, make_compressor


@pytest.mark.parametrize("name", [None, "", "x.tar", "x.tar.gz.part", "gz", "x.tar.lz4"])
def test_other_names_are_plain(name: str | None) -> None:
    assert compression_of(None, name) is None


@pytest.mark.parametrize(
    ("suffix", "method"),
    [
        ("gz", "gz"),
        ("tgz", "gz"),
        ("bz2", "bz2"),
        ("tbz2", "bz2"),
        ("tbz", "bz2"),
        ("xz", "xz"),
        ("txz", "xz"),
        ("zst", "zst"),
        ("tzst", "zst"),
    ],
)
def test_suffixes_name_their_method(suffix: str, method: str) -> None:
    assert compression_of(None, f"a.{suffix}") == compression_of(None, f"A.{suffix.upper()}") == method
    assert compression_of(False, f"a.{suffix}") is None


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"webds\[zstd\]"):
        make_compressor("zst")

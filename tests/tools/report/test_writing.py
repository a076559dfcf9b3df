"""Where a page goes, and what it does not replace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shards import write_shard

from webds.errors import OpenError, WriteError
from webds.openers import FsspecOpener
from webds.tools.report import check_output, gather, render, write_report


@pytest.fixture
def page(tmp_path: Path) -> str:
    return render(gather(write_shard(tmp_path / "x.tar", [{"__key__": "k", "txt": "größe"}])))


def test_an_older_report_is_replaced_and_nothing_else(tmp_path: Path, page: str) -> None:
    report, other = tmp_path / "report.html", tmp_path / "x.tar"
    write_report(page, str(report))
    assert report.read_text(encoding="utf-8") == page
    write_report(page.replace("größe", "kleiner"), str(report))
    assert "kleiner" in report.read_text(encoding="utf-8")
    before = other.read_bytes()
    with pytest.raises(WriteError, match="is no report"):
        check_output(str(other))
    with pytest.raises(WriteError, match="is no report"):
        write_report(page, str(other))
    assert other.read_bytes() == before
    write_report(page, str(other), overwrite=True)
    assert other.read_text(encoding="utf-8") == page
    assert sorted(os.listdir(tmp_path)) == ["report.html", "x.tar"]


def test_a_place_that_cannot_be_written_to_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match="no directory"):
        check_output(str(tmp_path / "none" / "report.html"))
    with pytest.raises(WriteError, match="is a directory"):
        check_output(str(tmp_path))


def test_it_may_go_to_a_store(page: str) -> None:
    write_report(page, "memory://reports/report.html", opener=FsspecOpener())
    with FsspecOpener().open("memory://reports/report.html") as stream:
        assert stream.read().decode() == page

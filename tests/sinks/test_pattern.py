from __future__ import annotations

from pathlib import Path

import pytest

from webds.sinks.pattern import ShardPattern


@pytest.mark.parametrize(
    "pattern", ["x-%06d.tar", "%d", "%i", "%5d.tar", "%x.tar", "%o", "100%%-%03d.tar", "%s.tar", "%.4d", "%-3d|", "%+d"]
)
def test_existing_finds_exactly_the_names_that_the_pattern_makes(tmp_path: Path, pattern: str) -> None:
    names = ShardPattern(f"{tmp_path}/{pattern}")
    numbers = [0, 1, 8, 17, 255, 1_000_000]
    for number in numbers:
        Path(names.name(number)).touch()
    for other in ("x-1.tar", "x-000001.tar.idx", "x-.tar", "x-00000a.tar", "x-000001.tgz", "other", "x--00001.tar"):
        if not any(names.name(number).endswith("/" + other) for number in range(20)):
            (tmp_path / other).touch()
    assert names.existing() == {number: names.name(number) for number in numbers}
    assert list(names.existing(8)) == [8, 17, 255, 1_000_000]
    assert names.is_local


def test_the_number_may_be_in_a_directory_and_names_may_have_glob_characters(tmp_path: Path) -> None:
    names = ShardPattern(f"{tmp_path}/[a]*/%03d/x?.tar")
    for number in (3, 4):
        path = Path(names.name(number))
        path.parent.mkdir(parents=True)
        path.touch()
    assert list(names.existing()) == [3, 4]


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "x-003.tar").touch()
    names = ShardPattern(f"file://{tmp_path}/a%%20b/x-%03d.tar")
    assert names.name(3) == f"file://{tmp_path}/a%20b/x-003.tar"
    assert names.existing() == {3: f"{tmp_path}/a b/x-003.tar"}


def test_relative_names_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x-3.tar").touch()
    assert ShardPattern("x-%d.tar").existing() == {3: "x-3.tar"}
    assert ShardPattern("./x-%d.tar").existing() == {3: "./x-3.tar"}
    assert ShardPattern("%d").existing() == {}


def test_partial_files_are_those_of_the_pattern(tmp_path: Path) -> None:
    names = ShardPattern(f"{tmp_path}/x-%03d.tar")
    token = "0123456789abcdef"
    for name in (
        f".x-001.tar.{token}.part",
        f".x-002.tar.{token}.part",
        f".x-2.tar.{token}.part",
        f".y-001.tar.{token}.part",
        ".x-001.tar.part",
        f"x-001.tar.{token}.part",
    ):
        (tmp_path / name).touch()
    assert names.partial() == [f"{tmp_path}/.x-001.tar.{token}.part", f"{tmp_path}/.x-002.tar.{token}.part"]
    assert names.partial(2) == [f"{tmp_path}/.x-002.tar.{token}.part"]
    assert names.existing() == {}


@pytest.mark.parametrize("url", ["pipe:cat > x-%06d.tar", "https://host/a%%20b/%d.tar"])
def test_urls_have_names_but_no_files(url: str) -> None:
    names = ShardPattern(url)
    assert not names.is_local
    assert names.existing() == {}
    assert names.partial() == []
    assert names.name(7) == url % 7


@pytest.mark.parametrize(
    "pattern", ["x.tar", "", "x-%d-%d.tar", "x-%%d.tar", "x-%", "x-%f.tar", "x-%(n)d", "x-%*d", "a%20b-%d.tar", "%.2s"]
)
def test_a_pattern_must_have_one_place_for_a_whole_number(pattern: str) -> None:
    with pytest.raises(ValueError, match="one place for the shard's number"):
        ShardPattern(pattern)

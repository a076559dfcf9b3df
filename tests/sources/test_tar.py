from __future__ import annotations

import gzip
import io
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from shards import numbered_shards, tar_bytes, write_members, write_shard
from typing_extensions import override

from webds.errors import OpenError, SampleError, TarFormatError, UrlError
from webds.openers.schemes import as_opener, default_opener
from webds.plans.byshard import RecoveringSource
from webds.sources.tar import MemberSource, TarSource
from webds.tar import ReadStats
from webds.testing import SourceSuite
from webds.typing import UNREAD, Sample

SHARDS: list[list[dict[str, Any]]] = [
    [
        {"__key__": "a", "cls": b"1", "txt": b"one"},
        {"__key__": "dir.x/b", "cls": b"2"},
        {"__key__": "c", "seg.png": b"\0" * 1000},
    ],
    [{"__key__": "d", "cls": b"", "txt": b"four"}, {"__key__": "e", "txt": b"five"}],
]


def _write(folder: Path) -> list[str]:
    return [write_shard(folder / f"x-{i}.tar", shard) for i, shard in enumerate(SHARDS)]


class TestTarSource(SourceSuite[Sample]):
    @override
    def make_source(self, folder: Path) -> TarSource:
        return TarSource(_write(folder), default_opener())

    @override
    def samples(self) -> Sequence[Sequence[Sample]]:
        return SHARDS

    @override
    def make_damaged(self, folder: Path) -> TarSource:
        urls = _write(folder)
        content = Path(urls[-1]).read_bytes()
        Path(urls[-1]).write_bytes(content[: 3 * 512])
        return TarSource(urls, default_opener())


class TestTarSourceOfCompressedShards(SourceSuite[Sample]):
    @override
    def make_source(self, folder: Path) -> TarSource:
        for url in _write(folder):
            Path(url).write_bytes(gzip.compress(Path(url).read_bytes()))
        return TarSource(str(folder / "x-{0..1}.tar"), default_opener())

    @override
    def samples(self) -> Sequence[Sequence[Sample]]:
        return SHARDS


class TestMemberSource(SourceSuite[Any]):
    @override
    def make_source(self, folder: Path) -> MemberSource:
        return MemberSource(_write(folder), default_opener())

    @override
    def samples(self) -> Sequence[Sequence[Any]]:
        return [
            [(f"{sample['__key__']}.{name}", sample[name]) for sample in shard for name in sample if name != "__key__"]
            for shard in SHARDS
        ]


def test_it_opens_nothing_before_it_is_asked(tmp_path: Path) -> None:
    source = TarSource(str(tmp_path / "later-*.tar"), default_opener())
    write_shard(tmp_path / "later-0.tar", SHARDS[0])
    assert list(source.shards()) == [str(tmp_path / "later-0.tar")]


def test_nothing_that_matches_is_an_error_with_the_pattern(tmp_path: Path) -> None:
    pattern = str(tmp_path / "none-*.tar")
    with pytest.raises(UrlError) as caught:
        TarSource(pattern, default_opener()).shards()
    assert caught.value.url == pattern


def test_a_caller_cannot_change_its_shards(tmp_path: Path) -> None:
    source = TarSource(_write(tmp_path), default_opener())
    list(source.shards()).clear()
    shards = source.shards()
    assert isinstance(shards, list)
    shards.clear()
    assert len(source.shards()) == 2


def test_a_copy_with_other_shards_keeps_the_rest(tmp_path: Path) -> None:
    source = TarSource(_write(tmp_path), default_opener(), missing_end="accept", duplicates="last")
    other = source.with_shards(["x{1..2}.tar", "y.tar"])
    assert list(other.shards()) == ["x{1..2}.tar", "y.tar"]
    assert (other.missing_end, other.duplicates, other.opener) == ("accept", "last", source.opener)
    assert list(pickle.loads(pickle.dumps(other)).shards()) == ["x{1..2}.tar", "y.tar"]
    assert len(source.shards()) == 2


def test_fields_that_nobody_wants_are_there_unread(tmp_path: Path) -> None:
    source = TarSource(_write(tmp_path), default_opener())
    sample = next(iter(source.read(source.shards()[0], {"txt"})))
    assert sample == {"__key__": "a", "cls": UNREAD, "txt": b"one"}


def test_keys_replace_the_rule(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("a-cls", b"1"), ("a-txt", b"2"), ("readme", b""), ("b-cls", b"3")])
    source = TarSource(url, default_opener(), keys=_dashes)
    assert list(source.read(url)) == [{"__key__": "a", "cls": b"1", "txt": b"2"}, {"__key__": "b", "cls": b"3"}]


def _dashes(path: str) -> tuple[str | None, str | None]:
    key, dash, field = path.partition("-")
    return (key, field) if dash else (None, None)


def test_an_archive_without_end_is_an_error_or_accepted(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes([("a.cls", b"1")])[:1024])
    strict = TarSource(str(path), default_opener())
    with pytest.raises(TarFormatError, match=r"cut short|end"):
        list(strict.read(str(path)))
    lenient = TarSource(str(path), default_opener(), missing_end="accept")
    assert list(lenient.read(str(path))) == [{"__key__": "a", "cls": b"1"}]


@pytest.mark.parametrize(
    ("duplicates", "kept"), [("skip", ["b"]), ("first", [b"1", "b"]), ("last", [b"2", "b"]), ("error", None)]
)
def test_a_field_that_comes_twice(tmp_path: Path, duplicates: Any, kept: list[Any] | None) -> None:
    url = write_members(tmp_path / "x.tar", [("a.cls", b"1"), ("a.cls", b"2"), ("b.txt", b"")])
    source = TarSource(url, default_opener(), duplicates=duplicates)
    if kept is None:
        with pytest.raises(SampleError, match="twice") as caught:
            list(source.read(url))
        assert (caught.value.url, caught.value.key, caught.value.field) == (url, "a", "cls")
        return
    assert [sample.get("cls", sample["__key__"]) for sample in source.read(url)] == kept


@pytest.mark.parametrize("options", [{"duplicates": "maybe"}, {"missing_end": "maybe"}])
def test_other_words_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="maybe"):
        TarSource("x.tar", default_opener(), **options)


def test_it_recovers_behind_an_unsound_sample(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("a.cls", b"1"), ("a.cls", b"2"), ("b.cls", b"3"), ("nodot", b"")])
    source = TarSource(url, default_opener())
    assert isinstance(source, RecoveringSource)
    errors: list[Exception] = []
    stats = ReadStats()

    def go_on(error: Exception) -> bool:
        errors.append(error)
        return True

    assert list(source.read_on(url, on_error=go_on, stats=stats)) == [{"__key__": "b", "cls": b"3"}]
    assert [type(error) for error in errors] == [SampleError]
    assert (stats.samples, stats.members, stats.passed_over, stats.examples) == (1, 4, 1, ["nodot"])


def test_a_shard_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.tar")
    source = TarSource([missing], default_opener())
    with pytest.raises(OpenError) as caught:
        list(source.read(missing))
    assert (caught.value.url, caught.value.stage) == (missing, "open")


def test_an_opener_s_own_exception_keeps_its_type_and_names_the_shard(tmp_path: Path) -> None:
    from webds.openers.schemes import as_opener

    def refuse(url: str) -> Any:
        raise LookupError("not today")

    source = TarSource("x.tar", as_opener(refuse))
    with pytest.raises(LookupError) as caught:
        list(source.read("x.tar"))
    notes = "".join(caught.value.__notes__)
    assert '"x.tar"' in notes
    assert '"open"' in notes


def test_members_come_ungrouped_and_go_through_stages_shard_by_shard(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=2, samples=1)
    plain = MemberSource(urls, default_opener())
    assert list(plain.read(urls[1])) == [("key00001.cls", b"1"), ("key00001.txt", b"text 1")]
    counted = attrs.evolve(plain, stages=(_names, list))
    assert list(counted.read(urls[1])) == ["key00001.cls", "key00001.txt"]
    assert list(counted.read(urls[1], start=1)) == ["key00001.txt"]


def _names(members: Iterator[tuple[str, bytes]]) -> Iterator[str]:
    return (name for name, _ in members)


def test_whoever_stops_early_is_told_of_no_failure_that_lies_ahead() -> None:
    archive = tar_bytes((f"{i}.txt", b"x" * 2000) for i in range(50))

    class Failing(io.BytesIO):
        @override
        def close(self) -> None:
            super().close()
            raise OSError("the other end was gone")

    source = TarSource("x.tar", as_opener(lambda url: Failing(archive)))
    samples = source.read_on("x.tar")
    assert next(samples)["__key__"] == "0"
    samples.close()
    with pytest.raises(OSError, match="the other end was gone"):
        list(source.read("x.tar"))

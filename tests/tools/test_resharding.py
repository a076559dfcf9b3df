from __future__ import annotations

import itertools
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
import work
from hypothesis import given, settings, strategies as st
from shards import numbered_shards, sample_of, write_members, write_shard
from work import contents, leftovers

import webds
from webds.errors import OpenError, SampleError, TarFormatError, WriteError
from webds.tools.engine import ProcessEngine
from webds.tools.outputs import Output
from webds.tools.progress import Unit
from webds.tools.reading import Selection, source_of
from webds.tools.resharding import Arrangement, Resharded, reshard

FIELDS = ["cls", "txt", "seg.png", "_note"]


def keys(urls: Any) -> list[str]:
    """Return the keys of all samples, in their order."""
    source = source_of(urls)
    return [sample["__key__"] for url in source.shards() for sample in source.read(url)]


def out(folder: Path, name: str = "out-%03d.tar", **options: Any) -> Output:
    return Output(target=str(folder / name), **options)


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all visible files."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*")) if path.is_file()}


@st.composite
def shards_of_samples(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    names = draw(st.lists(st.text("abcß/", min_size=1, max_size=4), unique=True, max_size=24))
    good = [name for name in names if not name.endswith("/") and not name.startswith("/")]
    content = st.binary(max_size=1500)
    fields = st.dictionaries(st.sampled_from(FIELDS), content, min_size=1)
    samples = [{"__key__": name, **draw(fields)} for name in good]
    cuts = sorted(draw(st.lists(st.integers(0, len(samples)), max_size=5)))
    return [samples[low:high] for low, high in itertools.pairwise([0, *cuts, len(samples)])]


@given(
    shards=shards_of_samples(),
    arrangement=st.sampled_from(["keep", "shuffle", "sort", "regroup"]),
    maxcount=st.integers(1, 9),
    maxsize=st.integers(1, 4000),
    compress=st.sampled_from([None, "gz"]),
    apart=st.booleans(),
)
@settings(max_examples=60)
def test_what_goes_in_comes_out_in_every_arrangement(
    shards: list[list[dict[str, Any]]],
    arrangement: Arrangement,
    maxcount: int,
    maxsize: int,
    compress: Any,
    apart: bool,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, samples in enumerate(shards):
            members = [
                (f"{one['__key__']}.{field}", one[field]) for one in samples for field in one if field[:2] != "__"
            ]
            if apart and arrangement == "regroup":
                members.sort(key=lambda member: member[0].rpartition(".")[2])
            write_members(folder / f"in-{number}.tar", members)
        target = folder / "out-%03d.tar"
        done = reshard(
            f"{folder}/in-*.tar",
            Output(target=str(target), maxcount=maxcount, maxsize=maxsize, compress=compress),
            arrangement,
            memory=1 << 20,
        )
        flat = [sample for samples in shards for sample in samples]
        assert done.written.samples == len(flat)
        assert leftovers(folder) == []
        if not flat:
            assert not list(folder.glob("out-*"))
            return
        found = contents(f"{folder}/out-*.tar")
        assert found == {tuple(sorted(sample.items())): 1 for sample in flat}
        assert done.written.shards == len(list(folder.glob("out-*.tar")))
        order = keys(f"{folder}/out-*.tar")
        if arrangement == "keep":
            assert order == [sample["__key__"] for sample in flat]
        elif arrangement != "shuffle":
            assert order == sorted(order)


def test_a_shuffle_is_decided_by_seed_and_shards_alone(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 6, 20)
    results: list[dict[str, bytes]] = []
    for number, options in enumerate([{}, {"memory": 1 << 20}, {"jobs": 2}, {"seed": 1}, {"scratch": tmp_path}]):
        folder = tmp_path / f"result-{number}"
        folder.mkdir()
        reshard(urls, out(folder, maxcount=50, index=True, manifest="m.json", md5=True), "shuffle", **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        results.append(files(folder))
    one, little_memory, two_processes, other_seed, elsewhere = results
    assert one == little_memory == two_processes == elsewhere
    assert one != other_seed
    assert sorted(keys(str(tmp_path / "result-0/out-*.tar"))) == sorted(keys(urls))
    assert keys(str(tmp_path / "result-0/out-*.tar")) != sorted(keys(urls))
    assert list(one) == [
        "m.json",
        "out-000.idx",
        "out-000.tar",
        "out-001.idx",
        "out-001.tar",
        "out-002.idx",
        "out-002.tar",
    ]


def test_every_permutation_of_a_few_samples_comes_about_as_often(tmp_path: Path) -> None:
    urls = [write_shard(tmp_path / "a.tar", map(sample_of, range(2))), write_shard(tmp_path / "b.tar", [sample_of(2)])]
    found = [0] * 6
    orders = list(itertools.permutations(keys(urls)))
    for seed in range(120):
        reshard(urls, out(tmp_path, "one.tar", overwrite=True), "shuffle", seed=seed)
        found[orders.index(tuple(keys(str(tmp_path / "one.tar"))))] += 1
    assert sum((count - 20) ** 2 / 20 for count in found) < 25  # chi-squared, 5 degrees of freedom: p = 1e-4


def test_the_result_reads_as_an_indexed_dataset(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3, 4)
    reshard(urls, out(tmp_path, maxcount=5, manifest="m.json"))
    dataset = webds.DatasetBuilder(str(tmp_path / "m.json")).indexed().build()
    assert len(dataset) == 12
    assert [sample["__key__"] for sample in dataset] == keys(urls)


def test_sort_by_a_function_keeps_the_order_of_equals(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 5)
    reshard(urls, out(tmp_path), "sort", by=work.backwards)
    assert keys(str(tmp_path / "out-000.tar")) == list(reversed(keys(urls)))
    reshard(urls, out(tmp_path, "same-%d.tar"), "sort", by=lambda sample: 0)
    assert keys(str(tmp_path / "same-0.tar")) == keys(urls)


@pytest.mark.parametrize("place", [None, b"x", float("nan")])
def test_sort_refuses_what_has_no_place(tmp_path: Path, place: Any) -> None:
    urls = numbered_shards(tmp_path, 1, 2)
    with pytest.raises(TypeError, match="expected a number or a text") as caught:
        reshard(urls, out(tmp_path), "sort", by=lambda sample: place)
    assert "key00000" in "".join(caught.value.__notes__)
    assert leftovers(tmp_path) == []


def test_regroup_joins_members_of_several_shards(tmp_path: Path) -> None:
    images = write_members(tmp_path / "images.tar", [("b.jpg", b"B"), ("a.jpg", b"A")])
    labels = write_members(
        tmp_path / "labels.tar", [("a.cls", b"0"), ("README", b"no"), ("b.cls", b"1"), ("__m__/x.y", b"")]
    )
    done = reshard([images, labels], out(tmp_path, "both.tar"), "regroup")
    assert list(source_of(str(tmp_path / "both.tar")).read(str(tmp_path / "both.tar"))) == [
        {"__key__": "a", "cls": b"0", "jpg": b"A"},
        {"__key__": "b", "cls": b"1", "jpg": b"B"},
    ]
    assert (done.passed.members, done.passed.examples) == (1, ["README"])
    with pytest.raises(SampleError, match="sample 'a' has the field 'jpg' twice") as caught:
        reshard([images, images], out(tmp_path, "twice.tar"), "regroup")
    assert (caught.value.url, caught.value.key, caught.value.field) == (images, "a", "jpg")
    assert leftovers(tmp_path) == []


def test_samples_and_fields_are_selected(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 5)
    for arrangement in ("keep", "shuffle", "regroup"):
        chosen = Selection(fields=["cls"], where=work.is_even)
        done = reshard(urls, out(tmp_path, f"{arrangement}.tar"), arrangement, selection=chosen)
        assert (done.written.samples, done.passed.samples) == (5, 5)
        found = contents(str(tmp_path / f"{arrangement}.tar"))
        assert found == {(("__key__", f"key{n:05d}"), ("cls", b"%d" % n)): 1 for n in range(0, 10, 2)}
    reshard(urls, out(tmp_path, "without.tar"), selection=Selection(without=["cls"]))
    assert {name for sample in contents(str(tmp_path / "without.tar")) for name, _ in sample} == {"__key__", "txt"}


def test_where_says_at_which_sample_it_failed(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 1, 9)
    with pytest.raises(ZeroDivisionError) as caught:
        reshard(urls, out(tmp_path), selection=Selection(where=work.fail_at_seven))
    assert all(text in caught.value.__notes__[0] for text in ("key00007", urls[0], "where"))
    assert not list(tmp_path.glob("out-*"))


def test_samples_get_new_keys(tmp_path: Path) -> None:
    urls = [write_shard(tmp_path / f"{name}.tar", map(sample_of, range(2))) for name in "ab"]
    with pytest.raises(WriteError, match="has a sample with the key 'key00000' already"):
        reshard(urls, out(tmp_path))
    reshard(urls, out(tmp_path, "new.tar"), keys="{shard}/{key}")
    assert keys(str(tmp_path / "new.tar")) == ["a/key00000", "a/key00001", "b/key00000", "b/key00001"]
    reshard(urls, out(tmp_path, "numbered.tar"), keys="{number:03d}")
    assert keys(str(tmp_path / "numbered.tar")) == ["000", "001", "002", "003"]
    with pytest.raises(ValueError, match=r"expected a template of \{key\}, \{shard\} and \{number\}"):
        reshard(urls, out(tmp_path, "bad.tar"), keys="{nonsense}")


def test_each_shard_is_recompressed_by_itself(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3, 4)
    folder = tmp_path / "packed"
    done = reshard(urls, Output(target=f"{folder}/", compress="xz"), engine=ProcessEngine(2))
    assert (done.written.shards, done.written.samples) == (3, 12)
    assert sorted(files(folder)) == [f"shard-{n:06d}.tar.xz" for n in range(3)]
    for url, path in zip(urls, sorted(folder.iterdir()), strict=True):
        assert path.read_bytes()[:5] == b"\xfd7zXZ"
        assert contents(str(path)) == contents(url)
    with pytest.raises(ValueError, match="name the output by a pattern"):
        reshard(urls, Output(target=f"{folder}/"), "shuffle")


def test_headers_are_new_and_contents_stay(tmp_path: Path) -> None:
    """The policy for the metadata of members: an owner, mode and time of the new shard."""
    path = tmp_path / "in.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("a.B", "a.A"):
            member = tarfile.TarInfo(name)
            member.mtime, member.uname, member.mode = 12345, "me", 0o777
            archive.addfile(member)
    reshard(str(path), out(tmp_path, "out.tar", mtime=7))
    with tarfile.open(tmp_path / "out.tar") as archive:
        found = [(one.name, one.mtime, one.uname, one.mode) for one in archive]
    assert found == [("a.a", 7, "bigdata", 0o444), ("a.b", 7, "bigdata", 0o444)]


def test_a_field_that_no_writer_stores_is_an_error(tmp_path: Path) -> None:
    url = write_members(tmp_path / "in.tar", [("a.cls", b"1"), ("a.__x__", b"2")])
    for arrangement in ("keep", "sort", "regroup"):
        with pytest.raises(WriteError, match="'__x__' cannot be written") as caught:
            reshard(url, out(tmp_path, f"{arrangement}.tar"), arrangement)
        assert (caught.value.url, caught.value.key) == (url, "a")


def test_a_damaged_shard_is_an_error_and_leaves_whole_shards_only(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3, 4)
    os.truncate(urls[1], 3000)
    for arrangement in ("keep", "shuffle"):
        folder = tmp_path / arrangement
        folder.mkdir()
        with pytest.raises(TarFormatError) as caught:
            reshard(urls, out(folder, maxcount=2), arrangement)
        assert caught.value.url == urls[1]
        assert sorted(files(folder)) == (["out-000.tar", "out-001.tar"] if arrangement == "keep" else [])
        for path in folder.glob("out-*.tar"):
            assert len(keys(str(path))) == 2


class Interrupting:
    """Progress that ends the work, as Ctrl-C would, in a phase and after some bytes."""

    def __init__(self, phase: str, after: int) -> None:
        self.phase, self.left, self.now = phase, after, ""
        self.phases: list[tuple[str, int | None, Unit]] = []

    def begin(self, what: str, total: int | None, unit: Unit) -> None:
        self.now = what
        self.phases.append((what, total, unit))

    def advance(self, amount: int) -> None:
        if self.now == self.phase:
            self.left -= amount
            if self.left < 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arrangement", "phase", "kept"),
    [
        ("keep", "reshard", 2),
        ("shuffle", "shuffle", 0),
        ("shuffle", "write", 2),
        ("sort", "write", 2),
        ("regroup", "write", 2),
    ],
)
def test_work_that_was_broken_off_goes_on_and_gives_the_same(
    tmp_path: Path, arrangement: Arrangement, phase: str, kept: int
) -> None:
    urls = numbered_shards(tmp_path, 4, 5)
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.mkdir()
    part.mkdir()
    options: dict[str, Any] = {"maxcount": 3, "index": True, "manifest": "m.json", "md5": True}
    reshard(urls, out(whole, **options), arrangement, keys="{number:03d}")
    with pytest.raises(KeyboardInterrupt):
        reshard(urls, out(part, **options), arrangement, keys="{number:03d}", progress=Interrupting(phase, 17000))
    assert len(list(part.glob("*.tar"))) == kept
    before = {path: path.stat().st_mtime_ns for path in part.glob("*.tar")}
    assert leftovers(part)
    if kept:
        (part / "out-001.idx").unlink()  # as a crash right after the shard would leave it
        with pytest.raises(WriteError, match="other arguments"):
            reshard(urls, out(part, **options), arrangement)
    done = reshard(urls, out(part, **options), arrangement, keys="{number:03d}")
    assert done.written.kept == kept
    assert done.written.samples == 20
    assert files(part) == files(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert leftovers(part) == []


def test_existing_shards_are_refused_or_replaced_with_those_behind_them(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 4)
    reshard(urls, out(tmp_path, maxcount=2))
    with pytest.raises(WriteError, match="4 files exist"):
        reshard(urls, out(tmp_path, maxcount=4))
    reshard(urls, out(tmp_path, maxcount=4, overwrite=True))
    assert sorted(path.name for path in tmp_path.glob("out-*")) == ["out-000.tar", "out-001.tar"]
    assert keys(str(tmp_path / "out-*.tar")) == keys(urls)


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 4)
    before = files(tmp_path)
    for target in ("shard-%06d.tar", "shard-000000.tar", ""):
        with pytest.raises(WriteError, match="is read, and would be written over"):
            reshard(urls, Output(target=f"{tmp_path}/{target}", overwrite=True))
    assert files(tmp_path) == before


def test_progress_says_what_and_how_much(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 4)
    progress = Interrupting("", 0)
    reshard(urls, out(tmp_path), "shuffle", progress=progress)
    size = sum(os.path.getsize(url) for url in urls)
    assert [(what, unit) for what, _, unit in progress.phases] == [("shuffle", "bytes"), ("write", "bytes")]
    assert progress.phases[0][1] == size


def test_arguments_that_mean_nothing(tmp_path: Path) -> None:
    url = numbered_shards(tmp_path, 1, 1)[0]
    with pytest.raises(ValueError, match="memory=1000"):
        reshard(url, out(tmp_path), memory=1000)
    with pytest.raises(ValueError, match="by= is for arrangement='sort'"):
        reshard(url, out(tmp_path), by=work.backwards)
    with pytest.raises(ValueError, match="md5=True goes into a manifest"):
        out(tmp_path, md5=True)
    with pytest.raises(ValueError, match="index and manifest are for local files"):
        Output(target="s3://bucket/x-%d.tar", index=True)
    with pytest.raises(OpenError, match="cannot put samples aside"):
        reshard(url, out(tmp_path), "shuffle", scratch=tmp_path / "gone")
    assert isinstance(reshard(url, out(tmp_path)), Resharded)

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given, settings, strategies as st
from typing_extensions import Buffer, override

from webds.errors import WriteError
from webds.sinks.archive import JOINED, Archive
from webds.sinks.targets import Target
from webds.tar.packing import Content
from webds.tar.writer import HeaderTemplate, end_of_archive, padding

CHUNK = 1 << 18
TEMPLATE = HeaderTemplate(mtime=7)


class Memory(Target):
    """Keeps what it is given, and how much at a time; it fails where it is told to."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.writes: list[Buffer] = []
        self.sizes: list[int] = []
        self.fail_at = fail_at
        self.ended = ""

    @override
    def write(self, data: Buffer) -> None:
        if len(self.writes) == self.fail_at:
            raise OSError("full")
        self.writes.append(bytes(data) if self.gathers else data)
        self.sizes.append(memoryview(data).nbytes)

    @override
    def commit(self) -> None:
        self.ended += "commit"

    @override
    def discard(self) -> None:
        self.ended += "discard"

    @property
    def data(self) -> bytes:
        return b"".join(bytes(part) for part in self.writes)


class Gathering(Memory):
    gathers = True


def plain(samples: list[tuple[str, list[tuple[str, Content]]]]) -> bytes:
    body = b"".join(
        TEMPLATE.header(f"{key}.{field}", len(data)) + bytes(data) + padding(len(data))
        for key, members in samples
        for field, data in members
    )
    return body + end_of_archive(len(body))


def add(archive: Archive, samples: list[tuple[str, list[tuple[str, Content]]]]) -> None:
    for key, members in samples:
        archive.add(key, members, sum(len(data) for _, data in members))


SIZES = st.one_of(
    st.integers(0, 3000),
    st.sampled_from([CHUNK - 1024, CHUNK - 512, CHUNK - 511, CHUNK, JOINED - 1024, JOINED - 512, JOINED, JOINED + 1]),
)
SAMPLES = st.lists(
    st.tuples(
        st.sampled_from(["key", "dir/key", "ü", "k" * 97, "d/" * 60 + "key"]),
        st.lists(st.tuples(st.sampled_from(["bin", "txt", "é", "seg.png"]), SIZES.map(bytes)), min_size=1, max_size=3),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(SAMPLES, st.sampled_from([Memory, Gathering]))
def test_the_bytes_are_those_of_the_plain_functions(
    samples: list[tuple[str, list[tuple[str, Content]]]], kind: type[Memory]
) -> None:
    target = kind()
    archive = Archive(target, TEMPLATE)
    add(archive, samples)
    archive.finish()
    assert target.data == plain(samples)
    assert target.ended == "commit"
    assert not archive.failed


def test_small_samples_are_written_in_whole_chunks() -> None:
    target = Gathering()
    archive = Archive(target, TEMPLATE)
    samples: list[tuple[str, list[tuple[str, Content]]]] = [(f"{n}", [("bin", bytes(10_000))]) for n in range(100)]
    add(archive, samples)
    assert target.sizes == [CHUNK] * (100 * 10_752 // CHUNK)
    archive.finish()
    assert target.data == plain(samples)


def test_after_a_large_sample_writes_end_at_chunks_of_the_file_again() -> None:
    target = Gathering()
    archive = Archive(target, TEMPLATE)
    samples: list[tuple[str, list[tuple[str, Content]]]] = [(f"{n}", [("bin", bytes(300))]) for n in range(1000)]
    samples.insert(1, ("large", [("bin", bytes(JOINED + 5000))]))
    add(archive, samples)
    assert sum(target.sizes) % CHUNK == 0
    assert target.sizes[-1] == CHUNK
    archive.finish()
    assert target.data == plain(samples)


def test_a_target_that_does_not_gather_gets_each_sample_at_once_and_may_keep_it() -> None:
    target = Memory()
    archive = Archive(target, TEMPLATE)
    for number in range(5):
        archive.add(f"{number}", [("cls", b"%d" % number), ("txt", b"text")], 5)
        assert len(target.writes) == number + 1
    assert target.data[1024 * 2 :].startswith(b"1.cls\0")
    assert target.sizes == [2048] * 5


def test_data_that_changes_after_it_was_added_is_written_as_it_was() -> None:
    for size in (100, 50_000, JOINED + 1):
        target, data = Gathering(), bytearray(b"a" * size)
        archive = Archive(target, TEMPLATE)
        archive.add("key", [("bin", data)], size)
        data[:] = b"b" * size
        data.clear()
        archive.finish()
        assert target.data == plain([("key", [("bin", b"a" * size)])])


@pytest.mark.parametrize("kind", [Memory, Gathering])
@pytest.mark.parametrize("size", [1, JOINED + 1])
def test_a_name_that_no_tar_holds_leaves_the_archive_as_it_was(kind: type[Memory], size: int) -> None:
    target = kind()
    archive = Archive(target, TEMPLATE)
    archive.add("a", [("txt", b"1")], 1)
    with pytest.raises(WriteError, match="UTF-8"):
        archive.add("b", [("bin", bytes(size)), ("\ud800", b"2")], size + 1)
    assert not archive.failed
    archive.add("c", [("txt", b"3")], 1)
    archive.finish()
    assert target.data == plain([("a", [("txt", b"1")]), ("c", [("txt", b"3")])])


@pytest.mark.parametrize("size", [100, CHUNK, JOINED + 1])
def test_it_knows_that_its_target_failed(size: int) -> None:
    archive = Archive(target := Memory(fail_at=1), TEMPLATE)
    archive.add("a", [("txt", b"1")], 1)
    assert not archive.failed
    with pytest.raises(OSError, match="full"):
        archive.add("b", [("bin", bytes(size))], size)
    assert archive.failed
    archive.discard()
    assert target.ended == "discard"


def test_what_was_held_back_can_fail_at_the_end() -> None:
    archive = Archive(target := Gathering(fail_at=0), TEMPLATE)
    archive.add("a", [("txt", b"1")], 1)
    assert not target.writes
    with pytest.raises(OSError, match="full"):
        archive.finish()
    assert target.ended == ""


def test_nothing_keeps_a_discarded_archive_alive() -> None:
    gc.disable()
    try:
        archive = Archive(Gathering(), TEMPLATE)
        archive.add("a", [("txt", b"1")], 1)
        reference = weakref.ref(archive)
        del archive
        assert reference() is None
    finally:
        gc.enable()

from __future__ import annotations

import gc
import io
import random
import sys
import tarfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from typing_extensions import override

from webds.errors import OpenError, SampleError, TarFormatError, WebdsError
from webds.tar import ReadStats, base_plus_ext, read_samples
from webds.tar.samples import Duplicates
from webds.typing import UNREAD, Readable, Sample

Files = list[tuple[str, bytes]]


def archive(*names: str, size: int = 5) -> bytes:
    """Return an archive of files that hold their place and name, each at least ``size`` bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            data = f"{number}:{name}".encode().ljust(size)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def until_error(stream: Readable, **options: Any) -> tuple[list[Sample], Exception | None]:
    """Return the samples that came before an error, and the error."""
    samples: list[Sample] = []
    try:
        for sample in read_samples(stream, url="x.tar", **options):
            samples.append(sample)  # noqa: PERF402 - an error may come in between
    except Exception as error:
        return samples, error
    return samples, None


def keys_of(samples: list[Sample]) -> list[str]:
    return [sample["__key__"] for sample in samples]


def read(*names: str, **options: Any) -> tuple[list[str], Exception | None]:
    samples, error = until_error(io.BytesIO(archive(*names)), **options)
    return keys_of(samples), error


def test_neighbours_with_a_key_make_a_sample() -> None:
    data = archive(
        "x/a.jpg", "x/a.seg.PNG", "x/b.jpg", "y/b.jpg", "README", ".hidden.txt", "__meta__/x.json", "y/b.cls"
    )
    assert list(read_samples(io.BytesIO(data))) == [
        {"__key__": "x/a", "jpg": b"0:x/a.jpg", "seg.png": b"1:x/a.seg.PNG"},
        {"__key__": "x/b", "jpg": b"2:x/b.jpg"},
        {"__key__": "y/b", "jpg": b"3:y/b.jpg", "cls": b"7:y/b.cls"},
    ]


def test_an_empty_archive_has_no_samples() -> None:
    assert read() == ([], None)


@given(st.lists(st.lists(st.sampled_from(["jpg", "cls", "json"]), min_size=1, unique=True), max_size=8))
def test_all_samples_come_out_whole(shapes: list[list[str]]) -> None:
    names = [f"{key}.{field}" for key, fields in enumerate(shapes) for field in fields]
    samples = list(read_samples(io.BytesIO(archive(*names))))
    assert [[field for field in sample if field != "__key__"] for sample in samples] == shapes
    assert keys_of(samples) == [str(key) for key in range(len(shapes))]


class Recording(io.BytesIO):
    """A stream that notes how much it delivered."""

    delivered = 0

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.delivered += len(data)
        return data


def test_fields_that_nobody_wants_are_not_read() -> None:
    data = archive("a.bin", "a.cls", "b.bin", "b.cls", size=2 << 20)
    stream = Recording(data)
    samples = list(read_samples(stream, fields=["cls", "none"]))
    assert [list(sample) for sample in samples] == [["__key__", "bin", "cls"]] * 2
    assert [sample["bin"] for sample in samples] == [UNREAD] * 2
    assert [len(sample["cls"]) for sample in samples] == [2 << 20] * 2
    assert stream.delivered < len(data) * 0.7
    nothing = list(read_samples(io.BytesIO(data), fields=()))
    assert nothing == [{"__key__": key, "bin": UNREAD, "cls": UNREAD} for key in "ab"]
    with pytest.raises(TypeError, match="not one string"):
        read_samples(stream, fields="cls")


def test_samples_before_the_start_are_passed_over_unread() -> None:
    data = archive("a.bin", "a.cls", "b.bin", "c.bin", "d.bin", size=2 << 20)
    stream = Recording(data)
    assert [*read_samples(stream, start=3)] == [*read_samples(io.BytesIO(data))][3:]
    assert stream.delivered < len(data) * 0.4
    for start in range(7):
        assert list(read_samples(io.BytesIO(data), start=start)) == list(read_samples(io.BytesIO(data)))[start:]
    with pytest.raises(ValueError, match="start"):
        read_samples(stream, start=-1)


def test_keys_replace_the_rule() -> None:
    def by_directory(path: str) -> tuple[str | None, str | None]:
        key, slash, field = path.rpartition("/")
        return (key, field) if slash else (None, None)

    data = archive("a/x.jpg", "a/y.JPG", "top.txt", "b/x.jpg")
    samples = list(read_samples(io.BytesIO(data), keys=by_directory))
    assert [next(iter(sample.values())) for sample in samples] == ["a", "b"]
    assert list(samples[0]) == ["__key__", "x.jpg", "y.JPG"]


def test_an_error_of_keys_keeps_its_type_and_says_where() -> None:
    def picky(path: str) -> tuple[str | None, str | None]:
        if path == "c.jpg":
            raise ZeroDivisionError("no c please")
        return base_plus_ext(path)

    samples, error = until_error(io.BytesIO(archive("a.jpg", "b.jpg", "c.jpg", "d.jpg")), keys=picky)
    assert keys_of(samples) == ["a"]
    assert type(error) is ZeroDivisionError
    notes = " ".join(error.__notes__)
    assert all(text in notes for text in ('"stage": "read"', '"url": "x.tar"', '"field": "c.jpg"', "after 1 sample"))


def test_statistics_tell_what_was_passed_over() -> None:
    stats = ReadStats()
    names = ["a.jpg", "README", "__meta__/x.json", "b.jpg", "b.cls", ".x"]
    list(read_samples(io.BytesIO(archive(*names)), stats=stats))
    assert stats == ReadStats(samples=2, members=5, passed_over=2, examples=["README", ".x"])
    list(read_samples(io.BytesIO(archive("a.jpg", "a.jpg", "b.jpg")), stats=stats, duplicates="skip"))
    assert (stats.samples, stats.members, stats.left_out) == (3, 8, 1)
    none = ReadStats()
    assert list(read_samples(io.BytesIO(archive(*(f"name{n}" for n in range(100)))), stats=none)) == []
    assert (none.members, none.passed_over, len(none.examples)) == (100, 100, 10)


@pytest.mark.parametrize(("duplicates", "value"), [("first", b"0:a.jpg"), ("last", b"2:a.JPG")])
def test_of_a_field_that_comes_twice_the_first_or_the_last_value_is_taken(duplicates: Duplicates, value: bytes) -> None:
    data = archive("a.jpg", "a.cls", "a.JPG", "b.jpg")
    first, second = read_samples(io.BytesIO(data), duplicates=duplicates)
    assert (first["jpg"], first["cls"], second["__key__"]) == (value, b"1:a.cls", "b")


def test_a_sample_with_a_field_twice_is_an_error_or_left_out() -> None:
    names = ["z.jpg", "a.jpg", "a.cls", "a.jpg", "a.txt", "b.jpg"]
    assert read(*names, duplicates="skip") == (["z", "b"], None)
    keys, error = read(*names)
    assert keys == ["z"]
    assert isinstance(error, SampleError)
    assert (error.url, error.key, error.field, error.stage) == ("x.tar", "a", "jpg", "read")
    assert error.offset == 7 * 512
    assert "'jpg' twice, after 1 sample" in str(error)


def test_on_error_says_whether_to_go_on_without_a_sample() -> None:
    names = ["z.jpg", "a.jpg", "a.jpg", "b.jpg", "c.x", "c.x", "c.x", "d.jpg"]
    seen: list[Exception] = []

    def go_on(error: Exception) -> bool:
        seen.append(error)
        return True

    assert read(*names, on_error=go_on) == (["z", "b", "d"], None)
    assert [getattr(error, "key", None) for error in seen] == ["a", "c"]
    assert read(*names, on_error=lambda _: False) == (["z"], None)
    assert read(*names, on_error=lambda error: getattr(error, "key", None) == "a") == (["z", "b"], None)

    def refuse(error: Exception) -> bool:
        raise RuntimeError("enough") from error

    keys, error = read(*names, on_error=refuse)
    assert (keys, type(error)) == (["z"], RuntimeError)


def test_ordinals_count_the_samples_that_are_delivered() -> None:
    names = ["z.jpg", "a.jpg", "a.jpg", "b.jpg", "c.x", "c.x", "d.jpg", "e.jpg"]
    seen: list[Exception] = []

    def go_on(error: Exception) -> bool:
        seen.append(error)
        return True

    for start, expected in enumerate([["z", "b", "d", "e"], ["b", "d", "e"], ["d", "e"], ["e"], []]):
        assert read(*names, on_error=go_on, start=start) == (expected, None)
        assert read(*names, duplicates="skip", start=start) == (expected, None)
    # What lies before the start was reported when it was read: a and c, then both, then c, then nothing twice.
    assert [getattr(error, "key", None) for error in seen] == ["a", "c", "a", "c", "c"]


@pytest.mark.parametrize("field", ["__key__", "__url__", "__KEY__"])
def test_a_field_that_would_hide_what_a_sample_says_of_itself_is_an_error(field: str) -> None:
    keys, error = read("a.jpg", f"a.{field}", "b.jpg")
    assert keys == []
    assert isinstance(error, SampleError)
    assert (error.key, error.field) == ("a", field.lower())
    assert read("a.jpg", f"a.{field}", "b.jpg", on_error=lambda _: True) == (["b"], None)


DUPLICATES: list[Duplicates] = ["error", "skip", "first", "last"]


@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("on_error", [None, lambda _: True])
@pytest.mark.parametrize(
    ("names", "delivered"),
    [
        (["a.jpg", "b.jpg", "a.cls", "b.cls"], []),
        (["a.jpg", "b.jpg", "c.jpg", "d.jpg", "a.cls"], ["a", "b"]),
        (["a.jpg", "b.jpg", "b.cls", "a.jpg", "a.cls"], []),  # the same field at first, then a new one
        (["z.jpg", "a.jpg", "b.jpg", "a.cls"], ["z"]),
    ],
)
def test_members_that_are_apart_are_an_error_under_every_policy(
    duplicates: Duplicates, on_error: Callable[[Exception], bool] | None, names: list[str], delivered: list[str]
) -> None:
    keys, error = read(*names, duplicates=duplicates, on_error=on_error)
    assert keys == delivered
    assert isinstance(error, SampleError)
    assert (error.url, error.key, error.field) == ("x.tar", "a", "cls")
    assert "tar --sort=name" in str(error)
    assert f"after {len(delivered)} sample" in str(error)


@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("again", [["a.jpg", "a.cls"], ["a.cls", "a.jpg"], ["a.cls"], ["a.cls", "a.cls"]])
def test_a_sample_that_comes_a_second_time(duplicates: Duplicates, again: list[str]) -> None:
    keys, error = read("a.jpg", "a.cls", "b.jpg", *again, "c.jpg", duplicates=duplicates)
    if duplicates in ("skip", "first"):
        assert (keys, error) == (["a", "b", "c"], None)
        return
    assert keys == ["a", "b"]
    assert isinstance(error, SampleError)
    assert (error.key, error.offset) == ("a", 7 * 512)
    assert "a second time" in str(error)
    assert read("a.jpg", "a.cls", "b.jpg", *again, "c.jpg", duplicates=duplicates, on_error=lambda _: True) == (
        ["a", "b", "c"],
        None,
    )


def test_unknown_policies_are_refused() -> None:
    with pytest.raises(ValueError, match="duplicates"):
        read_samples(io.BytesIO(), duplicates="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="missing_end"):
        read_samples(io.BytesIO(), missing_end="both")  # type: ignore[arg-type]


def test_damage_comes_after_the_samples_before_it() -> None:
    data = bytearray(archive("a.jpg", "a.cls", "b.jpg", "b.cls", "c.jpg", "c.cls"))
    data[5 * 1024 + 1] ^= 0x80
    samples, error = until_error(io.BytesIO(bytes(data)))
    assert keys_of(samples) == ["a", "b"]
    assert isinstance(error, TarFormatError)
    assert (error.url, error.key, error.offset, error.stage) == ("x.tar", "c", 5 * 1024, "read")
    assert "after 2 samples" in str(error)
    samples, error = until_error(io.BytesIO(bytes(data)), start=1)
    assert keys_of(samples) == ["b"]
    assert "after 1 sample from number 1 on" in str(error)


def test_a_cut_names_sample_and_field() -> None:
    data = archive("a.jpg", "b.cls", "b.JPG")
    for fields in (None, ()):
        samples, error = until_error(io.BytesIO(data[: 5 * 512 + 2]), fields=fields)
        assert keys_of(samples) == ["a"]
        assert isinstance(error, TarFormatError)
        assert (error.key, error.field) == ("b", "jpg")
        assert "inside 'b.JPG', after 2 of 512 bytes: it was cut short, after 1 sample" in str(error)


def test_the_last_sample_is_delivered_before_an_error_behind_the_end_marker() -> None:
    data = archive("a.jpg", "b.jpg") * 2
    samples, error = until_error(io.BytesIO(data))
    assert keys_of(samples) == ["a", "b"]
    assert isinstance(error, TarFormatError)
    assert error.key is None
    assert "another archive follows" in str(error)


@pytest.mark.parametrize("failure", [OpenError("exit status 1"), ConnectionResetError("gone"), MemoryError()])
def test_an_error_of_the_stream_comes_after_the_samples_before_it(failure: Exception) -> None:
    class Breaking:
        def __init__(self, data: bytes) -> None:
            self._data = io.BytesIO(data)

        def read(self, size: int = -1, /) -> bytes:
            if part := self._data.read(min(size, 512)):
                return part
            raise failure

    samples, error = until_error(Breaking(archive("a.jpg", "b.jpg", "c.jpg")[: 5 * 512]))
    assert keys_of(samples) == ["a", "b"]
    assert error is failure
    text = str(error) + " ".join(failure.__notes__)
    assert all(part in text for part in ("x.tar", "after 2 samples", '"key": "c"'))
    whole = archive("a.jpg", "b.jpg")
    samples, error = until_error(Breaking(whole))
    assert keys_of(samples) == ["a", "b"]
    assert error is failure


def test_nothing_keeps_the_buffers_of_a_failed_read_alive_but_the_error() -> None:
    gc.collect()
    gc.disable()
    try:
        stream = Recording(archive("a.jpg")[:700])
        alive = weakref.ref(stream)
        samples, error = until_error(stream)
        assert error is not None
        del stream, samples, error
        assert alive() is None
    finally:
        gc.enable()


def test_generators_can_be_closed_early() -> None:
    samples = read_samples(io.BytesIO(archive("a.jpg", "b.jpg", "c.jpg")))
    assert isinstance(samples, Iterator)
    assert next(samples)["__key__"] == "a"
    samples.close()  # type: ignore[attr-defined]
    assert list(samples) == []


class Endless:
    """An archive of some number of members, made while it is read."""

    def __init__(self, samples: int) -> None:
        self._members = self._made(samples)

    def _made(self, samples: int) -> Iterator[bytes]:
        template = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
        template[124:136] = b"%011o\0" % 100
        for number in range(samples):
            for field in (b"jpg", b"cls"):
                template[:12] = b"%08d." % number + field
                template[148:156] = b" " * 8
                template[148:156] = b"%06o\0 " % sum(template)
                yield bytes(template) + bytes(512)
        yield bytes(1024)

    def read(self, size: int = -1, /) -> bytes:
        return next(self._members, b"")


def test_memory_stays_flat_over_100_000_members() -> None:
    blocks: list[int] = []
    for count, _ in enumerate(read_samples(Endless(50_000)), 1):
        if count in (10_000, 50_000):
            blocks.append(sys.getallocatedblocks())
    # What grows is the record of keys: one string for each; nothing is left of the data and the members.
    first, last = blocks
    assert last - first < 1.2 * 40_000


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([f"{key}.{field}" for key in "abc" for field in ("x", "Y", "z")]), max_size=10),
    st.sampled_from(DUPLICATES),
    st.booleans(),
    st.integers(0, 5),
    st.none() | st.integers(0, 20_000),
)
def test_a_sample_is_delivered_whole_or_there_is_an_error(
    names: list[str], duplicates: Duplicates, lenient: bool, start: int, cut: int | None
) -> None:
    """What is delivered holds each field that any member of its key has, unless an error follows."""
    data = archive(*names)[:cut]
    on_error: Callable[[Exception], bool] | None = (lambda _: True) if lenient else None
    samples, error = until_error(io.BytesIO(data), duplicates=duplicates, on_error=on_error, start=start)
    whole: dict[str, set[str]] = {}
    for name in names:
        key, field = base_plus_ext(name)
        whole.setdefault(key or "", set()).add(field or "")
    keys = keys_of(samples)
    assert len(set(keys)) == len(keys)
    for sample in samples:
        assert all(
            sample[field].split(b":")[1].decode().lower().endswith(field) for field in sample if field != "__key__"
        )
        assert error is not None or set(sample) - {"__key__"} == whole[sample["__key__"]]
    if error is not None:
        assert isinstance(error, WebdsError)
        assert error.offset is not None
    elif not lenient and duplicates != "skip":
        assert len(keys) == max(0, len(whole) - start)


@given(st.binary(max_size=2000), st.integers(0, 3))
def test_random_damage_ends_in_samples_or_an_error(noise: bytes, place: int) -> None:
    good = archive("a.jpg", "a.cls", "b.jpg", "b.cls", size=600)
    at = random.Random(noise).randrange(len(good))
    samples, error = until_error(io.BytesIO(good[:at] + noise + good[at + len(noise) * (place > 1) :]))
    assert error is None or isinstance(error, WebdsError)
    assert all(set(sample) == {"__key__", "jpg", "cls"} for sample in samples if error is None)

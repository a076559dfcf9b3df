"""What is found in shards: counts, faults, repetitions, and a few samples."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pytest
from pages import garden, photo, tone
from PIL import Image
from shards import tar_bytes, write_members, write_shard
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError, UrlError
from webds.openers import FileOpener
from webds.streams.passing import PassingReader
from webds.tools.engine import ProcessEngine
from webds.tools.report import Report, ReportOptions, gather, render
from webds.tools.report.facts import Finding, FindingKind, ShownField
from webds.tools.report.kinds import Kind
from webds.tools.report.summing import common_name


def finding(report: Report, kind: FindingKind) -> Finding:
    return next(found for found in report.findings if found.kind == kind)


def kinds(report: Report) -> list[str]:
    return [found.kind for found in report.findings]


def shown(report: Report, field: str, sample: int = 0) -> ShownField:
    return next(found for found in report.shown[sample].fields if found.name == field)


def one(tmp_path: Path, **options: Any) -> Report:
    """Return the report of the shard x.tar."""
    return gather(str(tmp_path / "x.tar"), ReportOptions(**options))


def side_of(url: str) -> int:
    """Return the width of the picture in a ``data:`` URL."""
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return image.width


def png(mode: str, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return stream.getvalue()


def test_everything_is_counted(tmp_path: Path) -> None:
    report = gather(garden(tmp_path))
    assert report.title == "garden"
    assert (report.samples, len(report.shards), report.broken, report.faults) == (12, 2, 0, 0)
    assert report.findings == ()
    assert report.bytes == sum(shard.bytes for shard in report.shards)
    assert [shard.stored for shard in report.shards] == [
        (tmp_path / f"garden-{number}.tar").stat().st_size for number in range(2)
    ]
    fields = {field.name: field for field in report.fields}
    assert {name: (field.kind, field.samples) for name, field in fields.items()} == {
        "jpg": (Kind.IMAGE, 12),
        "cls": (Kind.CLASS, 12),
        "txt": (Kind.TEXT, 12),
        "json": (Kind.JSON, 12),
        "wav": (Kind.AUDIO, 6),
    }
    sizes = fields["txt"].sizes
    assert sizes is not None
    assert (sizes.least, sizes.middle, sizes.most) == (16, 16, 17)
    assert [(shape.fields, shape.samples, shape.key) for shape in report.shapes] == [
        (("cls", "jpg", "json", "txt", "wav"), 6, "plant000"),
        (("cls", "jpg", "json", "txt"), 6, "plant001"),
    ]
    (classes,) = report.classes
    assert (classes.field, classes.total, classes.distinct) == ("cls", 12, 2)
    assert classes.values == (("even", 6), ("odd", 6))
    (images,) = report.images
    assert (images.formats, images.modes, images.distinct) == ((("JPEG", 12),), (("RGB", 12),), 2)
    assert images.frequent == ((640, 480, 11), (24, 16, 1))
    assert (images.widths.least, images.widths.middle, images.heights.most) == (24, 640, 480)
    assert sum(count for _, _, count in images.cells) == 12


def test_processes_find_the_same_and_so_does_a_second_time(tmp_path: Path) -> None:
    urls = garden(tmp_path)
    options = ReportOptions(samples=5, seed=3)
    report = gather(urls, options)
    assert gather(urls, options, engine=ProcessEngine(2)) == report
    assert render(gather(urls, options)) == render(report)
    assert len(report.shown) == 5
    other = gather(urls, ReportOptions(samples=5, seed=4))
    assert [sample.key for sample in other.shown] != [sample.key for sample in report.shown]
    first = gather(urls, ReportOptions(samples=7, choice="first"))
    assert [sample.key for sample in first.shown] == [f"plant{number:03d}" for number in range(7)]


def test_a_broken_shard_is_counted_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = tar_bytes([(f"{number}.txt", b"text %d" % number) for number in range(4)])
    (tmp_path / "cut.tar").write_bytes(whole[: 2 * 1024 + 512 + 3])
    (tmp_path / "page.tar").write_bytes(b"<!doctype html>" + bytes(2000))
    report = gather([str(tmp_path / name) for name in ("cut.tar", "page.tar", "none.tar")])
    assert [shard.samples for shard in report.shards] == [2, 0, 0]
    assert report.broken == 3
    found = finding(report, "broken")
    assert found.count == 3
    assert found.is_fault
    texts = [example.text for example in found.examples]
    assert "cut short" in texts[0]
    assert "after 2 samples" in texts[0]
    assert "an HTML page" in texts[1]
    assert "cannot open" in texts[2]
    assert [sample.key for sample in report.shown] == ["0", "1"]


def test_what_follows_the_last_sample_does_not_take_it_away(tmp_path: Path) -> None:
    archive = tar_bytes([("a.txt", b"text")])
    (tmp_path / "x.tar").write_bytes(archive + archive)
    report = one(tmp_path)
    assert (report.samples, report.broken, len(report.shown)) == (1, 1, 1)


def test_faults_of_samples_are_found(tmp_path: Path) -> None:
    members = [
        ("a.txt", b"1"), ("a.txt", b"2"), ("b.txt", b"3"), ("a.cls", b"4"), ("c.__key__", b"5"), ("c.txt", b""),
        ("README", b"none"), ("__meta__/x.txt", b"of no interest"), (".hidden", b"none"), ("d.txt", b"\xff"),
    ]  # fmt: skip
    write_members(tmp_path / "x.tar", members)
    report = one(tmp_path)
    assert kinds(report) == ["undecodable", "apart", "twice", "taken", "uneven", "empty", "no sample"]
    assert [(found.count, found.examples[0].key, found.examples[0].field) for found in report.findings] == [
        (1, "d", "txt"), (1, "a", None), (1, "a", "txt"), (1, "c", "__key__"), (1, "a", None), (1, "c", "txt"),
        (2, None, None),
    ]  # fmt: skip
    assert [example.text for example in finding(report, "no sample").examples] == ["README", ".hidden"]
    assert finding(report, "uneven").examples[0].text == "lacks txt"
    assert [field.undecodable for field in report.fields if field.name == "txt"] == [1]


def test_an_empty_field_is_no_image_either(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.tar", [{"__key__": "k", "jpg": "", "txt": "", "cls": ""}])
    report = one(tmp_path)
    assert [(found.kind, found.count) for found in report.findings] == [("undecodable", 1), ("empty", 3)]
    assert report.classes == ()


def test_what_can_be_read_only_once_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.tar"
    os.mkfifo(pipe)
    data = tar_bytes([("a.txt", b"text"), ("b.txt", b"more")])
    writer = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
    writer.start()
    report = gather(str(pipe))
    writer.join()
    assert [sample.key for sample in report.shown] == ["a", "b"]
    assert report.shards[0].url == str(pipe)


def test_what_cannot_be_read_a_second_time_is_said(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "x.tar", [{"__key__": "k", "txt": "a"}])

    class Once(Opener):
        def __init__(self) -> None:
            self.left = 1

        @override
        def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
            if not self.left:
                raise OpenError("gone", url=url)
            self.left -= 1
            return FileOpener().open(path)

    report = gather(path, opener=Once())
    assert (report.samples, report.shown) == (1, ())
    assert report.chosen == "0 (1 more could not be read a second time)"


def test_a_field_may_stand_in_for_another_of_its_kind(tmp_path: Path) -> None:
    samples: list[dict[str, bytes | str]] = [{"__key__": str(number), "jpg": photo(number)} for number in range(3)]
    samples += [{"__key__": "x", "png": photo(8, 8, 8, "PNG")}, {"__key__": "y", "seg.png": photo(9, 8, 8, "PNG")}]
    write_shard(tmp_path / "x.tar", samples)
    found = finding(one(tmp_path), "uneven")
    assert [(example.key, example.text) for example in found.examples] == [("y", "lacks jpg")]


def test_contents_are_what_their_extensions_say_or_it_is_said(tmp_path: Path) -> None:
    good: dict[str, bytes | str] = {
        "__key__": "good",
        "jpg": photo(1),
        "json": "{}",
        "wav": tone(1),
        "txt.gz": gzip.compress(b"a"),
    }
    bad = dict.fromkeys(good, b"nothing of the kind\xff") | {"__key__": "bad"}
    write_shard(tmp_path / "x.tar", [good, bad])
    report = one(tmp_path)
    assert {field.name: field.undecodable for field in report.fields} == dict.fromkeys(list(good)[1:], 1)
    assert {field.name: field.fault is None for field in report.shown[0].fields} == dict.fromkeys(list(good)[1:], True)
    assert {field.name: field.fault is None for field in report.shown[1].fields} == dict.fromkeys(list(good)[1:], False)
    assert {example.key for example in finding(report, "undecodable").examples} == {"bad"}


def test_repetitions_are_found_across_shards(tmp_path: Path) -> None:
    a, b = photo(1), photo(2)
    write_shard(
        tmp_path / "x-0.tar", [{"__key__": "k1", "jpg": a, "cls": "1"}, {"__key__": "k2", "jpg": b, "cls": "1"}]
    )
    write_shard(
        tmp_path / "x-1.tar", [{"__key__": "k3", "jpg": a, "cls": "1"}, {"__key__": "k1", "png": a, "cls": "1"}]
    )
    report = gather(str(tmp_path / "x-*.tar"))
    first, second = (str(tmp_path / f"x-{number}.tar") for number in range(2))
    keys, contents = report.repeats
    assert (keys.field, keys.count, keys.places) == (None, 2, ((first, "k1"), (second, "k1")))
    assert (contents.field, contents.count, contents.size) == ("jpg", 2, len(a))
    assert contents.places == ((first, "k1"), (second, "k3"))
    assert kinds(report) == ["key", "content"]
    assert report.faults == 0


class Counting(Opener):
    """Opens files, and counts the bytes that are read of them."""

    def __init__(self) -> None:
        self.count = 0

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        opener = self

        class Counted(PassingReader):
            @override
            def passed(self, read: Any, size: int) -> bytes:
                data: bytes = read(size)
                opener.count += len(data)
                return data

        return Counted(FileOpener().open(url, mode))  # type: ignore[return-value]


def test_headers_only_means_that_contents_are_not_read(tmp_path: Path) -> None:
    samples: list[dict[str, bytes | str]] = [
        {"__key__": str(number), "bin": bytes(1 << 20) + b"%d" % number, "cls": "c"} for number in range(8)
    ]
    path = write_shard(tmp_path / "x.tar", samples)
    counting = Counting()
    report = gather(path, ReportOptions(content=False, samples=0), opener=counting)
    assert counting.count < 4 << 20
    assert report.samples == 8
    assert report.classes[0].values == (("c", 8),)
    assert report.by_content is False
    gather(path, ReportOptions(samples=0), opener=counting)
    assert counting.count > 8 << 20


def test_previews_show_what_there_is(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.arange(6, dtype=np.float32).reshape(2, 3))
    sample: dict[str, bytes | str] = {
        "__key__": "k",
        "png": png("RGBA", (300, 200)),
        "l.png": png("L", (10, 20)),
        "txt": "line\nsecond\u202e",
        "json": '{"big": 123456789012345678901234567890, "list": [1.5, null, true, "\u2028"]}',
        "npy": array.getvalue(),
        "pickle": b"cos\nsystem\n(S'exit 1'\ntR.",
        "what": b"\x00\x01abc",
        "cls": "7\n",
        "wav": tone(1),
        "txt.gz": gzip.compress(b"packed"),
    }
    write_shard(tmp_path / "x.tar", [sample])
    report = one(tmp_path)
    image, small = shown(report, "png").image, shown(report, "l.png").image
    assert image is not None
    assert small is not None
    assert (image.width, image.height, image.mode, image.is_small) == (300, 200, "RGBA", False)
    assert image.thumbnail.startswith("data:image/webp;base64,")
    assert image.large is not None
    assert (small.thumbnail[:22], small.large, small.is_small) == ("data:image/png;base64,", None, True)
    assert shown(report, "txt").text == "line\nsecond\\u202e"
    assert shown(report, "txt.gz").text == "packed"
    assert shown(report, "json").tree == [
        "o",
        ["big", ["v", "123456789012345678901234567890"]],
        ["list", ["a", ["v", "1.5"], ["v", "null"], ["v", "true"], ["s", "\\u2028"]]],
    ]
    assert (shown(report, "npy").text or "").startswith("float32, 2 \N{MULTIPLICATION SIGN} 3\n  0, 1, 2, 3, 4, 5")
    assert (shown(report, "pickle").text or "").startswith("0000  63 6f 73 0a")
    assert shown(report, "what").text == f"0000  {'00 01 61 62 63':<47}  ··abc"
    assert shown(report, "cls").text == "7"
    assert (shown(report, "wav").media or "").startswith("data:audio/wav;base64,")


def heavy(number: int) -> dict[str, bytes | str]:
    """Return a sample for which a page has no room."""
    text = "<&\u00e9" * 100_000
    sample: dict[str, bytes | str] = {f"f{i}.json": json.dumps([text]) for i in range(8)}
    picture = png("RGB", (1300, 100 + number))
    return {"__key__": f"k{number}", "png": picture, "txt": text, "wav": tone(number, 20.0), **sample}


def test_each_sample_takes_no_more_of_the_page_than_its_part(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.tar", map(heavy, range(4)))
    for room in (60_000, 400_000, 4_000_000):
        report = one(tmp_path, samples=4, max_bytes=room)
        assert len(render(report)) <= room + 200_000
        notes = {field.name: field.note for sample in report.shown for field in sample.fields}
        assert "of 300,000 characters" in (notes["txt"] or "")
        played = [field.media for sample in report.shown for field in sample.fields if field.name == "wav"]
        assert all(played) == (room == 4_000_000)
    assert sum(sample.hidden for sample in one(tmp_path, samples=4, max_bytes=60_000).shown) > 0


def test_pictures_get_smaller_where_there_is_less_room(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    write_shard(tmp_path / "x.tar", [{"__key__": "k", "png": stream.getvalue()}])
    sides: list[int] = []
    for room in (9000, 20_000, 100_000, 4_000_000):
        found = shown(one(tmp_path, samples=1, max_bytes=room), "png").image
        assert found is not None
        sides.append(side_of(found.thumbnail))
        assert (found.large is not None) == (room == 4_000_000)
    assert sides == [72, 144, 288, 288]
    last = shown(one(tmp_path, samples=1, max_bytes=4_000_000), "png").image
    assert last is not None
    assert side_of(last.large or "") == 700


def test_a_page_about_far_too_much_is_no_larger_than_it_may_be(tmp_path: Path) -> None:
    """Names come out of files: as many as one likes, as long as one likes."""
    members = [(f"{'k' * 60}{number}/{'<' * 20}.{'&' * 10}{number}", b"x") for number in range(3000)]
    write_members(tmp_path / "many.tar", members)
    for number in range(600):
        (tmp_path / f"{'&' * 100}{number:03d}.tar").write_bytes(b"no tar")
    report = gather(str(tmp_path / "*.tar"), ReportOptions(samples=100, max_bytes=1_000_000))
    assert report.samples == 3000
    assert report.broken == 600
    assert report.other_members == 2900
    page = render(report)
    assert len(page) < 3_000_000
    assert "201 of 601 shards are listed" in page


def test_an_image_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    bomb = bytearray(png("L", (8, 8)))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    write_shard(tmp_path / "x.tar", [{"__key__": "k", "png": bytes(bomb)}])
    report = one(tmp_path)
    assert "max_pixels" in finding(report, "undecodable").examples[0].text
    assert "max_pixels" in (shown(report, "png").fault or "")


def test_an_archive_without_end_is_taken_if_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes([("a.txt", b"text")])[:1024])
    assert one(tmp_path).broken == 1
    assert one(tmp_path, missing_end="accept").broken == 0


def test_secrets_in_urls_do_not_show(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "x.tar", [{"__key__": "k", "txt": "a"}])

    class Anything(Opener):
        @override
        def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
            return FileOpener().open(path)

    report = gather(["memory://user:secret@host/x.tar?sig=secret"], opener=Anything())
    assert (report.samples, report.title) == (1, "x.tar")
    assert "secret" not in render(report)


@pytest.mark.parametrize(
    ("urls", "name"),
    [
        (["data/train-000.tar", "data/train-001.tar"], "train"),
        (["s3://bucket/set/0.tar", "s3://bucket/set/1.tar"], "set"),
        (["-"], "standard input"),
        (["a.tar", "b.tar"], "2 shards"),
    ],
)
def test_a_report_is_called_what_its_shards_have_in_common(urls: list[str], name: str) -> None:
    assert common_name(urls) == name


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UrlError):
        gather(str(tmp_path / "none-*.tar"))


def test_a_report_about_nothing_can_be_made(tmp_path: Path) -> None:
    write_members(tmp_path / "x.tar", [])
    report = one(tmp_path)
    assert (report.samples, report.findings, report.shown) == (0, (), ())
    assert "Nothing to complain about" in render(report)


def test_what_leaves_too_little_for_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="ask for fewer samples"):
        ReportOptions(samples=1000, max_bytes=1_000_000)
    with pytest.raises(ValueError, match="choice"):
        ReportOptions(choice="last")  # type: ignore[arg-type]

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import work
from shards import numbered_shards, write_members, write_shard
from work import contents, leftovers

from webds.errors import DecodeError, EncodeError, WriteError, place_of
from webds.tools.functions import NamedFunction
from webds.tools.mapping import map_shards
from webds.tools.outputs import Output
from webds.tools.reading import Selection


def read(path: Path) -> list[dict[str, Any]]:
    return [dict(sample) for sample in contents(str(path))]


def test_each_shard_gives_one_of_its_name(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3, 4)
    done = map_shards(work.say, urls, Output(target=f"{tmp_path}/new/", manifest="m.json"), jobs=2)
    assert (done.written.shards, done.written.samples, done.written.kept) == (3, 12, 0)
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["m.json", *(f"shard-00000{n}.{end}" for n in range(3) for end in ("idx", "tar"))]
    assert read(tmp_path / "new" / "shard-000001.tar")[0] == {
        "__key__": "key00004",
        "cls": b"4",
        "txt": b"this is key00004",
    }


def test_one_sample_becomes_none_or_several(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 4)
    done = map_shards(work.drop_odd, urls, Output(target=f"{tmp_path}/even-%d.tar"))
    assert (done.written.samples, done.passed.samples) == (4, 4)
    done = map_shards(work.double, urls, Output(target=f"{tmp_path}/twice-%d.tar"))
    assert done.written.samples == 16
    assert [sample["__key__"] for sample in read(tmp_path / "twice-1.tar")][:2] == ["key00004a", "key00004b"]
    done = map_shards(lambda sample: iter([{"cls": 1}]), urls, Output(target=f"{tmp_path}/one-%d.tar"))
    assert read(tmp_path / "one-1.tar")[0] == {"__key__": "key00004", "cls": b"1"}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (3, "returned a int"),
        ("text", "returned a str"),
        ([1], "a int among several"),
        ([{"cls": 1}, {"cls": 2}], "one key"),
    ],
)
def test_what_is_no_sample_is_an_error_that_says_where(tmp_path: Path, result: Any, message: str) -> None:
    urls = numbered_shards(tmp_path, 1, 2)
    with pytest.raises(WriteError, match=message) as caught:
        map_shards(lambda sample: result, urls, Output(target=f"{tmp_path}/new/"))
    assert (caught.value.url, caught.value.key, caught.value.stage) == (urls[0], "key00000", "map")
    assert not list((tmp_path / "new").iterdir())


def test_fields_are_decoded_as_asked_for_and_others_stay_as_they_are(tmp_path: Path) -> None:
    url = write_shard(tmp_path / "in.tar", [{"__key__": "a", "cls": " 7\n", "json": '{"a":  1}', "x.cls": "8"}])
    seen: list[Any] = []

    def look(sample: Any) -> Any:
        seen.append(sample)
        return sample

    map_shards(look, url, Output(target=f"{tmp_path}/none.tar"))
    map_shards(look, url, Output(target=f"{tmp_path}/cls.tar"), decode=["cls"])
    map_shards(look, url, Output(target=f"{tmp_path}/all.tar"), decode=True)
    raw = {"__key__": "a", "cls": b" 7\n", "json": b'{"a":  1}', "x.cls": b"8"}
    assert seen == [raw, {**raw, "cls": 7, "x.cls": 8}, {"__key__": "a", "cls": 7, "json": {"a": 1}, "x.cls": 8}]
    assert read(tmp_path / "none.tar") == [raw]
    assert read(tmp_path / "cls.tar") == [{**raw, "cls": b"7"}]
    assert read(tmp_path / "all.tar") == [{**raw, "cls": b"7", "json": b'{"a":1}'}]


def test_images_are_decoded_as_asked_for(tmp_path: Path) -> None:
    ppm = b"P6 1 1 255\n\x01\x02\x03"
    url = write_shard(tmp_path / "in.tar", [{"__key__": "a", "ppm": ppm}])
    shapes: list[Any] = []
    for images in (None, "rgb8"):
        output = Output(target=f"{tmp_path}/{images}.tar")
        map_shards(
            lambda sample: shapes.append(getattr(sample["ppm"], "shape", None)), url, output, decode=True, images=images
        )
    assert shapes == [None, (1, 1, 3)]


def test_an_error_says_where_it_was_also_from_another_process(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 5)
    for jobs in (1, 2):
        with pytest.raises(ZeroDivisionError) as caught:
            map_shards(work.fail_at_seven, urls, Output(target=f"{tmp_path}/new-{jobs}/"), jobs=jobs)
        assert place_of(caught.value) == {"url": urls[1], "key": "key00007", "stage": "map"}
        assert not (tmp_path / f"new-{jobs}" / "shard-000001.tar").exists()
    bad = write_shard(tmp_path / "bad.tar", [{"__key__": "a", "json": "{"}])
    with pytest.raises(DecodeError) as decoding:
        map_shards(work.say, bad, Output(target=f"{tmp_path}/d.tar"), decode=True)
    assert (decoding.value.url, decoding.value.key, decoding.value.field) == (bad, "a", "json")
    with pytest.raises(EncodeError) as encoding:
        map_shards(lambda sample: {"cls": 1.5}, urls[0], Output(target=f"{tmp_path}/e.tar"))
    assert (encoding.value.key, encoding.value.field) == ("key00000", "cls")


def test_samples_that_fail_are_left_out_and_counted_if_asked_for(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 5)
    done = map_shards(work.fail_at_seven, urls, Output(target=f"{tmp_path}/new/"), on_error="skip", jobs=2)
    assert (done.written.samples, done.failed) == (9, 1)
    assert done.errors == [f"{urls[1]}: key 'key00007': ZeroDivisionError: seven"]


def test_the_function_gets_what_is_selected(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 1, 4)
    selection = Selection(fields={"cls"}, where=work.is_even)
    done = map_shards(lambda sample: sample, urls, Output(target=f"{tmp_path}/x.tar"), selection=selection)
    assert done.passed.samples == 2
    assert read(tmp_path / "x.tar") == [{"__key__": "key00000", "cls": b"0"}, {"__key__": "key00002", "cls": b"2"}]


def test_names_that_would_be_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    urls = [write_members(folder / "x.tar", [("a.b", b"")]) for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(ValueError, match="would both be written"):
        map_shards(work.say, urls, Output(target=f"{tmp_path}/new/"))
    with pytest.raises(ValueError, match="are not written to"):
        map_shards(work.say, urls, Output(target=f"{tmp_path}/new.tar"))
    with pytest.raises(WriteError, match="is read, and would be written over"):
        map_shards(work.say, urls[0], Output(target=str(tmp_path), overwrite=True))


def test_overwriting_removes_shards_of_an_earlier_run(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3, 2)
    output = Output(target=f"{tmp_path}/new-%d.tar", manifest="m.json")
    map_shards(work.say, urls, output)
    with pytest.raises(WriteError, match="3 files exist"):
        map_shards(work.say, urls[:1], output)
    map_shards(work.say, urls[:1], Output(target=output.target, manifest="m.json", overwrite=True))
    assert sorted(path.name for path in tmp_path.glob("new-*")) == ["new-0.idx", "new-0.tar"]
    assert "new-1" not in (tmp_path / "m.json").read_text()


SCRIPT = """
import sys
from webds.tools.functions import NamedFunction
from webds.tools.mapping import map_shards
from webds.tools.outputs import Output
if __name__ == "__main__":
    function, target, *urls = sys.argv[1:]
    map_shards(NamedFunction(function + ":block"), urls, Output(target=target, index=True), jobs=1)
"""


def test_a_run_that_was_killed_is_taken_up_again(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 4, 5)
    blocking = work.block_in(tmp_path, "key00012")
    target = tmp_path / "new"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SCRIPT, str(blocking), f"{target}/", *urls]
    with subprocess.Popen(command, env=environment) as process:
        work.until((tmp_path / "ready").exists)
        process.kill()
    assert sorted(path.name for path in target.glob("[!.]*.tar")) == ["shard-000000.tar", "shard-000001.tar"]
    assert len(leftovers(target)) == 2  # the note, and the shard that was being written
    before = (target / "shard-000001.tar").stat().st_mtime_ns
    (target / "shard-000001.idx").unlink()
    (tmp_path / "at").write_text("")
    done = map_shards(NamedFunction(f"{blocking}:block"), urls, Output(target=f"{target}/", index=True))
    assert (done.written.shards, done.written.kept, done.written.samples) == (4, 2, 20)
    assert contents(f"{target}/*.tar") == contents(urls)
    assert leftovers(target) == []
    assert (target / "shard-000001.tar").stat().st_mtime_ns == before
    assert (target / "shard-000001.idx").exists()

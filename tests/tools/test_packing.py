from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from shards import write_members
from webserver import serving
from work import contents, leftovers

from webds.errors import EmptyDatasetError, FieldError, OpenError, SampleError, UntrustedDataError, UrlError, WriteError
from webds.tools.folders import ImageFolderSource
from webds.tools.outputs import Output
from webds.tools.packing import kind_of, pack, pack_source, write_classes
from webds.tools.reading import source_of
from webds.tools.rows import Columns
from webds.tools.unpacking import unpack


def write(folder: Path, *names: str) -> Path:
    """Write files that hold their own names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def packed(source: Any, folder: Path, **options: Any) -> list[dict[str, Any]]:
    """Pack into one shard, and return its samples."""
    path = str(folder / "packed.tar")
    pack(source, Output(target=path, overwrite=True), **options)
    return list(source_of(path).read(path))


def test_files_that_share_a_key_are_a_sample(tmp_path: Path) -> None:
    root = write(
        tmp_path / "in", "b/2.jpg", "b/2.json", "a.x/1.JPG", "a.x/1.seg.png", "c.txt", "README", ".h/x.txt", ".y.z"
    )
    done = pack(pack_source(root), Output(target=f"{tmp_path}/x-%02d.tar", maxcount=2, index=True, manifest="m.json"))
    assert (done.written.samples, done.written.shards) == (3, 2)
    assert done.passed.examples == [".y.z", "README"]
    assert contents(f"{tmp_path}/x-*.tar") == {
        tuple(sorted(sample.items())): 1
        for sample in [
            {"__key__": "c", "txt": b"c.txt"},
            {"__key__": "a.x/1", "jpg": b"a.x/1.JPG", "seg.png": b"a.x/1.seg.png"},
            {"__key__": "b/2", "jpg": b"b/2.jpg", "json": b"b/2.json"},
        ]
    }
    assert (tmp_path / "x-01.idx").exists()
    assert len(json.loads((tmp_path / "m.json").read_text())["shardlist"]) == 2


def test_the_last_dot_may_end_the_key(tmp_path: Path) -> None:
    root = write(tmp_path / "in", "photo.2020.01.jpg", "photo.2020.02.jpg")
    assert [sorted(sample) for sample in packed(pack_source(root), tmp_path)] == [
        ["2020.01.jpg", "2020.02.jpg", "__key__"]
    ]
    samples = packed(pack_source(root, dot="last"), tmp_path)
    assert [(sample["__key__"], sorted(sample)) for sample in samples] == [
        (f"photo_2020_0{n}", ["__key__", "jpg"]) for n in (1, 2)
    ]


@given(
    names=st.lists(
        st.sampled_from([f"{d}{k}.{e}" for d in ("", "a/", "a/b.c/") for k in "xyz" for e in ("b", "c")]),
        unique=True,
        min_size=1,
    ),
    maxcount=st.integers(1, 4),
    maxsize=st.integers(1, 30),
)
@settings(max_examples=40)
def test_pack_and_unpack_are_inverse_and_one_process_is_as_good_as_several(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], maxcount: int, maxsize: int
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    root = write(folder / "in", *names)
    pack(pack_source(root), Output(target=f"{folder}/x-%d.tar", maxcount=maxcount, maxsize=maxsize))
    unpack(f"{folder}/x-*.tar", folder / "out")
    found = {str(path.relative_to(folder / "out")): path.read_text() for path in (folder / "out").rglob("*.?")
             if path.is_file()}  # fmt: skip
    assert found == {name: name for name in names}
    assert leftovers(folder) == []


def test_several_processes_cut_shards_where_one_does(tmp_path: Path) -> None:
    root = write(tmp_path / "in", *(f"{number:03d}{'x' * (number % 7)}.txt" for number in range(40)))
    for jobs in (1, 2):
        (tmp_path / f"out-{jobs}").mkdir()
        pack(pack_source(root), Output(target=f"{tmp_path}/out-{jobs}/x-%d.tar", maxsize=100, maxcount=12), jobs=jobs)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / f"out-{jobs}").iterdir()} for jobs in (1, 2))
    assert one == two
    assert len(one) > 3


def test_image_folders(tmp_path: Path) -> None:
    root = write(
        tmp_path / "in", "dog/b.v2.JPEG", "cat/a.png", "cat/deep/c.jpg", "cat/notes.txt", "top.jpg", ".git/x.jpg"
    )
    source = pack_source(root, "imagefolder", class_names="txt")
    assert packed(source, tmp_path) == [
        {"__key__": "cat/a", "cls": b"0", "png": b"cat/a.png", "txt": b"cat"},
        {"__key__": "cat/deep/c", "cls": b"0", "jpg": b"cat/deep/c.jpg", "txt": b"cat"},
        {"__key__": "dog/b_v2", "cls": b"1", "jpeg": b"dog/b.v2.JPEG", "txt": b"dog"},
    ]
    assert isinstance(source, ImageFolderSource)
    assert source.passed.examples == ["cat/notes.txt"]
    write_classes(source, str(tmp_path / "classes.json"))
    assert json.loads((tmp_path / "classes.json").read_text()) == ["cat", "dog"]
    with pytest.raises(UrlError, match="no folder in this one"):
        packed(pack_source(root / "dog", "imagefolder"), tmp_path)
    write(tmp_path / "in", "cat/a.jpg")
    with pytest.raises(SampleError, match="two images would be the sample 'cat/a'"):
        packed(pack_source(root, "imagefolder"), tmp_path)


def table(path: Path, *rows: dict[str, Any]) -> Path:
    """Write a table, of the kind that the suffix says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue())
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_the_rows_of_a_table_and_the_files_that_they_name(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, "images/1.jpg", "images/2.jpg")
    rows = [
        {"id": f"k/{n}.x", "path": f"images/{n}.jpg", "label": n, "caption": 'a, "b"\n\tü', "width": 3} for n in (1, 2)
    ]
    path = table(tmp_path / f"t.{suffix}", *rows)
    columns = Columns(key="id", files={"JPG": "path"}, fields={"cls": "label", ".txt": "caption"}, dots=True)
    width = 3 if suffix == "jsonl" else "3"
    assert packed(pack_source(path, columns=columns), tmp_path) == [
        {
            "__key__": f"k/{n}_x",
            "cls": b"%d" % n,
            "jpg": f"images/{n}.jpg".encode(),
            "json": json.dumps({"width": width}, separators=(",", ":")).encode(),
            "txt": 'a, "b"\n\tü'.encode(),
        }
        for n in (1, 2)
    ]
    bare = packed(pack_source(path, columns=Columns(key=None, fields={"txt": "caption"}, rest=None)), tmp_path)
    assert [(sample["__key__"], sorted(sample)) for sample in bare] == [
        (f"00000000{n}", ["__key__", "id", "txt"]) for n in range(2)
    ]


def test_files_named_by_urls_are_fetched_and_commands_are_refused(tmp_path: Path) -> None:
    with serving() as web:
        web.routes["/a.jpg"] = b"remote"
        path = table(tmp_path / "t.jsonl", {"url": web.url("/a.jpg")}, {"url": None})
        columns = Columns(files={"jpg": "url"})
        with pytest.raises(SampleError, match="nothing that would be a field") as nothing:
            packed(pack_source(path, columns=columns), tmp_path)
        assert nothing.value.url == f"{path}, line 2"
        path = table(tmp_path / "u.jsonl", {"url": web.url("/a.jpg")})
        assert packed(pack_source(path, columns=columns), tmp_path) == [{"__key__": "000000000", "jpg": b"remote"}]
    for name in ("pipe:touch run", "-"):
        path = table(tmp_path / "v.jsonl", {"url": name})
        with pytest.raises(UntrustedDataError, match="came out of a table"):
            packed(pack_source(path, columns=columns), tmp_path)
    assert not os.path.exists("run")


@pytest.mark.parametrize(
    ("text", "columns", "error", "where"),
    [
        ("a,b\n1\n", Columns(), UrlError, "line 2 has 1 cells"),
        ("a,a\n1,2\n", Columns(), UrlError, "different names for its columns"),
        ('a\n"x', Columns(), UrlError, "is no CSV"),
        ("", Columns(), UrlError, "different names for its columns"),
        ("a\n1\n", Columns(key="b"), FieldError, "no column 'b'; there are 'a'"),
        ("a\n\n1\n", Columns(files={"jpg": "b"}), FieldError, "no column 'b'"),
        ("a,b\n,1\n", Columns(key="a"), FieldError, "which has the key, holds ''"),
        ("a,txt\n1.5,x\n", Columns(key="a"), WriteError, "has a dot in its last part"),
        ("a\ngone.jpg\n", Columns(files={"jpg": "a"}), OpenError, "No such file"),
    ],
)
def test_tables_that_are_none_say_where(
    tmp_path: Path, text: str, columns: Columns, error: type[Exception], where: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(error, match=where) as caught:
        packed(pack_source(path, columns=columns), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "packed.tar").exists()


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_lines_that_are_no_json_say_which(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"txt": "a"}\n' + text.encode("latin-1") + b"\n")
    with pytest.raises(UrlError, match=r"line 2 is no JSON|no UTF-8"):
        packed(pack_source(path), tmp_path)


def test_parquet_and_arrow_with_images_in_them(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    write(tmp_path, "elsewhere.png")
    png, jpg = b"\x89PNG....", b"\xff\xd8\xff..."
    images = [{"bytes": png, "path": None}, {"bytes": jpg, "path": "x.jpeg"}, {"bytes": None, "path": "elsewhere.png"}]
    rows = pa.table({"image": images, "cls": [3, 4, 5], "txt": ["a", None, "c"], "n": [[1], [2], []]})
    pq.write_table(rows, tmp_path / "t.parquet", row_group_size=2)
    with pa.ipc.new_file(tmp_path / "t.arrow", rows.schema) as file:
        file.write_table(rows)
    with pa.ipc.new_stream(tmp_path / "s.arrow", rows.schema) as stream:
        stream.write_table(rows)
    for name in ("t.parquet", "t.arrow", "s.arrow"):
        assert packed(pack_source(tmp_path / name), tmp_path) == [
            {"__key__": "000000000", "cls": b"3", "json": b'{"n":[1]}', "png": png, "txt": b"a"},
            {"__key__": "000000001", "cls": b"4", "jpeg": jpg, "json": b'{"n":[2]}'},
            {"__key__": "000000002", "cls": b"5", "json": b'{"n":[]}', "png": b"elsewhere.png", "txt": b"c"},
        ]
    columns = Columns(fields={"jpg": "image"}, rest=None)
    assert [sorted(one) for one in packed(pack_source(tmp_path / "t.parquet", columns=columns), tmp_path)][1] == [
        "__key__", "cls", "jpg"
    ]  # fmt: skip
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(UrlError, match="cannot be read"):
        packed(pack_source(tmp_path / "bad.parquet"), tmp_path)


def test_two_columns_of_bytes_have_their_names_before(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"left eye": [b"\x89PNG"], "wav": [b"RIFF1234WAVE"], "x": [b"?"]}), tmp_path / "t.parquet")
    assert packed(pack_source(tmp_path / "t.parquet"), tmp_path) == [
        {"__key__": "000000000", "left_eye.png": b"\x89PNG", "wav": b"RIFF1234WAVE", "x.bin": b"?"}
    ]


def test_what_datasets_has_saved(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    png = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (2, 2)).save(png, "png")
    features = datasets.Features({"image": datasets.Image(), "cls": datasets.ClassLabel(names=["a", "b"])})
    data = datasets.Dataset.from_dict(
        {"image": [{"bytes": png.getvalue(), "path": None}] * 3, "cls": [0, 1, 0]}, features=features
    )
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "both")
    assert (kind_of(str(tmp_path / "one")), kind_of(str(tmp_path / "both"))) == ("datasets", "datasets")
    samples = packed(pack_source(tmp_path / "one"), tmp_path)
    assert samples == [{"__key__": f"00000000{n}", "cls": str(n % 2).encode(), "png": png.getvalue()} for n in range(3)]
    assert len(packed(pack_source(tmp_path / "both", split="test"), tmp_path)) == 1
    with pytest.raises(UrlError, match="several splits, 'train', 'test'"):
        packed(pack_source(tmp_path / "both"), tmp_path)


@pytest.mark.parametrize("inline", [False, True])
def test_work_that_was_broken_off_goes_on_and_gives_the_same(tmp_path: Path, inline: bool) -> None:
    if inline:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        source = tmp_path / "t.parquet"
        pq.write_table(pa.table({"txt": [str(n) for n in range(10)]}), source)
    else:
        source = write(tmp_path / "in", *(f"{number}.txt" for number in range(10)))

    class Interrupting:
        left = 7

        def begin(self, what: str, total: int | None, unit: str) -> None:
            assert (what, total, unit) == ("pack", 10 if inline else None, "samples")

        def advance(self, amount: int) -> None:
            self.left -= amount
            if self.left < 0:
                raise KeyboardInterrupt

    for name in ("whole", "part"):
        (tmp_path / name).mkdir()
    whole, part = (Output(target=f"{tmp_path}/{name}/x-%d.tar", maxcount=3, index=True) for name in ("whole", "part"))
    pack(pack_source(source), whole)
    with pytest.raises(KeyboardInterrupt):
        pack(pack_source(source), part, progress=Interrupting())
    assert len(list((tmp_path / "part").glob("*.tar"))) == 2
    done = pack(pack_source(source), part)
    assert (done.written.samples, done.written.kept) == (10, 2)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "part"))
    assert one == two


def test_a_changed_folder_is_other_work(tmp_path: Path) -> None:
    root = write(tmp_path / "in", "a.txt", "b.txt")
    before = pack_source(root).identity()
    assert pack_source(root).identity() == before
    write(root, "c.txt")
    assert pack_source(root).identity() != before


def test_nothing_to_pack_is_an_error(tmp_path: Path) -> None:
    root = write(tmp_path / "in", "README")
    with pytest.raises(EmptyDatasetError, match="only files such as 'README'"):
        pack(pack_source(root), Output(target=f"{tmp_path}/x-%d.tar"))
    assert leftovers(tmp_path) == []
    with pytest.raises(UrlError, match="there is no such file or folder"):
        pack_source(tmp_path / "gone")
    with pytest.raises(UrlError, match="no kind of table has this suffix"):
        pack_source(write(tmp_path, "x.xls") / "x.xls")
    with pytest.raises(ValueError, match="split= is for datasets; this is folder"):
        pack_source(root, split="train")


def test_two_files_that_would_be_one_field(tmp_path: Path) -> None:
    root = write(tmp_path / "in", "a.JPG", "a.jpg")
    with pytest.raises(SampleError, match="two files would be the field 'jpg' of sample 'a'"):
        packed(pack_source(root), tmp_path)


def test_a_shard_that_is_packed_again_is_a_file_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_members(tmp_path / "in" / "x.tar", [("a.b", b"")])
    assert [sorted(sample) for sample in packed(pack_source(tmp_path / "in"), tmp_path)] == [["__key__", "tar"]]

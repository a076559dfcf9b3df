from __future__ import annotations

import json
import os
from pathlib import Path

from commands import here, webds as run
from webserver import serving
from work import contents, leftovers

from webds.tools.reading import source_of


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_a_folder_into_shards_in_several_processes(tmp_path: Path) -> None:
    write(tmp_path / "in", *(f"{n}.{end}" for n in range(5) for end in ("txt", "json")), "README")
    outcome = run("pack", "in", "-o", "x-%d.tar", "--maxcount", "2", "-j", "2", "--index", cwd=tmp_path)
    assert (outcome.status, outcome.out) == (0, b"")
    assert outcome.err == "5 samples in 3 shards\n1 member left out, part of no sample, such as 'README'\n"
    assert sorted(path.name for path in tmp_path.glob("x-*")) == [
        f"x-{n}.{end}" for n in range(3) for end in ("idx", "tar")
    ]
    assert contents(f"{tmp_path}/x-*.tar") == {
        (("__key__", f"{n}"), ("json", f"{n}.json".encode()), ("txt", f"{n}.txt".encode())): 1 for n in range(5)
    }
    again = run("pack", "in", "-o", "x-%d.tar", cwd=tmp_path)
    assert again.status == 1
    assert "--overwrite" in again.err
    fewer = run("pack", "in", "-o", "x-%d.tar", "--overwrite", cwd=tmp_path)
    assert fewer.status == 0
    assert [path.name for path in tmp_path.glob("x-*")] == ["x-0.tar"]
    assert leftovers(tmp_path) == []


def test_image_folders_with_their_classes(tmp_path: Path) -> None:
    write(tmp_path / "in", "dog/1.jpg", "cat/1.jpg")
    outcome = here(
        "pack", "in", "--kind", "imagefolder", "-o", "-", "--classes", "c.json", "--class-names", "txt", cwd=tmp_path
    )
    assert (outcome.status, outcome.err) == (0, "2 samples in 1 shard\n")
    (tmp_path / "x.tar").write_bytes(outcome.out)
    samples = list(source_of(str(tmp_path / "x.tar")).read(str(tmp_path / "x.tar")))
    assert [(one["__key__"], one["cls"], one["txt"]) for one in samples] == [
        ("cat/1", b"0", b"cat"),
        ("dog/1", b"1", b"dog"),
    ]
    assert json.loads((tmp_path / "c.json").read_text()) == ["cat", "dog"]


def test_a_table_on_standard_input_that_names_remote_files(tmp_path: Path) -> None:
    with serving() as web:
        web.routes["/a.jpg"] = b"far away"
        rows = f'{{"id": "a", "url": "{web.url("/a.jpg")}", "n": 1}}\n'.encode()
        command = [
            "pack",
            "-",
            "--kind",
            "jsonl",
            "--file",
            "jpg=url",
            "--key",
            "id",
            "--rest",
            "meta.json",
            "-o",
            "x.tar",
        ]
        outcome = here(*command, stdin=rows, cwd=tmp_path)
        assert (outcome.status, outcome.err) == (0, "1 sample in 1 shard\n")
        web.routes.clear()
        outcome = here(*command, "--overwrite", stdin=rows, cwd=tmp_path)
    assert outcome.status == 1
    assert "404" in outcome.err
    assert "key 'a'" in outcome.err
    assert contents(str(tmp_path / "x.tar")) == {(("__key__", "a"), ("jpg", b"far away"), ("meta.json", b'{"n":1}')): 1}


def test_tables_that_are_broken(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    outcome = here("pack", "t.csv", "-o", "x-%d.tar", cwd=tmp_path)
    assert (outcome.status, outcome.err) == (1, "webds: t.csv: line 3 has 1 cells, and there are 2 columns\n")
    outcome = here("pack", "t.csv", "-o", "x-%d.tar", "--file", "jpg", cwd=tmp_path)
    assert (outcome.status, outcome.err) == (
        2, "webds pack: 'jpg': expected --file FIELD=COLUMN (try 'webds pack --help')\n"
    )  # fmt: skip
    outcome = here("pack", "t.csv", "-o", "x-%d.tar", "--split", "train", cwd=tmp_path)
    assert outcome.status == 2
    outcome = here("pack", "gone", "-o", "x-%d.tar", cwd=tmp_path)
    assert (outcome.status, outcome.err) == (1, "webds: gone: there is no such file or folder\n")
    assert os.listdir(tmp_path) == ["t.csv"]

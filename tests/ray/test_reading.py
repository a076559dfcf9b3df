from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from shards import numbered_shards, sample_of, tar_bytes, write_members, write_shard
from webserver import Exchange, serving

import webds
import webds.ray
from webds.datasets.builder import DatasetBuilder
from webds.errors import DecodeError, FieldError, TarFormatError, UrlError, WebdsError
from webds.ray.reading import ShardDatasource

pytestmark = pytest.mark.usefixtures("local_ray")


def rows(dataset: Any) -> list[dict[str, Any]]:
    return sorted(dataset.take_all(), key=lambda row: row["__key__"])


def types_of(dataset: Any) -> dict[str, Any]:
    """Return column → type."""
    schema = dataset.schema()
    return dict(zip(schema.names, schema.types, strict=True))


def tasks_of(urls: Any, number: int, fields: list[str] | None = None) -> list[Any]:
    """Return the tasks that Ray gets when it asks for so many."""
    datasets: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray.data.read_datasource", lambda source, **options: datasets.append(source))
        webds.ray.read_shards(urls, fields=fields)
    (source,) = datasets
    assert isinstance(source, ShardDatasource)
    return source.get_read_tasks(number)


def test_each_sample_is_a_row_with_its_key_and_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = numbered_shards(tmp_path, 3, 4)
    monkeypatch.chdir(tmp_path)
    dataset = webds.ray.read_shards("shard-*.tar")
    found = rows(dataset)
    expected = [{**sample_of(number), "__url__": urls[number // 4]} for number in range(12)]
    assert found == [
        {name: value.encode() if name in ("cls", "txt") else value for name, value in sample.items()}
        for sample in expected
    ]
    assert types_of(dataset) == {
        "__key__": pa.string(),
        "__url__": pa.string(),
        "cls": pa.binary(),
        "txt": pa.binary(),
    }


def test_values_have_types_of_their_own(tmp_path: Path) -> None:
    with webds.TarWriter(str(tmp_path / "x.tar")) as sink:
        for number in range(4):
            sink.write({
                "__key__": f"k{number}",
                "cls": number,
                "txt": f"täxt {number}",
                "json": {"a": number, "b": [1.5, None]},
                "npy": np.full((2, 3), number, np.float32),
                "ragged.npy": np.arange(number + 1),
                "bin": bytes([number]),
                "png": np.full((4, 5, 3), number, np.uint8),
            })  # fmt: skip
    dataset = webds.ray.read_shards(str(tmp_path / "x.tar"), decode="rgb8")
    types = types_of(dataset)
    assert (types["cls"], types["txt"], types["bin"]) == (pa.int64(), pa.string(), pa.binary())
    assert types["json"] == pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))])
    assert (types["npy"].shape, types["png"].shape) == ((2, 3), (4, 5, 3))
    row = rows(dataset)[3]
    assert (row["cls"], row["txt"], row["json"], row["bin"]) == (3, "täxt 3", {"a": 3, "b": [1.5, None]}, b"\3")
    np.testing.assert_array_equal(row["npy"], np.full((2, 3), 3, np.float32))
    np.testing.assert_array_equal(row["ragged.npy"], np.arange(4))
    np.testing.assert_array_equal(row["png"], np.full((4, 5, 3), 3, np.uint8))


def test_a_field_that_a_sample_lacks_is_null(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "x.tar", [{"__key__": "a", "txt": "x", "cls": "1"}, {"__key__": "b", "cls": "2"}])
    assert [row["txt"] for row in rows(webds.ray.read_shards(path, decode=True))] == ["x", None]
    dataset = webds.ray.read_shards(path, fields=["jpg;png", "txt"])
    assert list(types_of(dataset)) == ["__key__", "__url__", "jpg", "png", "txt"]
    assert [(row["jpg"], row["txt"]) for row in rows(dataset)] == [(None, b"x"), (None, None)]


def test_only_wanted_fields_are_read(tmp_path: Path) -> None:
    big = b"\1" * 2_000_000
    members = [(f"{n}.{field}", value) for n in range(4) for field, value in (("bin", big), ("txt", b"small"))]
    body = Path(write_members(tmp_path / "x.tar", members)).read_bytes()
    webds.build_index(str(tmp_path / "x.tar"))
    sent: list[int] = []

    def reply(exchange: Exchange) -> None:
        if "Range" not in exchange.headers:
            exchange.reply(body)
            return
        first, last = exchange.headers["Range"].removeprefix("bytes=").split("-")
        sent.append(min(int(last) + 1, len(body)) - int(first))
        exchange.reply_range(body)

    with serving() as web:
        web.routes |= {"/x.tar": reply, "/x.idx": (tmp_path / "x.idx").read_bytes()}
        builder = webds.DatasetBuilder(web.url("/x.tar")).indexed()
        dataset = webds.ray.read_shards(builder, fields=["txt"], override_num_blocks=2)
        assert [row["txt"] for row in rows(dataset)] == [b"small"] * 4
        assert list(types_of(dataset)) == ["__key__", "__url__", "txt"]
    assert 0 < sum(sent) < len(big)


def test_shards_of_a_web_server_and_what_it_fails_to_send(tmp_path: Path) -> None:
    body = tar_bytes([("a.txt", b"x"), ("b.txt", b"y")])
    with serving() as web:
        web.routes |= {"/x.tar": body}
        assert [row["txt"] for row in rows(webds.ray.read_shards(web.url("/x.tar"), decode=True))] == ["x", "y"]
        with pytest.raises(WebdsError, match="404") as caught:
            webds.ray.read_shards(web.url("/none.tar?sig=hush")).take_all()
    assert "hush" not in str(caught.value)


def test_an_error_of_a_task_says_where(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 4)
    broken = write_members(tmp_path / "broken.tar", [("k.json", b'{"a": '), ("l.json", b"{}")])
    Path(urls[0]).write_bytes(Path(urls[0]).read_bytes()[:3000])
    with pytest.raises(TarFormatError, match="was cut short") as cut:
        webds.ray.read_shards(urls).take_all()
    assert (cut.value.url, cut.value.stage) == (urls[0], "read")
    with pytest.raises(DecodeError) as wrong:
        webds.ray.read_shards(broken, decode=True).take_all()
    assert (wrong.value.url, wrong.value.key, wrong.value.field) == (broken, "k", "json")
    assert wrong.value.stage == "decode"


def test_what_has_no_type_in_common_is_an_error_that_says_where(tmp_path: Path) -> None:
    mixed = write_members(tmp_path / "x.tar", [("a.json", b"1"), ("b.json", b'"text"')])
    with pytest.raises(DecodeError, match="no type of Arrow in common") as caught:
        webds.ray.read_shards(mixed, decode=True).take_all()
    assert (caught.value.url, caught.value.key, caught.value.field) == (mixed, "b", "json")
    with webds.TarWriter(str(tmp_path / "y.tar")) as sink:
        sink.write({"__key__": "a", "npy": np.zeros(3)})
        sink.write({"__key__": "b", "npy": np.zeros((3, 3))})
    with pytest.raises(DecodeError, match="2 dimensions") as caught:
        webds.ray.read_shards(str(tmp_path / "y.tar"), decode=True).take_all()
    assert (caught.value.key, caught.value.field) == ("b", "npy")
    with webds.TarWriter(str(tmp_path / "z.tar")) as sink:
        sink.write({"__key__": "a", "npy": np.zeros(3)})
        sink.write({"__key__": "b", "txt": "x"})
    with pytest.raises(FieldError, match="missing here") as missing:
        webds.ray.read_shards(str(tmp_path / "z.tar"), decode=True).take_all()
    assert (missing.value.key, missing.value.field) == ("b", "npy")


def test_a_builder_brings_its_stages_along(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 4)
    builder = (
        webds.DatasetBuilder(urls).shuffle(0).decode().filter(lambda sample: sample["cls"] % 2)
        .map(lambda sample: {"twice": 2 * sample["cls"]})
    )  # fmt: skip
    dataset = webds.ray.read_shards(builder)
    assert [row["twice"] for row in rows(dataset)] == [2, 6, 10, 14]
    assert rows(dataset)[0]["__key__"] == "key00001"
    assert [row["twice"] for row in rows(webds.ray.read_shards(builder, fields=["twice"]))] == [2, 6, 10, 14]
    with pytest.raises(FieldError, match="made a int of the sample") as caught:
        webds.ray.read_shards(webds.DatasetBuilder(urls).map(lambda sample: cast("dict[str, Any]", 3))).take_all()
    assert caught.value.key == "key00000"


def test_what_a_builder_lets_pass_is_left_out(tmp_path: Path) -> None:
    path = write_members(tmp_path / "x.tar", [("a.json", b"1"), ("b.json", b"{"), ("c.json", b"3")])
    dataset = webds.ray.read_shards(webds.DatasetBuilder(path, on_error="skip").decode())
    assert [row["json"] for row in rows(dataset)] == [1, 3]
    assert dataset.count() == 2


def test_what_cannot_be_read_apart_is_refused(tmp_path: Path) -> None:
    builder = webds.DatasetBuilder(numbered_shards(tmp_path, 2, 4))
    with pytest.raises(TypeError, match="the stage batch"):
        webds.ray.read_shards(builder.batch(2))
    with pytest.raises(TypeError, match="the stage shuffle"):
        webds.ray.read_shards(builder.shuffle(10))
    with pytest.raises(TypeError, match="mixes several"):
        webds.ray.read_shards(webds.concat([builder, builder]))
    with pytest.raises(TypeError, match="a builder says them"):
        webds.ray.read_shards(builder, decode=True)
    with pytest.raises(TypeError, match="not one string"):
        webds.ray.read_shards(builder, fields="txt")
    with pytest.raises(UrlError):
        webds.ray.read_shards(str(tmp_path / "none-*.tar"))


def test_opener_opens_the_shards(tmp_path: Path) -> None:
    body = tar_bytes([("a.txt", b"x")])
    (tmp_path / "kept").write_bytes(body)
    dataset = webds.ray.read_shards("mine://x.tar", opener=f"cat {tmp_path}/kept #{{url}}")
    assert [row["txt"] for row in rows(dataset)] == [b"x"]


def test_shards_with_an_index_are_cut_into_as_many_parts_as_ray_asks_for(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 5)
    assert [task.metadata.num_rows for task in tasks_of(urls, 6)] == [None, None]
    manifest = webds.build_index(urls)
    parts = tasks_of(urls, 6)
    assert [task.metadata.num_rows for task in parts] == [1, 2, 2, 1, 2, 2]
    assert [task.metadata.num_rows for task in tasks_of(manifest, 100)] == [1] * 10
    assert [task.metadata.num_rows for task in tasks_of(manifest, 2)] == [5, 5]
    keys = [key for task in parts for block in task() for key in block["__key__"].to_pylist()]
    assert keys == [f"key{number:05d}" for number in range(10)]
    dataset = webds.ray.read_shards(manifest, decode=True, override_num_blocks=6)
    assert [row["cls"] for row in rows(dataset)] == list(range(10))
    # What may leave samples out does not say how many there are.
    picky = webds.DatasetBuilder(urls).filter(lambda sample: False)
    assert [task.metadata.num_rows for task in tasks_of(picky, 2)] == [None, None]


def test_a_compressed_shard_is_not_cut(tmp_path: Path) -> None:
    with webds.ShardWriter(str(tmp_path / "x-%d.tar.gz"), maxcount=6, manifest="m.json") as sink:
        for number in range(12):
            sink.write({"__key__": str(number), "cls": number})
    assert [task.metadata.num_rows for task in tasks_of(str(tmp_path / "m.json"), 8)] == [6, 6]
    assert len(rows(webds.ray.read_shards(str(tmp_path / "m.json")))) == 12


def test_a_manifest_without_tables_says_how_many_samples_there_are(tmp_path: Path) -> None:
    body = tar_bytes([(f"{n}.txt", b"x") for n in range(6)])
    with serving() as web:
        shards = [{"url": web.url("/x.tar"), "nsamples": 6, "filesize": len(body)}]
        manifest = json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": shards})
        web.routes |= {"/x.tar": body, "/m.json": manifest.encode()}
        (task,) = tasks_of(web.url("/m.json"), 4)
        assert (task.metadata.num_rows, task.metadata.size_bytes) == (6, len(body))
        assert len(rows(webds.ray.read_shards(web.url("/m.json")))) == 6


def test_other_sources_are_read_too() -> None:
    source = webds.MemorySource([{"__key__": str(number), "cls": number} for number in range(6)], shards=2)
    builder = webds.DatasetBuilder(source)
    assert [task.metadata.num_rows for task in tasks_of(builder, 4)] == [1, 2, 1, 2]
    assert [row["cls"] for row in rows(webds.ray.read_shards(builder, override_num_blocks=4))] == list(range(6))


def test_samples_that_were_selected_are_read(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 5)
    builder = webds.DatasetBuilder(urls).indexed().select_samples(lambda info: info.key.endswith("3"))
    assert [row["__key__"] for row in rows(webds.ray.read_shards(builder))] == ["key00003"]


def test_blocks_are_of_the_size_that_ray_aims_at(tmp_path: Path) -> None:
    write_members(tmp_path / "x.tar", [(f"{n:02d}.bin", b"\1" * 10_000) for n in range(20)])
    (source,) = [ShardDatasource(DatasetBuilder(str(tmp_path / "x.tar")).plan, None)]

    class Context:
        target_max_block_size = 50_000

    (task,) = source.get_read_tasks(1, data_context=Context())
    assert [block.num_rows for block in task()] == [5, 5, 5, 5]
    (task,) = source.get_read_tasks(1, 7)
    assert sum(block.num_rows for block in task()) == 7
    assert source.estimate_inmemory_data_size() == (tmp_path / "x.tar").stat().st_size

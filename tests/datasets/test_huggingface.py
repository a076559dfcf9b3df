"""Data sets of Hugging Face as builders, and the reverse; and what it opens itself of our shards."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import itertools
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import attrs
import numpy as np
import PIL.Image
import pytest
import torch
import torch.utils.data
from huggingface import encoded, numbered_rows, rows_of
from in_workers import key_of, label
from places import of_ranks
from shards import numbered_shards, write_shard

import webds
from webds.errors import EmptyDatasetError, FieldError, MissingExtraError, OpenError, UntrustedDataError

datasets: Any = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a network nor anybody's home is to be needed."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def _rows(count: int = 20) -> Any:
    return datasets.Dataset.from_list(numbered_rows(0, count))


def _stream(shards: int = 4) -> Any:
    return datasets.IterableDataset.from_generator(rows_of, gen_kwargs={"shards": list(range(shards))})


def _numbers(builder: webds.DatasetBuilder[webds.Sample]) -> list[int]:
    return [sample["number.cls"] for sample in builder.build()]


# From Hugging Face.


def test_columns_become_fields() -> None:
    when = dt.datetime(2024, 5, 6, 7, 8, 9)  # noqa: DTZ001  # as it is stored
    features = datasets.Features({
        "image": datasets.Image(), "Seg.png": datasets.Image(),
        "sound": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        "label": datasets.ClassLabel(names=["cat", "dog"]), "cls": datasets.Value("int8"),
        "id": datasets.Value("string"),
        "caption": datasets.Value("string"), "txt": datasets.Value("large_string"), "raw": datasets.Value("binary"),
        "score": datasets.Value("float64"), "good": datasets.Value("bool"), "when": datasets.Value("timestamp[s]"),
        "price": datasets.Value("decimal128(5, 2)"), "tokens": datasets.Sequence(datasets.Value("int16")),
        "table": datasets.Array2D((2, 2), "float32"),
        "boxes": datasets.Sequence(datasets.Sequence(datasets.Value("int64"))),
        "meta": {"a": datasets.Value("int64"), "b": [{"at": datasets.Value("date32")}]},
        "nothing": datasets.Value("null"),
    })  # fmt: skip
    row = {
        "image": {"bytes": encoded(1, "jpeg"), "path": None}, "Seg.png": {"bytes": encoded(2, "png"), "path": "a.b"},
        "sound": {"bytes": b"RIFF0000WAVE", "path": None}, "label": 1, "cls": -3, "id": "n01", "caption": "a cat",
        "txt": "more", "raw": b"\x01", "score": 0.1, "good": True, "when": when, "price": decimal.Decimal("1.50"),
        "tokens": [1, 2], "table": [[1, 2], [3, 4.5]], "boxes": [[1], [2, 3]],
        "meta": {"a": 1, "b": [{"at": dt.date(2024, 1, 2)}]}, "nothing": None,
    }  # fmt: skip
    table = datasets.Dataset.from_dict({name: [value, None] for name, value in row.items()}, features)
    table = table.cast_column("sound", datasets.Audio())  # to make it one at once takes torchcodec
    first, second = webds.from_hf(table).build()
    assert second == {"__key__": "000000001"}, "what is null is not there"
    tokens, array = first.pop("tokens.npy"), first.pop("table.npy")
    assert (tokens.dtype, tokens.tolist()) == (np.int16, [1, 2])
    assert tokens.flags.writeable, "so that torch.from_numpy takes it without a warning"
    assert (array.dtype, array.tolist()) == (np.float32, [[1, 2], [3, 4.5]])
    assert first == {
        "__key__": "000000000", "image.jpg": encoded(1, "jpeg"), "seg.png": encoded(2, "png"),
        "sound.wav": b"RIFF0000WAVE", "label.cls": 1, "cls": -3, "id": "n01", "caption.txt": "a cat", "txt": "more",
        "raw.bin": b"\x01", "score.json": 0.1, "good.json": True, "when.txt": "2024-05-06T07:08:09",
        "price.txt": "1.50", "boxes.json": [[1], [2, 3]], "meta.json": {"a": 1, "b": [{"at": "2024-01-02"}]},
    }  # fmt: skip


def test_they_are_written_into_shards_and_come_back(tmp_path: Path) -> None:
    rows = [
        {
            "image": {"bytes": encoded(n, ("png", "jpeg")[n % 2]), "path": None}, "label": n, "caption": f"ä {n}",
            "vector": [n / 2, n], "meta": {"n": n, "list": ["x"] * n},
        }
        for n in range(6)
    ]  # fmt: skip
    features = datasets.Features({
        "image": datasets.Image(), "label": datasets.Value("int64"), "caption": datasets.Value("string"),
        "vector": datasets.Sequence(datasets.Value("float32")),
        "meta": {"n": datasets.Value("int64"), "list": datasets.Sequence(datasets.Value("string"))},
    })  # fmt: skip
    builder = webds.from_hf(datasets.Dataset.from_list(rows, features))
    with webds.ShardWriter(f"{tmp_path}/x-%d.tar", maxcount=4) as sink:
        for sample in builder.build():
            sink.write(sample)
    read = list(webds.DatasetBuilder(f"{tmp_path}/x-*.tar").decode().build())
    for row, sample, direct in zip(rows, read, builder.decode().build(), strict=True):
        assert sample.pop("vector.npy").tolist() == direct.pop("vector.npy").tolist() == row["vector"]
        assert sample == direct
        assert (sample["label.cls"], sample["caption.txt"]) == (row["label"], row["caption"])
        assert sample["meta.json"] == row["meta"]
    images: list[Any] = [row["image"] for row in rows]
    assert [sample.get("image.png", sample.get("image.jpg")) for sample in read] == [image["bytes"] for image in images]


def test_images_are_decoded_by_decode() -> None:
    table = datasets.Dataset.from_list([{"image": PIL.Image.open(io.BytesIO(encoded(7, "png")))}])
    assert isinstance(table.features["image"], datasets.Image)
    (image,) = (value for (value,) in webds.from_hf(table).decode("torchl8").to_tuple("image.jpg;image.png").build())
    assert image.tolist() == [[[7] * 5] * 4]


def test_files_that_are_not_in_the_table_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(3, "png"))
    images = datasets.Features({"image": datasets.Image()})

    def read(path: str) -> Any:
        return list(webds.from_hf(datasets.Dataset.from_dict({"image": [path]}, images)).build())

    assert read(str(tmp_path / "a.png")) == [{"__key__": "000000000", "image.png": encoded(3, "png")}]
    with pytest.raises(OpenError, match=r"missing\.png") as found:
        read(str(tmp_path / "missing.png"))
    assert (found.value.key, found.value.field, found.value.stage) == ("000000000", "image", "read")
    with pytest.raises(UntrustedDataError, match="it is not run"):
        read(f"pipe:touch {tmp_path}/run")
    assert not (tmp_path / "run").exists()


def test_key_is_the_column_of_the_keys() -> None:
    table = datasets.Dataset.from_list([{"name": "a/b", "n": 5}, {"name": "c", "n": 6}])
    assert list(webds.from_hf(table, key="name").build()) == [
        {"__key__": "a/b", "n.cls": 5}, {"__key__": "c", "n.cls": 6},
    ]  # fmt: skip
    assert [key_of(sample) for sample in webds.from_hf(table, key="n").build()] == ["5", "6"]
    with pytest.raises(FieldError, match="no column 'x'; there are 'name', 'n'"):
        webds.from_hf(table, key="x")
    for bad in (None, "", 1.5):
        with pytest.raises(FieldError, match="has the keys, holds"):
            list(webds.from_hf(datasets.Dataset.from_list([{"name": bad, "n": 5}]), key="name").build())


def test_a_column_of_keys_that_was_loaded_from_shards_is_taken() -> None:
    table = datasets.Dataset.from_list([{"txt": "a", "__key__": "x", "__url__": "a.tar"}])
    assert list(webds.from_hf(table).build()) == [{"__key__": "x", "txt": "a"}]


def test_fields_are_what_columns_are_called() -> None:
    table = datasets.Dataset.from_list(
        [{"image": {"bytes": encoded(1, "png"), "path": None}, "a": 1, "A": 2}],
        datasets.Features({"image": datasets.Image(), "a": datasets.Value("int64"), "A": datasets.Value("int64")}),
    )
    with pytest.raises(FieldError, match=r"columns 'a' and 'A' would both be the field 'a\.cls'"):
        webds.from_hf(table)
    builder = webds.from_hf(table, fields={"jpg": "image", "Other.cls": "A"})
    assert list(builder.build()) == [{"__key__": "000000000", "jpg": encoded(1, "png"), "a.cls": 1, "other.cls": 2}]
    with pytest.raises(FieldError, match="no column 'b'"):
        webds.from_hf(table, fields={"jpg": "b"})
    with pytest.raises(ValueError, match="'A' is to be two fields"):
        webds.from_hf(table, fields={"x.cls": "A", "y.cls": "A"})


def test_shards_are_what_rows_are_cut_into() -> None:
    counts = [webds.from_hf(_rows(), shards=n).plan_for(batch_size=1).samples for n in (1, 3, 20)]
    assert counts == [counts[0]] * 3
    assert [len(webds.from_hf(_rows(), shards=n).build().urls) for n in (1, 3, 20)] == [1, 3, 20]
    assert len(webds.from_hf(_rows(2001)).build().urls) == 3
    assert len(webds.from_hf(_rows(2001)).build()) == 2001
    with pytest.raises(ValueError, match="expected a number from 1"):
        webds.from_hf(_rows(), shards=0)
    with pytest.raises(TypeError, match="a stream has its shards already"):
        webds.from_hf(_stream(), shards=2)


def test_order_and_selection_of_the_data_set_hold() -> None:
    table = _rows().shuffle(seed=3).select(range(12))
    expected = [row["number"] for row in table]
    assert expected != sorted(expected)
    assert _numbers(webds.from_hf(table.with_format("torch"), shards=3)) == expected
    assert sorted(_numbers(webds.from_hf(table, shards=3).shuffle(5, seed=1))) == sorted(expected)
    mapped = _stream().map(_with_square)
    assert [(s["number.cls"], s["square.cls"]) for s in webds.from_hf(mapped).build()] == [
        (n, n * n) for n in range(20)
    ]  # fmt: skip


def _with_square(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "square": row["number"] ** 2}


def test_rows_of_a_stream_without_features_may_differ() -> None:
    stream = datasets.IterableDataset.from_generator(_uneven)
    assert [set(sample) - {"__key__"} for sample in webds.from_hf(stream).build()] == [
        {"a.cls"}, {"b.txt"}, {"a.cls", "b.txt"}, {"image.png", "a.cls"},
    ]  # fmt: skip


def _uneven() -> Iterator[dict[str, Any]]:
    yield {"a": 1}
    yield {"a": None, "b": "x"}
    yield {"b": "y", "a": 3}
    yield {"a": 3, "image": PIL.Image.new("L", (2, 2))}


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("source", [_rows, _stream])
def test_each_row_comes_once_with_any_number_of_workers(source: Any, start: str) -> None:
    """Also with more workers than shards: `datasets` would divide among workers by itself, and so twice."""
    builder = webds.from_hf(source()).map(_number)
    for workers in (2, 6) if start == "fork" else (2,):
        loader = builder.loader(num_workers=workers, multiprocessing_context=start)
        assert sorted(loader) == list(range(20))


def _number(sample: dict[str, Any]) -> int:
    return int(sample["number.cls"])


@pytest.mark.parametrize("source", [_rows, _stream])
def test_each_row_comes_once_over_ranks_and_workers(source: Any) -> None:
    builder = webds.from_hf(source()).map(_number).batch(3, collate=list)
    batches = of_ranks(builder, 2, 2)
    assert sorted(itertools.chain(*itertools.chain(*batches))) == list(range(20))


@pytest.mark.parametrize("source", [_rows, _stream])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_is_gone_on_with(source: Any, workers: int) -> None:
    builder = webds.from_hf(source()).shuffle(4, seed=2).map(_number).batch(3, collate=list)
    loader = builder.loader(num_workers=workers)
    whole = list(builder.loader(num_workers=workers))
    assert list(itertools.islice(loader, 3)) == whole[:3]
    again = builder.loader(num_workers=workers)
    again.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert list(again) == whole[3:]


def test_rows_have_numbers_and_it_pickles() -> None:
    dataset = pickle.loads(pickle.dumps(webds.from_hf(_rows(), shards=3).map_style()))
    assert (len(dataset), dataset[17]["number.cls"], dataset[-1]["text"]) == (20, 19 - 2, "text 19")
    assert _numbers(pickle.loads(pickle.dumps(webds.from_hf(_stream())))) == list(range(20))


def test_rows_are_joined_by_their_keys(tmp_path: Path) -> None:
    """A table about samples that are in shards, in another order and with some too many."""
    table = datasets.Dataset.from_list([{"name": f"key{n:05d}", "square": n * n} for n in (*range(25, -1, -1), 3)])
    builder = webds.DatasetBuilder(numbered_shards(tmp_path)).decode()
    squares = webds.from_hf(table.select(range(26)), key="name", shards=3)
    assert list(builder.join(squares).to_tuple("cls", "square.cls").build()) == [(n, n * n) for n in range(20)]
    assert builder.indexed().join(squares).to_tuple("cls", "square.cls").map_style()[7] == (7, 49)
    with pytest.raises(webds.SampleError, match="key00003"):
        list(builder.join(webds.from_hf(table, key="name")).build())
    numbers = webds.from_hf(_rows()).plan.source
    assert isinstance(numbers, webds.IndexedSource)
    (companion,) = webds.DatasetBuilder(webds.MemorySource([{"__key__": "000000007"}])).join(numbers).build()
    assert companion["number.cls"] == 7


def test_what_would_be_read_wrongly_is_refused() -> None:
    with pytest.raises(TypeError, match="with the splits 'train', 'test': give one"):
        webds.from_hf(datasets.DatasetDict({"train": _rows(), "test": _rows()}))
    with pytest.raises(TypeError, match="has a transform, which is not run"):
        webds.from_hf(_rows().with_transform(_with_square))
    from datasets.distributed import split_dataset_by_node

    with pytest.raises(TypeError, match="split over nodes already"):
        webds.from_hf(split_dataset_by_node(_stream(), 0, 2))
    frames = datasets.Features({"frames": datasets.Sequence(datasets.Image())})
    with pytest.raises(TypeError, match="'frames' has files or bytes inside"):
        webds.from_hf(datasets.Dataset.from_dict({"frames": [[]]}, frames))
    holes = datasets.Dataset.from_dict({"a": [[1, 2], [1, None]]})
    with pytest.raises(FieldError, match="nulls in it") as found:
        list(webds.from_hf(holes).build())
    assert (found.value.key, found.value.field) == ("000000001", "a")
    assert [sample["a.json"] for sample in webds.from_hf(holes, fields={"a.json": "a"}).build()] == [[1, 2], [1, None]]
    twice = datasets.Dataset.from_dict({"other": ["x"], "a": [b"y"]})
    with pytest.raises(FieldError, match=r"two columns would be the field 'a\.bin'"):
        list(webds.from_hf(twice, fields={"a.bin": "other"}).build())


def test_without_datasets_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    nothing: Any = None
    for call in (lambda: webds.from_hf(nothing), lambda: webds.to_hf(webds.DatasetBuilder("x.tar"))):
        with pytest.raises(MissingExtraError, match=r"pip install 'webds\[datasets\]'"):
            call()


# To Hugging Face.


@pytest.fixture
def media(tmp_path: Path) -> str:
    """Two shards of two samples, of all kinds that have features."""
    with webds.ShardWriter(f"{tmp_path}/m-%d.tar", maxcount=2) as sink:
        for n in range(4):
            sink.write({
                "__key__": f"s{n}", "jpg": encoded(n, "jpeg"), "cls": n, "txt": f"text {n}", "json": {"n": n, "l": [n]},
                "npy": np.full((2, n + 1), n, np.float32), "other.bin": bytes([n]), "score.json": n / 4,
            })  # fmt: skip
    return f"{tmp_path}/m-{{0..1}}.tar"


def test_samples_become_rows(media: str) -> None:
    made = webds.to_hf(webds.DatasetBuilder(media))
    assert isinstance(made, datasets.IterableDataset)
    assert made.num_shards == 2
    value = datasets.Value
    assert {name: feature for name, feature in (made.features or {}).items() if name not in ("json", "npy")} == {
        "__key__": value("string"), "jpg": datasets.Image(), "cls": value("int64"), "txt": value("string"),
        "other.bin": value("binary"), "score.json": value("float64"),
    }  # fmt: skip
    rows: list[Any] = list(made)
    assert [row["__key__"] for row in rows] == ["s0", "s1", "s2", "s3"]
    assert all(isinstance(row["jpg"], PIL.Image.Image) for row in rows)
    assert [np.asarray(row["jpg"]).max() for row in rows] == [0, 1, 2, 3]
    assert [(row["cls"], row["txt"], row["json"]) for row in rows] == [
        (n, f"text {n}", {"n": n, "l": [n]}) for n in range(4)
    ]
    assert [row["npy"] for row in rows] == [[[float(n)] * (n + 1)] * 2 for n in range(4)]
    assert [row["other.bin"] for row in rows] == [bytes([n]) for n in range(4)]
    assert list(webds.to_hf(webds.DatasetBuilder(media).build()))[3]["cls"] == 3, "of a dataset, its builder"


def test_media_stay_as_they_are_stored(media: str) -> None:
    made = webds.to_hf(webds.DatasetBuilder(media)).cast_column("jpg", datasets.Image(decode=False))
    assert [row["jpg"]["bytes"] for row in made] == [encoded(n, "jpeg") for n in range(4)]


def test_a_file_of_the_name_of_a_sample_is_not_taken_in_its_place(
    media: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s1.jpg").write_bytes(encoded(200, "jpeg"))
    assert [np.asarray(row["jpg"]).max() for row in webds.to_hf(webds.DatasetBuilder(media))] == [0, 1, 2, 3]


def test_stages_of_single_samples_come_before() -> None:
    class Pair(NamedTuple):
        number: Annotated[int, webds.field("number.cls")]
        text: str

    @attrs.frozen
    class Photo:
        number: Annotated[int, webds.field("number.cls")]

    builder = webds.from_hf(_rows(), shards=4)
    odd = builder.filter(_is_large)
    assert [row["number.cls"] for row in webds.to_hf(odd)] == [16, 17, 18, 19], "also where a shard has none"
    assert list(webds.to_hf(builder.into(Pair)))[2] == {"number": 2, "text": "text 2"}
    assert list(webds.to_hf(builder.into(Photo)))[2] == {"number": 2}
    other = webds.MemorySource([{"__key__": f"{n:09d}", "extra.cls": -n} for n in range(20)])
    joined = webds.to_hf(builder.join(other))
    assert [row["extra.cls"] for row in joined] == [-n for n in range(20)]


def _is_large(sample: dict[str, Any]) -> bool:
    return int(sample["number.cls"]) > 15


def test_features_are_those_of_the_rows(media: str) -> None:
    value = datasets.Value
    features = datasets.Features({
        "cls": datasets.ClassLabel(names=["a", "b", "c", "d"]), "json": value("string"), "npy": value("binary"),
        "absent": value("int8"),
    })  # fmt: skip
    builder = webds.DatasetBuilder(media).select("cls", "json", "npy")
    made = webds.to_hf(builder, features=features)
    assert made.features == features
    rows: list[Any] = list(made)
    assert [(row["cls"], json.loads(row["json"])) for row in rows] == [(n, {"n": n, "l": [n]}) for n in range(4)]
    assert rows[3]["npy"].startswith(b"\x93NUMPY")
    assert [row["absent"] for row in rows] == [None] * 4


def test_what_the_features_cannot_hold_is_an_error_that_says_where(tmp_path: Path) -> None:
    def made(values: list[Any], **options: Any) -> list[Any]:
        samples = [{"__key__": f"s{n}", "x.json": value} for n, value in enumerate(values)]
        return list(webds.to_hf(webds.DatasetBuilder(webds.MemorySource(samples)), **options))

    same = [1] * 16
    for values, message in (
        ([*same, 1.5], "1.5 is more than"),
        ([*same, "a"], "'a' is more than"),
        ([*same, [1]], "a list is more than"),
        ([*({"a": 1} for _ in same), {"a": 1, "b": 2}], "a structure with 'b'"),
        ([*([] for _ in same), [1]], "1 is more than"),
    ):
        with pytest.raises(FieldError, match=message) as found:
            made(values)
        assert (found.value.key, found.value.field) == ("s16", "x.json")
    text = datasets.Features({"x.json": datasets.Value("string")})
    assert [row["x.json"] for row in made([*same, {"b": [1.5]}], features=text)] == ["1"] * 16 + ['{"b": [1.5]}']
    assert [row["x.json"] for row in made([1, "a", None])] == ["1", "a", None], "no type in common"
    with pytest.raises(FieldError, match=r"the features, 'y', have no 'x\.json'") as found:
        made([1], features=datasets.Features({"y": datasets.Value("string")}))
    assert found.value.key == "s0"
    write_shard(tmp_path / "empty.tar", [])
    with pytest.raises(EmptyDatasetError, match="pass features="):
        webds.to_hf(webds.DatasetBuilder(f"{tmp_path}/empty.tar"))


def test_arrays_and_tensors_keep_their_dtype() -> None:
    sample = {
        "__key__": "a", "t": torch.ones(2, 3, dtype=torch.int16), "s": np.float32(0.5), "i": torch.ones(2, 2, 3).byte(),
        "v": np.arange(3, dtype=np.uint8),
    }  # fmt: skip
    source = webds.MemorySource([sample])
    features = webds.to_hf(webds.DatasetBuilder(source)).features or {}
    assert {name: _leaf(feature) for name, feature in features.items()} == {
        "__key__": "string", "t": "int16", "s": "float32", "i": "uint8", "v": "uint8",
    }  # fmt: skip
    given = datasets.Features({
        "t": datasets.Array2D((2, 3), "int16"), "i": datasets.Image(), "s": datasets.Value("float32"),
        "v": datasets.Sequence(datasets.Value("uint8")),
    })  # fmt: skip
    (row,) = webds.to_hf(webds.DatasetBuilder(source), features=given).with_format("numpy")
    assert (np.asarray(row["t"]).tolist(), row["s"], list(row["v"])) == ([[1] * 3] * 2, 0.5, [0, 1, 2])
    assert np.asarray(row["i"]).shape == (2, 2, 3)


def _leaf(feature: Any) -> str:
    while isinstance(feature, list) or hasattr(feature, "feature"):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return str(feature.dtype)


def test_datasets_divides_the_shards_among_its_workers(tmp_path: Path) -> None:
    made: Any = webds.to_hf(webds.DatasetBuilder(numbered_shards(tmp_path)))
    for workers in (0, 2, 3):
        loader: Any = torch.utils.data.DataLoader(made, batch_size=None, num_workers=workers)
        assert sorted(row["cls"] for row in loader) == list(range(20))
    from datasets.distributed import split_dataset_by_node

    parts = [[row["cls"] for row in split_dataset_by_node(made, rank, 2)] for rank in range(2)]
    assert [len(part) for part in parts] == [10, 10]
    assert sorted(itertools.chain(*parts)) == list(range(20))
    order = [row["cls"] for row in made.shuffle(seed=42, buffer_size=1)]  # in threads, several shards at once
    assert order != sorted(order)
    assert sorted(order) == list(range(20))


def test_indexed_ones_and_those_of_other_ranks_are_given_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    builder = webds.DatasetBuilder(numbered_shards(tmp_path))
    for each in (builder, builder.indexed(), builder.indexed().split(remainder="drop")):
        assert [row["cls"] for row in webds.to_hf(each)] == list(range(20))


def test_the_state_of_datasets_is_gone_on_with(tmp_path: Path) -> None:
    made = webds.to_hf(webds.DatasetBuilder(numbered_shards(tmp_path)))
    for stop in (3, 5, 12):
        iterator = iter(made)
        assert [next(iterator)["cls"] for _ in range(stop)] == list(range(stop))
        state = json.loads(json.dumps(made.state_dict()))
        again = webds.to_hf(webds.DatasetBuilder(numbered_shards(tmp_path)))
        again.load_state_dict(state)
        assert [row["cls"] for row in again] == list(range(stop, 20))


def test_it_pickles(tmp_path: Path) -> None:
    made = webds.to_hf(webds.DatasetBuilder(numbered_shards(tmp_path)))
    assert [row["cls"] for row in pickle.loads(pickle.dumps(made))] == list(range(20))


def test_what_is_for_datasets_to_do_is_refused(tmp_path: Path) -> None:
    builder = webds.DatasetBuilder(numbered_shards(tmp_path))
    for other, name in (
        (builder.shuffle(5), "shuffle"), (builder.shuffle(0), "shuffle"), (builder.batch(2), "batch"),
        (builder.repeat(2), "repeat"), (builder.take(2), "take"), (builder.pipe(iter), "pipe"),
        (webds.concat([builder, builder]), "a mix"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=name):
            webds.to_hf(other)
    with pytest.raises(TypeError, match="whose fields have names, not of int"):
        webds.to_hf(builder.decode().map(label))


def test_a_ledger_has_each_loss_once(tmp_path: Path) -> None:
    samples = [{"__key__": f"s{n}", "cls": n, **({"txt": "x"} if n != 1 else {})} for n in range(4)]
    builder = webds.DatasetBuilder(webds.MemorySource(samples)).rename(text="txt")
    made = webds.to_hf(builder.on_error("skip", ledger=tmp_path / "ledger"))
    assert [row["cls"] for row in made] == [0, 2, 3]
    (line,) = (tmp_path / "ledger").read_text().splitlines()
    assert json.loads(line)["key"] == "s1"


# What datasets opens by itself.


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("name", ["x-%d.tar", "x-%d.tar.gz"])
def test_datasets_opens_shards_that_we_write(tmp_path: Path, streaming: bool, name: str) -> None:
    with webds.ShardWriter(f"{tmp_path}/{name}", maxcount=3) as sink:
        for n in range(7):
            sink.write({
                "__key__": f"d/s{n}", "jpg": encoded(n, "jpeg"), "cls": n, "txt": f"ä {n}", "json": {"n": n},
                "seg.png": encoded(n + 1, "png"), "npy": np.arange(n + 1),
            })  # fmt: skip
    loaded = datasets.load_dataset(
        "webdataset", data_files=sorted(map(str, tmp_path.glob("x-*"))), split="train", streaming=streaming,
        cache_dir=str(tmp_path / "loaded"),
    )  # fmt: skip
    if streaming:
        assert loaded.num_shards == 3
    rows = list(loaded)
    assert [(row["__key__"], row["txt"], row["json"]) for row in rows] == [
        (f"d/s{n}", f"ä {n}", {"n": n}) for n in range(7)
    ]
    assert [int(row["cls"]) for row in rows] == list(range(7))
    assert [list(row["npy"]) for row in rows] == [list(range(n + 1)) for n in range(7)]
    assert [np.asarray(row["jpg"]).max() for row in rows] == list(range(7))
    assert [np.asarray(row["seg.png"]).max() for row in rows] == list(range(1, 8))
    back = list(webds.from_hf(loaded).build())
    assert [(sample["__key__"], sample["jpg"], sample["seg.png"]) for sample in back] == [
        (f"d/s{n}", encoded(n, "jpeg"), encoded(n + 1, "png")) for n in range(7)
    ]

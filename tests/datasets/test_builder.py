from __future__ import annotations

import io
import itertools
import json
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import attrs
import numpy as np
import pytest
import torch
from in_workers import drop, fails_on_three, is_odd, label, pairs_of
from PIL import Image
from shards import numbered_shards, sample_of, tar_bytes, write_members, write_shard
from typing_extensions import Buffer, override

import webds
from webds.abc import Decoder, Splitter
from webds.errors import (
    DecodeError,
    EmptyDatasetError,
    ErrorBudgetError,
    FieldError,
    OpenError,
    SampleError,
    TarFormatError,
    UntrustedDataError,
    UrlError,
)
from webds.order.dealing import Remainder
from webds.policy import Policy, PolicyLike, ignore_and_continue
from webds.testing.suite import settled
from webds.typing import Place

Raw = webds.DatasetBuilder[webds.Sample]


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Four shards of five samples each, numbered through."""
    return numbered_shards(tmp_path)


@pytest.fixture
def numbers(urls: list[str]) -> webds.DatasetBuilder[int]:
    """The numbers of the samples, 0 to 19."""
    return webds.DatasetBuilder(urls).map(label)


def _keys(builder: webds.DatasetBuilder[Any]) -> list[str]:
    return [sample["__key__"] for sample in builder.build()]


# The constructor.


def test_samples_are_their_key_and_their_fields_and_nothing_else(urls: list[str]) -> None:
    first = next(iter(webds.DatasetBuilder(urls).build()))
    assert first == {"__key__": "key00000", "cls": b"0", "txt": b"text 0"}


def test_urls_may_be_a_pattern_a_path_a_list_or_a_manifest(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=2, samples=1)
    manifest = tmp_path / "index.json"
    shards = [{"url": Path(url).name, "nsamples": 1} for url in urls]
    manifest.write_text(json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": shards}))
    both: list[Any] = [
        str(tmp_path / "shard-{000000..000001}.tar"),
        str(tmp_path / "shard-*.tar"),
        tmp_path / "shard-*.tar",
        urls,
        [Path(url) for url in urls],
        tuple(urls),
        str(manifest),
        manifest,
    ]
    for given in both:
        assert _keys(webds.DatasetBuilder(given)) == ["key00000", "key00001"], given
    assert _keys(webds.DatasetBuilder(Path(urls[1]))) == ["key00001"]


def test_urls_may_be_a_source() -> None:
    source = webds.MemorySource([1, 2, 3], shards=2)
    assert list(webds.DatasetBuilder(source).build()) == [1, 2, 3]
    with pytest.raises(TypeError, match="Source"):
        webds.DatasetBuilder(source, keys=webds.base_plus_ext)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # what is tested
    skips = webds.DatasetBuilder(source, on_error="skip").map(lambda n: 1 // (n - 1))
    assert list(skips.build()) == [1, 0]


def test_urls_are_looked_for_when_the_dataset_is_built(tmp_path: Path) -> None:
    builder = webds.DatasetBuilder(str(tmp_path / "*.tar"))
    with pytest.raises(UrlError, match="matches"):
        builder.build()
    numbered_shards(tmp_path, shards=1)
    assert len(_keys(builder)) == 5


def test_opener_may_be_an_opener_a_function_or_a_command(urls: list[str]) -> None:
    content = tar_bytes([("a.cls", b"1")])
    opened: list[str] = []

    def function(url: str) -> io.BytesIO:
        opened.append(url)
        return io.BytesIO(content)

    assert _keys(webds.DatasetBuilder(["x", "y"], opener=function)) == ["a", "a"]
    assert opened == ["x", "y"]
    assert len(_keys(webds.DatasetBuilder(urls, opener="cat {url}"))) == 20
    assert len(_keys(webds.DatasetBuilder(urls, opener=webds.FileOpener()))) == 20
    assert len(_keys(webds.DatasetBuilder(urls, opener=None))) == 20


def test_keys_replaces_the_rule(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("1.a.txt", b""), ("1.b.txt", b""), ("other", b"")])

    def up_to_last_dot(path: str) -> tuple[str | None, str | None]:
        key, dot, field = path.rpartition(".")
        return (key, field) if dot else (None, None)

    assert _keys(webds.DatasetBuilder(url)) == ["1"]
    assert _keys(webds.DatasetBuilder(url, keys=up_to_last_dot)) == ["1.a", "1.b"]


def test_missing_end_accepts_an_archive_without_end_blocks(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes([("a.cls", b"1")])[:1024])
    with pytest.raises(TarFormatError):
        _keys(webds.DatasetBuilder(path))
    assert _keys(webds.DatasetBuilder(path, missing_end="accept")) == ["a"]


def test_duplicates_says_what_becomes_of_a_field_that_comes_twice(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("a.cls", b"1"), ("a.cls", b"2"), ("b.cls", b"3")])
    with pytest.raises(SampleError):
        _keys(webds.DatasetBuilder(url))
    assert _keys(webds.DatasetBuilder(url, duplicates="skip")) == ["b"]
    assert list(webds.DatasetBuilder(url, duplicates="first").map(label).build()) == [1, 3]
    assert list(webds.DatasetBuilder(url, duplicates="last").map(label).build()) == [2, 3]


def test_on_error_of_the_constructor_is_the_policy(urls: list[str]) -> None:
    given: list[PolicyLike] = ["skip", ignore_and_continue, Policy(ignore_and_continue)]
    for on_error in given:
        builder: Raw = webds.DatasetBuilder(urls, on_error=on_error)
        assert len(list(builder.map(fails_on_three).build())) == 19
    with pytest.raises(ArithmeticError):
        list(webds.DatasetBuilder(urls).map(fails_on_three).build())
    with pytest.raises(ValueError, match="on_error='never'"):
        webds.DatasetBuilder(urls, on_error="never")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # what is tested


# Which samples, and in which order.


@attrs.frozen
class _Last(Splitter):
    """Every place reads the last ``n`` shards."""

    n: int
    axes = frozenset()

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return shards[-self.n :]


def test_split_says_who_reads_which_shards(numbers: webds.DatasetBuilder[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(numbers.split(_Last(1)).build()) == [15, 16, 17, 18, 19]
    assert list(numbers.split(lambda shards, place: shards[:1]).build()) == [0, 1, 2, 3, 4]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(numbers.build()) == [*range(5, 10), *range(15, 20)]
    assert list(numbers.split(webds.NoSplit()).build()) == list(range(20))
    with pytest.raises(TypeError, match="NoSplit"):
        numbers.split(webds.NoSplit)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested


def test_split_remainder_says_what_becomes_of_what_is_over(urls: list[str]) -> None:
    numbers = webds.DatasetBuilder(urls).indexed().map(label)
    ends: list[tuple[Remainder, int]] = [("drop", 18), ("pad", 21), ("uneven", 20)]
    for remainder, expected in ends:
        values = list(itertools.chain(*numbers.split(remainder=remainder).batch(3, collate=list).build()))
        assert values == [*range(20), 0][:expected]
    with pytest.raises(ValueError, match="expected one of 'drop', 'pad', 'uneven'"):
        numbers.split(remainder=cast("Any", "even"))
    with pytest.raises(TypeError, match="a splitter, which divides shards, or remainder="):
        cast("Any", numbers).split()
    with pytest.raises(TypeError, match="a splitter, which divides shards, or remainder="):
        cast("Any", numbers).split(webds.NoSplit(), remainder="drop")


def test_split_nodes_is_how_many_keep_to_a_share(urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    builder = webds.DatasetBuilder(urls).indexed().map(label).shuffle(0, window_shards=2).split(nodes=2)
    monkeypatch.setenv("WORLD_SIZE", "4")
    for rank, share in enumerate([range(10), range(10), range(10, 20), range(10, 20)]):
        monkeypatch.setenv("RANK", str(rank))
        dataset = builder.build()
        assert len(dataset) == 5
        for _ in range(2):
            assert set(dataset) <= set(share)
    with pytest.raises(ValueError, match=r"split\(nodes=0\)"):
        builder.split(nodes=0)


def test_plan_for_world_size_and_workers_are_who_reads(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls).indexed().batch(3)
    assert builder.plan_for().batches == (7,)
    plan = builder.plan_for(world_size=2, workers=3)
    assert (plan.batches, plan.delivered, plan.workers) == ((4, 4), (10, 10), 3)
    assert "in each of 6 processes" in str(plan)


def test_plan_for_batch_size_is_in_place_of_that_of_batch(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls).indexed().split(remainder="pad")
    assert builder.plan_for().batches == (20,)
    for one in (builder, builder.batch(3)):
        plan = one.plan_for(batch_size=8)
        assert (plan.batches, plan.padded, plan.batch_size) == ((3,), 4, 8)


def test_plan_for_nodes_is_what_ranks_are_on(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls).indexed().batch(5)
    bytes_of_one = builder.plan_for(world_size=4).bytes_per_node
    each = builder.plan_for(world_size=4, nodes=4).bytes_per_node
    assert bytes_of_one is not None
    assert each is not None
    assert (len(bytes_of_one), len(each), sum(each)) == (1, 4, bytes_of_one[0])
    assert builder.split(nodes=2).plan_for(world_size=4).nodes == 2


def test_plan_for_epoch_is_which_order(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls).indexed().shuffle(0).batch(2)
    first = builder.select_samples(lambda info: info.url == urls[0] or info.ordinal < 2)  # 5, 2, 2 and 2 samples
    held = {first.plan_for(world_size=2, nodes=2, epoch=epoch).bytes_per_node for epoch in range(6)}
    assert len(held) > 1


def test_shuffle_window_shards_is_how_many_are_shuffled_together(urls: list[str]) -> None:
    numbers = webds.DatasetBuilder(urls).indexed().map(label)
    values = list(numbers.shuffle(window_shards=2, shards=False).build())
    assert sorted(values[:10]) == list(range(10))
    assert sorted(values[10:]) == list(range(10, 20))
    assert values[:10] != list(range(10))
    assert max(values[:5]) >= 5, "across shards"


def test_shuffle_size_bounds_how_early_a_value_comes(numbers: webds.DatasetBuilder[int]) -> None:
    for size in (1, 2, 7, 100):
        values = list(numbers.shuffle(size, shards=False).build())
        assert sorted(values) == list(range(20))
        assert all(value - place < size for place, value in enumerate(values))
    assert list(numbers.shuffle(0, shards=False).build()) == list(range(20))
    assert list(numbers.shuffle(shards=False).build()) != list(range(20))


def test_shuffle_seed_is_the_order(numbers: webds.DatasetBuilder[int]) -> None:
    orders = [list(numbers.shuffle(10, seed=seed).build()) for seed in (0, 1, 0, -5)]
    assert orders[0] == orders[2]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(20)) for order in orders)


def test_shuffle_shards_permutes_them_as_a_whole(numbers: webds.DatasetBuilder[int]) -> None:
    values = list(numbers.shuffle(0, seed=1).build())
    assert values != list(range(20))
    shards = [values[i : i + 5] for i in range(0, 20, 5)]
    assert sorted(shards) == [list(range(i, i + 5)) for i in range(0, 20, 5)]


def test_shuffle_initial_lets_values_go_earlier(urls: list[str]) -> None:
    def read_before_the_first(**options: Any) -> int:
        read: list[Any] = []

        def note(sample: webds.Sample) -> webds.Sample:
            read.append(sample)
            return sample

        builder = webds.DatasetBuilder(urls).map(note)
        next(iter(builder.shuffle(10, shards=False, **options).build()))
        return len(read)

    assert read_before_the_first() == 10
    assert read_before_the_first(initial=3) <= 4


def test_shuffle_max_bytes_bounds_the_buffer(urls: list[str]) -> None:
    def held_at_most(**options: Any) -> int:
        held = most = 0

        def come(sample: Any) -> bytes:
            nonlocal held, most
            held += 1
            most = max(held, most)
            return bytes(1000)

        for _ in webds.DatasetBuilder(urls).map(come).shuffle(15, **options).build():
            held -= 1
        return most

    assert held_at_most() == 15
    assert held_at_most(max_bytes=5000) <= 6


def test_two_shuffles_of_one_seed_do_not_undo_each_other(numbers: webds.DatasetBuilder[int]) -> None:
    once = list(numbers.shuffle(20, shards=False).build())
    again = webds.DatasetBuilder(webds.MemorySource(once)).shuffle(20, shards=False)
    twice = list(numbers.shuffle(20, shards=False).shuffle(20, shards=False).build())
    assert sorted(twice) == list(range(20))
    assert twice != list(again.build()), "the second buffer draws numbers of its own"


@pytest.mark.parametrize("options", [{"size": -1}, {"initial": 0}, {"max_bytes": 0}])
def test_shuffle_refuses_what_makes_no_buffer(numbers: webds.DatasetBuilder[int], options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"shuffle\\({next(iter(options))}="):
        numbers.shuffle(**options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # mypy takes the values for bool too


def test_repeat_n_is_the_number_of_passes(numbers: webds.DatasetBuilder[int]) -> None:
    assert list(numbers.repeat(2).build()) == [*range(20), *range(20)]
    assert list(numbers.repeat().take(45).build()) == [*range(20), *range(20), *range(5)]
    with pytest.raises(ValueError, match="repeat"):
        numbers.repeat(0)


def test_take_n_is_the_number_of_values(numbers: webds.DatasetBuilder[int]) -> None:
    assert list(numbers.take(7).build()) == list(range(7))
    assert list(numbers.take(0).build()) == []
    with pytest.raises(ValueError, match="take"):
        numbers.take(-1)


# What becomes of a sample.


def _png(colour: int = 7) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (colour, colour, colour)).save(stream, "png")
    return stream.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> Raw:
    return webds.DatasetBuilder(write_shard(tmp_path / "x.tar", [{"__key__": "a", "png": _png(), "cls": "3"}]))


def test_decode_spec_is_how_images_are_decoded(images: Raw) -> None:
    def decoded(spec: str | None) -> Any:
        (sample,) = images.decode(spec).build()
        assert sample["cls"] == 3
        return sample["png"]

    assert decoded(None) == _png()
    assert decoded("rgb").shape == (3, 4, 3)
    assert decoded("torchrgb8").dtype == torch.uint8
    assert decoded("PIL").size == (4, 3)
    with pytest.raises(ValueError, match="torchrgb9"):
        images.decode("torchrgb9")
    with pytest.raises(TypeError, match="with_decoder"):
        images.decode(len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested


def test_decode_size_is_what_images_are_brought_to(images: Raw) -> None:
    def shape(spec: str, size: int | tuple[int, int] | None) -> tuple[int, ...]:
        (sample,) = images.decode(spec, size=size).build()
        assert sample["cls"] == 3
        return tuple(sample["png"].shape)

    assert shape("rgb8", None) == (3, 4, 3)
    assert shape("rgb8", 6) == (6, 8, 3)
    assert shape("torchrgb8", (5, 7)) == (3, 5, 7)
    (mine,) = images.decode("rgb8", size=6).with_decoder("png", webds.ImageCodec("l8")).build()
    assert mine["png"].shape == (3, 4)
    assert "rgb8, resized to 6 pixels on the shorter side; " in images.decode("rgb8", size=6).explain()
    for size in (0, (5,), (5, 0), "5"):
        with pytest.raises(ValueError, match=r"size=.*\(height, width\)"):
            images.decode("rgb8", size=cast("Any", size))
    with pytest.raises(ValueError, match=r"size=6.*Name a specification"):
        images.decode(size=6)


def test_decode_threads_is_how_many_threads_decode(images: Raw) -> None:
    def thread(threads: int) -> str:
        here = images.decode(threads=threads).with_decoder("cls", lambda _: threading.current_thread().name)
        return str(next(iter(here.build()))["cls"])

    assert thread(0) == threading.current_thread().name
    assert thread(1).startswith("webds-decode")
    assert "in 2 threads; " in images.decode("rgb8", threads=2).explain()
    assert "threads; " not in images.decode("rgb8").explain()
    with pytest.raises(ValueError, match="threads=-1"):
        images.decode(threads=-1)


def test_decode_may_follow_where_fields_are_named(images: Raw) -> None:
    assert [list(sample) for sample in images.select("cls").decode().build()] == [["__key__", "cls"]]


def test_select_fields_are_those_that_stay(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls)
    assert list(next(iter(builder.select("none;txt").build()))) == ["__key__", "txt"]
    assert list(next(iter(builder.select("txt", "cls").build()))) == ["__key__", "txt", "cls"]
    for wrong in ((), ("txt cls",), ("txt;",)):
        with pytest.raises(ValueError, match=r"select|jpg;png"):
            builder.select(*wrong).build()


def test_rename_new_old_are_names(urls: list[str]) -> None:
    renamed = next(iter(webds.DatasetBuilder(urls).rename(label="class;cls").build()))
    assert renamed == {"__key__": "key00000", "label": b"0", "txt": b"text 0"}
    with pytest.raises(FieldError, match="'jpg'"):
        list(webds.DatasetBuilder(urls).rename(image="jpg").build())


def test_map_f_makes_the_values(urls: list[str]) -> None:
    assert list(webds.DatasetBuilder(urls).map(label).map(str).build()) == [str(n) for n in range(20)]
    with pytest.raises(TypeError, match="map"):
        webds.DatasetBuilder(urls).map("label")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested


def test_map_dict_fs_are_for_their_fields(urls: list[str]) -> None:
    changed = next(iter(webds.DatasetBuilder(urls).map_dict(cls=int, txt=len).build()))
    assert changed == {"__key__": "key00000", "cls": 0, "txt": 6}


def test_map_tuple_fs_are_for_their_elements(urls: list[str]) -> None:
    pairs = webds.DatasetBuilder(urls).to_tuple("cls", "txt").map_tuple(int, len)
    assert next(iter(pairs.build())) == (0, 6)


def test_filter_predicate_says_what_stays(numbers: webds.DatasetBuilder[int]) -> None:
    assert list(numbers.filter(is_odd).build()) == list(range(1, 20, 2))
    with pytest.raises(EmptyDatasetError):
        list(numbers.filter(drop).build())


def test_associate_table_is_merged_in(urls: list[str]) -> None:
    table = {f"key{n:05d}": {"squared": n * n} for n in range(20)}
    for given in (table, table.__getitem__):
        squares = webds.DatasetBuilder(urls).associate(given).to_tuple("squared")
        assert [square for (square,) in squares.build()] == [n * n for n in range(20)]


def test_to_tuple_fields_are_the_elements(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls)
    first = next(iter(builder.to_tuple("jpg;txt", "cls", "__key__", "__url__").build()))
    assert first == (b"text 0", b"0", "key00000", urls[0])
    with pytest.raises(ValueError, match="no spaces"):
        builder.to_tuple("jpg cls")
    with pytest.raises(ValueError, match="names no field"):
        builder.to_tuple()


def test_to_tuple_missing_is_an_error_a_skip_or_a_value(tmp_path: Path) -> None:
    url = write_shard(tmp_path / "x.tar", [{"__key__": "a", "cls": "1"}, {"__key__": "b", "txt": "2"}])
    builder = webds.DatasetBuilder(url)
    with pytest.raises(FieldError):
        list(builder.to_tuple("cls").build())
    assert list(builder.to_tuple("cls", missing="skip").build()) == [(b"1",)]
    assert list(builder.to_tuple("cls", missing=None).build()) == [(b"1",), (None,)]


class Item(NamedTuple):
    number: Annotated[int, webds.field("cls")]
    text: Annotated[str, webds.field("txt")]


def test_into_cls_is_made_of_each_sample(urls: list[str]) -> None:
    assert next(iter(webds.DatasetBuilder(urls).into(Item).build())) == Item(0, "text 0")
    with pytest.raises(TypeError, match="into"):
        webds.DatasetBuilder(urls).into(dict)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]  # what is tested


def test_into_takes_decoders_from_the_annotation_from_with_decoder_and_what_decode_made(images: Raw) -> None:
    @attrs.frozen
    class Photo:
        image: Annotated[torch.Tensor, webds.field("jpg;png", "torchrgb8")]
        label: Annotated[str, webds.field("cls", lambda data: f"class {int(data)}")]

    (photo,) = images.into(Photo).build()
    assert photo.image.shape == (3, 3, 4)
    assert photo.label == "class 3"
    (decoded_before,) = images.decode("torchrgb8").with_decoder("cls", bytes.decode).into(Photo).build()
    assert torch.equal(decoded_before.image, photo.image)
    assert decoded_before.label == "3"

    @attrs.frozen
    class Plain:
        cls: str

    (plain,) = images.with_decoder("cls", bytes.decode).into(Plain).build()
    assert plain.cls == "3"


def test_batch_n_is_the_size(numbers: webds.DatasetBuilder[int]) -> None:
    assert [len(batch) for batch in numbers.batch(8).build()] == [8, 8, 4]
    with pytest.raises(ValueError, match="batch"):
        numbers.batch(0)


def test_batch_partial_false_drops_what_is_left_over(numbers: webds.DatasetBuilder[int]) -> None:
    assert [len(batch) for batch in numbers.batch(8, partial=False).build()] == [8, 8]


def test_batch_collate_makes_the_batch(numbers: webds.DatasetBuilder[int]) -> None:
    assert list(numbers.batch(10, collate=sum).build()) == [45, 145]
    first = next(iter(numbers.batch(3).build()))
    assert first.tolist() == [0, 1, 2]
    assert first.dtype == torch.int64


def test_unbatch_takes_batches_apart(numbers: webds.DatasetBuilder[int]) -> None:
    assert [int(value) for value in numbers.batch(8).unbatch().build()] == list(range(20))


def test_pipe_stage_gets_the_whole_iterator(numbers: webds.DatasetBuilder[int]) -> None:
    assert list(numbers.pipe(pairs_of).build()) == [(n, n + 1) for n in range(0, 20, 2)]


# How.


def test_on_error_policy_holds_for_the_whole_chain(numbers: webds.DatasetBuilder[int]) -> None:
    expected = [n for n in range(20) if n != 3]
    assert list(numbers.on_error("skip").map(fails_on_three).build()) == expected
    assert list(numbers.map(fails_on_three).on_error("skip").build()) == expected
    assert list(numbers.map(fails_on_three).on_error("stop").build()) == [0, 1, 2]
    with pytest.warns(RuntimeWarning, match="three is too much"):
        assert list(numbers.map(fails_on_three).on_error("warn").build()) == expected
    with pytest.raises(ArithmeticError):
        list(numbers.on_error("skip").map(fails_on_three).on_error("raise").build())
    asked: list[Exception] = []

    def handler(error: Exception) -> bool:
        asked.append(error)
        return True

    assert list(numbers.map(fails_on_three).on_error(handler).build()) == expected
    assert [type(error) for error in asked] == [ArithmeticError]


def test_on_error_max_errors_is_the_budget(numbers: webds.DatasetBuilder[int]) -> None:
    failing = numbers.map(lambda n: 1 // (n % 5))
    assert len(list(failing.on_error("skip", max_errors=4).build())) == 16
    with pytest.raises(ErrorBudgetError, match="4 errors") as caught:
        list(failing.on_error("skip", max_errors=3).build())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(ErrorBudgetError):
        list(failing.on_error("skip", max_errors=0).build())
    with pytest.raises(ValueError, match="max_errors=-1"):
        failing.on_error("skip", max_errors=-1)


def _served(urls: list[str], opened: list[str]) -> Raw:
    """Return a builder of shards that are no local files, which notes what it opens."""

    def open_(url: str) -> io.BytesIO:
        opened.append(url)
        return io.BytesIO(Path(url.removeprefix("mine://")).read_bytes())

    return webds.DatasetBuilder([f"mine://{url}" for url in urls]).with_opener("mine", open_)


def test_cache_directory_is_where_copies_are(tmp_path: Path, urls: list[str]) -> None:
    opened: list[str] = []
    builder = _served(urls, opened).cache(tmp_path / "cache")
    expected = list(_served(urls, []).build())
    assert [list(builder.build()) for _ in range(3)] == [expected] * 3
    assert len(opened) == 4
    assert len(list((tmp_path / "cache").iterdir())) == 4
    assert f"in {tmp_path}/cache" in builder.explain()
    later = webds.DatasetBuilder("mine://x").cache(tmp_path).with_opener("mine", lambda url: io.BytesIO(bytes(1024)))
    assert list(later.build()) == [], "wherever in the chain the opener is named"
    with pytest.raises(TypeError, match=r"cache.*Source"):
        webds.DatasetBuilder(webds.MemorySource([1])).cache(tmp_path)


def test_cache_max_bytes_bounds_the_copies(tmp_path: Path, urls: list[str]) -> None:
    size = Path(urls[0]).stat().st_size
    builder = _served(urls, []).cache(tmp_path / "cache", max_bytes=2 * size)
    assert len(_keys(builder)) == 20
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert f"{2 * size} bytes at most" in builder.explain()
    with pytest.raises(ValueError, match="max_bytes"):
        _served(urls, []).cache(tmp_path, max_bytes=0)


def test_cache_validate_size_fetches_what_has_another_size(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    write_shard(path, map(sample_of, range(5)))
    kept = webds.DatasetBuilder(path).cache(tmp_path / "cache", local=True)
    assert len(_keys(kept)) == 5
    write_shard(path, map(sample_of, range(50)))
    assert len(_keys(kept)) == 5, "a URL is immutable unless one says otherwise"
    assert len(_keys(kept.cache(tmp_path / "cache", local=True, validate="size"))) == 50
    with pytest.raises(ValueError, match="validate"):
        kept.cache(tmp_path, validate=cast("Any", "etag"))


def test_cache_local_copies_local_files_too(tmp_path: Path, urls: list[str]) -> None:
    assert len(_keys(webds.DatasetBuilder(urls).cache(tmp_path / "cache"))) == 20
    assert not (tmp_path / "cache").exists()
    assert len(_keys(webds.DatasetBuilder(urls).cache(tmp_path / "cache", local=True))) == 20
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_prefetch_shards_is_how_many_are_opened_early(urls: list[str]) -> None:
    for shards in (1, 2):
        opened: list[str] = []
        builder = _served(urls, opened).prefetch(shards)
        iterator = iter(builder.build())
        next(iterator)
        assert settled(lambda opened=opened, shards=shards: len(opened) == 1 + shards, 10)  # type: ignore[misc]  # both
        assert [sample["__key__"] for sample in iterator] == _keys(_served(urls, []))[1:]
        assert len(opened) == 4
        assert f"{shards} shards ahead" in builder.explain()
    with pytest.raises(ValueError, match="shards=0"):
        _served(urls, []).prefetch(shards=0)
    with pytest.raises(TypeError, match=r"prefetch.*Source"):
        webds.DatasetBuilder(webds.MemorySource([1])).prefetch()


def test_prefetch_max_bytes_bounds_what_is_read_early(urls: list[str]) -> None:
    streams: dict[str, io.BytesIO] = {}  # threads may open them in any order

    def open_(url: str) -> io.BytesIO:
        streams[url] = io.BytesIO(Path(urls[0]).read_bytes())
        return streams[url]

    builder = webds.DatasetBuilder(["mine://a", "mine://b"]).with_opener("mine", open_).prefetch(1, max_bytes=4096)
    iterator = iter(builder.build())
    next(iterator)
    assert settled(lambda: len(streams) == 2 and streams["mine://b"].tell() == 2048, 10)
    assert len(list(iterator)) == 9
    with pytest.raises(ValueError, match="max_bytes=3"):
        builder.prefetch(max_bytes=3)


def test_on_error_max_fraction_is_the_part_that_may_fail(numbers: webds.DatasetBuilder[int]) -> None:
    failing = numbers.map(lambda n: 1 // (n % 5))
    assert len(list(failing.on_error("skip", max_fraction=0.2).build())) == 16
    with pytest.raises(ErrorBudgetError, match=r"4 errors in 20 samples of this iteration, and max_fraction=0\.19"):
        list(failing.on_error("skip", max_fraction=0.19).build())
    for wrong in (0, 1, -0.1):
        with pytest.raises(ValueError, match="max_fraction"):
            failing.on_error("skip", max_fraction=wrong)


def test_on_error_ledger_is_the_file_that_it_is_written_down_in(
    numbers: webds.DatasetBuilder[int], tmp_path: Path
) -> None:
    path = tmp_path / "skipped.jsonl"
    failing = numbers.map(lambda n: 1 // (n % 5)).on_error("skip", ledger=path)
    assert not path.exists()
    list(failing.build())
    assert path.read_text().count('"error": "ZeroDivisionError') == 4
    assert f"written down in {path}" in failing.explain()
    with pytest.raises(webds.WriteError, match="cannot be written"):
        failing.on_error("skip", ledger=tmp_path / "absent" / "x.jsonl").build()


def test_measure_says_where_the_time_goes(numbers: webds.DatasetBuilder[int]) -> None:
    dataset = numbers.measure().build()
    assert list(dataset) == list(numbers.build())
    assert dataset.stats().samples == 20
    assert "measure" in dataset.explain()
    assert numbers.build().stats().stages == []


def test_verify_is_what_must_be_as_a_manifest_says(urls: list[str], tmp_path: Path) -> None:
    manifest = tmp_path / "x.json"
    entry = {"url": urls[0], "filesize": Path(urls[0]).stat().st_size, "md5sum": "0" * 32}
    manifest.write_text(json.dumps({"__kind__": "wids-shard-index-v1", "shardlist": [entry]}))
    assert len(_keys(webds.DatasetBuilder(manifest))) == len(_keys(webds.DatasetBuilder(manifest, verify=None))) == 5
    with pytest.raises(OpenError, match="the md5 of its"):
        _keys(webds.DatasetBuilder(manifest, verify="hash"))
    manifest.write_text(manifest.read_text().replace('"filesize": ', '"filesize": 1'))
    with pytest.raises(OpenError, match="were expected"):
        _keys(webds.DatasetBuilder(manifest, verify="size"))
    with pytest.raises(TypeError, match="verify"):
        webds.DatasetBuilder(webds.MemorySource([1]), verify="hash")  # type: ignore[call-overload]


def test_with_opener_scheme_and_opener_add_to_the_default(urls: list[str]) -> None:
    content = tar_bytes([("a.cls", b"1")])
    builder: Raw = webds.DatasetBuilder([urls[0], "mine://x"])
    with pytest.raises(OpenError, match="mine"):
        _keys(builder)
    added = builder.with_opener("mine", lambda url: io.BytesIO(content))
    assert _keys(added)[-2:] == ["key00004", "a"]
    with pytest.raises(TypeError, match="opener="):
        webds.DatasetBuilder(urls, opener=webds.FileOpener()).with_opener("mine", webds.FileOpener())
    with pytest.raises(TypeError, match="Source"):
        webds.DatasetBuilder(webds.MemorySource([1])).with_opener("mine", webds.FileOpener())


def test_with_opener_of_pipe_trusts_commands_out_of_a_list(tmp_path: Path, urls: list[str]) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"pipe:cat {urls[0]}\n")
    with pytest.raises(UntrustedDataError, match="with_opener"):
        webds.DatasetBuilder(str(listed)).build()
    assert len(_keys(webds.DatasetBuilder(str(listed)).with_opener("pipe", webds.PipeOpener()))) == 5


@attrs.frozen
class _Upper(Decoder[str]):
    @override
    def decode(self, data: Buffer, field: str) -> str:
        return bytes(data).decode().upper()


def test_with_decoder_ext_and_decoder_win_over_the_built_in_ones(urls: list[str]) -> None:
    for decoder in (_Upper(), lambda data: data.decode().upper()):
        before = webds.DatasetBuilder(urls).with_decoder("txt", decoder).decode().to_tuple("txt")
        after = webds.DatasetBuilder(urls).decode().to_tuple("txt").with_decoder("TXT", decoder)
        assert next(iter(before.build())) == next(iter(after.build())) == ("TEXT 0",)
    with pytest.raises(TypeError, match="decoder"):
        webds.DatasetBuilder(urls).with_decoder("txt", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what is tested


def test_with_decoder_may_name_a_whole_field(tmp_path: Path) -> None:
    url = write_shard(tmp_path / "x.tar", [{"__key__": "a", "left.txt": "l", "right.txt": "r"}])
    builder = webds.DatasetBuilder(url).decode().to_tuple("left.txt", "right.txt").with_decoder("left.txt", _Upper())
    assert next(iter(builder.build())) == ("L", "r")


def test_a_decoder_s_error_is_that_of_the_sample(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls).with_decoder("cls", fails_on_three_bytes).decode()
    with pytest.raises(ArithmeticError):
        list(builder.build())
    assert len(_keys(builder.on_error("skip"))) == 19


def fails_on_three_bytes(data: bytes) -> int:
    return int(fails_on_three(int(data)))


def test_undecodable_bytes_are_a_decode_error(tmp_path: Path) -> None:
    url = write_shard(tmp_path / "x.tar", [{"__key__": "a", "json": "{"}])
    with pytest.raises(DecodeError) as caught:
        list(webds.DatasetBuilder(url).decode().build())
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == (url, "a", "json", "decode")
    assert isinstance(error.__cause__, ValueError)


# Finish.


def test_build_makes_independent_datasets(numbers: webds.DatasetBuilder[int]) -> None:
    shuffled = numbers.shuffle(20)
    first, second = shuffled.build(), shuffled.build()
    assert list(first) == list(second), "both are in epoch 0"
    assert list(first) != list(numbers.build())


def test_epochs_of_one_dataset_differ_and_can_be_set(numbers: webds.DatasetBuilder[int]) -> None:
    dataset = numbers.shuffle(20).build()
    epochs = [list(dataset) for _ in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    dataset.set_epoch(1)
    assert list(dataset) == epochs[1]
    assert list(dataset) == epochs[2]


def test_a_builder_is_frozen_and_shows_little(numbers: webds.DatasetBuilder[int]) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        numbers.plan = numbers.plan  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # what is tested
    assert "DatasetBuilder" in repr(numbers)


def test_of_wraps_a_plan(numbers: webds.DatasetBuilder[int]) -> None:
    assert list(webds.DatasetBuilder[int].of(numbers.plan).build()) == list(range(20))


def test_a_dataset_s_builder_derives_more(numbers: webds.DatasetBuilder[int]) -> None:
    assert list(numbers.build().builder.map(str).take(2).build()) == ["0", "1"]


def test_loader_num_workers_and_options(numbers: webds.DatasetBuilder[int]) -> None:
    loader = numbers.loader(num_workers=2, persistent_workers=True, prefetch_factor=3)
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor) == (2, True, 3)
    assert sorted(loader) == list(range(20))
    assert list(numbers.loader()) == list(range(20))


def test_nothing_is_opened_before_the_iteration(urls: list[str]) -> None:
    opened: list[str] = []

    def note(url: str) -> io.BytesIO:
        opened.append(url)
        return io.BytesIO(Path(url).read_bytes())

    dataset = webds.DatasetBuilder(urls, opener=note).decode("rgb").shuffle(3).to_tuple("cls").batch(2).build()
    dataset.explain()
    iterator = iter(dataset)
    assert opened == []
    next(iterator)
    assert len(opened) == 1


def test_arrays_come_as_they_were_written(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    with webds.TarWriter(str(tmp_path / "x.tar")) as sink:
        sink.write({"__key__": "a", "npy": array})
    ((value,),) = webds.DatasetBuilder(tmp_path / "x.tar").decode().to_tuple("npy").build()
    assert value.dtype == np.float16
    assert np.array_equal(value, array)


def test_stats_tell_what_was_left_out(numbers: webds.DatasetBuilder[int], urls: list[str]) -> None:
    dataset = numbers.map(fails_on_three).on_error("skip").build()
    assert dataset.stats().losses == []
    list(dataset)
    stats = dataset.stats()
    assert stats.counts == {"map": {urls[0]: 1}}
    (loss,) = stats.losses
    assert (loss.stage, loss.url, loss.key, loss.error) == (
        "map", urls[0], "key00003", "ArithmeticError: three is too much",
    )  # fmt: skip


def test_warnings_come_once_in_a_while(urls: list[str]) -> None:
    def fails(sample: Any) -> Iterator[Any]:
        raise ArithmeticError("always")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(webds.DatasetBuilder([*urls] * 10).map(fails).on_error("warn").build())
    assert 3 <= len(caught) <= 8
    assert "100 such errors" in str(caught[-1].message)


def test_samples_of_the_helper_are_those_of_the_shards() -> None:
    assert sample_of(3) == {"__key__": "key00003", "cls": "3", "txt": "text 3"}


def test_its_repr_tells_source_and_stages_without_secrets() -> None:
    builder = webds.DatasetBuilder("https://user:secret@host/x-{0..3}.tar?token=abc").decode().to_tuple("cls")
    assert repr(builder).startswith("DatasetBuilder(TarSource(urls='https://***@host/x-{0..3}.tar?***'")
    assert repr(builder).endswith(" → decode → to_tuple")
    assert "secret" not in repr(builder)
    assert "abc" not in repr(builder)


def test_select_samples_predicate_is_asked_before_data_is_read(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    chosen = webds.DatasetBuilder(urls).indexed().select_samples(lambda info: info.key.endswith("7"))
    assert len(chosen.build()) == 2
    assert [sample["__key__"] for sample in chosen.build()] == ["key00007", "key00017"]


_LEFT = webds.MemorySource([{"__key__": "a", "x": 1}, {"__key__": "b", "x": 2}])


def test_join_companions_bring_their_fields() -> None:
    source = webds.MemorySource([{"__key__": "b", "y": 20}, {"__key__": "a", "y": 10}])
    for companions in (source, webds.DatasetBuilder(source)):
        joined = webds.DatasetBuilder(_LEFT).join(companions)
        assert list(joined.build()) == [{"__key__": "a", "x": 1, "y": 10}, {"__key__": "b", "x": 2, "y": 20}]


def test_join_by_makes_the_key_of_the_companion() -> None:
    companions = webds.MemorySource([{"__key__": "A", "y": 1}, {"__key__": "B", "y": 2}])
    joined = webds.DatasetBuilder(_LEFT).join(companions, by=str.upper)
    assert [(sample["x"], sample["y"]) for sample in joined.build()] == [(1, 1), (2, 2)]


def test_join_missing_is_an_error_a_skip_or_nothing() -> None:
    companions = webds.MemorySource([{"__key__": "b", "y": 2}])
    builder = webds.DatasetBuilder(_LEFT)
    with pytest.raises(webds.SampleError, match="no companion"):
        list(builder.join(companions).build())
    assert [sample["x"] for sample in builder.join(companions, missing="skip").build()] == [2]
    assert [sample.get("y") for sample in builder.join(companions, missing="keep").build()] == [None, 2]
    with pytest.raises(ValueError, match="missing='drop'"):
        builder.join(companions, missing="drop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_join_collision_says_whose_field_it_is() -> None:
    companions = webds.MemorySource([{"__key__": "a", "x": 10}, {"__key__": "b", "x": 20}])
    builder = webds.DatasetBuilder(_LEFT)
    with pytest.raises(webds.FieldError, match="both have this field") as caught:
        list(builder.join(companions).build())
    assert caught.value.field == "x"
    assert [sample["x"] for sample in builder.join(companions, collision="left").build()] == [1, 2]
    assert [sample["x"] for sample in builder.join(companions, collision="right").build()] == [10, 20]

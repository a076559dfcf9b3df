"""`WebDataset`, the older system's front door that decodes and makes tuples as its arguments say."""

from __future__ import annotations

import io
import itertools
import logging
import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from shards import numbered_shards, write_shard

import webds


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Four shards of five samples, numbered through."""
    return numbered_shards(tmp_path)


def png_of(number: int) -> bytes:
    """Return a 4x5 image, all of whose pixels are ``number``."""
    pixels = np.full((4, 5, 3), number, np.uint8)
    return webds.ImageCodec("rgb8").encode(pixels, "png")


@pytest.fixture
def images(tmp_path: Path) -> str:
    """Six samples with a png, every second one called image.png, a label and JSON."""
    samples: list[dict[str, bytes | str]] = [
        {"__key__": f"s{i}", ("png" if i % 2 == 0 else "left.png"): png_of(i), "cls": str(i), "json": f'{{"n": {i}}}'}
        for i in range(6)
    ]
    return write_shard(tmp_path / "images.tar", samples)


class TestDecoder:
    def test_rgb_is_the_default(self, images: str) -> None:
        sample = next(iter(webds.WebDataset(images)))
        assert sample["cls"] == 0
        assert sample["json"] == {"n": 0}
        image: npt.NDArray[np.float32] = sample["png"]
        assert image.dtype == np.float32
        assert image.shape == (4, 5, 3)

    def test_fields_are_decoded_by_their_last_extension(self, images: str) -> None:
        samples = list(webds.WebDataset(images, decoder="rgb8"))
        assert samples[1]["left.png"].dtype == np.uint8
        assert [int(next(s[f] for f in ("png", "left.png") if f in s).max()) for s in samples] == list(range(6))

    @pytest.mark.parametrize(
        ("spec", "kind"), [("rgb8", np.ndarray), ("pil", Image.Image), ("torchrgb8", torch.Tensor), ("L", np.ndarray)]
    )
    def test_a_specification_by_name(self, images: str, spec: str, kind: type) -> None:
        assert isinstance(next(iter(webds.WebDataset(images, decoder=spec)))["png"], kind)

    def test_true_is_rgb(self, images: str) -> None:
        sample = next(iter(webds.WebDataset(images, decoder=True)))
        assert sample["png"].dtype == np.float32

    @pytest.mark.parametrize("nothing", [False, None])
    def test_false_and_none_decode_nothing(self, images: str, nothing: bool | None) -> None:
        assert next(iter(webds.WebDataset(images, decoder=nothing)))["cls"] == b"0"

    def test_a_function_gets_the_whole_sample(self, images: str) -> None:
        dataset = webds.WebDataset(images, decoder=lambda sample: {"fields": sorted(sample)})
        assert next(iter(dataset)) == {"__key__": "s0", "fields": ["__key__", "cls", "json", "png"]}

    def test_a_dict_decodes_just_its_extensions(self, images: str) -> None:
        sample = next(iter(webds.WebDataset(images, decoder={"cls": float})))
        assert (sample["cls"], sample["json"]) == (0.0, b'{"n": 0}')

    def test_an_unknown_specification_is_an_error(self, images: str) -> None:
        with pytest.raises(ValueError, match="rbg"):
            webds.WebDataset(images, decoder="rbg")


class TestExtensions:
    def test_one_text_with_alternatives(self, images: str) -> None:
        tuples = list(webds.WebDataset(images, extensions="png;left.png cls", decoder="rgb8"))
        assert [(int(image.max()), number) for image, number in tuples] == [(i, i) for i in range(6)]
        assert all(type(values) is tuple for values in tuples)

    def test_a_list_of_lists(self, images: str) -> None:
        dataset = webds.WebDataset(images, extensions=[["png", "left.png"], ["cls"], ["json"]])
        assert [values[1:] for values in dataset] == [(i, {"n": i}) for i in range(6)]

    def test_a_list_of_texts(self, images: str) -> None:
        assert list(webds.WebDataset(images, extensions=["cls", "json;cls"]))[3] == (3, {"n": 3})

    def test_one_field_makes_tuples_of_one(self, urls: list[str]) -> None:
        assert list(itertools.islice(webds.WebDataset(urls, extensions="cls"), 2)) == [(0,), (1,)]

    def test_none_yields_samples(self, urls: list[str]) -> None:
        assert next(iter(webds.WebDataset(urls, extensions=None))) == {"__key__": "key00000", "cls": 0, "txt": "text 0"}

    def test_a_missing_field_is_a_value_error(self, images: str) -> None:
        with pytest.raises(ValueError, match="'png'"):
            list(webds.WebDataset(images, extensions="png cls"))


class TestTransforms:
    def test_one_for_each_element(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(urls, extensions="cls txt", transforms=[float, len])
        assert next(iter(dataset)) == (0.0, 6)

    def test_none_leaves_an_element_as_it_is(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(urls, extensions="cls txt", transforms=[None, str.upper])
        assert next(iter(dataset)) == (0, "TEXT 0")

    def test_a_shorter_list_begins_again(self, urls: list[str]) -> None:
        def double(number: int) -> int:
            return 2 * number

        dataset = webds.WebDataset(urls, extensions="cls cls cls cls cls", transforms=[None, double])
        assert list(itertools.islice(dataset, 2, 3)) == [(2, 4, 2, 4, 2)]
        assert list(itertools.islice(webds.WebDataset(urls, extensions="cls cls", transforms=[double]), 2, 3)) == [
            (4, 4)
        ]

    @pytest.mark.parametrize("nothing", [None, []])
    def test_none_and_an_empty_list_transform_nothing(self, urls: list[str], nothing: list[Any] | None) -> None:
        assert next(iter(webds.WebDataset(urls, extensions="cls", transforms=nothing))) == (0,)

    def test_what_is_no_tuple_is_an_error(self, urls: list[str]) -> None:
        arguments: dict[str, Any] = {"transforms": [str]}  # a type checker would say so before
        with pytest.raises(ValueError, match="map_tuple wants tuples"):
            list(webds.WebDataset(urls, **arguments))


def in_threes(values: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(values, 3)):
        yield chunk


class TestPipeline:
    def test_it_is_a_function_of_the_iterator(self, urls: list[str]) -> None:
        batches = list(webds.WebDataset(urls, extensions="cls", pipeline=in_threes))
        assert batches[0] == [(0,), (1,), (2,)]
        assert [len(batch) for batch in batches] == [3] * 6 + [2]

    def test_it_comes_after_the_transforms(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(urls, extensions="cls", transforms=[str], pipeline=in_threes)
        assert next(iter(dataset)) == [("0",), ("1",), ("2",)]


class TestAssociate:
    @staticmethod
    def more(key: str) -> Mapping[str, Any]:
        return {"more": key.upper(), "cls": -1}

    def test_a_function_of_the_key(self, urls: list[str]) -> None:
        sample = next(iter(webds.WebDataset(urls, associate=self.more)))
        assert sample == {"__key__": "key00000", "cls": -1, "txt": "text 0", "more": "KEY00000"}

    def test_a_dict_of_dicts(self, urls: list[str]) -> None:
        table = {f"key{i:05d}": {"square": i * i} for i in range(20)}
        dataset = webds.WebDataset(urls, associate=table, extensions="cls square")
        assert list(dataset) == [(i, i * i) for i in range(20)]

    def test_what_it_brings_is_not_decoded(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(urls, associate=lambda key: {"json": b"{}"})
        assert next(iter(dataset))["json"] == b"{}"


class TestShuffle:
    def numbers(self, dataset: Iterable[tuple[int]]) -> list[int]:
        return [number for (number,) in dataset]

    def test_zero_is_the_order_of_the_shards(self, urls: list[str]) -> None:
        assert self.numbers(webds.WebDataset(urls, extensions="cls", shuffle=0)) == list(range(20))

    @pytest.mark.parametrize("size", [1, True])
    def test_one_shuffles_the_shards_alone(self, tmp_path: Path, size: int) -> None:
        urls = numbered_shards(tmp_path, shards=10, samples=2)
        seen = self.numbers(webds.WebDataset(urls, extensions="cls", shuffle=size))
        assert seen == [start + i for start in seen[::2] for i in range(2)]
        assert seen != sorted(seen)

    def test_more_than_one_shuffles_samples_too(self, urls: list[str]) -> None:
        seen = self.numbers(webds.WebDataset(urls, extensions="cls", shuffle=15))
        assert sorted(seen) == list(range(20))
        assert seen[:5] != [seen[0] + i for i in range(5)]

    def test_epochs_differ(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(urls, extensions="cls", shuffle=15)
        assert len({tuple(self.numbers(dataset)) for _ in range(3)}) == 3

    def test_less_than_zero_is_an_error(self, urls: list[str]) -> None:
        with pytest.raises(ValueError, match="shuffle=-1"):
            webds.WebDataset(urls, shuffle=-1)


class TestOtherwise:
    def test_epochs_length_keys_and_opener(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(
            urls,
            extensions="number",
            epochs=2,
            length=40,
            keys=lambda path: (path[:8], "number") if path.endswith("cls") else (None, None),
            opener="cat {url}",
        )
        assert list(dataset) == [(str(i).encode(),) for i in [*range(20)] * 2]
        assert len(dataset) == 40

    def test_no_length_is_a_type_error(self, urls: list[str]) -> None:
        with pytest.raises(TypeError, match="pass length="):
            len(webds.WebDataset(urls))

    def test_missing_end_is_its_keyword_too(self, tmp_path: Path, urls: list[str]) -> None:
        cut = tmp_path / "cut.tar"
        cut.write_bytes(Path(urls[0]).read_bytes()[: 10 * 1024])
        with pytest.raises(webds.TarFormatError):
            list(webds.WebDataset(cut))
        assert len(list(webds.WebDataset(cut, missing_end="accept"))) == 5

    def test_verbose_logs_each_shard_that_is_opened(self, urls: list[str], caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "webds")
        list(webds.WebDataset(urls))
        assert caplog.records == []
        list(webds.WebDataset(urls, verbose=True))
        assert [record.getMessage() for record in caplog.records] == [f"opening {url}" for url in urls]

    def test_verbose_logs_no_secret(self, urls: list[str], caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "webds")
        url = "my://user:hunter2@host/a.tar?signature=hunter2"
        data = Path(urls[0]).read_bytes()
        list(webds.WebDataset([url], verbose=True, opener=lambda _: io.BytesIO(data)))
        assert len(caplog.records) == 1
        assert "hunter2" not in caplog.text

    def test_verbose_changes_nothing_else(self, tmp_path: Path, urls: list[str]) -> None:
        for verbose in (False, True):
            assert len(list(webds.WebDataset(f"{tmp_path}/*.tar", verbose=verbose))) == 20
            with pytest.raises(webds.UrlError, match="none of the 3 files"):
                webds.WebDataset(f"{tmp_path}/gone-{{0..2}}.tar", verbose=verbose)

    def test_raw_iter_yields_what_the_shards_hold(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(urls, extensions="cls", transforms=[str], shuffle=7, epochs=2)
        samples = list(dataset.raw_iter())
        assert samples[0].keys() == {"__key__", "cls", "txt"}
        assert all(isinstance(sample["cls"], bytes) for sample in samples)
        assert sorted(int(sample["cls"]) for sample in samples) == sorted([*range(20)] * 2)

    def test_it_pickles(self, images: str) -> None:
        dataset = webds.WebDataset(
            images,
            extensions="png;left.png cls",
            decoder="rgb8",
            transforms=[np.max, None],
            pipeline=in_threes,
            shuffle=2,
        )
        copy = pickle.loads(pickle.dumps(dataset))
        assert list(copy) == list(dataset)

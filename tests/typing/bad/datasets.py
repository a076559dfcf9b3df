"""Uses of datasets and loaders that must not pass: each marked line is an error, and no other."""

from __future__ import annotations

from collections.abc import Iterator

import torch

import webds


def label_of(sample: webds.Sample) -> int:
    return int(sample["cls"])


def of_text(text: str) -> str:
    return text


def in_pairs(numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
    return zip(numbers, numbers, strict=True)


def iterating(dataset: webds.Dataset[tuple[torch.Tensor, int]], samples: webds.Dataset) -> None:
    for image, label in dataset:
        text: str = label  # error
        number: int = image  # error
        print(text, number)
    for _one, _two, _three in dataset:  # error
        break
    for value in dataset:
        print(value["jpg"])  # error
        print(value.jpg)  # error
    for sample in samples:
        print(sample[0])  # error
        print(sample.jpg)  # error
    next(dataset)  # error
    words: list[str] = list(dataset)  # error
    print(words)


def telling(dataset: webds.Dataset[int]) -> None:
    dataset.set_epoch("3")  # error
    dataset.set_epoch()  # error
    dataset.builder = 3  # error
    dataset.builder.map(of_text)  # error
    dataset.stats().losses[0].url.upper()  # error
    dataset.stats().losses[0].key = "a"  # error
    dataset.stats().counts["read"]["x.tar"].append(3)  # error
    dataset.subset = 3  # error
    dataset.subset = (1, 2, 3)  # error
    print(dataset.length)  # error


def loading(dataset: webds.Dataset[tuple[str, int]], builder: webds.DatasetBuilder) -> None:
    webds.Loader()  # error
    webds.Loader(3)  # error
    webds.Loader(builder)  # error
    webds.Loader(dataset, 2)  # error
    webds.Loader(dataset, batch_size=3)  # error
    webds.Loader(dataset, prefetch_factor="all")  # error
    for text, number in webds.Loader(dataset):
        word: str = number  # error
        text.append(3)  # error
        print(word)


class Mine(webds.Dataset[int]):  # error
    """Its class is final."""


def the_older_front_doors(data: webds.Dataset, ints: webds.Dataset[int]) -> None:
    webds.Dataset()  # error
    webds.Dataset(3)  # error
    webds.Dataset("x.tar", suffixes=3)  # error
    webds.Dataset("x.tar", length="3")  # error
    webds.Dataset("x.tar", epochs=None)  # error
    webds.Dataset("x.tar", handler="warn")  # error
    webds.Dataset("x.tar", initial_pipeline=in_pairs)  # error
    webds.Dataset("x.tar", extensions="jpg cls")  # error
    webds.WebDataset("x.tar", suffixes=["jpg"])  # error
    webds.WebDataset("x.tar", extensions=3)  # error
    webds.WebDataset("x.tar", extensions="jpg", transforms=of_text)  # error
    webds.WebDataset("x.tar", transforms=[of_text])  # error
    webds.WebDataset("x.tar", pipeline=3)  # error
    webds.WebDataset("x.tar", decoder=3)  # error
    webds.WebDataset("x.tar", associate="labels.json")  # error
    data.decode(3)  # error
    data.map(of_text)  # error
    data.map_tuple(of_text)  # error
    data.to_tuple("jpg cls").decode()  # error
    data.to_tuple("jpg cls").rename(a="b")  # error
    data.to_tuple(3)  # error
    data.pipe(in_pairs)  # error
    data.shuffle("100")  # error
    data.batch(3)  # error
    ints.map_dict(cls=int)  # error
    ints.to_tuple("jpg")  # error
    ints.map(label_of)  # error
    webds.tariterator("x.tar")  # error
    webds.gopen(3)  # error
    webds.scheme_to_command["gs"] = ["gsutil", "cat"]  # error
    webds.default_handlers["rgb"]["jpg"] = of_text  # error

"""Typed samples: attrs classes, dataclasses and NamedTuples whose annotations name fields."""

from __future__ import annotations

import dataclasses
from typing import Annotated, NamedTuple, assert_type

import attrs
import torch

import webds


@attrs.frozen
class Photo:
    image: Annotated[torch.Tensor, webds.field("jpg;png", "torchrgb8")]
    label: Annotated[int, webds.field("cls")]
    caption: Annotated[str | None, webds.field("txt")] = None


@attrs.define
class Changeable:
    txt: str


@dataclasses.dataclass(frozen=True)
class Sound:
    wave: Annotated[tuple[torch.Tensor, int], webds.field("flac", webds.AudioDecoder())]
    length: Annotated[int, webds.field("bin", len)]


class Pair(NamedTuple):
    cls: int
    txt: str


def batch_of(photos: list[Photo]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([photo.image for photo in photos]), torch.tensor([photo.label for photo in photos])


def each_kind_of_class(builder: webds.DatasetBuilder) -> None:
    assert_type(builder.into(Photo), webds.DatasetBuilder[Photo])
    assert_type(builder.into(Changeable), webds.DatasetBuilder[Changeable])
    assert_type(builder.into(Sound), webds.DatasetBuilder[Sound])
    assert_type(builder.into(Pair), webds.DatasetBuilder[Pair])


def what_follows(builder: webds.DatasetBuilder) -> None:
    photos = builder.into(Photo)
    assert_type(photos.map(lambda photo: photo.caption), webds.DatasetBuilder[str | None])
    assert_type(photos.filter(lambda photo: photo.label > 3).map(lambda photo: photo.label), webds.DatasetBuilder[int])
    assert_type(photos.batch(64, collate=batch_of), webds.DatasetBuilder[tuple[torch.Tensor, torch.Tensor]])
    for photo in photos.build():
        assert_type(photo, Photo)
        assert_type(photo.image, torch.Tensor)
        assert_type(photo.label, int)
    assert_type(builder.into(Pair).map_tuple(str, len), webds.DatasetBuilder[tuple[str, int]])
    for number, text in builder.into(Pair).loader():
        assert_type(number, int)
        assert_type(text, str)

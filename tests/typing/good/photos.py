"""Photographs with labels, typed from the shard to the batch."""

from __future__ import annotations

from typing import Annotated, NamedTuple, assert_type

import attrs
import torch
from torch import Tensor

import webds


@attrs.frozen
class Photo:
    """A sample, as the training wants it."""

    image: Annotated[Tensor, webds.field("jpg;png", "torchrgb8")]
    label: Annotated[int, webds.field("cls")]
    caption: Annotated[str, webds.field("txt")] = ""


class Batch(NamedTuple):
    """Images of shape (N, 3, H, W), uint8, and labels of shape (N,), int64."""

    images: Tensor
    labels: Tensor


def collated(photos: list[Photo]) -> Batch:
    """Return a batch of photographs of one size."""
    return Batch(torch.stack([photo.image for photo in photos]), torch.tensor([photo.label for photo in photos]))


def training(manifest: str, batch_size: int) -> webds.DatasetBuilder[Batch]:
    """Return what is trained with."""
    return (
        webds.DatasetBuilder(manifest)
        .indexed()
        .shuffle(window_shards=4, seed=17)
        .into(Photo)
        .filter(lambda photo: photo.label >= 0)
        .batch(batch_size, collate=collated)
    )


def brightness(loader: webds.Loader[Batch]) -> float:
    """Return the mean of all pixels, between 0 and 255."""
    sums = [(float(batch.images.float().sum()), batch.images.numel()) for batch in loader]
    return sum(total for total, _ in sums) / sum(number for _, number in sums)


def pairs(manifest: str) -> None:
    """Where a class is too much: tuples, whose elements functions give a type."""
    raw = webds.DatasetBuilder(manifest).decode("torchrgb8")
    typed = raw.to_tuple("png", "cls").map_tuple(torch.Tensor.float, int)
    for image, label in typed.build():
        assert_type(image, Tensor)
        assert_type(label, int)

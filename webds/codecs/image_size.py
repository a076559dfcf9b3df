"""Images brought to a size: how large the result is, and how it is made of fewer pixels than the file has."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # Pillow is loaded by the first image
    from PIL import Image, ImageFile

__all__ = [
    "Size",
    "resized",
    "resized_bytes",
    "resized_plane",
    "shown_size",
    "shrink_while_loading",
    "smallest_scale",
    "target_size",
    "to_size",
]

Size: TypeAlias = int | tuple[int, int]
"""The length of the shorter side, or (height, width); in pixels."""

_Box: TypeAlias = tuple[float, float, float, float]


def to_size(size: Size) -> Size:
    """Return ``size`` as an int or as a tuple of two ints.

    Raises:
        ValueError: it is none of these, or less than a pixel.
    """
    try:
        if isinstance(size, (tuple, list)):
            height, width = map(operator.index, size)
            if height >= 1 and width >= 1:
                return height, width
        elif not isinstance(size, bool) and (side := operator.index(size)) >= 1:
            return side
    except (TypeError, ValueError):
        pass
    raise ValueError(f"size={size!r}: expected the length of the shorter side or (height, width), in pixels from 1")


def shown_size(size: Size) -> str:
    """Return ``size`` in words."""
    return f"{size} pixels on the shorter side" if isinstance(size, int) else f"{size[0]} x {size[1]} pixels"


def target_size(size: Size, width: int, height: int) -> tuple[int, int]:
    """Return width and height of what an image of ``width`` x ``height`` pixels is brought to.

    One number is the length of the shorter side; the longer one keeps the proportion, rounded down.
    """
    if not isinstance(size, int):
        return size[1], size[0]
    return (size, size * height // width) if width <= height else (size * width // height, size)


def shrink_while_loading(image: ImageFile.ImageFile, target: tuple[int, int]) -> _Box | None:
    """Have a JPEG decoded at the smallest of the scales 1/8, 1/4 and 1/2 that is not smaller than ``target``.

    That leaves out most of the arithmetic. Other formats have no such scales.

    Returns:
        What the picture takes of the image as it will be loaded, whose last row and column it may cover in part;
        None for all of it.
    """
    drafted = image.draft(None, target) if image.format == "JPEG" else None
    return None if drafted is None else drafted[1]


def smallest_scale(full: tuple[int, int], target: tuple[int, int]) -> int:
    """Return 8, 4, 2 or 1: by how much a JPEG is shrunk while it is decoded, to no less than ``target``."""
    return next((scale for scale in (8, 4, 2) if all(f >= t * scale for f, t in zip(full, target, strict=True))), 1)


def resized_bytes(
    pixels: NDArray[np.uint8], target: tuple[int, int], covered: tuple[float, float]
) -> NDArray[np.uint8]:
    """Return an array H x W x C brought to ``target`` by torch, with the filter of `resized` and its own rounding.

    Args:
        pixels: the image.
        target: width and height of the result.
        covered: what of the width and the height the picture takes; the last row and column may be covered in part.
    """
    import torch  # noqa: PLC0415  # loaded by the first image that is resized

    height, width = pixels.shape[:2]
    # The axis of one comes first, so that torch sees its channels-last layout, and keeps it: no transposing.
    image = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    resize = functools.partial(
        torch.nn.functional.interpolate, image, mode="bilinear", antialias=True, align_corners=False
    )
    if covered == (width, height):
        result = resize((target[1], target[0]))[0]
    else:
        scales = (target[1] / covered[1], target[0] / covered[0])
        result = resize(scale_factor=scales, recompute_scale_factor=False)[0]
    if result.shape[1:] != (target[1], target[0]):
        raise ValueError(f"{tuple(result.shape[1:])} pixels in place of {target[::-1]}")
    array: NDArray[np.uint8] = np.ascontiguousarray(result.permute(1, 2, 0).numpy())
    return array


def resized(image: Image.Image, target: tuple[int, int], box: _Box | None = None) -> Image.Image:
    """Return ``box`` of an image of mode L, RGB, RGBA or F, brought to ``target``, its width and height.

    The filter is Pillow's BILINEAR: each pixel is a mean of those around it, weighted by a triangle that is two
    pixels wide, of the larger pixels where it gets smaller. Colours are weighted by their alpha, too.
    """
    from PIL import Image  # noqa: PLC0415  # loaded by the first image

    return image.resize(target, Image.Resampling.BILINEAR, box)


def resized_plane(plane: NDArray[np.float32], target: tuple[int, int]) -> NDArray[np.float32]:
    """Return an array H x W brought to ``target``, its width and height, as `resized` does."""
    from PIL import Image  # noqa: PLC0415  # loaded by the first image

    return np.array(resized(Image.fromarray(plane), target))

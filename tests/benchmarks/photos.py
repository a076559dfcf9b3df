"""Photographs to make data of: those that scikit-image and scikit-learn ship, cut out and resized, always alike."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["large_jpeg", "photo_jpeg", "sources"]

_SHIPPED = {
    "skimage": "data/{}",
    "sklearn": "datasets/images/{}",
}
_NAMES = {
    "skimage": ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png",
                "motorcycle_right.png", "retina.jpg", "rocket.jpg"),
    "sklearn": ("china.jpg", "flower.jpg"),
}  # fmt: skip
_WIDTH, _HEIGHT = 500, 375
_DISTINCT = 200
_DISTINCT_LARGE = 16
_TILES = 4


@functools.cache
def sources() -> tuple[str, ...]:
    """Return the paths of the photographs that are installed.

    Raises:
        RuntimeError: there are none.
    """
    found: list[str] = []
    for package, pattern in _SHIPPED.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            folder = os.path.dirname(spec.origin)
            paths = [os.path.join(folder, pattern.format(name)) for name in _NAMES[package]]
            found += [path for path in paths if os.path.exists(path)]
    if not found:
        raise RuntimeError("no photographs: install scikit-image and scikit-learn")
    return tuple(found)


@functools.cache
def _source(number: int) -> Image:
    from PIL import Image as images  # noqa: N813  # the class has the same name

    with images.open(sources()[number]) as image:
        return image.convert("RGB")


def _cut(number: int) -> Image:
    """Return a part of a photograph, 500x375 pixels; which one, where, and how large follows from the number."""
    source = _source(number % len(sources()))
    size, left, top, flip = hashlib.shake_128(f"photo {number}".encode()).digest(4)
    scale = min(source.width / _WIDTH, source.height / _HEIGHT) * (0.6 + 0.4 * size / 255)
    width, height = _WIDTH * scale, _HEIGHT * scale
    x = (source.width - width) * left / 255
    y = (source.height - height) * top / 255
    from PIL.Image import Resampling, Transpose

    cut = source.resize((_WIDTH, _HEIGHT), Resampling.BICUBIC, (x, y, x + width, y + height))
    return cut.transpose(Transpose.FLIP_LEFT_RIGHT) if flip % 2 else cut


def _jpeg(image: Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@functools.cache
def _photo(number: int) -> bytes:
    image = _cut(number)
    return min((_jpeg(image, quality) for quality in (75, 88, 93, 96)), key=lambda data: abs(len(data) - 50_000))


@functools.cache
def _large(number: int) -> bytes:
    from PIL import Image as images  # noqa: N813  # the class has the same name

    # Put together from parts, since a small photograph made larger has no more detail than before.
    whole = images.new("RGB", (_WIDTH * _TILES, _HEIGHT * _TILES))
    for tile in range(_TILES * _TILES):
        row, column = divmod(tile, _TILES)
        whole.paste(_cut(number * _TILES * _TILES + tile), (column * _WIDTH, row * _HEIGHT))
    return _jpeg(whole, 90)


def photo_jpeg(number: int) -> bytes:
    """Return a jpg of 500x375 pixels and, as far as the quality can be chosen to that end, 50 KB."""
    return _photo(number % _DISTINCT)


def large_jpeg(number: int) -> bytes:
    """Return a jpg of 2000x1500 pixels."""
    return _large(number % _DISTINCT_LARGE)

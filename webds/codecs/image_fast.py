"""JPEG files by simplejpeg, where it is installed: what Pillow makes of them, in less time."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from webds.codecs.image_open import check_size
from webds.codecs.image_size import Size, resized_bytes, smallest_scale, target_size
from webds.codecs.image_spec import ImageSpec
from webds.codecs.image_values import pixels_as_asked, stored_as
from webds.errors import DecodeError

__all__ = ["decode_jpeg_fast"]


@functools.cache
def _simplejpeg() -> Any:
    """Return the module, or None where it is not installed."""
    try:
        import simplejpeg  # noqa: PLC0415  # optional
    except ImportError:
        return None
    return simplejpeg


@functools.cache
def _resizes_fast() -> bool:
    """Return whether torch resizes bytes by instructions for several at once; its other way is slower than Pillow's."""
    import torch  # noqa: PLC0415  # loaded by the first image that is resized

    return torch.backends.cpu.get_cpu_capability().startswith("AVX")


def decode_jpeg_fast(data: bytes, spec: ImageSpec, max_pixels: int, size: Size | None = None) -> Any:
    """Return the JPEG image in ``data`` as ``spec`` says; None if that is for Pillow to do.

    Both are built on libjpeg-turbo, and used with the same, accurate settings, so that the pixels are the same.
    Pillow gets what it alone can do (Pillow images, CMYK), what it does by another rule (colour to grey), and every
    file with a flaw of any kind, so that it has the last word on which of these are errors.

    Args:
        data: the content of the file.
        spec: what is asked for.
        max_pixels: how many pixels the file, and the result, may have.
        size: what the image is brought to, by torch; its filter is Pillow's, but rounding may differ by 1.

    Raises:
        DecodeError: the image, or what it is brought to, has more than ``max_pixels`` pixels.
    """
    simplejpeg = None if spec.container == "pil" else _simplejpeg()
    if simplejpeg is None or (size is not None and not _resizes_fast()):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=True)
        if colours != "Gray" and (spec.mode == "L" or colours not in ("YCbCr", "RGB")):
            return None
        check_size((width, height), max_pixels)
        if size is None:
            order = "GRAY" if spec.mode == "L" else stored_as(spec)
            pixels = simplejpeg.decode_jpeg(data, order, fastdct=False, fastupsample=False, strict=True)
        else:
            target = target_size(size, width, height)
            check_size(target, max_pixels, "resized, ")
            pixels = _decode_to_size(simplejpeg, data, spec, (width, height), target)
    except DecodeError:
        raise
    except Exception:
        return None
    return pixels_as_asked(pixels[..., 0] if spec.mode == "L" else pixels, spec)


def _decode_to_size(
    simplejpeg: Any, data: bytes, spec: ImageSpec, full: tuple[int, int], target: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the pixels of an image brought to ``target``, H x W x those of `stored_as`.

    Args:
        simplejpeg: the module.
        data: the content of the file.
        spec: what is asked for.
        full: width and height of the image.
        target: width and height of the result.
    """
    scale = smallest_scale(full, target)
    width, height = (-(-side // scale) for side in full)
    order = "GRAY" if spec.mode == "L" else stored_as(spec)
    pixels = simplejpeg.decode_jpeg(
        data, order, fastdct=False, fastupsample=False, min_height=height, min_width=width, min_factor=1, strict=True
    )
    if pixels.shape[:2] != (height, width):
        raise ValueError(f"{pixels.shape[:2]} pixels at 1/{scale}")
    return resized_bytes(pixels, target, (full[0] / scale, full[1] / scale))

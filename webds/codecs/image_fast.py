"""JPEG files by simplejpeg, where it is installed: the same pixels as by Pillow, in less time."""

from __future__ import annotations

import functools
from typing import Any

from webds.codecs.image_open import check_size
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


def decode_jpeg_fast(data: bytes, spec: ImageSpec, max_pixels: int) -> Any:
    """Return the JPEG image in ``data`` as ``spec`` says; None if that is for Pillow to do.

    Both are built on libjpeg-turbo, and used with the same, accurate settings, so that the pixels are the same.
    Pillow gets what it alone can do (Pillow images, CMYK), what it does by another rule (colour to grey), and every
    file with a flaw of any kind, so that it has the last word on which of these are errors.

    Raises:
        DecodeError: the image has more than ``max_pixels`` pixels.
    """
    simplejpeg = None if spec.container == "pil" else _simplejpeg()
    if simplejpeg is None:
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=True)
        if colours != "Gray" and (spec.mode == "L" or colours not in ("YCbCr", "RGB")):
            return None
        check_size((width, height), max_pixels)
        order = "GRAY" if spec.mode == "L" else stored_as(spec)
        pixels = simplejpeg.decode_jpeg(data, order, fastdct=False, fastupsample=False, strict=True)
    except DecodeError:
        raise
    except Exception:
        return None
    return pixels_as_asked(pixels[..., 0] if spec.mode == "L" else pixels, spec)

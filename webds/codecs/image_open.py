"""Image files opened and checked, by the one class of Pillow that their first bytes call for."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import threading
import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from webds.errors import DecodeError

if TYPE_CHECKING:  # Pillow is loaded by the first image
    from PIL import ImageFile

__all__ = ["check_size", "kind_of", "load_image", "open_image"]

_WARNINGS_LOCK: Final = threading.Lock()
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    *((b"P" + digit, "PPM") for digit in (b"1", b"2", b"3", b"4", b"5", b"6", b"f")),
)
_TIFF_PLANAR: Final = 284
_PLANES_APART: Final = 2


@functools.cache
def _readers() -> dict[str, type[ImageFile.ImageFile]]:
    """Return the classes of Pillow that data may choose from.

    They are named here, not looked up by ``Image.open``: the rest of Pillow's formats (one of which starts
    Ghostscript) stays out of reach, and so do the warnings of ``Image.open`` about large images.
    """
    from PIL import (  # noqa: PLC0415  # loaded by the first image
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        PpmImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    return {
        "BMP": BmpImagePlugin.BmpImageFile,
        "GIF": GifImagePlugin.GifImageFile,
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "PPM": PpmImagePlugin.PpmImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
    }


def kind_of(data: bytes) -> str:
    """Return the name of the format of ``data``, by its first bytes: file names lie.

    Raises:
        DecodeError: it is of none that images are read from.
    """
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    found = f"it starts with {data[:12]!r}" if data else "it is empty"
    raise DecodeError(f"the data is no jpg, png, ppm, pgm, pbm, webp, tif, bmp or gif image: {found}")


def _canvas(kind: str, data: bytes) -> tuple[int, int]:
    """Return width and height that a GIF or WebP file declares: Pillow takes memory for these when it opens one."""
    if kind == "GIF":
        width, height = struct.unpack_from("<HH", data, 6)
        return width, height
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def check_size(size: tuple[int, int], max_pixels: int, state: str = "") -> None:
    """Refuse an image whose width and height, in the ``state`` of which is spoken, are too much."""
    if size[0] * size[1] > max_pixels:
        raise DecodeError(f"{state}the image has {size[0]} x {size[1]} pixels, more than max_pixels={max_pixels}")


def open_image(data: bytes, kind: str, max_pixels: int) -> ImageFile.ImageFile:
    """Return the image, its headers read and its size checked, its pixels not yet decoded.

    Raises:
        DecodeError: it has more than ``max_pixels`` pixels.
    """
    size = _canvas(kind, data) if kind in ("GIF", "WEBP") else (0, 0)
    check_size(size, max_pixels)
    with _without_bomb_warning(size):
        image = _readers()[kind](io.BytesIO(data))
    check_size(image.size, max_pixels)
    return image


@contextlib.contextmanager
def _without_bomb_warning(size: tuple[int, int]) -> Generator[None]:
    """Silence Pillow where it checks a size that has been checked against ``max_pixels``.

    Changing warning filters is no business of threads, so only the few images that are large enough to be
    warned of take turns here.
    """
    from PIL import Image  # noqa: PLC0415  # loaded by the first image

    if Image.MAX_IMAGE_PIXELS is None or size[0] * size[1] <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def load_image(image: ImageFile.ImageFile, mode: str) -> None:
    """Decode the pixels, which are then brought to ``mode``.

    Raises:
        DecodeError: Pillow would deliver something, but not the picture.
    """
    if image.format == "TIFF":
        _check_coverage(image)
    if mode == "RGBA" and image.tile and image.tile[0][3] == "RGB;16B" and "transparency" in image.info:
        # Pillow compares the low bytes of this colour with the high bytes of the pixels.
        raise DecodeError("the transparent colour of a 16-bit RGB image cannot be told from others in 8 bits")
    with _without_bomb_warning(image.size):
        image.load()


def _check_coverage(image: Any) -> None:
    """Refuse a TIFF whose strips or tiles leave out a part of the picture, which Pillow would leave black."""
    planes = len(image.getbands()) if image.tag_v2.get(_TIFF_PLANAR) == _PLANES_APART else 1
    covered = sum((right - left) * (lower - upper) for _, (left, upper, right, lower), *_ in image.tile)
    if covered < image.width * image.height * planes and image.tile[0][0] != "libtiff":
        raise DecodeError("the strips or tiles of the TIFF file do not cover its picture")

"""Image files to values, in three steps: open and check, bring to the colours asked for, hand over as asked for."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import threading
import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from webds.codecs.image_spec import ImageSpec
from webds.errors import DecodeError
from webds.typing import Buffer

if TYPE_CHECKING:  # Pillow is loaded by the first image
    from PIL import Image, ImageFile

__all__ = ["MAX_PIXELS", "decode_image"]

MAX_PIXELS: Final = 178_956_970
"""Pixels of the largest image that is decoded by default: where Pillow, too, refuses to open one."""

_Array: TypeAlias = NDArray[Any]
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
_TIFF_BITS: Final = 258
_TIFF_PHOTOMETRIC: Final = 262
_TIFF_PLANAR: Final = 284
_PLANES_APART: Final = 2


def decode_image(data: Buffer, spec: ImageSpec, max_pixels: int = MAX_PIXELS) -> Any:
    """Return the image in ``data`` as ``spec`` says.

    Raises:
        DecodeError: the data is no whole image of a known format, or has more than ``max_pixels`` pixels.
    """
    try:
        image = _open(data if isinstance(data, bytes) else bytes(memoryview(data)), max_pixels)
        _load(image, spec.mode)
        if _is_deep(image):
            return _hand_over_deep(_deep_array(image, spec), spec, image.info)
        return _hand_over(_to_mode(image, spec.mode), spec)
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"the image cannot be decoded: {type(error).__name__}: {error}") from error


# Open and check


@functools.cache
def _readers() -> dict[str, type[ImageFile.ImageFile]]:
    """Return the classes of Pillow that data may choose from.

    They are named here, not looked up by ``Image.open``: the rest of Pillow's formats (one of which starts
    Ghostscript) stays out of reach, and so do the warnings of ``Image.open`` about large images.
    """
    from PIL import (  # noqa: PLC0415 (as above)
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


def _kind(data: bytes) -> str:
    """Return the name of the format of ``data``, by its first bytes: file names lie."""
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


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise DecodeError(f"the image has {size[0]} x {size[1]} pixels, more than max_pixels={max_pixels}")


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Return the image, its headers read and its size checked, its pixels not yet decoded."""
    kind = _kind(data)
    size = _canvas(kind, data) if kind in ("GIF", "WEBP") else (0, 0)
    _check_size(size, max_pixels)
    with _without_bomb_warning(size):
        image = _readers()[kind](io.BytesIO(data))
    _check_size(image.size, max_pixels)
    return image


@contextlib.contextmanager
def _without_bomb_warning(size: tuple[int, int]) -> Generator[None]:
    """Silence Pillow where it checks a size that has been checked against ``max_pixels``.

    Changing warning filters is no business of threads, so only the few images that are large enough to be
    warned of take turns here.
    """
    from PIL import Image  # noqa: PLC0415 (loaded by the first image)

    if Image.MAX_IMAGE_PIXELS is None or size[0] * size[1] <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _load(image: ImageFile.ImageFile, mode: str) -> None:
    """Decode the pixels, which are then brought to ``mode``."""
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


# Bring to the colours asked for


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return the image in mode L, RGB or RGBA."""
    if image.mode in ("La", "RGBa"):  # alpha is multiplied in, and convert knows one way out only
        image = image.convert(image.mode.upper())
    if mode == "RGBA":
        return image if image.mode == mode else image.convert(mode)
    # Without alpha no colour is transparent. It would live on in the image's metadata otherwise.
    image.info.pop("transparency", None)
    if image.mode in ("P", "PA"):
        # A palette is a way to store colours: the same colours stored otherwise give the same grey.
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _is_deep(image: Image.Image) -> bool:
    """Return whether the image is grey with more than 8 bits, which Pillow's ``convert`` would clip at 255."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _deep_array(image: Any, spec: ImageSpec) -> _Array:
    """Return the array H x W or H x W x C of a grey image of more than 8 bits, scaled to what ``spec`` says."""
    values = np.array(image)
    tags: dict[int, Any] = image.tag_v2 if image.format == "TIFF" else {}
    full = 1 if image.mode == "F" else 4095 if tags.get(_TIFF_BITS) == (12,) else 65535
    if not (values.min() >= 0 and values.max() <= full):
        raise DecodeError(f"grey values of a {image.mode} image lie outside of the range from 0 to {full}")
    key = image.info.get("transparency")
    opaque = None if key is None else values != key
    if tags.get(_TIFF_PHOTOMETRIC) == 0:
        values = full - values  # white is zero; Pillow sees to that for 8 bits only
    if spec.dtype == "float32":
        grey = values.astype(np.float32) / np.float32(full)
    elif image.mode == "F":
        grey = np.rint(values * np.float32(255)).astype(np.uint8)
    else:
        grey = ((values.astype(np.uint32) * 510 + full) // (2 * full)).astype(np.uint8)
    if spec.mode == "L":
        return grey
    alpha = np.ones_like(grey) if opaque is None else opaque.astype(grey.dtype)
    if spec.dtype == "uint8":
        alpha *= 255
    return np.stack([grey] * 3 if spec.mode == "RGB" else [grey] * 3 + [alpha], axis=-1)


# Hand over as asked for


def _hand_over(image: Image.Image, spec: ImageSpec) -> Any:
    if spec.container == "pil":
        from PIL import ImageFile  # noqa: PLC0415 (loaded by the first image)

        # A copy is a plain image: it keeps nothing of the file, and pickles.
        return image.copy() if isinstance(image, ImageFile.ImageFile) else image
    array: _Array = np.array(image)
    if spec.container == "torch":
        array = _channels_first(array)
    if spec.dtype == "float32":
        array = np.divide(array, np.float32(255), dtype=np.float32)
    return _to_tensor(array) if spec.container == "torch" else array


def _hand_over_deep(array: _Array, spec: ImageSpec, info: dict[Any, Any]) -> Any:
    if spec.container == "numpy":
        return array
    if spec.container == "torch":
        return _to_tensor(_channels_first(array))
    from PIL import Image  # noqa: PLC0415 (loaded by the first image)

    image = Image.fromarray(array)
    image.info = {name: value for name, value in info.items() if name != "transparency"}
    return image


def _channels_first(array: _Array) -> _Array:
    """Return an array H x W or H x W x C as C x H x W."""
    # Channel by channel: several times as fast as to transpose, in numpy or in torch.
    return array[None] if array.ndim == 2 else np.stack([array[..., channel] for channel in range(array.shape[2])])


def _to_tensor(array: _Array) -> Any:
    import torch  # noqa: PLC0415 (loaded where it is asked for)

    return torch.from_numpy(array)

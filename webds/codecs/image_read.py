"""Image files to values: open and check, bring to the colours and the size asked for, hand over as asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from webds.codecs.image_fast import decode_jpeg_fast
from webds.codecs.image_open import check_size, kind_of, load_image, open_image
from webds.codecs.image_size import Size, resized, resized_plane, shrink_while_loading, target_size
from webds.codecs.image_spec import ImageSpec
from webds.codecs.image_values import array_as_asked, image_as_asked
from webds.errors import DecodeError
from webds.typing import Buffer

if TYPE_CHECKING:  # Pillow is loaded by the first image
    from PIL import Image

__all__ = ["MAX_PIXELS", "decode_image"]

MAX_PIXELS: Final = 178_956_970
"""Pixels of the largest image that is decoded by default: where Pillow, too, refuses to open one."""

_Array: TypeAlias = NDArray[Any]
_TIFF_BITS: Final = 258
_TIFF_PHOTOMETRIC: Final = 262


def decode_image(
    data: Buffer, spec: ImageSpec, max_pixels: int = MAX_PIXELS, size: Size | None = None, fast: bool = True
) -> Any:
    """Return the image in ``data`` as ``spec`` says.

    Args:
        data: the content of the file.
        spec: what is asked for.
        max_pixels: how many pixels the file, and the result, may have.
        size: what the image is brought to; None leaves it as it is.
        fast: whether simplejpeg may be used, where it is installed.

    Raises:
        DecodeError: the data is no whole image of a known format, or has more than ``max_pixels`` pixels.
    """
    try:
        data = data if isinstance(data, bytes) else bytes(memoryview(data))
        kind = kind_of(data)
        if fast and kind == "JPEG":
            value = decode_jpeg_fast(data, spec, max_pixels, size)
            if value is not None:
                return value
        return _decode_by_pillow(data, kind, spec, max_pixels, size)
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"the image cannot be decoded: {type(error).__name__}: {error}") from error


def _decode_by_pillow(data: bytes, kind: str, spec: ImageSpec, max_pixels: int, size: Size | None) -> Any:
    image = open_image(data, kind, max_pixels)
    target = box = None
    if size is not None:
        target = target_size(size, *image.size)
        check_size(target, max_pixels, "resized, ")
        box = shrink_while_loading(image, target)
    load_image(image, spec.mode)
    if _is_deep(image):
        return array_as_asked(_deep_array(image, spec, target), spec, image.info)
    plain = _to_mode(image, spec.mode)
    return image_as_asked(plain if target is None else resized(plain, target, box), spec)


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


# Grey of more than 8 bits


def _is_deep(image: Image.Image) -> bool:
    """Return whether the image is grey with more than 8 bits, which Pillow's ``convert`` would clip at 255."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _deep_array(image: Any, spec: ImageSpec, target: tuple[int, int] | None) -> _Array:
    """Return the array H x W or H x W x C of a grey image of more than 8 bits, scaled to what ``spec`` says."""
    values = np.array(image)
    tags: dict[int, Any] = image.tag_v2 if image.format == "TIFF" else {}
    full = 1 if image.mode == "F" else 4095 if tags.get(_TIFF_BITS) == (12,) else 65535
    if not (values.min() >= 0 and values.max() <= full):
        raise DecodeError(f"grey values of a {image.mode} image lie outside of the range from 0 to {full}")
    key = image.info.get("transparency")
    opaque = None if key is None or spec.mode != "RGBA" else values != key
    if tags.get(_TIFF_PHOTOMETRIC) == 0:
        values = full - values  # white is zero; Pillow sees to that for 8 bits only
    if target is not None:
        values, opaque = _deep_resized(values.astype(np.float32), opaque, target)
    if spec.dtype == "float32":
        grey = values.astype(np.float32) / np.float32(full)
    elif values.dtype == np.float32:
        grey = np.rint(values * np.float32(255 / full)).astype(np.uint8)
    else:
        grey = ((values.astype(np.uint32) * 510 + full) // (2 * full)).astype(np.uint8)
    if spec.mode == "L":
        return grey
    if spec.mode == "RGB":
        return np.stack([grey] * 3, axis=-1)
    alpha = np.ones(grey.shape, np.float32) if opaque is None else opaque.astype(np.float32)
    if spec.dtype == "uint8":
        alpha = np.rint(alpha * np.float32(255)).astype(np.uint8)
    return np.stack([grey, grey, grey, alpha], axis=-1)


def _deep_resized(values: _Array, opaque: _Array | None, target: tuple[int, int]) -> tuple[_Array, _Array | None]:
    """Return grey values and what of them is opaque, if that was told, brought to ``target``."""
    if opaque is None:
        return resized_plane(values, target), None
    share = resized_plane(opaque.astype(np.float32), target)
    # Where all is transparent, there is no grey to take the mean of.
    return resized_plane(values * opaque, target) / np.where(share > 0, share, 1), share

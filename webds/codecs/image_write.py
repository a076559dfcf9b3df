"""Images of all kinds to image files from which they come back."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from webds.codecs.image_size import Size, target_size
from webds.errors import EncodeError

if TYPE_CHECKING:  # Pillow is loaded by the first image
    from PIL import Image

__all__ = ["FORMATS", "encode_image"]

_Array: TypeAlias = NDArray[Any]


class _Format(NamedTuple):
    """A file format.

    Attributes:
        name: what Pillow calls it.
        modes: the modes of Pillow that it stores; of several that hold the same picture, the first is taken.
        lossy: whether pixels change on the way, however it is written.
        metadata: what it has a place for.
    """

    name: str
    modes: tuple[str, ...]
    lossy: bool = False
    metadata: tuple[str, ...] = ()


_BOTH: Final = ("exif", "icc_profile")
_JPEG: Final = _Format("JPEG", ("L", "RGB", "CMYK"), lossy=True, metadata=_BOTH)
_PNG: Final = _Format("PNG", ("1", "L", "P", "I;16", "LA", "RGB", "RGBA"), metadata=_BOTH)
_TIFF: Final = _Format("TIFF", ("1", "L", "P", "I;16", "F", "LA", "RGB", "RGBA", "CMYK"), metadata=("icc_profile",))

FORMATS: Final[Mapping[str, _Format]] = MappingProxyType({
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "png": _PNG,
    "ppm": _Format("PPM", ("RGB",)),
    "pgm": _Format("PPM", ("L", "I;16")),
    "pbm": _Format("PPM", ("1",)),
    "img": _PNG,
    "image": _PNG,
    "webp": _Format("WEBP", ("RGB", "RGBA"), metadata=_BOTH),
    "tif": _TIFF,
    "tiff": _TIFF,
    "bmp": _Format("BMP", ("1", "L", "P", "RGB")),
    "gif": _Format("GIF", ("L", "P", "LA", "RGB", "RGBA")),
})  # fmt: skip
"""Extension → the format that is written."""


def encode_image(
    value: Any, extension: str, quality: int = 100, size: Size | None = None, *, lossy_webp: bool = False
) -> bytes:
    """Return the bytes of an image file.

    Args:
        value: a Pillow image, a numpy array H x W or H x W x (1, 3 or 4), or a torch tensor (1, 3 or 4) x H x W
            or H x W; elements uint8 or floats in [0, 1].
        extension: one of `FORMATS`.
        quality: of jpg, and of webp that is lossy.
        size: what the image is brought to when it is read again.
        lossy_webp: whether webp is.

    Raises:
        EncodeError: the format cannot hold this image, the value is none, or reading would change its size.
    """
    try:
        image = _to_image(value)
        if size is not None:
            _check_fits(image, size)
        fitting = _fit(image, extension)
        return _save(fitting, extension, None if extension == "webp" and not lossy_webp else quality, image)
    except EncodeError:
        raise
    except Exception as error:
        raise EncodeError(f"the image cannot be encoded: {type(error).__name__}: {error}") from error


def _check_fits(image: Image.Image, size: Size) -> None:
    back = target_size(size, *image.size)
    if back != image.size:
        raise EncodeError(f"an image of {image.width} x {image.height} pixels would come back as {back[0]} x {back[1]}")


# Any value to a Pillow image


def _to_image(value: Any) -> Image.Image:
    from PIL import Image  # noqa: PLC0415 (loaded by the first image)

    if isinstance(value, Image.Image):
        value.load()
        return value
    torch = sys.modules.get("torch")  # where it is not loaded, the value is no tensor
    if torch is not None and isinstance(value, torch.Tensor):
        return Image.fromarray(_to_uint8(_channels_last(value)))
    if isinstance(value, np.ndarray):
        return Image.fromarray(_to_uint8(value))
    raise EncodeError(f"a {type(value).__name__} is no image: expected a Pillow image, a numpy array or a tensor")


def _channels_last(tensor: Any) -> _Array:
    """Return a tensor C x H x W or H x W as an array H x W x C or H x W."""
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # numpy has no bfloat16
    if tensor.ndim == 3:
        if tensor.shape[0] not in (1, 3, 4):
            raise EncodeError(f"a tensor of shape {tuple(tensor.shape)} is no image: expected 1, 3 or 4 x H x W")
        tensor = tensor.permute(1, 2, 0)
    array: _Array = tensor.numpy()
    return array


def _to_uint8(array: _Array) -> _Array:
    """Return an array H x W or H x W x C of bytes."""
    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (3, 4))):
        raise EncodeError(f"an array of shape {shape} is no image: expected H x W, or H x W x 1, 3 or 4")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise EncodeError(
            f"an array of {array.dtype} is no image: expected uint8, or floats from 0 to 1; "
            "grey of 16 bits may be given as a Pillow image"
        )
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # as it is for NaN
        raise EncodeError(f"float values from {low} to {high} (or NaN): expected values from 0 to 1")
    rounded: _Array = np.rint(array.astype(np.float32) * np.float32(255)).astype(np.uint8)
    return rounded


# A Pillow image to a mode that the format holds, without a change to the picture


def _fit(image: Image.Image, extension: str) -> Image.Image:
    modes = FORMATS[extension].modes
    image = _plain(image, extension)
    if extension == "gif" and image.mode in ("P", "LA", "RGB", "RGBA"):  # Pillow would leave colours out
        return _with_palette(image)
    if image.mode in modes:
        return image
    if image.mode == "L" and "1" in modes and set(image.tobytes()) <= {0, 255}:
        return image.convert("1")
    for wider in {"1": ("L", "RGB"), "L": ("RGB",), "P": ("RGB",), "LA": ("RGBA",)}.get(image.mode, ()):
        if wider in modes:
            return image.convert(wider)
    raise EncodeError(f"{extension} cannot hold an image of mode {image.mode}: it takes {', '.join(modes)}")


def _plain(image: Image.Image, extension: str) -> Image.Image:
    """Return a copy with transparency in its alpha only (or in the palette of a png), and with 16 bits as I;16."""
    transparency = image.info.get("transparency")
    if image.has_transparency_data and not (image.mode == "P" and extension in ("png", "img", "image")):
        image = image if image.mode in ("LA", "RGBA") else image.convert("LA" if image.mode in ("1", "L") else "RGBA")
    elif image.mode == "I" or image.mode.startswith("I;16"):
        image = _sixteen_bits(image)
    elif image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise EncodeError("a float image with values outside of the range from 0 to 1")
    image = image.copy()
    # What is not said to `save` comes from here: the compression of a former file, its resolution, a comment.
    image.info = {} if transparency is None or image.mode != "P" else {"transparency": transparency}
    return image


def _sixteen_bits(image: Image.Image) -> Image.Image:
    from PIL import Image  # noqa: PLC0415 (loaded by the first image)

    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise EncodeError(f"grey values from {values.min()} to {values.max()}: expected 16 bits, 0 to 65535")
    return Image.fromarray(values.astype(np.uint16))


def _with_palette(image: Image.Image) -> Image.Image:
    """Return the same picture with a palette that holds all its colours.

    Raises:
        EncodeError: it has more colours than a palette, half transparent ones, or several transparent ones.
    """
    from PIL import Image  # noqa: PLC0415 (loaded by the first image)

    transparent = image.mode == "RGBA"
    pixels = np.asarray(image.convert("RGBA"))
    packed = np.ascontiguousarray(pixels).view("<u4")[:, :, 0]
    colours, indices = np.unique(packed, return_inverse=True)
    palette = colours.view(np.uint8).reshape(-1, 4)
    alphas = set(palette[:, 3].tolist())
    if len(colours) > 256 or not alphas <= {0, 255} or np.count_nonzero(palette[:, 3] == 0) > 1:
        raise EncodeError(
            f"gif cannot hold this image exactly: it has {len(colours)} colours (alpha included), and gif takes "
            "256, each opaque but for one that is transparent"
        )
    result = Image.fromarray(indices.reshape(packed.shape).astype(np.uint8))
    result.putpalette(palette[:, :3].tobytes(), "RGB")
    if transparent and 0 in alphas:
        result.info["transparency"] = int(np.argmin(palette[:, 3]))
    return result


# To bytes


def _save(image: Image.Image, extension: str, quality: int | None, original: Image.Image) -> bytes:
    """Return the bytes; metadata of the original goes along where its colours have not been changed.

    A webp of no quality is lossless.
    """
    target = FORMATS[extension]
    options: dict[str, Any] = {}
    if image.mode == original.mode:
        options = {name: original.info[name] for name in target.metadata if isinstance(original.info.get(name), bytes)}
    if target.name == "JPEG":
        options |= {"quality": quality, "subsampling": 0}
    elif target.name == "WEBP":
        # Exact: colours count also where nothing is seen of them.
        options |= {"lossless": True, "exact": True} if quality is None else {"quality": quality, "exact": True}
    elif target.name == "PPM" and image.mode == "I;16":
        image = image.convert("I")
    stream = io.BytesIO()
    image.save(stream, target.name, **options)
    return stream.getvalue()

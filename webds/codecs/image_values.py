"""What a specification asks for, made of pixels: numpy arrays, torch tensors, Pillow images.

Memory is what costs time here. Each pass over an image's pixels is felt, and so is each large piece of memory that
is taken and given back, since its pages come from the operating system again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from webds.codecs.image_spec import ImageSpec

if TYPE_CHECKING:  # Pillow is loaded by the first image
    from PIL import Image

__all__ = ["array_as_asked", "image_as_asked", "pixels_as_asked", "stored_as"]

_Array: TypeAlias = NDArray[Any]
_CHUNK: Final = 1 << 16
# Names of Pillow that are not public, and may go: then there is a slower way.
_ENCODER: Final = "_getencoder"
_PLAIN: Final = "_new"


def stored_as(spec: ImageSpec) -> str:
    """Return in which order the bytes of a pixel are wanted for `pixels_as_asked`, as Pillow names it."""
    # Four bytes make a number that numpy takes apart faster than it picks every third byte.
    return "RGBX" if spec.container == "torch" and spec.mode == "RGB" else spec.mode


def image_as_asked(image: Image.Image, spec: ImageSpec) -> Any:
    """Return a loaded image, whose mode is that of ``spec``, as ``spec`` says."""
    if spec.container == "pil":
        from PIL import ImageFile  # noqa: PLC0415  # loaded by the first image

        if not isinstance(image, ImageFile.ImageFile):
            return image
        # A plain image, which keeps nothing of the file, and pickles, around the same pixels. Nobody else has them.
        plain = getattr(image, _PLAIN, None)
        return image.copy() if plain is None else plain(image.im)
    return pixels_as_asked(_pixels(image, stored_as(spec)), spec)


def pixels_as_asked(pixels: _Array, spec: ImageSpec) -> Any:
    """Return bytes H x W, or H x W x those of `stored_as`, as the array or tensor that ``spec`` says."""
    array = pixels
    if spec.container == "torch":
        array = pixels[None] if pixels.ndim == 2 else _planes(pixels, len(spec.mode))
    if spec.dtype == "float32":
        array = np.divide(array, np.float32(255), dtype=np.float32)
    return _to_tensor(array) if spec.container == "torch" else array


def array_as_asked(array: _Array, spec: ImageSpec, info: dict[Any, Any]) -> Any:
    """Return an array H x W or H x W x C, of the elements and colours of ``spec``, in its container.

    Args:
        array: the elements.
        spec: what is asked for.
        info: the metadata that a Pillow image gets, but for its transparent colour.
    """
    if spec.container == "numpy":
        return array
    if spec.container == "torch":
        return _to_tensor(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))
    from PIL import Image  # noqa: PLC0415  # loaded by the first image

    image = Image.fromarray(array)
    image.info = {name: value for name, value in info.items() if name != "transparency"}
    return image


def _pixels(image: Image.Image, order: str) -> _Array:
    """Return the bytes of the pixels, H x W or H x W x C, in memory of their own.

    Like ``np.array(image)``, which first puts the bytes together in one place and then copies them to another.
    """
    from PIL import Image  # noqa: PLC0415  # loaded by the first image

    width, height = image.size
    array = np.empty((height, width) if order == "L" else (height, width, len(order)), np.uint8)
    encoder_of = getattr(Image, _ENCODER, None)
    if encoder_of is None:
        array[...] = np.frombuffer(image.tobytes("raw", order), np.uint8).reshape(array.shape)
        return array
    target = array.reshape(-1).data
    encoder = encoder_of(image.mode, "raw", order)
    encoder.setimage(image.im, (0, 0, width, height))
    chunk = max(_CHUNK, 4 * width)  # it wants to have room for a row
    filled = status = 0
    while not status:
        _, status, data = encoder.encode(chunk)
        target[filled : filled + len(data)] = data
        filled += len(data)
    if filled != len(target):
        raise ValueError(f"Pillow handed out {filled} bytes of {len(target)}")
    return array


def _planes(pixels: _Array, channels: int) -> _Array:
    """Return bytes H x W x 4 as C x H x W, the first ``channels`` of them."""
    packed = pixels.view("<u4")[..., 0]
    planes = np.empty((channels, *packed.shape), np.uint8)
    for channel in range(channels):
        planes[channel] = packed >> (8 * channel) if channel else packed  # its low byte
    return planes


def _to_tensor(array: _Array) -> Any:
    import torch  # noqa: PLC0415  # loaded where it is asked for

    return torch.from_numpy(array)

"""Image specifications: what a decoded image is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, final

import attrs
from typing_extensions import override

from webds.codecs.image_size import Size, shown_size, to_size

__all__ = ["IMAGE_SPECS", "ImageSpec", "SizedSpec"]

_Container: TypeAlias = Literal["numpy", "torch", "pil"]
_Dtype: TypeAlias = Literal["uint8", "float32"]
_Mode: TypeAlias = Literal["L", "RGB", "RGBA"]


@final
@attrs.frozen
class ImageSpec:
    """What a decoded image is: container, element type and colours.

    Attributes:
        name: the name of the specification, lower-cased, such as ``"torchrgb8"``.
        container: ``"numpy"``, an array H x W x C, or H x W for ``L``; ``"torch"``, a tensor C x H x W, or
            1 x H x W for ``L``; ``"pil"``, a Pillow image.
        dtype: ``"uint8"``, values from 0 to 255, or ``"float32"``, the same divided by 255.
        mode: ``"L"`` (grey), ``"RGB"`` or ``"RGBA"``, as Pillow names them.
    """

    name: str
    container: _Container
    dtype: _Dtype
    mode: _Mode

    @classmethod
    def parse(cls, name: str) -> ImageSpec:
        """Return the specification of that name, in upper or lower case.

        Raises:
            ValueError: there is none; the text lists those that there are.
        """
        spec = IMAGE_SPECS.get(name.lower())
        if spec is None:
            raise ValueError(f"image specification {name!r}: expected one of {', '.join(IMAGE_SPECS)}")
        return spec


_ALL: Final = (
    ImageSpec("l8", "numpy", "uint8", "L"),
    ImageSpec("rgb8", "numpy", "uint8", "RGB"),
    ImageSpec("rgba8", "numpy", "uint8", "RGBA"),
    ImageSpec("l", "numpy", "float32", "L"),
    ImageSpec("rgb", "numpy", "float32", "RGB"),
    ImageSpec("rgba", "numpy", "float32", "RGBA"),
    ImageSpec("torchl8", "torch", "uint8", "L"),
    ImageSpec("torchrgb8", "torch", "uint8", "RGB"),
    ImageSpec("torchrgba8", "torch", "uint8", "RGBA"),
    ImageSpec("torchl", "torch", "float32", "L"),
    ImageSpec("torchrgb", "torch", "float32", "RGB"),
    ImageSpec("torch", "torch", "float32", "RGB"),
    ImageSpec("torchrgba", "torch", "float32", "RGBA"),
    ImageSpec("pill", "pil", "uint8", "L"),
    ImageSpec("pil", "pil", "uint8", "RGB"),
    ImageSpec("pilrgb", "pil", "uint8", "RGB"),
    ImageSpec("pilrgba", "pil", "uint8", "RGBA"),
)

IMAGE_SPECS: Final[Mapping[str, ImageSpec]] = MappingProxyType({spec.name: spec for spec in _ALL})
"""Name → specification."""


@final
@attrs.frozen
class SizedSpec:
    """The name of an image specification, and the size that images are brought to.

    Attributes:
        name: the name.
        size: the length of the shorter side, or (height, width), in pixels.
    """

    name: str
    size: Size = attrs.field(converter=to_size)

    @override
    def __str__(self) -> str:
        return f"{self.name}, resized to {shown_size(self.size)}"

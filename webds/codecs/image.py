"""Images: jpg png ppm pgm pbm webp tif bmp gif to numpy arrays, torch tensors and Pillow images, and back."""

from __future__ import annotations

from typing import Any, Final, final

import attrs
from typing_extensions import override

from webds.abc import Codec
from webds.codecs.image_read import MAX_PIXELS, decode_image
from webds.codecs.image_size import Size, to_size
from webds.codecs.image_spec import IMAGE_SPECS, ImageSpec
from webds.codecs.image_write import FORMATS, encode_image
from webds.errors import DecodeError, EncodeError
from webds.typing import Buffer

__all__ = ["IMAGE_SPECS", "ImageCodec", "ImageSpec", "imagehandler"]

_HALF_A_STEP: Final = 0.5 / 255


def _to_spec(spec: str | ImageSpec) -> ImageSpec:
    return spec if isinstance(spec, ImageSpec) else ImageSpec.parse(spec)


@final
@attrs.frozen
class ImageCodec(Codec[Any]):
    """Images, as one of the `IMAGE_SPECS`.

    **Decoding** looks at the data, not at the extension: a png named jpg is read as the png it is. Of several
    pictures in a file it takes the first. It goes by these rules:

    - Colour to grey is Rec. 601 luma in 8 bits, as in Pillow: ``(19595 R + 38470 G + 7471 B + 32768) >> 16``,
      taken of the colours, also where they come from a palette.
    - Alpha, transparent colours of a palette included, is dropped where the spec has none; an image without
      alpha is opaque.
    - CMYK becomes RGB by Pillow's formula, without colour management. Profiles are not applied.
    - Grey of 16 bits (png, pgm, tif) is scaled: float specs get ``v / 65535``, 8-bit ones the nearest of
      ``v / 257``. So is a 32-bit integer tif, whose values must lie within 16 bits. A float tif or pfm must hold
      values from 0 to 1. Colour of 16 bits is reduced by Pillow, to its high bytes.
    - The orientation of EXIF data is not applied (a tif's is, by Pillow). A Pillow image keeps its ``info``.
    - A file cut short is an error, unless the program itself has set Pillow's ``LOAD_TRUNCATED_IMAGES``.

    What comes back is new, writable and independent of the data; a tensor is contiguous.

    **With a size** the image is brought to exactly that by one pass of Pillow's BILINEAR filter, which smooths as
    much as it shrinks, in the colours of the spec: in 8 bits, or floats for grey of more; colours are weighted by
    their alpha. A jpg at least twice as large is read at 1/2, 1/4 or 1/8 of its size, the smallest that is no
    smaller than asked for, in a fraction of the time. Compared with reading it whole, photographs get a little
    sharper: pixels change by less than 4 of 255 on average. An image may also get larger.

    **Where simplejpeg is installed** (the extra ``fast``) it reads jpg files, unless a Pillow image, or grey out of
    colour, is asked for. The pixels are the same where both are built on libjpeg-turbo, as the wheels of Pillow and
    simplejpeg are; files that have any flaw are left to Pillow. What it read is brought to a size by torch, on
    processors with AVX2: by the same filter, but bytes may be rounded to the neighbour of what Pillow gives.

    **Encoding** writes the format of the field's last extension (``img`` and ``image`` are written as png). It
    takes, whatever the spec is, Pillow images, numpy arrays H x W or H x W x (1, 3 or 4), and torch tensors
    (1, 3 or 4) x H x W or H x W, of uint8 or of floats from 0 to 1. A format that cannot hold the image is an
    error: alpha in a jpg, colour in a pgm, grey between black and white in a pbm, more than 256 colours in a gif.
    EXIF data and a colour profile of a Pillow image go along where the format has a place for them, other
    metadata does not.

    **What comes back** after encoding and decoding, in units of 1/255 (see `bound`):

    - png ppm pgm pbm webp tif bmp gif: uint8 and Pillow images (mode, size and pixels) exactly; floats, of which
      8 bits are stored, within 0.5, and exactly where they are multiples of 1/255.
    - jpg of quality 100, whose colour is not subsampled: grey within 4, colour within 12. Half a quantisation
      step in each of the 64 coefficients of a block makes at most 3.5; the way back to RGB takes up to
      1 + 1.772 times that. (Measured: 2 and 5.) Lower qualities have no stated bound.
    - webp with ``lossy_webp``: alpha exactly. Its colour has half the resolution, so that single pixels of a strong
      colour may change to any other: no bound is stated.

    Attributes:
        spec: name of the specification, or an `ImageSpec`.
        quality: 1 to 100, of jpg, and of webp with ``lossy_webp``.
        max_pixels: an image with more is refused before its pixels take memory. (Pillow's own limit of twice
            ``Image.MAX_IMAGE_PIXELS`` stays in force for tif, webp and gif.) So is one that ``size`` would make
            have more.
        format: the extension to encode for, whatever the field is called.
        size: what images are brought to when they are decoded: the length of the shorter side, the longer one
            keeping the proportion (rounded down), or (height, width); in pixels. To encode an image that would come
            back in another size is an error.
        fast: whether simplejpeg may decode, where it is installed.
        lossy_webp: whether webp is written lossy, in a fraction of the size; otherwise it is lossless.
    """

    spec: ImageSpec = attrs.field(default=IMAGE_SPECS["rgb"], converter=_to_spec)
    quality: int = attrs.field(default=100, kw_only=True)
    max_pixels: int = attrs.field(default=MAX_PIXELS, kw_only=True)
    format: str | None = attrs.field(default=None, kw_only=True)
    size: Size | None = attrs.field(default=None, kw_only=True, converter=attrs.converters.optional(to_size))
    fast: bool = attrs.field(default=True, kw_only=True)
    lossy_webp: bool = attrs.field(default=False, kw_only=True)
    lossless: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality={self.quality}: expected 1 to 100")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels={self.max_pixels}: expected a number from 1")
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"format={self.format!r}: expected one of {', '.join(FORMATS)}, or None")
        # Not known to be so where the field decides.
        object.__setattr__(self, "lossless", self.format is not None and self.bound(self.format) == 0)

    def _extension(self, field: str) -> str:
        extension = self.format or field.rpartition(".")[2].lower()
        if extension not in FORMATS:
            raise EncodeError(f"no image format is called {extension!r}: expected {', '.join(FORMATS)}", field=field)
        return extension

    def bound(self, field: str) -> float:
        """Return how far an element of a value of this spec may be off after `encode` and `decode`.

        In the values of the spec: bytes up to 255, or floats up to 1. So 0.0 means that all elements are equal, and
        255.0, or 1.0 for floats, that no bound is stated.

        Raises:
            EncodeError: ``field`` has no extension of an image.
        """
        target = FORMATS[self._extension(field)]
        steps = 0.0
        if target.lossy:
            stated = 4.0 if self.spec.mode == "L" else 12.0
            steps = stated if self.quality == 100 else 255.0
        elif target.name == "WEBP" and self.lossy_webp:
            steps = 255.0
        return steps if self.spec.dtype == "uint8" else min(1.0, steps / 255 + _HALF_A_STEP)

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        try:
            return decode_image(data, self.spec, self.max_pixels, self.size, self.fast)
        except DecodeError as error:
            error.locate(field=field)
            raise

    @override
    def encode(self, value: Any, field: str) -> bytes:
        try:
            return encode_image(value, self._extension(field), self.quality, self.size, lossy_webp=self.lossy_webp)
        except EncodeError as error:
            error.locate(field=field)
            raise


def imagehandler(data: Buffer, imagespec: str) -> Any:
    """Return the image in ``data`` as the specification of that name says (see `ImageCodec`).

    Raises:
        ValueError: there is no such specification.
        DecodeError: the data is no such image.
    """
    return decode_image(data, ImageSpec.parse(imagespec))

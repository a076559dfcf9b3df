"""What a field is for the report: which of a few kinds, by the decoder that its extension has."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from typing import Any, Final, final

from webds.abc import Decoder
from webds.codecs.audio import AudioDecoder
from webds.codecs.gzipped import GzipCodec
from webds.codecs.image import ImageCodec
from webds.codecs.objects import PickleCodec
from webds.codecs.tables import default_decoders
from webds.codecs.text import IntCodec, JsonCodec, TextCodec
from webds.codecs.video import VideoDecoder
from webds.tar import by_extension

__all__ = ["Kind", "decoder_of", "inflated", "kind_of"]

_MOST_INFLATED: Final = 1 << 26


@final
class Kind(enum.StrEnum):
    """What there is to see of a field."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    TEXT = "text"
    JSON = "json"
    CLASS = "class"
    ARRAY = "array"
    BYTES = "bytes"


_KINDS: Final[tuple[tuple[type[Decoder[Any]], Kind], ...]] = (
    (ImageCodec, Kind.IMAGE),
    (AudioDecoder, Kind.AUDIO),
    (VideoDecoder, Kind.VIDEO),
    (TextCodec, Kind.TEXT),
    (JsonCodec, Kind.JSON),
    (IntCodec, Kind.CLASS),
    (PickleCodec, Kind.BYTES),  # nobody has said that these data are trusted
    (Decoder, Kind.ARRAY),
)


@functools.cache
def _decoders() -> Mapping[str, Decoder[Any]]:
    return {name: decoder for name, decoder in default_decoders("pil").items() if not isinstance(decoder, GzipCodec)}


def _inner(field: str) -> str:
    return field.removesuffix(".gz")


def decoder_of(field: str) -> Decoder[Any] | None:
    """Return what decodes a field, once it is inflated; None where nothing is known, or nothing is safe."""
    decoder = by_extension(_decoders(), _inner(field))
    return None if isinstance(decoder, PickleCodec) else decoder


@functools.lru_cache(maxsize=1024)
def kind_of(field: str) -> Kind:
    """Return the kind of a field, by its name."""
    decoder = by_extension(_decoders(), _inner(field))
    return next((kind for of, kind in _KINDS if isinstance(decoder, of)), Kind.BYTES)


def inflated(data: bytes, field: str) -> bytes:
    """Return the content of a field; of one that ends with ``.gz``, what is compressed in it.

    Raises:
        DecodeError: it is no gzip data, or far too much.
    """
    if not field.endswith(".gz"):
        return data
    content: bytes = GzipCodec(max_bytes=_MOST_INFLATED).decode(data, "gz")
    return content

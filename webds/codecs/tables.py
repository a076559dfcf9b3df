"""Which extension has which decoder and encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, final

import attrs
from typing_extensions import Buffer, override

from webds.abc import Decoder, Encoder
from webds.codecs.arrays import NpyCodec, NpzCodec, TenbinCodec
from webds.codecs.audio import AudioDecoder
from webds.codecs.buffers import flat
from webds.codecs.exact import shown
from webds.codecs.gzipped import GzipCodec
from webds.codecs.image import ImageCodec
from webds.codecs.image_spec import IMAGE_SPECS, SizedSpec
from webds.codecs.objects import MsgpackCodec, PickleCodec
from webds.codecs.text import IntCodec, JsonCodec, TextCodec
from webds.codecs.torchcodec import TorchCodec
from webds.codecs.video import VideoDecoder
from webds.errors import DecodeError, EncodeError

__all__ = [
    "IMAGE_EXTENSIONS",
    "AnyDecoder",
    "AnyEncoder",
    "ExtensionHandler",
    "FunctionDecoder",
    "FunctionEncoder",
    "as_decoder",
    "as_encoder",
    "decoders_from",
    "default_decoders",
    "default_encoders",
    "default_handlers",
    "extended",
]

AnyDecoder: TypeAlias = Decoder[Any] | Callable[[bytes], Any]
"""A decoder, or a function of the data alone."""

AnyEncoder: TypeAlias = Encoder[Any] | Callable[[Any], Buffer]
"""An encoder, or a function of the value alone."""

IMAGE_EXTENSIONS: Final = (
    "jpg", "jpeg", "png", "ppm", "pgm", "pbm", "img", "image", "webp", "tif", "tiff", "bmp", "gif",
)  # fmt: skip

_DATA: Final[dict[str, Callable[[], Decoder[Any]]]] = {
    "cls cls2 class count index inx id": IntCodec,
    "txt text transcript": TextCodec,
    "json jsn": JsonCodec,
    "npy": NpyCodec,
    "npz": NpzCodec,
    "ten tb": TenbinCodec,
    "pt pth": TorchCodec,
    "mp msgpack msg": MsgpackCodec,
    "pyd pickle pkl": PickleCodec,
    "flac wav mp3 ogg": AudioDecoder,
    "mp4 webm avi mov": VideoDecoder,
}

_GZIP: Final = "gz"


def _by_extension(entries: Iterable[tuple[str, Decoder[Any]]]) -> dict[str, Decoder[Any]]:
    return {extension: decoder for extensions, decoder in entries for extension in extensions.split()}


def _with_gzip(table: Mapping[str, Decoder[Any]], gzip: GzipCodec) -> dict[str, Decoder[Any]]:
    """Return ``table`` with ``gzip``, made to decode what is compressed as ``table`` decodes the rest."""
    inner = {extension: decoder for extension, decoder in table.items() if extension != _GZIP}
    return {**table, _GZIP: attrs.evolve(gzip, inner=inner)}


def default_decoders(spec: str | None = None) -> dict[str, Decoder[Any]]:
    """Return a new table extension → decoder.

    Args:
        spec: the image specification (a name of `webds.IMAGE_SPECS`, in any case) that images are decoded to; None
            for a table without image extensions, with which images stay bytes.

    Raises:
        ValueError: there is no such specification; the text lists those that there are.
    """
    table = _by_extension((extensions, make()) for extensions, make in _DATA.items())
    if spec is not None:
        table |= dict.fromkeys(IMAGE_EXTENSIONS, ImageCodec(spec))
    return _with_gzip(table, GzipCodec())


def default_encoders() -> dict[str, Encoder[Any]]:
    """Return a new table extension → encoder: of all extensions that have one, images included."""
    return {name: codec for name, codec in default_decoders("rgb").items() if isinstance(codec, Encoder)}


@final
@attrs.frozen
class FunctionDecoder(Decoder[Any]):
    """A function of the data as a `Decoder`.

    What the function raises passes through as it is.

    Attributes:
        function: called with the data as bytes.
    """

    function: Callable[[bytes], Any]

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        if not isinstance(data, bytes):
            try:
                data = bytes(flat(data))
            except TypeError as error:
                raise DecodeError(f"no bytes: {shown(data)}", field=field) from error
        return self.function(data)


@final
@attrs.frozen
class FunctionEncoder(Encoder[Any]):
    """A function of the value as an `Encoder`.

    What the function raises passes through as it is; it must return bytes.

    Attributes:
        function: called with the value.
    """

    function: Callable[[Any], Any]

    @override
    def encode(self, value: Any, field: str) -> bytes:
        data = self.function(value)
        if isinstance(data, bytes):
            return data
        try:
            return bytes(flat(data))
        except TypeError as error:
            raise EncodeError(f"the encoder function returned {shown(data)}, not bytes", field=field) from error


@final
@attrs.frozen
class ExtensionHandler:
    """A decoder as a function of the data alone: what `default_handlers` consists of.

    Attributes:
        decoder: does the work.
        extension: the name of the field, as far as it is known, for errors.
    """

    decoder: Decoder[Any]
    extension: str

    def __call__(self, data: Buffer) -> Any:
        """Return the value of ``data``."""
        return self.decoder.decode(data, self.extension)


def as_decoder(decoder: AnyDecoder) -> Decoder[Any]:
    """Return ``decoder`` itself, or the function that it is as a decoder.

    Raises:
        TypeError: it is neither, or a class of decoders in place of one.
    """
    if isinstance(decoder, Decoder):
        return decoder
    if isinstance(decoder, ExtensionHandler):
        return decoder.decoder
    if not callable(decoder) or (isinstance(decoder, type) and issubclass(decoder, Decoder)):
        raise TypeError(f"{shown(decoder)} is no decoder: expected a Decoder object, or a function of the data")
    return FunctionDecoder(decoder)


def as_encoder(encoder: AnyEncoder) -> Encoder[Any]:
    """Return ``encoder`` itself, or the function that it is as an encoder.

    Raises:
        TypeError: it is neither, or a class of encoders in place of one.
    """
    if isinstance(encoder, Encoder):
        return encoder
    if not callable(encoder) or (isinstance(encoder, type) and issubclass(encoder, Encoder)):
        raise TypeError(f"{shown(encoder)} is no encoder: expected an Encoder object, or a function of the value")
    return FunctionEncoder(encoder)


def _adapted(handlers: Mapping[str, AnyDecoder]) -> dict[str, Decoder[Any]]:
    return {name.lower().removeprefix("."): as_decoder(handler) for name, handler in handlers.items()}


def extended(table: Mapping[str, Decoder[Any]], own: Mapping[str, AnyDecoder]) -> dict[str, Decoder[Any]]:
    """Return a new table with the entries of ``own`` in place of, or besides, those of ``table``.

    The table's `GzipCodec`, if it has one and ``own`` does not, decodes what is compressed by the new entries too.
    """
    added = _adapted(own)
    result = {**table, **added}
    gzip = result.get(_GZIP)
    return _with_gzip(result, gzip) if isinstance(gzip, GzipCodec) and _GZIP not in added else result


def decoders_from(handlers: str | SizedSpec | Mapping[str, AnyDecoder]) -> dict[str, Decoder[Any]]:
    """Return a new table extension → decoder for what a user gave to ``decode``.

    Args:
        handlers: the name of an image specification, in any case, which stands for what `default_handlers` has
            for it now; with a size for those of them that are an `ImageCodec`; or a table extension → decoder or
            function of the data, which stands for just that.

    Raises:
        ValueError: `default_handlers` has no such name; the text lists those that it has.
        TypeError: an entry is neither a decoder nor a function.
    """
    if isinstance(handlers, SizedSpec):
        table = decoders_from(handlers.name)
        images = {name: codec for name, codec in table.items() if isinstance(codec, ImageCodec)}
        return extended(table, {name: attrs.evolve(codec, size=handlers.size) for name, codec in images.items()})
    if not isinstance(handlers, str):
        return _adapted(handlers)
    name = handlers if handlers in default_handlers else handlers.lower()
    if name not in default_handlers:
        raise ValueError(f"image specification {handlers!r}: expected one of {', '.join(default_handlers)}")
    table = _adapted(default_handlers[name])
    # The built-in gz follows the changes that were made to the other entries.
    return extended(table, {}) if isinstance(default_handlers[name].get(_GZIP), ExtensionHandler) else table


def _make_handlers() -> dict[str, dict[str, Callable[[bytes], Any]]]:
    common = {extension: ExtensionHandler(decoder, extension) for extension, decoder in default_decoders().items()}
    handlers: dict[str, dict[str, Callable[[bytes], Any]]] = {}
    for spec in IMAGE_SPECS.values():
        codec = ImageCodec(spec)
        handlers[spec.name] = {**common, **{name: ExtensionHandler(codec, name) for name in IMAGE_EXTENSIONS}}
    return handlers


default_handlers: dict[str, dict[str, Callable[[bytes], Any]]] = _make_handlers()
"""Image specification → extension → function of the data; a change here changes ``decode(specification)``."""

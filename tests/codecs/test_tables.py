"""The tables of extensions, as they come and as users change them."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from webds import codecs
from webds.abc import Codec, Decoder, Encoder
from webds.codecs.image_spec import IMAGE_SPECS
from webds.codecs.tables import (
    IMAGE_EXTENSIONS,
    ExtensionHandler,
    FunctionDecoder,
    FunctionEncoder,
    as_decoder,
    as_encoder,
    decoders_from,
    default_decoders,
    default_encoders,
    default_handlers,
    extended,
)
from webds.errors import DecodeError, EncodeError

DATA = {
    "cls cls2 class count index inx id": codecs.IntCodec,
    "txt text transcript": codecs.TextCodec,
    "json jsn": codecs.JsonCodec,
    "npy": codecs.NpyCodec,
    "npz": codecs.NpzCodec,
    "ten tb": codecs.TenbinCodec,
    "pt pth": codecs.TorchCodec,
    "mp msgpack msg": codecs.MsgpackCodec,
    "pyd pickle pkl": codecs.PickleCodec,
    "flac wav mp3 ogg": codecs.AudioDecoder,
    "mp4 webm avi mov": codecs.VideoDecoder,
    "gz": codecs.GzipCodec,
}
IMAGES = {"jpg", "jpeg", "png", "ppm", "pgm", "pbm", "img", "image", "webp", "tif", "tiff", "bmp", "gif"}
MEDIA = {"flac", "wav", "mp3", "ogg", "mp4", "webm", "avi", "mov"}


@pytest.fixture
def handlers() -> Iterator[dict[str, Any]]:
    """The handlers of "rgb", put back as they were afterwards."""
    before = dict(default_handlers["rgb"])
    yield default_handlers["rgb"]
    default_handlers["rgb"] = before


def upper(data: bytes) -> str:
    return data.decode().upper()


def png() -> bytes:
    return default_encoders()["png"].encode(np.zeros((2, 3, 3), "u1"), "png")


def test_every_extension_has_its_decoder() -> None:
    expected = {extension: kind for extensions, kind in DATA.items() for extension in extensions.split()}
    assert {name: type(decoder) for name, decoder in default_decoders().items()} == expected
    with_images = {name: type(decoder) for name, decoder in default_decoders("rgb").items()}
    assert with_images == expected | dict.fromkeys(IMAGES, codecs.ImageCodec)
    assert set(IMAGE_EXTENSIONS) == IMAGES


def test_every_extension_but_media_has_an_encoder_that_is_a_codec() -> None:
    encoders = default_encoders()
    assert set(encoders) == set(default_decoders("rgb")) - MEDIA
    assert all(isinstance(encoder, Codec) for encoder in encoders.values())


def test_tables_are_new_each_time() -> None:
    default_decoders("rgb").clear()
    default_encoders().clear()
    assert default_decoders("rgb")
    assert default_encoders()


@pytest.mark.parametrize("spec", ["l8", "RGB", "TorchRGB8", "pil"])
def test_images_are_decoded_as_the_specification_says(spec: str) -> None:
    decoder = default_decoders(spec)["png"]
    assert isinstance(decoder, codecs.ImageCodec)
    assert decoder.spec is IMAGE_SPECS[spec.lower()]


@pytest.mark.parametrize("make", [default_decoders, decoders_from])
def test_an_unknown_specification_is_an_error_that_names_all(make: Any) -> None:
    with pytest.raises(ValueError, match="'rbg'") as caught:
        make("rbg")
    assert all(spec in str(caught.value) for spec in IMAGE_SPECS)


def test_tables_pickle() -> None:
    for table in (default_decoders("torchrgb"), default_encoders(), default_handlers, decoders_from({"a": upper})):
        assert pickle.loads(pickle.dumps(table)) == table


def test_default_handlers_are_functions_of_the_data_by_specification_and_extension() -> None:
    assert set(default_handlers) == set(IMAGE_SPECS)
    assert all(set(table) == set(default_decoders("rgb")) for table in default_handlers.values())
    assert default_handlers["rgb"]["cls"](b"7") == 7
    image = default_handlers["torchrgb8"]["png"](png())
    assert image.dtype == torch.uint8
    assert image.shape == (3, 2, 3)
    with pytest.raises(DecodeError) as caught:
        default_handlers["l"]["txt"](b"\xff")
    assert caught.value.field == "txt"


def test_a_specification_stands_for_what_default_handlers_has_now(handlers: dict[str, Any]) -> None:
    assert decoders_from("rgb") == default_decoders("rgb")
    handlers["mp4"] = len
    handlers["flac"] = codecs.TextCodec()
    del handlers["png"]
    table = decoders_from("RGB")
    assert table["mp4"] == FunctionDecoder(len)
    assert table["flac"] == codecs.TextCodec()
    assert "png" not in table
    assert decoders_from("rgb8")["mp4"] == codecs.VideoDecoder()


def test_compressed_fields_follow_a_changed_handler(handlers: dict[str, Any]) -> None:
    handlers["txt"] = upper
    assert decoders_from("rgb")["gz"].decode(gzip.compress(b"abc"), "txt.gz") == "ABC"
    handlers["gz"] = len
    assert decoders_from("rgb")["gz"] == FunctionDecoder(len)
    del handlers["gz"]
    assert "gz" not in decoders_from("rgb")


def test_a_user_may_add_a_specification_of_any_name() -> None:
    default_handlers["Mine"] = {"txt": upper}
    try:
        assert decoders_from("Mine") == {"txt": FunctionDecoder(upper)}
    finally:
        del default_handlers["Mine"]


def test_a_mapping_stands_for_its_entries() -> None:
    table = decoders_from({"TXT": upper, ".cls": codecs.IntCodec(), "png": default_handlers["l8"]["png"]})
    assert table == {"txt": FunctionDecoder(upper), "cls": codecs.IntCodec(), "png": codecs.ImageCodec("l8")}


def test_own_entries_go_before_those_of_a_table_also_where_compressed() -> None:
    table = default_decoders()
    result = extended(table, {"Txt": upper, "new": len})
    assert result["txt"].decode(b"a", "txt") == "A"
    assert result["gz"].decode(gzip.compress(b"a"), "txt.gz") == "A"
    assert result["gz"].decode(gzip.compress(b"abc"), "new.gz") == 3
    assert result["gz"].decode(gzip.compress(b"7"), "cls.gz") == 7
    assert table == default_decoders()
    limited = codecs.GzipCodec(max_bytes=5)
    assert extended(table, {"gz": limited})["gz"] is limited
    kept = extended({"gz": limited}, {"txt": upper})["gz"]
    assert isinstance(kept, codecs.GzipCodec)
    assert kept.max_bytes == 5


def test_a_decoder_function_gets_bytes_and_its_exceptions_pass_through() -> None:
    decoder = as_decoder(type)
    assert decoder.decode(memoryview(b"abc"), "x") is bytes
    with pytest.raises(ZeroDivisionError):
        as_decoder(lambda data: 1 // len(data)).decode(b"", "x")
    not_bytes: Any = 7
    with pytest.raises(DecodeError):
        decoder.decode(not_bytes, "x")


def test_an_encoder_function_must_return_bytes_and_its_exceptions_pass_through() -> None:
    assert as_encoder(bytearray).encode(b"abc", "x") == b"abc"
    assert type(as_encoder(bytearray).encode(b"abc", "x")) is bytes
    with pytest.raises(ZeroDivisionError):
        as_encoder(lambda value: bytes(1 // value)).encode(0, "x")
    not_bytes: Any = str
    with pytest.raises(EncodeError, match="'7', not bytes") as caught:
        as_encoder(not_bytes).encode(7, "a.x")
    assert caught.value.field == "a.x"


def test_what_is_one_already_stays_as_it_is() -> None:
    text = codecs.TextCodec()
    assert as_decoder(text) is text
    assert as_encoder(text) is text
    assert as_decoder(ExtensionHandler(text, "txt")) is text
    assert as_encoder(FunctionEncoder(upper)) == FunctionEncoder(upper)


@pytest.mark.parametrize("wrong", [7, None, "rgb", codecs.TextCodec])
def test_what_is_neither_decoder_nor_function_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="expected a Decoder object"):
        as_decoder(wrong)
    with pytest.raises(TypeError, match="expected an Encoder object"):
        as_encoder(wrong)


def test_the_classes_are_final_and_named_by_the_package() -> None:
    for name in codecs.__all__:
        kind = getattr(codecs, name)
        assert getattr(kind, "__final__", False), name
        assert name == "Video" or issubclass(kind, (Decoder, Encoder))


def test_tables_are_there_without_torch_or_pillow() -> None:
    optional = {"torch", "PIL", "av", "soundfile", "msgpack"}
    code = f"import sys, webds.codecs.tables; print(sorted({optional} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"

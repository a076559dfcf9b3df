"""Bytes of one field to a value, and back: one class per format.

======================================  ============================================================
extensions                              class
======================================  ============================================================
txt text transcript                     `TextCodec`
cls cls2 class count index inx id       `IntCodec`
json jsn                                `JsonCodec`
jpg jpeg png ppm pgm pbm img image      `ImageCodec`
webp tif tiff bmp gif
npy · npz                               `NpyCodec` · `NpzCodec`
ten tb                                  `TenbinCodec`
pt pth                                  `TorchCodec`
mp msgpack msg                          `MsgpackCodec`
pyd pickle pkl                          `PickleCodec`
flac wav mp3 ogg                        `AudioDecoder`
mp4 webm avi mov                        `VideoDecoder`
gz, after another extension             `GzipCodec`
======================================  ============================================================

`webds.codecs.tables` has this as tables, and makes decoders of functions. torch, Pillow and the optional packages
are imported when a value first needs them.
"""

from __future__ import annotations

from webds.codecs.arrays import NpyCodec, NpzCodec, TenbinCodec
from webds.codecs.audio import AudioDecoder
from webds.codecs.gzipped import GzipCodec
from webds.codecs.image import ImageCodec
from webds.codecs.objects import MsgpackCodec, PickleCodec
from webds.codecs.text import IntCodec, JsonCodec, TextCodec
from webds.codecs.torchcodec import TorchCodec
from webds.codecs.video import Video, VideoDecoder

__all__ = [
    "AudioDecoder",
    "GzipCodec",
    "ImageCodec",
    "IntCodec",
    "JsonCodec",
    "MsgpackCodec",
    "NpyCodec",
    "NpzCodec",
    "PickleCodec",
    "TenbinCodec",
    "TextCodec",
    "TorchCodec",
    "Video",
    "VideoDecoder",
]

"""Images, audio and video keep to the contracts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import override

from webds.codecs.audio import AudioDecoder
from webds.codecs.image import ImageCodec
from webds.codecs.video import Video, VideoDecoder
from webds.testing import CodecSuite, DecoderSuite

NOISE: NDArray[np.uint8] = np.random.default_rng(2).integers(0, 256, (20, 12, 3), dtype=np.uint8)
JUNK = [(b"", "png"), (b"GIF", "gif"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "png"), (b"\x89PNG\r\n\x1a\n", "png")]


class TestLosslessImages(CodecSuite[Any]):
    @override
    def make_codec(self) -> ImageCodec:
        return ImageCodec("rgb8", format="png")

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        return [(NOISE.copy(), "png"), (NOISE[:1, :1].copy(), "a.png")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(NOISE.astype(np.int64), "png"), ("text", "png"), (NOISE / 100, "png")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return JUNK


class TestLosslessWebp(CodecSuite[Any]):
    @override
    def make_codec(self) -> ImageCodec:
        return ImageCodec("torchrgb8", format="webp")

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        tensor = torch.from_numpy(NOISE).permute(2, 0, 1).contiguous()
        return [(tensor, "webp"), (tensor[:, :1, :1].clone(), "a.webp")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(torch.zeros(3, 2, 2, dtype=torch.int64), "webp"), (torch.zeros(2, 2, 2), "webp")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [*JUNK, (b"RIFF\x04\0\0\0WEBP", "webp")]


class TestPillowImages(CodecSuite[Any]):
    @override
    def make_codec(self) -> ImageCodec:
        return ImageCodec("pil", format="bmp")

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        return [(Image.fromarray(NOISE), "bmp"), (Image.fromarray(NOISE[:3]), "bmp")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(Image.new("RGBA", (2, 2)), "bmp"), (Image.new("F", (2, 2)), "bmp")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return JUNK


class TestLossyImages(CodecSuite[torch.Tensor]):
    @override
    def make_codec(self) -> ImageCodec:
        return ImageCodec("torchrgb")

    @override
    def values(self) -> Sequence[tuple[torch.Tensor, str]]:
        tensor = torch.from_numpy(NOISE).permute(2, 0, 1) / 255
        return [(tensor, "jpg"), (tensor.flip(1), "jpeg"), (tensor * 0.999, "png"), (tensor * 0.999, "webp")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(torch.full((3, 2, 2), 2.0), "jpg"), (torch.zeros(4, 2, 2), "jpg"), (torch.zeros(3, 2, 2), "txt")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return JUNK

    @override
    def same(self, actual: torch.Tensor, expected: torch.Tensor) -> bool:
        widest = ImageCodec("torchrgb").bound("jpg")
        return actual.shape == expected.shape and float((actual - expected).abs().max()) <= widest

    def test_each_field_stays_within_its_bound(self) -> None:
        codec = self.make_codec()
        for value, field in self.values():
            found = codec.decode(codec.encode(value, field), field)
            assert float((found - value).abs().max()) <= codec.bound(field)


class TestAudio(DecoderSuite[tuple[torch.Tensor, int]]):
    @override
    def make_decoder(self) -> AudioDecoder:
        return AudioDecoder()

    @override
    def encoded(self) -> Sequence[tuple[bytes, str, tuple[torch.Tensor, int]]]:
        samples = NOISE.reshape(-1, 2).astype(np.int16)
        examples: list[tuple[bytes, str, tuple[torch.Tensor, int]]] = []
        for kind in ("flac", "wav"):
            stream = io.BytesIO()
            soundfile.write(stream, samples, 8000, format=kind.upper(), subtype="PCM_16")
            value = torch.from_numpy(samples.T / np.float32(32768)).contiguous()
            examples.append((stream.getvalue(), kind, (value, 8000)))
        return examples

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"", "wav"), (b"fLaC", "flac"), (b"RIFF\0\0\0\0WAVE", "wav"), (b"OggS", "ogg"), (b"<html>", "mp3")]


class TestVideo(DecoderSuite[Video]):
    @override
    def make_decoder(self) -> VideoDecoder:
        return VideoDecoder()

    @override
    def encoded(self) -> Sequence[tuple[bytes, str, Video]]:
        examples: list[tuple[bytes, str, Video]] = []
        for frame in (NOISE, NOISE[::-1]):
            stream = io.BytesIO()
            with av.open(stream, "w", format="mov") as file:
                track: Any = file.add_stream("png", rate=5)
                track.height, track.width, track.pix_fmt = 20, 12, "rgb24"
                file.mux(track.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
                file.mux(track.encode(None))
            examples.append((stream.getvalue(), "mov", Video(stream.getvalue())))
        return examples

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"", "mp4"), (b"#EXTM3U\n", "mp4"), (b"\0\0\0\x20ftyp", "mov"), (b"RIFF\0\0\0\0WAVE", "avi")]

    @override
    def same(self, actual: Video, expected: Video) -> bool:
        return actual.rate == expected.rate and torch.equal(actual.frames, expected.frames)

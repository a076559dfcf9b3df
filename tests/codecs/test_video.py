"""Video: files that av writes, whole, cut short, damaged, too large, and of other formats."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from webds.codecs.video import Video, VideoDecoder
from webds.errors import DecodeError, MissingExtraError

RNG = np.random.default_rng(8)
FRAMES: NDArray[np.uint8] = RNG.integers(0, 256, (6, 32, 48, 3), dtype=np.uint8)


def written(
    kind: str, codec: str, pixels: str, frames: NDArray[np.uint8] = FRAMES, rate: int = 25, **options: str
) -> bytes:
    stream = io.BytesIO()
    movflags = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    with av.open(stream, "w", format=kind, options=movflags) as file:
        track: Any = file.add_stream(codec, rate=rate, options=options)
        track.height, track.width, track.pix_fmt = frames.shape[1], frames.shape[2], pixels
        for frame in frames:
            file.mux(track.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(track.encode(None))
    return stream.getvalue()


EXACT = {
    "mp4": written("mp4", "libx264rgb", "rgb24", qp="0"),
    "mp4-fragments": written("mp4", "libx264rgb", "rgb24", qp="0", movflags="frag_keyframe+empty_moov"),
    "mov": written("mov", "qtrle", "rgb24"),
    "mov-png": written("mov", "png", "rgb24"),
    "avi": written("avi", "rawvideo", "bgr24"),
    "webm": written("webm", "libvpx-vp9", "gbrp", lossless="1"),
}
FILES = EXACT | {
    "mp4-h264": written("mp4", "libx264", "yuv420p"),
    "avi-mjpeg": written("avi", "mjpeg", "yuvj420p"),
    "webm-vp8": written("webm", "libvpx", "yuv420p"),
}


@pytest.mark.parametrize("name", EXACT)
def test_frames_of_lossless_files_are_exact(name: str) -> None:
    video = VideoDecoder().decode(EXACT[name], "x.mp4")
    assert isinstance(video, Video)
    assert video.frames.dtype == torch.uint8
    assert video.frames.is_contiguous()
    np.testing.assert_array_equal(video.frames.numpy(), FRAMES)


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_all_its_frames_and_its_rate(name: str) -> None:
    video = VideoDecoder().decode(FILES[name], "x.mp4")
    assert video.frames.shape == FRAMES.shape
    assert video.rate == 25.0
    assert type(video.rate) is float


def test_smooth_pictures_survive_a_lossy_codec() -> None:
    y, x = np.mgrid[:32, :48]
    smooth = np.stack([np.stack([x * 4, y * 6, x + y + 20 * t], axis=-1) for t in range(6)]).astype(np.uint8)
    frames = VideoDecoder().decode(written("mp4", "libx264", "yuv420p", smooth), "mp4").frames.numpy()
    assert np.abs(frames.astype(int) - smooth).mean() < 4


@pytest.mark.parametrize("rate", [1, 10, 30, 60])
def test_the_rate_is_in_frames_a_second_and_decodes_nothing(rate: int) -> None:
    data = written("mov", "qtrle", "rgb24", rate=rate)
    video = VideoDecoder().decode(data, "mov")
    assert video.rate == rate
    assert video._frames is None


def test_odd_sizes_have_no_padding() -> None:
    frames = RNG.integers(0, 256, (2, 13, 17, 3), dtype=np.uint8)
    np.testing.assert_array_equal(VideoDecoder().decode(written("mov", "png", "rgb24", frames), "mov").frames, frames)


def test_frames_are_decoded_once_when_asked_for() -> None:
    video = VideoDecoder().decode(EXACT["avi"], "avi")
    assert video._frames is None
    assert video.frames is video.frames


def test_a_video_pickles_as_its_bytes_with_its_settings() -> None:
    video = VideoDecoder(max_bytes=FRAMES.nbytes).decode(EXACT["mov"], "clip.mov")
    assert video.frames.shape == FRAMES.shape
    pickled = pickle.dumps(video)
    assert len(pickled) < len(video.data) + 500
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy.frames.numpy(), FRAMES)
    small = pickle.loads(pickle.dumps(VideoDecoder(max_bytes=1000).decode(EXACT["mov"], "clip.mov")))
    with pytest.raises(DecodeError, match="max_bytes=1000") as info:
        _ = small.frames
    assert info.value.field == "clip.mov"
    assert repr(copy) == f"Video({len(copy.data)} bytes)"


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_bytes_like_object_is_decoded_and_copied(kind: Any) -> None:
    video = VideoDecoder().decode(kind(EXACT["mov"]), "mov")
    assert type(video.data) is bytes
    np.testing.assert_array_equal(video.frames.numpy(), FRAMES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_an_error_or_whole(name: str) -> None:
    data = FILES[name]
    whole = VideoDecoder().decode(data, "x").frames
    for length in [*range(0, len(data), len(data) // 40), len(data) - 1]:
        try:
            frames = VideoDecoder().decode(data[:length], "clip.mp4").frames
        except DecodeError as error:
            assert error.field == "clip.mp4"  # noqa: PT017 (a whole video is right as well)
        else:
            assert torch.equal(frames, whole)


@pytest.mark.parametrize("name", ["mp4", "mov", "avi", "webm"])
def test_a_lost_end_is_noticed_before_anything_is_decoded(name: str) -> None:
    with pytest.raises(DecodeError, match="cut short") as info:
        VideoDecoder().decode(EXACT[name][:-1000], "clip.mp4")
    assert info.value.field == "clip.mp4"


def test_a_webm_without_sizes_is_read_to_its_end() -> None:
    data = bytearray(EXACT["webm"])
    start = data.index(b"\x18\x53\x80\x67") + 4
    assert data[start] == 1  # a size of eight bytes
    data[start : start + 8] = b"\x01" + b"\xff" * 7
    np.testing.assert_array_equal(VideoDecoder().decode(data, "webm").frames.numpy(), FRAMES)


def test_an_avi_that_was_streamed_is_read_to_its_end() -> None:
    data = bytearray(EXACT["avi"])
    data[4:8] = b"\xff\xff\xff\xff"
    np.testing.assert_array_equal(VideoDecoder().decode(data, "avi").frames.numpy(), FRAMES)


def test_a_damaged_picture_is_an_error_where_its_codec_has_checksums() -> None:
    data = EXACT["mov-png"]
    for place in RNG.integers(2000, len(data) - 2000, 20):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(RNG.integers(8))
        with pytest.raises(DecodeError):
            _ = VideoDecoder().decode(damaged, "mov").frames


def test_a_file_without_pictures_is_an_error() -> None:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mov") as file:
        track: Any = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        file.mux(track.encode(frame))
        file.mux(track.encode(None))
    video = VideoDecoder().decode(stream.getvalue(), "mov")
    for name in ("frames", "rate"):
        with pytest.raises(DecodeError, match="no video stream"):
            getattr(video, name)


@pytest.mark.parametrize("name", ["mp4", "mov", "avi", "webm"])
def test_max_bytes_bounds_the_memory_of_the_frames(name: str) -> None:
    size = FRAMES.nbytes
    assert VideoDecoder(max_bytes=size).decode(EXACT[name], "x").frames.nbytes == size
    for most in (size - 1, 100):
        with pytest.raises(DecodeError, match=f"more than max_bytes={most}"):
            _ = VideoDecoder(max_bytes=most).decode(EXACT[name], "x").frames
    with pytest.raises(ValueError, match="max_bytes=0"):
        VideoDecoder(max_bytes=0)


def test_a_header_of_an_absurd_size_takes_no_memory() -> None:
    data = bytearray(EXACT["avi"])
    for place in (data.index(b"avih") + 8 + 32, data.index(b"strf") + 8 + 4):
        width, height = struct.unpack_from("<ii", data, place)
        assert (width, abs(height)) == (48, 32)
        struct.pack_into("<ii", data, place, 60_000, 60_000)
    with pytest.raises(DecodeError, match="max_bytes"):
        _ = VideoDecoder().decode(data, "avi").frames


def test_playlists_and_other_formats_are_refused_and_open_nothing(tmp_path: Path) -> None:
    target = tmp_path / "other.mov"
    target.write_bytes(EXACT["mov"])
    for data in (
        b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nfile://" + bytes(target) + b"\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '" + bytes(target) + b"'\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"", b"junk", b"\0\0\0\1", b"RIFF\0\0\0\0WAVE", b"GIF89a", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI ",
        b"\0\0\0\x08ftyp", b"\0\0\0\x08moov", EXACT["avi"][:12] + b"#EXTM3U\n",
    ):  # fmt: skip
        with pytest.raises(DecodeError):
            _ = VideoDecoder().decode(data, "mp4").frames


@pytest.mark.parametrize("value", ["text", None, 7])
def test_what_is_not_bytes_is_a_decode_error(value: Any) -> None:
    with pytest.raises(DecodeError, match="TypeError"):
        VideoDecoder().decode(value, "mp4")


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_whatever_is_done_to_a_file_there_are_frames_or_a_decode_error(draw: st.DataObject) -> None:
    data = bytearray(FILES[draw.draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw.draw(st.integers(1, 3))):
        where = draw.draw(st.sampled_from(["start", "end", "any"]))
        low, high = {"start": (0, 900), "end": (len(data) - 900, len(data))}.get(where, (0, len(data)))
        place = draw.draw(st.integers(low, high))
        data[place : place + draw.draw(st.integers(0, 4))] = draw.draw(st.binary(max_size=4))
    try:
        video = VideoDecoder(max_bytes=1 << 22).decode(data, "x")
        frames, rate = video.frames, video.rate
    except DecodeError:
        return
    assert frames.dtype == torch.uint8
    assert frames.shape[3] == 3
    assert frames.nbytes <= 1 << 22
    assert rate > 0


def test_the_decoder_is_a_value_that_pickles() -> None:
    decoder = VideoDecoder(max_bytes=12)
    assert pickle.loads(pickle.dumps(decoder)) == decoder != VideoDecoder()


def test_without_av_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"webds\[media\]"):
        VideoDecoder().decode(EXACT["mov"], "mov")


def test_importing_the_decoder_loads_neither_av_nor_torch() -> None:
    code = "import sys; import webds.codecs.video; assert not {'av', 'torch'} & set(sys.modules), 'loaded'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

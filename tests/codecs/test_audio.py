"""Audio: files that soundfile writes, whole, cut short, damaged, too large, and of other formats."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from webds.codecs.audio import AudioDecoder
from webds.errors import DecodeError, MissingExtraError

RNG = np.random.default_rng(3)
LENGTH = 20_000
INTEGERS: NDArray[np.int16] = RNG.integers(-8000, 8000, (LENGTH, 2)).astype(np.int16)
TONES: NDArray[np.float32] = np.stack(
    [np.sin(np.arange(LENGTH) * step) / 2 for step in (0.02, 0.05)], axis=1
).astype(np.float32)  # fmt: skip


def written(samples: NDArray[Any], kind: str, subtype: str, rate: int = 16_000, endian: str = "FILE") -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind, subtype=subtype, endian=endian)
    return stream.getvalue()


FILES = {
    "flac": written(INTEGERS, "FLAC", "PCM_16"),
    "wav": written(INTEGERS, "WAV", "PCM_16"),
    "wav-big-endian": written(INTEGERS, "WAV", "PCM_16", endian="BIG"),
    "wav-float": written(TONES, "WAV", "FLOAT"),
    "wav-extensible": written(TONES, "WAVEX", "PCM_24"),
    "ogg-vorbis": written(TONES, "OGG", "VORBIS"),
    "ogg-opus": written(TONES, "OGG", "OPUS", 48_000),
    "mp3": written(TONES, "MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("name", ["flac", "wav", "wav-big-endian"])
def test_integer_samples_are_exact(name: str) -> None:
    samples, rate = AudioDecoder().decode(FILES[name], "x.flac")
    assert rate == 16_000
    assert type(rate) is int
    assert samples.dtype == torch.float32
    assert samples.is_contiguous()
    np.testing.assert_array_equal(samples.numpy(), INTEGERS.T / np.float32(32768))


def test_float_samples_are_exact_and_those_of_24_bits_within_half_a_step() -> None:
    np.testing.assert_array_equal(AudioDecoder().decode(FILES["wav-float"], "wav")[0].numpy(), TONES.T)
    samples, _ = AudioDecoder().decode(FILES["wav-extensible"], "wav")
    assert np.abs(samples.numpy() - TONES.T).max() <= 2**-23


@pytest.mark.parametrize(("name", "rate"), [("ogg-vorbis", 16_000), ("ogg-opus", 48_000), ("mp3", 16_000)])
def test_lossy_files_have_all_their_samples(name: str, rate: int) -> None:
    samples, found = AudioDecoder().decode(FILES[name], "x")
    assert found == rate
    assert samples.shape == (2, LENGTH)
    assert np.abs(samples.numpy() - TONES.T)[:, 2000:-2000].mean() < 0.02


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_come_first_and_a_single_one_has_its_axis(channels: int) -> None:
    values = RNG.integers(-100, 100, (50, channels)).astype(np.int16)
    samples, rate = AudioDecoder().decode(written(values, "WAV", "PCM_16", 8000), "wav")
    assert rate == 8000
    np.testing.assert_array_equal(samples.numpy() * 32768, values.T)


def test_an_empty_recording_has_no_samples() -> None:
    samples, rate = AudioDecoder().decode(written(INTEGERS[:0], "WAV", "PCM_16"), "wav")
    assert samples.shape == (2, 0)
    assert rate == 16_000


def test_a_recording_longer_than_one_block_is_whole() -> None:
    values = RNG.integers(-100, 100, (1_500_000, 1)).astype(np.int16)
    samples, _ = AudioDecoder().decode(written(values, "FLAC", "PCM_16"), "flac")
    np.testing.assert_array_equal(samples.numpy() * 32768, values.T)


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_bytes_like_object_is_decoded(kind: Any) -> None:
    assert AudioDecoder().decode(kind(FILES["flac"]), "flac")[0].shape == (2, LENGTH)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_an_error_that_names_the_field(name: str) -> None:
    data = FILES[name]
    for length in [*range(0, len(data), len(data) // 60), len(data) - 1]:
        with pytest.raises(DecodeError) as info:
            AudioDecoder().decode(data[:length], "speech.flac")
        assert info.value.field == "speech.flac"


@pytest.mark.parametrize("name", ["flac", "ogg-vorbis", "ogg-opus"])
def test_a_changed_bit_is_an_error_where_the_format_has_checksums(name: str) -> None:
    data = FILES[name]
    for place in RNG.integers(len(data) // 3, len(data), 40):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(RNG.integers(8))
        with pytest.raises(DecodeError):
            AudioDecoder().decode(damaged, "x")


def test_a_lost_page_of_an_ogg_file_is_an_error() -> None:
    data = written(np.tile(TONES, (5, 1)), "OGG", "VORBIS")
    starts = [place for place in range(len(data)) if data.startswith(b"OggS", place)]
    assert AudioDecoder().decode(data, "ogg")[0].shape == (2, 5 * LENGTH)
    with pytest.raises(DecodeError, match="cut short"):
        AudioDecoder().decode(data[: starts[-1]], "ogg")
    with pytest.raises(DecodeError, match="page 3 is missing"):
        AudioDecoder().decode(data[: starts[3]] + data[starts[4] :], "ogg")


def test_a_streamed_wav_that_does_not_know_its_size_is_read_to_the_end() -> None:
    data = bytearray(FILES["wav"])
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert bytes(data[36:40]) == b"data"
    samples, _ = AudioDecoder().decode(data, "wav")
    np.testing.assert_array_equal(samples.numpy(), INTEGERS.T / np.float32(32768))


@pytest.mark.parametrize(
    "data",
    [b"", b"RIFF", b"RIFF\0\0\0\0AVI ", b"\xff\xf1\x50\x80" + bytes(100), b"<html>", b"#EXTM3U\n", b"\xff\xfb",
     b"ID3", b"fLaC", b"OggS", b"RIFF\0\0\0\0WAVE", written(INTEGERS, "AIFF", "PCM_16"),
     written(INTEGERS, "AU", "PCM_16"), written(INTEGERS, "CAF", "PCM_16")],
    ids=lambda data: repr(data[:8]),
)  # fmt: skip
def test_junk_and_other_formats_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        AudioDecoder().decode(data, "wav")


@pytest.mark.parametrize("value", ["text", None, 7])
def test_what_is_not_bytes_is_a_decode_error(value: Any) -> None:
    with pytest.raises(DecodeError, match="TypeError"):
        AudioDecoder().decode(value, "wav")


@pytest.mark.parametrize("name", FILES)
def test_max_bytes_bounds_the_memory_of_the_samples(name: str) -> None:
    size = 2 * LENGTH * 4
    assert AudioDecoder(max_bytes=size).decode(FILES[name], "x")[0].nbytes == size
    with pytest.raises(DecodeError, match=f"max_bytes={size - 1}"):
        AudioDecoder(max_bytes=size - 1).decode(FILES[name], "x")
    with pytest.raises(ValueError, match="max_bytes=0"):
        AudioDecoder(max_bytes=0)


def test_a_header_that_claims_a_long_recording_takes_no_memory_for_it() -> None:
    data = bytearray(FILES["flac"])
    packed = struct.unpack_from(">Q", data, 18)[0] | (1 << 36) - 1  # 36 bits for the number of samples
    struct.pack_into(">Q", data, 18, packed)
    with pytest.raises(DecodeError):
        AudioDecoder(max_bytes=1 << 62).decode(data, "flac")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_is_done_to_a_file_there_is_a_value_or_a_decode_error(draw: st.DataObject) -> None:
    data = bytearray(FILES[draw.draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, 120 if draw.draw(st.booleans()) else len(data)))
        data[place : place + draw.draw(st.integers(0, 4))] = draw.draw(st.binary(max_size=4))
    try:
        samples, rate = AudioDecoder(max_bytes=1 << 24).decode(data, "x")
    except DecodeError:
        return
    assert samples.dtype == torch.float32
    assert samples.ndim == 2
    assert samples.nbytes <= 1 << 24
    assert rate > 0


def test_the_decoder_is_a_value_that_pickles() -> None:
    decoder = AudioDecoder(max_bytes=12)
    assert pickle.loads(pickle.dumps(decoder)) == decoder != AudioDecoder()


def test_without_soundfile_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtraError, match=r"webds\[media\]"):
        AudioDecoder().decode(FILES["flac"], "flac")


def test_importing_the_decoder_loads_neither_soundfile_nor_torch() -> None:
    code = "import sys; import webds.codecs.audio; assert not {'soundfile', 'torch'} & set(sys.modules), 'loaded'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

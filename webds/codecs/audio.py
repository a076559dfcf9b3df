"""Audio: flac wav mp3 ogg to a tensor and its rate."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from webds.abc import Decoder
from webds.codecs.media_files import audio_kind, check_whole
from webds.errors import DecodeError, MissingExtraError
from webds.typing import Buffer

if TYPE_CHECKING:  # torch is loaded by the first value
    import torch

__all__ = ["AudioDecoder"]

_BLOCK: Final = 1 << 20
_KNOWN: Final = ("FLAC", "MP3", "OGG", "WAV", "WAVEX")


@final
@attrs.frozen
class AudioDecoder(Decoder["tuple[torch.Tensor, int]"]):
    """Audio files, as ``(samples, rate)``: a float32 tensor C x T, and the number of samples a second.

    Integer samples of n bits are divided by ``2 ** (n - 1)``, so that they lie in [-1, 1); float samples are as
    stored. The data decides which of the four formats it is, not the extension. Channels and rate stay as they are.

    A file cut short, or with a damaged ogg page or flac frame, is an error. An mp3 has no checksums, and tells its
    length only where its encoder wrote a Xing header: without one, a lost end cannot be noticed.

    Needs the package ``soundfile``, of the extra ``media``.

    Attributes:
        max_bytes: the most memory that the samples of one file may take. (Silence compresses a thousandfold.)
    """

    max_bytes: int = attrs.field(default=1 << 31, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes={self.max_bytes}: expected a number from 1")

    @override
    def decode(self, data: Buffer, field: str) -> tuple[torch.Tensor, int]:
        soundfile = _soundfile()
        try:
            content = data if isinstance(data, bytes) else bytes(memoryview(data))
            check_whole(content, audio_kind(content))
            samples, rate = self._read(soundfile, content)
        except DecodeError as error:
            error.locate(field=field)
            raise
        except Exception as error:
            text = f"the audio cannot be decoded: {type(error).__name__}: {error}"
            raise DecodeError(text, field=field) from error
        import torch  # noqa: PLC0415 (loaded by the first value)

        return torch.from_numpy(samples), rate

    def _read(self, soundfile: Any, content: bytes) -> tuple[NDArray[np.float32], int]:
        """Return samples C x T and their rate.

        Block by block: the length that a header claims is compared at the end, and no memory is taken for it.
        """
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.format not in _KNOWN:
                raise DecodeError(f"the data is a {file.format} file, not flac, wav, mp3 or ogg")
            blocks: list[NDArray[np.float32]] = []
            length, most = 0, self.max_bytes // (4 * file.channels)
            while True:
                block = file.read(max(1, _BLOCK // file.channels), dtype="float32", always_2d=True)
                if len(block) == 0:
                    break
                blocks.append(block)
                length += len(block)
                if length > most:
                    raise DecodeError(f"the samples take more than max_bytes={self.max_bytes} bytes")
            if length < file.frames:
                raise DecodeError(f"the file is cut short or damaged: {length} of {file.frames} samples are there")
            samples = np.empty((file.channels, length), np.float32)
            if blocks:
                np.concatenate([block.T for block in blocks], axis=1, out=samples)
            return samples, int(file.samplerate)


def _soundfile() -> Any:
    try:
        import soundfile  # noqa: PLC0415 (an optional package)
    except (ImportError, OSError) as error:  # OSError: the package without its library
        raise MissingExtraError.of("soundfile", "media", "decoding audio") from error
    return soundfile

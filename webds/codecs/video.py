"""Video: mp4 webm avi mov to a handle that decodes when its frames are asked for."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

import attrs
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from webds.abc import Decoder
from webds.codecs.media_files import check_whole, video_kind
from webds.errors import DecodeError, MissingExtraError
from webds.typing import Buffer

if TYPE_CHECKING:  # torch is loaded by the first frames
    import torch

__all__ = ["Video", "VideoDecoder"]

_MAX_BYTES: Final = 1 << 32


@final
class Video:
    """The frames of a video file, decoded when they are first asked for.

    It holds the bytes of the file, and pickles as these.

    Frames are those of the first video stream, as they are stored: rotation is not applied, a variable frame rate
    is not evened out, sound is left alone. A picture that its codec finds damaged is an error, not an approximation;
    but few codecs have checksums. A file that was streamed (a fragmented mp4, a webm without sizes) and lost its end
    between two fragments cannot be told from a whole one.

    Args:
        data: the file.
        max_bytes: the most memory that the decoded frames may take.
        field: the name of the field, for errors.
    """

    __slots__ = ("_field", "_frames", "_max_bytes", "_rate", "data")

    def __init__(self, data: bytes, *, max_bytes: int = _MAX_BYTES, field: str | None = None) -> None:
        self.data: bytes = data
        self._max_bytes = max_bytes
        self._field = field
        self._frames: torch.Tensor | None = None
        self._rate: float | None = None

    @property
    def frames(self) -> torch.Tensor:
        """All frames, a uint8 tensor T x H x W x 3 (RGB), kept once it is there.

        Raises:
            DecodeError: the file is damaged, has no pictures, or more than ``max_bytes`` of them.
        """
        if self._frames is None:
            import torch  # noqa: PLC0415 (loaded by the first frames)

            with self._open() as (container, stream):
                self._frames = torch.from_numpy(self._decode(container, stream))
        return self._frames

    @property
    def rate(self) -> float:
        """Frames a second, on average. Asking for it decodes no frames.

        Raises:
            DecodeError: the file is damaged, or does not say.
        """
        if self._rate is None:
            with self._open() as (_, stream):
                rate = stream.average_rate or stream.guessed_rate
                if not rate:
                    raise DecodeError("the video does not say its frame rate")
                self._rate = float(rate)
        return self._rate

    @contextmanager
    def _open(self) -> Generator[tuple[Any, Any]]:
        """Open the file and its video stream; whatever goes wrong inside is a `DecodeError`."""
        av = _av()
        # The padded size in which a codec works counts here, so this is a bound for the absurd; _check_size is exact.
        limit = {"max_pixels": str(min(self._max_bytes, 2**31 - 1))}
        try:
            with av.open(
                io.BytesIO(self.data),
                "r",
                format=video_kind(self.data),
                options={"protocol_whitelist": "none", **limit},
                metadata_errors="replace",
                io_open=_refuse,
            ) as container:
                if not container.streams.video:
                    raise DecodeError("the file has no video stream")  # noqa: TRY301 (located below)
                stream = container.streams.best("video")
                if stream.width * stream.height == 0:  # as it is where `max_pixels` is exceeded
                    text = f"its frames have no size, or one takes more than max_bytes={self._max_bytes} bytes"
                    raise DecodeError(text)  # noqa: TRY301 (located below)
                self._check_size(max(stream.frames, 1) * stream.width * stream.height)
                # Report damage instead of painting over it.
                stream.codec_context.options = {"err_detect": "crccheck+explode", **limit}
                yield container, stream
        except DecodeError as error:
            error.locate(field=self._field)
            raise
        except Exception as error:
            text = f"the video cannot be decoded: {type(error).__name__}: {error}"
            raise DecodeError(text, field=self._field) from error

    def _check_size(self, pixels: int) -> None:
        if 3 * pixels > self._max_bytes:
            raise DecodeError(f"the frames take {3 * pixels} bytes, more than max_bytes={self._max_bytes}")

    def _decode(self, container: Any, stream: Any) -> NDArray[np.uint8]:
        """Return all frames, T x H x W x 3."""
        frames: list[NDArray[np.uint8]] = []
        pixels_so_far, shape = 0, None
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise DecodeError("the file is cut short or damaged: a packet is not whole")
            for frame in packet.decode():
                pixels_so_far += frame.width * frame.height
                self._check_size(pixels_so_far)
                pixels = frame.to_ndarray(format="rgb24")
                if shape not in (None, pixels.shape):
                    raise DecodeError(f"the size of the frames changes from {shape} to {pixels.shape}")
                shape = pixels.shape
                frames.append(pixels)
        if shape is None:
            raise DecodeError("the video has no frames")
        stacked = np.empty((len(frames), *shape), np.uint8)
        for index in reversed(range(len(frames))):
            stacked[index] = frames.pop()  # so that no more than one frame is there twice
        return stacked

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.data, self._max_bytes, self._field)

    @override
    def __repr__(self) -> str:
        return f"Video({len(self.data)} bytes)"


def _rebuild(data: bytes, max_bytes: int, field: str | None) -> Video:
    return Video(data, max_bytes=max_bytes, field=field)


def _refuse(url: str, *_: object) -> NoReturn:
    raise PermissionError("a video file names another file or address, which is not opened")


@final
@attrs.frozen
class VideoDecoder(Decoder[Video]):
    """Video files, as a `Video`: a handle that decodes its frames when they are asked for.

    The data decides which of the formats it is, not the extension, and nothing but these is opened: no playlist,
    and no file or address that the data names. Whether the file is whole is looked at here, at once; damage inside
    shows when the frames are decoded.

    Needs the package ``av``, of the extra ``media``.

    Attributes:
        max_bytes: the most memory that the decoded frames of one file may take.
    """

    max_bytes: int = attrs.field(default=_MAX_BYTES, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes={self.max_bytes}: expected a number from 1")

    @override
    def decode(self, data: Buffer, field: str) -> Video:
        _av()
        try:
            content = data if isinstance(data, bytes) else bytes(memoryview(data))
            check_whole(content, video_kind(content))
        except DecodeError as error:
            error.locate(field=field)
            raise
        except Exception as error:
            raise DecodeError(f"no video: {type(error).__name__}: {error}", field=field) from error
        return Video(content, max_bytes=self.max_bytes, field=field)


def _av() -> Any:
    try:
        import av  # noqa: PLC0415 (an optional package)
    except (ImportError, OSError) as error:  # OSError: the package without its libraries
        raise MissingExtraError.of("av", "media", "decoding video") from error
    return av

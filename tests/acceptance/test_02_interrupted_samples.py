"""Line 2, reading: a sample interrupted by an error or the end of the stream is never delivered incomplete."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from webds.errors import OpenError, TarFormatError, WebdsError
from webds.tar import base_plus_ext, read_samples
from webds.typing import Readable, Sample


def shard(samples: int = 4, size: int = 700) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(samples):
            for field in ("jpg", "cls", "json"):
                info = tarfile.TarInfo(f"{number}.{field}")
                info.size = size
                tar.addfile(info, io.BytesIO(f"{number}{field}".encode().ljust(size)))
    return buffer.getvalue()


SHARD = shard()
WHOLE = list(read_samples(io.BytesIO(SHARD)))


class Breaking:
    """A connection that breaks down after some bytes."""

    def __init__(self, data: bytes, error: Exception) -> None:
        self._data = io.BytesIO(data)
        self._error = error

    def read(self, size: int = -1, /) -> bytes:
        if part := self._data.read(min(size, 300)):
            return part
        raise self._error


def until_error(stream: Readable, **options: object) -> tuple[list[Sample], Exception | None]:
    samples: list[Sample] = []
    try:
        for sample in read_samples(stream, url="x.tar", **options):  # type: ignore[arg-type]
            samples.append(sample)  # noqa: PERF402 - an error may come in between
    except Exception as error:
        return samples, error
    return samples, None


def test_02_the_whole_shard_has_four_samples_of_three_fields() -> None:
    assert [list(sample) for sample in WHOLE] == [["__key__", "jpg", "cls", "json"]] * 4


@pytest.mark.parametrize("missing_end", ["error", "accept"])
@pytest.mark.parametrize("end", range(0, 4 * 3 * 3 * 512 + 1, 256))
def test_02_the_end_of_the_stream(missing_end: str, end: int) -> None:
    """Where missing end markers are accepted, a cut between two members of a sample cannot be told from its end."""
    samples, error = until_error(io.BytesIO(SHARD[:end]), missing_end=missing_end)
    members, inside = divmod(end, 3 * 512)
    if missing_end == "accept" and inside == 0:
        assert error is None
        assert samples[: members // 3] == WHOLE[: members // 3]
        assert len(samples) == -(-members // 3)
    else:
        assert samples == WHOLE[: len(samples)]
        assert isinstance(error, TarFormatError)
    assert len(samples) >= (members - 1) // 3


@pytest.mark.parametrize("end", range(0, len(SHARD), 512))
def test_02_an_error_of_the_stream(end: int) -> None:
    failure = OpenError("the connection broke down")
    samples, error = until_error(Breaking(SHARD[:end], failure))
    assert samples == WHOLE[: len(samples)]
    assert error is failure
    assert failure.url == "x.tar"


def test_02_a_compressed_shard_that_is_cut_or_damaged() -> None:
    data = gzip.compress(SHARD)
    for end in range(0, len(data), 5):
        samples, error = until_error(io.BytesIO(data[:end]))
        assert samples == WHOLE[: len(samples)]
        assert isinstance(error, WebdsError)


@pytest.mark.parametrize("failing", ["0.cls", "2.jpg", "2.json", "3.json"])
def test_02_an_error_of_the_key_function(failing: str) -> None:
    def keys(path: str) -> tuple[str | None, str | None]:
        if path == failing:
            raise RuntimeError("no such name")
        return base_plus_ext(path)

    samples, error = until_error(io.BytesIO(SHARD), keys=keys)
    assert samples == WHOLE[: len(samples)]
    assert isinstance(error, RuntimeError)
    # A sample is complete when the next one has begun.
    assert len(samples) == max(0, int(failing[0]) - failing.endswith("jpg"))


def test_02_a_sample_that_is_not_read_is_checked_all_the_same() -> None:
    """The second member of the last sample is cut; nobody wants it, and yet the sample is not delivered."""
    data = shard(samples=1, size=2 << 20)
    want_nothing: tuple[str, ...] = ()
    for end in (len(data) // 2, (2 << 20) * 3 // 2):
        samples, error = until_error(io.BytesIO(data[:end]), fields=want_nothing, missing_end="accept")
        assert samples == []
        assert isinstance(error, TarFormatError)

"""Add a format by subclassing `Codec`: tiles of a map of heights, with the place that they are of.

Shows a complete one: a class of values, a codec that keeps to the contract (pure, lossless, and no data makes it take
memory out of proportion or raise anything but `DecodeError`), the suite of `webds.testing` that says whether it does,
and its use for writing and reading, by whatever builder it was given to. No global table is changed.

    python examples/new_format.py
    pip install 'webds[test]' && pytest examples/new_format.py
"""

from __future__ import annotations

import math
import struct
import sys
import tempfile
import zlib
from collections.abc import Sequence
from typing import Any, final

import attrs
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, override

import webds

try:
    from webds.testing import CodecSuite
except ImportError:  # without pytest the script runs all the same
    CodecSuite = None  # type: ignore[assignment,misc]

MAGIC = b"TILE1"
HEADER = struct.Struct("<5sHHddd")  # magic, height, width, longitude and latitude of the corner, degrees per pixel
LARGEST = 4096


@final
@attrs.frozen(eq=False)
class Tile:
    """A square of the earth.

    Attributes:
        heights: in metres above the sea, int16, of shape (height, width), from north to south.
        west: longitude of the north-western corner, in degrees.
        north: its latitude, in degrees.
        step: degrees from one pixel to the next.
    """

    heights: NDArray[np.int16]
    west: float = attrs.field(converter=float)
    north: float = attrs.field(converter=float)
    step: float = attrs.field(converter=float)

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tile):
            return NotImplemented
        places = [(tile.west, tile.north, tile.step) for tile in (self, other)]
        return places[0] == places[1] and np.array_equal(self.heights, other.heights)

    __hash__ = None  # type: ignore[assignment]  # like the array in it


@final
@attrs.frozen
class TileCodec(webds.Codec[Tile]):
    """Tiles as a header, and differences of neighbouring heights, deflated."""

    @override
    def encode(self, value: Tile, field: str) -> bytes:
        if not isinstance(value, Tile):  # pyright: ignore[reportUnnecessaryIsInstance]  # anything may be in a sample
            raise webds.EncodeError(f"no tile, but a {type(value).__name__}", field=field)
        heights = np.asarray(value.heights)
        if heights.dtype != np.int16 or heights.ndim != 2 or not 0 < max(heights.shape) <= LARGEST:
            raise webds.EncodeError(f"heights are {heights.dtype} of shape {heights.shape}, not a picture of int16",
                                    field=field)  # fmt: skip
        if not all(map(math.isfinite, (value.west, value.north, value.step))):
            raise webds.EncodeError("a place that is no number", field=field)
        steps = np.diff(heights.astype("<i2"), axis=1, prepend=np.int16(0)).astype("<i2")  # modulo 65536
        header = HEADER.pack(MAGIC, *heights.shape, value.west, value.north, value.step)
        return header + zlib.compress(steps.tobytes(), 6)

    @override
    def decode(self, data: Buffer, field: str) -> Tile:
        content = bytes(memoryview(data).cast("B"))
        if len(content) < HEADER.size or not content.startswith(MAGIC):
            raise webds.DecodeError(f"this is no tile: it begins with {content[:5]!r}", field=field)
        _, height, width, west, north, step = HEADER.unpack_from(content)
        if max(height, width) > LARGEST or not all(map(math.isfinite, (west, north, step))):
            raise webds.DecodeError(f"a tile of {height} x {width} pixels at {west}, {north}, by {step}", field=field)
        size = 2 * height * width
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(content[HEADER.size :], size + 1)  # however much there would be
        except zlib.error as error:
            raise webds.DecodeError(f"the heights of a tile cannot be inflated: {error}", field=field) from error
        if len(raw) != size or not inflater.eof or inflater.unused_data:
            raise webds.DecodeError("a tile with more or fewer heights than its header says", field=field)
        steps = np.frombuffer(raw, "<i2").reshape(height, width)
        heights: NDArray[np.int16] = np.cumsum(steps, axis=1, dtype=np.int16)
        return Tile(heights, west, north, step)


def island(west: float, north: float, size: int = 64) -> Tile:
    """Return a tile of an archipelago that a formula describes."""
    step = 1 / size
    longitude = west + step * np.arange(size)
    latitude = north - step * np.arange(size)[:, None]
    heights = 900 * np.sin(3 * longitude) * np.cos(2 * latitude) + 300 * np.sin(11 * longitude + 7 * latitude)
    return Tile(heights.round().astype(np.int16), west, north, step)


if CodecSuite is not None:

    class TestTileCodec(CodecSuite[Tile]):
        """All that a codec must keep to, inherited."""

        @override
        def make_codec(self) -> TileCodec:
            return TileCodec()

        @override
        def values(self) -> Sequence[tuple[Tile, str]]:
            extreme = np.array([[-32768, 32767, 0], [32767, -32768, 1]], np.int16)
            return [(island(0, 0), "tile"), (island(-120.5, 47), "left.tile"), (Tile(extreme, 1, 2, 0.5), "tile")]

        @override
        def unencodable(self) -> Sequence[tuple[Any, str]]:
            flat = np.zeros((2, 2), np.int16)
            wider: Any = flat.astype(np.int32)
            others = [Tile(wider, 0, 0, 1), Tile(flat[0], 0, 0, 1), Tile(flat, math.nan, 0, 1)]
            return [(value, "tile") for value in (*others, flat, None)]

        @override
        def junk(self) -> Sequence[tuple[bytes, str]]:
            bomb = HEADER.pack(MAGIC, 2, 2, 0, 0, 1) + zlib.compress(bytes(1 << 20))
            huge = HEADER.pack(MAGIC, 65535, 65535, 0, 0, 1)
            return [(data, "tile") for data in (b"", b"TILE1", bomb, huge)]


def main() -> int:
    """Write tiles, read them back through workers, and look for the highest mountain."""
    with tempfile.TemporaryDirectory() as directory:
        places = [(west, north) for north in range(8) for west in range(8)]
        with webds.ShardWriter(f"{directory}/tiles-%02d.tar", maxcount=16, encoder={"tile": TileCodec()}) as sink:
            for west, north in places:
                sink.write({"__key__": f"n{north}/w{west}", "tile": island(west, north)})
        builder = (
            webds.DatasetBuilder(f"{directory}/tiles-*.tar")
            .with_decoder("tile", TileCodec())
            .decode()
            .to_tuple("__key__", "tile")
        )
        print(builder.explain())
        tiles: dict[str, Tile] = dict(builder.loader(num_workers=1))
    same = sum(tiles[f"n{north}/w{west}"] == island(west, north) for west, north in places)
    highest = max(tiles, key=lambda key: int(tiles[key].heights.max()))
    print(f"{same} of {len(places)} tiles came back as they were; the highest mountain is in {highest}, "
          f"{tiles[highest].heights.max()} m")  # fmt: skip
    return 0 if same == len(tiles) == len(places) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Pictures in a terminal: two pixels a character, one above the other, in the colours that it knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from webds.cli.output import shown
from webds.tools.sheet import Tile

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["TILE", "print_tiles"]

TILE: Final = 28
"""Characters that a picture takes beside another one, and pixels of its longer side."""

_GAP: Final = 2


def print_tiles(console: Console, tiles: Sequence[Tile]) -> None:
    """Print tiles beside and below one another; without pictures where the terminal knows no colours.

    Args:
        console: where to.
        tiles: their pictures no larger than `TILE`.
    """
    together = max(1, (console.width + _GAP) // (TILE + _GAP))
    for at in range(0, len(tiles), together):
        row = tiles[at : at + together]
        if console.color_system is not None:
            _print_pictures(console, row)
        texts = [
            [shown(tile.key), *([f"cannot be decoded: {tile.fault}"] if tile.fault else []), *tile.labels]
            for tile in row
        ]
        for line in range(max(map(len, texts))):
            cells = [_fitted(text[line] if line < len(text) else "") for text in texts]
            console.print(Text((" " * _GAP).join(cells).rstrip(), style="bold" if line == 0 else "dim"))
        console.print()


def _fitted(text: str) -> str:
    text = shown(text)
    if cell_len(text) > TILE:
        text = set_cell_size(text, TILE - 1).rstrip() + "…"
    return set_cell_size(text, TILE)


def _print_pictures(console: Console, row: Sequence[Tile]) -> None:
    height = max((-(-tile.picture.height // 2) for tile in row if tile.picture is not None), default=0)
    pictures = [_segments(tile.picture) for tile in row]
    segments: list[Segment] = []
    for line in range(height):
        for picture in pictures:
            part = picture[line] if line < len(picture) else []
            used = sum(len(segment.text) for segment in part)
            segments += [*part, Segment(" " * (TILE - used + _GAP))]
        segments.append(Segment.line())
    console.print(_Segments(segments), end="")


class _Segments:
    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments

    def __rich_console__(self, console: Console, options: object) -> list[Segment]:
        return self._segments


def _segments(picture: Image.Image | None) -> list[list[Segment]]:
    """Return the lines of a picture."""
    if picture is None:
        return []
    pixels: list[list[list[int]]] = np.asarray(picture).tolist()
    lines: list[list[Segment]] = []
    for y in range(0, len(pixels), 2):
        below = pixels[y + 1] if y + 1 < len(pixels) else [None] * len(pixels[y])
        lines.append([_half_block(*pair) for pair in zip(pixels[y], below, strict=True)])
    return lines


def _half_block(above: list[int], below: list[int] | None) -> Segment:
    back = None if below is None else Color.from_rgb(*below)
    return Segment("▀", Style(color=Color.from_rgb(*above), bgcolor=back))

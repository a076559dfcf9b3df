"""A contact sheet: some samples as small pictures, with their keys and labels."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, final

import attrs
import numpy as np

from webds.codecs.image import ImageCodec
from webds.codecs.tables import IMAGE_EXTENSIONS
from webds.errors import DecodeError, FieldError, StaleIndexError
from webds.order.draws import draws
from webds.sources.indexed import IndexedTarSource
from webds.sources.tar import TarSource
from webds.typing import Sample

if TYPE_CHECKING:  # Pillow is loaded by the first picture
    from PIL import Image, ImageDraw, ImageFont

__all__ = ["Tile", "draw_sheet", "pick", "tile_of", "tiles"]

_LABELS: Final = ("cls", "cls2", "class", "label", "txt", "text", "caption", "transcript", "json", "jsn")
_MOST_LABELS: Final = 2
_LABEL_BYTES: Final = 4096
_GAP: Final = 8
_FONT: Final = 12
_LINE: Final = 16
_PAPER: Final = (255, 255, 255)
_INK: Final = (20, 20, 20)
_FADED: Final = (110, 110, 110)
_EMPTY: Final = (228, 228, 228)
_WARNING: Final = (170, 0, 0)


@final
@attrs.frozen
class Tile:
    """One sample on a sheet.

    Attributes:
        url: its shard.
        key: its key.
        picture: it, no larger than asked for, in RGB; None where the sample has none, or it cannot be decoded.
        labels: a line for each.
        fault: why there is no picture, if there should be one.
    """

    url: str
    key: str
    picture: Image.Image | None
    labels: Sequence[str]
    fault: str | None = None


def pick(source: TarSource, count: int, *, seed: int | None = None) -> Iterator[tuple[str, Sample]]:
    """Yield shard and sample of the first samples, or of random ones in the order of the shards.

    Random ones are read alone where the shards are local or have an index. Otherwise all samples are read, and
    ``count`` are held.

    Args:
        source: the shards.
        count: how many, at most.
        seed: which random ones; None for the first ones.

    Raises:
        WebdsError: a shard cannot be read; see `webds.TarSource`.
    """
    if seed is None:
        return itertools.islice(_all(source), count)
    indexed = IndexedTarSource(source)
    try:
        counts = None if "-" in source.shards() else indexed.counts()
    except StaleIndexError:
        counts = None
    return iter(_held(source, count, seed)) if counts is None else _by_number(indexed, counts, count, seed)


def _all(source: TarSource) -> Generator[tuple[str, Sample]]:
    for url in source.shards():
        for sample in source.read(url):
            yield url, sample


def _held(source: TarSource, count: int, seed: int) -> list[tuple[str, Sample]]:
    """Return random samples of a stream: each has the same chance to be held at its end."""
    numbers = draws(seed, (0,), "sheet")
    held: list[tuple[int, tuple[str, Sample]]] = []
    for i, one in enumerate(_all(source)):
        if i < count:
            held.append((i, one))
        elif (place := next(numbers) % (i + 1)) < count:
            held[place] = i, one
    return [one for _, one in sorted(held, key=lambda pair: pair[0])]


def _by_number(source: IndexedTarSource, counts: Sequence[int], count: int, seed: int) -> Generator[tuple[str, Sample]]:
    total = sum(counts)
    numbers = draws(seed, (0,), "sheet")
    chosen: set[int] = set()
    while len(chosen) < min(count, total):
        chosen.add(next(numbers) % total)
    ends = np.cumsum(np.asarray(counts, np.int64))
    in_order = sorted(chosen)
    for place, url in enumerate(source.shards()):
        begin = int(ends[place]) - counts[place]
        ordinals = [number - begin for number in in_order if begin <= number < ends[place]]
        for sample in source.read_at(url, ordinals) if ordinals else ():
            yield url, sample


def tiles(
    source: TarSource,
    count: int,
    *,
    seed: int | None = None,
    image: str | None = None,
    labels: Sequence[str] = (),
    size: int = 160,
) -> Iterator[Tile]:
    """Yield samples as tiles; see `pick` and `tile_of`."""
    for url, sample in pick(source, count, seed=seed):
        yield tile_of(url, sample, image=image, labels=labels, size=size)


def tile_of(url: str, sample: Sample, *, image: str | None = None, labels: Sequence[str] = (), size: int = 160) -> Tile:
    """Return a sample as a tile.

    Args:
        url: its shard.
        sample: with the bytes of its fields.
        image: the field that is the picture; None for the first that has the extension of one.
        labels: the fields that are shown as text; none for those that are so by their extension.
        size: pixels of the longer side of the picture, at most.

    Raises:
        FieldError: a field that was named is not there.
    """
    for field in (*([] if image is None else [image]), *labels):
        if field not in sample:
            there = ", ".join(name for name in sample if name != "__key__")
            raise FieldError(
                f"there is no field {field!r}: there are {there}", url=url, key=sample["__key__"], field=field
            )
    if image is None:
        image = next((name for name in sample if name.rpartition(".")[2] in IMAGE_EXTENSIONS), None)
    named = labels or [name for name in sample if name.rpartition(".")[2] in _LABELS][:_MOST_LABELS]
    lines = [_line(name, sample[name]) for name in named]
    if image is None:
        return Tile(url, sample["__key__"], None, lines)
    try:
        picture: Image.Image = ImageCodec("pilrgb").decode(sample[image], image)
    except DecodeError as error:
        return Tile(url, sample["__key__"], None, lines, error.message)
    picture.thumbnail((size, size))
    return Tile(url, sample["__key__"], picture, lines)


def _line(field: str, data: bytes) -> str:
    text = bytes(data[:_LABEL_BYTES]).decode("utf-8", "replace")
    return f"{field}: {' '.join(text.split())}"


def draw_sheet(found: Iterable[Tile], *, columns: int | None = None, size: int = 160) -> Image.Image:
    """Return a picture of all tiles.

    Args:
        found: the tiles, one at least.
        columns: how many stand beside one another; None for about as many as below one another.
        size: pixels of the side of the place for a picture; as for `tile_of`.
    """
    from PIL import Image, ImageDraw  # noqa: PLC0415  # loaded by the first sheet

    all_tiles = list(found)
    columns = columns or max(1, math.ceil(math.sqrt(len(all_tiles))))
    columns = min(columns, len(all_tiles))
    lines = 1 + max(len(tile.labels) for tile in all_tiles)
    width, height = size + _GAP, size + lines * _LINE + _GAP
    rows = -(-len(all_tiles) // columns)
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(all_tiles):
        row, column = divmod(number, columns)
        _draw_tile(sheet, draw, tile, (column * width + _GAP, row * height + _GAP), size)
    return sheet


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int], size: int) -> None:
    left, top = corner
    if tile.picture is not None:
        width, height = tile.picture.size
        sheet.paste(tile.picture, (left + (size - width) // 2, top + (size - height) // 2))
    else:
        draw.rectangle((left, top, left + size - 1, top + size - 1), fill=_EMPTY)
        what = "no picture" if tile.fault is None else f"cannot be decoded: {tile.fault}"
        for line, text in enumerate(_wrapped(draw, what, size - 2 * _GAP, size // _LINE - 1)):
            ink = _FADED if tile.fault is None else _WARNING
            draw.text((left + _GAP, top + _GAP + line * _LINE), text, fill=ink, font=_font())
    for line, text in enumerate((tile.key, *tile.labels)):
        at = left, top + size + line * _LINE
        draw.text(at, _cut(draw, text, size), fill=_FADED if line else _INK, font=_font())


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font that has as many characters as can be: that of the system, or else Pillow's own."""
    from PIL import ImageFont  # noqa: PLC0415  # likewise

    try:
        return ImageFont.truetype("DejaVuSans.ttf", _FONT)
    except OSError:
        return ImageFont.load_default(_FONT)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _cut(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """Return a text that takes no more than ``width`` pixels: its middle is left out where it is too long."""
    text = _printable(text[:_LABEL_BYTES])
    if len(text) <= width and draw.textlength(text, _font()) <= width:
        return text
    low, high = 0, min(len(text), width)  # no character is narrower than a pixel
    while low < high:
        kept = (low + high + 1) // 2
        if draw.textlength(_without_middle(text, kept), _font()) <= width:
            low = kept
        else:
            high = kept - 1
    return _without_middle(text, low)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: kept - kept // 3]}…{text[len(text) - kept // 3 :] if kept // 3 else ''}"


def _wrapped(draw: ImageDraw.ImageDraw, text: str, width: int, most: int) -> list[str]:
    """Return the first ``most`` lines of a text that is broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(_printable(longer), _font()) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_cut(draw, line, width) for line in lines[:most]]

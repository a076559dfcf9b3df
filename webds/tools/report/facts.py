"""What a report says: frozen facts, of which pages are made."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, final

import attrs

from webds.tools.report.kinds import Kind

__all__ = [
    "Bin",
    "ClassFacts",
    "Example",
    "FieldFacts",
    "Finding",
    "FindingKind",
    "ImageFacts",
    "Range",
    "Repeat",
    "Report",
    "ShapeFacts",
    "ShardFacts",
    "ShownField",
    "ShownImage",
    "ShownSample",
]

FindingKind: TypeAlias = Literal[
    "broken", "undecodable", "twice", "apart", "taken", "no sample", "empty", "uneven", "names", "key", "content"
]
"""What is noteworthy:

- ``broken``: a shard that cannot be read to its end;
- ``undecodable``: a field that is not what its extension says;
- ``twice``: a field that a sample has twice;
- ``apart``: a key that comes back in the same shard, after other samples;
- ``taken``: a field that is called as the reader calls its own;
- ``no sample``: a member without key or field;
- ``empty``: a field without a byte;
- ``uneven``: a sample that has not the fields that most have;
- ``names``: a name that is no UTF-8, or has characters that cannot be seen;
- ``key``: a key that several shards have;
- ``content``: a field of the very same bytes as that of another sample.
"""


@final
@attrs.frozen
class Bin:
    """One bar of a histogram: how many there are from ``low`` to below ``high``."""

    low: float
    high: float
    count: int


@final
@attrs.frozen
class Range:
    """Sizes, or sides of images, of all that there are.

    Attributes:
        least: the smallest.
        middle: the median.
        most: the largest.
        is_exact: whether the median is; where there are very many different ones, it is true to 5 %.
        bins: how many there are of each size; octaves, from the first that there is to the last.
    """

    least: int
    middle: int
    most: int
    is_exact: bool
    bins: tuple[Bin, ...]


@final
@attrs.frozen
class Example:
    """Where something was found.

    Attributes:
        url: the shard.
        key: the sample; None where it is about the shard.
        field: the field; None likewise.
        text: what is to be said of it.
    """

    url: str
    key: str | None
    field: str | None
    text: str


@final
@attrs.frozen
class Finding:
    """One kind of thing that is noteworthy.

    Attributes:
        kind: which.
        count: how often it was found.
        examples: the first few.
    """

    kind: FindingKind
    count: int
    examples: tuple[Example, ...]

    @property
    def is_fault(self) -> bool:
        """Whether it makes reading for training fail."""
        return self.kind in ("broken", "undecodable", "twice", "apart", "taken")


@final
@attrs.frozen
class FieldFacts:
    """A field of all samples.

    Attributes:
        name: its name.
        kind: what it is.
        samples: how many samples have it.
        bytes: of all of them.
        sizes: in bytes; None where all are empty.
        empty: how many have no bytes.
        undecodable: how many are not what their extension says, of those that were looked at.
    """

    name: str
    kind: Kind
    samples: int
    bytes: int
    sizes: Range | None
    empty: int
    undecodable: int


@final
@attrs.frozen
class ShapeFacts:
    """Samples that have the same fields.

    Attributes:
        fields: which.
        lacks: which it has not, of those that most samples have; nor another of the same kind in its place.
        samples: how many samples.
        url: the shard of the first one.
        key: its key.
    """

    fields: tuple[str, ...]
    lacks: tuple[str, ...]
    samples: int
    url: str
    key: str


@final
@attrs.frozen
class ClassFacts:
    """The values of a field with classes.

    Attributes:
        field: its name.
        total: how many were read.
        distinct: how many different ones there are; None for too many to count.
        values: the most frequent ones, and how often each is there.
    """

    field: str
    total: int
    distinct: int | None
    values: tuple[tuple[str, int], ...]


@final
@attrs.frozen
class ImageFacts:
    """The images of a field.

    Attributes:
        field: its name.
        total: how many were looked at.
        formats: of the files, by their content, and how often each is there.
        modes: likewise, of their pixels, as Pillow names them.
        widths: in pixels.
        heights: in pixels.
        cells: (column, row) → how many images, where a column and a row are a quarter of an octave of width and height.
        distinct: how many different sizes there are; None for too many to count.
        frequent: the most frequent (width, height), and how often each is there.
    """

    field: str
    total: int
    formats: tuple[tuple[str, int], ...]
    modes: tuple[tuple[str, int], ...]
    widths: Range
    heights: Range
    cells: tuple[tuple[int, int, int], ...]
    distinct: int | None
    frequent: tuple[tuple[int, int, int], ...]


@final
@attrs.frozen
class ShardFacts:
    """One shard.

    Attributes:
        url: where it is, without secrets.
        samples: how many were found.
        members: how many files.
        bytes: of the files.
        stored: bytes of the shard itself; None where nobody knows.
        fault: why it could not be read to its end; None if it was.
    """

    url: str
    samples: int
    members: int
    bytes: int
    stored: int | None
    fault: str | None


@final
@attrs.frozen
class Repeat:
    """Something that is there more than once.

    Attributes:
        field: whose content it is; None of keys.
        count: how often it is there.
        size: bytes of the content; 0 of keys.
        places: (shard, key) of the first few.
    """

    field: str | None
    count: int
    size: int
    places: tuple[tuple[str, str], ...]


@final
@attrs.frozen
class ShownImage:
    """A picture on the page.

    Attributes:
        width: of the original, in pixels.
        height: likewise.
        format: of the original, by its content.
        mode: of its pixels, as Pillow names them.
        thumbnail: a ``data:`` URL.
        large: likewise; None where the thumbnail is the whole picture, or the page has no room for it.
        is_small: whether the original is so small that its pixels are to be seen.
    """

    width: int
    height: int
    format: str
    mode: str
    thumbnail: str
    large: str | None
    is_small: bool


@final
@attrs.frozen
class ShownField:
    """A field of a sample on the page.

    Attributes:
        name: its name.
        kind: what it is.
        size: its bytes.
        fault: why it cannot be decoded; None if it can be.
        note: what is left out.
        text: what is to be read of it.
        tree: a JSON value as nested lists: ``["o", [key, node], …]``, ``["a", node, …]``, ``["s", text]`` for a
            string, ``["v", text]`` for all else.
        image: a picture.
        media: a ``data:`` URL of something to be played.
        facts: a few words of what it is.
    """

    name: str
    kind: Kind
    size: int
    fault: str | None = None
    note: str | None = None
    text: str | None = None
    tree: list[Any] | None = None
    image: ShownImage | None = None
    media: str | None = None
    facts: str | None = None


@final
@attrs.frozen
class ShownSample:
    """A sample on the page.

    Attributes:
        shard: number of its shard.
        ordinal: its number in the shard.
        key: its key.
        fields: what it has.
        hidden: how many more fields it has.
    """

    shard: int
    ordinal: int
    key: str
    fields: tuple[ShownField, ...]
    hidden: int = 0


@final
@attrs.frozen
class Report:
    """Everything that a page says.

    Attributes:
        title: what it is called.
        shards: every shard.
        fields: every field, the most frequent first.
        other_members: how many files belong to further fields, which are too many to list.
        shapes: which fields occur together, the most frequent first.
        classes: of every field that has classes.
        images: of every field that has images.
        findings: what is noteworthy, faults first.
        repeats: keys and contents that are there more than once; those that take most first.
        shown: a few samples.
        by_content: whether every field was read; otherwise only headers and classes were.
        chosen: how the samples were chosen, in words.
        room: bytes that they may take on the page.
    """

    title: str
    shards: tuple[ShardFacts, ...]
    fields: tuple[FieldFacts, ...]
    other_members: int
    shapes: tuple[ShapeFacts, ...]
    classes: tuple[ClassFacts, ...]
    images: tuple[ImageFacts, ...]
    findings: tuple[Finding, ...]
    repeats: tuple[Repeat, ...]
    shown: tuple[ShownSample, ...]
    by_content: bool
    chosen: str
    room: int

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return sum(shard.samples for shard in self.shards)

    @property
    def bytes(self) -> int:
        """How many bytes their fields have."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def broken(self) -> int:
        """How many shards could not be read to their end."""
        return sum(shard.fault is not None for shard in self.shards)

    @property
    def faults(self) -> int:
        """How many things were found that make reading for training fail."""
        return sum(finding.count for finding in self.findings if finding.is_fault)

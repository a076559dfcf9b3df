"""What was found in each shard to a `Report` of all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, final

from webds.redaction import redact
from webds.tools.report.facts import (
    ClassFacts,
    Example,
    FieldFacts,
    Finding,
    FindingKind,
    ImageFacts,
    Report,
    ShapeFacts,
    ShardFacts,
    ShownSample,
)
from webds.tools.report.kinds import Kind, kind_of
from webds.tools.report.repeats import Repeated, Repeats
from webds.tools.report.scanning import ShardScan
from webds.tools.report.tallies import Fields, FieldTally, Issues, Shapes
from webds.tools.texts import count_text, name_text, size_text

__all__ = ["Total", "common_name"]

_ORDER: Final[tuple[FindingKind, ...]] = (
    "broken", "undecodable", "apart", "twice", "taken", "key", "content", "uneven", "empty", "no sample", "names",
)  # fmt: skip
_MOST_CLASSES: Final = 40
_MOST_CLASS_FIELDS: Final = 12
_MOST_SIZES: Final = 8
_MOST_SHAPES: Final = 20
_MOST_IMAGE_FIELDS: Final = 8
_MOST_EXAMPLES: Final = 12


def common_name(urls: Sequence[str]) -> str:
    """Return what the names of shards begin with, as a title."""
    shown = [redact(url.partition("?")[0] if "://" in url else url) for url in urls]
    if len(shown) == 1:
        return "standard input" if shown[0] == "-" else os.path.basename(shown[0].rstrip("/")) or shown[0]
    common = os.path.commonprefix(shown)  # noqa: RUF071  # what names begin with
    folder, name = os.path.split(common)
    return name.rstrip("0-_.") or os.path.basename(folder) or f"{len(shown):,} shards"


@final
class Total:
    """What all shards have together.

    Attributes:
        shards: what there is to say of each, so far.
    """

    def __init__(self) -> None:
        self.shards: list[ShardFacts] = []
        self._fields = Fields()
        self._shapes = Shapes()
        self._issues = Issues()

    def add(self, scan: ShardScan) -> None:
        """Add a shard."""
        self.shards.append(ShardFacts(scan.url, len(scan.keys), scan.members, scan.bytes, scan.stored, scan.fault))
        self._fields.merge(scan.fields)
        self._shapes.merge(scan.shapes)
        self._issues.merge(scan.issues)

    def report(
        self, repeats: Repeats, shown: Sequence[ShownSample], *, title: str, by_content: bool, chosen: str, room: int
    ) -> Report:
        """Return everything that was found.

        Args:
            repeats: the keys and contents of the same shards.
            shown: the samples that are shown.
            title: see `Report`, as the rest.
            by_content: likewise.
            chosen: likewise.
            room: likewise.
        """
        tallies = sorted(self._fields.items(), key=lambda item: (-item[1].count, item[0]))
        shapes = self._uneven()
        keys, contents = repeats.keys(), repeats.contents()
        self._note_repeats(repeats, keys, contents)
        return Report(
            title=name_text(title),
            shards=tuple(self.shards),
            fields=tuple(_field(name, tally) for name, tally in tallies),
            other_members=self._fields.others.count,
            shapes=shapes[:_MOST_SHAPES],
            classes=tuple(_classes(name, tally) for name, tally in tallies if tally.classes)[:_MOST_CLASS_FIELDS],
            images=tuple(_images(name, tally) for name, tally in tallies if tally.cells)[:_MOST_IMAGE_FIELDS],
            findings=tuple(
                Finding(kind, self._issues[kind][0], tuple(self._issues[kind][1]))
                for kind in _ORDER
                if kind in self._issues
            ),
            repeats=(*keys.examples, *contents.examples),
            shown=tuple(shown),
            by_content=by_content,
            chosen=chosen,
            room=room,
        )

    def _uneven(self) -> tuple[ShapeFacts, ...]:
        """Return which fields occur together, and take note of samples that lack what most have."""
        half = sum(shard.samples for shard in self.shards) / 2
        usual = sorted(name for name, tally in self._fields.items() if tally.count > half)
        facts: list[ShapeFacts] = []
        for fields, shape in sorted(self._shapes.items(), key=lambda item: -item[1].samples):
            alternatives = {_role(name) for name in fields}
            lacks = [name for name in usual if _role(name) not in alternatives] if fields else []
            url = self.shards[shape.shard].url
            names = tuple(map(name_text, fields)), tuple(map(name_text, lacks))
            facts.append(ShapeFacts(*names, shape.samples, url, shape.key))
            if lacks:
                text = "lacks " + name_text(", ".join(lacks))
                self._issues.note("uneven", Example(url, shape.key, None, text), shape.samples)
        return tuple(facts)

    def _note_repeats(self, repeats: Repeats, keys: Repeated, contents: Repeated) -> None:
        for shard, key, count in repeats.apart():
            text = f"the key is there {count} times, with other samples between"
            self._issues.note("apart", Example(self.shards[shard].url, name_text(key), None, text), count - 1)
        found_as: tuple[tuple[FindingKind, Repeated], ...] = (("key", keys), ("content", contents))
        for kind, found in found_as:
            for i, repeat in enumerate(found.examples[:_MOST_EXAMPLES]):
                url, key = repeat.places[0]
                size = f", {size_text(repeat.size)} each" if repeat.size else ""
                example = Example(url, key, repeat.field, count_text(repeat.count, "time") + size)
                self._issues.note(kind, example, 0 if i else found.count)


def _role(field: str) -> tuple[str, Kind]:
    """Return what a field is to a sample: ``jpg`` and ``png`` are both its image, ``seg.png`` is another one."""
    return field.removesuffix(".gz").rpartition(".")[0], kind_of(field)


def _field(name: str, tally: FieldTally) -> FieldFacts:
    sizes = tally.sizes
    return FieldFacts(
        name_text(name), kind_of(name), tally.count, sizes.total, sizes.range(), sizes.zeros, tally.undecodable
    )


def _classes(name: str, tally: FieldTally) -> ClassFacts:
    values = tally.classes
    return ClassFacts(name_text(name), values.total(), values.distinct, values.top(_MOST_CLASSES))


def _images(name: str, tally: FieldTally) -> ImageFacts:
    widths, heights = tally.widths.range(), tally.heights.range()
    assert widths is not None
    assert heights is not None
    return ImageFacts(
        name_text(name),
        tally.cells.total(),
        tuple(tally.formats.most_common()),
        tuple(tally.modes.most_common()),
        widths,
        heights,
        tuple(sorted((column, row, count) for (column, row), count in tally.cells.items())),
        tally.dimensions.distinct,
        tuple((width, height, count) for (width, height), count in tally.dimensions.top(_MOST_SIZES)),
    )

"""One shard, from its beginning to its end: what it holds, and what is noteworthy about that."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from array import array
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.codecs.image_open import kind_of as image_format, open_image
from webds.codecs.image_read import MAX_PIXELS
from webds.codecs.media_files import audio_kind, video_kind
from webds.errors import DecodeError, TarFormatError, WebdsError
from webds.redaction import redact
from webds.sources.tables import open_whole
from webds.tar import Members, MissingEnd, base_plus_ext, is_metadata
from webds.tools.engine import report
from webds.tools.report.facts import Example, FindingKind
from webds.tools.report.kinds import Kind, decoder_of, inflated, kind_of
from webds.tools.report.tallies import MAX_FIELDS, Fields, Issues, Shapes
from webds.tools.texts import name_text
from webds.typing import Readable

__all__ = [
    "DIGEST",
    "MOST_READ",
    "ScanTask",
    "ShardScan",
    "image_facts",
    "opened",
    "parts_of",
    "reason",
    "scan_shard",
]

DIGEST: Final = 16
"""Bytes of a hash of content."""

_RESERVED: Final = ("__key__", "__url__")
_LONGEST_CLASS: Final = 200

MOST_READ: Final = 1 << 28
"""Bytes of the largest field that is read; of a larger one no more than its size is known."""


@final
@attrs.frozen
class ScanTask:
    """A shard that is to be looked at.

    Attributes:
        number: which one it is.
        name: how the report names it.
        url: where it is.
        opener: opens it.
        missing_end: what an archive without end blocks is.
        content: whether to read every field; otherwise only headers and classes are read.
    """

    number: int
    name: str
    url: str
    opener: Opener
    missing_end: MissingEnd
    content: bool

    @override
    def __str__(self) -> str:
        return self.name


@final
@attrs.define
class ShardScan:
    """What was found in one shard.

    Attributes:
        number: which one it is.
        url: how the report names it.
        keys: of its samples, one after the other.
        members: how many files it has.
        bytes: of these.
        stored: of the shard itself.
        fault: why it could not be read to its end.
        fields: what there is to say of its fields.
        shapes: likewise.
        issues: what is noteworthy.
        names: of the fields whose content was hashed.
        ordinals: of each content, the sample.
        owners: of each content, the field, by its place in ``names``.
        sizes: of each content, its bytes.
        digests: of each content, `DIGEST` bytes.
    """

    number: int
    url: str
    keys: list[bytes] = attrs.field(factory=list)
    members: int = 0
    bytes: int = 0
    stored: int | None = None
    fault: str | None = None
    fields: Fields = attrs.field(factory=Fields)
    shapes: Shapes = attrs.field(factory=Shapes)
    issues: Issues = attrs.field(factory=Issues)
    names: list[str] = attrs.field(factory=list)
    ordinals: array[int] = attrs.field(factory=lambda: array("q"))
    owners: array[int] = attrs.field(factory=lambda: array("q"))
    sizes: array[int] = attrs.field(factory=lambda: array("q"))
    digests: bytearray = attrs.field(factory=bytearray)


def scan_shard(task: ScanTask) -> ShardScan:
    """Return what there is to say of a shard. One that cannot be read is said to be so: nothing is raised."""
    scanner = _Scanner(task)
    with contextlib.suppress(Exception):  # it says itself what is wrong with it, below
        scanner.scan.stored = task.opener.size(task.url)
    try:
        with opened(task.opener, task.url, whole=task.content) as stream:
            scanner.run(Members(stream, url=task.url, missing_end=task.missing_end))
    except Exception as error:
        scanner.break_off(error)
    report(1)
    return scanner.scan


@contextlib.contextmanager
def opened(opener: Opener, url: str, *, whole: bool) -> Generator[Readable]:
    """Open a shard, of which everything will be read, or little."""
    if whole:
        with opener.open(url) as stream:
            yield stream
    else:
        with open_whole(opener, url) as ranges:
            yield ranges


@final
class Part(NamedTuple):
    """A member of an archive that belongs to a sample.

    Attributes:
        key: the sample.
        field: the field.
        size: bytes of the content.
        data: returns the content; to be called once at most, before the next part is asked for.
    """

    key: str
    field: str
    size: int
    data: Callable[[], bytes]


def parts_of(members: Members, other: Callable[[str], object] = lambda name: None) -> Iterator[Part]:
    """Yield all members that belong to samples; tell ``other`` the names of those that do not, metadata left aside."""
    for name, size, data in _each(members):
        key, field = base_plus_ext(name)
        if key is not None and field is not None:
            yield Part(key, field, size, data)
        elif not is_metadata(name):
            other(name)


def _each(members: Members) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield name, size and content of each member: many at a time where they are plain."""
    while True:
        plain = members.plain()
        if plain is not None:
            for name, start, size in zip(plain.texts(), plain.starts, plain.sizes, strict=True):
                yield name, size, functools.partial(plain.content, start, size)
            members.passed(plain.begins[-1])
        elif (member := next(members, None)) is not None:
            yield member.name, member.size, members.data
        else:
            return


def reason(error: Exception) -> str:
    """Return what the report says of an error."""
    if isinstance(error, WebdsError):
        return name_text(redact(error.message), 400)
    return name_text(redact(f"{type(error).__name__}: {error}"), 400)


@final
@attrs.define
class _Content:
    """A field of the sample that is being read."""

    size: int
    fault: str | None = None
    value: str | None = None
    image: tuple[int, int, str, str] | None = None
    digest: bytes | None = None


@final
class _Scanner:
    """The state of looking at one shard. Samples are counted when they are whole."""

    def __init__(self, task: ScanTask) -> None:
        self.scan = ShardScan(task.number, task.name)
        self._task = task
        self._members: Members | None = None
        self._key: str | None = None
        self._contents: dict[str, _Content] = {}
        self._owners: dict[str, int] = {}

    def run(self, members: Members) -> None:
        self._members = members
        for part in parts_of(members, lambda name: self._note("no sample", None, None, name_text(name))):
            if part.key != self._key:
                self._finish()
                self._key = part.key
            self._enter(part)
        self._finish()

    def break_off(self, error: Exception) -> None:
        """Take note that the shard cannot be read on. The sample at hand does not count, unless it was whole."""
        if self._members is not None and self._members.ended:
            self._finish()
        scan = self.scan
        scan.fault = reason(error)
        where = f" at byte {error.offset:,}" if isinstance(error, TarFormatError) and error.offset else ""
        self._note("broken", None, None, f"{scan.fault}{where}, after {len(scan.keys):,} samples")

    def _note(self, kind: FindingKind, key: str | None, field: str | None, text: str) -> None:
        example = Example(self.scan.url, key and name_text(key), field and name_text(field), text)
        self.scan.issues.note(kind, example)

    def _enter(self, part: Part) -> None:
        """Take a member into the sample at hand."""
        key, field, size, data = part
        if field in _RESERVED:
            self._note("taken", key, field, "the reader has something else under this name")
        if field in self._contents:
            self._note("twice", key, field, "the field comes a second time in this sample")
            return
        kind = kind_of(field)
        content = self._contents[field] = _Content(size)
        if not size:
            if kind not in (Kind.CLASS, Kind.TEXT):
                _look(content, kind, field, b"", hashed=False)
        elif size <= MOST_READ and (self._task.content or kind is Kind.CLASS):
            _look(content, kind, field, data(), hashed=self._task.content and kind is not Kind.CLASS)

    def _finish(self) -> None:
        """Count the sample at hand."""
        key, contents = self._key, self._contents
        self._key, self._contents = None, {}
        if key is None:
            return
        scan, ordinal = self.scan, len(self.scan.keys)
        scan.keys.append(key.encode("utf-8", "surrogateescape"))
        scan.shapes.count(list(contents), 1, scan.number, name_text(key))
        if name_text(key, len(key)) != key or any(name_text(field, len(field)) != field for field in contents):
            self._note("names", key, None, "its name has bytes that are no UTF-8, or characters that cannot be seen")
        for field, content in contents.items():
            self._count(ordinal, key, field, content)

    def _count(self, ordinal: int, key: str, field: str, content: _Content) -> None:
        scan, tally = self.scan, self.scan.fields.at(field)
        scan.members += 1
        scan.bytes += content.size
        tally.sizes.add(content.size)
        if not content.size:
            self._note("empty", key, field, "there is not a byte in it")
        if content.fault is not None:
            tally.undecodable += 1
            self._note("undecodable", key, field, content.fault)
        if content.value is not None:
            tally.classes.count(content.value)
        if content.image is not None and min(content.image[:2]) > 0:
            tally.add_image(*content.image)
        if content.digest is not None and (owner := self._owner(field)) is not None:
            scan.ordinals.append(ordinal)
            scan.owners.append(owner)
            scan.sizes.append(content.size)
            scan.digests += content.digest

    def _owner(self, field: str) -> int | None:
        """Return the number of a field, if there are not too many of them."""
        owner = self._owners.get(field)
        if owner is None and len(self._owners) < MAX_FIELDS:
            owner = self._owners[field] = len(self.scan.names)
            self.scan.names.append(field)
        return owner


def _look(content: _Content, kind: Kind, field: str, data: bytes, *, hashed: bool) -> None:
    """Find out what can be found out about a content in little time."""
    if hashed:
        content.digest = hashlib.blake2b(data, digest_size=DIGEST).digest()
    try:
        data = inflated(data, field)
        match kind:
            case Kind.CLASS:
                decoder = decoder_of(field)
                content.value = name_text(str(decoder.decode(data, field)).strip() if decoder else "", _LONGEST_CLASS)
            case Kind.IMAGE:
                content.image = image_facts(data)
            case Kind.TEXT | Kind.JSON:
                decoder = decoder_of(field)
                if decoder is not None:
                    decoder.decode(data, field)
            case Kind.AUDIO:
                audio_kind(data)
            case Kind.VIDEO:
                video_kind(data)
            case _:
                pass
    except Exception as error:
        content.fault = reason(error)


def image_facts(data: bytes) -> tuple[int, int, str, str]:
    """Return width, height, format and mode of an image, of which no more than the head is decoded.

    Raises:
        DecodeError: it is no image.
    """
    try:
        with open_image(data, image_format(data), MAX_PIXELS) as image:
            return *image.size, image.format or "", image.mode
    except DecodeError:
        raise
    except Exception as error:
        raise DecodeError(f"the image cannot be decoded: {type(error).__name__}: {error}") from error

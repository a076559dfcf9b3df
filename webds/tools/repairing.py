"""What of a damaged shard can be saved: a new one of the samples that are whole, and a list of what was lost."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Generator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple, cast, final

import attrs

from webds.abc import Decoder
from webds.codecs.tables import default_decoders
from webds.errors import OpenError, SampleError, TarFormatError, WriteError
from webds.sinks.targets import FileTarget
from webds.sources.tar import TarSource
from webds.tar import Members, MissingEnd, is_metadata
from webds.tar.compression import decompressed, recognise
from webds.tar.header import BLOCK, ZERO_BLOCK, decode_header, decode_text, has_valid_checksum, number, padded, shown
from webds.tools.verifying import undecodable
from webds.tools.walking import Entry, Group
from webds.typing import KeyFunction, Readable
from webds.urls import local_path

__all__ = ["Lost", "Repaired", "repair_shard"]

_RECORD: Final = 20 * BLOCK
_PIECE: Final = 1 << 20
_WINDOW: Final = 1 << 22
_MAGIC: Final = b"ustar"
_MAGIC_AT: Final = 257
_RESERVED: Final = ("__key__", "__url__")


@final
@attrs.frozen
class Lost:
    """Something that is not in the new shard.

    Attributes:
        what: a key, or a stretch of the archive.
        why: a sentence.
    """

    what: str
    why: str


@final
@attrs.frozen
class Repaired:
    """What came of a repair.

    Attributes:
        path: the new shard; None where nothing could be saved, and there is none.
        samples: number of samples in it.
        moved: number of samples whose members were apart, and are together now.
        lost: what is not in it.
    """

    path: str | None
    samples: int
    moved: int
    lost: list[Lost]


@final
class _Span(NamedTuple):
    """One member, with the headers that belong to it.

    Attributes:
        field: which field it is.
        begin: where in the archive its headers begin.
        offset: where its data do.
        stored: bytes of these.
        run: number of the run of neighbours with one key that it is in.
    """

    field: str
    begin: int
    offset: int
    stored: int
    run: int


@final
@attrs.define
class _Sample:
    """The members of one key, wherever they are, and why it is lost, if it is."""

    spans: list[_Span] = attrs.field(factory=list[_Span])
    torn: str | None = None


def repair_shard(
    source: TarSource, url: str, path: str | os.PathLike[str], *, decode: bool = False, overwrite: bool = False
) -> Repaired:
    """Write a sound shard of all samples of a damaged one that are whole beyond doubt.

    Members are copied as they are, headers included. Behind damage, the next header that is good is looked for. The
    samples before and behind a gap are lost, since what was in it may have been theirs. Members of one sample that
    are apart are put together. Of a field that is there twice one is kept if both are equal; otherwise the sample is
    lost. Members that belong to no sample are left out.

    Args:
        source: the shards.
        url: the damaged one.
        path: local file for the new shard, which has its name when it is whole. It is not compressed.
        decode: whether samples with values that cannot be decoded are lost, too; by the default decoders.
        overwrite: whether a file that is there may be replaced.

    Raises:
        WriteError: a file is there already.
        OpenError: nothing can be read, or not be written.
    """
    name = os.fspath(path)
    if os.path.lexists(name) and not overwrite:
        raise WriteError("there is a file of this name already; it is replaced only if asked for", url=name)
    lost: list[Lost] = []
    with _local(source, url, os.path.dirname(name) or ".", lost) as archive:
        salvage = _Salvage(archive, source.keys, source.missing_end, lost)
        salvage.run()
        decoders = default_decoders("rgb8") if decode else None
        kept: list[list[_Span]] = []
        for key, one in salvage.samples.items():
            try:
                kept.append(_sound(archive, key, one, decoders))
            except SampleError as error:
                lost.append(Lost(key, error.message))
        if not kept:
            return Repaired(None, 0, 0, lost)
        _write(archive, kept, name, overwrite=overwrite)
    return Repaired(name, len(kept), sum(len({span.run for span in spans}) > 1 for spans in kept), lost)


@contextlib.contextmanager
def _local(source: TarSource, url: str, folder: str, lost: list[Lost]) -> Generator[BinaryIO]:
    """Open a shard as an uncompressed local file: itself, or a copy of as much of it as can be read."""
    path = local_path(url)
    if path is not None and os.path.isfile(path):
        with open(path, "rb") as file:
            head = file.read(BLOCK)
            file.seek(0)
            if recognise(head) is None or has_valid_checksum(head.ljust(BLOCK, b"\0")):
                yield file
                return
    with tempfile.TemporaryFile(dir=folder) as copy:
        reason = _copied(source, url, copy)
        if reason is not None:
            lost.append(Lost(f"what follows byte {copy.tell()}", reason))
        copy.seek(0)
        yield copy


def _copied(source: TarSource, url: str, copy: BinaryIO) -> str | None:
    """Copy a shard, uncompressed, and return why that ended early, if it did."""
    try:
        with source.shard_opener.open(url) as stream:
            head = b""
            while len(head) < BLOCK and (part := stream.read(BLOCK - len(head))):
                head += part
            compression = None if len(head) == BLOCK and has_valid_checksum(head) else recognise(head)
            rest = cast("Readable", _Chained(head, stream))
            plain = rest if compression is None else decompressed(rest, compression)
            while piece := plain.read(_PIECE):
                copy.write(piece)
    except (OpenError, TarFormatError) as error:
        if not copy.tell():
            raise
        return error.message
    return None


@final
class _Chained:
    """What was read of a stream, and then the rest of it."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            end = len(self._head) if size < 0 else size
            head, self._head = self._head[:end], self._head[end:]
            return head
        return self._stream.read(size)


@final
class _Salvage:
    """Goes through a damaged archive, gap by gap.

    Attributes:
        samples: key → its members, in the order of their first ones.
    """

    def __init__(self, archive: BinaryIO, keys: KeyFunction, missing_end: MissingEnd, lost: list[Lost]) -> None:
        self.samples: dict[str, _Sample] = {}
        self._archive = archive
        self._keys = keys
        self._missing_end: MissingEnd = missing_end
        self._lost = lost
        self._size = archive.seek(0, io.SEEK_END)
        self._run = 0
        self._key: str | None = None
        self._torn: str | None = None

    def run(self) -> None:
        """Find all members that are whole."""
        at: int | None = 0
        while at is not None:
            at = self._stretch(at)

    def _stretch(self, at: int) -> int | None:
        """Go on from ``at`` to the next damage, and return where good headers begin again; None at the end."""
        self._archive.seek(at)
        members = Members(self._archive, missing_end=self._missing_end)
        begin = at
        try:
            for member in members:
                offset = at + member.offset
                if offset + member.stored > self._size:
                    self._tear(f"the archive ends inside its member {shown(member.name)}")
                    self._lost.append(Lost(member.name, "the archive ends inside it"))
                    self._note(member.name, None)
                    return None
                self._note(member.name, (begin, offset, member.stored))
                begin = offset + padded(member.stored)
        except TarFormatError as error:
            return self._behind(error, at, begin, ended=members.ended)
        return None

    def _note(self, name: str, span: tuple[int, int, int] | None) -> None:
        """Take a member to its sample. Without ``span``, it is not whole, and neither is the sample."""
        key, field = self._keys(name)
        if key is None or field is None:
            why = "it is metadata" if is_metadata(name) else "it belongs to no sample"
            self._lost.append(Lost(name, why))
            return
        if key != self._key:
            self._run += 1
            self._key = key
        sample = self.samples.setdefault(key, _Sample())
        sample.torn = sample.torn or self._torn
        self._torn = None
        if span is None:
            sample.torn = sample.torn or "one of its members is cut short"
        else:
            sample.spans.append(_Span(field, *span, self._run))

    def _behind(self, error: TarFormatError, at: int, begin: int, *, ended: bool) -> int | None:
        """Return where to go on behind damage that begins at ``begin``."""
        if ended:  # another archive may follow
            following = None if error.offset is None else at + error.offset
            return following if following is not None and self._is_header(following) else None
        self._tear(f"it may have lost members at byte {begin}: {error.message}")
        following = self._next_header(begin)
        end = self._size if following is None else following
        if end > begin:
            name = decode_text(self._block(begin)[:100])
            named = f"; the name there is {shown(name)}" if name.isprintable() and name else ""
            self._lost.append(Lost(f"bytes {begin} to {end}", error.message + named))
        self._torn = f"it may have lost members before byte {end}, in what is damaged there"
        self._key = None
        return following

    def _tear(self, why: str) -> None:
        """Note that the sample at hand may not be whole."""
        if self._key is not None:
            sample = self.samples[self._key]
            sample.torn = sample.torn or why

    def _next_header(self, begin: int) -> int | None:
        """Return where, behind the damaged header at ``begin``, members follow one another again."""
        head = self._block(begin).ljust(BLOCK, b"\0")
        with contextlib.suppress(TarFormatError):
            claimed = begin + BLOCK + padded(number(head[124:136]))
            # Data may look like headers: where the size is still good, none of them is looked at.
            if begin < claimed < self._size and self._is_header(claimed):
                return claimed
        at = begin + BLOCK
        while at < self._size:
            self._archive.seek(at)
            window = self._archive.read(_WINDOW)
            found = window.find(_MAGIC)
            while found >= 0:
                start = at + found - _MAGIC_AT
                if start > begin and (start - begin) % BLOCK == 0 and self._leads_on(start):
                    return start
                found = window.find(_MAGIC, found + 1)
            at += max(BLOCK, len(window) - BLOCK)
        return None

    def _leads_on(self, start: int) -> bool:
        """Return whether a good header is at ``start``, and what it says leads to another one or to the end."""
        if not self._is_header(start):
            return False
        try:
            size = decode_header(self._block(start)).size
        except TarFormatError:
            return False
        after = start + BLOCK + padded(size)
        return after == self._size or self._is_header(after) or self._block(after) == ZERO_BLOCK

    def _is_header(self, at: int) -> bool:
        block = self._block(at)
        return len(block) == BLOCK and block != ZERO_BLOCK and has_valid_checksum(block)

    def _block(self, at: int) -> bytes:
        self._archive.seek(at)
        return self._archive.read(BLOCK)


def _sound(archive: BinaryIO, key: str, sample: _Sample, decoders: Mapping[str, Decoder[Any]] | None) -> list[_Span]:
    """Return the members of a sample, each field once.

    Raises:
        SampleError: it cannot be saved.
    """
    if sample.torn is not None:
        raise SampleError(sample.torn)
    fields: dict[str, _Span] = {}
    for span in sample.spans:
        before = fields.setdefault(span.field, span)
        if before is not span and _digest(archive, before) != _digest(archive, span):
            raise SampleError(f"the field {shown(span.field)} is there twice, and the two differ")
        if span.field in _RESERVED:
            raise SampleError(f"the name of its field {shown(span.field)} is taken")
    if decoders is not None:
        entries = [Entry("", span.field, span.offset, span.stored, _content(archive, span)) for span in fields.values()]
        for problem in undecodable(Group(key, entries), decoders, {}):
            raise SampleError(f"its field {shown(problem.field or '')} cannot be decoded: {problem.text}")
    return list(fields.values())


def _content(archive: BinaryIO, span: _Span) -> bytes:
    """Return the content of a member."""
    archive.seek(span.begin)
    members = Members(archive)
    next(members)
    return members.data()


def _digest(archive: BinaryIO, span: _Span) -> bytes:
    return hashlib.sha256(_content(archive, span)).digest()


def _write(archive: BinaryIO, samples: list[list[_Span]], path: str, *, overwrite: bool) -> None:
    """Write the members as they stand in the archive, one behind the other, and an end."""
    target = FileTarget(path, overwrite=overwrite)
    written = 0
    try:
        for span in (span for spans in samples for span in spans):
            archive.seek(span.begin)
            size = span.offset - span.begin + padded(span.stored)
            while size > 0:
                # The padding of the last member of all may be missing.
                piece = archive.read(min(size, _PIECE)) or bytes(size)
                target.write(piece)
                written += len(piece)
                size -= len(piece)
        target.write(bytes(2 * BLOCK + -(written + 2 * BLOCK) % _RECORD))
        target.commit()
    finally:
        target.discard()

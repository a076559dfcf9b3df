"""The members of an archive, one after the other."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from typing import Final, Literal, NoReturn, Self, TypeAlias, final

import attrs

from webds.checks import checkmember
from webds.errors import TarFormatError
from webds.tar import sparse
from webds.tar.blocks import PIECE, Blocks
from webds.tar.compression import decompressed, recognise
from webds.tar.extensions import Extensions
from webds.tar.header import (
    BLOCK,
    ZERO_BLOCK,
    Header,
    decode_header,
    describe,
    has_valid_checksum,
    padded,
    shown,
)
from webds.tar.naming import is_metadata
from webds.tar.plain import Plain, plain_members
from webds.tar.spacious import Spacious
from webds.typing import Readable

__all__ = ["Member", "Members", "MissingEnd", "read_files", "read_members"]

MissingEnd: TypeAlias = Literal["error", "accept"]
"""What an archive is that ends at a member boundary without an end marker: cut short, or as its writer made it."""

_REGULAR: Final = (b"0", b"\0", b"7", b"S")
_WITHOUT_DATA: Final = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices, directories, FIFOs. Whatever size they state (links that of their file), no data follows."""


@final
@attrs.frozen
class Member:
    """A regular file in an archive.

    Attributes:
        name: its path; bytes that are no UTF-8 are kept as surrogates.
        size: bytes of the file, with the holes of a sparse one.
        offset: position of its data in the (uncompressed) archive.
        stored: bytes that its data takes there, without padding.
        sparse: whether it is stored without its holes, so that what lies at ``offset`` is not yet the file.
    """

    name: str
    size: int
    offset: int
    stored: int
    sparse: bool = False


@final
class Members:
    """Iterate over the regular files of an archive; `data` returns the content of the last one.

    Directories, links and devices are passed over. The content of a large member that is not asked for is not read
    either, where the stream can seek. After the last member the stream is read to its end, as pipes need it.

    Args:
        stream: the archive, which may be compressed (gz, bz2, xz, zst). It stays open.
        url: named in errors.
        missing_end: see `MissingEnd`.

    Attributes:
        ended: whether the last member is over. True also where an error comes after it: no sample misses anything.
        others: how many members were no regular files, so far.

    Raises:
        TarFormatError: by the iteration and by `data`: the archive is damaged, cut short, no archive at all, or
            followed by another one.
        MissingExtraError: by the iteration: zst, and the package zstandard is not installed.
    """

    def __init__(self, stream: Readable, *, url: str = "", missing_end: MissingEnd = "error") -> None:
        checkmember(missing_end, ("error", "accept"), "missing_end")
        self.ended: bool = False
        self.others: int = 0
        self._spacious: Spacious | None = None
        self._url = url or None
        self._accept = missing_end == "accept"
        self._blocks = Blocks(stream)
        self._extensions = Extensions()
        self._unread: Member | None = None
        self._sparse: sparse.Sparse | None = None
        self._over = False
        self._scanned: Plain | None = None

    def __iter__(self) -> Self:
        """Return itself: an archive is read once."""
        return self

    def __next__(self) -> Member:
        """Return the next regular file."""
        if self._over:
            raise StopIteration
        self._over = True  # unless all goes well
        try:
            member = self._next()
            if member is None:
                self.ended = True
                self._drain()
                raise StopIteration
        except TarFormatError as error:
            error.locate(url=self._url, offset=self._blocks.offset, stage="read")
            raise
        self._over = False
        return member

    def data(self) -> bytes:
        """Return the content of the last member. It can be taken once.

        Raises:
            TarFormatError: the archive ends before, or the holes of a sparse member are nonsense.
            ValueError: there is no member, or its content was taken already.
        """
        member, self._unread = self._unread, None
        if member is None:
            raise ValueError("there is no member whose content is still to be read")
        self._over = True
        try:
            data = self._blocks.take(member.stored)
            self._skip_to(member.name, member.offset, member.stored)
            content = data if self._sparse is None else sparse.expand(data, self._sparse)
        except TarFormatError as error:
            error.locate(url=self._url, field=member.name, offset=member.offset, stage="read")
            raise
        self._over = False
        return content

    @property
    def looks_far(self) -> bool:
        """Whether plain members are looked for in the file itself, and not just in what has been read ahead."""
        return self._blocks.of_large and self._blocks.anywhere is not None

    def pieces(self) -> Iterator[bytes]:
        """Yield the content of the last member piece by piece, for less memory; a sparse one comes whole.

        Raises:
            TarFormatError: as by `data`, after what there was.
            ValueError: likewise.
        """
        if self._sparse is not None or self._unread is None:
            yield self.data()
            return
        member, self._unread, self._over = self._unread, None, True
        left = member.stored
        while left and (piece := self._blocks.take(min(PIECE, left))):
            left -= len(piece)
            yield piece
        try:
            self._skip_to(member.name, member.offset, member.stored)
        except TarFormatError as error:
            error.locate(url=self._url, field=member.name, offset=member.offset, stage="read")
            raise
        self._over = False

    def plain(self) -> Plain | None:
        """Return the plain members that come next; None where the next is to be taken by itself.

        They are not passed before `passed` is called. The content of the last member, if nobody has asked for it, is.
        """
        if self._unread is not None and not self._over:
            self._over = True  # unless all goes well
            try:
                self._skip_unread()
            except TarFormatError as error:
                error.locate(url=self._url, offset=self._blocks.offset, stage="read")
                raise
            self._over = False
        at = self._blocks.offset
        if at == 0 or self._over or self._extensions.active:
            return None
        plain = self._scanned
        if plain is None or at >= plain.end:
            plain = self._scanned = self._scan(at)
        index = bisect.bisect_left(plain.begins, at)
        if index >= len(plain.sizes) or plain.begins[index] != at:
            return None
        return plain.since(index) if index else plain

    def _scan(self, at: int) -> Plain:
        """Look for plain members from ``at`` on: in what was read ahead, or, if they are large, in the file itself."""
        blocks = self._blocks
        if blocks.of_large and (file := blocks.anywhere) is not None and (end := blocks.end()) is not None:
            self._spacious = self._spacious or Spacious(file.read_at, end, file.expect)
            plain = self._spacious.members(at)
        else:
            plain = plain_members(*blocks.ahead(), at, large=blocks.of_large)
        if plain.sizes:
            blocks.of_large = plain.is_spacious
        return plain

    def passed(self, offset: int) -> None:
        """Pass over the members that end at ``offset`` in the archive."""
        self._blocks.pass_to(offset)
        if self._scanned is not None and offset >= self._scanned.begins[-1]:
            self._scanned = None  # what was read ahead gives its memory to what comes next

    def _next(self) -> Member | None:
        if self._blocks.offset == 0:
            self._decompress()
        self._skip_unread()
        while (header := self._header()) is not None:
            if self._extensions.extend(header, self._body):
                continue
            member = self._member(header)
            self._extensions.clear()
            if member is not None:
                self._unread = member
                return member
            self.others += 1
        return None

    def _skip_unread(self) -> None:
        """Go to the end of the last member."""
        if self._unread is not None:
            self._skip_to(self._unread.name, self._unread.offset, self._unread.stored)
            self._unread = None

    def _decompress(self) -> None:
        """Put a decompressor between the stream and the blocks, where the data is compressed."""
        head = self._blocks.peek(BLOCK)
        compression = recognise(head)
        # The name of a tar's first member may begin with the magic of another format.
        if compression is not None and not (len(head) == BLOCK and has_valid_checksum(head)):
            self._blocks = Blocks(decompressed(self._blocks.unread(), compression))

    def _header(self) -> Header | None:
        """Return the next header; None at the end of the archive."""
        at = self._blocks.offset
        block = self._blocks.take(BLOCK)
        if len(block) == BLOCK and block != ZERO_BLOCK:
            try:
                return decode_header(block)
            except TarFormatError as error:
                if at == 0 and not has_valid_checksum(block) and not block.startswith(b"ustar", 257):
                    raise TarFormatError(f"{describe(block)}, not a tar archive", offset=0) from None
                error.locate(offset=at)
                raise
        if self._extensions.pending:
            raise TarFormatError("the archive ends where a member is due, after the header that extends it", offset=at)
        # Where no end marker is wanted, a part of one does no harm.
        if len(block) < BLOCK and not (self._accept and not block.strip(b"\0")):
            self._refuse_end(block, at)
        return None

    def _refuse_end(self, block: bytes, at: int) -> NoReturn:
        """Raise the error of a stream that ends with a block that is not whole, or before the end marker."""
        if at == 0 and block.strip(b"\0"):
            raise TarFormatError(f"{describe(block)}, not a tar archive: it has only {len(block)} bytes", offset=0)
        if block:
            raise TarFormatError(f"the archive ends {len(block)} bytes into a block: it was cut short", offset=at)
        if not at:
            raise TarFormatError("the archive is empty, without even an end marker: it was cut short", offset=0)
        raise TarFormatError(
            "the archive ends without an end marker: it was cut short, or its writer leaves them out "
            '(missing_end="accept" reads such archives)',
            offset=at,
        )

    def _body(self, header: Header) -> bytes:
        """Return the data that follows a header that extends a member."""
        at = self._blocks.offset
        body = self._blocks.take(header.size)
        self._skip_to(header.name, at, header.size)
        return body

    def _member(self, header: Header) -> Member | None:
        """Return the regular file that begins with ``header``; None for all else, and pass over that."""
        name, size = self._extensions.apply(header)
        if header.kind in _WITHOUT_DATA or (header.kind == b"\0" and name.endswith("/")):  # a directory of v7
            return None
        if header.kind not in _REGULAR:
            if header.kind == b"M":
                raise TarFormatError(f"the archive goes on with {shown(name)} from another volume, which is not here")
            self._skip_to(name, self._blocks.offset, size)
            return None
        if header.kind == b"S":
            self._sparse = sparse.of_old_gnu(header, self._blocks.take)
        else:
            self._sparse = self._extensions.sparse(size)
        if self._sparse is None:
            return Member(name, size, self._blocks.offset, size)
        return Member(self._sparse.name or name, self._sparse.size, self._blocks.offset, size, sparse=True)

    def _skip_to(self, name: str, start: int, size: int) -> None:
        """Go to the end of the data that begins at ``start`` and has ``size`` bytes, and of its padding."""
        missing = start + padded(size) - self._blocks.offset
        if missing > 0 and self._blocks.skip(missing) < missing:
            end = self._blocks.offset
            raise TarFormatError(
                f"the archive ends inside {shown(name)}, after {end - start} of {padded(size)} bytes: it was cut short",
                field=name,
                offset=end,
            )

    def _drain(self) -> None:
        """Read to the end of the stream, as pipes and checksums need it; refuse to lose a second archive there."""
        while rest := self._blocks.take(PIECE):
            if rest.count(0) == len(rest):
                continue
            start = self._blocks.offset - len(rest)
            for at in range(0, len(rest) - BLOCK + 1, BLOCK):
                if has_valid_checksum(rest[at : at + BLOCK]):
                    raise TarFormatError(
                        "another archive follows the end of this one, and would be lost: "
                        "concatenate with tar --concatenate, or keep them apart",
                        offset=start + at,
                    )


def read_members(
    stream: Readable,
    *,
    url: str = "",
    missing_end: MissingEnd = "error",
    want: Callable[[str], bool] | None = None,
) -> Iterator[tuple[Member, bytes | None]]:
    """Yield each regular file of an archive with its content.

    Args:
        stream: see `Members`, which gives the same piecemeal.
        url: named in errors.
        missing_end: see `MissingEnd`.
        want: called with a name: whether the content is wanted. None for all.

    Yields:
        The member, and its content; None in its place where it is not wanted.

    Raises:
        TarFormatError: see `Members`.
    """
    members = Members(stream, url=url, missing_end=missing_end)
    return ((member, members.data() if want is None or want(member.name) else None) for member in members)


def read_files(stream: Readable, *, url: str = "", missing_end: MissingEnd = "error") -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each regular file of an archive that is no metadata (see `is_metadata`).

    Args:
        stream: see `Members`.
        url: named in errors.
        missing_end: see `MissingEnd`.

    Raises:
        TarFormatError: see `Members`.
    """
    members = read_members(stream, url=url, missing_end=missing_end, want=_is_data)
    return ((member.name, data) for member, data in members if data is not None)


def _is_data(name: str) -> bool:
    return not is_metadata(name)

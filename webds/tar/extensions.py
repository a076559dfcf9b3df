"""Headers that say more about the member after them: pax records, and GNU tar's long names."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import attrs

from webds.errors import TarFormatError
from webds.tar.header import MAX_EXTENSION, MAX_SIZE, Header, decode_text, parse_pax, shown
from webds.tar.sparse import Sparse, of_pax

__all__ = ["Extensions"]

_SPARSE = "GNU.sparse."
_PAIRED = frozenset({"GNU.sparse.offset", "GNU.sparse.numbytes"})


@final
@attrs.define
class Extensions:
    """What is known of the next member before its own header.

    Attributes:
        pending: whether something was said that only the next member can use.
    """

    pending: bool = False
    _long_name: str | None = None
    _records: dict[str, str] = attrs.field(factory=dict)
    _pairs: list[str] = attrs.field(factory=list)
    _everywhere: dict[str, str] = attrs.field(factory=dict)

    def extend(self, header: Header, body: Callable[[Header], bytes]) -> bool:
        """Take in the member that begins with ``header``, if it is one that extends others.

        Args:
            header: any header.
            body: called with the header, returns the data that follows it.

        Returns:
            Whether it is; ``body`` was called then.

        Raises:
            TarFormatError: the body is malformed, or of an absurd size.
        """
        if header.kind not in (b"x", b"g", b"X", b"L", b"K"):
            return False
        if header.size > MAX_EXTENSION:
            raise TarFormatError(
                f"{header.size} bytes of name or pax records, which is absurd (the limit is {MAX_EXTENSION})"
            )
        data = body(header)
        if header.kind == b"g":
            self._extend_all(parse_pax(data))
            return True
        self.pending = True
        if header.kind == b"L":
            self._long_name = decode_text(data) or None
        elif header.kind != b"K":  # a K tells the target of a link
            records = parse_pax(data)
            self._records |= records
            self._pairs += [value for keyword, value in records if keyword in _PAIRED]
        return True

    def _extend_all(self, records: list[tuple[str, str]]) -> None:
        """Keep the records of a global header that are honoured; there could be any number of others."""
        for keyword, value in records:
            if keyword.startswith(_SPARSE):
                raise TarFormatError(f"{keyword} for all members, which makes no sense")
            if keyword in ("path", "size"):
                self._everywhere[keyword] = value

    def apply(self, header: Header) -> tuple[str, int]:
        """Return the name of the member that begins with ``header``, and the bytes that its data takes.

        Raises:
            TarFormatError: a record holds no number where one is due.
        """
        if not self.pending and not self._everywhere:
            return header.name, header.size
        # A record without a value takes back one that is said of all members.
        name = self._records.get("path", self._everywhere.get("path")) or self._long_name or header.name
        size = self._records.get("size", self._everywhere.get("size"))
        return name, _size(size) if size else header.size

    def sparse(self, stored: int) -> Sparse | None:
        """Return what is said of holes in the next member; None if nothing.

        Args:
            stored: bytes that its data takes in the archive.

        Raises:
            TarFormatError: holes of an unknown kind, or records that do not fit together.
        """
        if not self.pending:
            return None
        real = self._records.get("SCHILY.realsize")
        if real and _size(real) != stored:
            raise TarFormatError("a member that is sparse in a way that only star knows, and cannot be expanded")
        return of_pax(self._records, self._pairs)

    @property
    def active(self) -> bool:
        """Whether anything is said that the next header does not say by itself."""
        return self.pending or bool(self._everywhere)

    def clear(self) -> None:
        """Forget what was said of one member only."""
        if self.pending:
            self.pending = False
            self._long_name = None
            self._records.clear()
            self._pairs.clear()


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= MAX_SIZE):
        raise TarFormatError(f"a pax header claims a size of {shown(text)} bytes")
    return int(text)

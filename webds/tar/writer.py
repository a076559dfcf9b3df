"""The bytes of tar archives: POSIX ustar headers, padding, and the end of the archive.

Source of the format: IEEE Std 1003.1 (pax, "ustar Interchange Format" and "pax Header Block"); numbers too large for
their octal digits are base-256, as GNU tar introduced them and all present-day readers understand them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, final

import attrs

from webds.errors import WriteError

__all__ = [
    "BLOCK",
    "NAME_SIZE",
    "RECORD",
    "HeaderTemplate",
    "end_of_archive",
    "member_header",
    "padding",
    "size_field",
]

BLOCK: Final = 512
"""Bytes of a header; the data of every member is filled up to a multiple of it."""

RECORD: Final = 20 * BLOCK
"""Bytes of a record; the whole archive is filled up to a multiple of it."""

NAME_SIZE: Final = 100
"""Bytes of a header for the name."""

_PREFIX_SIZE: Final = 155
_OWNER_SIZE: Final = 32  # the terminating NUL included
_MAX_OCTAL: Final = 8**11 - 1  # eleven digits: sizes below 8 GiB, and times up to the year 2242
_MAX_NAME: Final = 1 << 16  # bytes; more than any file system has, and less than readers refuse
_PAX_NAME: Final = b"././@PaxHeader"
_FILLINGS: Final = tuple(bytes(-size % BLOCK) for size in range(BLOCK))


@final
@attrs.frozen
class HeaderTemplate:
    """What the headers of all members of an archive have in common.

    Attributes:
        mode: permission bits, such as ``0o444``.
        user: owner's name, at most 31 bytes in UTF-8; the numeric id is 0.
        group: group's name, likewise.
        mtime: time of modification, whole seconds since 1970.
    """

    mode: int = 0o444
    user: str = "bigdata"
    group: str = "bigdata"
    mtime: int = 0
    _numbers: bytes = attrs.field(init=False, repr=False, eq=False)
    _time: bytes = attrs.field(init=False, repr=False, eq=False)
    _owner: bytes = attrs.field(init=False, repr=False, eq=False)
    _fixed_sum: int = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        _check_number("mode", self.mode, 0o7777)
        _check_number("mtime", self.mtime, _MAX_OCTAL)
        owners = _owner_field("user", self.user) + _owner_field("group", self.group)
        numbers = b"%07o\0%s%s" % (self.mode, b"0000000\0", b"0000000\0")
        time = b"%011o\0" % self.mtime
        owner = bytes(NAME_SIZE) + b"ustar\x0000" + owners + b"0000000\x000000000\x00"
        object.__setattr__(self, "_numbers", numbers)
        object.__setattr__(self, "_time", time)
        object.__setattr__(self, "_owner", owner)
        # The checksum counts its own eight bytes as spaces.
        object.__setattr__(self, "_fixed_sum", sum(numbers) + sum(time) + sum(owner) + 8 * ord(" "))

    def header(self, name: str, size: int) -> bytes:
        """Return the header of a regular file: one block, or three and more where the name does not fit into one.

        Args:
            name: path of the member. Up to 100 ASCII characters (256, if there is a ``/`` in the right place) fit
                into the header; any other name goes before it as a pax record.
            size: bytes of data that will follow, padding not counted.

        Returns:
            A multiple of 512 bytes.

        Raises:
            WriteError: no tar can hold such a name or size.
        """
        if size < 0:
            raise WriteError(f"a member of {size} bytes cannot be", field=name)
        if name.isascii() and 0 < len(name) <= NAME_SIZE and name[-1] != "/" and "\0" not in name:
            return self._block(name.encode("ascii"), b"", size, b"0")
        raw = _encode_name(name)
        split = _split(raw)
        if split is not None and name.isascii():
            return self._block(split[1], split[0], size, b"0")
        record = _pax_record(b"path", raw)
        extended = self._block(_PAX_NAME, b"", len(record), b"x") + record + padding(len(record))
        # Readers that know nothing of pax records find at least the beginning of the name, if not all of it.
        prefix, short = split or (b"", raw[:NAME_SIZE].decode("utf-8", "ignore").rstrip("/").encode("utf-8"))
        return extended + self._block(short, prefix, size, b"0")

    def _block(self, name: bytes, prefix: bytes, size: int, kind: bytes) -> bytes:
        digits = size_field(size)
        total = self._fixed_sum + sum(name) + sum(prefix) + sum(digits) + kind[0]
        return b"%s%s%s%s%06o\0 %s%s%s%s" % (
            name.ljust(NAME_SIZE, b"\0"),
            self._numbers,
            digits,
            self._time,
            total,
            kind,
            self._owner,
            prefix.ljust(_PREFIX_SIZE, b"\0"),
            b"\0" * 12,
        )


def member_header(
    name: str, size: int, *, mode: int = 0o444, user: str = "bigdata", group: str = "bigdata", mtime: int = 0
) -> bytes:
    """Return the header of one member; see `HeaderTemplate`, whose attributes are the arguments here.

    Raises:
        WriteError: no tar can hold such a name or size.
        ValueError: a mode, a time or an owner's name that does not fit into a header.
    """
    return _template(mode, user, group, mtime).header(name, size)


@lru_cache(maxsize=16)
def _template(mode: int, user: str, group: str, mtime: int) -> HeaderTemplate:
    return HeaderTemplate(mode, user, group, mtime)


def size_field(size: int) -> bytes:
    """Return the twelve bytes of a header that tell the size of the data."""
    return b"%011o\0" % size if size <= _MAX_OCTAL else b"\x80" + size.to_bytes(11, "big")


def padding(size: int) -> bytes:
    """Return the zeros that follow ``size`` bytes of data, up to the next block."""
    return _FILLINGS[size % BLOCK]


def end_of_archive(written: int) -> bytes:
    """Return what ends an archive: two blocks of zeros, and more up to the end of the record.

    Args:
        written: bytes of the archive so far, a multiple of 512.
    """
    if written % BLOCK:
        raise ValueError(f"an archive of {written} bytes does not end at a block of {BLOCK}")
    return bytes(2 * BLOCK + -(written + 2 * BLOCK) % RECORD)


def _check_number(what: str, value: object, largest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise ValueError(f"{what}={value!r}: expected a whole number from 0 to {largest:#o}")


def _owner_field(what: str, name: str) -> bytes:
    raw = name.encode("utf-8")
    if len(raw) >= _OWNER_SIZE or b"\0" in raw:
        raise ValueError(f"{what}={name!r}: expected at most {_OWNER_SIZE - 1} bytes, and no NUL")
    return raw.ljust(_OWNER_SIZE, b"\0")


def _encode_name(name: str) -> bytes:
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise WriteError(f"a member's name must be text that UTF-8 can hold, not {name!r}") from error
    if not raw or b"\0" in raw or raw.endswith(b"/"):
        raise WriteError(f"a member cannot be named {name!r}: names are not empty, hold no NUL, do not end in '/'")
    if len(raw) > _MAX_NAME:
        raise WriteError(f"a member's name of {len(raw)} bytes, {name[:80] + '…'!r}: expected at most {_MAX_NAME}")
    return raw


def _split(raw: bytes) -> tuple[bytes, bytes] | None:
    """Return (prefix, name) as they fit into a header, or None if they do not."""
    if len(raw) <= NAME_SIZE:
        return b"", raw
    # A prefix must not be empty, since a reader would then leave out the "/" between the two.
    slash = raw.find(b"/", max(1, len(raw) - NAME_SIZE - 1), _PREFIX_SIZE + 1)
    return None if slash < 0 else (raw[:slash], raw[slash + 1 :])


def _pax_record(keyword: bytes, value: bytes) -> bytes:
    r"""Return ``b"LENGTH keyword=value\n"``, where the length counts its own digits."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length += 1
    return b"%d %s=%s\n" % (length, keyword, value)

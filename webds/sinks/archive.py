"""The bytes of one archive on their way to a target, put together so that many small samples make few writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from webds.sinks.targets import Target
from webds.tar.packing import ROOM, Content, MemberPacker
from webds.tar.writer import HeaderTemplate, end_of_archive, padding

__all__ = ["JOINED", "Archive"]

JOINED: Final = 1 << 20
"""Samples up to this size are put together for a single write; a copy of a larger one would cost more than it saves."""

_CHUNK: Final = 1 << 18
"""What is written at once of small samples; small enough for a processor's cache, a multiple of any file's blocks."""


@final
class Archive:
    """An archive that is being written: members in, bytes out to its target.

    If `add` fails, nothing of that sample is part of the archive, unless `failed` says that the target failed
    in the middle.

    Attributes:
        failed: whether the target failed in the middle of a write, so that no whole archive can come of it.

    Args:
        target: where the bytes go. If it gathers, up to 256 KiB are held back until there are more, or the
            archive is finished; otherwise every sample is written at once.
        template: what the headers of all members have in common.
    """

    def __init__(self, target: Target, template: HeaderTemplate) -> None:
        self.failed: bool = False
        self._target = target
        self._template = template
        self._packer = MemberPacker(template)
        self._buffer = bytearray(_CHUNK + JOINED)
        self._view = memoryview(self._buffer)
        self._limit = _CHUNK if target.gathers else 1
        self._held = 0  # bytes in the buffer
        self._sent = 0  # bytes of the archive that were before these

    @property
    def written(self) -> int:
        """Bytes of the archive so far, those held back included."""
        return self._sent + self._held

    def add(self, key: str, members: Sequence[tuple[str, Content]], payload: int) -> None:
        """Add the members of one sample.

        Args:
            key: the sample's key.
            members: (field, data) of each member, in their order; the length of each data is its number of bytes.
            payload: bytes of data in all members.

        Raises:
            WriteError: no tar can hold such a name; nothing was written.
        """
        end = None
        if payload + ROOM * len(members) <= JOINED:
            end = self._packer.pack(self._buffer, self._held, key, members)
        if end is None:
            end = self._add_parts(self._parts(key, members))
        self._held = end
        if end >= self._limit:
            self._drain()

    def _parts(self, key: str, members: Sequence[tuple[str, Content]]) -> list[Content]:
        """Return what the archive is to have of a sample whose names or sizes are not the usual ones."""
        parts: list[Content] = []
        for field, data in members:
            size = len(data)
            parts += (self._template.header(key + "." + field, size), data, padding(size))
        return parts

    def _add_parts(self, parts: Sequence[Content]) -> int:
        """Put ``parts`` into the buffer, or write them where they are too large; return where the buffer ends then."""
        size = sum(map(len, parts))
        if size <= JOINED:
            self._view[self._held : self._held + size] = b"".join(parts)
            return self._held + size
        self._send(self._held)
        for part in parts:
            self._write(part)
        self._sent += size
        return 0

    def _drain(self) -> None:
        """Write what is not to be held back."""
        if self._target.gathers:
            # Writes end where chunks of the file end: that is where writing is fast.
            self._send(self._held - (self._sent + self._held) % _CHUNK)
        else:
            self._send(self._held)

    def _send(self, size: int) -> None:
        """Write the first ``size`` bytes of the buffer."""
        # What does not gather is somebody else's, who may keep what he is given.
        self._write(self._view[:size] if self._target.gathers else bytes(self._view[:size]))
        rest = self._held - size
        self._view[:rest] = self._view[size : self._held]
        self._held = rest
        self._sent += size

    def _write(self, data: Content) -> None:
        if len(data):
            self.failed = True
            self._target.write(data)
            self.failed = False

    def finish(self) -> None:
        """Write the end of the archive, and make it a result. After a failure, `discard` is still to be called."""
        self._send(self._held)
        self._write(end_of_archive(self._sent))
        self._target.commit()

    def discard(self) -> None:
        """Give up the archive, without raising. Does nothing after `finish`."""
        self._target.discard()

"""What was lost and what was tried again: written down by every process of a dataset, and, if asked for, in a file.

A ledger file is JSON lines, ASCII, one object a line, and says nothing of when, so that the same faults make the same
lines::

    {"epoch": 0, "stage": "decode", "url": "a.tar", "key": "0001", "ordinal": 1, "field": "jpg",
     "error": "DecodeError: …", "action": "skipped"}

``action`` is that of `Loss`, or ``retried``, of a transfer; then ``attempt``, ``delay`` and ``offset`` come on top,
see `Retry`; of a mix, ``source``. URLs stand there without their secrets, as everywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, final

import attrs

from webds.errors import OpenError, WriteError
from webds.shared import SharedFile

__all__ = ["Action", "Ledger", "Loss", "Retry", "read_ledger"]

try:
    import fcntl
except ImportError:  # Windows, where the lines of several processes are kept apart by appending alone
    fcntl = None  # type: ignore[assignment]

Action: TypeAlias = Literal["skipped", "cut short", "stopped"]
"""What came of an error: the sample, or the shard that could not be opened, was left out; the rest of the shard was
lost; or it ended the iteration."""

_ACTIONS: Final[dict[str, Action]] = {"skipped": "skipped", "cut short": "cut short", "stopped": "stopped"}
_RETRIED: Final = "retried"
_MAX_LINE: Final = 1 << 20
_MAX_TEXT: Final = 1 << 12  # characters of an error's text, or of a name, that are written down


@final
@attrs.frozen
class Loss:
    """One error that a policy let pass.

    Attributes:
        stage: where: ``open``, ``read``, ``decode``, ``map``, ``batch``, ….
        url: the shard, without its secrets.
        key: the sample; None where the error is that of a whole shard.
        field: the field, where one is to blame.
        error: type and text of the exception.
        ordinal: number of the sample among those that its shard yields, from 0, where that is known; of a shard
            that was cut short, the number of samples that had come.
        epoch: number of the iteration.
        action: what came of it.
        source: of a mix, the name of the source.
    """

    stage: str
    url: str | None
    key: str | None
    field: str | None
    error: str
    ordinal: int | None = None
    epoch: int = 0
    action: Action = "skipped"
    source: str | None = None


@final
@attrs.frozen
class Retry:
    """One failure after which something is tried again.

    Attributes:
        url: without its secrets.
        reason: what failed, without secrets.
        attempt: the number of the attempt that follows: 2 for the first retry.
        delay: seconds until then.
        offset: the byte from which it goes on.
    """

    url: str
    reason: str
    attempt: int
    delay: float
    offset: int


def _short(value: object) -> str | None:
    """Return the text of ``value``, or as much of it as a line has room for."""
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _line(entry: Mapping[str, object]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _line_of_loss(loss: Loss) -> bytes:
    entry = {
        "epoch": loss.epoch,
        "stage": _short(loss.stage),
        "url": _short(loss.url),
        "key": _short(loss.key),
        "ordinal": loss.ordinal,
        "field": _short(loss.field),
        "error": _short(loss.error),
        "action": loss.action,
    }
    return _line(entry if loss.source is None else entry | {"source": _short(loss.source)})


def _line_of_retry(retry: Retry, epoch: int) -> bytes:
    entry = {
        "epoch": epoch,
        "stage": "read" if retry.offset else "open",
        "url": _short(retry.url),
        "key": None,
        "ordinal": None,
        "field": None,
        "error": _short(retry.reason),
        "action": _RETRIED,
        "attempt": retry.attempt,
        "delay": retry.delay,
        "offset": retry.offset,
    }
    return _line(entry)


_LOSS_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "stage": (str,),
    "url": (str, type(None)),
    "key": (str, type(None)),
    "field": (str, type(None)),
    "error": (str,),
    "ordinal": (int, type(None)),
    "epoch": (int,),
    "source": (str, type(None)),
}
_RETRY_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "url": (str,),
    "error": (str,),
    "attempt": (int,),
    "delay": (int, float),
    "offset": (int,),
}


def _parsed(line: bytes) -> Loss | Retry:
    """Return what a line says.

    Raises:
        ValueError: it is none of a ledger; the text says in what way.
    """
    try:
        entry: Any = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(entry, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  # all of a line's faults are one kind
    action = entry.get("action")
    known = _ACTIONS.get(action) if isinstance(action, str) else None
    types = _RETRY_TYPES if known is None else _LOSS_TYPES
    if known is None and action != _RETRIED:
        raise ValueError("it has no action that is known")
    entry.setdefault("source", None)  # it is there where there is a mix
    for name, kinds in types.items():
        value = entry.get(name, ...)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"its {name} is missing, or none")  # noqa: TRY004  # the same
    values = {name: entry[name] for name in types}
    return Retry(reason=values.pop("error"), **values) if known is None else Loss(**values, action=known)


def read_ledger(path: str | os.PathLike[str]) -> Iterator[Loss | Retry]:
    """Yield what a ledger file says, in its order.

    A last line that is not whole is passed over: a process was killed as it wrote it.

    Raises:
        OpenError: the file cannot be read, or a line is none of a ledger.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE):
                number += 1
                try:
                    entry = _parsed(line)
                except ValueError as error:
                    if len(line) < _MAX_LINE and not line.endswith(b"\n"):
                        return
                    raise OpenError(f"line {number} is none of a ledger: {error}", url=name) from error
                yield entry
    except OSError as error:
        if isinstance(error, OpenError):
            raise
        raise OpenError(f"cannot read the ledger: {error.strerror}", url=name) from error


@final
class Ledger:
    """The losses and retries of a dataset, summed over its workers.

    Only workers forked or spawned from the process that holds it write into the same ledger; a plain pickle
    takes along a copy.

    Args:
        path: a file to which everything is appended, too, by any number of processes; None for none.
        members: of sources of a mix that have a policy of their own, by name, such paths.

    Raises:
        WriteError: there is no such folder, or it cannot be written to.
    """

    def __init__(self, path: str | None = None, members: Mapping[str, str | None] | None = None) -> None:
        self._members = {name: Ledger(member or path) for name, member in (members or {}).items()}
        if path is not None:
            path = os.path.abspath(path)  # a worker may have another working directory
            if not os.access(path if os.path.exists(path) else os.path.dirname(path), os.W_OK) or os.path.isdir(path):
                raise WriteError("the ledger cannot be written here", url=path)
        self._path = path
        self._file = SharedFile()
        self._retries = SharedFile()
        self._counted = self._offset = 0

    def of(self, member: str) -> Ledger:
        """Return the ledger of a source of a mix: its own where there is one."""
        return self._members.get(member, self)

    def record(self, *losses: Loss) -> None:
        """Write down ``losses``."""
        self._append(self._file, b"".join(map(_line_of_loss, losses)))

    def record_retry(self, retry: Retry, epoch: int = 0) -> None:
        """Write down that something is tried again."""
        self._append(self._retries, _line_of_retry(retry, epoch))

    def _append(self, file: SharedFile, lines: bytes) -> None:
        file.append(lines)
        if self._path is not None and lines:
            try:
                _append(self._path, lines)
            except OSError as error:
                raise WriteError(f"cannot write the ledger: {error.strerror}", url=self._path) from error

    def losses(self) -> list[Loss]:
        """Return all losses that were written down, by any worker; those of members with ledgers of their own last."""
        own = [entry for entry in map(_parsed, self._file.read().splitlines()) if isinstance(entry, Loss)]
        return [*own, *(loss for member in self._members.values() for loss in member.losses())]

    def retries(self) -> list[Retry]:
        """Return all retries that were written down, by any worker; those of members with ledgers of their own last."""
        own = [entry for entry in map(_parsed, self._retries.read().splitlines()) if isinstance(entry, Retry)]
        return [*own, *(retry for member in self._members.values() for retry in member.retries())]

    def __len__(self) -> int:
        """Number of losses, without those of members with ledgers of their own."""
        with self._file.locked():
            new = self._file.read(self._offset)  # only ever appended to: what was counted before is not read again
            self._offset += len(new)
            self._counted += new.count(b"\n")
            return self._counted

    def counts(self) -> dict[str, dict[str, int]]:
        """Return stage → URL → number of losses; the URL is ``""`` where none is known."""
        counts: dict[str, Counter[str]] = {}
        for loss in self.losses():
            counts.setdefault(loss.stage, Counter())[loss.url or ""] += 1
        return {stage: dict(urls) for stage, urls in counts.items()}


def _append(path: str, lines: bytes) -> None:
    """Append whole lines to a file. Opened anew each time: errors are rare, and the file may be moved meanwhile."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # goes with the descriptor, and so with a process that is killed
        rest = memoryview(_mended(descriptor) + lines)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        with contextlib.suppress(OSError):  # of a process that was forked meanwhile, which has a copy of the descriptor
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _mended(descriptor: int) -> bytes:
    """Cut off the part of a line that a process left when it was killed, and return what is to precede a new one."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size == 0 or _from(descriptor, size - 1) == b"\n":
        return b""
    end = _from(descriptor, max(0, size - _MAX_LINE))
    tail = end[end.rfind(b"\n") + 1 :]
    try:
        _parsed(tail)
    except ValueError:
        if len(tail) < _MAX_LINE:
            os.ftruncate(descriptor, size - len(tail))
            return b""
    return b"\n"  # somebody's editor left out the last line feed


def _from(descriptor: int, offset: int) -> bytes:
    """Return what a file holds from ``offset`` on."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    return b"".join(iter(lambda: os.read(descriptor, _MAX_LINE), b""))

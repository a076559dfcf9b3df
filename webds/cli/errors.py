"""What the user is told of what went wrong: one line, and an exit status."""

from __future__ import annotations

import enum
import errno
import os
import re
from collections.abc import Iterator
from typing import Final

import click

from webds.errors import WebdsError, place_of
from webds.redaction import redact

__all__ = ["Status", "describe", "is_closed_pipe", "one_line"]


class Status(enum.IntEnum):
    """What the process ends with."""

    FINE = 0
    FAULTS = 1
    USAGE = 2
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


_TRACEBACK: Final = "Traceback (most recent call last):"
_SPACE: Final = re.compile(r"\s*\n\s*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """Return ``text`` without line ends and without what a terminal would obey: keys come out of files."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), _SPACE.sub(" ", text.strip()))


def describe(error: BaseException) -> str:
    """Return one line about ``error``: where it was, and what it was."""
    place = place_of(error)
    if isinstance(error, click.ClickException):
        return one_line(error.format_message())
    if isinstance(error, WebdsError):
        text = _last_line(error.message)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename is not None else error.strerror
    else:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    where = [f"{name} {place[name]!r}" for name in ("key", "field") if name in place and repr(place[name]) not in text]
    if "offset" in place:
        where.append(f"offset {place['offset']}")
    url = place.get("url")
    before = f"{url}: " if url is not None and url not in text else ""  # it is without secrets, here and there
    return one_line(before + redact(text) + (f" ({', '.join(where)})" if where else ""))


def _last_line(text: str) -> str:
    """Return what an error says of which another process has sent the traceback: its last line, without the type."""
    if _TRACEBACK not in text:
        return text
    return re.sub(r"^[\w.]+: ", "", text.rstrip().rpartition("\n")[2])


def is_closed_pipe(error: BaseException) -> bool:
    """Return whether ``error`` says that nobody reads standard output any more."""
    return any(_is_pipe(one) for one in _chain(error)) and getattr(error, "url", None) in (None, "-")


def _is_pipe(error: BaseException) -> bool:
    # Where there are no such pipes, Windows says that the argument is invalid.
    return isinstance(error, OSError) and error.errno in (
        (errno.EPIPE, errno.EINVAL) if os.name == "nt" else (errno.EPIPE,)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__

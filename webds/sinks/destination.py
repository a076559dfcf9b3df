"""Where a file goes that somebody wants written: what it is called, and how to open it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from urllib.parse import urlsplit

from webds.abc import Opener
from webds.openers.objectstore import ObjectStoreOpener
from webds.openers.schemes import OpenerLike, default_opener
from webds.sinks.stores import opener_for, refuse_taken, tells
from webds.sinks.targets import FileTarget, OpenedTarget, StreamTarget, Target, is_device, refuse_existing
from webds.typing import Writable
from webds.urls import local_path, path_url, scheme_of

__all__ = ["destination"]


def destination(
    fileobj: str | os.PathLike[str] | Writable, opener: OpenerLike | None, *, overwrite: bool
) -> tuple[str | None, str | None, Callable[[], Target]]:
    """Return what to call a destination, the name that tells its compression, and how to open it.

    Args:
        fileobj: a file's name, a path, a URL, or an open stream.
        opener: opens what is no local file; None for the default.
        overwrite: whether what has the name may be replaced.

    Raises:
        WriteError: the name is taken, or is that of a directory.
        OpenError: there is no directory to hold the file, or nobody opens the URL.
        TypeError: ``fileobj`` is nothing of the above.
        ValueError: a stream that is open for reading.
    """
    if not isinstance(fileobj, str | os.PathLike):
        return _name_of(fileobj), None, lambda: StreamTarget(fileobj)
    url = os.fsdecode(fileobj)
    path = local_path(url) if isinstance(fileobj, str) else url
    if path is None or is_device(path):
        # The name in a command is the command's affair.
        name = None if scheme_of(url) == "pipe" else urlsplit(url).path
        if path is not None:
            return url, name, lambda: OpenedTarget(default_opener().open(path_url(path), "wb"))
        return url, name, _remote(url, opener_for(url, opener), overwrite=overwrite)
    refuse_existing(path, overwrite=overwrite)
    return url, path, lambda: FileTarget(path, overwrite=overwrite)


def _remote(url: str, opener: Opener, *, overwrite: bool) -> Callable[[], Target]:
    """Return how to open a URL; refuse one that is taken, where the opener can tell."""
    if overwrite or not tells(opener):
        return lambda: OpenedTarget(opener.open(url, "wb"))
    refuse_taken(opener, url)
    if not isinstance(opener, ObjectStoreOpener):  # it may show the name as soon as it is opened
        return lambda: OpenedTarget(opener.open(url, "wb"))
    return lambda: OpenedTarget(opener.open(url, "wb"), lambda: refuse_taken(opener, url, late=True))


def _name_of(stream: object) -> str | None:
    """Return the name of an open stream, if it has one that tells something.

    Raises:
        TypeError: it is no binary stream.
        ValueError: it is open for reading.
    """
    if not callable(getattr(stream, "write", None)):
        raise TypeError(f"cannot write to {stream!r}: expected a file's name, a path, a URL or an open stream")
    if isinstance(stream, io.TextIOBase):
        raise TypeError(f"{stream!r} takes text, and a tar is bytes: open it with mode 'wb' (sys.stdout has .buffer)")
    writable: Callable[[], bool] | None = getattr(stream, "writable", None)
    if writable is not None and not writable():
        raise ValueError(f"{stream!r} is not open for writing")
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else None

"""Files whose names came out of data."""

from __future__ import annotations

from webds.abc import Opener
from webds.errors import UntrustedDataError
from webds.openers.streams import open_error
from webds.redaction import redact
from webds.urls import local_path, scheme_of

__all__ = ["read_named"]


def read_named(url: str, opener: Opener) -> bytes:
    """Return the content of a file that a table names by its path or URL.

    Raises:
        OpenError: it cannot be read.
        UntrustedDataError: it is what a command prints, and its name came out of a file.
    """
    if scheme_of(url) in ("-", "pipe"):
        raise UntrustedDataError(f"{redact(url)!r} came out of a table, and is no file: it is not run")
    path = local_path(url)
    if path is None:
        with opener.open(url) as stream:
            return stream.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        failure = open_error("cannot read", url, error)
    raise failure

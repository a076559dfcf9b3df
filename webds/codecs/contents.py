"""What to call the contents of a file or of a column: extensions by what the bytes begin with, and names of fields."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["ANY_IMAGE", "extension_of", "plain_name"]

ANY_IMAGE: Final = ("image", "img")
"""Extensions that do not say what kind of image it is, and are what many tables call their columns."""

_MAGIC: Final = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"\xff\xfb", "mp3"),
    (b"OggS", "ogg"),
)


def extension_of(data: bytes, path: str | None = None) -> str:
    """Return the extension of a file's content: that of its path, or what its bytes begin with; else ``"bin"``."""
    suffix = os.path.splitext(path)[1].lower().removeprefix(".") if path else ""
    if suffix.isascii() and suffix.isalnum():
        return suffix
    if data[:4] == b"RIFF":
        return "webp" if data[8:12] == b"WEBP" else "wav"
    return next((extension for magic, extension in _MAGIC if data.startswith(magic)), "bin")


def plain_name(column: str) -> str:
    """Return what a column is called as a field: in lower case, and without what would end a key."""
    return column.lower().replace("/", "_").replace(" ", "_").lstrip("_") or "column"

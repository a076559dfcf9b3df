"""Texts out of files, for the eye: what would act instead of being seen is shown as an escape."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["clipped", "count_text", "name_text", "prose_text", "size_text"]

_UNITS: Final = ("kB", "MB", "GB", "TB", "PB", "EB")

# Controls, line separators, what turns the direction of other texts, a byte order mark, halves of pairs. What joins
# letters, and the marks that real texts in several directions have, stay.
_ACTING: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff"
_IN_NAMES: Final = re.compile(f"[{_ACTING}\t\n]")
_IN_PROSE: Final = re.compile(f"[{_ACTING}]")
_RAW: Final = range(0xDC80, 0xDD00)  # bytes that were no UTF-8, as `surrogateescape` keeps them

NAME_LENGTH: Final = 200


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code in _RAW:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clipped(text: str, length: int) -> str:
    """Return ``text``, or as much of it as fits ``length`` characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def name_text(name: str, length: int = NAME_LENGTH) -> str:
    """Return a key, a field, a path or a message in one line of at most ``length`` characters, most often its own."""
    return clipped(_IN_NAMES.sub(_escape, clipped(name, length)), length)


def prose_text(text: str) -> str:
    """Return a text of several lines."""
    return _IN_PROSE.sub(_escape, text.replace("\r\n", "\n"))


def size_text(size: float) -> str:
    """Return a number of bytes: ``1.23 MB``, of 1000 bytes a kB."""
    if abs(size) < 1000:
        return f"{size:.0f} B"
    unit = ""
    for unit in _UNITS:  # noqa: B007  # the last one is wanted
        size /= 1000
        if abs(size) < 999.5:
            break
    return f"{size:.{2 if abs(size) < 9.995 else 1 if abs(size) < 99.95 else 0}f} {unit}"


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Return ``"1 sample"``, ``"12,345 samples"``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"

"""Which sample and which field a member of an archive belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from typing_extensions import TypeVar

__all__ = ["base_plus_ext", "by_extension", "is_metadata"]

V = TypeVar("V")

_METADATA: Final = re.compile(r"__[^/]+__(?:/|\Z)")


def is_metadata(path: str) -> bool:
    """Return whether ``path`` is ``__x__`` or lies in a directory ``__x__`` at the top: no part of any sample."""
    return _METADATA.match(path) is not None


def base_plus_ext(path: str) -> tuple[str | None, str | None]:
    """Split the path of a member into the key of its sample and the name of its field.

    The key is everything up to the first dot of the basename, so that directories may contain dots; the field
    is the rest, in lower case: ``"a.b/c.d.JPG"`` gives ``("a.b/c", "d.jpg")``.

    Args:
        path: name of the member, with its directories.

    Returns:
        ``(key, field)``, or ``(None, None)`` where the member belongs to no sample: its basename has no dot or
        starts with one, or the path is metadata (see `is_metadata`).
    """
    directories, slash, base = path.rpartition("/")
    stem, dot, field = base.partition(".")
    if not dot or not stem or (path.startswith("__") and is_metadata(path)):
        return None, None
    return directories + slash + stem, field.lower()


def by_extension(table: Mapping[str, V], field: str) -> V | None:
    """Look up what ``table`` has for ``field``: its whole name first, then its last component.

    Args:
        table: entries by extension, such as ``{"png": …, "seg.png": …}``.
        field: the name of a field, such as ``"seg.png"``.

    Returns:
        The entry, or None if there is neither.
    """
    if field in table:
        return table[field]
    return table.get(field.rpartition(".")[2])

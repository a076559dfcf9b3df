"""Shards that are not local files: what is there already, in stores that can tell."""

from __future__ import annotations

from collections.abc import Callable

from webds.abc import Opener
from webds.errors import OpenError, WriteError
from webds.openers.schemes import OpenerLike, SchemeOpener, as_opener, default_opener

__all__ = ["opener_for", "refuse_taken", "remove_stored", "tells"]


def opener_for(url: str, opener: OpenerLike | None) -> Opener:
    """Return the opener that opens ``url``; the default's, if None is given.

    Raises:
        OpenError: nobody knows the scheme.
        TypeError: ``opener`` is none.
    """
    given = default_opener() if opener is None else as_opener(opener)
    return given.opener_of(url) if isinstance(given, SchemeOpener) else given


def tells(opener: Opener) -> bool:
    """Return whether an opener can tell what is there: it lists, and knows sizes."""
    return type(opener).list is not Opener.list and type(opener).size is not Opener.size


def refuse_taken(opener: Opener, url: str, *, late: bool = False) -> None:
    """Raise an error if there is something at ``url``, of an opener that can tell.

    Args:
        opener: opens the URL.
        url: the name that is to be given.
        late: whether nothing was there when the writer was made.

    Raises:
        WriteError: there is.
        OpenError: the store does not say.
    """
    try:
        opener.size(url)
    except OpenError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return
        raise
    if late:
        raise WriteError(
            f"{url!r} came into being while it was written here; overwrite=True would replace it",
            url=url,
            stage="write",
        )
    raise WriteError(f"{url!r} exists; overwrite=True replaces it", url=url, stage="write")


def remove_stored(opener: Opener, url: str) -> bool:
    """Remove what is at ``url``; return False where the opener cannot (it has no ``remove``).

    Raises:
        OpenError: it cannot be removed.
    """
    remove: Callable[[str], object] | None = getattr(opener, "remove", None)
    if remove is None:
        return False
    remove(url)
    return True

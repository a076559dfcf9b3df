"""Bytes-like objects as the codecs want them."""

from __future__ import annotations

from webds.typing import Buffer

__all__ = ["flat"]


def flat(data: Buffer) -> memoryview:
    """Return the bytes of any bytes-like object as a flat view, copied only where its memory is not that already.

    Raises:
        TypeError: ``data`` is not bytes-like.
    """
    view = memoryview(data)
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    return memoryview(view.tobytes())

"""Stores of fsspec, filled without what is tested."""

from __future__ import annotations

from fsspec.core import url_to_fs

__all__ = ["put"]


def put(url: str, content: bytes | str) -> str:
    """Store ``content`` at ``url`` and return the URL."""
    system, path = url_to_fs(url)
    system.pipe_file(path, content.encode() if isinstance(content, str) else content)
    return url

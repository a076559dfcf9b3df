"""Compressed shards: by which method, and the compressor for it."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias

from webds.errors import MissingExtraError

__all__ = ["Compression", "Compressor", "compression_of", "make_compressor"]

Compression: TypeAlias = Literal["gz", "bz2", "xz", "zst"]


class Compressor(Protocol):
    """Compresses one stream; made for a single use."""

    def compress(self, data: Any, /) -> bytes:
        """Take all of ``data`` (bytes-like) and return what is ready of the output, possibly nothing."""
        ...

    def flush(self) -> bytes:
        """Return the rest of the output, its end included."""
        ...


_BY_SUFFIX: Final[dict[str, Compression]] = {
    ".gz": "gz",
    ".tgz": "gz",
    ".bz2": "bz2",
    ".tbz2": "bz2",
    ".tbz": "bz2",
    ".xz": "xz",
    ".txz": "xz",
    ".zst": "zst",
    ".tzst": "zst",
}


def _gz() -> Compressor:
    # zlib's own gzip header has neither a time nor a name: equal samples give equal bytes.
    return zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)


def _zst() -> Compressor:
    try:
        import zstandard  # noqa: PLC0415  # optional
    except ImportError as error:
        raise MissingExtraError.of("zstandard", "zstd", "writing zst shards") from error
    return zstandard.ZstdCompressor().compressobj()


_COMPRESSORS: Final[dict[Compression, Callable[[], Compressor]]] = {
    "gz": _gz,
    "bz2": bz2.BZ2Compressor,
    "xz": lzma.LZMACompressor,
    "zst": _zst,
}


def compression_of(compress: bool | Compression | None, name: str | None) -> Compression | None:
    """Return the method that ``compress`` asks for, None for a plain tar.

    Args:
        compress: a method's name, True for gzip, False for none, None to go by the suffix of the name.
        name: the name of the shard, None where there is none that tells.

    Raises:
        ValueError: there is no such method.
    """
    if compress is None:
        lower = "" if name is None else name.lower()
        return next((method for suffix, method in _BY_SUFFIX.items() if lower.endswith(suffix)), None)
    if isinstance(compress, bool):
        return "gz" if compress else None
    if compress not in _COMPRESSORS:
        raise ValueError(f"compress={compress!r}: expected one of {', '.join(_COMPRESSORS)}, True, False or None")
    return compress


def make_compressor(method: Compression) -> Compressor:
    """Return a new compressor.

    Raises:
        MissingExtraError: ``zst`` without the package zstandard.
    """
    return _COMPRESSORS[method]()

"""Tar shards for tests, written by the standard library and not by what is tested."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["numbered_shards", "sample_of", "tar_bytes", "write_members", "write_shard"]


def tar_bytes(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a tar archive of ``(name, content)``, in that order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def write_members(path: Path, members: Iterable[tuple[str, bytes]]) -> str:
    """Write a shard of ``(name, content)`` and return its path."""
    path.write_bytes(tar_bytes(members))
    return str(path)


def write_shard(path: Path, samples: Iterable[Mapping[str, bytes | str]]) -> str:
    """Write a shard of samples, each with its ``__key__``, and return its path."""
    members: list[tuple[str, bytes]] = []
    for sample in samples:
        key = str(sample["__key__"])
        members += [(f"{key}.{field}", _encoded(sample[field])) for field in sample if field != "__key__"]
    return write_members(path, members)


def _encoded(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def sample_of(number: int) -> dict[str, str]:
    """Return sample ``number`` as it is stored: its number as ``cls`` and as text."""
    return {"__key__": f"key{number:05d}", "cls": str(number), "txt": f"text {number}"}


def numbered_shards(folder: Path, shards: int = 4, samples: int = 5) -> list[str]:
    """Write shards of samples that are numbered through: the first has 0, 1, …, the next goes on from there."""
    return [
        write_shard(folder / f"shard-{shard:06d}.tar", map(sample_of, range(shard * samples, (shard + 1) * samples)))
        for shard in range(shards)
    ]

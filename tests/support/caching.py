"""What processes do with a cache that they share: a spawned one imports it from here."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from webds.abc import Opener

__all__ = ["digest", "hold", "read_and_tell", "read_for_ever", "unsound", "write_limited"]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_and_tell(opener: Opener, url: str, barrier: Any, queue: Any) -> None:
    """Read ``url`` when all are there, and put the hash of what came."""
    barrier.wait(60)
    with opener.open(url) as stream:
        queue.put(digest(stream.read()))


def read_for_ever(opener: Opener, urls: Sequence[str], seed: int, started: Any) -> None:
    """Read one URL after the other, some not to the end, until somebody kills the process."""
    rng = random.Random(seed)
    while True:
        with opener.open(rng.choice(urls)) as stream:
            started.set()
            while stream.read(50_000) and rng.random() > 0.02:
                pass


def hold(opener: Opener, url: str, held: Any, enough: Any, queue: Any) -> None:
    """Begin to read ``url``, and read the rest when told to."""
    with opener.open(url) as stream:
        first = stream.read(1000)
        held.set()
        enough.wait(60)
        queue.put(digest(first + stream.read()))


def write_limited(opener: Opener, url: str, limit: int, queue: Any) -> None:
    """Read ``url`` twice where no file may grow beyond ``limit`` bytes; put what came, and what was warned of."""
    import resource
    import warnings

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found: list[str] = []
        for _ in range(2):
            with opener.open(url) as stream:
                found.append(digest(stream.read()))
    queue.put((found, [str(warning.message) for warning in caught]))


def unsound(directory: Path, contents: Iterable[bytes]) -> list[str]:
    """Return the files under a final name that are none of ``contents``."""
    whole = {digest(content) for content in contents}
    bad: list[str] = []
    for path in directory.glob("*.shard"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # somebody needed the room
            continue
        if digest(data) not in whole:
            bad.append(path.name)
    return bad

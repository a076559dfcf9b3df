"""What processes do that write shards: a spawned one imports it from here."""

from __future__ import annotations

import itertools
import random
from typing import Any

from webds.sinks import ShardWriter

__all__ = ["write_for_ever"]


def write_for_ever(pattern: str, manifest: str, seed: int, started: Any) -> None:
    """Write shards of a few samples each, with an index of each and of all, until somebody kills the process."""
    rng = random.Random(seed)
    with ShardWriter(pattern, maxcount=4, manifest=manifest, md5=True, resume=True) as sink:
        for number in itertools.count():
            sink.write({"__key__": f"{seed:02d}-{number:06d}", "bin": rng.randbytes(rng.randrange(60_000))})
            if sink.total > 4:
                started.set()

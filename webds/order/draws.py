"""Random numbers that depend on nothing but their key: which sample comes next.

Randomness is counter-based: the Philox 4x64 generator (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011), keyed by a hash of (seed, epoch and passes, purpose). Only its raw bits are used, which no
release of numpy may change, so an order can be computed again anywhere, at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["bits", "draws", "permutation"]

_BLOCK = 1024
_OF_COUNTER = 4  # numbers for each step of Philox's counter


def _philox(seed: int, turn: tuple[int, ...], purpose: str) -> np.random.Philox:
    text = json.dumps([seed, turn, purpose])
    key = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), dtype="<u8")
    return np.random.Philox(key=key.astype(np.uint64))


def bits(n: int, seed: int, turn: tuple[int, ...], purpose: str) -> NDArray[np.uint64]:
    """Return ``n`` uniformly distributed numbers of 64 bits, the first of `draws`; of shape (n,)."""
    raw: NDArray[np.uint64] = _philox(seed, turn, purpose).random_raw(n)
    return raw


def permutation(n: int, seed: int, turn: tuple[int, ...], purpose: str) -> NDArray[np.intp]:
    """Return a permutation of ``range(n)``, uniformly distributed and fixed by the other arguments.

    Args:
        n: how many.
        seed: the user's seed, any integer.
        turn: the epoch, and the passes of enclosing repetitions.
        purpose: what the permutation is for; different purposes get independent ones.

    Returns:
        Indices, of shape (n,).
    """
    return np.argsort(bits(n, seed, turn, purpose), kind="stable")


def draws(seed: int, turn: tuple[int, ...], purpose: str, skip: int = 0) -> Iterator[int]:
    """Yield uniformly distributed integers from 0 to 2**64 - 1 without end, fixed by the arguments.

    Args:
        seed: the user's seed.
        turn: the epoch, and the passes of enclosing repetitions.
        purpose: what they are for.
        skip: how many to leave out, in no time.
    """
    generator = _philox(seed, turn, purpose)
    if skip:
        generator.advance(skip // _OF_COUNTER)
        generator.random_raw(skip % _OF_COUNTER)
    while True:
        block: list[int] = generator.random_raw(_BLOCK).tolist()
        yield from block

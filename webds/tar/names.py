"""The names of many members at once: keys and fields by the rule of `webds.tar.naming.base_plus_ext`."""

from __future__ import annotations

import functools
import itertools
import operator
import re
from collections.abc import Sequence
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Split", "split_names"]

_KEY_FIELD: Final = re.compile(r"((?:[^\n]*/)?[^./\n]+)\.([^/\n]+)\n")
_DOT: Final = ord(".")
_SLASH: Final = ord("/")
_UNDERSCORE: Final = ord("_")
_FEW: Final = 4
"""Samples for which it makes no difference whether they are alike."""

_IN_DIRECTORY: Final = np.zeros(256, np.bool_)
_IN_DIRECTORY[1:0x80] = True
_IN_DIRECTORY[ord("\n")] = False
_IN_STEM: Final = _IN_DIRECTORY.copy()
_IN_STEM[[_DOT, _SLASH]] = False


@final
class Split(NamedTuple):
    """What the names of members that follow one another say of their samples.

    The first of these samples may have begun before, and the last may go on behind.

    Attributes:
        keys: the key of each sample; neighbours differ.
        shapes: ``"__key__"`` and the fields of each, in their order.
        regular: whether all but the first and the last have the same shape.
    """

    keys: Sequence[str]
    shapes: Sequence[tuple[str, ...]]
    regular: bool


def split_names(names: NDArray[np.uint8]) -> Split | None:
    """Split the names of members into keys and fields.

    Args:
        names: shape (N, 100), each padded with NULs; N is at least 1.

    Returns:
        None if anything about any name is out of the ordinary: it belongs to no sample, or to metadata perhaps; it
        goes on behind a NUL; a field is reserved, or there twice. Then each is to be looked at by itself.
    """
    if (names[:, 0] == _UNDERSCORE).any():
        return None
    return _split_aligned(names) or _split_any(names)


def _split_aligned(names: NDArray[np.uint8]) -> Split | None:
    """Split names that are ASCII and have their last slash and the dot before the field in the same places."""
    name = names[0].tobytes().rstrip(b"\0")
    stem = name.rfind(b"/") + 1
    dot = name.find(b".", stem)
    if (
        dot <= stem
        or not (names[:, dot] == _DOT).all()
        or not _IN_STEM[names[:, stem:dot]].all()
        or (stem and not ((names[:, stem - 1] == _SLASH).all() and _IN_DIRECTORY[names[:, :stem]].all()))
    ):
        return None
    keys: NDArray[np.bytes_] = np.ascontiguousarray(names[:, :dot]).view(f"S{dot}").ravel()
    firsts = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    fields = names[:, dot + 1 :]
    width = 1 + int(np.flatnonzero(fields.any(axis=0))[-1]) if fields.any() else 1
    fields = np.ascontiguousarray(fields[:, :width])
    begins: list[int] = [0, *firsts.tolist()]
    texts = _texts(keys[begins])
    bounds = [*begins, len(names)]
    shapes = _regular(fields, firsts) if len(texts) > _FEW else None
    if shapes is not None:
        first, middle, last = shapes
        return Split(texts, [first, *[middle] * (len(texts) - 2), last], regular=True)
    return _checked(texts, _texts(fields.view(f"S{width}").ravel()), bounds)


def _texts(names: NDArray[np.bytes_]) -> list[str]:
    """Return names of ASCII as texts."""
    return b"\n".join(names.tolist()).decode("ascii", "surrogateescape").split("\n")


def _regular(fields: NDArray[np.uint8], firsts: NDArray[np.intp]) -> list[tuple[str, ...]] | None:
    """Return the shapes of the first sample, of all in the middle, and of the last one; None if they differ there.

    Args:
        fields: shape (N, W), padded with NULs.
        firsts: index of the first member of each sample but the first one.
    """
    begin, end = int(firsts[0]), int(firsts[-1])
    samples = len(firsts) - 1
    count = int(firsts[1]) - begin
    if end - begin != count * samples or not (firsts == np.arange(begin, end + 1, count)).all():
        return None
    rows = fields[begin:end].reshape(samples, -1)
    if not (rows == rows[0]).all():
        return None
    shapes = [
        _ordinary(tuple(_texts(part.view(f"S{fields.shape[1]}").ravel())))
        for part in (fields[:begin], fields[begin : begin + count], fields[end:])
    ]
    return None if None in shapes else [shape for shape in shapes if shape is not None]


def _checked(keys: Sequence[str], fields: Sequence[str], bounds: Sequence[int]) -> Split | None:
    """Return the split of samples that begin and end at ``bounds``; None if any fields are out of the ordinary."""
    if len(fields) != bounds[-1]:
        return None
    shapes: list[tuple[str, ...]] = []
    for first, end in itertools.pairwise(bounds):
        if (shape := _ordinary(tuple(fields[first:end]))) is None:
            return None
        shapes.append(shape)
    return Split(keys, shapes, regular=len(keys) > _FEW and len(set(shapes[1:-1])) == 1)


@functools.lru_cache(1 << 10)
def _ordinary(fields: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the shape of one sample, with its fields in lower case; None if any is out of the ordinary."""
    names = [name.lower() for name in fields]
    good = all(name and name[0] != "_" and name.isascii() and "/" not in name and "\0" not in name for name in names)
    return ("__key__", *names) if good and len(set(names)) == len(names) else None


def _split_any(names: NDArray[np.uint8]) -> Split | None:
    """Split names that are not alike."""
    raw: list[bytes] = np.ascontiguousarray(names).view(f"S{names.shape[1]}").ravel().tolist()
    text = b"\n".join([*raw, b""]).decode("utf-8", "surrogateescape")
    pairs = _KEY_FIELD.findall(text)
    keys, fields = zip(*pairs, strict=True) if pairs else ((), ())
    # Every name has been split, and all of it: a match may begin in the middle of one.
    if len(pairs) != len(raw) or len("".join(keys)) + len("".join(fields)) + 2 * len(raw) != len(text) or "\0" in text:
        return None
    new = [True, *map(operator.ne, keys[1:], keys)]
    bounds = [*itertools.compress(range(len(keys)), new), len(keys)]
    return _checked(list(itertools.compress(keys, new)), fields, bounds)

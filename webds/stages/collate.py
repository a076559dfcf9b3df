"""Many samples into one batch: tensors and arrays are stacked, numbers become tensors, the rest becomes lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from webds.errors import BatchError

if TYPE_CHECKING:
    import torch

__all__ = ["collate", "collate_labelled", "split_batch"]

# What to do with the values before batch; the other way out is the same for all.
_RESIZE = "pad or resize them"
_ALIKE = "make them alike"
_CONVERT = "turn them into tensors, arrays, numbers or texts, or into tuples or dicts of these"


def collate(samples: Sequence[Any]) -> Any:
    """Put samples of equal structure into one batch.

    Args:
        samples: values of one kind: tensors or numpy arrays of one shape and dtype; numbers; strings or bytes;
            or tuples, lists, named tuples and mappings of these, of equal lengths and keys.

    Returns:
        The same structure, with tuples for lists, and at each leaf: a tensor of shape (N, …) for tensors and
        arrays; a tensor of shape (N,) for numbers, bool, int64, float64, complex128 or a numpy scalar's own dtype;
        a list of N for strings and bytes.

    Raises:
        BatchError: the samples do not fit together. It names the field, the shapes, and the first sample that
            differs (its position is in ``sample``).
    """
    return _collate(samples, "")


def collate_labelled(samples: Sequence[Any], labels: Sequence[str] | None) -> Any:
    """Like `collate`; where the samples are tuples, an error calls their elements by ``labels``, if these are known."""
    if labels is None or type(samples[0]) is not tuple:
        return _collate(samples, "")
    return _collate_sequences(samples, "", labels)


def _fail(text: str, way_out: str, path: str, position: int | None = None) -> BatchError:
    also = "or pass collate= a function of your own"
    error = BatchError(f"{text}; {way_out} with map before batch, {also}", field=path or None)
    error.__dict__["sample"] = position
    return error


def _odd(values: Sequence[Any], trait: Callable[[Any], Any]) -> int:
    """Return the position of the first value whose trait differs from that of the first value."""
    first = trait(values[0])
    return next((i for i, value in enumerate(values) if trait(value) != first), 0)


def _collate(values: Sequence[Any], path: str) -> Any:
    import torch  # noqa: PLC0415  # this module is known before torch is needed

    first = values[0]
    if isinstance(first, torch.Tensor):
        return _stack(values, path)
    kind: type = type(first)
    if isinstance(first, Mapping):
        return _collate_mappings(values, path)
    if isinstance(first, (str, bytes)):
        _same_type(values, path, (str, bytes))
        return list(values)
    if isinstance(first, (bool, int, float, complex)):
        _same_type(values, path, (bool, int, float, complex))
        widest = next((kind for kind in (complex, float) if any(isinstance(value, kind) for value in values)), None)
        dtype = {complex: torch.complex128, float: torch.float64, None: None}[widest]
        try:
            return torch.tensor(values, dtype=dtype)
        except (RuntimeError, OverflowError, ValueError) as error:
            raise _fail(f"numbers that fit no tensor: {error}", _CONVERT, path) from error
    if isinstance(first, (tuple, list)):
        return _collate_sequences(values, path)
    if hasattr(first, "__array_interface__") or hasattr(first, "__array__"):
        return _stack_arrays(values, path)
    raise _fail(f"there is no rule for putting values of type {kind.__name__} into a batch", _CONVERT, path)


def _same_type(values: Sequence[Any], path: str, types: tuple[type, ...]) -> None:
    odd = next((i for i, value in enumerate(values) if not isinstance(value, types)), None)
    if odd is not None:
        kinds = f"{type(values[0]).__name__} and {type(values[odd]).__name__}"
        raise _fail(f"values of different types: {kinds}", _ALIKE, path, odd)


def _stack(values: Sequence[Any], path: str) -> torch.Tensor:
    import torch  # noqa: PLC0415  # as above

    _same_type(values, path, (torch.Tensor,))
    if len({tuple(value.shape) for value in values}) > 1:
        odd = _odd(values, lambda value: tuple(value.shape))
        shapes = f"{tuple(values[0].shape)} and {tuple(values[odd].shape)}"
        raise _fail(f"unequal shapes: {shapes}", _RESIZE, path, odd)
    if len({value.dtype for value in values}) > 1:
        odd = _odd(values, lambda value: value.dtype)
        raise _fail(f"unequal dtypes: {values[0].dtype} and {values[odd].dtype}", _ALIKE, path, odd)
    return torch.stack(tuple(values))


def _stack_arrays(values: Sequence[Any], path: str) -> Any:
    import numpy as np  # noqa: PLC0415  # as above
    import torch  # noqa: PLC0415  # as above

    if not all(isinstance(value, (np.ndarray, np.generic)) for value in values):
        odd = next(i for i, value in enumerate(values) if not isinstance(value, (np.ndarray, np.generic)))
        kind = type(values[odd]).__name__
        raise _fail(f"there is no rule for putting values of type {kind} into a batch", _CONVERT, path, odd)
    if len({value.shape for value in values}) > 1:
        odd = _odd(values, lambda value: value.shape)
        raise _fail(f"unequal shapes: {values[0].shape} and {values[odd].shape}", _RESIZE, path, odd)
    if len({value.dtype for value in values}) > 1:
        odd = _odd(values, lambda value: value.dtype)
        raise _fail(f"unequal dtypes: {values[0].dtype} and {values[odd].dtype}", _ALIKE, path, odd)
    if values[0].dtype.kind in "SU":
        return [value.item() if value.ndim == 0 else value for value in values]
    stacked = np.stack([np.asarray(value) for value in values])
    if not stacked.dtype.isnative:
        stacked = stacked.astype(stacked.dtype.newbyteorder("="))
    try:
        return torch.from_numpy(stacked)
    except TypeError as error:
        raise _fail(f"arrays of dtype {stacked.dtype} have no tensor", _CONVERT, path) from error


def _collate_mappings(values: Sequence[Any], path: str) -> dict[Any, Any]:
    _same_type(values, path, (Mapping,))
    keys = list(values[0])
    for i, value in enumerate(values):
        if value.keys() != values[0].keys():
            odd = sorted(str(key) for key in value.keys() ^ values[0].keys())
            raise _fail(f"not every sample has the field {', '.join(odd)}", _ALIKE, path or odd[0], i)
    return {key: _collate([value[key] for value in values], f"{path}.{key}" if path else str(key)) for key in keys}


def _collate_sequences(values: Sequence[Any], path: str, known: Sequence[str] | None = None) -> Any:
    _same_type(values, path, (tuple, list))
    first = values[0]
    if len({len(value) for value in values}) > 1:
        odd = _odd(values, len)
        raise _fail(f"sequences of unequal lengths: {len(first)} and {len(values[odd])}", _RESIZE, path, odd)
    names: Sequence[str] | None = getattr(first, "_fields", None)
    labels = names or known
    if labels is None or len(labels) != len(first):
        labels = [f"element {i}" for i in range(len(first))]
    columns = tuple(
        _collate(column, f"{path}, {label}" if path else label)
        for label, column in zip(labels, zip(*values, strict=True), strict=True)
    )
    if names is not None:
        make: Callable[..., Any] = type(first)
        return make(*columns)
    return columns  # a tuple for lists too: what is a list in a batch has an element for each sample


def split_batch(batch: Any) -> list[Any]:
    """Return the samples of a batch: what `collate` put together, taken apart along the first dimension.

    Args:
        batch: a tensor or array of shape (N, …), a list of N, or a tuple or mapping of these.

    Returns:
        N values: slices of the tensors and arrays, elements of the lists, in the batch's own structure.

    Raises:
        BatchError: the columns are not of equal length, or the value is no batch.
    """
    if isinstance(batch, Mapping):
        names = list(batch)
        rows = _rows([split_batch(batch[name]) for name in names])
        return [dict(zip(names, row, strict=True)) for row in rows]
    if isinstance(batch, tuple):
        make: Callable[..., Any] | None = type(batch)._make if hasattr(type(batch), "_make") else None  # type: ignore[attr-defined]
        rows = _rows([split_batch(column) for column in batch])
        return [make(row) for row in rows] if make is not None else rows
    if isinstance(batch, list) or getattr(batch, "ndim", 0) > 0:
        return list(batch)
    raise BatchError(
        f"unbatch wants a batch: a tensor, an array, a list, or a tuple or dict of these; got {batch!r:.80}"
    )


def _rows(columns: list[list[Any]]) -> list[tuple[Any, ...]]:
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise BatchError(f"unbatch: the columns have unequal lengths {sorted(lengths)}")
    return list(zip(*columns, strict=True))

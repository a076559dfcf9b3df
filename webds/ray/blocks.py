"""Samples as Arrow tables: one row a sample, one column a field, each of a type of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn, TypeAlias, final

import numpy as np
import pyarrow as pa
from ray.data.extensions import ArrowTensorArray, ArrowVariableShapedTensorArray

from webds.errors import DecodeError, FieldError
from webds.typing import UNREAD, Sample

__all__ = ["Block", "BlockBuilder"]

Block: TypeAlias = Any
"""A `pyarrow.Table`, of which type checkers know nothing."""


_BYTES_LIKE: Final = (bytes, bytearray, memoryview)
_MAX_BINARY: Final = (1 << 31) - 1
_OF_VALUE: Final = 64
"""Bytes that a value takes that is neither bytes, text nor an array; estimated."""


@final
class BlockBuilder:
    """Gathers samples into one block.

    The columns are ``__key__`` and ``__url__``, both text, and the fields:

    - bytes are binary; text is text; numbers are int64, float64 or bool;
    - arrays and tensors make a column of tensors, of one shape or, if they differ in that alone, of several;
    - lists and dicts are lists and structs, as pyarrow makes them: a name that some dicts lack is null there.

    A field that a sample does not have is null.

    Args:
        fields: the fields that there are columns for, in their order; None for all that the samples have, sorted.
        undecoded: whether all fields are bytes: then one that no sample of a block has is a column of nulls of that
            type.
    """

    def __init__(self, fields: Sequence[str] | None, *, undecoded: bool) -> None:
        self._fields = None if fields is None else frozenset(fields)
        self._declared = fields
        self._undecoded = undecoded
        self._clear()

    def _clear(self) -> None:
        self._keys: list[str | None] = []
        self._urls: list[str] = []
        self._columns: dict[str, list[Any]] = {}
        self.size: int = 0

    def __len__(self) -> int:
        """Number of samples gathered."""
        return len(self._urls)

    def add(self, url: str, sample: Sample) -> None:
        """Add a sample.

        Args:
            url: the shard that it was in.
            sample: its fields.
        """
        key: str | None = sample.get("__key__")
        number = len(self._urls)
        self._keys.append(key)
        self._urls.append(url)
        self.size += len(key or "") + len(url)
        for field, value in sample.items():
            if field in ("__key__", "__url__") or value is UNREAD or value is None:
                continue
            if self._fields is not None and field not in self._fields:
                continue
            column = self._columns.setdefault(field, [])
            column += [None] * (number - len(column))
            column.append(value)
            self.size += _size_of(value)

    def take(self) -> Block:
        """Return what was gathered as a block, and begin with the next.

        Raises:
            DecodeError: the values of a field have no type in common.
            FieldError: some samples have a field that is an array, and some do not.
        """
        names: Iterable[str] = sorted(self._columns) if self._declared is None else self._declared
        arrays: dict[str, Any] = {
            "__key__": pa.nulls(len(self), pa.string()),
            "__url__": self._column("__url__", self._urls),
        }
        if any(key is not None for key in self._keys):
            arrays["__key__"] = self._column("__key__", self._keys)
        for name in names:
            values = self._columns.get(name)
            if values is None:
                arrays[name] = pa.nulls(len(self), pa.binary() if self._undecoded else pa.null())
            else:
                arrays[name] = self._column(name, values + [None] * (len(self) - len(values)))
        table = pa.table(arrays)
        self._clear()
        return table

    def _column(self, name: str, values: Sequence[Any]) -> Any:
        present = [value for value in values if value is not None]
        if all(isinstance(value, _BYTES_LIKE) for value in present):
            large = sum(map(_size_of, present)) > _MAX_BINARY
            return pa.array(values, pa.large_binary() if large else pa.binary())
        if any(_is_array(value) for value in present):
            return self._tensors(name, values)
        values = [value.item() if isinstance(value, np.generic) else value for value in values]
        try:
            return pa.array(values)
        except (pa.ArrowException, UnicodeError, OverflowError, TypeError, ValueError) as error:
            self._fail(name, values, error)

    def _tensors(self, name: str, values: Sequence[Any]) -> Any:
        """Return a column of arrays."""
        for number, value in enumerate(values):
            if value is None:
                raise FieldError(
                    f"the field {name!r} is an array in other samples and is missing here, and a column of tensors has "
                    "no place for that: leave the field, or samples without it, out",
                    url=self._urls[number], key=self._keys[number], field=name, stage="block",
                )  # fmt: skip
        number = 0
        arrays: list[np.ndarray[Any, Any]] = []
        try:
            for number, value in enumerate(values):  # noqa: B007  # read when one fails
                arrays.append(np.asarray(value))
                _check_same_kind(arrays[0], arrays[-1])
            if all(array.ndim == 0 for array in arrays):
                return pa.array([array.item() for array in arrays])
            if all(array.shape == arrays[0].shape for array in arrays):
                return ArrowTensorArray.from_numpy(np.stack(arrays))
            gathered = np.empty(len(arrays), object)
            gathered[:] = arrays
            return ArrowVariableShapedTensorArray.from_numpy(gathered)
        except Exception as error:
            raise DecodeError(
                f"the values of {name!r} make no column of tensors: {error}",
                url=self._urls[number], key=self._keys[number], field=name, stage="block",
            ) from error  # fmt: skip

    def _fail(self, name: str, values: Sequence[Any], error: Exception) -> NoReturn:
        """Raise the error of values of no common type, with the first of them that does not fit those before it."""
        number = 0
        for number in range(1, len(values) + 1):
            try:
                pa.array(values[:number])
            except Exception:
                break
        at = max(0, number - 1)
        raise DecodeError(
            f"the values of {name!r} have no type of Arrow in common; read the field without decoding it, or make "
            f"something else of it before: {error}",
            url=self._urls[at], key=self._keys[at], field=name, stage="block",
        ) from error  # fmt: skip


def _check_same_kind(first: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> None:
    if other.dtype != first.dtype or other.ndim != first.ndim:
        raise ValueError(
            f"an array of {other.ndim} dimensions and {other.dtype} among arrays of {first.ndim} and {first.dtype}"
        )
    if other.dtype.kind not in "biuf":
        raise ValueError(f"an array of {other.dtype}: expected numbers")


def _is_array(value: Any) -> bool:
    """Return whether ``value`` is a numpy array or a tensor of torch, which is not imported for it."""
    torch = sys.modules.get("torch")
    return isinstance(value, np.ndarray) or (torch is not None and isinstance(value, torch.Tensor))


def _size_of(value: Any) -> int:
    if isinstance(value, memoryview) or _is_array(value):
        return int(value.nbytes)
    return len(value) if isinstance(value, bytes | bytearray | str) else _OF_VALUE

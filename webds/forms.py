"""The forms of values that the builder's methods tell apart: for type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

__all__ = [
    "Dimensional",
    "Numeric",
    "Texts",
    "Tuple1",
    "Tuple2",
    "Tuple3",
    "Tuple4",
    "Tuple5",
    "Tuple6",
    "TupleN",
    "Unknown",
    "UnknownTuple",
]

# Tuples of which only the number of elements is known: what fields hold depends on the decoders, and what the columns
# of a batch are depends on the values.
Tuple1: TypeAlias = tuple[Any]
Tuple2: TypeAlias = tuple[Any, Any]
Tuple3: TypeAlias = tuple[Any, Any, Any]
Tuple4: TypeAlias = tuple[Any, Any, Any, Any]
Tuple5: TypeAlias = tuple[Any, Any, Any, Any, Any]
Tuple6: TypeAlias = tuple[Any, Any, Any, Any, Any, Any]
TupleN: TypeAlias = tuple[Any, ...]

Unknown: TypeAlias = Never
"""In the self type of a first overload: what only Any fits, which would fit the self types of all others as well."""

UnknownTuple: TypeAlias = tuple[()]
"""The same for ``tuple[Any, ...]``, which would fit tuples of every length."""

Numeric: TypeAlias = "complex | np.number[Any] | np.bool_ | npt.NDArray[np.number[Any] | np.bool_] | torch.Tensor"
"""What is collated into a tensor."""

Texts: TypeAlias = "npt.NDArray[np.str_ | np.bytes_]"
"""What is collated into a list of something."""


class Dimensional(Protocol):
    """Whatever has dimensions, along the first of which it can be taken apart."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        ...

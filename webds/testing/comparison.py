"""When two values are the same."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import attrs
import numpy as np

__all__ = ["same", "same_form"]


def _is(value: object, module: str, name: str) -> bool:
    """Return whether ``value`` is an instance of ``module.name``, without importing the module."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def same(actual: Any, expected: Any) -> bool:
    """Return whether two values are the same: type, shape, dtype and content, at any depth.

    Arrays, tensors and floats are the same bit for bit, so that NaN equals itself; images by mode, size and pixels.
    Containers must be of one type and hold the same values; everything else of one type and equal.
    """
    if isinstance(expected, np.ndarray):
        return isinstance(actual, np.ndarray) and _same_array(actual, expected)
    if _is(expected, "torch", "Tensor"):
        return _is(actual, "torch", "Tensor") and _same_tensor(actual, expected)
    if _is(expected, "PIL.Image", "Image"):
        return same_form(actual, expected) and actual.tobytes() == expected.tobytes()
    if type(actual) is not type(expected):
        return False
    if isinstance(expected, dict):
        return actual.keys() == expected.keys() and all(same(actual[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        return len(actual) == len(expected) and all(map(same, actual, expected))
    if attrs.has(type(expected)):
        return all(same(getattr(actual, a.name), getattr(expected, a.name)) for a in attrs.fields(type(expected)))
    if dataclasses.is_dataclass(expected):
        return all(same(getattr(actual, f.name), getattr(expected, f.name)) for f in dataclasses.fields(expected))
    return bool(actual == expected) or (actual != actual and expected != expected)  # noqa: PLR0124  # NaN of any type


def _same_array(actual: Any, expected: Any) -> bool:
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    if expected.dtype.hasobject:
        return same(actual.tolist(), expected.tolist())
    return bool(actual.tobytes() == expected.tobytes())


def _same_tensor(actual: Any, expected: Any) -> bool:
    torch = sys.modules["torch"]
    try:
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    except AssertionError:
        return False
    return True


def same_form(actual: Any, expected: Any) -> bool:
    """Return whether two arrays, tensors or images have the same shape and dtype (size and mode)."""
    if _is(expected, "PIL.Image", "Image"):
        return _is(actual, "PIL.Image", "Image") and (actual.mode, actual.size) == (expected.mode, expected.size)
    if hasattr(expected, "dtype"):
        form = getattr(actual, "dtype", None), getattr(actual, "shape", None)
        return bool(form == (expected.dtype, expected.shape))
    return type(actual) is type(expected)

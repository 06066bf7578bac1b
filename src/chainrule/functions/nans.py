"""Reductions that leave out NaN, and functions that replace it."""

from __future__ import annotations

from typing import Any

from ..conversion import to_node
from ..dtypes import float64
from ..recording import normal_axes
from ..tensor import Tensor
from .complex import complex, imag, real
from .data_types import finfo
from .elementwise import isnan, sqrt, square, where
from .reduction import all, max, min, prod, sum

_OPEN: Any = object()


def _split(name: str, x: Any) -> tuple[Tensor, Tensor]:
    """`x` and where it is NaN."""
    node = to_node(x, name)
    value = Tensor(node)
    return value, isnan(value)


def nansum(
    x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False, dim: Any = None, keepdim: bool = False
) -> Tensor:
    """Sum over `axis` in which NaN counts as 0."""
    axis, keepdims = dim if axis is None else axis, keepdims or keepdim
    value, absent = _split("nansum", x)
    return sum(where(absent, 0, value) if value.dtype.kind in "fc" else value, axis, dtype=dtype, keepdims=keepdims)


def nanprod(x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """Product over `axis` in which NaN counts as 1."""
    value, absent = _split("nanprod", x)
    return prod(where(absent, 1, value) if value.dtype.kind in "fc" else value, axis, dtype=dtype, keepdims=keepdims)


def _moments(name: str, x: Any, axis: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values with 0 for NaN, where they are present (1 or 0), how many are, and their mean; dimensions kept."""
    value, absent = _split(name, x)
    if value.dtype.kind not in "fc":
        value = value.astype(float64)
    present = where(absent, 0.0, 1.0).astype(value.dtype)
    value = where(absent, 0, value)
    count = sum(present, axis, keepdims=True)
    return value, present, count, sum(value, axis, keepdims=True) / count


def _without(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    """`x` without its reduced axes of one element, unless they are kept."""
    axes = normal_axes("nan", axis, x.ndim)
    return x if keepdims else x.reshape(tuple(e for a, e in enumerate(x.shape) if a not in axes))


def nanmean(x: Any, /, axis: Any = None, *, keepdims: bool = False, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Mean over `axis` of the elements that are not NaN; NaN where there are none. Whole numbers give float64."""
    axis = dim if axis is None else axis
    return _without(_moments("nanmean", x, axis)[3], axis, keepdims or keepdim)


def nanvar(
    x: Any, /, axis: Any = None, *, correction: float = _OPEN, ddof: float = _OPEN, keepdims: bool = False
) -> Tensor:
    """Variance over `axis` of the elements that are not NaN: sum((x - mean)^2) / (count - correction).

    `correction` (NumPy also says `ddof`) is 0 by default. NaN where the divisor is not positive.
    """
    less = 0.0 if correction is _OPEN and ddof is _OPEN else ddof if correction is _OPEN else correction
    value, present, count, middle = _moments("nanvar", x, axis)
    apart = (value - middle) * present
    if value.dtype.kind == "c":
        total = sum(square(real(apart)) + square(imag(apart)), axis, keepdims=True)
        divisor = real(count) - float(less)
    else:
        total = sum(square(apart), axis, keepdims=True)
        divisor = count - float(less)
    return _without(where(divisor > 0, total / where(divisor > 0, divisor, 1.0), float("nan")), axis, keepdims)


def nanstd(
    x: Any, /, axis: Any = None, *, correction: float = _OPEN, ddof: float = _OPEN, keepdims: bool = False
) -> Tensor:
    """Standard deviation over `axis` of the elements that are not NaN: sqrt(nanvar(x))."""
    return sqrt(nanvar(x, axis, correction=correction, ddof=ddof, keepdims=keepdims))


def _extreme(name: str, operation: Any, fill: float, x: Any, axis: Any, keepdims: bool) -> Tensor:
    value, absent = _split(name, x)
    if value.dtype.kind != "f":
        return operation(value, axis, keepdims=keepdims)
    found = operation(where(absent, fill, value), axis, keepdims=keepdims)
    return where(all(absent, axis, keepdims=keepdims), float("nan"), found)


def nanmax(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The greatest element over `axis` that is not NaN; NaN where there is none."""
    return _extreme("nanmax", max, float("-inf"), x, axis, keepdims)


def nanmin(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """The least element over `axis` that is not NaN; NaN where there is none."""
    return _extreme("nanmin", min, float("inf"), x, axis, keepdims)


def nan_to_num(x: Any, /, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """`x` with `nan` for NaN and the greatest and least finite numbers (or `posinf`, `neginf`) for the infinities.

    Of complex numbers both parts are treated so.
    """
    value, absent = _split("nan_to_num", x)
    if value.dtype.kind == "c":
        return complex(*(nan_to_num(part, nan, posinf, neginf) for part in (real(value), imag(value))))
    if value.dtype.kind != "f":
        return value
    limits = finfo(value.dtype)
    value = where(value == float("inf"), float(limits.max) if posinf is None else posinf, value)
    value = where(value == float("-inf"), float(limits.min) if neginf is None else neginf, value)
    return where(absent, nan, value)

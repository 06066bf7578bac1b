"""`assert_allclose` and `ulp_distance`: arrays compared up to a tolerance or units in the last place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, as_dtype, bfloat16, real_dtype, widened
from ..errors import CheckError, ConfigError, DTypeError
from ..functions import asarray
from ..ops.base import message
from ..tensor import Tensor
from ..tree import tree_flatten, tree_flatten_with_path

#: relative tolerance of `assert_allclose` by dtype
_CLOSE = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-3, "bfloat16": 1.6e-2}


def shown_index(place: Sequence[Any]) -> str:
    """An index as messages show it."""
    return f"[{', '.join(str(int(i)) for i in place)}]"


def _ordered(array: np.ndarray) -> np.ndarray:
    """Whole numbers (uint64) that follow one another as the floating numbers of `array` do; both zeros are one."""
    width = array.dtype.itemsize * 8
    bits = array.view(f"uint{width}").astype(np.uint64)
    half = np.uint64(1 << (width - 1))
    magnitude = bits & (half - np.uint64(1))
    return np.where(bits & half != 0, half - magnitude, half + magnitude)


def _ulp(actual: np.ndarray, desired: np.ndarray) -> np.ndarray:
    a, b = _ordered(actual), _ordered(desired)
    distance = (np.maximum(a, b) - np.minimum(a, b)).astype(np.float64)
    nan_a, nan_b = np.isnan(actual), np.isnan(desired)
    return np.where(nan_a & nan_b, 0.0, np.where(nan_a | nan_b, np.inf, distance))


def ulp_distance(actual: Any, desired: Any) -> np.ndarray:
    """How many floating numbers of the dtype of `actual` one has to pass to come to `desired`, element by element.

    Args:
        actual: floating or complex tensor or array, whose dtype decides.
        desired: of the same shape, rounded to that dtype.

    Returns:
        float64 array; 0 for equal numbers, both zeros and two NaN, infinity where one alone is NaN. Of complex numbers
        the larger distance of the two parts.

    Example:
        >>> import chainrule as cr
        >>> cr.testing.ulp_distance(cr.tensor([1.0, 1.0]), cr.tensor([1.0, 1.0 + 2**-23])).tolist()
        [0.0, 1.0]
    """
    dtype = actual.dtype if isinstance(actual, Tensor) else as_dtype(np.asarray(actual).dtype)
    if dtype.kind not in "fc":
        raise DTypeError(message("ulp_distance", f"{dtype.name} has no units in the last place", ()))
    given = actual._value("ulp_distance") if isinstance(actual, Tensor) else np.ascontiguousarray(actual)
    wide = widened(given)
    other = asarray(np.asarray(desired), dtype=dtype)._value("ulp_distance")
    if wide.dtype.kind == "c":
        other = np.broadcast_to(other, wide.shape)
        return np.maximum(_ulp(wide.real.copy(), other.real.copy()), _ulp(wide.imag.copy(), other.imag.copy()))
    if dtype is bfloat16:  # the upper half of a float32
        other = np.broadcast_to(widened(other), wide.shape).copy()
        return _ulp(wide, other) / 65536
    exact = given if dtype.is_half else wide
    return _ulp(np.ascontiguousarray(exact), np.broadcast_to(other, exact.shape).copy())


def assert_allclose(
    actual: Any, desired: Any, rtol: float | None = None, atol: float = 0.0, ulp: float | None = None
) -> None:
    """Raise unless ``|actual - desired| <= atol + rtol |desired|`` everywhere, or values are at most `ulp` apart.

    Args:
        actual, desired: tensors, arrays, numbers, or trees of them of the same structure. Shapes have to be equal,
            except that `desired` may be one number. NaN equals NaN, infinities only themselves.
        rtol: by default that of the coarser of the two dtypes: 1e-9 in float64, 1e-5 in float32, 1e-3 in float16,
            1.6e-2 in bfloat16, and 0 for integers.
        atol: absolute tolerance.
        ulp: distance in units in the last place of the dtype of `actual` that is accepted instead.

    Raises:
        CheckError: the message has the worst element, its index, both values and their distance in ulp.
        ConfigError: trees of different structure.

    Example:
        >>> import chainrule as cr
        >>> cr.testing.assert_allclose(cr.exp(cr.tensor([0.0, 1.0])), [1.0, 2.7182817], ulp=2)
    """
    paths, leaves, definition = tree_flatten_with_path(actual, "actual")
    if definition.kind is None:
        _close("actual", actual, desired, rtol, atol, ulp)
        return
    if isinstance(actual, (list, tuple)) and not any(isinstance(leaf, (Tensor, np.ndarray)) for leaf in leaves):
        _close("actual", np.asarray(actual), desired, rtol, atol, ulp)
        return
    others, structure = tree_flatten(desired)
    if structure != definition:
        raise ConfigError(message("assert_allclose", f"actual is {definition}, desired {structure}", ()))
    for path, a, b in zip(paths, leaves, others):
        _close(path, a, b, rtol, atol, ulp)


def _readable(value: Any) -> tuple[np.ndarray, DType]:
    if isinstance(value, Tensor):
        return value.numpy(), value.dtype
    array = np.asarray(value)
    return widened(array), as_dtype(array.dtype)


def _close(path: str, actual: Any, desired: Any, rtol: float | None, atol: float, ulp: float | None) -> None:
    (a, kind), (b, other) = _readable(actual), _readable(desired)
    types = f"{path} is {kind.name}{list(a.shape)}, desired {other.name}{list(b.shape)}"
    if a.shape != b.shape and b.ndim:
        raise CheckError(message("assert_allclose", f"the shapes differ: {types}", ()))
    floating = kind.kind in "fc"
    number = isinstance(desired, (bool, int, float, complex, list, tuple))  # has no dtype of its own
    if rtol is None:
        names = [real_dtype(d).name for d in ((kind,) if number and floating else (kind, other))]
        rtol = 0.0 if ulp is not None else max((_CLOSE.get(name, 0.0) for name in names), default=0.0)
    wide = np.complex128 if "c" in (kind.kind, other.kind) else np.float64
    x, y = a.astype(wide), np.broadcast_to(b.astype(wide), a.shape)
    if not floating and other.kind not in "fc":
        x, y = a.astype(object), np.broadcast_to(b.astype(object), a.shape)  # whole numbers beyond 2**53 too
        off = np.abs(x - y).astype(np.float64) if kind.kind != "b" else (a != b).astype(np.float64)
        tolerance = atol + rtol * np.abs(y.astype(np.float64))
    else:
        with np.errstate(all="ignore"):
            off = np.abs(x - y)
            tolerance = atol + rtol * np.abs(y)
        off = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.where(np.isnan(off), np.inf, off))
        tolerance = np.where(np.isfinite(y), tolerance, 0.0)
    good = off <= tolerance
    steps = ulp_distance(actual, np.broadcast_to(b, a.shape)) if floating and a.size else None
    if ulp is not None and steps is not None:
        good |= steps <= ulp
    if good.all():
        return
    with np.errstate(all="ignore"):
        badness = off / np.where(tolerance > 0, tolerance, np.finfo(np.float64).tiny) if ulp is None else steps
    assert badness is not None
    at = np.unravel_index(np.argmax(np.where(good, -1.0, np.nan_to_num(badness, posinf=1.7e308))), a.shape)
    shown = f"{a[at]} instead of {b[at] if b.ndim else b[()]}, off by {off[at]:.3g}"
    if steps is not None:
        shown += f", {steps[at]:.0f} ulp of {kind.name}" if np.isfinite(steps[at]) else ", one of them NaN"
    allowed = f"rtol={rtol:g}, atol={atol:g}" + (f", ulp={ulp:g}" if ulp is not None else "")
    place = f" at {shown_index(at)}" if a.ndim else ""
    count = f"{int((~good).sum())} of {a.size} elements differ"
    raise CheckError(message("assert_allclose", f"{count}, the worst{place}: {shown}; {allowed}; {types}", ()))

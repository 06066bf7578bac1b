"""Elementwise functions beyond the standard, and comparisons with tolerance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..conversion import nodes_of, to_node
from ..dtypes import as_dtype, float64, int32, int64
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import cast, constant, full, reject
from ..tensor import Tensor
from .elementwise import (
    abs,
    clip,
    copysign,
    equal,
    floor,
    floor_divide,
    isfinite,
    isnan,
    log,
    logaddexp,
    maximum,
    minimum,
    pow,
    remainder,
    round,
    sign,
    trunc,
    where,
)
from .reduction import all as all_of
from .reduction import max as max_of
from .reduction import mean, std, var
from .reduction import min as min_of
from .searching import take


def _pair(name: str, x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """Both of one dtype and shape."""
    nodes = nodes_of(name, (x1, x2))
    if nodes is None:
        nodes = nodes_of(name, (Tensor(to_node(x1, name)), Tensor(to_node(x2, name))))
    assert nodes is not None
    return Tensor(nodes[0]), Tensor(nodes[1])


def _real(name: str, x: Any) -> Tensor:
    node = to_node(x, name)
    if node.dtype.kind != "f":
        reject(name, "a floating dtype is needed", (node,), "convert with .astype(chainrule.float32)", DTypeError)
    return Tensor(node)


def heaviside(x1: Any, x2: Any, /) -> Tensor:
    """0 where x1 < 0, x2 where it is 0, 1 where it is greater; NaN stays. No derivative in x1."""
    a, b = _pair("heaviside", x1, x2)
    zero, one = (Tensor(full(v, a.shape, a.dtype)) for v in (0, 1))
    result = where(a < 0, zero, where(a > 0, one, b))
    return where(isnan(a), a.detach(), result) if a.dtype.kind == "f" else result


def deg2rad(x: Any, /) -> Tensor:
    """Degrees as radians: x pi / 180."""
    return _real("deg2rad", x) * (math.pi / 180.0)


radians = deg2rad


def rad2deg(x: Any, /) -> Tensor:
    """Radians as degrees: x 180 / pi."""
    return _real("rad2deg", x) * (180.0 / math.pi)


degrees = rad2deg


def fmod(x1: Any, x2: Any, /) -> Tensor:
    """The remainder of the division rounded towards 0, with the sign of x1 (C's; `remainder` has that of x2)."""
    a, b = _pair("fmod", x1, x2)
    if a.dtype.kind == "u":
        return remainder(a, b)
    if a.dtype.kind == "f":
        return Tensor(emit("fmod", to_node(a), to_node(b)))
    rest = remainder(a, b)
    other = (rest != 0) & ((a < 0) != (b < 0))
    return where(other, rest - b, rest)


def _without_nan(name: str, operation: Any, x1: Any, x2: Any) -> Tensor:
    a, b = _pair(name, x1, x2)
    result = operation(a, b)
    if a.dtype.kind != "f":
        return result
    return where(isnan(a), b, where(isnan(b), a, result))


def fmax(x1: Any, x2: Any, /) -> Tensor:
    """The greater of both; of a number and NaN the number."""
    return _without_nan("fmax", maximum, x1, x2)


def fmin(x1: Any, x2: Any, /) -> Tensor:
    """The lesser of both; of a number and NaN the number."""
    return _without_nan("fmin", minimum, x1, x2)


def logaddexp2(x1: Any, x2: Any, /) -> Tensor:
    """log2(2^x1 + 2^x2), without overflow in between."""
    a, b = _pair("logaddexp2", x1, x2)
    base = math.log(2.0)
    return logaddexp(a * base, b * base) / base


def float_power(x1: Any, x2: Any, /) -> Tensor:
    """x1 to the power x2, computed in float64."""
    a, b = (Tensor(cast(to_node(x, "float_power"), float64)) for x in (x1, x2))
    return pow(*_pair("float_power", a, b))


def cbrt(x: Any, /) -> Tensor:
    """The cube root, of negative numbers too. Its derivative at 0 is infinite."""
    value = _real("cbrt", x)
    usual = (value != 0) & isfinite(value)
    size = where(usual, abs(value), 1.0)
    tiny = size < 2.0**-60
    size = where(tiny, size * 2.0**72, size)
    root = pow(size, 1.0 / 3.0)
    # one step of Newton's method mends the rounding of 1/3
    root = root - (root * root * root - size) / (3.0 * root * root)
    root = where(tiny, root * 2.0**-24, root)
    return where(usual, where(value < 0, -root, root), value)


_POWERS = {"float32": (-126, 127), "float64": (-1022, 1023)}


def _power_of_two(exponent: Tensor, like: Tensor) -> Tensor:
    """2 to whole numbers, limited to what is finite and normal, in the dtype of `like`: exact."""
    low, high = _POWERS["float64" if like.dtype is float64 else "float32"]
    dtype = np.float64 if like.dtype is float64 else np.float32
    table = Tensor(constant(np.ldexp(np.ones(high - low + 1, dtype), np.arange(low, high + 1)).astype(dtype)))
    return take(table, clip(exponent, low, high) - low)


def ldexp(x1: Any, x2: Any, /) -> Tensor:
    """x1 times 2 to the whole number x2."""
    value = _real("ldexp", x1)
    node = to_node(x2, "ldexp")
    if node.dtype.kind not in "iu":
        reject("ldexp", "the exponent is a whole number", (to_node(value), node), "", DTypeError)
    wide = Tensor(to_node(value)) if not value.dtype.is_half else value.astype(as_dtype("float32"))
    low, high = _POWERS["float64" if wide.dtype is float64 else "float32"]
    left = clip(Tensor(cast(node, int64)), 3 * low, 3 * high)
    for _ in range(3):
        part = clip(left, low, high)
        wide = wide * _power_of_two(part, wide)
        left = left - part
    return wide.astype(value.dtype)


def frexp(x: Any, /) -> tuple[Tensor, Tensor]:
    """Mantissa m, 1/2 <= |m| < 1, and exponent e (int32) with x = m 2^e; 0, infinities and NaN stay, with e = 0.

    The derivative of m is 2^-e; e has none.
    """
    given = _real("frexp", x)
    value = given if not given.dtype.is_half else given.astype(as_dtype("float32"))
    low, _ = _POWERS["float64" if value.dtype is float64 else "float32"]
    usual = isfinite(value) & (value != 0)
    tiny = abs(value) < 2.0**low
    scaled = where(tiny, value * 2.0**64, value)
    size = where(usual, abs(scaled.detach()), 1.0)
    exponent = floor(log(size) * (1.0 / math.log(2.0))).astype(int64) + 1
    for _ in range(2):  # the logarithm may be one off where it is rounded
        half = size * _power_of_two(-(exponent // 2), size) * _power_of_two(-(exponent - exponent // 2), size)
        exponent = exponent + where(half >= 1.0, 1, where(half < 0.5, -1, 0))
    mantissa = scaled * _power_of_two(-(exponent // 2), size) * _power_of_two(-(exponent - exponent // 2), size)
    exponent = where(usual, exponent - where(tiny, 64, 0), 0)
    return where(usual, mantissa, value).astype(given.dtype), exponent.astype(int32)


def gcd(x1: Any, x2: Any, /) -> Tensor:
    """The greatest common divisor of whole numbers; not negative."""
    a, b = _pair("gcd", x1, x2)
    return Tensor(emit("gcd", to_node(a), to_node(b)))


def lcm(x1: Any, x2: Any, /) -> Tensor:
    """The least common multiple of whole numbers; 0 if one is 0."""
    a, b = _pair("lcm", x1, x2)
    common = Tensor(emit("gcd", to_node(a), to_node(b)))
    one = Tensor(full(1, common.shape, common.dtype))
    result = floor_divide(a, where(common == 0, one, common)) * b
    return abs(result) if result.dtype.kind == "i" else result


def divmod(x1: Any, x2: Any, /) -> tuple[Tensor, Tensor]:
    """The quotient rounded down and the remainder."""
    a, b = _pair("divmod", x1, x2)
    return floor_divide(a, b), remainder(a, b)


def rint(x: Any, /) -> Tensor:
    """The nearest whole number; halves go to the even one."""
    return round(x)


def fix(x: Any, /) -> Tensor:
    """x rounded towards 0."""
    return trunc(x)


def frac(x: Any, /) -> Tensor:
    """x - trunc(x)."""
    value = _real("frac", x)
    return value - trunc(value)


def modf(x: Any, /) -> tuple[Tensor, Tensor]:
    """The fractional and the whole part of x, both with its sign."""
    value = _real("modf", x)
    whole = trunc(value)
    part = where(isfinite(value), value - where(isfinite(whole), whole, 0.0), where(isnan(value), value, 0.0))
    return copysign(abs(part), value.detach()) if not value.requires_grad else part, whole


def isposinf(x: Any, /) -> Tensor:
    """Whether x is plus infinity."""
    return Tensor(to_node(x, "isposinf")) == float("inf")


def isneginf(x: Any, /) -> Tensor:
    """Whether x is minus infinity."""
    return Tensor(to_node(x, "isneginf")) == float("-inf")


def isreal(x: Any, /) -> Tensor:
    """Whether the imaginary part is 0."""
    node = to_node(x, "isreal")
    if node.dtype.kind != "c":
        return Tensor(full(True, node.shape, as_dtype("bool")))
    return Tensor(emit("imag", node)) == 0.0


def iscomplex(x: Any, /) -> Tensor:
    """Whether the imaginary part is not 0."""
    return ~isreal(x)


def true_divide(x1: Any, x2: Any, /) -> Tensor:
    """x1 / x2; whole numbers in float64."""
    a, b = _pair("true_divide", x1, x2)
    if a.dtype.kind in "iub":
        a, b = a.astype(float64), b.astype(float64)
    return a / b


def sgn(x: Any, /) -> Tensor:
    """-1, 0 or 1 by the sign of x; of complex numbers x / |x|, and 0 of 0."""
    return sign(x)


def lerp(start: Any, end: Any, weight: Any, /) -> Tensor:
    """start + weight (end - start), from the nearer end (PyTorch's)."""
    a, b = _pair("lerp", start, end)
    share = weight if isinstance(weight, (int, float)) else Tensor(to_node(weight, "lerp"))
    step = b - a
    near, far = a + step * share, b - step * (1.0 - share)
    if isinstance(share, (int, float)):
        return near if share < 0.5 else far
    return where(abs(share) < 0.5, near, far)


def addcmul(x: Any, x1: Any, x2: Any, /, *, value: float = 1) -> Tensor:
    """x + value x1 x2."""
    return Tensor(to_node(x, "addcmul")) + (Tensor(to_node(x1)) * Tensor(to_node(x2))) * value


def addcdiv(x: Any, x1: Any, x2: Any, /, *, value: float = 1) -> Tensor:
    """x + value x1 / x2."""
    return Tensor(to_node(x, "addcdiv")) + (Tensor(to_node(x1)) / Tensor(to_node(x2))) * value


def clamp_min(x: Any, min: Any, /) -> Tensor:
    """x, or `min` where it is less."""
    return clip(x, min=min)


def clamp_max(x: Any, max: Any, /) -> Tensor:
    """x, or `max` where it is greater."""
    return clip(x, max=max)


def isclose(x1: Any, x2: Any, /, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |x1 - x2| <= atol + rtol |x2|; infinities are close if equal, NaN with `equal_nan` if both are."""
    a, b = _pair("isclose", x1, x2)
    if a.dtype.kind in "biu":
        wide = [v.astype(float64) for v in (a, b)]
        return equal(a, b) | (abs(wide[0] - wide[1]) <= atol + rtol * abs(wide[1]))
    finite = isfinite(a) & isfinite(b)
    near = (abs(a - b) <= atol + rtol * abs(b)) & finite
    result = near | (a == b)
    return result | (isnan(a) & isnan(b)) if equal_nan else result


def allclose(x1: Any, x2: Any, /, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether all elements are close (see `isclose`): a bool tensor without axes."""
    return all_of(isclose(x1, x2, rtol, atol, equal_nan))


def array_equal(x1: Any, x2: Any, /, equal_nan: bool = False) -> Tensor:
    """Whether shapes and all elements are equal: a bool tensor without axes."""
    a, b = to_node(x1, "array_equal"), to_node(x2, "array_equal")
    if a.shape != b.shape:
        return Tensor(full(False, (), as_dtype("bool")))
    same = equal(Tensor(a), Tensor(b))
    if equal_nan and a.dtype.kind in "fc" and b.dtype.kind in "fc":
        same = same | (isnan(Tensor(a)) & isnan(Tensor(b)))
    return all_of(same)


def array_equiv(x1: Any, x2: Any, /) -> Tensor:
    """Whether one broadcasts to the other and all elements are equal: a bool tensor without axes."""
    a, b = to_node(x1, "array_equiv"), to_node(x2, "array_equiv")
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return Tensor(full(False, (), as_dtype("bool")))
    return all_of(equal(Tensor(a), Tensor(b)))


def aminmax(
    x: Any, /, *, axis: Any = None, keepdims: bool = False, dim: Any = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """The least and the greatest element over `axis`."""
    axis, keepdims = dim if axis is None else axis, keepdims or keepdim
    return min_of(x, axis, keepdims=keepdims), max_of(x, axis, keepdims=keepdims)


def var_mean(x: Any, /, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Variance and mean over `axis`. `correction` is 0 by default, as in `var`."""
    return var(x, axis, correction=correction, keepdims=keepdims), mean(x, axis, keepdims=keepdims)


def std_mean(x: Any, /, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean over `axis`. `correction` is 0 by default, as in `std`."""
    return std(x, axis, correction=correction, keepdims=keepdims), mean(x, axis, keepdims=keepdims)


def logspace(start: float, stop: float, /, num: int = 50, *, base: float = 10.0, endpoint: bool = True,
             dtype: Any = None) -> Tensor:  # fmt: skip
    """`num` numbers from base^start to base^stop whose logarithms are evenly spaced; float32 by default."""
    values = np.logspace(float(start), float(stop), num, endpoint=endpoint, base=base)
    return _made(values, dtype)


def geomspace(start: float, stop: float, /, num: int = 50, *, endpoint: bool = True, dtype: Any = None) -> Tensor:
    """`num` numbers from `start` to `stop` whose neighbours have one ratio; float32 by default."""
    if start == 0 or stop == 0:
        raise ConfigError(message("geomspace", f"no end is 0, as one of {(start, stop)} is", ()))
    return _made(np.geomspace(float(start), float(stop), num, endpoint=endpoint), dtype)


def _made(values: np.ndarray, dtype: Any) -> Tensor:
    node: Node = constant(values)
    return Tensor(cast(node, as_dtype("float32") if dtype is None else as_dtype(dtype)))

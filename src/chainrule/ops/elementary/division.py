"""sign, remainder and floor_divide, of floats and integers."""

from __future__ import annotations

import math

from ...backends.base import ScalarBuilder, Value
from ...dtypes import float64
from .common import exact_remainder


def sign(b: ScalarBuilder, x: Value) -> Value:
    """-1, 0 or 1; NaN of NaN."""
    zero, one = b.const(0, x.dtype), b.const(1, x.dtype)
    positive = b.gt(x, zero)
    if x.dtype.kind == "u":
        return b.select(positive, one, zero)
    result = b.select(positive, one, b.select(b.lt(x, zero), b.const(-1, x.dtype), zero))
    return b.select(b.eq(x, x), result, x) if x.dtype.kind == "f" else result


def remainder(b: ScalarBuilder, x: Value, y: Value) -> Value:
    """x - floor(x / y) * y with the sign of y: the % of Python and of the Array API.

    Of floats without any rounding but that of a final addition of y, for quotients up to 2**104;
    beyond, 0. NaN if y is 0 or x infinite; x or y if y is infinite. An integer modulo 0 is 0.
    """
    if x.dtype.kind != "f":
        rest = b.irem(x, y)
        if x.dtype.kind == "u":
            return rest
        return b.select(_apart(b, rest, y), b.add(rest, y), rest)
    zero = b.const(0.0, x.dtype)
    rest = _nearest_rest(b, x, y)
    apart = b.or_(
        b.and_(b.lt(rest, zero), b.gt(y, zero)),
        b.and_(b.gt(rest, zero), b.lt(y, zero)),
    )
    rest = b.select(apart, b.add(rest, y), rest)
    return b.select(b.eq(rest, zero), b.copysign(zero, y), rest)


def floor_divide(b: ScalarBuilder, x: Value, y: Value) -> Value:
    """floor(x / y): of floats the whole number nearest to (x - remainder(x, y)) / y.

    x / y if y is 0 or one of both is infinite: the Array API's choice, where Python gives NaN for an infinite x, and -1
    for 5 // -inf. An integer divided by 0 is 0.
    """
    dtype = x.dtype
    if dtype.kind != "f":
        quotient = b.idiv(x, y)
        if dtype.kind == "u":
            return quotient
        rest = b.sub(x, b.mul(quotient, y))
        return b.select(_apart(b, rest, y), b.sub(quotient, b.const(1, dtype)), quotient)
    rest = remainder(b, x, y)
    wide_x, wide_y, wide_rest = b.cast(x, float64), b.cast(y, float64), b.cast(rest, float64)
    quotient = b.cast(b.round_even(b.div(b.sub(wide_x, wide_rest), wide_y)), dtype)
    zero, infinity = b.const(0.0, dtype), b.const(math.inf, dtype)
    real = b.div(x, y)
    quotient = b.select(b.eq(quotient, zero), b.copysign(zero, real), quotient)
    endless = b.or_(b.eq(b.abs(x), infinity), b.eq(b.abs(y), infinity))
    return b.select(b.or_(b.eq(y, zero), endless), real, quotient)


def _apart(b: ScalarBuilder, rest: Value, y: Value) -> Value:
    """Whether the signed integers `rest` and y are not 0 and have different signs."""
    zero = b.const(0, y.dtype)
    differ = b.and_(b.ne(rest, zero), b.lt(b.xor(rest, y), zero))
    return b.and_(differ, b.ne(y, zero))


def _nearest_rest(b: ScalarBuilder, x: Value, y: Value) -> Value:
    """x - n y for the whole n nearest to x / y, exact; in float64 also for float32.

    Each step takes the rounded quotient times y off, which leaves a number of the format: all terms
    are multiples of the last digit of the smaller operand. Two steps see to 104 bits of quotient.
    """
    rest, divisor = b.cast(x, float64), b.abs(b.cast(y, float64))
    zero, infinity = b.const(0.0, float64), b.const(math.inf, float64)
    for _ in range(2):
        rest = exact_remainder(b, rest, b.round_even(b.div(rest, divisor)), divisor)
        # the quotient overflowed, or was too large for two steps; NaN stays
        rest = b.select(b.eq(b.abs(rest), infinity), zero, rest)
    rest = b.select(b.gt(b.abs(rest), divisor), zero, rest)
    finite_x = b.lt(b.abs(b.cast(x, float64)), infinity)
    unchanged = b.and_(b.eq(divisor, infinity), finite_x)
    return b.cast(b.select(unchanged, b.cast(x, float64), rest), x.dtype)

"""Powers and roots: pow, rsqrt, square and reciprocal."""

from __future__ import annotations

import math

from ...backends.base import ScalarBuilder, Value
from ...dtypes import float32, float64
from .common import (
    DOUBLE,
    at_least,
    at_most,
    fast_two_sum,
    negated_product_sum,
    polynomial,
    power_of_two,
    small_integer_to_float,
    two_product,
    two_sum,
)
from .exponential import EXP_RANGE, EXPM1, LN2, LOG2_E, scale_twice
from .logarithm import scaled_exponent, scaled_normal, split_exponent

#: for float32 in double precision: those of log (relative error 2**-37) and exp (2**-34)
LOG_SHORT = (0.6666666564270224, 0.400003357604612, 0.2853727148791793, 0.23582904819230785)
EXPM1_SHORT = (
    0.5000000078811033, 0.16666666842561217, 0.04166626767568495, 0.008333268530546818, 0.0013946210244958394,
    0.0001991610505654687,
)  # fmt: skip
#: (2 atanh(s) - 2 s - 2 s**3 / 3) / s**5 in s**2; relative error of the logarithm 2**-73
LOG_LONG = (
    0.3999999999999998, 0.2857142857144385, 0.2222222221778536, 0.18181818844675454, 0.15384558374251753,
    0.1333626683767198, 0.11675728740512772, 0.11982220532218295,
)  # fmt: skip
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def square(b: ScalarBuilder, x: Value) -> Value:
    """x * x."""
    return b.mul(x, x)


def reciprocal(b: ScalarBuilder, x: Value) -> Value:
    """1 / x."""
    return b.div(b.const(1.0, x.dtype), x)


def rsqrt(b: ScalarBuilder, x: Value) -> Value:
    """1 / sqrt(x)."""
    return b.div(b.const(1.0, x.dtype), b.sqrt(x))


def pow(b: ScalarBuilder, x: Value, y: Value) -> Value:
    """x ** y with the special cases of IEEE 754 and C99."""
    if x.dtype.kind != "f":
        return integer_power(b, x, y)
    magnitude = _power_single(b, b.abs(x), y) if x.dtype is float32 else _power_double(b, b.abs(x), y)
    return _signed_power(b, x, y, magnitude)


def _signed_power(b: ScalarBuilder, x: Value, y: Value, magnitude: Value) -> Value:
    """The sign and the special cases of x ** y, given |x| ** y."""
    dtype = x.dtype
    zero, one, nan = b.const(0.0, dtype), b.const(1.0, dtype), b.const(math.nan, dtype)
    half = b.mul(y, b.const(0.5, dtype))
    whole = b.eq(b.trunc(y), y)
    odd = b.and_(whole, b.ne(b.trunc(half), half))
    # the sign bit of x, which -0 has too, where y is odd
    result = b.select(odd, b.copysign(magnitude, x), magnitude)
    negative = b.and_(b.lt(x, zero), b.gt(x, b.const(-math.inf, dtype)))
    result = b.select(b.and_(negative, b.not_(whole)), nan, result)
    # 1 ** y and x ** 0 are 1 even for NaN; (-1) ** inf is 1
    is_one = b.or_(b.eq(x, one), b.eq(y, zero))
    infinite = b.eq(b.abs(y), b.const(math.inf, dtype))
    is_one = b.or_(is_one, b.and_(b.eq(x, b.const(-1.0, dtype)), infinite))
    return b.select(is_one, one, result)


def _power_single(b: ScalarBuilder, x: Value, y: Value) -> Value:
    """x ** y for float32 x >= 0 through double precision, rounded once more at the end."""
    wide, exponent = b.cast(x, float64), b.cast(y, float64)
    e, m = split_exponent(b, wide)
    f = b.sub(m, b.const(1.0, float64))
    s = b.div(f, b.add(m, b.const(1.0, float64)))
    z = b.mul(s, s)
    tail = b.mul(b.mul(s, z), polynomial(b, z, LOG_SHORT))
    log = b.fma(small_integer_to_float(b, e, DOUBLE), b.const(math.log(2.0), float64), b.add(b.add(s, s), tail))
    log = _log_special(b, wide, log)
    t = at_least(b, at_most(b, b.mul(exponent, log), 200.0), -200.0)
    magic = b.const(DOUBLE.magic, float64)
    shifted = b.fma(t, b.const(LOG2_E, float64), magic)
    r = negated_product_sum(b, b.sub(shifted, magic), math.log(2.0), t)
    scale = power_of_two(b, b.bitcast(shifted, DOUBLE.integer), DOUBLE)
    q = b.fma(b.mul(r, r), polynomial(b, r, EXPM1_SHORT), r)
    return b.cast(b.fma(q, scale, scale), float32)


def _log_special(b: ScalarBuilder, x: Value, log: Value) -> Value:
    """log with its values at 0, infinity and NaN, for x not negative."""
    log = b.select(b.lt(x, b.const(math.inf, x.dtype)), log, x)
    return b.select(b.eq(x, b.const(0.0, x.dtype)), b.const(-math.inf, x.dtype), log)


def _power_double(b: ScalarBuilder, x: Value, y: Value) -> Value:
    """x ** y for float64 x >= 0: the logarithm as a sum of two numbers, good to about 2**-65."""
    normal, tiny = scaled_normal(b, x)
    e, m = split_exponent(b, normal)
    high, low = _long_log(b, scaled_exponent(b, e, tiny, DOUBLE), m)
    high = _log_special(b, x, high)
    product, rest = two_product(b, y, high)
    rest = b.fma(y, low, rest)
    # beyond the range of exp the low part is meaningless, or NaN
    zero = b.const(0.0, float64)
    rest = b.select(b.lt(b.abs(product), b.const(1000.0, float64)), rest, zero)
    smallest, largest = EXP_RANGE["float64"]
    product = at_least(b, at_most(b, product, largest), smallest)
    return _long_exp(b, product, rest)


def _long_log(b: ScalarBuilder, e: Value, m: Value) -> tuple[Value, Value]:
    """e ln 2 + log(m) as a sum of two numbers, for m between sqrt(1/2) and sqrt(2).

    log(m) = 2 s + s**3 (2/3 + s**2 R(s**2)) with s = (m - 1) / (m + 1); all but R in two numbers.
    """
    one = b.const(1.0, float64)
    f = b.sub(m, one)
    d_high, d_low = fast_two_sum(b, one, m)
    s_high = b.div(f, d_high)
    back_high, back_low = two_product(b, s_high, d_high)
    remainder = b.sub(b.sub(f, back_high), back_low)
    remainder = b.sub(remainder, b.mul(s_high, d_low))
    s_low = b.div(remainder, d_high)
    z_high, z_low = two_product(b, s_high, s_high)
    z_low = b.fma(b.add(s_high, s_high), s_low, z_low)
    c_high, c_low = (b.const(part, float64) for part in TWO_THIRDS)
    tail = b.mul(z_high, polynomial(b, z_high, LOG_LONG))
    c_high, c_rest = fast_two_sum(b, c_high, tail)
    c_low = b.add(c_rest, c_low)
    cube_high, cube_low = two_product(b, s_high, z_high)
    cube_low = b.add(cube_low, b.fma(s_high, z_low, b.mul(s_low, z_high)))
    t_high, t_low = two_product(b, cube_high, c_high)
    t_low = b.add(t_low, b.fma(cube_high, c_low, b.mul(cube_low, c_high)))
    ln2_high, ln2_low = (b.const(part, float64) for part in LN2["float64"])
    total, lost = two_sum(b, b.mul(e, ln2_high), b.add(s_high, s_high))
    total, more = two_sum(b, total, t_high)
    low = b.add(b.add(lost, more), b.add(t_low, b.fma(e, ln2_low, b.add(s_low, s_low))))
    return fast_two_sum(b, total, low)


def _long_exp(b: ScalarBuilder, x: Value, low: Value) -> Value:
    """exp(x + low) for a `low` below the last digit of x."""
    magic = b.const(DOUBLE.magic, float64)
    shifted = b.fma(x, b.const(LOG2_E, float64), magic)
    n = b.sub(shifted, magic)
    ln2_high, ln2_low = LN2["float64"]
    r = negated_product_sum(b, n, ln2_high, x)
    r, rest = two_sum(b, r, negated_product_sum(b, n, ln2_low, low))
    q = b.fma(b.mul(r, r), polynomial(b, r, EXPM1["float64"]), b.fma(r, rest, rest))
    # 1 + r + q with the error of 1 + r put back: whole powers come out exact
    one = b.const(1.0, float64)
    high, lost = fast_two_sum(b, one, r)
    total = b.add(high, b.add(lost, q))
    return scale_twice(b, b.sub(total, one), b.bitcast(shifted, DOUBLE.integer), DOUBLE)


def integer_power(b: ScalarBuilder, x: Value, y: Value) -> Value:
    """x ** y of integers, wrapping; of a negative exponent the whole part of the real result.

    Squaring and multiplying over all bits of the exponent; the loop is unrolled.
    """
    dtype = x.dtype
    one, zero = b.const(1, dtype), b.const(0, dtype)
    result, factor = one, x
    bits = 8 * dtype.itemsize
    for i in range(bits):
        bit = b.and_(b.lshr(y, b.const(i, dtype)), one)
        result = b.mul(result, b.select(b.eq(bit, one), factor, one))
        if i + 1 < bits:
            factor = b.mul(factor, factor)
    if dtype.kind == "u":
        return result
    minus = b.const(-1, dtype)
    odd = b.eq(b.and_(y, one), one)
    inverse = b.select(b.eq(x, one), one, zero)
    inverse = b.select(b.eq(x, minus), b.select(odd, minus, one), inverse)
    return b.select(b.lt(y, zero), inverse, result)

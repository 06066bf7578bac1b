"""Functions built on log: log, log1p, asinh, acosh and atanh.

log(x) = e ln 2 + log1p(f) with x = 2**e (1 + f) and 1 + f between sqrt(1/2) and sqrt(2).
"""

from __future__ import annotations

import math
import struct

from ...backends.base import ScalarBuilder, Value
from .common import SINGLE, Format, estrin, format_of, polynomial, power_of_two, small_integer_to_float
from .exponential import LN2

#: (log1p(f) - f + f**2 / 2) / f**3; relative error of log1p 2**-27
LOG1P_SINGLE = (
    0.3333333134651184, -0.25000816583633423, 0.2000122219324112, -0.16623497009277344, 0.14202122390270233,
    -0.1315932422876358, 0.12758396565914154, -0.0763254389166832,
)  # fmt: skip
#: (2 atanh(s) - 2 s) / s**3 in s**2, for s = f / (2 + f); relative error of log1p 2**-59
LOG1P_DOUBLE = (
    0.6666666666666735, 0.399999999994102, 0.2857142874339748, 0.22222198465225868, 0.1818357020942417,
    0.15313892691046463, 0.14797603160299802,
)  # fmt: skip


def sqrt_half_bits(form: Format) -> int:
    """The bits of sqrt(1/2), rounded down."""
    bits = struct.unpack("<q", struct.pack("<d", math.sqrt(0.5)))[0]
    return bits if form is not SINGLE else (bits >> 29) - ((1023 - 127) << 23)


def split_exponent(b: ScalarBuilder, x: Value) -> tuple[Value, Value]:
    """e, an integer, and m between sqrt(1/2) and sqrt(2) with x = 2**e m, for normal x > 0."""
    form = format_of(x)
    bits = b.bitcast(x, form.integer)
    shift = b.const(form.mantissa, form.integer)
    e = b.ashr(b.sub(bits, b.const(sqrt_half_bits(form), form.integer)), shift)
    return e, b.bitcast(b.sub(bits, b.shl(e, shift)), x.dtype)


def log_sum(b: ScalarBuilder, e: Value, f: Value) -> Value:
    """e ln 2 + log1p(f) for a float e and f between sqrt(1/2) - 1 and sqrt(2) - 1."""
    form = format_of(f)
    high, low = (b.const(part, f.dtype) for part in LN2[f.dtype.name])
    square = b.mul(f, f)
    if form is SINGLE:
        tail = b.fma(b.mul(f, square), estrin(b, f, LOG1P_SINGLE), b.mul(e, low))
        tail = b.fma(b.const(-0.5, f.dtype), square, tail)
    else:  # f - f**2 / 2 + s (f**2 / 2 + s**2 R(s**2)), after Sun's fdlibm
        s = b.div(f, b.add(b.const(2.0, f.dtype), f))
        z = b.mul(s, s)
        half_square = b.mul(b.const(0.5, f.dtype), square)
        r = b.fma(z, polynomial(b, z, LOG1P_DOUBLE), half_square)
        tail = b.sub(b.fma(s, r, b.mul(e, low)), half_square)
    return b.fma(e, high, b.add(f, tail))


def positive_or_special(b: ScalarBuilder, x: Value, result: Value) -> Value:
    """`result` where 0 < x < inf; else log's values: inf, -inf at 0, NaN below 0 and at NaN."""
    zero, nan = b.const(0.0, x.dtype), b.const(math.nan, x.dtype)
    result = b.select(b.lt(x, b.const(math.inf, x.dtype)), result, x)
    outside = b.select(b.eq(x, zero), b.const(-math.inf, x.dtype), nan)
    return b.select(b.gt(x, zero), result, outside)


def scaled_normal(b: ScalarBuilder, x: Value) -> tuple[Value, Value]:
    """x, times 2**mantissa where it is subnormal, and whether it is."""
    form = format_of(x)
    tiny = b.lt(x, b.const(form.smallest_normal, x.dtype))
    return b.select(tiny, b.mul(x, b.const(2.0**form.mantissa, x.dtype)), x), tiny


def scaled_exponent(b: ScalarBuilder, e: Value, tiny: Value, form: Format) -> Value:
    """The integer e as a float, less the scale of `scaled_normal` where `tiny`."""
    magic = b.const(form.magic, form.dtype)
    bits = b.add(e, b.bitcast(magic, form.integer))
    scaled = b.const(form.magic + form.mantissa, form.dtype)
    return b.sub(b.bitcast(bits, form.dtype), b.select(tiny, scaled, magic))


def log(b: ScalarBuilder, x: Value) -> Value:
    """The natural logarithm."""
    form = format_of(x)
    normal, tiny = scaled_normal(b, x)
    e, m = split_exponent(b, normal)
    result = log_sum(b, scaled_exponent(b, e, tiny, form), b.sub(m, b.const(1.0, x.dtype)))
    return positive_or_special(b, x, result)


def log1p_core(b: ScalarBuilder, x: Value, extra: Value | None = None) -> Value:
    """log(1 + x) + extra ln 2 for x > -1 and finite, without its special cases."""
    form = format_of(x)
    one = b.const(1.0, x.dtype)
    e, m = split_exponent(b, b.add(one, x))
    # f = (1 + x) / 2**e - 1 rounded once, from x itself; where 1 does not change x, from m
    scale = power_of_two(b, b.neg(e), form)
    f = b.fma(x, scale, b.sub(scale, one))
    large = b.gt(x, b.const(2.0 ** (form.mantissa + 2), x.dtype))
    f = b.select(large, b.sub(m, one), f)
    exponent = small_integer_to_float(b, e, form)
    return log_sum(b, exponent if extra is None else b.add(exponent, extra), f)


def log1p(b: ScalarBuilder, x: Value) -> Value:
    """log(1 + x), accurate near 0."""
    form = format_of(x)
    one = b.const(1.0, x.dtype)
    result = log1p_core(b, x)
    tiny = b.lt(b.abs(x), b.const(2.0 ** -(form.mantissa + 3), x.dtype))
    return positive_or_special(b, b.add(one, x), b.select(tiny, x, result))


def asinh(b: ScalarBuilder, x: Value) -> Value:
    """Inverse hyperbolic sine: log1p(a + a**2 / (1 + sqrt(1 + a**2))), log(2 a) for large a = |x|."""
    form = format_of(x)
    one, zero = b.const(1.0, x.dtype), b.const(0.0, x.dtype)
    a = b.abs(x)
    large = b.gt(a, b.const(2.0 ** (form.mantissa + 2), x.dtype))
    square = b.mul(a, a)
    argument = b.add(a, b.div(square, b.add(one, b.sqrt(b.add(one, square)))))
    result = log1p_core(b, b.select(large, a, argument), b.select(large, one, zero))
    keep = b.lt(a, b.const(2.0 ** -(form.mantissa // 2 + 2), x.dtype))  # a**3 / 6 is below the last digit
    finite = b.lt(a, b.const(math.inf, x.dtype))
    return b.select(b.and_(finite, b.not_(keep)), b.copysign(result, x), x)


def acosh(b: ScalarBuilder, x: Value) -> Value:
    """Inverse hyperbolic cosine: log1p(t + sqrt(2 t + t**2)) with t = x - 1, log(2 x) for large x."""
    form = format_of(x)
    one, zero = b.const(1.0, x.dtype), b.const(0.0, x.dtype)
    large = b.gt(x, b.const(2.0 ** (form.mantissa + 2), x.dtype))
    t = b.sub(x, one)
    argument = b.add(t, b.sqrt(b.fma(t, t, b.add(t, t))))
    result = log1p_core(b, b.select(large, x, argument), b.select(large, one, zero))
    special = b.select(b.lt(x, one), b.const(math.nan, x.dtype), x)
    inside = b.and_(b.ge(x, one), b.lt(x, b.const(math.inf, x.dtype)))
    return b.select(inside, result, special)


def atanh(b: ScalarBuilder, x: Value) -> Value:
    """Inverse hyperbolic tangent: log1p(2 a / (1 - a)) / 2 with a = |x|."""
    form = format_of(x)
    one = b.const(1.0, x.dtype)
    a = b.abs(x)
    result = b.mul(b.const(0.5, x.dtype), log1p_core(b, b.div(b.add(a, a), b.sub(one, a))))
    result = b.select(b.lt(a, b.const(2.0 ** -(form.mantissa // 2 + 2), x.dtype)), a, result)
    outside = b.select(b.eq(a, one), b.const(math.inf, x.dtype), b.const(math.nan, x.dtype))
    return b.copysign(b.select(b.lt(a, one), result, outside), x)

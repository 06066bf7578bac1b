"""Functions of angles: sin, cos, tan and their inverses."""

from __future__ import annotations

import math

from ...backends.base import ScalarBuilder, Value
from .common import Format, format_of, polynomial
from .reduction import INTEGERS, quarter_turns

#: (sin(r) - r) / r**3 in r**2 on |r| <= pi/4; relative error of sin 2**-32 and 2**-62
SIN = {
    "float32": (-0.1666666716337204, 0.008333376608788967, -0.0001985174312721938, 2.818141183524858e-06),
    "float64": (
        -0.16666666666666666, 0.008333333333333099, -0.00019841269841065046, 2.755731913798237e-06,
        -2.5052089056186544e-08, 1.6056703874744268e-10, -7.508964572025128e-13,
    ),
}  # fmt: skip
#: (cos(r) - 1 + r**2 / 2) / r**4 in r**2; relative error of cos 2**-33 and 2**-63
COS = {
    "float32": (0.04166664555668831, -0.0013887309469282627, 2.4432341888314113e-05),
    "float64": (
        0.041666666666666595, -0.0013888888888873318, 2.4801587288977095e-05, -2.755731420762322e-07,
        2.0875703873810063e-09, -1.135865972218838e-11,
    ),
}  # fmt: skip
#: (tan(r) - r) / r**3 in r**2; relative error of tan 2**-29 and 2**-59
TAN = {
    "float32": (
        0.33333349227905273, 0.13332673907279968, 0.0540592186152935, 0.021284066140651703, 0.01083418633788824,
        8.843388059176505e-05, 0.004378074314445257,
    ),
    "float64": (
        0.3333333333333338, 0.133333333333254, 0.05396825397285191, 0.02186948840107807, 0.008863237889658017,
        0.003592101257000191, 0.0014560426854213313, 0.0005888795907282091, 0.00024369569586953877,
        8.370424074535846e-05, 6.695193336063284e-05, -2.5286714723062416e-05, 4.8342267119301754e-05,
        -2.4126825744591135e-05, 9.765998441866969e-06,
    ),
}  # fmt: skip
#: (asin(x) - x) / x**3 in x**2 on |x| <= 1/2; relative error of asin 2**-31 and 2**-59
ASIN = {
    "float32": (
        0.16666659712791443, 0.0750051885843277, 0.04451433941721916, 0.031828586012125015, 0.014361812733113766,
        0.037622638046741486,
    ),
    "float64": (
        0.16666666666666763, 0.07499999999970054, 0.04464285717538375, 0.03038194266823978, 0.022372216164322726,
        0.017351589862392488, 0.013981097284012924, 0.011396562448772287, 0.010793876256211888, 0.0036533160185809447,
        0.021840447941218283, -0.02119250701905541, 0.03275277123819674,
    ),
}  # fmt: skip
#: (atan(x) - x) / x**3 in x**2 on |x| <= tan(pi/8); relative error of atan 2**-30 and 2**-63
ATAN = {
    "float32": (
        -0.33333316445350647, 0.19998526573181152, -0.14244350790977478, 0.10598821938037872, -0.06089087575674057,
    ),
    "float64": (
        -0.33333333333333326, 0.19999999999997203, -0.1428571428533847, 0.11111111085484969, -0.09090908058130759,
        0.07692280996373563, -0.06666203019337356, 0.05876807863823621, -0.05217127606271764, 0.044987062880718416,
        -0.03336871819148934, 0.015093985415204542,
    ),
}  # fmt: skip
#: pi/4 rounded, and the rest
PI_QUARTER = {
    "float32": (0.7853981852531433, -2.1855694143368964e-08),
    "float64": (0.7853981633974483, 3.061616997868383e-17),
}
#: 3 pi/4 less the rounded product of 3 and the first part
THREE_REST = {"float32": -5.962440319251527e-09, "float64": 9.184850993605148e-17}


def _sin_polynomial(b: ScalarBuilder, r: Value, z: Value) -> Value:
    return b.fma(b.mul(r, z), polynomial(b, z, SIN[r.dtype.name]), r)


def _cos_polynomial(b: ScalarBuilder, r: Value, z: Value) -> Value:
    one = b.const(1.0, r.dtype)
    head = b.fma(z, b.const(-0.5, r.dtype), one)
    return b.fma(b.mul(z, z), polynomial(b, z, COS[r.dtype.name]), head)


def _flip(b: ScalarBuilder, value: Value, bit: Value, form: Format) -> Value:
    """`value` with its sign flipped where the top bit of the integer `bit` is set (other bits are 0)."""
    return b.bitcast(b.xor(b.bitcast(value, bit.dtype), bit), form.dtype)


def sin(b: ScalarBuilder, x: Value) -> Value:
    """Sine of radians."""
    return _sine(b, x, 0)


def cos(b: ScalarBuilder, x: Value) -> Value:
    """Cosine of radians."""
    return _sine(b, x, 1)


def _sine(b: ScalarBuilder, x: Value, shift: int) -> Value:
    """sin(x + shift pi/2)."""
    form = format_of(x)
    unsigned, _ = INTEGERS[x.dtype.name]
    top = form.dtype.itemsize * 8 - 1
    a = b.abs(x)
    n, r = quarter_turns(b, a, form)
    if shift:
        n = b.add(n, b.const(shift, unsigned))
    z = b.mul(r, r)
    odd = b.ne(b.and_(n, b.const(1, unsigned)), b.const(0, unsigned))
    value = b.select(odd, _cos_polynomial(b, r, z), _sin_polynomial(b, r, z))
    sign = b.and_(b.shl(n, b.const(top - 1, unsigned)), b.const(1 << top, unsigned))
    if not shift:
        sign = b.xor(sign, b.and_(b.bitcast(x, unsigned), b.const(1 << top, unsigned)))
    return _flip(b, value, sign, form)


def tan(b: ScalarBuilder, x: Value) -> Value:
    """Tangent of radians: a polynomial t of the reduced angle, or -1 / t in the odd quarter turns."""
    form = format_of(x)
    unsigned, _ = INTEGERS[x.dtype.name]
    top = form.dtype.itemsize * 8 - 1
    a = b.abs(x)
    n, r = quarter_turns(b, a, form)
    z = b.mul(r, r)
    t = b.fma(b.mul(r, z), polynomial(b, z, TAN[x.dtype.name]), r)
    one = b.const(1.0, x.dtype)
    odd = b.ne(b.and_(n, b.const(1, unsigned)), b.const(0, unsigned))
    quotient = b.div(b.select(odd, one, t), b.select(odd, t, one))
    sign = b.xor(b.shl(n, b.const(top, unsigned)), b.and_(b.bitcast(x, unsigned), b.const(1 << top, unsigned)))
    return _flip(b, quotient, sign, form)


def _arc_core(b: ScalarBuilder, a: Value) -> tuple[Value, Value, Value]:
    """(a >= 1/2, s, asin(s) - s) with s = a, or sqrt((1 - a) / 2) where a >= 1/2."""
    half = b.const(0.5, a.dtype)
    large = b.ge(a, half)
    folded = b.mul(b.sub(b.const(1.0, a.dtype), a), half)
    z = b.select(large, folded, b.mul(a, a))
    s = b.select(large, b.sqrt(folded), a)
    return large, s, b.mul(b.mul(s, z), polynomial(b, z, ASIN[a.dtype.name]))


def asin(b: ScalarBuilder, x: Value) -> Value:
    """Inverse sine: a polynomial for |x| < 1/2, else pi/2 - 2 asin(sqrt((1 - |x|) / 2))."""
    high, low = PI_QUARTER[x.dtype.name]
    a = b.abs(x)
    large, s, rest = _arc_core(b, a)
    # 2 (pi/4 - s - rest), in an order that keeps digits
    near_one = b.sub(b.sub(b.const(high, x.dtype), s), b.sub(rest, b.const(low, x.dtype)))
    result = b.select(large, b.add(near_one, near_one), b.add(s, rest))
    return b.copysign(result, x)


def acos(b: ScalarBuilder, x: Value) -> Value:
    """Inverse cosine: pi/2 - asin(x) for |x| < 1/2, else 2 asin(sqrt((1 - |x|) / 2)) or pi less it."""
    dtype = x.dtype
    high, low = PI_QUARTER[dtype.name]
    large, s, rest = _arc_core(b, b.abs(x))
    negative = b.lt(x, b.const(0.0, dtype))
    # every case is c - (s + rest) or s + rest, times 2 for large |x|; c = pi/2 in both
    signed_s = b.select(b.and_(negative, b.not_(large)), b.neg(s), s)
    signed_rest = b.select(b.and_(negative, b.not_(large)), b.neg(rest), rest)
    c_high, c_low = b.const(2 * high, dtype), b.const(2 * low, dtype)
    from_half = b.sub(b.sub(c_high, signed_s), b.sub(signed_rest, c_low))
    value = b.select(b.and_(large, b.not_(negative)), b.add(s, rest), from_half)
    return b.select(large, b.add(value, value), value)


def atan(b: ScalarBuilder, x: Value) -> Value:
    """Inverse tangent, with the argument folded to |t| <= tan(pi/8) by one division."""
    dtype = x.dtype
    one, zero = b.const(1.0, dtype), b.const(0.0, dtype)
    high, low = PI_QUARTER[dtype.name]
    a = b.abs(x)
    steep = b.gt(a, b.const(2.414213562373095, dtype))
    middle = b.gt(a, b.const(0.41421356237309503, dtype))
    numerator = b.select(steep, b.const(-1.0, dtype), b.select(middle, b.sub(a, one), a))
    denominator = b.select(steep, a, b.select(middle, b.add(a, one), one))
    base = b.select(steep, b.const(2 * high, dtype), b.select(middle, b.const(high, dtype), zero))
    rest = b.select(steep, b.const(2 * low, dtype), b.select(middle, b.const(low, dtype), zero))
    t = b.div(numerator, denominator)
    z = b.mul(t, t)
    tail = b.fma(b.mul(t, z), polynomial(b, z, ATAN[dtype.name]), rest)
    return b.copysign(b.add(base, b.add(t, tail)), x)


def atan2(b: ScalarBuilder, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), in all quadrants, with the signs of zeros and infinities of C99."""
    form, dtype = format_of(x), x.dtype
    one, zero = b.const(1.0, dtype), b.const(0.0, dtype)
    high, low = PI_QUARTER[dtype.name]
    _, signed = INTEGERS[dtype.name]
    infinity = b.const(math.inf, dtype)
    height, width = b.abs(y), b.abs(x)
    diagonal = b.and_(b.eq(height, infinity), b.eq(width, infinity))
    height, width = b.select(diagonal, one, height), b.select(diagonal, one, width)
    steep = b.gt(height, width)
    lesser, greater = b.select(steep, width, height), b.select(steep, height, width)
    middle = b.gt(lesser, b.mul(greater, b.const(0.41421356237309503, dtype)))
    # the sum of two large numbers would overflow
    scale = b.select(b.gt(greater, b.const(2.0 ** (form.bias // 2), dtype)), b.const(0.25, dtype), one)
    small, great = b.mul(lesser, scale), b.mul(greater, scale)
    numerator = b.select(middle, b.sub(small, great), lesser)
    denominator = b.select(middle, b.add(small, great), b.select(b.eq(greater, zero), one, greater))
    t = b.div(numerator, denominator)
    # the angle is eighths * pi/4 + or - atan(t)
    eighths = b.select(middle, one, zero)
    eighths = b.select(steep, b.sub(b.const(2.0, dtype), eighths), eighths)
    left = b.lt(b.bitcast(x, signed), b.const(0, signed))
    eighths = b.select(left, b.sub(b.const(4.0, dtype), eighths), eighths)
    t = b.select(b.xor(steep, left), b.neg(t), t)
    base = b.mul(eighths, b.const(high, dtype))
    three = b.eq(eighths, b.const(3.0, dtype))
    rest = b.select(three, b.const(THREE_REST[dtype.name], dtype), b.mul(eighths, b.const(low, dtype)))
    z = b.mul(t, t)
    tail = b.fma(b.mul(t, z), polynomial(b, z, ATAN[dtype.name]), rest)
    return b.copysign(b.add(base, b.add(t, tail)), y)

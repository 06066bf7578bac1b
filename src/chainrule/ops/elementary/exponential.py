"""Functions built on exp: exp, expm1, sigmoid, tanh, sinh, cosh and erf.

exp(x) = 2**n * exp(r) with n = round(x / ln 2) and |r| <= ln(2) / 2, after Cody and Waite. Where registers hold a
table, that of float32 has n in sixteenths and |r| <= ln(2) / 32, after Tang (1989, "Table-driven implementation of the
exponential function in IEEE floating-point arithmetic"): multiplications and additions limit a loop over elements, and
a short polynomial has few of them.
"""

from __future__ import annotations

import math

from ...backends.base import ScalarBuilder, Value
from ...dtypes import float32, int32
from .common import (
    SINGLE,
    Format,
    at_least,
    at_most,
    estrin,
    format_of,
    negated_product_sum,
    polynomial,
    power_of_two,
)

LOG2_E = 1.4426950408889634
#: ln 2 in two parts; n * the first is exact for every exponent n, and x less n sixteenths of it if it is rounded once
LN2 = {
    "float32": (0.693145751953125, 1.428606765330187e-06),
    "float64": (0.6931471805598903, 5.497923018708371e-14),
}
#: (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 2; relative error of expm1 2**-26 and 2**-60
EXPM1 = {
    "float32": (
        0.4999999701976776, 0.1666654348373413, 0.04166752099990845, 0.008366548456251621, 0.001386297051794827,
    ),
    "float64": (
        0.5, 0.16666666666666677, 0.04166666666666663, 0.008333333333321457, 0.0013888888888911395,
        0.00019841269886520564, 2.480158726263194e-05, 2.7557243833630796e-06, 2.755733172987986e-07,
        2.5109164604395436e-08, 2.089588573494929e-09,
    ),
}  # fmt: skip
#: the same for a tail that is subtracted from 1, of less precision: 2**-23 and 2**-58 of exp
EXPM1_SHORT = {
    "float32": (0.49999138712882996, 0.1666647493839264, 0.04189916327595711, 0.008372954092919827),
    "float64": (
        0.5000000000000013, 0.16666666666666685, 0.041666666666511525, 0.008333333333315412, 0.0013888888947897087,
        0.00019841269900629357, 2.4801489118772077e-05, 2.7557230605847568e-06, 2.763155340061325e-07,
        2.5113492292258054e-08,
    ),
}  # fmt: skip
#: beyond these, exp is infinite or 0
EXP_RANGE = {"float32": (-104.0, 89.0), "float64": (-746.0, 710.0)}
#: 2**(j / 16), and (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 32: absolute error of exp(r) 2**-29
SIXTEENTHS = tuple(2.0 ** (j / 16) for j in range(16))
EXPM1_TINY = (0.5000162124633789, 0.1666700690984726)
#: (erf(x) - x) / x in x**2 for |x| < ERF_SPLIT
ERF_SPLIT = {"float32": 0.9199999570846558, "float64": 1.0}
ERF_SMALL = {
    "float32": (
        0.12837915122509003, -0.37612488865852356, 0.11281731724739075, -0.02676299400627613,
        0.004987386055290699, -0.0005959714762866497,
    ),
    "float64": (
        0.1283791670955126, -0.3761263890318399, 0.11283791670965318, -0.02686617064691685, 0.005223977641876162,
        -0.0008548327921459858, 0.00012055364141407688, -1.4926361033142903e-05, 1.6472870132221334e-06,
        -1.6472054367883104e-07, 1.5452846571561077e-08, -1.4344757934474297e-09, 1.0835445216712338e-10,
    ),
}  # fmt: skip
#: ln(1 - erf(x)) from the split up to where erf rounds to 1
ERF_LIMIT = {"float32": 4.0, "float64": 6.0}
ERF_LARGE = {
    "float32": (
        -0.00016953905287664384, -1.1277837753295898, -0.6369999647140503, -0.10409162938594818, 0.02230403758585453,
        -0.0030625418294221163, 0.00019790315127465874,
    ),
    "float64": (
        -2.861347675053988e-08, -1.1283789073227615, -0.636620774837448, -0.10277069342478244, 0.019127788451803913,
        0.00020270213913781883, -0.0016754378932087206, 0.0005528015624767437, 2.168090316883099e-05,
        -0.00011058861397048507, 6.46672299068118e-05, -2.4243758400848444e-05, 6.772737244093094e-06,
        -1.4668622780477354e-06, 2.475827301194962e-07, -3.21112046180345e-08, 3.098907666644519e-09,
        -2.098097468029886e-10, 8.894444605432794e-12, -1.776178012203607e-13,
    ),
}  # fmt: skip
#: (sinh(x) - x) / x**3 in x**2 for |x| <= 1
SINH = {
    "float32": (0.1666666716337204, 0.008333312347531319, 0.00019842349865939468, 2.7858989142259816e-06),
    "float64": (
        0.16666666666666666, 0.00833333333333352, 0.0001984126984113931, 2.7557319268258657e-06,
        2.5052100129300605e-08, 1.605991446323589e-10, 7.598160963990348e-13, 3.9699595459913225e-15,
    ),
}  # fmt: skip

#: (tanh(x) - x) / x**3 in x**2 for |x| < TANH_SPLIT, float32; relative error of tanh 2**-27
TANH_SPLIT = 0.65
TANH_SMALL = (
    -0.3333325982093811, 0.1333082914352417, -0.05368790403008461, 0.02046900801360607, -0.005514702759683132,
)  # fmt: skip


def _split(b: ScalarBuilder, x: Value, parts: int = 1) -> tuple[Value, Value, Value]:
    """n times `parts`, in the low bits of an integer; n, a multiple of 1 / `parts`; and r, for x = n ln 2 + r."""
    form = format_of(x)
    magic = b.const(form.magic / parts, x.dtype)
    shifted = b.fma(x, b.const(LOG2_E, x.dtype), magic)
    n = b.sub(shifted, magic)
    high, low = LN2[x.dtype.name]
    r = negated_product_sum(b, n, low, negated_product_sum(b, n, high, x))
    return b.bitcast(shifted, form.integer), n, r


def _within_range(b: ScalarBuilder, x: Value) -> Value:
    """x, or the end of the range of exp that it is beyond."""
    low, high = EXP_RANGE[x.dtype.name]
    return at_least(b, at_most(b, x, high), low)


def reduce_exponent(b: ScalarBuilder, x: Value) -> tuple[Value, Value]:
    """n, in the low bits of an integer, and expm1(r) for x = n ln 2 + r."""
    n, _, r = _split(b, x)
    evaluate = estrin if format_of(x) is SINGLE else polynomial
    return n, b.fma(b.mul(r, r), evaluate(b, r, EXPM1[x.dtype.name]), r)


def scale_twice(b: ScalarBuilder, q: Value, n: Value, form: Format, offset: int = 0) -> Value:
    """(1 + q) * 2**(n + offset), in two steps so that it may be infinite or subnormal."""
    if b.scales(form.dtype):  # by one instruction, with the same bits
        unit = b.const(2.0**offset, form.dtype)
        whole = b.sub(b.bitcast(n, form.dtype), b.const(form.magic, form.dtype))
        return b.scale(b.fma(q, unit, unit), whole)
    half = b.ashr(n, b.const(1, form.integer))
    first = power_of_two(b, half, form)
    return b.mul(b.fma(q, first, first), power_of_two(b, b.sub(n, half), form, offset))


def exp(b: ScalarBuilder, x: Value) -> Value:
    """e**x."""
    form = format_of(x)
    if b.has_tables and form is SINGLE:
        return _exp_by_table(b, x)
    n, q = reduce_exponent(b, _within_range(b, x))
    return scale_twice(b, q, n, form)


def _exp_by_table(b: ScalarBuilder, x: Value) -> Value:
    """e**x in float32.

    Where one instruction scales, n alone says that x is out of range; r, of which cancellation may then leave
    anything, only has to be small.
    """
    scales = b.scales(float32)
    sixteenths, n, r = _split(b, x if scales else _within_range(b, x), len(SIXTEENTHS))
    if scales:
        r = b.within(r, 1 / 32)
    t = b.look_up(SIXTEENTHS, sixteenths)
    q = b.fma(b.mul(r, r), polynomial(b, r, EXPM1_TINY), r)
    if scales:
        return b.scale(b.fma(q, t, t), n)
    whole = b.ashr(sixteenths, b.const(4, int32))
    half = b.ashr(whole, b.const(1, int32))
    first = power_of_two(b, half, SINGLE, factor=t)
    return b.mul(b.fma(q, first, first), power_of_two(b, b.sub(whole, half), SINGLE))


def exp_of_negative(b: ScalarBuilder, x: Value) -> Value:
    """e**x for an x of at most 0 (or NaN), 0 where that is not normal."""
    form = format_of(x)
    n, q = reduce_exponent(b, x)
    scale = power_of_two(b, n, form)
    least = b.lt(x, b.const(math.log(form.smallest_normal) + 0.5, x.dtype))
    return b.select(least, b.const(0.0, x.dtype), b.fma(q, scale, scale))


def _tail_exp(b: ScalarBuilder, x: Value, offset: int = 0) -> Value:
    """e**x * 2**offset where that is normal, for a tail that is subtracted from 1."""
    form = format_of(x)
    magic = b.const(form.magic, x.dtype)
    shifted = b.fma(x, b.const(LOG2_E, x.dtype), magic)
    r = negated_product_sum(b, b.sub(shifted, magic), sum(LN2[x.dtype.name]), x)
    evaluate = estrin if form is SINGLE else polynomial
    q = b.fma(b.mul(r, r), evaluate(b, r, EXPM1_SHORT[x.dtype.name]), r)
    scale = power_of_two(b, b.bitcast(shifted, form.integer), form, offset)
    return b.fma(q, scale, scale)


def expm1(b: ScalarBuilder, x: Value) -> Value:
    """e**x - 1, accurate near 0."""
    form = format_of(x)
    low, high = (-26.0, 89.0) if form is SINGLE else (-56.0, 710.0)
    n, q = reduce_exponent(b, at_least(b, at_most(b, x, high), low))
    # half of the result first: 2**n alone may overflow
    scale = power_of_two(b, n, form, -1)
    half = b.fma(q, scale, b.sub(scale, b.const(0.5, x.dtype)))
    tiny = b.lt(b.abs(x), b.const(2.0 ** -(form.mantissa + 3), x.dtype))
    return b.select(tiny, x, b.add(half, half))


def sigmoid(b: ScalarBuilder, x: Value) -> Value:
    """1 / (1 + e**-x), from e**-|x| so that nothing overflows and small results keep their digits."""
    form = format_of(x)
    if form is SINGLE:
        return _sigmoid_single(b, x)
    one = b.const(1.0, x.dtype)
    low, _ = EXP_RANGE[x.dtype.name]
    n, q = reduce_exponent(b, at_least(b, b.neg(b.abs(x)), low))
    e = scale_twice(b, q, n, form)
    return b.div(b.select(b.lt(x, b.const(0.0, x.dtype)), e, one), b.add(one, e))


def _sigmoid_single(b: ScalarBuilder, x: Value) -> Value:
    """e / (1 + e) or 1 / (1 + e) with e = exp(-|x|), in units of 2**-32 so that e is normal.

    The rounding c of 1 + e is put right to first order, with 1 / (1 + e) taken as 1 - e / 2.
    """

    def constant(value: float) -> Value:
        return b.const(value, x.dtype)

    n, q = reduce_exponent(b, at_least(b, b.neg(b.abs(x)), EXP_RANGE["float32"][0]))
    scale = power_of_two(b, n, SINGLE, 32)
    e = b.fma(q, scale, scale)
    unit, one = constant(2.0**-32), constant(1.0)
    total = b.fma(e, unit, one)
    c = b.fma(e, unit, b.sub(one, total))
    y = b.div(b.select(b.lt(x, constant(0.0)), e, constant(2.0**32)), total)
    y = b.fma(b.mul(c, b.fma(e, constant(2.0**-33), constant(-1.0))), y, y)
    return b.mul(y, unit)


def tanh(b: ScalarBuilder, x: Value) -> Value:
    """Hyperbolic tangent: in float64 m / (m + 2) with m = expm1(2 |x|).

    In float32 a polynomial near 0, where the quotient would round three times, else 1 - 2 / (1 + e**(2 |x|)).
    """
    form = format_of(x)
    if form is SINGLE:
        a = b.abs(x)
        z = b.mul(a, a)
        small = b.fma(b.mul(a, z), polynomial(b, z, TANH_SMALL), a)
        bounded = at_most(b, a, 9.25)
        half = _tail_exp(b, b.add(bounded, bounded), -1)
        large = b.sub(b.const(1.0, x.dtype), b.div(b.const(1.0, x.dtype), b.add(half, b.const(0.5, x.dtype))))
        return b.copysign(b.select(b.lt(a, b.const(TANH_SPLIT, x.dtype)), small, large), x)
    a = at_most(b, b.abs(x), 19.5)
    n, q = reduce_exponent(b, b.add(a, a))
    scale = power_of_two(b, n, form)
    m = b.fma(q, scale, b.sub(scale, b.const(1.0, x.dtype)))
    return b.copysign(b.div(m, b.add(m, b.const(2.0, x.dtype))), x)


def half_exp(b: ScalarBuilder, x: Value) -> Value:
    """e**x / 2 for x >= 0; finite a little beyond the range of exp."""
    n, q = reduce_exponent(b, at_most(b, x, 90.0 if x.dtype is float32 else 711.0))
    return scale_twice(b, q, n, format_of(x), -1)


def sinh(b: ScalarBuilder, x: Value) -> Value:
    """Hyperbolic sine: a polynomial for |x| < 1, else h - 1 / (4 h) with h = e**|x| / 2."""
    a = b.abs(x)
    h = half_exp(b, a)
    large = b.copysign(b.sub(h, b.div(b.const(0.25, x.dtype), h)), x)
    z = b.mul(x, x)
    small = b.fma(b.mul(x, z), polynomial(b, z, SINH[x.dtype.name]), x)
    return b.select(b.lt(a, b.const(1.0, x.dtype)), small, large)


def cosh(b: ScalarBuilder, x: Value) -> Value:
    """Hyperbolic cosine: h + 1 / (4 h) with h = e**|x| / 2."""
    h = half_exp(b, b.abs(x))
    return b.add(h, b.div(b.const(0.25, x.dtype), h))


def erf(b: ScalarBuilder, x: Value) -> Value:
    """The error function: x times a polynomial in x**2 near 0, else 1 - exp(polynomial in |x|)."""
    name = x.dtype.name
    evaluate = estrin if format_of(x) is SINGLE else polynomial
    z = b.mul(x, x)
    small = b.fma(x, evaluate(b, z, ERF_SMALL[name]), x)
    a = b.abs(x)
    tail = _tail_exp(b, evaluate(b, at_most(b, a, ERF_LIMIT[name]), ERF_LARGE[name]))
    large = b.copysign(b.sub(b.const(1.0, x.dtype), tail), x)
    return b.select(b.lt(a, b.const(ERF_SPLIT[name], x.dtype)), small, large)

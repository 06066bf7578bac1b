"""The complementary error function, the normal distribution, and their inverses.

Computed in double precision; for float32 with shorter polynomials, and rounded once. For x >= 0,
(1 + 2 x) exp(x**2) erfc(x) is one polynomial in (x - 3) / (x + 3) (Shepherd and Laframboise, Chebyshev approximation of
(1 + 2x) exp(x**2) erfc(x), 1981); the inverse is x times a function of log(1 - x**2) (Giles, Approximating the erfinv
function, 2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...backends.base import ScalarBuilder, Value
from . import normal_tables as tables
from .common import at_least, at_most, polynomial, two_product
from .exponential import exp
from .gamma_family import in_double, number
from .logarithm import log, log1p

SQRT_HALF = math.sqrt(0.5)


def _scaled(b: ScalarBuilder, name: str, a: Value) -> Value:
    """exp(a**2) erfc(a) for a >= 0."""
    bounded = at_most(b, a, 1e300)
    three = number(b, 3.0)
    t = b.div(b.sub(bounded, three), b.add(bounded, three))
    value = b.div(polynomial(b, t, tables.ERFCX[name]), b.fma(a, number(b, 2.0), number(b, 1.0)))
    return b.select(b.lt(a, number(b, 2.0**-54)), number(b, 1.0), value)


def _exp_square(b: ScalarBuilder, a: Value, factor: float) -> Value:
    """exp(factor a**2) with the rounding of the square put right; `factor` is a power of two up to its sign."""
    high, low = two_product(b, a, a)
    e = exp(b, b.mul(high, number(b, factor)))
    finite = b.lt(e, number(b, math.inf))
    return b.select(finite, b.fma(e, b.mul(low, number(b, factor)), e), e)


@in_double
def erfcx(b: ScalarBuilder, name: str, x: Value) -> Value:
    """exp(x**2) erfc(x)."""
    a = b.abs(x)
    scaled = _scaled(b, name, a)
    grown = _exp_square(b, at_most(b, a, 30.0), 1.0)
    below = b.select(b.lt(grown, number(b, math.inf)), b.sub(b.add(grown, grown), scaled), grown)
    return b.select(b.lt(x, number(b, 0.0)), below, scaled)


#: from here on quotients of repeated integrals come from their continued fraction, of so many steps
FRACTION_START, FRACTION_STEPS = 2.5, {"float32": 20, "float64": 48}


def erfcx_derivative(n: int) -> Callable[..., Value]:
    """The n-th derivative of erfcx, n >= 1: (-2)**n n! times the scaled n-th repeated integral of erfc.

    The integrals i(k) obey 2 k i(k) = i(k - 2) - 2 x i(k - 1), which loses digits where x is large; there the quotients
    r(k) = i(k) / i(k - 1) = 1 / (2 x + 2 (k + 1) r(k + 1)) are taken, from far out.
    Reference: NIST Digital Library of Mathematical Functions, section 7.18; Gautschi, 1961.
    """

    def scalar(b: ScalarBuilder, name: str, x: Value) -> Value:
        """The derivative of this order."""
        start, two = number(b, FRACTION_START), number(b, 2.0)
        value = erfcx.__wrapped__(b, name, x)  # type: ignore[attr-defined]
        before, low = number(b, 2.0 / math.sqrt(math.pi)), value
        for k in range(1, n + 1):
            scale = number(b, 0.5 / k)
            before, low = low, b.mul(b.sub(before, b.mul(b.add(x, x), low)), scale)
        double = b.mul(at_least(b, x, FRACTION_START), two)
        ratio, high = number(b, 0.0), value
        for k in reversed(range(1, n + FRACTION_STEPS[name])):
            ratio = b.div(number(b, 1.0), b.fma(ratio, number(b, 2.0 * (k + 1)), double))
            if k <= n:
                high = b.mul(high, ratio)
        result = b.select(b.lt(x, start), low, high)
        result = b.mul(result, number(b, (-2.0) ** n * math.factorial(n)))
        return b.select(b.eq(value, number(b, math.inf)), b.mul(value, number(b, (-1.0) ** n)), result)

    return in_double(scalar)


@in_double
def erfc(b: ScalarBuilder, name: str, x: Value) -> Value:
    """1 - erf(x), with its digits kept where it is small."""
    a = b.abs(x)
    tail = b.mul(_exp_square(b, at_most(b, a, 40.0), -1.0), _scaled(b, name, a))
    return b.select(b.lt(x, number(b, 0.0)), b.sub(number(b, 2.0), tail), tail)


def _normal_tail(b: ScalarBuilder, name: str, a: Value) -> tuple[Value, Value]:
    """The normal probability above a >= 0, and that divided by exp(-a**2 / 2)."""
    scaled = b.mul(_scaled(b, name, b.mul(a, number(b, SQRT_HALF))), number(b, 0.5))
    return b.mul(_exp_square(b, at_most(b, a, 60.0), -0.5), scaled), scaled


@in_double
def ndtr(b: ScalarBuilder, name: str, x: Value) -> Value:
    """The standard normal distribution function."""
    tail, _ = _normal_tail(b, name, b.abs(x))
    return b.select(b.lt(x, number(b, 0.0)), tail, b.sub(number(b, 1.0), tail))


@in_double
def log_ndtr(b: ScalarBuilder, name: str, x: Value) -> Value:
    """Its logarithm: of the tail by its scaled form below -1, else log1p of minus the tail above x."""
    a = b.abs(x)
    tail, scaled = _normal_tail(b, name, a)
    low = b.fma(b.mul(x, x), number(b, -0.5), log(b, scaled))
    low = b.select(b.lt(a, number(b, 1e150)), low, number(b, -math.inf))
    above = b.select(b.lt(x, number(b, 0.0)), b.sub(number(b, 1.0), tail), tail)
    return b.select(b.lt(x, number(b, -1.0)), low, log1p(b, b.neg(above)))


def _inverse(b: ScalarBuilder, name: str, w: Value) -> Value:
    """erfinv(x) / x for w = -log(1 - x**2), from 0 to 750."""
    s = b.sqrt(w)
    result = polynomial(b, b.sub(at_most(b, w, 5.0), number(b, 2.5)), tables.ERFINV_0[name])
    pieces = ((5.0**0.5, 2.2, 4.0, 3.0), (4.0, 4.0, 8.0, 6.0), (8.0, 8.0, 28.0, 18.0))
    fits = (tables.ERFINV_1, tables.ERFINV_2, tables.ERFINV_3)
    for (start, low, high, centre), fit in zip(pieces, fits):
        bounded = at_least(b, at_most(b, s, high), low)
        value = polynomial(b, b.sub(bounded, number(b, centre)), fit[name])
        result = b.select(b.gt(s, number(b, start)), value, result)
    return result


@in_double
def erfinv(b: ScalarBuilder, name: str, x: Value) -> Value:
    """The inverse of erf; infinite at -1 and 1, NaN beyond."""
    one, a = number(b, 1.0), b.abs(x)
    central = b.lt(a, number(b, 0.7))
    w = b.neg(log1p(b, b.select(central, b.neg(b.mul(a, a)), number(b, 0.0))))
    product = b.mul(b.sub(one, a), b.add(one, a))
    w = b.sub(w, log(b, b.select(central, one, product)))
    result = b.mul(x, _inverse(b, name, w))
    return b.select(b.eq(a, one), b.copysign(number(b, math.inf), x), result)


def _complement(b: ScalarBuilder, name: str, y: Value) -> Value:
    """erfinv(1 - y) for y from 0 to 2."""
    one, two = number(b, 1.0), number(b, 2.0)
    t = b.sub(one, y)
    central = b.lt(b.abs(t), number(b, 0.7))
    w = b.neg(log1p(b, b.select(central, b.neg(b.mul(t, t)), number(b, 0.0))))
    w = b.sub(w, b.select(central, number(b, 0.0), b.add(log(b, y), log(b, b.sub(two, y)))))
    result = b.mul(t, _inverse(b, name, w))
    end = b.or_(b.eq(y, number(b, 0.0)), b.eq(y, two))
    return b.select(end, b.copysign(number(b, math.inf), t), result)


@in_double
def erfcinv(b: ScalarBuilder, name: str, y: Value) -> Value:
    """The inverse of erfc; infinite at 0 and 2, NaN beyond."""
    return _complement(b, name, y)


@in_double
def ndtri(b: ScalarBuilder, name: str, p: Value) -> Value:
    """The inverse of `ndtr`; infinite at 0 and 1, NaN beyond."""
    result = b.mul(_complement(b, name, b.add(p, p)), number(b, -math.sqrt(2.0)))
    return b.select(b.eq(p, number(b, 0.5)), number(b, 0.0), result)

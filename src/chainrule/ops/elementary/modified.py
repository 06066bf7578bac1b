"""Modified Bessel functions I and K of orders 0 and 1, plain and scaled by exp(-|x|) or exp(x).

Computed in double precision; for float32 with shorter polynomials, and rounded once. I has a polynomial of positive
terms below 8; K its logarithmic part below 1; further pieces are polynomials of the scaled functions.
Reference: NIST Digital Library of Mathematical Functions, sections 10.31 and 10.40.
"""

from __future__ import annotations

import math

from ...backends.base import ScalarBuilder, Value
from . import modified_tables as tables
from .common import at_least, at_most, polynomial
from .exponential import exp
from .gamma_family import in_double, number
from .logarithm import log


def _low(b: ScalarBuilder, name: str, a: Value, order: int) -> Value:
    """I(a) for 0 <= a <= 8."""
    value = polynomial(b, b.mul(a, a), (tables.I1_LOW if order else tables.I0_LOW)[name])
    return b.mul(value, a) if order else value


def _high(b: ScalarBuilder, name: str, a: Value, order: int) -> Value:
    """exp(-a) I(a) for a >= 8."""
    inverse = b.div(number(b, 1.0), at_least(b, a, 8.0))
    middle, far = (tables.I1_MID, tables.I1_HIGH) if order else (tables.I0_MID, tables.I0_HIGH)
    near = b.sub(at_least(b, inverse, 0.05), number(b, 0.0859375))
    value = b.select(
        b.gt(inverse, number(b, 0.05)), polynomial(b, near, middle[name]), polynomial(b, inverse, far[name])
    )
    return b.mul(value, b.sqrt(inverse))


def _first_kind(b: ScalarBuilder, name: str, x: Value, order: int, scaled: bool) -> Value:
    a = b.abs(x)
    bounded = at_most(b, a, 8.0)
    low, high = _low(b, name, bounded, order), _high(b, name, a, order)
    if scaled:
        low = b.mul(low, exp(b, b.neg(bounded)))
    else:  # in two halves: exp(a) overflows before I(a) does
        half = exp(b, b.mul(a, number(b, 0.5)))
        high = b.mul(b.mul(high, half), half)
        high = b.select(b.gt(a, number(b, 720.0)), number(b, math.inf), high)
    value = b.select(b.le(a, number(b, 8.0)), low, high)
    value = b.select(b.eq(x, x), value, x)
    return b.mul(value, b.copysign(number(b, 1.0), x)) if order else value


@in_double
def bessel_i0(b: ScalarBuilder, name: str, x: Value) -> Value:
    """I of order 0, an even function."""
    return _first_kind(b, name, x, 0, False)


@in_double
def bessel_i1(b: ScalarBuilder, name: str, x: Value) -> Value:
    """I of order 1, an odd function."""
    return _first_kind(b, name, x, 1, False)


@in_double
def bessel_i0e(b: ScalarBuilder, name: str, x: Value) -> Value:
    """exp(-|x|) I0(x)."""
    return _first_kind(b, name, x, 0, True)


@in_double
def bessel_i1e(b: ScalarBuilder, name: str, x: Value) -> Value:
    """exp(-|x|) I1(x)."""
    return _first_kind(b, name, x, 1, True)


def _second_kind(b: ScalarBuilder, name: str, x: Value, order: int, scaled: bool) -> Value:
    """K for x > 0, infinite at 0, NaN below."""
    one = number(b, 1.0)
    low = at_most(b, x, 1.0)
    rest = polynomial(b, b.mul(low, low), (tables.K1_LOW if order else tables.K0_LOW)[name])
    part = b.mul(log(b, low), _low(b, name, low, order))
    below = b.add(b.fma(rest, low, part), b.div(one, low)) if order else b.sub(rest, part)
    middle, high, far = (
        (tables.K1_MID, tables.K1_HIGH, tables.K1_FAR) if order else (tables.K0_MID, tables.K0_HIGH, tables.K0_FAR)
    )
    inverse = b.div(one, at_least(b, x, 1.0))
    bounded = b.sub(at_least(b, at_most(b, x, 3.0), 1.0), number(b, 2.0))
    value = polynomial(b, bounded, middle[name])
    near = b.sub(at_most(b, at_least(b, inverse, 0.125), 0.3334), number(b, 0.234375))
    value = b.select(b.lt(x, number(b, 3.0)), value, polynomial(b, near, high[name]))
    value = b.select(b.lt(x, number(b, 8.0)), value, polynomial(b, at_most(b, inverse, 0.125), far[name]))
    value = b.mul(value, b.sqrt(inverse))
    if scaled:
        below = b.mul(below, exp(b, low))
    else:
        value = b.mul(value, exp(b, b.neg(x)))
    value = b.select(b.lt(x, one), below, value)
    value = b.select(b.eq(x, number(b, 0.0)), number(b, math.inf), value)
    value = b.select(b.eq(x, number(b, math.inf)), number(b, 0.0), value)
    return b.select(b.ge(x, number(b, 0.0)), value, number(b, math.nan))


@in_double
def bessel_k0(b: ScalarBuilder, name: str, x: Value) -> Value:
    """K of order 0."""
    return _second_kind(b, name, x, 0, False)


@in_double
def bessel_k1(b: ScalarBuilder, name: str, x: Value) -> Value:
    """K of order 1."""
    return _second_kind(b, name, x, 1, False)


@in_double
def bessel_k0e(b: ScalarBuilder, name: str, x: Value) -> Value:
    """exp(x) K0(x)."""
    return _second_kind(b, name, x, 0, True)


@in_double
def bessel_k1e(b: ScalarBuilder, name: str, x: Value) -> Value:
    """exp(x) K1(x)."""
    return _second_kind(b, name, x, 1, True)

"""Bessel functions of orders 0 and 1: J and Y by polynomials between zeros, from 8 on by modulus and phase.

Computed in double precision; for float32 with shorter polynomials, and rounded once. Beyond the first two zeros of J
errors are relative to the modulus sqrt(2 / (pi x)), as in other libraries.
Reference: NIST Digital Library of Mathematical Functions, sections 10.8 (Y near 0) and 10.17 (large arguments).
"""

from __future__ import annotations

import math

from ...backends.base import ScalarBuilder, Value
from . import bessel_tables as tables
from .common import at_least, at_most, polynomial
from .gamma_family import in_double, number
from .logarithm import log
from .trigonometric import cos, sin


def _from_zero(b: ScalarBuilder, a: Value, zero: tuple[float, float]) -> Value:
    """a less a zero given in two parts."""
    return b.sub(b.sub(a, number(b, zero[0])), number(b, zero[1]))


def _first_kind(b: ScalarBuilder, name: str, a: Value, order: int) -> Value:
    """J(a), divided by a below 4 for order 1, for 0 <= a < 8."""
    first, second = tables.ROOTS[f"J{order}"]
    low = at_most(b, a, 4.0)
    factor = b.mul(_from_zero(b, low, first), b.add(low, number(b, first[0])))
    z = b.sub(b.mul(low, low), number(b, 8.0))
    below = b.mul(factor, polynomial(b, z, (tables.J1_LOW if order else tables.J0_LOW)[name]))
    middle = at_least(b, at_most(b, a, 8.0), 4.0)
    fit = (tables.J1_MID if order else tables.J0_MID)[name]
    above = b.mul(_from_zero(b, middle, second), polynomial(b, b.sub(middle, number(b, 6.0)), fit))
    if order:
        below = b.mul(below, a)
    else:
        below = b.select(b.lt(a, number(b, 2.0**-27)), number(b, 1.0), below)
    return b.select(b.lt(a, number(b, 4.0)), below, above)


def _far(b: ScalarBuilder, name: str, a: Value, order: int, second: bool) -> Value:
    """J or Y for a >= 8; 0 at infinity."""
    bounded = at_least(b, at_most(b, a, 1e300), 8.0)
    inverse = b.div(number(b, 1.0), bounded)
    w = b.mul(inverse, inverse)
    p = polynomial(b, w, (tables.PHASE_P1 if order else tables.PHASE_P0)[name])
    q = b.mul(inverse, polynomial(b, w, (tables.PHASE_Q1 if order else tables.PHASE_Q0)[name]))
    s, c = sin(b, bounded), cos(b, bounded)
    # cosine and sine of the phase a - pi/4 or a - 3 pi/4, times sqrt(2)
    cosine, sine = b.add(c, s), b.sub(s, c)
    if order:
        cosine, sine = sine, b.neg(cosine)
    value = b.fma(p, sine, b.mul(q, cosine)) if second else b.sub(b.mul(p, cosine), b.mul(q, sine))
    value = b.mul(value, b.sqrt(b.mul(inverse, number(b, 1.0 / math.pi))))
    value = b.select(b.eq(a, number(b, math.inf)), number(b, 0.0), value)
    return b.select(b.eq(a, a), value, a)


@in_double
def bessel_j0(b: ScalarBuilder, name: str, x: Value) -> Value:
    """J of order 0, an even function."""
    a = b.abs(x)
    return b.select(b.lt(a, number(b, 8.0)), _first_kind(b, name, a, 0), _far(b, name, a, 0, False))


@in_double
def bessel_j1(b: ScalarBuilder, name: str, x: Value) -> Value:
    """J of order 1, an odd function."""
    a = b.abs(x)
    value = b.select(b.lt(a, number(b, 8.0)), _first_kind(b, name, a, 1), _far(b, name, a, 1, False))
    return _odd(b, x, value)


def _odd(b: ScalarBuilder, x: Value, value: Value) -> Value:
    """`value` of |x|, with its sign flipped where the sign bit of x is set."""
    sign = b.copysign(number(b, 1.0), x)
    return b.mul(value, sign)


def _second_kind(b: ScalarBuilder, name: str, x: Value, order: int) -> Value:
    """Y for x > 0, -inf at 0, NaN below."""
    low = at_most(b, x, 3.0)
    z = b.sub(b.mul(low, low), number(b, 4.5))
    rest = polynomial(b, z, (tables.Y1_LOW if order else tables.Y0_LOW)[name])
    part = b.mul(log(b, low), _first_kind(b, name, low, order))
    if order:
        part = b.sub(part, b.div(number(b, 1.0), low))
        rest = b.mul(rest, low)
    below = b.fma(part, number(b, 2.0 / math.pi), rest)
    middle = at_least(b, at_most(b, x, 8.0), 3.0)
    between = polynomial(b, b.sub(middle, number(b, 5.5)), (tables.Y1_MID if order else tables.Y0_MID)[name])
    value = b.select(b.lt(x, number(b, 3.0)), below, between)
    value = b.select(b.lt(x, number(b, 8.0)), value, _far(b, name, x, order, True))
    value = b.select(b.eq(x, number(b, 0.0)), number(b, -math.inf), value)
    return b.select(b.lt(x, number(b, 0.0)), number(b, math.nan), value)


@in_double
def bessel_y0(b: ScalarBuilder, name: str, x: Value) -> Value:
    """Y of order 0, for x > 0."""
    return _second_kind(b, name, x, 0)


@in_double
def bessel_y1(b: ScalarBuilder, name: str, x: Value) -> Value:
    """Y of order 1, for x > 0."""
    return _second_kind(b, name, x, 1)

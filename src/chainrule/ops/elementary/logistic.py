"""sinc, logit and softplus."""

from __future__ import annotations

import math

from ...backends.base import ScalarBuilder, Value
from .exponential import exp
from .gamma_family import in_double, number, sin_cos_pi
from .logarithm import atanh, log, log1p


@in_double
def sinc(b: ScalarBuilder, name: str, x: Value) -> Value:
    """sin(pi x) / (pi x), 1 at 0."""
    a = b.abs(x)
    sine, _ = sin_cos_pi(b, name, a)
    parity = b.mul(b.round_even(a), number(b, 0.5))
    sine = b.select(b.ne(b.floor(parity), parity), b.neg(sine), sine)
    value = b.div(sine, b.mul(a, number(b, math.pi)))
    value = b.select(b.lt(a, number(b, 1e-10)), number(b, 1.0), value)
    return b.select(b.eq(a, number(b, math.inf)), number(b, 0.0), value)


@in_double
def logit(b: ScalarBuilder, name: str, p: Value) -> Value:
    """log(p / (1 - p)); near 1/2 as 2 atanh(2 p - 1)."""
    one = number(b, 1.0)
    t = b.sub(b.add(p, p), one)
    central = b.lt(b.abs(t), number(b, 0.5))
    near = atanh(b, b.select(central, t, number(b, 0.0)))
    far = log(b, b.div(p, b.sub(one, p)))
    return b.select(central, b.add(near, near), far)


def softplus(b: ScalarBuilder, x: Value) -> Value:
    """log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|))."""
    zero = b.const(0.0, x.dtype)
    tail = log1p(b, exp(b, b.neg(b.abs(x))))
    return b.add(b.select(b.lt(x, zero), zero, x), tail)


@in_double
def entr(b: ScalarBuilder, name: str, x: Value) -> Value:
    """-x log(x), 0 at 0, -inf below."""
    zero = number(b, 0.0)
    value = b.neg(b.mul(x, log(b, x)))
    value = b.select(b.eq(x, zero), zero, value)
    return b.select(b.lt(x, zero), number(b, -math.inf), value)

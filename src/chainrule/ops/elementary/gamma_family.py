"""The gamma function and its relatives: gamma, lgamma, digamma, polygamma, betaln and Poisson's weight.

Computed in double precision; for float32 with shorter polynomials, and rounded once. Arguments are moved to an interval
of length one by the recurrence, or taken by Stirling's series; negative ones are reflected.
Reference: NIST Digital Library of Mathematical Functions, chapter 5. Loader, Fast and accurate computation of binomial
probabilities, 2000 (`poisson_weight`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...backends.base import ScalarBuilder, Value
from ...dtypes import float64
from . import gamma_tables as tables
from .common import at_least, polynomial
from .exponential import exp
from .logarithm import log, log1p
from .power import pow

HALF_LOG_TAU = 0.9189385332046728
SQRT_TAU = 2.5066282746310002
#: B(2 j) / (2 j)! of Euler and Maclaurin's sum, j = 1, 2, ...
BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000, 43867 / 5109094217170944000, -174611 / 802857662698291200000,
    77683 / 14101100039391805440000, -236364091 / 1693824136731743669452800000,
)  # fmt: skip
#: so many terms are summed before the tail
TERMS = 10


def in_double(function: Callable[..., Value]) -> Callable[..., Value]:
    """``function(b, *operands)`` by ``function(b, precision, *operands)``, whose operands are float64."""

    def wrapped(b: ScalarBuilder, *operands: Value) -> Value:
        dtype = operands[0].dtype
        if dtype is float64:
            return function(b, "float64", *operands)
        return b.cast(function(b, "float32", *(b.cast(x, float64) for x in operands)), dtype)

    wrapped.__name__ = wrapped.__qualname__ = function.__name__
    wrapped.__doc__ = function.__doc__
    wrapped.__wrapped__ = function  # type: ignore[attr-defined]
    return wrapped


def number(b: ScalarBuilder, value: float) -> Value:
    """A float64 constant."""
    return b.const(value, float64)


def sin_cos_pi(b: ScalarBuilder, name: str, x: Value) -> tuple[Value, Value]:
    """sin(pi r) and cos(pi r) for r = x - round(x), which are those of pi x up to their sign."""
    r = b.sub(x, b.round_even(x))
    a = b.abs(r)
    steep = b.gt(a, number(b, 0.25))
    t = b.select(steep, b.sub(number(b, 0.5), a), a)
    z = b.mul(t, t)
    sine = b.mul(t, b.fma(z, polynomial(b, z, tables.SIN_PI[name]), number(b, math.pi)))
    cosine = b.fma(z, polynomial(b, z, tables.COS_PI[name]), number(b, 1.0))
    return b.copysign(b.select(steep, cosine, sine), r), b.select(steep, sine, cosine)


def is_pole(b: ScalarBuilder, x: Value) -> Value:
    """Whether x is 0 or a negative whole number."""
    return b.and_(b.eq(b.floor(x), x), b.le(x, number(b, 0.0)))


def stirling_rest(b: ScalarBuilder, name: str, inverse: Value) -> Value:
    """lgamma(x) - ((x - 1/2) log(x) - x + log(2 pi) / 2) for x >= 8, given 1 / x."""
    return b.mul(inverse, polynomial(b, b.mul(inverse, inverse), tables.STIRLING[name]))


def _lgamma_positive(b: ScalarBuilder, name: str, a: Value) -> Value:
    one, half = number(b, 1.0), number(b, 0.5)
    small, large = b.lt(a, number(b, 0.65)), b.ge(a, number(b, 8.0))
    y, product = a, one
    for _ in range(6):
        over = b.gt(y, number(b, 2.5))
        y = b.select(over, b.sub(y, one), y)
        product = b.select(over, b.mul(product, y), product)
    # lgamma(a) = lgamma(1 + a) - log(a) for small a, whose 1 + a is not rounded
    near_one = b.lt(b.select(small, b.add(a, one), y), number(b, 1.45))
    low = b.select(near_one, a, b.sub(a, one))
    z = b.select(small, low, b.sub(y, b.select(near_one, one, number(b, 2.0))))
    at_one, at_two = (polynomial(b, z, table[name]) for table in (tables.LGAMMA_ONE, tables.LGAMMA_TWO))
    value = b.mul(z, b.select(near_one, at_one, at_two))
    logarithm = log(b, b.select(b.or_(small, large), a, product))
    series = b.fma(b.sub(a, half), b.sub(logarithm, one), number(b, HALF_LOG_TAU - 0.5))
    series = b.add(series, stirling_rest(b, name, b.div(one, a)))
    series = b.select(b.lt(a, number(b, math.inf)), series, a)
    return b.select(large, series, b.select(small, b.sub(value, logarithm), b.add(value, logarithm)))


@in_double
def lgamma(b: ScalarBuilder, name: str, x: Value) -> Value:
    """log |gamma(x)|; infinite at the poles."""
    a = b.abs(x)
    positive = _lgamma_positive(b, name, a)
    sine, _ = sin_cos_pi(b, name, x)
    reflected = log(b, b.mul(b.abs(sine), b.mul(a, number(b, 1 / math.pi))))
    tiny = b.lt(a, number(b, 2.0**-70))
    reflected = b.select(tiny, positive, b.sub(b.neg(reflected), positive))
    result = b.select(b.lt(x, number(b, 0.0)), reflected, positive)
    return b.select(is_pole(b, x), number(b, math.inf), result)


def gamma_factors(b: ScalarBuilder, name: str, a: Value) -> tuple[Value, Value]:
    """Two factors of gamma(a) for a >= -1/2, neither of which overflows where 1 / gamma(a) is not 0."""
    one = number(b, 1.0)
    large = b.ge(a, number(b, 12.0))
    y, product = a, one
    for _ in range(10):
        over = b.gt(y, number(b, 2.5))
        y = b.select(over, b.sub(y, one), y)
        product = b.select(over, b.mul(product, y), product)
    below_half, below_more = b.lt(a, number(b, 0.5)), b.lt(a, number(b, 1.5))
    divisor = b.select(below_half, b.mul(a, b.add(a, one)), b.select(below_more, a, one))
    z = b.select(below_half, a, b.select(below_more, b.sub(a, one), b.sub(y, number(b, 2.0))))
    moderate = b.div(b.mul(polynomial(b, z, tables.GAMMA_TWO[name]), product), divisor)
    # sqrt(2 pi) a**(a - 1/2) exp(-a + rest), the power in two equal parts
    w = pow(b, a, b.fma(a, number(b, 0.5), number(b, -0.25)))
    rest = exp(b, stirling_rest(b, name, b.div(one, a)))
    second = b.mul(b.mul(w, exp(b, b.neg(a))), b.mul(rest, number(b, SQRT_TAU)))
    return b.select(large, w, moderate), b.select(large, second, one)


@in_double
def gamma(b: ScalarBuilder, name: str, x: Value) -> Value:
    """The gamma function; NaN at negative whole numbers, an infinity of the sign of x at 0."""
    zero = number(b, 0.0)
    reflect = b.lt(x, number(b, -0.5))
    a = b.select(reflect, b.neg(x), x)
    first, second = gamma_factors(b, name, a)
    sine, _ = sin_cos_pi(b, name, x)
    parity = b.mul(b.round_even(x), number(b, 0.5))
    sine = b.select(b.ne(b.floor(parity), parity), b.neg(sine), sine)
    below = b.div(b.div(b.div(number(b, math.pi), b.mul(a, sine)), first), second)
    above = b.mul(first, second)
    above = b.select(b.gt(x, number(b, 171.7)), number(b, math.inf), above)
    below = b.select(b.lt(x, number(b, -190.0)), b.mul(sine, zero), below)
    result = b.select(reflect, below, above)
    result = b.select(b.eq(x, zero), b.copysign(number(b, math.inf), x), result)
    bad = b.and_(b.lt(x, zero), b.eq(b.floor(x), x))
    return b.select(b.or_(bad, b.ne(x, x)), number(b, math.nan), result)


@in_double
def digamma(b: ScalarBuilder, name: str, x: Value) -> Value:
    """The derivative of lgamma; NaN at negative whole numbers, an infinity of the sign of -x at 0."""
    zero, one = number(b, 0.0), number(b, 1.0)
    negative = b.lt(x, zero)
    t = b.select(negative, b.sub(one, x), x)
    below = b.lt(t, one)
    y = b.select(below, b.add(t, one), t)
    numerator, denominator = b.select(below, number(b, -1.0), zero), b.select(below, t, one)
    for _ in range(8):
        over = b.gt(y, number(b, 2.0))
        y = b.select(over, b.sub(y, one), y)
        numerator = b.select(over, b.fma(numerator, y, denominator), numerator)
        denominator = b.select(over, b.mul(denominator, y), denominator)
    high, low = tables.DIGAMMA_ROOT
    factor = b.sub(b.sub(y, number(b, high)), number(b, low))
    value = b.mul(factor, polynomial(b, b.sub(y, number(b, 1.5)), tables.DIGAMMA[name]))
    value = b.add(value, b.div(numerator, denominator))
    inverse = b.div(one, t)
    w = b.mul(inverse, inverse)
    rest = b.fma(w, polynomial(b, w, tables.DIGAMMA_TAIL[name]), b.mul(inverse, number(b, 0.5)))
    value = b.select(b.ge(t, number(b, 10.0)), b.sub(log(b, t), rest), value)
    sine, cosine = sin_cos_pi(b, name, x)
    value = b.select(negative, b.sub(value, b.div(b.mul(cosine, number(b, math.pi)), sine)), value)
    value = b.select(b.eq(x, zero), b.copysign(number(b, math.inf), b.neg(x)), value)
    return b.select(b.and_(negative, b.eq(b.floor(x), x)), number(b, math.nan), value)


def integer_power(b: ScalarBuilder, x: Value, n: int) -> Value:
    """x**n for n >= 1 by squaring."""
    result = None
    while n:
        if n & 1:
            result = x if result is None else b.mul(result, x)
        n >>= 1
        if n:
            x = b.mul(x, x)
    assert result is not None
    return result


def _zeta_positive(b: ScalarBuilder, s: int, t: Value) -> Value:
    """sum over k >= 0 of (t + k)**-s for t > 0 by Euler and Maclaurin's formula."""
    one = number(b, 1.0)
    y = b.add(t, number(b, float(TERMS)))
    inverse = b.div(one, y)
    w = b.mul(inverse, inverse)
    factors, rising = [], 1.0
    for j, bernoulli in enumerate(BERNOULLI):
        rising = float(s) if j == 0 else rising * (s + 2 * j - 1) * (s + 2 * j)
        factors.append(bernoulli * rising)
    total = b.fma(b.fma(w, polynomial(b, w, tuple(factors)), b.mul(inverse, number(b, 0.5))), one, number(b, 0.0))
    total = b.add(total, number(b, 1.0 / (s - 1)))
    total = b.mul(total, integer_power(b, inverse, s - 1))
    for k in reversed(range(TERMS)):
        inverse = b.div(one, b.add(t, number(b, float(k))) if k else t)
        total = b.add(total, integer_power(b, inverse, s))
    return total


def cotangent_derivative(n: int) -> list[int]:
    """P with d^n/dx^n cot(x) = P(cot(x)), lowest power first."""
    coefficients = [0, 1]
    for _ in range(n):
        slope = [i * c for i, c in enumerate(coefficients)][1:]
        result = [0] * (len(slope) + 2)
        for i, c in enumerate(slope):
            result[i] -= c
            result[i + 2] -= c
        coefficients = result
    return coefficients


def polygamma(n: int) -> Callable[..., Value]:
    """The n-th derivative of digamma, n >= 1: (-1)**(n + 1) n! times the sum of (x + k)**-(n + 1)."""

    def scalar(b: ScalarBuilder, name: str, x: Value) -> Value:
        """The function of this order; infinite at the poles."""
        zero = number(b, 0.0)
        negative = b.lt(x, zero)
        t = b.select(negative, b.sub(number(b, 1.0), x), x)
        value = b.mul(_zeta_positive(b, n + 1, t), number(b, (-1.0) ** (n + 1) * float(math.factorial(n))))
        sine, cosine = sin_cos_pi(b, name, x)
        scale = math.pi ** (n + 1)
        powers = polynomial(b, b.div(cosine, sine), tuple(-scale * float(c) for c in cotangent_derivative(n)))
        reflected = b.add(powers, value if n % 2 == 0 else b.neg(value))
        infinite = number(b, math.inf if n % 2 else -math.inf)
        return b.select(is_pole(b, x), infinite, b.select(negative, reflected, value))

    return in_double(scalar)


@in_double
def betaln(b: ScalarBuilder, name: str, x: Value, y: Value) -> Value:
    """log |gamma(x) gamma(y) / gamma(x + y)|, for two large arguments without cancellation."""
    one, eight = number(b, 1.0), number(b, 8.0)
    more = b.gt(x, y)
    p, q = b.select(more, x, y), b.select(more, y, x)
    total = b.add(p, q)
    log_q = _lgamma_any(b, name, q)
    plain = b.sub(b.add(_lgamma_any(b, name, p), log_q), _lgamma_any(b, name, total))
    rest = b.sub(stirling_rest(b, name, b.div(one, p)), stirling_rest(b, name, b.div(one, total)))
    shared = b.mul(b.sub(number(b, 0.5), p), log1p(b, b.div(q, p)))
    log_total = log(b, total)
    one_large = b.add(b.add(log_q, rest), b.add(b.sub(q, b.mul(q, log_total)), shared))
    both = b.add(rest, stirling_rest(b, name, b.div(one, q)))
    both = b.add(both, b.fma(log(b, q), number(b, -0.5), number(b, HALF_LOG_TAU)))
    both = b.add(both, b.add(shared, b.mul(q, log(b, b.div(q, total)))))
    series = b.select(b.ge(q, eight), both, one_large)
    return b.select(b.and_(b.ge(p, eight), b.gt(q, number(b, 0.0))), series, plain)


def _lgamma_any(b: ScalarBuilder, name: str, x: Value) -> Value:
    return lgamma.__wrapped__(b, name, x)  # type: ignore[attr-defined]


@in_double
def poisson_weight(b: ScalarBuilder, name: str, a: Value, x: Value) -> Value:
    """x**a exp(-x) / gamma(a + 1) for a >= 0 and x >= 0, accurate for large a (Loader's saddle point)."""
    one, zero = number(b, 1.0), number(b, 0.0)
    first, second = gamma_factors(b, name, at_least(b, b.add(a, one), 0.5))
    direct = b.div(b.mul(pow(b, x, a), exp(b, b.neg(x))), b.mul(first, second))
    inverse = b.div(one, a)
    m = b.mul(b.sub(x, a), inverse)
    near = b.and_(b.gt(m, number(b, -0.35)), b.lt(m, number(b, 0.5)))
    series = b.mul(b.mul(b.mul(a, m), m), polynomial(b, b.select(near, m, zero), tables.LOG1PMX[name]))
    apart = b.sub(b.mul(a, log(b, b.mul(x, inverse))), b.sub(x, a))
    exponent = b.select(near, series, apart)
    saddle = exp(b, b.sub(exponent, stirling_rest(b, name, inverse)))
    saddle = b.div(saddle, b.sqrt(b.mul(a, number(b, 2 * math.pi))))
    result = b.select(b.ge(a, number(b, 10.0)), saddle, direct)
    endless = b.or_(b.eq(x, number(b, math.inf)), b.eq(a, number(b, math.inf)))
    result = b.select(b.and_(endless, b.ne(a, x)), zero, result)
    known = b.and_(b.ge(a, zero), b.ge(x, zero))
    return b.select(known, result, number(b, math.nan))

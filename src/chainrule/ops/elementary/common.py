"""What the elementary functions share: constants by format, polynomials, exact sums and products.

Every function takes a `ScalarBuilder` and values of float32 or float64, appends branch-free code and
returns the result. Polynomial coefficients were fitted by weighted least squares with reweighting
towards the minimax solution (in 80 digits, rounding one coefficient after another).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...backends.base import ScalarBuilder, Value
from ...dtypes import DType, float32, float64, int32, int64
from ...errors import DTypeError


@dataclass(frozen=True)
class Format:
    """A floating-point format.

    ``integer``: the signed integer type of the same size; ``mantissa``: stored bits of the mantissa;
    ``bias``: of the exponent; ``magic``: 1.5 * 2**mantissa, whose sum with a small number is that
    number rounded to a whole one, in its low bits; ``one``: the bits of 1.0.
    """

    dtype: DType
    integer: DType
    mantissa: int
    bias: int

    @property
    def magic(self) -> float:
        return 1.5 * 2.0**self.mantissa

    @property
    def one(self) -> int:
        return self.bias << self.mantissa

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)


SINGLE = Format(float32, int32, 23, 127)
DOUBLE = Format(float64, int64, 52, 1023)


def format_of(x: Value) -> Format:
    """The format of a value; raises DTypeError unless it is float32 or float64."""
    if x.dtype is float32:
        return SINGLE
    if x.dtype is float64:
        return DOUBLE
    raise DTypeError(f"elementary functions are for float32 and float64, not {x.dtype.name}")


def polynomial(b: ScalarBuilder, x: Value, coefficients: tuple[float, ...]) -> Value:
    """sum(c[i] * x**i), lowest power first.

    Longer polynomials are split into even and odd powers (and those again), which shortens the chain
    of dependent operations: latency, not the number of operations, limits short loops.
    """
    if len(coefficients) >= 5:
        square = b.mul(x, x)
        return b.fma(x, polynomial(b, square, coefficients[1::2]), polynomial(b, square, coefficients[::2]))
    result = b.const(coefficients[-1], x.dtype)
    for c in reversed(coefficients[:-1]):
        result = b.fma(result, x, b.const(c, x.dtype))
    return result


def estrin(b: ScalarBuilder, x: Value, coefficients: tuple[float, ...]) -> Value:
    """`polynomial` as a tree of pairs: the shortest chain, for a product more.

    A processor holds a limited number of operations that wait for others, so that a loop over elements takes time
    in proportion to the chain too.
    """
    terms = [b.const(c, x.dtype) for c in coefficients]
    while len(terms) > 1:
        pairs = [b.fma(high, x, low) for low, high in zip(terms[::2], terms[1::2])]
        terms = pairs + terms[2 * len(pairs) :]
        if len(terms) > 1:
            x = b.mul(x, x)
        if len(terms) % 2 and len(terms) > 1:  # no further power of x for a last one that is alone
            last = terms.pop()
            terms[-1] = b.fma(last, x, terms[-1])
    return terms[0]


def at_most(b: ScalarBuilder, x: Value, limit: float) -> Value:
    """The lesser of x and a constant, NaN kept (one instruction, unlike `minimum`)."""
    bound = b.const(limit, x.dtype)
    return b.select(b.gt(x, bound), bound, x)


def at_least(b: ScalarBuilder, x: Value, limit: float) -> Value:
    """The greater of x and a constant, NaN kept."""
    bound = b.const(limit, x.dtype)
    return b.select(b.lt(x, bound), bound, x)


def negated_product_sum(b: ScalarBuilder, x: Value, constant: float, c: Value) -> Value:
    """c - x * constant, with the sign in the constant."""
    return b.fma(x, b.const(-constant, x.dtype), c)


def two_sum(b: ScalarBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    """The rounded sum and its exact error (Knuth)."""
    high = b.add(x, y)
    part = b.sub(high, x)
    return high, b.add(b.sub(x, b.sub(high, part)), b.sub(y, part))


def fast_two_sum(b: ScalarBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    """`two_sum` for an x whose exponent is not below that of y (Dekker)."""
    high = b.add(x, y)
    return high, b.sub(y, b.sub(high, x))


def two_product(b: ScalarBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    """The rounded product and its exact error: by fma, else by splitting the factors (Dekker)."""
    high = b.mul(x, y)
    if b.has_fma:
        return high, b.fma(x, y, b.neg(high))
    x_high, x_low = _halves(b, x)
    y_high, y_low = _halves(b, y)
    low = b.sub(b.mul(x_high, y_high), high)
    low = b.add(low, b.mul(x_high, y_low))
    low = b.add(low, b.mul(x_low, y_high))
    return high, b.add(low, b.mul(x_low, y_low))


def _halves(b: ScalarBuilder, x: Value) -> tuple[Value, Value]:
    """x as a sum of two numbers of half the precision (Veltkamp)."""
    scaled = b.mul(x, b.const(2.0 ** math.ceil((format_of(x).mantissa + 1) / 2) + 1.0, x.dtype))
    high = b.sub(scaled, b.sub(scaled, x))
    return high, b.sub(x, high)


def exact_remainder(b: ScalarBuilder, x: Value, quotient: Value, y: Value) -> Value:
    """x - quotient * y rounded once (exact if `quotient` is the rounded x / y and nothing underflows)."""
    if b.has_fma:
        return b.fma(b.neg(quotient), y, x)
    high, low = two_product(b, quotient, y)
    return b.sub(b.sub(x, high), low)


def power_of_two(
    b: ScalarBuilder, exponent: Value, form: Format, offset: int = 0, factor: Value | None = None
) -> Value:
    """2 ** (exponent + offset), or a normal `factor` times that, if it is normal too.

    `exponent` is an integer of which only the low bits count.
    """
    bits = b.shl(exponent, b.const(form.mantissa, form.integer))
    if factor is not None:
        bits = b.add(bits, b.bitcast(factor, form.integer))
    one = b.const((form.one if factor is None else 0) + (offset << form.mantissa), form.integer)
    return b.bitcast(b.add(bits, one) if one.literal else bits, form.dtype)


def small_integer_to_float(b: ScalarBuilder, n: Value, form: Format) -> Value:
    """The integer n, |n| < 2**(mantissa - 1), as a float (a vector conversion exists not everywhere)."""
    magic = b.const(form.magic, form.dtype)
    bits = b.add(n, b.bitcast(magic, form.integer))
    return b.sub(b.bitcast(bits, form.dtype), magic)

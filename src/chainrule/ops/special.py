"""Elementwise primitives: gamma and error functions, Bessel functions, and relatives of the logistic function.

All take floating operands and run in compiled loops. What they are worth, in units in the last place, stands in
`docs/special.md`. NumPy has none of them: the interpreter evaluates the same scalar code on arrays.
"""

from __future__ import annotations

import math

from . import elementary
from .elementary.arrays import on_arrays
from .elementwise import Binary, Unary
from .rules import add, div, emit, full_like, mul, neg, square, sub, where

ROOT_PI = math.sqrt(math.pi)
#: terms of the power series that stand for quotients by x near 0, where |x| < 1/2 (sinc) or 1 (Bessel)
SERIES_TERMS = 14


def series(z, coefficients):
    """sum(c[i] * z**i) as nodes, lowest power first."""
    result = full_like(z, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = add(mul(result, z), full_like(z, c))
    return result


def near_zero(x, limit):
    """Whether |x| < limit, x there (0 elsewhere), and x elsewhere (1 there): operands of the branches of a `where`."""
    close = emit("lt", emit("abs", x), full_like(x, limit))
    return close, where(close, x, full_like(x, 0.0)), where(close, full_like(x, 1.0), x)


class Special(Unary):
    """Family base: `numpy` is the scalar code on arrays."""

    def numpy(self, x):
        return on_arrays(self.scalar, x)


class Gamma(Special):
    """The gamma function, (x - 1)! of whole numbers; derivative y digamma(x)."""

    name = "gamma"

    def chain(self, node, c):
        return mul(c, mul(node, emit("digamma", node.inputs[0])))

    def scalar(self, b, x):
        return elementary.gamma(b, x)


class LogGamma(Special):
    """log |gamma(x)|; derivative digamma(x)."""

    name = "lgamma"

    def chain(self, node, c):
        return mul(c, emit("digamma", node.inputs[0]))

    def scalar(self, b, x):
        return elementary.lgamma(b, x)


class Digamma(Special):
    """The derivative of log |gamma(x)|; derivative polygamma of order 1."""

    name = "digamma"

    def chain(self, node, c):
        return mul(c, emit("polygamma", node.inputs[0], attributes=(1,)))

    def scalar(self, b, x):
        return elementary.digamma(b, x)


class Polygamma(Special):
    """The derivative of digamma of order n >= 1; derivative the same of order n + 1."""

    name = "polygamma"
    attributes = ("order",)

    def chain(self, node, c):
        return mul(c, emit("polygamma", node.inputs[0], attributes=(self.order + 1,)))

    def scalar(self, b, x):
        return elementary.polygamma(self.order)(b, x)


class Erfc(Special):
    """1 - erf(x), not rounded to 0 where it is small; derivative -2/sqrt(pi) exp(-x**2)."""

    name = "erfc"

    def chain(self, node, c):
        x = node.inputs[0]
        return mul(c, mul(emit("exp", neg(square(x))), full_like(x, -2.0 / ROOT_PI)))

    def scalar(self, b, x):
        return elementary.erfc(b, x)


class Erfcx(Special):
    """exp(x**2) erfc(x); derivative 2 x y - 2/sqrt(pi), without its cancellation for large x."""

    name = "erfcx"

    def chain(self, node, c):
        return mul(c, emit("erfcx_derivative", node.inputs[0], attributes=(1,)))

    def scalar(self, b, x):
        return elementary.erfcx(b, x)


class ErfcxDerivative(Special):
    """The derivative of erfcx of order n >= 1, accurate for all x; derivative the same of order n + 1."""

    name = "erfcx_derivative"
    attributes = ("order",)

    def chain(self, node, c):
        return mul(c, emit("erfcx_derivative", node.inputs[0], attributes=(self.order + 1,)))

    def scalar(self, b, x):
        return elementary.erfcx_derivative(self.order)(b, x)


class Erfinv(Special):
    """The number whose erf is x, for |x| <= 1; derivative sqrt(pi)/2 exp(y**2)."""

    name = "erfinv"

    def chain(self, node, c):
        return mul(c, mul(emit("exp", square(node)), full_like(node, 0.5 * ROOT_PI)))

    def scalar(self, b, x):
        return elementary.erfinv(b, x)


class Erfcinv(Special):
    """The number whose erfc is x, for 0 <= x <= 2; derivative -sqrt(pi)/2 exp(y**2)."""

    name = "erfcinv"

    def chain(self, node, c):
        return mul(c, mul(emit("exp", square(node)), full_like(node, -0.5 * ROOT_PI)))

    def scalar(self, b, x):
        return elementary.erfcinv(b, x)


class Ndtr(Special):
    """The standard normal distribution function; derivative exp(-x**2 / 2) / sqrt(2 pi)."""

    name = "ndtr"

    def chain(self, node, c):
        x = node.inputs[0]
        density = emit("exp", mul(square(x), full_like(x, -0.5)))
        return mul(c, mul(density, full_like(x, 1.0 / math.sqrt(2.0 * math.pi))))

    def scalar(self, b, x):
        return elementary.ndtr(b, x)


class LogNdtr(Special):
    """The logarithm of the normal distribution function; derivative sqrt(2/pi) / erfcx(-x / sqrt(2))."""

    name = "log_ndtr"

    def chain(self, node, c):
        x = node.inputs[0]
        scaled = emit("erfcx", mul(x, full_like(x, -math.sqrt(0.5))))
        return mul(c, div(full_like(x, math.sqrt(2.0 / math.pi)), scaled))

    def scalar(self, b, x):
        return elementary.log_ndtr(b, x)


class Ndtri(Special):
    """The inverse of the normal distribution function; derivative sqrt(2 pi) exp(y**2 / 2)."""

    name = "ndtri"

    def chain(self, node, c):
        grown = emit("exp", mul(square(node), full_like(node, 0.5)))
        return mul(c, mul(grown, full_like(node, math.sqrt(2.0 * math.pi))))

    def scalar(self, b, x):
        return elementary.ndtri(b, x)


class Sinc(Special):
    """sin(pi x) / (pi x), 1 at 0; derivative (cos(pi x) - y) / x, near 0 by its power series."""

    name = "sinc"

    def chain(self, node, c):
        x = node.inputs[0]
        close, low, high = near_zero(x, 0.5)
        terms = [(-1) ** k * math.pi ** (2 * k) * 2 * k / math.factorial(2 * k + 1) for k in range(1, SERIES_TERMS)]
        below = mul(low, series(square(low), tuple(terms)))
        above = div(sub(emit("cos", mul(high, full_like(x, math.pi))), emit("sinc", high)), high)
        return mul(c, where(close, below, above))

    def scalar(self, b, x):
        return elementary.sinc(b, x)


class Logit(Special):
    """log(x / (1 - x)); derivative 1 / (x (1 - x))."""

    name = "logit"

    def chain(self, node, c):
        x = node.inputs[0]
        return div(c, mul(x, sub(full_like(x, 1.0), x)))

    def scalar(self, b, x):
        return elementary.logit(b, x)


class Softplus(Special):
    """log(1 + exp(x)) without overflow; derivative sigmoid(x)."""

    name = "softplus"

    def chain(self, node, c):
        return mul(c, emit("sigmoid", node.inputs[0]))

    def scalar(self, b, x):
        return elementary.softplus(b, x)


class BetaLog(Binary):
    """log |gamma(a) gamma(b) / gamma(a + b)|; partial derivatives digamma of the operand less digamma(a + b)."""

    name = "betaln"

    def chain(self, node, c, i):
        a, b = node.inputs
        return mul(c, sub(emit("digamma", node.inputs[i]), emit("digamma", add(a, b))))

    def numpy(self, a, b):
        return on_arrays(self.scalar, a, b)

    def scalar(self, b, x, y):
        return elementary.betaln(b, x, y)


class PoissonWeight(Binary):
    """x**a exp(-x) / gamma(a + 1), for a, x >= 0; derivatives y (log(x) - digamma(a + 1)) and y (a / x - 1).

    Where x is 0 both derivatives are taken as 0 but for the limits -1 (a = 0) and 1 (a = 1) of the second.
    """

    name = "poisson_weight"

    def chain(self, node, c, i):
        a, x = node.inputs
        one, zero = full_like(x, 1.0), full_like(x, 0.0)
        inside = emit("gt", x, zero)
        safe = where(inside, x, one)
        if i == 0:
            slope = mul(node, sub(emit("log", safe), emit("digamma", add(a, one))))
            return mul(c, where(inside, slope, zero))
        at_zero = sub(indicator(a, 1.0), indicator(a, 0.0))
        return mul(c, where(inside, mul(node, sub(div(a, safe), one)), at_zero))

    def numpy(self, a, x):
        return on_arrays(self.scalar, a, x)

    def scalar(self, b, a, x):
        return elementary.poisson_weight(b, a, x)


def indicator(x, value):
    """1 where x equals `value`, else 0."""
    return where(emit("eq", x, full_like(x, value)), full_like(x, 1.0), full_like(x, 0.0))


class Entr(Special):
    """-x log(x), 0 at 0 and -inf below; derivative -log(x) - 1."""

    name = "entr"

    def chain(self, node, c):
        x = node.inputs[0]
        return neg(mul(c, add(emit("log", x), full_like(x, 1.0))))

    def scalar(self, b, x):
        return elementary.entr(b, x)

"""The incomplete gamma and beta functions, as integrals over a half line by the double exponential rule.

The integrand is taken in the logarithm of its variable (or in the variable, above the limit), divided by its value at
the limit, which is a density known to full accuracy; the smaller of the two sides is integrated. 60 points in float64,
38 in float32, see to the accuracy that `docs/special.md` states, for small and large parameters alike, and the same
integrals with a logarithm in them are the derivatives with respect to the parameters. So all is ordinary nodes,
computed in float64 in one loop, and can be differentiated again. The points are computed too: what stands for a
primitive holds no arrays.

Reference: Takahasi and Mori, Double exponential formulas for numerical integration, 1974; NIST Digital Library of
Mathematical Functions, sections 8.2 and 8.17.
"""

from __future__ import annotations

import math

import numpy as np

from ..dtypes import DType, float64
from ..graph.node import Node, topological
from .base import emit
from .elementwise import Binary, Elementwise
from .expressions import Expression, choose
from .leaf import constant
from .rules import broadcast, cast, mul

#: step of the rule by dtype, and its ends
STEP = {"float64": 0.125}
COARSE_STEP = 0.2
ENDS = 3.72
#: terms of the power series for a < 1 and x < 1/2
TERMS = 16


def places(count: int) -> Expression:
    """The numbers 0, 1, ..., `count` - 1."""
    return Expression(emit("iota", attributes=((count,), 0, float64)))


def rule(dtype: DType) -> tuple[int, Expression, Expression]:
    """Number, points and weights for integrals over v > 0 of what decays on the scale of 1: v = exp(y - exp(-y))."""
    step = STEP.get(dtype.name, COARSE_STEP)
    count = math.ceil(2 * ENDS / step)
    y = places(count) * step - ENDS
    falling = (-y).then("exp")
    points = (y - falling).then("exp")
    return count, points, points * (falling + 1.0) * step


def along(values: Expression, like: Expression) -> Expression:
    """`values` along the last of the axes of `like`, repeated along the others."""
    shape = like.node.shape
    return Expression(broadcast(values.node, shape, (len(shape) - 1,)))


class GammaIntegral:
    """The parts of P(a, x) and Q(a, x) for a, x > 0, finite: float64 expressions.

    `left`: P is what was integrated. `series`: a < 1 and x < 1/2, where a power series serves instead.
    """

    def __init__(self, a: Expression, x: Expression, dtype: DType):
        self.a, self.x, self.dtype = a, x, dtype
        self.left = (a >= 1.0) & (x <= a)
        self.series = (a < 1.0) & (x < 0.5)

    def integrals(self, slope: bool) -> tuple[Expression, Expression | None]:
        """The integral of the scaled integrand and, if asked for, that of its product with log(t / x)."""
        count, points, weights = rule(self.dtype)
        a, x, left = self.a, self.x, self.left
        distance = choose(left, a - x, (x - a).then("maximum", 0.0))
        scale = 1.5 / (0.5 * distance + choose(left, a, x).then("sqrt"))
        wide = scale.spread(count)
        v = wide * along(points, wide)
        below, a_wide, x_wide = left.spread(count), a.spread(count), x.spread(count)
        # log(t / x) is -v on the left, where t = x exp(-v), and log1p(v) on the right, where t = x (1 + v)
        ratio = choose(below, -v, v.then("log1p"))
        growth = choose(below, (-v).then("expm1"), v)
        exponent = choose(below, a_wide, a_wide - 1.0) * ratio - x_wide * growth
        values = exponent.then("exp") * along(weights, wide)
        return values.total() * scale, (values * ratio).total() * scale if slope else None

    def power_series(self, slope: bool) -> tuple[Expression, Expression | None]:
        """s = sum over k > 0 of a (-1)**(k + 1) x**k / (k! (a + k)), P = x**a / gamma(a + 1) (1 - s); and ds/da."""
        k = places(TERMS - 1) + 1.0
        signs = 1.0 - 2.0 * (k + 1.0).then("remainder", 2.0)
        inside = choose(self.series, self.x, 0.25)
        a = self.a.spread(TERMS - 1)
        k_wide = along(k, a)
        powers = (inside.then("log").spread(TERMS - 1) * k_wide).then("exp")
        terms = powers * along(signs / (k + 1.0).then("gamma"), a)
        divisor = a + k_wide
        value = (terms * a / divisor).total()
        return value, (terms * k_wide / (divisor * divisor)).total() if slope else None

    def weight(self) -> Expression:
        """x**a exp(-x) / gamma(a + 1)."""
        return self.a.then("poisson_weight", self.x)

    def lower(self) -> Expression:
        """P(a, x)."""
        weight = self.weight()
        side = weight * self.a * self.integrals(False)[0]
        small = weight * self.x.then("exp") * (1.0 - self.power_series(False)[0])
        return choose(self.series, small, choose(self.left, side, 1.0 - side))

    def upper(self) -> Expression:
        """Q(a, x) = 1 - P(a, x)."""
        weight = self.weight()
        side = weight * self.a * self.integrals(False)[0]
        exponent = self.a * self.x.then("log") - (self.a + 1.0).then("lgamma")
        small = weight * self.x.then("exp") * self.power_series(False)[0] - exponent.then("expm1")
        return choose(self.series, small, choose(self.left, 1.0 - side, side))

    def lower_by_parameter(self) -> Expression:
        """dP/da: of the integrated side (log(x) - digamma(a)) times it and the mean of log(t / x)."""
        a, x, weight = self.a, self.x, self.weight()
        log_x = x.then("log")
        value, slope = self.integrals(True)
        assert slope is not None
        side = weight * a * ((log_x - a.then("digamma")) * value + slope)
        s, ds = self.power_series(True)
        assert ds is not None
        small = weight * x.then("exp") * ((log_x - (a + 1.0).then("digamma")) * (1.0 - s) - ds)
        return choose(self.series, small, choose(self.left, side, -side))


def finish(value: Expression, dtype: DType) -> Node:
    """The node in the operands' dtype."""
    return cast(value.node, dtype)


def wide(node: Node) -> Expression:
    """The operand in float64."""
    return Expression(cast(node, float64))


class Composite(Elementwise):
    """Family base: a function of several operands of one type that stands for other nodes, its `expand`."""

    family = "reduction"

    def evaluate_expansion(self, *operands: np.ndarray) -> np.ndarray:
        """The value of `expand` by NumPy, node by node."""
        values: dict[int, np.ndarray] = {}
        root = self.expand(*(constant(np.array(operand)) for operand in operands))
        with np.errstate(all="ignore"):
            for node in topological([root]):
                if node.value is not None:
                    values[id(node)] = node.value
                else:
                    values[id(node)] = np.asarray(node.op.evaluate(node.dtype, [values[id(i)] for i in node.inputs]))
        return values[id(root)]

    def numpy(self, *operands):
        return self.evaluate_expansion(*operands)


class GammaIncomplete(Composite, Binary):
    """P(a, x), the part of gamma(a) = integral of t**(a - 1) exp(-t) that lies below x, for a, x >= 0.

    Derivatives x**(a - 1) exp(-x) / gamma(a) in x, and in a the integral of (log(t) - digamma(a)) times the density.
    """

    name = "gammainc"

    def expand(self, a, x):
        """The integral and its limits: 0 at x = 0 or infinite a, 1 at a = 0 or infinite x."""
        return self._expanded(a, x, False)

    def _expanded(self, a: Node, x: Node, upper: bool) -> Node:
        shape, limit = wide(a), wide(x)
        zero, one = limit.constant(0.0), limit.constant(1.0)
        endless, proper = limit.equals(math.inf), (limit >= 0.0) & (limit < math.inf)
        known = (shape > 0.0) & (shape < math.inf) & (limit > 0.0) & ~endless
        found = GammaIntegral(choose(known, shape, one), choose(known, limit, one), a.dtype)
        inside = (found.upper() if upper else found.lower()).then("minimum", 1.0).then("maximum", 0.0)
        at_low = (limit.equals(0.0) & (shape > 0.0)) | (shape.equals(math.inf) & proper)
        at_high = (endless & (shape >= 0.0) & (shape < math.inf)) | (shape.equals(0.0) & (limit > 0.0))
        low, high = (one, zero) if upper else (zero, one)
        rest = choose(at_low, low, choose(at_high, high, math.nan))
        return finish(choose(known, inside, rest), a.dtype)

    sign = 1.0

    def chain(self, node, c, i):
        """c times the density of gamma at x, or times the derivative by a."""
        a, x = (wide(operand) for operand in node.inputs)
        slope = density(a, x) if i else self._by_parameter(a, x, node.dtype)
        return mul(c, finish(slope * self.sign, node.dtype))

    def _by_parameter(self, a: Expression, x: Expression, dtype: DType) -> Expression:
        known = (a > 0.0) & (a < math.inf) & (x > 0.0) & (x < math.inf)
        found = GammaIntegral(choose(known, a, 1.0), choose(known, x, 1.0), dtype)
        return choose(known, found.lower_by_parameter(), 0.0)


class GammaIncompleteComplement(GammaIncomplete):
    """Q(a, x) = 1 - P(a, x), with its digits kept where it is small; its derivatives are those of P with a minus."""

    name = "gammaincc"
    sign = -1.0

    def expand(self, a, x):
        """The integral and its limits: 1 at x = 0 or infinite a, 0 at a = 0 or infinite x."""
        return self._expanded(a, x, True)


def density(a: Expression, x: Expression) -> Expression:
    """x**(a - 1) exp(-x) / gamma(a): for a >= 1 the weight of a - 1, else that of a times a / x."""
    large = a >= 1.0
    at_least_one = choose(large, a - 1.0, 0.0).then("poisson_weight", x)
    at_zero = x.equals(0.0)
    safe = choose(large | at_zero, 1.0, x)
    below = choose(large, 0.5, a).then("poisson_weight", safe) * a / safe
    return choose(large, at_least_one, choose(at_zero, math.inf, below))


def gamma_slope(a: Node, z: Node) -> Node:
    """dz/da of gamma's quantile z at constant probability, for a >= 1: -dP/da / (dP/dz), without cancellation.

    With p the density, that is -z times the integral of (log(t) - digamma(a)) t p(t) / (z p(z)) over log(t) below z,
    or its negative over those above: the expectation of log(t) - digamma(a) is 0.
    """
    a_wide, z_wide = wide(a), wide(z).then("maximum", 1e-300)
    found = GammaIntegral(a_wide, z_wide, a.dtype)
    value, slope = found.integrals(True)
    assert slope is not None
    side = z_wide * ((z_wide.then("log") - a_wide.then("digamma")) * value + slope)
    return finish(choose(found.left, -side, side), a.dtype)

"""The incomplete beta function, by the integral of `incomplete` over log(t), from the limit to the nearer end."""

from __future__ import annotations

import math

from ..dtypes import DType
from ..graph.node import Node
from .expressions import Expression, choose
from .incomplete import Composite, along, finish, rule, wide
from .rules import mul, sum_parts


class BetaIntegral:
    """The parts of I(a, b; x) for a, b > 0, finite, and 0 < x < 1: float64 expressions.

    Above the mean x is replaced by 1 - x and a by b, so that the integral always runs from x to 0; a below 1 is raised
    by 1, with x**a (1 - x)**b / (a B(a, b)) added.
    """

    def __init__(self, a: Expression, b: Expression, x: Expression, dtype: DType):
        self.a, self.b, self.dtype = a, b, dtype
        y = 1.0 - x
        self.swapped = x * (a + b) > a
        self.p, self.q = choose(self.swapped, b, a), choose(self.swapped, a, b)
        self.x, self.y = choose(self.swapped, y, x), choose(self.swapped, x, y)

    def front(self) -> Expression:
        """x**p (1 - x)**q / (p B(p, q)), by three Poisson weights."""
        n = self.p + self.q
        weights = self.p.then("poisson_weight", n * self.x) * self.q.then("poisson_weight", n * self.y)
        return weights / n.then("poisson_weight", n) * self.q / n

    def integrals(self, slopes: bool) -> tuple[Expression, ...]:
        """The integral of the scaled integrand and, if asked for, those times log(t / x) and log((1 - t) / (1 - x))."""
        count, points, weights = rule(self.dtype)
        p = choose(self.p < 1.0, self.p + 1.0, self.p)
        odds, more = self.x / self.y, self.q - 1.0
        bend = more.then("maximum", 0.0) * odds
        scale = 1.5 / (0.5 * (p - bend).then("maximum", 0.0) + p.then("maximum", bend / self.y).then("sqrt"))
        spread = scale.spread(count)
        v = spread * along(points, spread)
        # t = x exp(-v), and the growth of 1 - t
        grown = (odds.spread(count) * -(-v).then("expm1")).then("log1p")
        values = (more.spread(count) * grown - p.spread(count) * v).then("exp") * along(weights, spread)
        scale = scale / self.y
        found = [values, values * -v, values * grown] if slopes else [values]
        return tuple(value.total() * scale for value in found)

    def smaller(self) -> Expression:
        """The integrated side: I(p, q; x)."""
        front, raised = self.front(), self.p < 1.0
        factor = self._raised_factor(raised)
        return front * (factor * self.integrals(False)[0] + choose(raised, 1.0, front.constant(0.0)))

    def _raised_factor(self, raised: Expression) -> Expression:
        """What `front` is multiplied by to be x**p (1 - x)**q / B(p, q), of p + 1 where `raised`."""
        return choose(raised, self.x * (self.p + self.q), self.p)

    def value(self) -> Expression:
        """I(a, b; x)."""
        side = self.smaller()
        return choose(self.swapped, 1.0 - side, side)

    def by_parameter(self, i: int) -> Expression:
        """dI/da (i = 0) or dI/db (i = 1): log(t) or log(1 - t) less its expectation, under the integral."""
        front, raised = self.front(), self.p < 1.0
        factor = self._raised_factor(raised)
        value, log_t, log_rest = self.integrals(True)
        total = (self.p + self.q).then("digamma")
        one, zero = front.constant(1.0), front.constant(0.0)
        # of p: front is x**p (1 - x)**q gamma(p + q) / (gamma(p + 1) gamma(q))
        slope_p = self.x.then("log") + total - (self.p + 1.0).then("digamma")
        slope_q = self.y.then("log") + total - self.q.then("digamma")
        factor_p = choose(raised, self.x, one)
        factor_q = choose(raised, self.x, zero)
        extra = choose(raised, one, zero)
        by_p = front * ((factor * slope_p + factor_p) * value + factor * log_t + slope_p * extra)
        by_q = front * ((factor * slope_q + factor_q) * value + factor * log_rest + slope_q * extra)
        return choose(self.swapped, -by_q, by_p) if i == 0 else choose(self.swapped, -by_p, by_q)


class BetaIncomplete(Composite):
    """I(a, b; x), the part of the beta function's integral of t**(a - 1) (1 - t)**(b - 1) below x, as a fraction.

    Derivatives x**(a - 1) (1 - x)**(b - 1) / B(a, b) in x, and in a and b integrals of the density's logarithm.
    """

    name = "betainc"

    def infer(self, a, b, x):
        """The common shape and dtype."""
        if a.shape != b.shape or a.shape != x.shape or a.dtype is not b.dtype or a.dtype is not x.dtype:
            self.refuse_pair((a, b, x))
        if a.dtype.kind not in self.kinds:
            self.refuse_kind((a, b, x))
        return a.shape, a.dtype

    def expand(self, a, b, x):
        """The integral and its limits: 0 at x = 0, 1 at x = 1, steps for parameters of 0 or infinity."""
        first, second, limit = wide(a), wide(b), wide(x)
        known, found = self._inside(first, second, limit, a.dtype)
        zero, one = limit.constant(0.0), limit.constant(1.0)
        degenerate = first.equals(0.0) | second.equals(math.inf)
        opposite = second.equals(0.0) | first.equals(math.inf)
        proper = (first >= 0.0) & (second >= 0.0) & (limit >= 0.0) & (limit <= 1.0) & ~(degenerate & opposite)
        full = (limit.equals(1.0) & ~opposite) | (degenerate & (limit > 0.0)) | limit.equals(1.0)
        rest = choose(proper, choose(full, one, zero), math.nan)
        return finish(choose(known, found.value(), rest), a.dtype)

    def _inside(self, a: Expression, b: Expression, x: Expression, dtype: DType) -> tuple[Expression, BetaIntegral]:
        known = (a > 0.0) & (a < math.inf) & (b > 0.0) & (b < math.inf) & (x > 0.0) & (x < 1.0)
        return known, BetaIntegral(choose(known, a, 1.0), choose(known, b, 1.0), choose(known, x, 0.5), dtype)

    def partial(self, node: Node, i: int) -> Node:
        """The derivative by operand i; 0 in a and b at the ends."""
        a, b, x = (wide(operand) for operand in node.inputs)
        known, found = self._inside(a, b, x, node.dtype)
        if i < 2:
            return finish(choose(known, found.by_parameter(i), 0.0), node.dtype)
        safe = choose(known, x, 0.5)
        density = found.front() * found.p / (safe * (1.0 - safe))
        low = choose(a.equals(1.0), b, choose(a > 1.0, a.constant(0.0), math.inf))
        high = choose(b.equals(1.0), a, choose(b > 1.0, a.constant(0.0), math.inf))
        ends = choose(x.equals(0.0), low, choose(x.equals(1.0), high, math.nan))
        return finish(choose(known, density, ends), node.dtype)

    def vjp(self, node, cotangent, needed):
        """The cotangent times each partial derivative."""
        return tuple(mul(cotangent, self.partial(node, i)) if needed[i] else None for i in range(3))

    def jvp(self, node, tangents):
        """The sum of the tangents times the partial derivatives."""
        return sum_parts(*(mul(t, self.partial(node, i)) for i, t in enumerate(tangents) if t is not None))

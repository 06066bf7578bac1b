"""Elementwise primitives of random draws: derivatives that a rejection has, or has not, and counts by inversion."""

from __future__ import annotations

import numpy as np

from ..dtypes import float64
from ..errors import DifferentiationError
from .base import message
from .elementary.arrays import on_arrays
from .elementwise import Binary, Elementwise
from .expressions import Expression
from .incomplete import along, finish, gamma_slope, wide
from .leaf import constant
from .rules import mul

#: so many counts are tried one after another: a Poisson or binomial number of mean 10 reaches it once in 10**17 draws
COUNTS = 48
#: points of the integral for the derivative of von Mises' angles
POINTS = 48


class GammaDraw(Binary):
    """z, drawn from the gamma distribution of shape a >= 1; derivative by a at constant probability (implicit).

    z was found by rejection with a given a, so that only its distribution is a function of a: dz/da = -dP/da / (dP/dz)
    (Figurnov, Mohamed, Mnih: Implicit reparameterization gradients, 2018).
    """

    name = "gamma_draw"

    def chain(self, node, c, i):
        return None if i else mul(c, gamma_slope(node.inputs[0], node))

    def numpy(self, a, z):
        return np.array(z)

    def scalar(self, b, a, z):
        return z


class VonMisesDraw(Binary):
    """z, drawn from the angles around 0 of concentration a; derivative by a at constant probability, as of `GammaDraw`.

    With A the mean of cos(t), dz/da is sign(z) times the integral of (cos(t) - A) exp(a (cos(t) - cos(z))) over t from
    |z| to pi: by Gauss and Legendre's rule up to where the exponential is below exp(-40).
    """

    name = "vonmises_draw"

    def chain(self, node, c, i):
        if i:
            return None
        concentration, angle = wide(node.inputs[0]), wide(node)
        z = angle.then("abs")
        mean = concentration.then("bessel_i1e") / concentration.then("bessel_i0e")
        cosine = z.then("cos")
        safe = concentration.then("maximum", 1e-3)
        end = (cosine - 40.0 / safe).then("maximum", -1.0).then("minimum", 1.0).then("acos").then("stop_gradient")
        points, weights = np.polynomial.legendre.leggauss(POINTS)
        length = (end - z).spread(POINTS)
        t = z.spread(POINTS) + length * along(Expression(constant(0.5 * (points + 1.0))), length)
        cosines = t.then("cos")
        grown = (concentration.spread(POINTS) * (cosines - cosine.spread(POINTS))).then("exp")
        values = (cosines - mean.spread(POINTS)) * grown * along(Expression(constant(0.5 * weights)), length)
        slope = (values * length).total() * angle.then("sign")
        return mul(c, finish(slope, node.dtype))

    def numpy(self, a, z):
        return np.array(z)

    def scalar(self, b, a, z):
        return z


class OpaqueDraw(Binary):
    """z, drawn by `draw` with `parameter` a, by which it has no derivative: asking for one is an error."""

    name = "opaque_draw"
    attributes = ("draw", "parameter")

    def chain(self, node, c, i):
        if i == 0:
            return c
        problem = f"the draw has no derivative by {self.parameter}: it is not a smooth function of it"
        help = f"detach {self.parameter}, or use the gradient of the log-probability"
        raise DifferentiationError(message(self.draw, problem, node.inputs[1:], help))

    def numpy(self, z, a):
        return np.array(z)

    def scalar(self, b, z, a):
        return z


class Quantile(Elementwise):
    """Family base: how many of the first `COUNTS` values of a distribution function lie at or below u.

    Computed in float64, also for other dtypes.
    """

    differentiable = False

    def infer(self, *operands):
        """The common shape and dtype."""
        for operand in operands:
            if operand.shape != operands[0].shape or operand.dtype is not operands[0].dtype:
                self.refuse_pair(operands)
        if operands[0].dtype.kind not in self.kinds:
            self.refuse_kind(operands)
        return operands[0].shape, operands[0].dtype

    def numpy(self, *operands):
        return on_arrays(self.scalar, *operands)

    def scalar(self, b, *operands):
        return b.cast(self.count(b, *(b.cast(x, float64) for x in operands)), operands[0].dtype)

    def counted(self, b, u, mass, step):
        """The count for the probability `mass` of 0 and the factors ``step(k)`` from k to k + 1."""
        zero, one = b.const(0.0, float64), b.const(1.0, float64)
        total, count = mass, zero
        for k in range(COUNTS):
            count = b.add(count, b.select(b.ge(u, total), one, zero))
            mass = b.mul(mass, step(k))
            total = b.add(total, mass)
        return count


class PoissonQuantile(Quantile):
    """The Poisson number of mean `rate` (at most 10) at probability u, given exp(-rate)."""

    name = "poisson_quantile"

    def count(self, b, u, rate, start):
        """The number for float64 operands."""
        return self.counted(b, u, start, lambda k: b.mul(rate, b.const(1.0 / (k + 1), float64)))


class BinomialQuantile(Quantile):
    """The binomial number of n trials with odds p / (1 - p) at probability u, given (1 - p)**n; n p at most 10."""

    name = "binomial_quantile"

    def count(self, b, u, trials, odds, start):
        """The number for float64 operands."""

        def step(k):
            left = b.mul(b.sub(trials, b.const(float(k), float64)), b.const(1.0 / (k + 1), float64))
            return b.mul(left, odds)

        return self.counted(b, u, start, step)

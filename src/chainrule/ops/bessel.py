"""Elementwise primitives: Bessel functions J, Y, I and K of orders 0 and 1.

All take floating operands and run in compiled loops; their accuracy stands in `docs/special.md`. Where a derivative has
a quotient by x, its power series stands for it near 0, so that derivatives of any order are right at 0 too.
"""

from __future__ import annotations

import math

from . import elementary
from .rules import add, div, emit, mul, neg, square, sub, where
from .special import SERIES_TERMS, Special, near_zero, series


def _series_of_quotient(sign: float) -> tuple[float, ...]:
    """J1(x) / x (sign -1) or I1(x) / x (sign 1) in powers of x**2."""
    return tuple(sign**k / (2.0 * 4.0**k * math.factorial(k) * math.factorial(k + 1)) for k in range(SERIES_TERMS))


class BesselJ0(Special):
    """J0(x); derivative -J1(x)."""

    name = "bessel_j0"

    def chain(self, node, c):
        return neg(mul(c, emit("bessel_j1", node.inputs[0])))

    def scalar(self, b, x):
        return elementary.bessel_j0(b, x)


class BesselJ1(Special):
    """J1(x); derivative J0(x) - J1(x) / x."""

    name = "bessel_j1"

    def chain(self, node, c):
        x = node.inputs[0]
        close, low, high = near_zero(x, 1.0)
        below = series(square(low), _series_of_quotient(-1.0))
        quotient = where(close, below, div(emit("bessel_j1", high), high))
        return mul(c, sub(emit("bessel_j0", x), quotient))

    def scalar(self, b, x):
        return elementary.bessel_j1(b, x)


class BesselY0(Special):
    """Y0(x) for x > 0; derivative -Y1(x)."""

    name = "bessel_y0"

    def chain(self, node, c):
        return neg(mul(c, emit("bessel_y1", node.inputs[0])))

    def scalar(self, b, x):
        return elementary.bessel_y0(b, x)


class BesselY1(Special):
    """Y1(x) for x > 0; derivative Y0(x) - y / x."""

    name = "bessel_y1"

    def chain(self, node, c):
        x = node.inputs[0]
        return mul(c, sub(emit("bessel_y0", x), div(node, x)))

    def scalar(self, b, x):
        return elementary.bessel_y1(b, x)


class BesselI0(Special):
    """I0(x); derivative I1(x)."""

    name = "bessel_i0"

    def chain(self, node, c):
        return mul(c, emit("bessel_i1", node.inputs[0]))

    def scalar(self, b, x):
        return elementary.bessel_i0(b, x)


class BesselI1(Special):
    """I1(x); derivative I0(x) - I1(x) / x."""

    name = "bessel_i1"

    def chain(self, node, c):
        x = node.inputs[0]
        close, low, high = near_zero(x, 1.0)
        below = series(square(low), _series_of_quotient(1.0))
        quotient = where(close, below, div(emit("bessel_i1", high), high))
        return mul(c, sub(emit("bessel_i0", x), quotient))

    def scalar(self, b, x):
        return elementary.bessel_i1(b, x)


class BesselI0e(Special):
    """exp(-|x|) I0(x); derivative exp(-|x|) I1(x) - sign(x) y (0 at the kink at 0)."""

    name = "bessel_i0e"

    def chain(self, node, c):
        x = node.inputs[0]
        return mul(c, sub(emit("bessel_i1e", x), mul(emit("sign", x), node)))

    def scalar(self, b, x):
        return elementary.bessel_i0e(b, x)


class BesselI1e(Special):
    """exp(-|x|) I1(x); derivative exp(-|x|) (I0(x) - I1(x) / x) - sign(x) y."""

    name = "bessel_i1e"

    def chain(self, node, c):
        x = node.inputs[0]
        close, low, high = near_zero(x, 1.0)
        scale = emit("exp", neg(emit("abs", low)))
        below = mul(scale, series(square(low), _series_of_quotient(1.0)))
        quotient = where(close, below, div(emit("bessel_i1e", high), high))
        return mul(c, sub(sub(emit("bessel_i0e", x), quotient), mul(emit("sign", x), node)))

    def scalar(self, b, x):
        return elementary.bessel_i1e(b, x)


class BesselK0(Special):
    """K0(x) for x > 0; derivative -K1(x)."""

    name = "bessel_k0"

    def chain(self, node, c):
        return neg(mul(c, emit("bessel_k1", node.inputs[0])))

    def scalar(self, b, x):
        return elementary.bessel_k0(b, x)


class BesselK1(Special):
    """K1(x) for x > 0; derivative -K0(x) - y / x."""

    name = "bessel_k1"

    def chain(self, node, c):
        x = node.inputs[0]
        return neg(mul(c, add(emit("bessel_k0", x), div(node, x))))

    def scalar(self, b, x):
        return elementary.bessel_k1(b, x)


class BesselK0e(Special):
    """exp(x) K0(x) for x > 0; derivative y - exp(x) K1(x)."""

    name = "bessel_k0e"

    def chain(self, node, c):
        return mul(c, sub(node, emit("bessel_k1e", node.inputs[0])))

    def scalar(self, b, x):
        return elementary.bessel_k0e(b, x)


class BesselK1e(Special):
    """exp(x) K1(x) for x > 0; derivative y - exp(x) K0(x) - y / x."""

    name = "bessel_k1e"

    def chain(self, node, c):
        x = node.inputs[0]
        return mul(c, sub(sub(node, emit("bessel_k0e", x)), div(node, x)))

    def scalar(self, b, x):
        return elementary.bessel_k1e(b, x)

"""Elementwise primitives: roots, exponentials, trigonometric and hyperbolic functions, erf, sigmoid.

All take floating operands, and most complex ones (see `kinds`). Their accuracy is that of `elementary`: at most 4 units
in the last place; of complex numbers it is NumPy's.
"""

from __future__ import annotations

import math

import numpy as np

from . import elementary
from .elementwise import Binary, Unary
from .rules import add, div, emit, full_like, mul, neg, square, sub, where


def _one_minus_square(x):
    return sub(full_like(x, 1.0), square(x))


def _one_plus_square(x):
    return add(square(x), full_like(x, 1.0))


class Exp(Unary):
    """e ** x; derivative y."""

    name = "exp"
    kinds = "fc"
    numpy = np.exp

    def chain(self, node, c):
        return mul(c, node)

    def scalar(self, b, x):
        return elementary.exp(b, x)


class Expm1(Unary):
    """e ** x - 1, accurate near 0; derivative y + 1."""

    name = "expm1"
    kinds = "fc"

    def numpy(self, x):
        result = np.array(np.expm1(x))
        if x.dtype.kind != "c":
            return result
        result.real += 0  # of -0 the standard has 0
        special = np.array(np.exp(x))  # NumPy's expm1 makes NaN of infinities
        special.real -= 1
        return np.where(np.isfinite(x), result, special)

    def chain(self, node, c):
        return mul(c, add(node, full_like(node, 1.0)))

    def scalar(self, b, x):
        return elementary.expm1(b, x)


class Elu(Unary):
    """x where x > 0, else e ** x - 1.

    A primitive because of its derivative, which asks the result, not x: a network keeps the one anyway.
    """

    name = "elu"
    kinds = "f"

    def chain(self, node, c):
        slope = add(node, full_like(node, 1.0))
        return where(emit("le", node, full_like(node, 0)), mul(c, slope), c)

    def numpy(self, x):
        return np.where(x <= 0, np.expm1(np.minimum(x, 0)), x)

    def scalar(self, b, x):
        return b.select(b.le(x, b.const(0, x.dtype)), elementary.expm1(b, x), x)


class Log(Unary):
    """The natural logarithm; derivative 1 / x."""

    name = "log"
    kinds = "fc"
    numpy = np.log

    def chain(self, node, c):
        return div(c, node.inputs[0])

    def scalar(self, b, x):
        return elementary.log(b, x)


class Log1p(Unary):
    """log(1 + x), accurate near 0; derivative 1 / (1 + x)."""

    name = "log1p"
    kinds = "fc"

    def numpy(self, x):
        result = np.log1p(x)
        if x.dtype.kind != "c":
            return result
        small = np.abs(x) < 0.5  # NumPy takes the logarithm of |1 + x|, which has few digits of small x
        a, b = x.real, x.imag
        close = np.asarray(result).copy()
        close.real = np.log1p(a * (2 + a) + b * b) / 2
        return np.where(small, close, result)

    def chain(self, node, c):
        x = node.inputs[0]
        return div(c, add(x, full_like(x, 1.0)))

    def scalar(self, b, x):
        return elementary.log1p(b, x)


class Sqrt(Unary):
    """The square root, correctly rounded; derivative 1 / (2 y)."""

    name = "sqrt"
    kinds = "fc"
    numpy = np.sqrt

    def chain(self, node, c):
        return div(c, add(node, node))

    def scalar(self, b, x):
        return b.sqrt(x)


class Rsqrt(Unary):
    """1 / sqrt(x); derivative -y / (2 x)."""

    name = "rsqrt"
    kinds = "fc"

    def chain(self, node, c):
        x = node.inputs[0]
        return neg(mul(c, div(node, add(x, x))))

    def numpy(self, x):
        return np.divide(x.dtype.type(1), np.sqrt(x))

    def scalar(self, b, x):
        return b.div(b.const(1, x.dtype), b.sqrt(x))


class Sin(Unary):
    """The sine of x radians; derivative cos x."""

    name = "sin"
    kinds = "fc"
    numpy = np.sin

    def chain(self, node, c):
        return mul(c, emit("cos", node.inputs[0]))

    def scalar(self, b, x):
        return elementary.sin(b, x)


class Cos(Unary):
    """The cosine of x radians; derivative -sin x."""

    name = "cos"
    kinds = "fc"
    numpy = np.cos

    def chain(self, node, c):
        return neg(mul(c, emit("sin", node.inputs[0])))

    def scalar(self, b, x):
        return elementary.cos(b, x)


class Tan(Unary):
    """The tangent of x radians; derivative 1 + y**2."""

    name = "tan"
    kinds = "fc"
    numpy = np.tan

    def chain(self, node, c):
        return mul(c, _one_plus_square(node))

    def scalar(self, b, x):
        return elementary.tan(b, x)


class Asin(Unary):
    """The angle in [-pi/2, pi/2] whose sine is x; derivative 1 / sqrt(1 - x**2)."""

    name = "asin"
    kinds = "fc"
    numpy = np.arcsin

    def chain(self, node, c):
        return mul(c, emit("rsqrt", _one_minus_square(node.inputs[0])))

    def scalar(self, b, x):
        return elementary.asin(b, x)


class Acos(Unary):
    """The angle in [0, pi] whose cosine is x; derivative -1 / sqrt(1 - x**2)."""

    name = "acos"
    kinds = "fc"
    numpy = np.arccos

    def chain(self, node, c):
        return neg(mul(c, emit("rsqrt", _one_minus_square(node.inputs[0]))))

    def scalar(self, b, x):
        return elementary.acos(b, x)


class Atan(Unary):
    """The angle in [-pi/2, pi/2] whose tangent is x; derivative 1 / (1 + x**2)."""

    name = "atan"
    kinds = "fc"
    numpy = np.arctan

    def chain(self, node, c):
        return div(c, _one_plus_square(node.inputs[0]))

    def scalar(self, b, x):
        return elementary.atan(b, x)


class Sinh(Unary):
    """The hyperbolic sine; derivative cosh x."""

    name = "sinh"
    kinds = "fc"
    numpy = np.sinh

    def chain(self, node, c):
        return mul(c, emit("cosh", node.inputs[0]))

    def scalar(self, b, x):
        return elementary.sinh(b, x)


class Cosh(Unary):
    """The hyperbolic cosine; derivative sinh x."""

    name = "cosh"
    kinds = "fc"
    numpy = np.cosh

    def chain(self, node, c):
        return mul(c, emit("sinh", node.inputs[0]))

    def scalar(self, b, x):
        return elementary.cosh(b, x)


class Tanh(Unary):
    """The hyperbolic tangent; derivative 1 - y**2."""

    name = "tanh"
    kinds = "fc"

    def numpy(self, x):
        result = np.array(np.tanh(x))
        if x.dtype.kind == "c":  # at infinity the imaginary part is a 0 with the sign of x's, whatever NumPy's has
            far = np.isinf(x.real) & np.isfinite(x.imag)
            result.imag[far] = np.copysign(0, x.imag[far])
        return result

    def chain(self, node, c):
        return mul(c, _one_minus_square(node))

    def scalar(self, b, x):
        return elementary.tanh(b, x)


class Asinh(Unary):
    """The inverse of sinh; derivative 1 / sqrt(x**2 + 1)."""

    name = "asinh"
    kinds = "fc"
    numpy = np.arcsinh

    def chain(self, node, c):
        return mul(c, emit("rsqrt", _one_plus_square(node.inputs[0])))

    def scalar(self, b, x):
        return elementary.asinh(b, x)


class Acosh(Unary):
    """The inverse of cosh, for x >= 1; derivative 1 / sqrt(x**2 - 1)."""

    name = "acosh"
    kinds = "fc"
    numpy = np.arccosh

    def chain(self, node, c):
        x = node.inputs[0]
        one = full_like(x, 1.0)
        if x.dtype.kind == "c":  # on the branch of y, which the root of the product leaves to the left of 0
            return mul(c, mul(emit("rsqrt", sub(x, one)), emit("rsqrt", add(x, one))))
        return mul(c, emit("rsqrt", sub(square(x), one)))

    def scalar(self, b, x):
        return elementary.acosh(b, x)


class Atanh(Unary):
    """The inverse of tanh, for |x| <= 1; derivative 1 / (1 - x**2)."""

    name = "atanh"
    kinds = "fc"
    numpy = np.arctanh

    def chain(self, node, c):
        return div(c, _one_minus_square(node.inputs[0]))

    def scalar(self, b, x):
        return elementary.atanh(b, x)


class Erf(Unary):
    """2/sqrt(pi) times the integral of exp(-t**2) from 0 to x; derivative 2/sqrt(pi) exp(-x**2)."""

    name = "erf"

    def chain(self, node, c):
        x = node.inputs[0]
        density = mul(emit("exp", neg(square(x))), full_like(x, 2.0 / math.sqrt(math.pi)))
        return mul(c, density)

    def numpy(self, x):
        # NumPy has no erf; the interpreter is for comparison, not for speed
        values = np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size)
        return values.reshape(x.shape).astype(x.dtype)

    def scalar(self, b, x):
        return elementary.erf(b, x)


class Sigmoid(Unary):
    """1 / (1 + exp(-x)), from exp(-|x|), so without overflow; derivative y (1 - y)."""

    name = "sigmoid"
    kinds = "fc"

    def chain(self, node, c):
        return mul(c, mul(node, sub(full_like(node, 1.0), node)))

    def numpy(self, x):
        one = x.dtype.type(1)
        if x.dtype.kind == "c":
            left = x.real < 0
            e = np.exp(np.where(left, x, -x))
            return np.where(left, e, one) / (one + e)
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, np.where(x >= 0, one, x)) / (one + e)

    def scalar(self, b, x):
        return elementary.sigmoid(b, x)


class Atan2(Binary):
    """The angle in [-pi, pi] of the point with ordinate a and abscissa b."""

    name = "atan2"
    numpy = np.arctan2

    def chain(self, node, c, i):
        a, b = node.inputs
        scaled = div(c, add(square(a), square(b)))
        return neg(mul(scaled, a)) if i else mul(scaled, b)

    def scalar(self, b, x, y):
        return elementary.atan2(b, x, y)

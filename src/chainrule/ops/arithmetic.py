"""Elementwise primitives: arithmetic, rounding, extremes, division with remainder, powers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..dtypes import real_dtype
from . import elementary
from .elementwise import Binary, Unary
from .rules import add, cast, div, emit, full_like, mul, neg, square, sub, where

#: whether `numpy.sign` of complex numbers has the standard's meaning
NUMPY_2 = np.lib.NumpyVersion(np.__version__) >= "2.0.0"


class Neg(Unary):
    """-x; unsigned integers wrap."""

    name = "neg"
    kinds = "iufc"
    numpy = np.negative

    def chain(self, node, c):
        return neg(c)

    def scalar(self, b, x):
        return b.neg(x)


class Abs(Unary):
    """|x|, a real number for complex x; the derivative at 0 is 0. The smallest signed integer stays as it is."""

    name = "abs"
    kinds = "iufc"
    numpy = np.absolute

    def infer(self, x):
        """The operand's shape, and the dtype of its real part."""
        shape, dtype = super().infer(x)
        return shape, real_dtype(dtype)

    def chain(self, node, c):
        return mul(c, emit("sign", node.inputs[0]))

    def vjp(self, node, cotangent, needed):
        """c sign(x), of complex x conjugated."""
        x = node.inputs[0]
        if x.dtype.kind != "c":
            return (self.chain(node, cotangent),)
        return (mul(cast(cotangent, x.dtype), emit("conj", emit("sign", x))),)

    def jvp(self, node, tangents):
        """The part of the tangent that lies along x."""
        x = node.inputs[0]
        if x.dtype.kind != "c":
            return self.chain(node, tangents[0])
        return emit("real", mul(emit("conj", emit("sign", x)), tangents[0]))

    def scalar(self, b, x):
        return x if x.dtype.kind == "u" else b.abs(x)


class Relu(Unary):
    """0 where x <= 0, else x; NaN stays NaN.

    A primitive because of its derivative, which asks the result, not x: a network keeps the one anyway.
    """

    name = "relu"
    kinds = "iuf"

    def chain(self, node, c):
        zero = full_like(node, 0)
        return where(emit("le", node, zero), full_like(c, 0.0), c)

    def scalar(self, b, x):
        zero = b.const(0, x.dtype)
        return b.select(b.le(x, zero), zero, x)

    def numpy(self, x):
        return np.where(x <= 0, np.zeros((), x.dtype), x)


class Sign(Unary):
    """-1, 0 or 1 as x is below, at or above 0; NaN stays NaN. Of complex x: x / |x|, and 0 for 0."""

    name = "sign"
    kinds = "iufc"

    def numpy(self, x):
        if x.dtype.kind != "c" or NUMPY_2:
            return np.sign(x)
        size = np.abs(x)
        return np.where(x == 0, np.zeros((), x.dtype), x / np.where(size == 0, size.dtype.type(1), size))

    def vjp(self, node, cotangent, needed):
        """(c - Re(c y) conj(y)) / |x| for complex x, 0 for real x."""
        return (self._turned(node, cotangent, node, emit("conj", node)) if node.dtype.kind == "c" else None,)

    def jvp(self, node, tangents):
        """The part of the tangent across x, over |x|, for complex x, 0 for real x."""
        return self._turned(node, tangents[0], emit("conj", node), node) if node.dtype.kind == "c" else None

    def _turned(self, node, c, onto, along):
        size = emit("abs", node.inputs[0])
        across = sub(c, mul(cast(emit("real", mul(c, onto)), node.dtype), along))
        zero = emit("eq", size, full_like(size, 0.0))
        rate = emit("reciprocal", where(zero, full_like(size, 1.0), size))  # finite, and so are its derivatives
        rate = where(zero, full_like(size, 0.0), rate)
        return mul(across, cast(rate, node.dtype))

    def scalar(self, b, x):
        zero, one = b.const(0, x.dtype), b.const(1, x.dtype)
        rest = b.select(b.eq(x, zero), zero, x) if x.dtype.kind == "f" else zero
        if x.dtype.kind != "u":
            rest = b.select(b.lt(x, zero), b.const(-1, x.dtype), rest)
        return b.select(b.gt(x, zero), one, rest)


class Square(Unary):
    """x * x."""

    name = "square"
    kinds = "iufc"
    numpy = np.square

    def chain(self, node, c):
        x = node.inputs[0]
        return mul(c, add(x, x))

    def scalar(self, b, x):
        return b.mul(x, x)


class Reciprocal(Unary):
    """1 / x."""

    name = "reciprocal"
    kinds = "fc"

    def chain(self, node, c):
        return neg(mul(c, square(node)))

    def numpy(self, x):
        return np.reciprocal(x) if x.dtype.kind == "c" else np.divide(x.dtype.type(1), x)

    def scalar(self, b, x):
        return b.div(b.const(1, x.dtype), x)


class Rounding(Unary):
    """Family base: to a whole number; integers stay as they are; the derivative is zero."""

    kinds = "iuf"
    function: ClassVar[np.ufunc]

    def numpy(self, x):
        return self.function(x) if x.dtype.kind in "fc" else x


class Floor(Rounding):
    """The largest whole number not above x."""

    name = "floor"
    function = np.floor

    def scalar(self, b, x):
        return b.floor(x) if x.dtype.kind == "f" else x


class Ceil(Rounding):
    """The smallest whole number not below x."""

    name = "ceil"
    function = np.ceil

    def scalar(self, b, x):
        return b.ceil(x) if x.dtype.kind == "f" else x


class Trunc(Rounding):
    """x without its fraction."""

    name = "trunc"
    function = np.trunc

    def scalar(self, b, x):
        return b.trunc(x) if x.dtype.kind == "f" else x


class Round(Rounding):
    """The nearest whole number, the even one of two; of complex numbers of each part."""

    name = "round"
    kinds = "iufc"
    function = np.rint

    def scalar(self, b, x):
        return b.round_even(x) if x.dtype.kind == "f" else x


class Add(Binary):
    """a + b."""

    name = "add"
    kinds = "iufc"
    numpy = np.add

    def chain(self, node, c, i):
        return c

    def scalar(self, b, x, y):
        return b.add(x, y)


class Sub(Binary):
    """a - b."""

    name = "sub"
    kinds = "iufc"
    numpy = np.subtract

    def chain(self, node, c, i):
        return neg(c) if i else c

    def jvp(self, node, tangents):
        """The difference of the tangents."""
        a, b = tangents
        return a if b is None else neg(b) if a is None else sub(a, b)

    def scalar(self, b, x, y):
        return b.sub(x, y)


class Mul(Binary):
    """a * b."""

    name = "mul"
    kinds = "iufc"
    numpy = np.multiply

    def chain(self, node, c, i):
        return mul(c, node.inputs[1 - i])

    def scalar(self, b, x, y):
        return b.mul(x, y)


class Div(Binary):
    """a / b for floating operands."""

    name = "div"
    kinds = "fc"
    numpy = np.divide

    def chain(self, node, c, i):
        quotient = div(c, node.inputs[1])
        return neg(mul(quotient, node)) if i else quotient

    def vjp(self, node, cotangent, needed):
        """c / b, and -(c / b) y."""
        quotient = div(cotangent, node.inputs[1])
        return (quotient if needed[0] else None, neg(mul(quotient, node)) if needed[1] else None)

    def scalar(self, b, x, y):
        return b.div(x, y)


class Extremum(Binary):
    """Family base: of two numbers one, NaN if either is; at ties each gets half of the derivative."""

    kinds = "iuf"
    order: ClassVar[tuple[str, str]]

    def chain(self, node, c, i):
        a, b = node.inputs
        shared = where(emit("eq", a, b), mul(c, full_like(c, 0.5)), full_like(c, 0.0))
        return where(emit(self.order[i], a, b), c, shared)


class Maximum(Extremum):
    """The larger of a and b, NaN if either is NaN."""

    name = "maximum"
    order = ("gt", "lt")
    numpy = np.maximum

    def scalar(self, b, x, y):
        return b.maximum(x, y)


class Minimum(Extremum):
    """The smaller of a and b, NaN if either is NaN."""

    name = "minimum"
    order = ("lt", "gt")
    numpy = np.minimum

    def scalar(self, b, x, y):
        return b.minimum(x, y)


class Remainder(Binary):
    """a - b floor(a / b), with the sign of b; integers by 0 give 0.

    Floating results are rounded once at most, for quotients up to 2**104; beyond, they are 0.
    """

    name = "remainder"
    kinds = "iuf"
    numpy = np.remainder

    def chain(self, node, c, i):
        return neg(mul(c, emit("floor_divide", *node.inputs))) if i else c

    def scalar(self, b, x, y):
        return elementary.remainder(b, x, y)


class FloorDivide(Binary):
    """floor(a / b); integers by 0 give 0, floating numbers by 0 an infinity or NaN. The derivative is zero.

    With infinities it is a / b, as the Array API prefers: Python and NumPy have NaN for inf // 2 and -1 for 5 // -inf.
    """

    name = "floor_divide"
    kinds = "iuf"

    def numpy(self, a, b):
        """`numpy.floor_divide`, a / b where one of both is infinite."""
        result = np.floor_divide(a, b)
        if a.dtype.kind != "f":
            return result
        return np.where(np.isinf(a) | np.isinf(b), np.divide(a, b), result)

    def scalar(self, b, x, y):
        return elementary.floor_divide(b, x, y)


class Pow(Binary):
    """a ** b; for negative integer exponents the quotient's whole part (0 unless |a| is 1).

    The derivative with respect to a is 0 where b is 0, and with respect to b is 0 where a is 0 and b >= 0.
    """

    name = "pow"
    kinds = "iufc"

    def chain(self, node, c, i):
        a, b = node.inputs
        if i:  # y log(a), with log(1) where a is 0 and y is 0
            return mul(c, mul(node, emit("log", where(emit("eq", a, full_like(a, 0.0)), full_like(a, 1.0), a))))
        slope = mul(b, emit("pow", a, sub(b, full_like(b, 1.0))))
        zero = full_like(b, 0.0)
        return mul(c, where(emit("eq", b, zero), zero, slope))

    def numpy(self, a, b):
        if a.dtype.kind in "fc":
            return np.power(a, b)
        negative = b < 0
        power = np.power(a, np.where(negative, 0, b).astype(b.dtype))
        sign = np.where(a == 1, 1, np.where(a == -1, np.where(b & 1, -1, 1), 0)) if a.dtype.kind == "i" else 0
        return np.where(negative, sign, power).astype(a.dtype)

    def scalar(self, b, x, y):
        return elementary.pow(b, x, y)

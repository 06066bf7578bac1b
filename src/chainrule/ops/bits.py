"""Elementwise primitives that read floating-point numbers as bit patterns: neighbours and signs."""

from __future__ import annotations

import numpy as np

from ..dtypes import float64, int32, int64
from ..errors import DTypeError
from .base import emit
from .elementwise import Binary
from .logic import Predicate
from .rules import full_like, mul


class NextAfter(Binary):
    """The number next to a in the direction of b: b itself where they are equal, NaN if one of them is NaN.

    float32 and float64. The step changes at powers of two alone, so that the derivative is 1 with respect to a and 0
    with respect to b.
    """

    name = "nextafter"
    numpy = np.nextafter

    def infer(self, a, b):
        """As for all pairs; float16 and bfloat16 are refused, as operations on them run in float32."""
        if a.dtype.is_half:
            help = "convert with .astype(chainrule.float32)"
            self.reject("needs float32 or float64 operands", (a, b), help, DTypeError)
        return super().infer(a, b)

    def chain(self, node, c, i):
        return None if i else c

    def scalar(self, b, x, y):
        # away from zero the bits, read as an integer, count the numbers
        integer = int64 if x.dtype is float64 else int32
        zero, one = b.const(0.0, x.dtype), b.const(1, integer)
        bits = b.bitcast(x, integer)
        outward = b.not_(b.xor(b.gt(y, x), b.gt(x, zero)))
        moved = b.bitcast(b.select(outward, b.add(bits, one), b.sub(bits, one)), x.dtype)
        least = b.copysign(b.bitcast(one, x.dtype), y)
        moved = b.select(b.eq(x, zero), least, moved)
        moved = b.select(b.eq(x, y), y, moved)
        valid = b.and_(b.eq(x, x), b.eq(y, y))
        return b.select(valid, moved, b.add(x, y))


class CopySign(Binary):
    """The magnitude of a with the sign bit of b; its derivative at a = 0 is taken as 0."""

    name = "copysign"
    numpy = np.copysign

    def chain(self, node, c, i):
        if i:
            return None
        a, b = node.inputs
        return mul(c, emit("copysign", emit("abs", emit("sign", a)), mul_sign(a, b)))

    def scalar(self, b, x, y):
        return b.copysign(x, y)


def mul_sign(a, b):
    """A number whose sign bit is that of a b."""
    one = full_like(a, 1.0)
    return mul(emit("copysign", one, a), emit("copysign", one, b))


class SignBit(Predicate):
    """Whether the sign bit is set, of -0.0 and NaN too; of integers whether they are below 0."""

    name = "signbit"

    def numpy(self, x):
        """`numpy.signbit`; integers have no bit of their own for the sign."""
        return np.signbit(x) if x.dtype.kind == "f" else x < 0

    def scalar(self, b, x):
        if x.dtype.kind != "f":
            return b.lt(x, b.const(0, x.dtype))
        one = b.const(1.0, x.dtype)
        return b.lt(b.copysign(one, x), b.const(0.0, x.dtype))

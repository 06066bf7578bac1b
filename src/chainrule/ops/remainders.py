"""Remainders of divisions, exact for every operand, and the greatest common divisor. Both run by NumPy."""

from __future__ import annotations

import numpy as np

from ..dtypes import DType
from ..errors import DTypeError
from ..graph.node import Node
from .base import Primitive, emit, same_dtype
from .rules import add, all_lead, div, mul, neg


class HostPair(Primitive):
    """Family base: two operands of one shape and dtype, element by element."""

    family = "indexing"
    host = True

    def infer(self, a, b):
        """The operands' type."""
        dtype = same_dtype(self, (a, b))
        self.check_kind(dtype, (a, b))
        if a.shape != b.shape:
            self.reject("the operands have different shapes", (a, b))
        return a.shape, dtype

    def check_kind(self, dtype: DType, operands: tuple[Node, ...]) -> None:
        """Reject dtypes without this operation."""
        raise NotImplementedError

    def batch(self, inputs, batched, size):
        """The batch axis is one more axis."""
        return emit(self.name, *all_lead(inputs, batched, size))


class GreatestCommonDivisor(HostPair):
    """The greatest whole number that divides both operands; 0 of two zeros."""

    name = "gcd"
    differentiable = False

    def check_kind(self, dtype, operands):
        """Whole numbers alone."""
        if dtype.kind not in "iu":
            self.reject("needs whole numbers", operands, "convert with .astype(...)", DTypeError)

    def numpy(self, a, b):
        """`numpy.gcd`."""
        return np.gcd(a, b)


class Fmod(HostPair):
    """a - trunc(a / b) b, with the sign of a; exact, also where the quotient has more digits than the dtype."""

    name = "fmod"

    def check_kind(self, dtype, operands):
        """Real numbers alone."""
        if dtype.kind not in "f":
            self.reject("needs floating numbers", operands, "convert with .astype(...)", DTypeError)

    def _quotient(self, node: Node) -> Node:
        return emit("trunc", div(*node.inputs))

    def vjp(self, node, cotangent, needed):
        """The cotangent, and minus the quotient times it."""
        return (
            cotangent if needed[0] else None,
            neg(mul(cotangent, self._quotient(node))) if needed[1] else None,
        )

    def jvp(self, node, tangents):
        """The tangent of a, less the quotient times that of b."""
        a, b = tangents
        if b is None:
            return a
        part = neg(mul(b, self._quotient(node)))
        return part if a is None else add(a, part)

    def numpy(self, a, b):
        """`numpy.fmod`."""
        with np.errstate(all="ignore"):
            return np.fmod(a, b)

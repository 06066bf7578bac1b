"""Elementwise primitives between real and complex numbers: parts, conjugates, pairs.

Derivatives are transposed under Re(a b), so that no other rule conjugates (see `docs/complex.md`).
"""

from __future__ import annotations

import numpy as np

from ..dtypes import complex_dtype, real_dtype
from ..errors import DTypeError
from .base import emit
from .elementwise import Binary, Unary
from .rules import full_like, neg


class Part(Unary):
    """Family base: a real number of a complex one."""

    kinds = "c"
    host = True

    def infer(self, x):
        """The operand's shape, and the dtype of its parts."""
        shape, dtype = super().infer(x)
        return shape, real_dtype(dtype)

    def jvp(self, node, tangents):
        """The same part of the tangent."""
        return emit(self.name, tangents[0])


class Real(Part):
    """The real part."""

    name = "real"

    def vjp(self, node, cotangent, needed):
        """c + 0i."""
        return (emit("complex", cotangent, full_like(cotangent, 0.0)),)

    def numpy(self, x):
        return np.real(x)


class Imag(Part):
    """The imaginary part."""

    name = "imag"

    def vjp(self, node, cotangent, needed):
        """0 - ci, whose product with a tangent has the real part c times that of the tangent's imaginary part."""
        return (emit("complex", full_like(cotangent, 0.0), neg(cotangent)),)

    def numpy(self, x):
        return np.imag(x)


class Conj(Unary):
    """The complex number with the opposite imaginary part."""

    name = "conj"
    kinds = "c"
    host = True
    numpy = np.conjugate

    def chain(self, node, c):
        return emit("conj", c)


class Complex(Binary):
    """a + bi, of two real numbers of one dtype."""

    name = "complex"
    host = True

    def infer(self, a, b):
        """The common shape, and the complex dtype whose parts have the operands' dtype."""
        shape, dtype = super().infer(a, b)
        if dtype.is_half:
            self.reject("needs float32 or float64 operands", (a, b), "convert with .astype(...)", DTypeError)
        return shape, complex_dtype(dtype)

    def vjp(self, node, cotangent, needed):
        """Re c, and -Im c, which is the real part of c times i."""
        return (
            emit("real", cotangent) if needed[0] else None,
            neg(emit("imag", cotangent)) if needed[1] else None,
        )

    def jvp(self, node, tangents):
        """The pair of the tangents."""
        a, b = tangents
        zero = full_like(node.inputs[0], 0.0)
        return emit("complex", zero if a is None else a, zero if b is None else b)

    def numpy(self, a, b):
        result = np.empty(a.shape, np.result_type(a, np.complex64))
        result.real, result.imag = a, b
        return result

"""Primitives of linear algebra that are holomorphic in their operands: inverses, solutions, exponentials.

Their rules are those of real matrices, transposed without conjugation; the pseudoinverse alone needs the adjoint.
Matrices are the last two axes. Rules follow Giles 2008, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation", where nothing else is said.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import real_dtype
from ..errors import DTypeError
from .base import apply, emit
from .matrices import (
    Matrices,
    adjoint,
    conj,
    each,
    guarded,
    lower,
    matmul,
    transposed,
    upper,
    which,
)
from .rules import add, all_lead, full_like, neg, permute, reshape, sub, sum_parts


class Inverse(Matrices):
    """The inverse of square matrices."""

    name = "inv"

    def infer(self, a):
        """The operand's type."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        return a.shape, a.dtype

    def vjp(self, node, cotangent, needed):
        """-A^-T c A^-T."""
        turned = transposed(node)
        return (neg(matmul(turned, matmul(cotangent, turned))),)

    def jvp(self, node, tangents):
        """-A^-1 t A^-1."""
        return neg(matmul(node, matmul(tangents[0], node)))

    def numpy(self, a):
        """`numpy.linalg.inv`: LU with partial pivoting."""
        return guarded(np.linalg.inv, "is singular", a)


class System(Matrices):
    """Family base: the solution X of A X = B for square A, of n rows, and B of shape (..., n, k)."""

    def infer(self, a, b):
        """The type of b."""
        self.check_matrices(a, b)
        self.check_square(a, (a, b))
        if a.shape[-1] != b.shape[-2]:
            rows = f"the matrix has {a.shape[-1]} rows, the right-hand side has {b.shape[-2]}"
            self.reject(f"{rows} on axis -2", (a, b))
        return b.shape, b.dtype

    def transpose(self):
        """The primitive that solves A^T X = B, given A^T."""
        return self

    def part(self, a):
        """The part of A that matters."""
        return a

    def vjp(self, node, cotangent, needed):
        """A^-T c for B, and minus that times X^T for A."""
        a, _ = node.inputs
        turned = apply(self.transpose(), (transposed(a), cotangent))
        return (
            self.part(neg(matmul(turned, transposed(node)))) if needed[0] else None,
            turned if needed[1] else None,
        )

    def jvp(self, node, tangents):
        """A^-1 (t_B - t_A X)."""
        ta, tb = tangents
        side = sum_parts(tb, None if ta is None else neg(matmul(self.part(ta), node)))
        return apply(self, (node.inputs[0], side))

    def batch(self, inputs, batched, size):
        """One more leading axis; if the matrices are not batched, the right-hand sides are more columns."""
        a, b = inputs
        if batched[0]:
            return apply(self, all_lead(inputs, batched, size))
        rank, columns = len(b.shape), b.shape[-1]
        wide = permute(b, (*range(1, rank - 1), 0, rank - 1))
        solved = apply(self, (a, reshape(wide, (*wide.shape[:-2], size * columns))))
        return permute(reshape(solved, wide.shape), (rank - 2, *range(rank - 2), rank - 1))

    def work(self, node):
        """Elimination, and two triangles for each right-hand side."""
        n = node.inputs[0].shape[-1]
        return n**3 // 3 + n * n * node.shape[-1]


class Solve(System):
    """The solution X of A X = B, by LU with partial pivoting."""

    name = "solve"

    def numpy(self, a, b):
        """`numpy.linalg.solve`."""
        return guarded(np.linalg.solve, "is singular", a, b)


class TriangularSolve(System):
    """The solution X of A X = B, where only A's upper or lower triangle is read (its diagonal as ones if `unit`)."""

    name = "triangular_solve"
    attributes = ("lower", "unit")

    def transpose(self):
        """The other triangle."""
        return TriangularSolve(not self.lower, self.unit)

    def part(self, a):
        """The triangle."""
        return (lower if self.lower else upper)(a, strict=self.unit)

    def numpy(self, a, b):
        """Substitution by blocks."""
        if not self.unit:
            zero = (np.diagonal(a, axis1=-2, axis2=-1) == 0).any(-1)
            for index in each(a.shape[:-2]):
                if zero[index]:
                    raise np.linalg.LinAlgError(f"{which(index)} is singular: its diagonal has a zero")
        return _substituted(a, b, self.lower, self.unit)

    def work(self, node):
        """One triangle for each right-hand side."""
        return node.inputs[0].shape[-1] ** 2 * node.shape[-1] // 2


#: extent of the triangles that are solved by elimination; the rest is products
_BLOCK = 32


def _substituted(a: np.ndarray, b: np.ndarray, lower: bool, unit: bool) -> np.ndarray:
    n = a.shape[-1]
    if n <= _BLOCK:
        triangle = np.tril(a) if lower else np.triu(a)
        if unit:
            triangle = np.where(np.eye(n, dtype=bool), a.dtype.type(1), triangle)
        return np.linalg.solve(triangle, b)
    half = n // 2
    top, bottom = slice(0, half), slice(half, n)
    first, second = (top, bottom) if lower else (bottom, top)
    known = _substituted(a[..., first, first], b[..., first, :], lower, unit)
    rest = b[..., second, :] - a[..., second, first] @ known
    other = _substituted(a[..., second, second], rest, lower, unit)
    return np.concatenate((known, other) if lower else (other, known), -2)


class PseudoInverse(Matrices):
    """The Moore-Penrose inverse; singular values up to `rtol` times the largest count as zero.

    `rtol` has an element for each matrix. The derivative holds as long as the rank stays: Golub & Pereyra 1973, "The
    differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate".
    """

    name = "pinv"

    def infer(self, a, rtol):
        """The transpose's shape."""
        self.check_matrices(a)
        if rtol.shape != a.shape[:-2]:
            self.reject(f"rtol of shape {list(rtol.shape)} should have {list(a.shape[:-2])}", (a, rtol))
        if rtol.dtype is not real_dtype(a.dtype):
            self.reject(f"rtol should be {real_dtype(a.dtype).name}", (a, rtol), "", DTypeError)
        return (*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype

    def vjp(self, node, cotangent, needed):
        """-P^H g P^H + (1 - A P) g^H P P^H + P^H P g^H (1 - P A), of the conjugate g of the cotangent, conjugated."""
        if not needed[0]:
            return None, None
        a, p, g = node.inputs[0], node, conj(cotangent)
        ph, gh = adjoint(p), adjoint(g)
        middle = matmul(ph, matmul(g, ph))
        left = matmul(matmul(sub(gh, matmul(a, matmul(p, gh))), p), ph)
        right = matmul(ph, matmul(p, sub(gh, matmul(matmul(gh, p), a))))
        return conj(sub(add(left, right), middle)), None

    def jvp(self, node, tangents):
        """-P t P + P P^H t^H (1 - A P) + (1 - P A) t^H P^H P."""
        t = tangents[0]
        if t is None:
            return None
        a, p = node.inputs[0], node
        ph, th = adjoint(p), adjoint(t)
        middle = matmul(p, matmul(t, p))
        pt = matmul(p, matmul(ph, th))
        tp = matmul(matmul(th, ph), p)
        return add(sub(sub(pt, matmul(matmul(pt, a), p)), middle), sub(tp, matmul(p, matmul(a, tp))))

    def numpy(self, a, rtol):
        """`numpy.linalg.pinv`."""
        return guarded(np.linalg.pinv, "has no singular value decomposition", a, rtol)


class Exponential(Matrices):
    """The exponential of square matrices, by scaling and squaring of a Pade approximant of degree 13.

    Higham 2005, "The scaling and squaring method for the matrix exponential revisited". Derivatives are blocks of the
    exponential of a block triangular matrix, and so have derivatives of every order: Al-Mohy & Higham 2009, "Computing
    the Frechet derivative of the matrix exponential, with an application to condition number estimation", section 3.
    """

    name = "expm"

    def infer(self, a):
        """The operand's type."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        return a.shape, a.dtype

    def _along(self, a, t):
        """The derivative at a in the direction t."""
        rank, n = len(a.shape), a.shape[-1]
        above = emit("concat", a, t, attributes=(rank - 1,))
        below = emit("concat", full_like(a, 0.0), a, attributes=(rank - 1,))
        both = apply(self, (emit("concat", above, below, attributes=(rank - 2,)),))
        starts, stops = (0,) * (rank - 1) + (n,), (*a.shape[:-2], n, 2 * n)
        return emit("slice", both, attributes=(starts, stops, (1,) * rank))

    def vjp(self, node, cotangent, needed):
        """The derivative at A^T in the direction of the cotangent."""
        return (self._along(transposed(node.inputs[0]), cotangent),)

    def jvp(self, node, tangents):
        """The derivative in the direction of the tangent."""
        return self._along(node.inputs[0], tangents[0])

    def numpy(self, a):
        """In double precision, the matrices that need equally many squarings together."""
        if 0 in a.shape:
            return a.copy()
        wide = a.astype(np.result_type(a.dtype, np.float64)).reshape(-1, *a.shape[-2:])
        result = np.full_like(wide, np.nan)
        norm = np.abs(wide).sum(-2).max(-1)
        good = np.isfinite(norm)
        squarings = np.zeros(len(norm), np.int64)
        large = good & (norm > _LARGEST)
        squarings[large] = np.ceil(np.log2(norm[large] / _LARGEST)).astype(np.int64)
        for times in np.unique(squarings[good]):
            chosen = good & (squarings == times)
            found = _pade(wide[chosen] * 2.0 ** -float(times))
            for _ in range(times):
                found = found @ found
            result[chosen] = found
        return result.reshape(a.shape).astype(a.dtype)

    def work(self, node):
        """Eight products or so."""
        return 8 * node.shape[-1] ** 3


#: 1-norm up to which the approximant of degree 13 has an error below the unit roundoff of double precision
_LARGEST = 5.371920351148152
#: numerator of the approximant of degree 13
_NUMERATOR = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip


def _pade(a: np.ndarray) -> np.ndarray:
    c, one = _NUMERATOR, np.eye(a.shape[-1])
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a2 @ a4
    odd = a6 @ (c[13] * a6 + c[11] * a4 + c[9] * a2) + c[7] * a6 + c[5] * a4 + c[3] * a2 + c[1] * one
    even = a6 @ (c[12] * a6 + c[10] * a4 + c[8] * a2) + c[6] * a6 + c[4] * a4 + c[2] * a2 + c[0] * one
    odd = a @ odd
    return np.linalg.solve(even - odd, even + odd)

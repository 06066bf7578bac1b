"""Primitives of determinants, holomorphic functions whose rules transpose without conjugation.

Derivatives follow Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", section 2.2.4, and for singular matrices Jacobi's formula with the adjugate.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import int64, real_dtype
from .base import emit
from .matrices import (
    Matrices,
    adjoint,
    adjoint_array,
    along_rows,
    conj,
    cut,
    diagonal,
    diagonal_matrix,
    everywhere,
    guarded,
    matmul,
    on_diagonal,
    pack,
    real,
    transposed,
)
from .rules import add, cast, full_like, mul, reshape, sub, total, where


class Determinant(Matrices):
    """The determinant of square matrices."""

    name = "det"

    def infer(self, a):
        """The leading axes."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        return a.shape[:-2], a.dtype

    def vjp(self, node, cotangent, needed):
        """c adj(A)^T, by Jacobi's formula, which holds for singular matrices too."""
        a = node.inputs[0]
        return (mul(everywhere(cotangent, a.shape), transposed(emit("adjugate", a))),)

    def jvp(self, node, tangents):
        """tr(adj(A) t)."""
        rank = len(node.inputs[0].shape)
        return total(mul(transposed(emit("adjugate", node.inputs[0])), tangents[0]), (rank - 2, rank - 1))

    def numpy(self, a):
        """`numpy.linalg.det`."""
        return np.asarray(np.linalg.det(a), a.dtype)


class Adjugate(Matrices):
    """The transposed matrix of cofactors, det(A) A^-1, of any square matrix: the derivative of the determinant.

    Of ill-conditioned matrices it is found by the singular value decomposition, as cofactors of a diagonal matrix are
    products of the other elements, so that it is right for singular matrices too. Its own derivative is taken by the
    inverse where the matrix is well conditioned, and by the decomposition elsewhere; derivatives of that need, for
    singular matrices, distinct singular values.
    """

    name = "adjugate"

    def infer(self, a):
        """The operand's type."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        return a.shape, a.dtype

    def _regular(self, a):
        """Whether matrices are well conditioned; they, or ones where they are not; they, or others where they are."""
        n = a.shape[-1]
        values = real(emit("svd", emit("stop_gradient", a), attributes=("values",)))
        rank = len(values.shape) - 1
        low, high = (emit(name, values, attributes=((rank,),)) for name in ("min", "max"))
        bound = mul(high, full_like(high, float(np.finfo(low.dtype.numpy).eps) ** 0.25))
        well = everywhere(emit("gt", low, bound), a.shape)
        one = cast(on_diagonal(a), a.dtype)
        steps = diagonal_matrix(emit("iota", attributes=((*a.shape[:-2], n), rank, real_dtype(a.dtype))))
        return well, where(well, a, one), where(well, add(one, cast(steps, a.dtype)), a)

    def _decomposed(self, a):
        """U, V, and in (i, j) the product of all singular values but i and j, times det(U V^H); zero for i = j."""
        n = a.shape[-1]
        u, s, vh = cut(emit("svd", a, attributes=("reduced",)), ((n, n), (n,), (n, n)))
        rank = len(a.shape)
        shape = (*a.shape, n)
        spread = emit("broadcast", real(s), attributes=(shape, (*range(rank - 2), rank)))
        i, j, k = (emit("iota", attributes=(shape, rank - 2 + axis, int64)) for axis in range(3))
        left = emit("logical_or", emit("eq", i, k), emit("eq", j, k))
        products = emit("prod", where(left, full_like(spread, 1.0), spread), attributes=((rank,),))
        sign = mul(emit("det", u), emit("det", vh))
        products = where(on_diagonal(products), full_like(products, 0.0), products)
        return u, adjoint(vh), mul(everywhere(sign, a.shape), cast(products, a.dtype))

    def _mixed(self, products, b):
        """diag(P diag(B)) - P * B, elementwise: the derivative of a diagonal matrix's cofactors."""
        column = along_rows(diagonal(b), 1)
        sums = matmul(products, column)
        return sub(diagonal_matrix(reshape(sums, sums.shape[:-1])), mul(products, b))

    def vjp(self, node, cotangent, needed):
        """The transpose of `jvp`."""
        a = node.inputs[0]
        if a.shape[-1] < 2:
            return (full_like(a, 0.0),)
        well, regular, other = self._regular(a)
        inverse = emit("inv", regular)
        x = mul(everywhere(emit("det", regular), a.shape), inverse)
        rank = len(a.shape)
        scale = total(mul(cotangent, inverse), (rank - 2, rank - 1))
        first = mul(everywhere(scale, a.shape), transposed(x))
        near = sub(first, matmul(transposed(x), matmul(cotangent, transposed(inverse))))
        u, v, products = self._decomposed(other)
        inner = matmul(transposed(v), matmul(cotangent, conj(u)))
        far = matmul(conj(u), matmul(self._mixed(products, inner), transposed(v)))
        return (where(well, near, far),)

    def jvp(self, node, tangents):
        """(tr(X t) - X t) A^-1 of the adjugate X; for a matrix near a singular one by its decomposition."""
        a, t = node.inputs[0], tangents[0]
        if a.shape[-1] < 2:
            return full_like(a, 0.0)
        well, regular, other = self._regular(a)
        inverse = emit("inv", regular)
        xt = mul(everywhere(emit("det", regular), a.shape), matmul(inverse, t))
        rank = len(a.shape)
        trace = total(diagonal(xt), (rank - 2,))
        near = sub(mul(everywhere(trace, a.shape), inverse), matmul(xt, inverse))
        u, v, products = self._decomposed(other)
        inner = matmul(adjoint(u), matmul(t, v))
        return where(well, near, matmul(v, matmul(self._mixed(products, inner), adjoint(u))))

    def numpy(self, a):
        """det(A) A^-1 where that is accurate, else by the singular value decomposition."""
        if 0 in a.shape:
            return a.copy()
        flat = a.reshape(-1, *a.shape[-2:])
        result = np.full_like(flat, np.nan)
        finite = np.isfinite(flat).all((-1, -2))
        det = np.asarray(np.linalg.det(flat))
        regular = np.flatnonzero(finite & np.isfinite(det) & (det != 0))
        inverse = guarded(np.linalg.inv, "is singular", flat[regular])
        condition = np.abs(flat[regular]).sum(-2).max(-1) * np.abs(inverse).sum(-2).max(-1)
        good = condition < np.finfo(a.dtype).eps ** -0.5
        result[regular[good]] = det[regular[good], None, None] * inverse[good]
        rest = np.setdiff1d(np.flatnonzero(finite), regular[good])
        if len(rest):
            result[rest] = _cofactors(flat[rest])
        return result.reshape(a.shape)


def _cofactors(a: np.ndarray) -> np.ndarray:
    """Products of the other singular values between the singular vectors."""
    u, s, vh = guarded(np.linalg.svd, "has no singular value decomposition", a)
    one = np.ones((*s.shape[:-1], 1), s.dtype)
    before = np.cumprod(np.concatenate((one, s[..., :-1]), -1), -1)
    after = np.cumprod(np.concatenate((one, s[..., :0:-1]), -1), -1)[..., ::-1]
    sign = np.asarray(np.linalg.det(u) * np.linalg.det(vh))[..., None, None]
    return (sign * adjoint_array(vh) * (before * after)[..., None, :] @ adjoint_array(u)).astype(a.dtype)


class SignLogDeterminant(Matrices):
    """Packed: the determinant's sign (of complex matrices its direction), and the logarithm of its magnitude."""

    name = "slogdet"

    def infer(self, a):
        """Two numbers for each matrix."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        return (*a.shape[:-2], 2), a.dtype

    def vjp(self, node, cotangent, needed):
        """The logarithm's cotangent, and i times that of a turn of the sign, times A^-T."""
        a = node.inputs[0]
        turn, weight = cut(cotangent, ((), ()))
        if a.dtype.kind == "c":
            sign, _ = cut(node, ((), ()))
            weight = emit("complex", emit("real", weight), emit("imag", mul(turn, sign)))
        return (mul(everywhere(weight, a.shape), transposed(emit("inv", a))),)

    def jvp(self, node, tangents):
        """tr(A^-1 t): its real part for the logarithm, its imaginary part turns the sign."""
        a = node.inputs[0]
        rank = len(a.shape)
        rate = total(mul(transposed(emit("inv", a)), tangents[0]), (rank - 2, rank - 1))
        if a.dtype.kind != "c":
            return pack(full_like(rate, 0.0), rate, axes=(0, 0))
        sign, _ = cut(node, ((), ()))
        zero = full_like(emit("real", rate), 0.0)
        turned = mul(emit("complex", zero, emit("imag", rate)), sign)
        return pack(turned, emit("complex", emit("real", rate), zero), axes=(0, 0))

    def numpy(self, a):
        """`numpy.linalg.slogdet`."""
        return np.stack(np.linalg.slogdet(a), -1).astype(a.dtype)

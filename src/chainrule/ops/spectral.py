"""Factorisations by eigenvalues and singular values, each one packed array (see `matrices`), by NumPy's LAPACK.

Vectors are determined up to signs, of complex matrices up to directions, and those of equal values up to rotations.
Derivatives are those of functions that do not depend on this choice; the vectors of equal values have none, and give
infinities or NaN. What a function leaves unused may be equal.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import complex_dtype
from ..graph.node import Node
from .base import emit
from .matrices import (
    Matrices,
    adjoint,
    along_columns,
    along_rows,
    columns_apart,
    columns_together,
    conj,
    cut,
    diagonal,
    diagonal_matrix,
    gaps,
    guarded,
    hermitian_array,
    hermitian_part,
    matmul,
    off_diagonal,
    only_imaginary,
    only_real,
    pack,
    packed,
    quotient,
    real,
    scaled,
    transposed,
)
from .rules import add, cast, mul, neg, sub, sum_parts

_NO_VALUES = "has no eigenvalues that could be found"


class HermitianEigen(Matrices):
    """Packed: the eigenvalues, ascending, of the Hermitian part of A, and with `vectors` the matrix of eigenvectors.

    Derivatives as in Giles 2008, section 3.1, and for complex matrices Boeddeker et al. 2017, "On the computation of
    complex-valued gradients with application to statistically optimum beamforming", section 7.4.
    """

    name = "eigh"
    attributes = ("vectors",)

    def infer(self, a):
        """n numbers for each matrix, or n + n n."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        n = a.shape[-1]
        return (*a.shape[:-2], n + n * n if self.vectors else n), a.dtype

    def _factors(self, node):
        n = node.inputs[0].shape[-1]
        if not self.vectors:
            node = emit("eigh", node.inputs[0], attributes=(True,))
        return cut(node, ((n,), (n, n)))

    def vjp(self, node, cotangent, needed):
        """V (diag(g_w) + (V^H g_V) / (w_j - w_i)) V^H, its Hermitian part."""
        values, vectors = self._factors(node)
        n = values.shape[-1]
        turned = adjoint(vectors)
        if self.vectors:
            gw, gv = cut(conj(cotangent), ((n,), (n, n)))
            inner = quotient(off_diagonal(matmul(turned, gv)), gaps(only_real(values)))
            middle = matmul(add(diagonal_matrix(only_real(gw)), inner), turned)
        else:
            gw = only_real(conj(cotangent))
            middle = mul(along_rows(gw, n), turned)
        return (conj(hermitian_part(matmul(vectors, middle))),)

    def jvp(self, node, tangents):
        """The real diagonal of P = V^H t V, and V (P / (w_j - w_i)), of the tangent's Hermitian part."""
        values, vectors = self._factors(node)
        inner = matmul(adjoint(vectors), matmul(hermitian_part(tangents[0]), vectors))
        moved = only_real(diagonal(inner))
        if not self.vectors:
            return moved
        turned = matmul(vectors, quotient(off_diagonal(inner), gaps(only_real(values))))
        return pack(moved, turned, axes=(1, 2))

    def numpy(self, a):
        """`numpy.linalg.eigh` or `eigvalsh`."""
        a = hermitian_array(a)
        if self.vectors:
            return packed(guarded(np.linalg.eigh, _NO_VALUES, a), (1, 2)).astype(a.dtype, copy=False)
        return np.asarray(guarded(np.linalg.eigvalsh, _NO_VALUES, a)).astype(a.dtype)

    def work(self, node):
        """About nine n^3 multiply-adds with vectors."""
        return (9 if self.vectors else 1) * node.inputs[0].shape[-1] ** 3


class Eigen(Matrices):
    """Packed, complex: the eigenvalues of A and with `vectors` the matrix of eigenvectors, of unit length.

    Derivatives as in Boeddeker et al. 2017, section 4.2; those of the vectors keep their lengths. A matrix whose
    eigenvectors are dependent has no derivatives: its matrix of eigenvectors is singular.
    """

    name = "eig"
    attributes = ("vectors",)

    def infer(self, a):
        """n numbers for each matrix, or n + n n."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        n = a.shape[-1]
        return (*a.shape[:-2], n + n * n if self.vectors else n), complex_dtype(a.dtype)

    def _factors(self, node):
        n = node.inputs[0].shape[-1]
        if not self.vectors:
            node = emit("eig", node.inputs[0], attributes=(True,))
        return cut(node, ((n,), (n, n)))

    def vjp(self, node, cotangent, needed):
        """V^-H (diag(g_w) + (V^H g_V - V^H V Re diag(V^H g_V)) / conj(w_j - w_i)) V^H."""
        a = node.inputs[0]
        values, vectors = self._factors(node)
        n = values.shape[-1]
        turned = adjoint(vectors)
        if self.vectors:
            gw, gv = cut(conj(cotangent), ((n,), (n, n)))
            inner = matmul(turned, gv)
            along = mul(matmul(turned, vectors), along_columns(only_real(diagonal(inner)), n))
            inner = quotient(off_diagonal(sub(inner, along)), conj(gaps(values)))
            middle = matmul(add(diagonal_matrix(gw), inner), turned)
        else:
            middle = mul(along_rows(conj(cotangent), n), turned)
        result = conj(emit("solve", turned, middle))
        return (result if a.dtype.kind == "c" else real(result),)

    def jvp(self, node, tangents):
        """The diagonal of P = V^-1 t V, and V (P / (w_j - w_i)) without what would change the vectors' lengths."""
        values, vectors = self._factors(node)
        inner = emit("solve", vectors, matmul(cast(tangents[0], node.dtype), vectors))
        moved = diagonal(inner)
        if not self.vectors:
            return moved
        turned = matmul(vectors, quotient(off_diagonal(inner), gaps(values)))
        along = only_real(diagonal(matmul(adjoint(vectors), turned)))
        return pack(moved, sub(turned, mul(vectors, along_columns(along, values.shape[-1]))), axes=(1, 2))

    def numpy(self, a):
        """`numpy.linalg.eig` or `eigvals`."""
        dtype = np.result_type(a.dtype, np.complex64)
        if self.vectors:
            return packed(guarded(np.linalg.eig, _NO_VALUES, a), (1, 2)).astype(dtype, copy=False)
        return np.asarray(guarded(np.linalg.eigvals, _NO_VALUES, a)).astype(dtype)

    def work(self, node):
        """About 25 n^3 multiply-adds with vectors, ten without."""
        return (25 if self.vectors else 10) * node.inputs[0].shape[-1] ** 3


class SingularValues(Matrices):
    """Packed: U, the singular values in descending order, and V^H; `mode` is "values", "reduced" or "full".

    Derivatives as in Townsend 2016, "Differentiating the singular value decomposition", and for complex matrices Wan &
    Zhang 2019, "Automatic differentiation for complex valued SVD". The further columns of U and V in the full mode span
    what is orthogonal to the others, and turn as little as they can.
    """

    name = "svd"
    attributes = ("mode",)

    def shapes(self, rows: int, columns: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of U, S and V^H."""
        k = min(rows, columns)
        if self.mode == "full":
            return (rows, rows), (k,), (columns, columns)
        return (rows, k), (k,), (k, columns)

    def infer(self, a):
        """All elements of the factors."""
        self.check_matrices(a)
        *lead, m, n = a.shape
        shapes = self.shapes(m, n)
        last = shapes[1][0] if self.mode == "values" else sum(int(np.prod(s)) for s in shapes)
        return (*lead, last), a.dtype

    def _factors(self, node):
        """U, S and V^H of the reduced mode, and the further columns of U and rows of V^H (None if there are none)."""
        a = node.inputs[0]
        m, n = a.shape[-2:]
        if self.mode == "values":
            node = emit("svd", a, attributes=("reduced",))
        u, s, vh = cut(node, node.op.shapes(m, n))
        u, more_u = columns_apart(u, min(m, n))
        v, more_v = columns_apart(transposed(vh), min(m, n))
        return u, only_real(s), transposed(v), more_u, None if more_v is None else transposed(more_v)

    def vjp(self, node, cotangent, needed):
        """The rule of the values alone is U diag(g_s) V^H."""
        m, n = node.inputs[0].shape[-2:]
        k = min(m, n)
        u, s, vh, more_u, more_vh = self._factors(node)
        if self.mode == "values":
            weights = only_real(conj(cotangent))
            return (conj(matmul(u, mul(along_rows(weights, n), vh))),)
        gu, gs, gvh = cut(conj(cotangent), self.shapes(m, n))
        gu, further_u = columns_apart(gu, k)
        gv, further_v = columns_apart(adjoint(gvh), k)
        if further_u is not None:
            gu = sub(gu, matmul(more_u, matmul(adjoint(further_u), u)))
        v = adjoint(vh)
        if further_v is not None:
            gv = sub(gv, matmul(adjoint(more_vh), matmul(adjoint(further_v), v)))
        uh = adjoint(u)
        across_u, across_v = matmul(uh, gu), matmul(vh, gv)
        distance, column, row = _distances(s)
        skew_u = mul(quotient(off_diagonal(sub(across_u, adjoint(across_u))), distance), column)
        skew_v = mul(quotient(off_diagonal(sub(across_v, adjoint(across_v))), distance), row)
        inner = sum_parts(skew_u, skew_v, diagonal_matrix(only_real(gs)))
        if s.dtype.kind == "c":
            turn = only_imaginary(sub(diagonal(across_u), diagonal(across_v)))
            inner = add(inner, diagonal_matrix(quotient(turn, scaled(s, 2.0))))
        result = matmul(u, matmul(inner, vh))
        if m > k:
            outside = quotient(sub(gu, matmul(u, across_u)), along_columns(s, m))
            result = add(result, matmul(outside, vh))
        if n > k:
            outside = quotient(adjoint(sub(gv, matmul(v, across_v))), along_rows(s, n))
            result = add(result, matmul(u, outside))
        return (conj(result),)

    def jvp(self, node, tangents):
        """The real diagonal of P = U^H t V; turns of U and V by (P S + S P^H) and (S P + P^H S) over s_j^2 - s_i^2."""
        t = tangents[0]
        m, n = t.shape[-2:]
        k = min(m, n)
        u, s, vh, more_u, more_vh = self._factors(node)
        v, uh = adjoint(vh), adjoint(u)
        left = matmul(uh, t)
        inner = matmul(left, v)
        moved = only_real(diagonal(inner))
        if self.mode == "values":
            return moved
        turned = adjoint(inner)
        distance, column, row = _distances(s)
        skew_u = quotient(off_diagonal(add(mul(inner, column), mul(row, turned))), distance)
        skew_v = quotient(off_diagonal(add(mul(row, inner), mul(turned, column))), distance)
        if s.dtype.kind == "c":
            turn = diagonal_matrix(quotient(only_imaginary(diagonal(inner)), scaled(s, 2.0)))
            skew_u, skew_v = add(skew_u, turn), sub(skew_v, turn)
        du, dv = matmul(u, skew_u), matmul(v, skew_v)
        if m > k:
            du = add(du, quotient(sub(matmul(t, v), matmul(u, inner)), along_columns(s, m)))
        if n > k:
            dv = add(dv, quotient(sub(adjoint(left), matmul(v, turned)), along_columns(s, n)))
        if more_u is not None:
            du = columns_together(du, neg(matmul(u, matmul(adjoint(du), more_u))))
        if more_vh is not None:
            dv = columns_together(dv, neg(matmul(v, matmul(adjoint(dv), adjoint(more_vh)))))
        return pack(du, moved, adjoint(dv), axes=(2, 1, 2))

    def numpy(self, a):
        """`numpy.linalg.svd`."""
        problem = "has no singular value decomposition that could be found"
        if self.mode == "values":

            def values(x):
                return np.linalg.svd(x, compute_uv=False)

            return np.asarray(guarded(values, problem, a)).astype(a.dtype)
        full = self.mode == "full"

        def factors(x):
            return np.linalg.svd(x, full_matrices=full)

        return packed(guarded(factors, problem, a), (2, 1, 2)).astype(a.dtype, copy=False)

    def work(self, node):
        """About ten times a product with vectors, twice without."""
        return (2 if self.mode == "values" else 10) * super().work(node)


def _distances(s: Node) -> tuple[Node, Node, Node]:
    """At (i, j) s_j - s_i, s_j / (s_i + s_j) and s_i / (s_i + s_j).

    The last two over the first are s_j and s_i over s_j^2 - s_i^2, without squares, which lose digits and underflow.
    """
    k = s.shape[-1]
    columns, rows = along_columns(s, k), along_rows(s, k)
    both = add(columns, rows)
    return gaps(s), quotient(columns, both), quotient(rows, both)

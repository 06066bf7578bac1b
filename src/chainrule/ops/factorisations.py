"""Factorisations with triangular factors, those of several factors as one packed array (see `matrices`)."""

from __future__ import annotations

import numpy as np

from ..dtypes import int64
from ..graph.node import Node
from ..shapes import size
from .base import emit
from .matrices import (
    Matrices,
    adjoint,
    columns_apart,
    columns_together,
    conj,
    cut,
    guarded,
    half_diagonal,
    hermitian_array,
    hermitian_part,
    lower,
    matmul,
    on_diagonal,
    pack,
    packed,
    transposed,
    upper,
)
from .rules import add, cast, neg, sub


class Cholesky(Matrices):
    """The lower triangle L with L L^H = A, of the Hermitian part of A, which is positive definite.

    Derivatives as in Murray 2016, "Differentiation of the Cholesky decomposition", section 3.1.
    """

    name = "cholesky"

    def infer(self, a):
        """The operand's type."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        return a.shape, a.dtype

    def vjp(self, node, cotangent, needed):
        """L^-H Phi(L^H g) L^-1, its Hermitian part, where Phi takes the lower triangle with half its diagonal."""
        turned = adjoint(node)
        inner = half_diagonal(lower(matmul(turned, conj(cotangent))))
        left = emit("triangular_solve", turned, hermitian_part(inner), attributes=(False, False))
        return (conj(adjoint(emit("triangular_solve", turned, adjoint(left), attributes=(False, False)))),)

    def jvp(self, node, tangents):
        """L Phi(L^-1 t L^-H) of the tangent's Hermitian part."""
        left = emit("triangular_solve", node, hermitian_part(tangents[0]), attributes=(True, False))
        both = emit("triangular_solve", node, adjoint(left), attributes=(True, False))
        return matmul(node, half_diagonal(lower(adjoint(both))))

    def numpy(self, a):
        """`numpy.linalg.cholesky`."""
        return guarded(np.linalg.cholesky, "is not positive definite", hermitian_array(a))

    def work(self, node):
        """A sixth of n^3 multiply-adds."""
        return node.shape[-1] ** 3 // 6


class QR(Matrices):
    """Packed: Q with orthonormal columns and the upper triangle R, n by n, with Q R = A, of m >= n rows.

    With `complete`, Q is square: its further columns span what is orthogonal to the others, and turn as little as they
    can. The diagonal of R is real. Derivatives as in Walter & Lehmann 2012, "Algorithmic differentiation of linear
    algebra functions with application in optimum experimental design", and for complex matrices Roberts & Roberts 2020,
    "QR and LQ decomposition matrix backpropagation algorithms for square, wide, and deep matrices".
    """

    name = "qr"
    attributes = ("complete",)

    def infer(self, a):
        """All elements of the factors."""
        self.check_matrices(a)
        *lead, m, n = a.shape
        if m < n:
            self.reject(f"needs as many rows as columns, axis -2 has {m} elements and axis -1 has {n}", (a,))
        return (*lead, m * (m if self.complete else n) + n * n), a.dtype

    def _shapes(self, a):
        m, n = a.shape[-2:]
        return (m, m if self.complete else n), (n, n)

    def vjp(self, node, cotangent, needed):
        """(g_Q + Q (N + N^H)) R^-H with N the upper triangle, half its diagonal, of g_R R^H - Q^H g_Q."""
        a = node.inputs[0]
        n = a.shape[-1]
        q, r = cut(node, self._shapes(a))
        gq, gr = cut(conj(cotangent), self._shapes(a))
        q, more = columns_apart(q, n)
        gq, further = columns_apart(gq, n)
        if further is not None:
            gq = sub(gq, matmul(more, matmul(adjoint(further), q)))
        inner = sub(matmul(gr, adjoint(r)), matmul(adjoint(q), gq))
        inner = half_diagonal(upper(inner))
        left = add(gq, matmul(q, add(inner, adjoint(inner))))
        return (conj(_right(left, r, adjointed=True)),)

    def jvp(self, node, tangents):
        """T R and t R^-1 - Q T, with T the upper triangle, half its diagonal, of X + X^H for X = Q^H t R^-1."""
        a = node.inputs[0]
        q, r = cut(node, self._shapes(a))
        q, more = columns_apart(q, a.shape[-1])
        scaled_t = _right(tangents[0], r)
        inner = matmul(adjoint(q), scaled_t)
        inner = half_diagonal(upper(add(inner, adjoint(inner))))
        dq = sub(scaled_t, matmul(q, inner))
        dr = matmul(inner, r)
        if more is not None:
            dq = columns_together(dq, neg(matmul(q, matmul(adjoint(dq), more))))
        return pack(dq, dr, axes=(2, 2))

    def numpy(self, a):
        """`numpy.linalg.qr`."""
        q, r = np.linalg.qr(a, "complete" if self.complete else "reduced")
        return packed((q, r[..., : a.shape[-1], :]), (2, 2))


def _right(x: Node, r: Node, adjointed: bool = False) -> Node:
    """x R^-1 of the upper triangle R, or x R^-H."""
    turned = conj(r) if adjointed else transposed(r)
    return transposed(emit("triangular_solve", turned, transposed(x), attributes=(not adjointed, False)))


class PivotOrder(Matrices):
    """The numbers of the rows of A in the order in which partial pivoting takes them; int64."""

    name = "pivot_order"
    differentiable = False

    def infer(self, a):
        """One number for each row."""
        self.check_matrices(a)
        return a.shape[:-1], int64

    def numpy(self, a):
        """Elimination, the largest element of a column first: of complex ones as LAPACK measures them."""
        work = a.reshape(size(a.shape[:-2]), *a.shape[-2:]).copy()
        order = np.broadcast_to(np.arange(a.shape[-2]), work.shape[:2]).copy()
        _eliminate(work, order)
        return order.reshape(a.shape[:-1])


class LUFactors(Matrices):
    """Both triangles of A = L U in one matrix, without pivoting: U, and below it L, whose diagonal is ones.

    Derivatives as in Giles 2008's style: with X = L^-1 t U^-1, those of L and U are L tril(X, -1) and triu(X) U.
    """

    name = "lu"

    def infer(self, a):
        """The operand's type."""
        self.check_matrices(a)
        self.check_square(a, (a,))
        return a.shape, a.dtype

    def vjp(self, node, cotangent, needed):
        """L^-T (tril(L^T c_L, -1) + triu(c_U U^T)) U^-T."""
        left = add(lower(node, strict=True), _one(node))
        right = upper(node)
        inner = add(
            lower(matmul(transposed(left), lower(cotangent, strict=True)), strict=True),
            upper(matmul(upper(cotangent), transposed(right))),
        )
        half = emit("triangular_solve", transposed(left), inner, attributes=(False, True))
        return (transposed(emit("triangular_solve", right, transposed(half), attributes=(False, False))),)

    def jvp(self, node, tangents):
        """L tril(X, -1) + triu(X) U for X = L^-1 t U^-1."""
        left, right = add(lower(node, strict=True), _one(node)), upper(node)
        half = emit("triangular_solve", node, tangents[0], attributes=(True, True))
        inner = _right(half, right)
        return add(matmul(left, lower(inner, strict=True)), matmul(upper(inner), right))

    def numpy(self, a):
        """Elimination."""
        work = a.reshape(size(a.shape[:-2]), *a.shape[-2:]).copy()
        _eliminate(work)
        return work.reshape(a.shape)

    def work(self, node):
        """A third of n^3 multiply-adds."""
        return node.shape[-1] ** 3 // 3


#: columns that are eliminated one by one; what is right of them follows by a product
_PANEL = 32


def _eliminate(work: np.ndarray, order: np.ndarray | None = None) -> None:
    """Replace matrices (count, m, n) by U, and below it L without its diagonal; with `order`, pivoting and noting it.

    Pivots are the largest elements of their columns, of complex ones as LAPACK measures them; a column of zeros has
    zeros in L.
    """
    count, m, n = work.shape
    here = np.arange(count)
    for start in range(0, min(m, n), _PANEL):
        stop = min(start + _PANEL, m, n)
        for j in range(start, stop):
            if order is not None:
                pivot = j + (np.abs(work[:, j:, j].real) + np.abs(work[:, j:, j].imag)).argmax(-1)
                for table in (work, order):
                    table[here, pivot], table[:, j] = table[:, j].copy(), table[here, pivot].copy()
            top = work[:, j, j, None]
            factor = np.where(top == 0, 0, work[:, j + 1 :, j] / np.where(top == 0, 1, top))
            work[:, j + 1 :, j] = factor
            work[:, j + 1 :, j + 1 : stop] -= factor[:, :, None] * work[:, j, None, j + 1 : stop]
        if stop < n:
            left = np.tril(work[:, start:stop, start:stop], -1) + np.eye(stop - start, dtype=work.dtype)
            right = np.linalg.solve(left, work[:, start:stop, stop:])
            work[:, start:stop, stop:] = right
            work[:, stop:, stop:] -= work[:, stop:, start:stop] @ right


def _one(x: Node) -> Node:
    """Unit matrices like x."""
    return cast(on_diagonal(x), x.dtype)

"""Factorisations of matrices: Cholesky, QR, LU, eigenvalues and singular values, with their derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import ConfigError
from ..functions.creation import arange, zeros
from ..functions.data_types import astype
from ..functions.elementwise import equal
from ..functions.products import matmul
from ..functions.searching import take_along_axis
from ..functions.shape import concat
from ..graph.node import Node
from ..mixed_precision import autocast
from ..ops.base import emit
from ..ops.matrices import adjoint, cut, lower, on_diagonal, real, transposed, upper
from ..recording import reject
from ..tensor import Tensor, node_of
from .operands import matrices


class QRResult(NamedTuple):
    """Q and R."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """U, the singular values, and V^H."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class EighResult(NamedTuple):
    """Real eigenvalues in ascending order, and a matrix whose columns are eigenvectors."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EigResult(NamedTuple):
    """Complex eigenvalues, and a matrix whose columns are eigenvectors."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class LUResult(NamedTuple):
    """A permutation, a lower triangle with ones on its diagonal, and an upper triangle."""

    P: Tensor
    L: Tensor
    U: Tensor


def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The triangle L with L L^H = x, of Hermitian positive definite matrices.

    Args:
        x: floating or complex, of shape (..., n, n); its Hermitian part (x + x^H) / 2 is what counts.
        upper: whether to return L^H instead.
    Returns: a triangle of the type of `x`; its diagonal is real and positive.
    Raises: ShapeError for matrices that are not square, SingularMatrixError, which names the matrix of the batch, when
        one is found not to be positive definite.
    Numerics: backward stable. Gradients are Hermitian, and grow with the condition number of L.
    Example:
        >>> cr.linalg.cholesky(cr.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    Reference: Murray 2016, "Differentiation of the Cholesky decomposition", section 3.1.
    """
    node = emit("cholesky", matrices("cholesky", x, square=True))
    return Tensor(adjoint(node) if upper else node)


def qr(x: Any, /, mode: str = "reduced") -> QRResult:
    """Q with orthonormal columns and the upper triangle R, with Q R = x.

    Args:
        x: floating or complex, of shape (..., m, n).
        mode: "reduced", with min(m, n) columns of Q, or "complete", with m.
    Returns: (Q, R), of shapes (..., m, k) and (..., k, n) with k = min(m, n), or m in the complete mode.
    Raises: ConfigError for another mode.
    Numerics: Householder reflections, backward stable. The diagonal of R is real and may be negative. Derivatives need
        the first min(m, n) columns of x to be independent (SingularMatrixError when they are evaluated otherwise); the
        further columns of Q in the complete mode are determined up to a rotation, and derivatives are right for what
        does not depend on it, such as the projection Q Q^H.
    Example:
        >>> q, r = cr.linalg.qr(cr.tensor([[3.0, 1.0], [4.0, 2.0]]))
        >>> cr.round(cr.abs(r) * 10) / 10
        tensor([[5. , 2.2],
                [0. , 0.4]])
    Reference: Walter & Lehmann 2012; Roberts & Roberts 2020, "QR and LQ decomposition matrix backpropagation".
    """
    node = matrices("qr", x)
    if mode not in ("reduced", "complete"):
        reject("qr", f"mode is 'reduced' or 'complete', not {mode!r}", (node,), "", ConfigError)
    m, n = node.shape[-2:]
    k = min(m, n)
    complete = mode == "complete" and m > k
    value = Tensor(node)
    packed = emit("qr", node if n == k else node_of(value[..., :k]), attributes=(complete,))
    q, r = (Tensor(part) for part in cut(packed, ((m, m if complete else k), (k, k))))
    if n > k:  # the other columns of a wide matrix follow from Q
        with autocast(enabled=False):
            r = concat([r, matmul(Tensor(adjoint(node_of(q))), value[..., k:])], axis=-1)
    if complete:
        r = concat([r, zeros((*node.shape[:-2], m - k, n), dtype=node.dtype)], axis=-2)
    return QRResult(q, r)


def lu(x: Any, /) -> LUResult:
    """P, L and U with P L U = x, by elimination with partial pivoting.

    Args:
        x: floating or complex, of shape (..., m, n).
    Returns: (P, L, U), of shapes (..., m, m), (..., m, k) and (..., k, n) with k = min(m, n).
    Numerics: derivatives are those of a fixed order of the rows, and need the first k columns of x to be independent.
    Example:
        >>> p, l, u = cr.linalg.lu(cr.tensor([[1.0, 2.0], [4.0, 4.0]]))
        >>> l
        tensor([[1.  , 0.  ],
                [0.25, 1.  ]])
        >>> u
        tensor([[4., 4.],
                [0., 1.]])
    Reference: Golub & Van Loan, Matrix Computations, section 3.4.
    """
    node = matrices("lu", x)
    m, n = node.shape[-2:]
    k = min(m, n)
    order = Tensor(emit("pivot_order", emit("stop_gradient", node)))
    sorted_rows = take_along_axis(Tensor(node), order[..., None], axis=-2)
    factors = emit("lu", node_of(sorted_rows[..., :k, :k]))
    one = emit("cast", on_diagonal(factors), attributes=(node.dtype,))
    left, right = emit("add", lower(factors, strict=True), one), upper(factors)
    low, high = Tensor(left), Tensor(right)
    if n > k:
        rest = node_of(sorted_rows[..., k:])
        high = concat([high, Tensor(emit("triangular_solve", left, rest, attributes=(True, True)))], axis=-1)
    if m > k:
        rest = transposed(node_of(sorted_rows[..., k:, :]))
        below = transposed(emit("triangular_solve", transposed(right), rest, attributes=(True, False)))
        low = concat([low, Tensor(below)], axis=-2)
    places = equal(order[..., None, :], arange(m)[:, None])
    return LUResult(astype(places, node.dtype), low, high)


def svd(x: Any, /, full_matrices: bool = True) -> SVDResult:
    """The singular value decomposition U diag(S) V^H = x.

    Args:
        x: floating or complex, of shape (..., m, n); k = min(m, n).
        full_matrices: whether U and V^H are square, instead of having k columns and k rows.
    Returns: (U, S, Vh), of shapes (..., m, m or k), (..., k) and (..., k or n, n); S is real and descending.
    Raises: SingularMatrixError where the iteration does not converge, as for NaN.
    Numerics: derivatives of S are always there. Those of U and V^H are for functions that do not depend on the choice
        of signs (directions in the complex case, rotations of the further columns); they grow as singular values come
        close to each other, and are infinite or NaN for equal ones, and for m != n where one is 0.
    Example:
        >>> cr.linalg.svd(cr.tensor([[0.0, 2.0], [1.0, 0.0]])).S
        tensor([2., 1.])
    Reference: Townsend 2016; Wan & Zhang 2019, "Automatic differentiation for complex valued SVD".
    """
    node = matrices("svd", x)
    packed = emit("svd", node, attributes=("full" if full_matrices else "reduced",))
    u, s, vh = cut(packed, packed.op.shapes(*node.shape[-2:]))
    return SVDResult(Tensor(u), Tensor(real(s)), Tensor(vh))


def svdvals(x: Any, /) -> Tensor:
    """The singular values in descending order: see `svd`. Their derivatives are those of distinct ones."""
    return Tensor(real(emit("svd", matrices("svdvals", x), attributes=("values",))))


def _hermitian(name: str, x: Any, triangle: str | None) -> Node:
    """The node of square matrices: as they are, or one triangle and its mirror image."""
    node = matrices(name, x, square=True)
    if triangle is None:
        return node
    if triangle not in ("L", "U"):
        reject(name, f"UPLO is 'L', 'U' or None, not {triangle!r}", (node,), "", ConfigError)
    other = adjoint((lower if triangle == "L" else upper)(node, strict=True))
    return emit("add", (lower if triangle == "L" else upper)(node), other)


def eigh(x: Any, /, UPLO: str | None = None) -> EighResult:
    """Eigenvalues and eigenvectors of Hermitian matrices: V diag(w) V^H = x.

    Args:
        x: floating or complex, of shape (..., n, n).
        UPLO: which triangle counts, "L" or "U"; None for the Hermitian part (x + x^H) / 2, whose gradients are
            Hermitian.
    Returns: (eigenvalues, eigenvectors): real and ascending of shape (..., n); columns of shape (..., n, n).
    Raises: ShapeError for matrices that are not square, ConfigError for another UPLO, SingularMatrixError where the
        iteration does not converge.
    Numerics: derivatives of eigenvalues are always there. Those of eigenvectors are for functions that do not depend on
        their signs (directions in the complex case); they grow as eigenvalues come close to each other, and are
        infinite or NaN for equal ones.
    Example:
        >>> cr.linalg.eigh(cr.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
        tensor([1., 2.])
    Reference: Giles 2008, section 3.1.
    """
    node = _hermitian("eigh", x, UPLO)
    n = node.shape[-1]
    values, vectors = cut(emit("eigh", node, attributes=(True,)), ((n,), (n, n)))
    return EighResult(Tensor(real(values)), Tensor(vectors))


def eigvalsh(x: Any, /, UPLO: str | None = None) -> Tensor:
    """The real eigenvalues of Hermitian matrices, ascending: see `eigh`."""
    return Tensor(real(emit("eigh", _hermitian("eigvalsh", x, UPLO), attributes=(False,))))


def eig(x: Any, /) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices: x V = V diag(w).

    Args:
        x: floating or complex, of shape (..., n, n).
    Returns: (eigenvalues, eigenvectors), complex, in no particular order; the columns have length 1.
    Raises: ShapeError for matrices that are not square, SingularMatrixError for NaN and infinities.
    Numerics: derivatives grow with the condition number of the eigenvectors, and are huge or not finite (or raise
        SingularMatrixError) where those are dependent; derivatives of the vectors are for functions that do not depend
        on their directions in the complex plane, and not finite for equal eigenvalues.
    Example:
        >>> cr.linalg.eig(cr.tensor([[0.0, -1.0], [1.0, 0.0]])).eigenvalues
        tensor([0.+1.j, 0.-1.j], dtype=complex64)
    Reference: Boeddeker et al. 2017, "On the computation of complex-valued gradients", section 4.2.
    """
    node = matrices("eig", x, square=True)
    n = node.shape[-1]
    values, vectors = cut(emit("eig", node, attributes=(True,)), ((n,), (n, n)))
    return EigResult(Tensor(values), Tensor(vectors))


def eigvals(x: Any, /) -> Tensor:
    """The complex eigenvalues of square matrices, in no particular order: see `eig`."""
    return Tensor(emit("eig", matrices("eigvals", x, square=True), attributes=(False,)))

"""Systems of linear equations, inverses and determinants, with their derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..dtypes import real_dtype
from ..errors import ConfigError, DTypeError
from ..functions.complex import angle, complex, imag, real
from ..functions.elementwise import square, where
from ..functions.products import matmul
from ..functions.reduction import sum as sum_of
from ..graph.node import Node
from ..mixed_precision import autocast
from ..ops.base import emit
from ..ops.matrices import conj, cut, hermitian_part, transposed
from ..ops.matrices import real as real_node
from ..recording import full, permute, reject, reshape, size_of
from ..tensor import Tensor, node_of
from .factorisations import svdvals
from .operands import Shape, check_matrices, common_batch, inexact, matrices, relative_bound, spread


class SlogdetResult(NamedTuple):
    """The sign of the determinant, and the logarithm of its magnitude."""

    sign: Tensor
    logabsdet: Tensor


class LstsqResult(NamedTuple):
    """The solution, the sums of squared residuals, the rank, and the singular values."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def _sides(name: str, a: Node, b: Node) -> tuple[Node, bool]:
    """The right-hand side as matrices, and whether it was one vector; its rows have to be those of `a`."""
    if not b.shape:
        reject(name, "the right-hand side has at least one axis", (a, b))
    vector = len(b.shape) == 1
    rows = b.shape[0 if vector else -2]
    if rows != a.shape[-2]:
        problem = f"the matrix has {a.shape[-2]} rows, the right-hand side has {rows} on axis {-1 if vector else -2}"
        help = ""
        if not vector and b.shape == a.shape[:-1]:
            help = "a batch of vectors needs one more axis: b[..., None]"
        reject(name, problem, (a, b), help)
    return (reshape(b, (*b.shape, 1)) if vector else b), vector


def _solved(name: str, primitive: str, a: Node, b: Node, attributes: tuple = ()) -> Node:
    """The solution for matrices `b`, of which many for one matrix are so many more columns."""
    batch = common_batch(name, (a, b))
    if len(a.shape) == 2 and len(b.shape) > 2:
        rank, n = len(b.shape), b.shape[-2]
        front = permute(b, (rank - 2, *range(rank - 2), rank - 1))
        flat = emit(primitive, a, reshape(front, (n, size_of(front.shape[1:]))), attributes=attributes)
        return permute(reshape(flat, front.shape), (*range(1, rank - 1), 0, rank - 1))
    return emit(primitive, spread(a, batch), spread(b, batch), attributes=attributes)


def solve(a: Any, b: Any, /) -> Tensor:
    """The solution x of a x = b for square matrices, by LU with partial pivoting.

    Args:
        a: floating or complex, of shape (..., n, n).
        b: one vector (n,), or matrices (..., n, k), whose columns are right-hand sides; leading axes broadcast.
    Returns: the common dtype, of shape (..., n) or (..., n, k).
    Raises: ShapeError for shapes that do not fit, SingularMatrixError, which names the matrix of the batch, for a
        singular one when it is evaluated.
    Numerics: backward stable in practice; the relative error is about the condition number times the precision, and so
        is that of gradients.
    Example:
        >>> cr.linalg.solve(cr.tensor([[2.0, 0.0], [0.0, 4.0]]), cr.tensor([2.0, 2.0]))
        tensor([1. , 0.5])
    Reference: Giles 2008, section 2.3.1.
    """
    first, second = inexact("solve", a, b)
    check_matrices("solve", first, (first, second), square=True)
    side, vector = _sides("solve", first, second)
    result = _solved("solve", "solve", first, side)
    return Tensor(reshape(result, result.shape[:-1]) if vector else result)


_TRANSPOSITIONS = {0: "N", 1: "T", 2: "C", "N": "N", "T": "T", "C": "C"}


def solve_triangular(
    a: Any,
    b: Any,
    /,
    *,
    lower: bool | None = None,
    upper: bool | None = None,
    trans: int | str = 0,
    left: bool = True,
    unit_diagonal: bool = False,
    unitriangular: bool = False,
) -> Tensor:
    """The solution x of a x = b, where only one triangle of `a` is read.

    Args:
        a: floating or complex, of shape (..., n, n).
        b: one vector (n,), or matrices (..., n, k); leading axes broadcast.
        lower: whether the lower triangle is read; the upper one by default, as in SciPy.
        upper: the opposite, as in PyTorch.
        trans: 0 or "N"; 1 or "T" to solve with the transpose; 2 or "C" with the conjugate transpose.
        left: if False, x a = b is solved, with b of shape (..., k, n).
        unit_diagonal, unitriangular: whether the diagonal counts as ones and is not read.
    Returns: the common dtype and the shape of the right-hand side.
    Raises: ShapeError for shapes that do not fit, ConfigError for contradictory arguments, SingularMatrixError for a
        zero on the diagonal when it is evaluated.
    Example:
        >>> cr.linalg.solve_triangular(cr.tensor([[2.0, 0.0], [1.0, 1.0]]), cr.tensor([2.0, 3.0]), lower=True)
        tensor([1., 2.])
    """
    first, second = inexact("solve_triangular", a, b)
    if trans not in _TRANSPOSITIONS:
        problem = f"trans is 0, 1, 2, 'N', 'T' or 'C', not {trans!r}"
        reject("solve_triangular", problem, (first, second), "", ConfigError)
    if lower is not None and upper is not None and bool(lower) == bool(upper):
        problem = f"lower={lower} and upper={upper} contradict each other"
        reject("solve_triangular", problem, (first, second), "", ConfigError)
    low = bool(lower) if lower is not None else upper is not None and not upper
    check_matrices("solve_triangular", first, (first, second), square=True)
    if not left:
        if len(second.shape) < 2:
            reject("solve_triangular", "with left=False the right-hand side has two axes", (first, second))
        second = transposed(second)
    side, vector = _sides("solve_triangular", first, second)
    how = _TRANSPOSITIONS[trans]
    matrix = first
    if (how == "N") != left:
        matrix, low = transposed(first), not low
    if how == "C":
        matrix = conj(matrix)
    result = _solved("solve_triangular", "triangular_solve", matrix, side, (low, unit_diagonal or unitriangular))
    if vector:
        return Tensor(reshape(result, result.shape[:-1]))
    return Tensor(result if left else transposed(result))


def cho_solve(factor: Any, b: Any, /, *, lower: bool = True) -> Tensor:
    """The solution x of a x = b, given the Cholesky factor of a.

    Args:
        factor: what `cholesky` returned, of shape (..., n, n), or as in SciPy a pair of it and `lower`.
        b: one vector (n,), or matrices (..., n, k); leading axes broadcast.
        lower: whether the factor is L with L L^H = a, instead of its conjugate transpose.
    Returns: the common dtype, of shape (..., n) or (..., n, k).
    Raises: as `solve_triangular`.
    Example:
        >>> cr.linalg.cho_solve(cr.linalg.cholesky(cr.tensor([[4.0]])), cr.tensor([8.0]))
        tensor([2.])
    """
    if isinstance(factor, tuple):
        factor, lower = factor
    half = solve_triangular(factor, b, lower=lower, trans=0 if lower else 2)
    return solve_triangular(factor, half, lower=lower, trans=2 if lower else 0)


def inv(x: Any, /) -> Tensor:
    """The inverse of square matrices; `solve` is faster and more accurate where it is multiplied with something.

    Args:
        x: floating or complex, of shape (..., n, n).
    Returns: a tensor of the type of `x`.
    Raises: ShapeError for matrices that are not square, SingularMatrixError, which names the matrix of the batch, for a
        singular one when it is evaluated.
    Example:
        >>> cr.linalg.inv(cr.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5 , 0.  ],
                [0.  , 0.25]])
    Reference: Giles 2008, section 2.2.3.
    """
    return Tensor(emit("inv", matrices("inv", x, square=True)))


def det(x: Any, /) -> Tensor:
    """The determinant of square matrices.

    Args:
        x: floating or complex, of shape (..., n, n).
    Returns: the dtype of `x`, without the last two axes.
    Raises: ShapeError for matrices that are not square.
    Numerics: by LU, which over- and underflows where `slogdet` does not. The gradient is the matrix of cofactors, and
        right for singular matrices too.
    Example:
        >>> x = cr.tensor([[1.0, 2.0], [2.0, 4.0]])
        >>> cr.linalg.det(x)
        tensor(0.)
        >>> cr.round(cr.grad(cr.linalg.det)(x))
        tensor([[ 4., -2.],
                [-2.,  1.]])
    Reference: Giles 2008, section 2.2.4; Jacobi's formula.
    """
    return Tensor(emit("det", matrices("det", x, square=True)))


def slogdet(x: Any, /) -> SlogdetResult:
    """The sign of the determinant (of complex matrices a number of magnitude 1) and the logarithm of its magnitude.

    Args:
        x: floating or complex, of shape (..., n, n).
    Returns: (sign, logabsdet), of the dtype of `x` and its real dtype, without the last two axes; (0, -inf) for
        singular matrices.
    Raises: ShapeError for matrices that are not square; SingularMatrixError when a derivative of a singular one is
        evaluated.
    Example:
        >>> cr.linalg.slogdet(cr.tensor([[-1.0, 0.0], [0.0, 1.0]])).sign
        tensor(-1.)
    """
    sign, logarithm = cut(emit("slogdet", matrices("slogdet", x, square=True)), ((), ()))
    return SlogdetResult(Tensor(sign), Tensor(real_node(logarithm)))


def logdet(x: Any, /) -> Tensor:
    """The logarithm of the determinant: -inf for 0, NaN for a negative one, complex for complex matrices."""
    sign, logarithm = slogdet(x)
    if sign.dtype.kind == "c":
        return complex(logarithm, angle(sign))
    return where(sign < 0, float("nan"), logarithm)


def pinv(x: Any, /, rtol: Any = None, *, hermitian: bool = False) -> Tensor:
    """The Moore-Penrose inverse, by singular values.

    Args:
        x: floating or complex, of shape (..., m, n).
        rtol: singular values up to `rtol` times the greatest count as zero: a number or a tensor of the leading axes;
            max(m, n) times the distance from 1 to the next number by default.
        hermitian: whether to take the Hermitian part of `x` first.
    Returns: the dtype of `x`, of shape (..., n, m).
    Raises: ShapeError for fewer than two axes, SingularMatrixError where the iteration does not converge.
    Numerics: the derivative is that of matrices of the same rank; the inverse is not continuous where it changes.
    Example:
        >>> cr.linalg.pinv(cr.tensor([[2.0, 0.0]]))
        tensor([[0.5],
                [0. ]])
    Reference: Golub & Pereyra 1973, "The differentiation of pseudo-inverses".
    """
    node = matrices("pinv", x, square=hermitian)
    if hermitian:
        node = hermitian_part(node)
    return Tensor(emit("pinv", node, relative_bound("pinv", rtol, node)))


def lstsq(a: Any, b: Any, /, rcond: Any = None) -> LstsqResult:
    """The shortest x for which |a x - b| is least.

    Args:
        a: floating or complex, of shape (..., m, n).
        b: one vector (m,), or matrices (..., m, k); leading axes broadcast.
        rcond: singular values up to `rcond` times the greatest count as zero; the default is that of `pinv`.
    Returns: (solution, residuals, rank, singular_values): the solution of shape (..., n) or (..., n, k); the sums of
        squared residuals (..., k), of no elements unless m > n; int64; real, without derivative of the rank.
    Raises: ShapeError for shapes that do not fit.
    Numerics: by the pseudoinverse: the error and the gradient grow with the condition number, and with its square times
        the residual. The derivative is that of matrices of the same rank.
    Example:
        >>> a, b = cr.tensor([[1.0], [1.0]]), cr.tensor([1.0, 3.0])
        >>> cr.round(cr.linalg.lstsq(a, b).solution)
        tensor([2.])
    Reference: Golub & Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear least squares problems".
    """
    first, second = inexact("lstsq", a, b)
    check_matrices("lstsq", first, (first, second))
    side, vector = _sides("lstsq", first, second)
    common_batch("lstsq", (first, side))
    m, n = first.shape[-2:]
    bound = relative_bound("lstsq", rcond, first)
    matrix, right = Tensor(first), Tensor(side)
    with autocast(enabled=False):
        solution = matmul(Tensor(emit("pinv", first, bound)), right)
        rest = right - matmul(matrix, solution)
    if m > n:
        squares = square(real(rest)) + square(imag(rest)) if rest.dtype.kind == "c" else square(rest)
        residuals = sum_of(squares, -2)
    else:
        residuals = Tensor(full(0.0, (0,), real_dtype(first.dtype)))
    values = svdvals(matrix)
    if 0 in (m, n):
        rank = sum_of(values != 0, -1)
    else:
        rank = sum_of(values > values[..., :1] * Tensor(reshape(bound, (*bound.shape, 1))), -1)
    if vector:
        solved = node_of(solution)
        solution = Tensor(reshape(solved, solved.shape[:-1]))
    return LstsqResult(solution, residuals, rank, values)


def tensorinv(x: Any, /, ind: int = 2) -> Tensor:
    """The inverse under `tensordot`: of the first `ind` axes against the others, whose extents have equal products."""
    (node,) = inexact("tensorinv", x)
    if not hasattr(ind, "__index__"):
        reject("tensorinv", f"ind is a number of axes, not {ind!r}", (node,), "", DTypeError)
    first, second = node.shape[:ind], node.shape[ind:]
    m, n = size_of(first), size_of(second)
    if ind < 1 or m != n:
        reject("tensorinv", f"the first {ind} axes have {m} elements and the others {n}", (node,))
    return Tensor(reshape(emit("inv", reshape(node, (m, n))), (*second, *first)))


def tensorsolve(a: Any, b: Any, /) -> Tensor:
    """The solution x of tensordot(a, x, axes=x.ndim) = b, where a has the axes of b in front of those of x."""
    first, second = inexact("tensorsolve", a, b)
    shape: Shape = first.shape[len(second.shape) :]
    m, n = size_of(second.shape), size_of(shape)
    if first.shape[: len(second.shape)] != second.shape or m != n:
        reject("tensorsolve", f"{m} equations of shape {list(second.shape)} for {n} unknowns", (first, second))
    solution = emit("solve", reshape(first, (m, n)), reshape(second, (m, 1)))
    return Tensor(reshape(solution, shape))

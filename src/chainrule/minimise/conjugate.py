"""The linear method of conjugate gradients, for matrices, functions and Hessian-vector products."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import runtime
from ..control.loops import while_loop
from ..dtypes import DType
from ..errors import ConfigError, DTypeError, NonFiniteError, PlaceholderError, ShapeError
from ..functions import asarray, concat, maximum, reshape, sqrt, sum, where, zeros_like
from ..linalg import matmul
from ..ops.base import message
from ..tensor import Tensor, node_of
from ..tree import tree_flatten_with_path, tree_leaves, tree_unflatten
from .result import check_positive

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class CGInfo:
    """How a run of `cg` ended; tensors without axes, so that `cg` may be compiled and batched.

    Attributes:
        converged: whether the tolerance was reached.
        iterations: products with A, but the one for a given start.
        residual_norm: ``|b - A x|``, as the recurrence has it.
        definite: False if a direction was met along which A, or the preconditioner, is not positive (or not finite).
    """

    converged: Tensor
    iterations: Tensor
    residual_norm: Tensor
    definite: Tensor

    @property
    def message(self) -> str:
        """The same in words."""
        end = f"after {int(self.iterations)} products the residual's norm is {float(self.residual_norm):.2g}"
        if not bool(self.definite):
            return f"A (or the preconditioner) is not positive definite: {end}"
        return f"{'converged' if bool(self.converged) else 'maxiter is reached'}: {end}"


class Solved(NamedTuple):
    """The solution, its residual, the last direction and its curvature, the number of products, and whether a direction
    along which the matrix is not positive ended the run."""

    x: Tensor
    residual: Tensor
    direction: Tensor
    curvature: Tensor
    products: Tensor
    blocked: Tensor


def conjugate_gradients(
    product: Product, x: Tensor, residual: Tensor, least: Tensor, limit: int, before: Product | None = None
) -> Solved:
    """Solve ``A x = b`` from `x` with its residual, down to a residual norm of `least`: one loop, recorded.

    At a direction of negative curvature the loop ends with the `x` of before. Reverse mode has room for `limit` steps.
    """
    z = residual if before is None else before(residual)

    def going(state: tuple) -> Tensor:
        _, r, _, _, _, k, blocked = state
        return (sqrt(sum(r * r)) > least) & (k < limit) & ~blocked

    def step(state: tuple) -> tuple:
        x, r, p, rz, _, k, _ = state
        q = product(p)
        curvature = sum(p * q)
        fine = (curvature > 0) & (curvature < float("inf")) & (rz > 0)
        length = where(fine, rz / where(fine, curvature, 1.0), 0.0)
        r = where(fine, r - length * q, r)
        z = r if before is None else before(r)
        following = sum(r * z)
        beside = where(fine, following / where(fine, rz, 1.0), 0.0)
        return x + length * p, r, where(fine, z + beside * p, p), following, curvature, k + 1, ~fine

    start = (x, residual, z, sum(residual * z), sum(residual * 0.0), asarray(0), asarray(False))
    x, residual, direction, _, curvature, products, blocked = while_loop(going, step, start, max_steps=limit)
    return Solved(x, residual, direction, curvature, products, blocked)


class Vector:
    """A tree of tensors as one recorded vector, and back."""

    def __init__(self, name: str, tree: Any, what: str):
        self.name = name
        self.paths, leaves, self.definition = tree_flatten_with_path(tree, what)
        if not leaves:
            raise ConfigError(message(name, f"{what} has no leaves: there is nothing to solve for", ()))
        tensors = [leaf if isinstance(leaf, Tensor) else asarray(leaf) for leaf in leaves]
        for path, tensor in zip(self.paths, tensors):
            if tensor.dtype.name not in ("float32", "float64"):
                problem = f"{path} has dtype {tensor.dtype.name}, not float32 or float64"
                raise DTypeError(message(name, problem, (node_of(tensor),)))
            check_finite(name, path, tensor)
        self.shapes = [tensor.shape for tensor in tensors]
        self.dtypes = [tensor.dtype for tensor in tensors]
        self.dtype: DType = max(self.dtypes, key=lambda dtype: dtype.itemsize)
        self.start = self.join(tensors)

    def join(self, leaves: Sequence[Tensor]) -> Tensor:
        """The leaves one after the other."""
        parts = [reshape(leaf, (-1,)).astype(self.dtype) for leaf in leaves]
        return concat(parts) if len(parts) > 1 else parts[0]

    def tree(self, vector: Tensor) -> Any:
        """The tree that `vector` stands for."""
        leaves, at = [], 0
        for shape, dtype in zip(self.shapes, self.dtypes):
            size = int(np.prod(shape))
            leaves.append(reshape(vector[at : at + size], shape).astype(dtype))
            at += size
        return tree_unflatten(self.definition, leaves)

    def like(self, tree: Any, what: str) -> Tensor:
        """The vector of another tree, which has to have the same structure and shapes."""
        paths, leaves, definition = tree_flatten_with_path(tree, what)
        if definition != self.definition:
            problem = f"{what} has structure {definition}, not {self.definition}"
            raise ConfigError(message(self.name, problem, ()))
        tensors = [leaf if isinstance(leaf, Tensor) else asarray(leaf) for leaf in leaves]
        for path, tensor, shape in zip(paths, tensors, self.shapes):
            if tensor.shape != shape:
                problem = f"{path} has shape {list(tensor.shape)}, not {list(shape)}"
                raise ShapeError(message(self.name, problem, (node_of(tensor),)))
        return self.join(tensors)


def known_value(tensor: Tensor) -> np.ndarray | None:
    """The values of a tensor, None for a placeholder."""
    try:
        return np.asarray(tensor.detach())
    except PlaceholderError:
        return None


def check_finite(name: str, path: str, tensor: Tensor) -> None:
    """Raise NonFiniteError for a tensor with a value that is not finite; placeholders have none."""
    array = known_value(tensor)
    if array is not None and not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise NonFiniteError(message(name, f"{path}{place or ''} is {array[tuple(place)]}", (node_of(tensor),)))


def cg(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    tol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
    preconditioner: Any = None,
) -> tuple[Any, CGInfo]:
    """Solve ``A x = b`` for a symmetric positive definite A by conjugate gradients, ``(x, info)``.

    n steps give the solution of n equations in exact arithmetic, fewer where eigenvalues are clustered. The iteration
    is one native loop; it may stand in compiled and batched functions.

    Args:
        A: an (n, n) tensor or array, or a function from a tree like `b` to its product, such as
            ``lambda v: chainrule.hvp(f, (x,), (v,))``.
        b: a tree of float32 and float64 tensors; one axis of length n for a matrix.
        x0: where to start, a tree like `b`; None for zeros.
        tol, atol: stop at ``|b - A x| <= max(tol |b|, atol)``.
        maxiter: most steps; None for ten times the number of elements.
        preconditioner: an approximate inverse of A that is symmetric and positive definite too, given as A is.

    Returns:
        x, a tree like `b`, and a `CGInfo`. A direction along which A is not positive ends the run, not converged, with
        the x of before.

    Raises:
        ShapeError: a matrix that is not (n, n), or a tree that does not match. ConfigError: a matrix that is not
            symmetric, or an option out of range. DTypeError: `b` is not floating. NonFiniteError: `b` or a matrix is
            not finite.

    Numerics:
        The residual comes from the recurrence, not from a product. Vectors have the widest dtype of `b`. Derivatives
        are those of the steps taken, not of the exact solution: ask for a small `tol`. Reverse mode keeps `maxiter`
        steps.

    Example:
        >>> import chainrule as cr
        >>> A = cr.tensor([[4.0, 1.0], [1.0, 3.0]])
        >>> x, info = cr.minimise.cg(A, cr.tensor([1.0, 2.0]))
        >>> [round(v, 4) for v in x.tolist()], int(info.iterations), bool(info.converged)
        ([0.0909, 0.6364], 2, True)

    Reference:
        Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952; Nocedal and Wright,
        Numerical Optimization, 2006, algorithms 5.2 and 5.3.
    """
    name = "cg"
    for key, value in (("tol", tol), ("atol", atol)):
        if not 0 <= value < float("inf"):
            raise ConfigError(message(name, f"{key} has to be a number from 0 on, not {value!r}", ()))
    vector = Vector(name, b, "b")
    right = vector.start
    if maxiter is None:
        maxiter = max(10 * right.size, 1)
    check_positive(name, maxiter=maxiter)
    product = _product(name, "A", A, vector)
    before = None if preconditioner is None else _product(name, "preconditioner", preconditioner, vector)
    if x0 is None:
        x, residual = zeros_like(right), right
    else:
        x = vector.like(x0, "x0")
        residual = right - product(x)
    least = maximum(sqrt(sum(right * right)) * tol, asarray(atol, dtype=right.dtype))
    solved = conjugate_gradients(product, x, residual, least, maxiter, before)
    norm = sqrt(sum(solved.residual * solved.residual))
    info = CGInfo((norm <= least) & ~solved.blocked, solved.products, norm, ~solved.blocked)
    found = vector.tree(solved.x)
    with contextlib.suppress(PlaceholderError):  # all at once, or the loop would run again for each that is read
        tensors = [*tree_leaves(found), info.converged, info.iterations, info.residual_norm, info.definite]
        runtime.evaluate([node_of(tensor) for tensor in tensors])
    return found, info


def _product(name: str, what: str, A: Any, vector: Vector) -> Product:
    """A matrix, or a function of trees, as a function of vectors."""
    if callable(A) and not isinstance(A, Tensor):
        return lambda v: vector.like(A(vector.tree(v)), f"the product of {what}")
    tensor = A if isinstance(A, Tensor) else asarray(A)
    size = vector.start.size
    if tensor.shape != (size, size) or vector.shapes != [(size,)]:
        shapes = ", ".join(str(list(shape)) for shape in vector.shapes)
        problem = f"{what} has shape {list(tensor.shape)}, b has shape {shapes}; a matrix is [n, n], b then [n]"
        raise ShapeError(message(name, problem, (node_of(tensor),), "give a function for trees and other shapes"))
    check_finite(name, what, tensor)
    matrix = known_value(tensor)
    if matrix is not None and matrix.size:
        rounding = np.finfo(vector.dtype.numpy).eps
        gap = np.abs(matrix - matrix.T)
        if gap.max() > 1e3 * rounding * np.abs(matrix).max():
            i, j = sorted(map(int, np.unravel_index(gap.argmax(), gap.shape)))
            problem = f"{what} is not symmetric: [{i}, {j}] is {matrix[i, j]:.6g}, [{j}, {i}] is {matrix[j, i]:.6g}"
            raise ConfigError(message(name, problem, (node_of(tensor),), "chainrule.linalg.solve takes any matrix"))
    matrix_of = tensor.astype(vector.dtype)
    return lambda v: matmul(matrix_of, v)

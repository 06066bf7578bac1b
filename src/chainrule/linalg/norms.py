"""Norms of vectors and matrices, condition numbers and ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import int64
from ..errors import ConfigError, DTypeError
from ..functions.complex import imag, real
from ..functions.creation import eye
from ..functions.data_types import astype
from ..functions.elementwise import abs as absolute
from ..functions.elementwise import sqrt, square, where
from ..functions.reduction import max as maximum_of
from ..functions.reduction import min as minimum_of
from ..functions.reduction import sum as sum_of
from ..functions.shape import expand_dims
from ..graph.node import Node
from ..recording import normal_axes, reject
from ..tensor import Tensor
from .factorisations import svdvals
from .operands import check_matrices, matrices, relative_bound
from .systems import inv, slogdet

_INFINITY = float("inf")


def _floating(name: str, x: Any) -> Tensor:
    node = to_node(x, name)
    if node.dtype.kind not in "fc":
        problem = f"a floating or complex dtype is needed, not {node.dtype.name}"
        reject(name, problem, (node,), "convert with .astype(chainrule.float32)", DTypeError)
    return Tensor(node)


def _root(total: Tensor, order: float) -> Tensor:
    """``total ** (1 / order)``, whose derivative at 0 is 0."""
    zero = total == 0
    if order == 2:
        return where(zero, 0.0, sqrt(where(zero, 1.0, total)))
    if order < 0:
        return total ** (1.0 / order)
    return where(zero, 0.0, where(zero, 1.0, total) ** (1.0 / order))


def _greatest(size: Tensor, axis: Any, keepdims: bool = False) -> Tensor:
    """The greatest of magnitudes, 0 where there are none."""
    node = to_node(size)
    if any(node.shape[a] == 0 for a in normal_axes("norm", axis, len(node.shape), node)):
        return sum_of(size, axis, keepdims=keepdims)
    return maximum_of(size, axis, keepdims=keepdims)


def _least(name: str, x: Tensor, size: Tensor, axis: Any, order: float, keepdims: bool = False) -> Tensor:
    """The least of magnitudes of `x`; no number is the least of none."""
    node = to_node(size)
    if any(node.shape[a] == 0 for a in normal_axes(name, axis, len(node.shape), node)):
        reject(name, f"ord={order} is the least of 0 values", (to_node(x),), "take another order")
    return minimum_of(size, axis, keepdims=keepdims)


def vector_norm(
    x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2, dim: Any = None, keepdim: bool = False
) -> Tensor:
    """The norm (sum of |x|^ord)^(1/ord) over `axis` (all axes by default).

    Args:
        x: floating or complex.
        axis: one axis, several, or None.
        keepdims: whether the axes stay, with one element.
        ord: a number; inf and -inf give the extremes of |x|, 0 counts the elements that are not 0.
    Returns: a real tensor of the precision of `x`. Norms of vectors without elements are 0, of negative orders inf.
    Raises: DTypeError for integers, ShapeError for an axis out of range and for -inf of vectors without elements,
        ConfigError for an order that is no number.
    Numerics: the derivative where the norm is 0 is taken as 0, and for orders below 2 so are those by elements that are
        0; ties of extremes share it.
    Example:
        >>> cr.linalg.vector_norm(cr.tensor([3.0, 4.0]))
        tensor(5.)
    """
    value = _floating("vector_norm", x)
    axis, keepdims = dim if axis is None else axis, keepdims or keepdim
    if not isinstance(ord, (int, float, np.integer, np.floating)) or ord != ord:
        reject("vector_norm", f"ord is a number, not {ord!r}", (to_node(value),), "", ConfigError)
    if ord == 2:
        if value.dtype.kind == "c":
            return _root(sum_of(square(real(value)) + square(imag(value)), axis, keepdims=keepdims), 2)
        return _root(sum_of(square(value), axis, keepdims=keepdims), 2)
    size = absolute(value)
    if ord == _INFINITY:
        return _greatest(size, axis, keepdims)
    if ord == -_INFINITY:
        return _least("vector_norm", value, size, axis, ord, keepdims)
    if ord == 1:
        return sum_of(size, axis, keepdims=keepdims)
    if ord == 0:
        return sum_of(astype(size != 0, size.dtype), axis, keepdims=keepdims)
    order = float(ord)
    if order >= 2:
        return _root(sum_of(size**order, axis, keepdims=keepdims), order)
    zero = size == 0
    powers = where(zero, 0.0 if order > 0 else _INFINITY, where(zero, 1.0, size) ** order)
    return _root(sum_of(powers, axis, keepdims=keepdims), order)


_MATRIX_ORDERS = ("fro", "nuc", _INFINITY, -_INFINITY, 1, -1, 2, -2)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro", keepdim: bool = False) -> Tensor:
    """A norm of the matrices of the last two axes.

    Args:
        x: floating or complex, of shape (..., m, n).
        keepdims: whether both axes stay, with one element.
        ord: "fro", the root of the sum of |x|^2; "nuc", the sum of the singular values; 2 and -2, the greatest and the
            least of them; 1 and -1, the greatest and the least sum of magnitudes of a column; inf and -inf, of a row.
    Returns: a real tensor of the precision of `x`. Norms of matrices without elements are 0.
    Raises: ConfigError for another order, ShapeError for fewer than two axes and for -1, -2 and -inf where there is
        nothing to be the least, DTypeError for integers.
    Example:
        >>> cr.linalg.matrix_norm(cr.tensor([[1.0, -2.0], [3.0, 4.0]]), ord=1)
        tensor(6.)
    """
    keepdims = keepdims or keepdim
    if isinstance(ord, str) and ord == "fro":
        value = _floating("matrix_norm", x)
        check_matrices("matrix_norm", to_node(value), (to_node(value),))
        return vector_norm(value, axis=(-2, -1), keepdims=keepdims)
    if ord not in _MATRIX_ORDERS:
        problem = f"ord is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, not {ord!r}"
        reject("matrix_norm", problem, (), "", ConfigError)
    value = Tensor(matrices("matrix_norm", x))
    if ord in ("nuc", 2, -2):
        values = svdvals(value)
        if ord == "nuc":
            result = sum_of(values, -1)
        else:
            result = _greatest(values, -1) if ord == 2 else _least("matrix_norm", value, values, -1, ord)
    else:
        inward = -2 if ord in (1, -1) else -1
        sums = sum_of(absolute(value), inward)
        result = _greatest(sums, -1) if ord > 0 else _least("matrix_norm", value, sums, -1, ord)
    return expand_dims(result, (-2, -1)) if keepdims else result


def norm(
    x: Any, /, ord: Any = None, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
) -> Tensor:
    """A vector norm or a matrix norm, with the rules of ``numpy.linalg.norm``.

    Args:
        x: floating or complex.
        ord: see `vector_norm` and `matrix_norm`; None for the root of the sum of |x|^2.
        axis: one axis for vectors, two for matrices. If it is None, `ord` decides: without one `x` counts as one
            vector; with one `x` has to be a vector or a matrix.
        keepdims: whether the axes stay, with one element.
    Returns: a real tensor of the precision of `x`.
    Raises: ShapeError for more axes than two, ConfigError for an order that there is not.
    Example:
        >>> cr.linalg.norm(cr.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor(5.)
    """
    value = _floating("norm", x)
    axis, keepdims = dim if axis is None else axis, keepdims or keepdim
    if ord is None:
        return vector_norm(value, axis=axis, keepdims=keepdims)
    node, rank = to_node(value), len(value.shape)
    if axis is None:
        if rank not in (1, 2):
            reject("norm", f"with ord and without axis a vector or a matrix is needed, not {rank} axes", (node,))
        axis = tuple(range(rank))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if len(axes) == 1:
        if isinstance(ord, str):
            reject("norm", f"ord {ord!r} is for matrices; vectors have numbers", (node,), "", ConfigError)
        return vector_norm(value, axis=axes[0], keepdims=keepdims, ord=ord)
    if len(axes) != 2:
        reject("norm", f"one axis or two are needed, not {len(axes)}", (node,))
    return _matrix_norm_of(value, node, tuple(axes), ord, keepdims)


def _matrix_norm_of(value: Tensor, node: Node, axes: tuple, ord: Any, keepdims: bool) -> Tensor:
    """The norm of the matrices of two axes, rows first."""
    rank = len(node.shape)
    normal = normal_axes("norm", axes, rank, node)
    row, column = (a.__index__() % rank for a in axes)
    others = tuple(i for i in range(rank) if i not in normal)
    result = matrix_norm(value.permute(*others, row, column), ord=ord)
    return expand_dims(result, normal) if keepdims else result


def p_norm(
    x: Any, /, p: Any = 2, *, ord: Any = None, axis: Any = None, dim: Any = None, keepdims: bool = False,
    keepdim: bool = False,
) -> Tensor:  # fmt: skip
    """`vector_norm` with PyTorch's name and arguments: ``chainrule.norm`` and the method ``norm`` of tensors."""
    order = p if ord is None else ord
    order = 2 if order == "fro" else order
    return vector_norm(x, axis=dim if axis is None else axis, keepdims=keepdims or keepdim, ord=order)


def cond(x: Any, /, p: Any = None) -> Tensor:
    """The condition number: how much larger a relative error of the solution can be than one of the matrix.

    cond(x) = |x| |x^-1|, in the 2-norm the greatest over the least singular value

    Args:
        x: floating or complex, of shape (..., m, n); square for other orders than 2 and -2.
        p: None or an order of `matrix_norm`.
    Returns: a real tensor without the last two axes; infinite for singular matrices.
    Raises: ConfigError for another order; ShapeError for matrices that are not square in other orders than 2 and -2.
    Example:
        >>> cr.linalg.cond(cr.tensor([[2.0, 0.0], [0.0, 1.0]]))
        tensor(2.)
    """
    if p is None or p in (2, -2):
        node = matrices("cond", x)
        if 0 in node.shape[-2:]:
            reject("cond", "matrices without elements have no condition number", (node,))
        values = svdvals(Tensor(node))
        first, last = values[..., 0], values[..., -1]
        return last / first if p == -2 else first / last
    value = Tensor(matrices("cond", x, square=True))
    singular = slogdet(value.detach()).sign == 0
    regular = where(singular[..., None, None], eye(value.shape[-1], dtype=value.dtype), value)
    return where(singular, _INFINITY, matrix_norm(value, ord=p) * matrix_norm(inv(regular), ord=p))


def matrix_rank(x: Any, /, *, rtol: Any = None, tol: Any = None) -> Tensor:
    """The number of singular values above a bound, int64.

    Args:
        x: floating or complex, of shape (..., m, n).
        rtol: the bound over the greatest singular value, a number or a tensor of the leading axes; max(m, n) times the
            distance from 1 to the next number by default.
        tol: the bound itself, instead.
    Returns: int64, without the last two axes.
    Raises: ConfigError if both bounds are given.
    Example:
        >>> cr.linalg.matrix_rank(cr.tensor([[1.0, 2.0], [2.0, 4.0]]))
        tensor(1)
    """
    node = matrices("matrix_rank", x)
    if rtol is not None and tol is not None:
        reject("matrix_rank", "rtol and tol are two bounds, of which one is needed", (node,), "", ConfigError)
    values = svdvals(Tensor(node))
    if 0 in node.shape[-2:]:
        return sum_of(values != 0, -1)
    if tol is None:
        bound = values[..., :1] * expand_dims(Tensor(relative_bound("matrix_rank", rtol, node)), -1)
    else:
        bound = expand_dims(astype(Tensor(to_node(tol, "matrix_rank")), values.dtype), -1)
    return astype(sum_of(values > bound, -1), int64)

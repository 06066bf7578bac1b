"""Distances between points."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..conversion import to_node
from ..errors import ConfigError
from ..ops.base import message
from ..recording import promoted, reject
from ..tensor import Tensor
from .elementwise import abs, pow, sqrt, square, where
from .reduction import max, sum
from .searching import check_ordered, take
from .shape import expand_dims


def _length(difference: Tensor, p: float) -> Tensor:
    """The p-norm over the last axis, whose derivative at 0 is 0."""
    if p == 0:
        return sum((difference != 0).astype(difference.dtype), -1)
    size = abs(difference)
    if p == 1:
        return sum(size, -1)
    if p == float("inf"):
        return max(size, -1)
    total = sum(square(difference) if p == 2 else pow(where(size == 0, 1.0, size), p) * (size != 0).astype(size.dtype),
                -1)  # fmt: skip
    apart = total > 0
    safe = where(apart, total, 1.0)
    return where(apart, sqrt(safe) if p == 2 else pow(safe, 1.0 / p), 0.0)


def _check(name: str, p: float) -> None:
    if not p >= 0:
        raise ConfigError(message(name, f"p is not negative, not {p}", ()))


def cdist(x1: Any, x2: Any, /, p: float = 2.0) -> Tensor:
    """The distances between all pairs of points: out[..., i, j] = || x1[..., i, :] - x2[..., j, :] ||_p.

    Args: x1: (..., n, d), x2: (..., m, d), floating; leading axes broadcast. p: not negative, also inf.
    Returns: (..., n, m). Raises: ShapeError where d differs.
    Numerics: from the differences themselves, so that near points keep their digits. The derivative of a distance
        of 0 is 0.
    """
    _check("cdist", p)
    a, b = to_node(x1, "cdist"), to_node(x2, "cdist")
    check_ordered("cdist", promoted("cdist", (a, b)), (a, b))
    if len(a.shape) < 2 or len(b.shape) < 2:
        reject("cdist", "points are the rows of matrices", (a, b))
    if a.shape[-1] != b.shape[-1]:
        reject("cdist", f"points have {a.shape[-1]} and {b.shape[-1]} coordinates", (a, b))
    return _length(expand_dims(Tensor(a), -2) - expand_dims(Tensor(b), -3), float(p))


def pdist(x: Any, /, p: float = 2.0) -> Tensor:
    """The distances between the rows i < j of a matrix (n, d), in row-major order of (i, j): n (n - 1) / 2 of them.

    See `cdist`.
    """
    _check("pdist", p)
    node = to_node(x, "pdist")
    check_ordered("pdist", node.dtype, (node,))
    if len(node.shape) != 2:
        reject("pdist", "points are the rows of a matrix", (node,))
    rows, columns = (np.ascontiguousarray(i) for i in np.triu_indices(node.shape[0], 1))
    value = Tensor(node)
    return _length(take(value, rows, axis=0) - take(value, columns, axis=0), float(p))

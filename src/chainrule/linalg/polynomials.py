"""Polynomials: their values, and fitting them to points."""

from __future__ import annotations

from typing import Any

from ..conversion import to_node
from ..dtypes import float64
from ..errors import ConfigError
from ..functions.diagonals import vander
from ..functions.elementwise import sqrt, where
from ..functions.reduction import sum
from ..functions.shape import expand_dims
from ..ops.base import message
from ..recording import cast, promoted, reject
from ..tensor import Tensor
from . import lstsq


def _floating(name: str, *values: Any) -> list[Tensor]:
    """Tensors of one dtype, float64 for whole numbers; Python numbers take that of the others."""
    nodes = [to_node(v, name) for v in values]
    nodes = [n if n.dtype.kind in "fc" else cast(n, float64) for n in nodes]
    strong = [n for n, v in zip(nodes, values) if not isinstance(v, (int, float))] or nodes
    dtype = promoted(name, strong)
    return [Tensor(cast(n, dtype)) for n in nodes]


def polyval(p: Any, x: Any, /) -> Tensor:
    """The polynomial with coefficients `p`, that of the highest power first, at `x`, by Horner's rule."""
    coefficients, value = _floating("polyval", p, x)
    result = value * 0.0
    for i in range(coefficients.shape[0]):
        result = result * value + coefficients[i]
    return result


def polyfit(x: Any, y: Any, deg: int, /, *, w: Any = None) -> Tensor:
    """The coefficients, that of the highest power first, of the polynomial nearest to the points (x, y).

    sum over i of w_i^2 (p(x_i) - y_i)^2 is least

    Args: x: places (n,). y: values (n,) or (n, k), one polynomial for each column. deg: the degree. w: weights (n,).
    Returns: (deg + 1,) or (deg + 1, k).
    Raises: ConfigError for a negative degree; ShapeError where the points do not fit.
    Numerics: columns of powers are scaled to one length, and the least-squares problem itself is solved.
    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> x = cr.tensor([0.0, 1.0, 2.0, 3.0])
        >>> np.allclose(cr.polyfit(x, x**2 - 2 * x, 2), [1.0, -2.0, 0.0], atol=1e-5)
        True
    """
    if deg < 0:
        raise ConfigError(message("polyfit", f"the degree is not negative, not {deg}", ()))
    places, values = _floating("polyfit", x, y)
    nodes = (to_node(places), to_node(values))
    if places.ndim != 1 or values.ndim not in (1, 2) or places.shape[0] != values.shape[0] or not places.shape[0]:
        reject("polyfit", "points are a vector of places and as many values, one point at least", nodes)
    columns = vander(places, deg + 1)
    right = values if values.ndim == 2 else expand_dims(values, 1)
    if w is not None:
        weights = Tensor(cast(to_node(w, "polyfit"), places.dtype))
        if weights.shape != places.shape:
            reject("polyfit", f"weights of shape {weights.shape} for {places.shape[0]} points", nodes)
        columns, right = columns * expand_dims(weights, 1), right * expand_dims(weights, 1)
    length = sqrt(sum(columns * columns, 0))
    length = where(length == 0, 1.0, length)
    found = lstsq(columns / length, right)[0] / expand_dims(length, 1)
    return found if values.ndim == 2 else found[:, 0]

"""Running extremes and running log-sum-exp; running sums and products are in `reduction`.

Running totals are computed by doubling distances: log2(n) passes over the array (sums and products: of blocks of it),
which compile to native code, instead of one in which each addition waits for the one before. Rounding errors grow with
log n, not n.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..conversion import to_node
from ..dtypes import float64
from ..graph.node import Node
from ..ops.base import emit
from ..recording import cast, full, normal_axis, reject, reshape, size_of
from ..tensor import Tensor
from .elementwise import exp, isfinite, isnan, log, maximum, where
from .reduction import cumulative_prod, cumulative_sum
from .searching import check_ordered, take_along_axis


class CumulativeExtreme(NamedTuple):
    """The extreme of each element and those before it, and its index."""

    values: Tensor
    indices: Tensor


def _axis(name: str, node: Node, axis: int | None) -> int:
    if axis is None:
        if len(node.shape) != 1:
            reject(name, "an axis has to be named for this many axes", (node,))
        axis = 0
    return normal_axis(name, axis, len(node.shape), node)


def _extreme(name: str, kind: str, x: Any, axis: int | None) -> CumulativeExtreme:
    node = to_node(x, name)
    check_ordered(name, node.dtype, (node,))
    axis = _axis(name, node, axis)
    if size_of(node.shape):
        places = Tensor(emit("running_place", node, attributes=(axis, kind)))
    else:
        places = Tensor(full(0, node.shape, to_node(0).dtype))
    return CumulativeExtreme(take_along_axis(Tensor(node), places, axis=axis), places)


def cummax(x: Any, /, axis: int | None = None, *, dim: int | None = None) -> CumulativeExtreme:
    """The greatest element so far along `axis`, and its index: the last of equal ones; NaN stays once it has come.

    The derivative goes to the element at the index. `axis` may be left out for a vector.
    Example:
        >>> import chainrule as cr
        >>> cr.cummax(cr.tensor([1.0, 3.0, 2.0])).values
        tensor([1., 3., 3.])
    """
    return _extreme("cummax", "max", x, dim if axis is None else axis)


def cummin(x: Any, /, axis: int | None = None, *, dim: int | None = None) -> CumulativeExtreme:
    """The least element so far along `axis`, and its index: the last of equal ones; NaN stays once it has come."""
    return _extreme("cummin", "min", x, dim if axis is None else axis)


def logcumsumexp(x: Any, /, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """log of the running sum of exp(x) along `axis`, without overflow.

    out[i] = log(exp(x[0]) + ... + exp(x[i]))

    Args: x: floating. axis: may be left out for a vector.
    Numerics: by doubling distances; -inf is no element, +inf and NaN stay once they have come.
    """
    node = to_node(x, "logcumsumexp")
    if node.dtype.kind != "f":
        node = cast(node, float64)
    axis = _axis("logcumsumexp", node, dim if axis is None else axis)
    distance, value = 1, Tensor(node)
    while distance < node.shape[axis]:
        value = _added(value, _moved(value, axis, distance))
        distance *= 2
    return value


def _moved(x: Tensor, axis: int, distance: int) -> Tensor:
    """`x` moved `distance` places up along `axis`, with -inf coming in."""
    node = to_node(x)
    rank = len(node.shape)
    stops = tuple(e - distance if a == axis else e for a, e in enumerate(node.shape))
    node = emit("slice", node, attributes=((0,) * rank, stops, (1,) * rank))
    low = tuple(distance if a == axis else 0 for a in range(rank))
    fill = full(float("-inf"), (), node.dtype)
    return Tensor(emit("pad", node, fill, attributes=(low, (0,) * rank, (0,) * rank)))


def _added(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) + exp(b)) whose derivative is 0, not NaN, where both are -inf."""
    high = maximum(a, b).detach()
    plain = isfinite(high)
    shift = where(plain, high, 0.0)
    total = where(plain, exp(where(plain, a, 0.0) - shift) + exp(where(plain, b, 0.0) - shift), 1.0)
    return where(plain, log(total) + shift, high)


def nancumsum(x: Any, /, axis: int | None = None) -> Tensor:
    """Running sum along `axis` (of all elements, flattened, if None) in which NaN counts as 0."""
    return cumulative_sum(*_without_nan("nancumsum", x, axis, 0))


def nancumprod(x: Any, /, axis: int | None = None) -> Tensor:
    """Running product along `axis` (of all elements, flattened, if None) in which NaN counts as 1."""
    return cumulative_prod(*_without_nan("nancumprod", x, axis, 1))


def _without_nan(name: str, x: Any, axis: int | None, neutral: int) -> tuple[Tensor, int]:
    node = to_node(x, name)
    if axis is None:
        node, axis = reshape(node, (size_of(node.shape),)), 0
    value = Tensor(node)
    if node.dtype.kind in "fc":
        value = where(isnan(value), neutral if node.dtype.kind == "c" else float(neutral), value)
    return value, normal_axis(name, axis, len(node.shape), node)

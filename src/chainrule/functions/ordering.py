"""Order: partitions, several keys, order statistics."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..conversion import to_node
from ..dtypes import int64
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import broadcast, broadcast_shapes, full, normal_axis, reject, reshape, size_of
from ..tensor import Tensor
from .elementwise import isnan
from .searching import argsort, check_ordered, sort, take_along_axis


class ValuesIndices(NamedTuple):
    """Values, and their indices along the axis."""

    values: Tensor
    indices: Tensor


def _flat(x: Any, axis: int | None, name: str) -> tuple[Tensor, int]:
    """`x` and the axis; flattened if that is None."""
    node = to_node(x, name)
    check_ordered(name, node.dtype, (node,))
    if axis is None:
        return Tensor(reshape(node, (size_of(node.shape),))), 0
    return Tensor(node), normal_axis(name, axis, len(node.shape), node)


def _check_places(name: str, kth: Any, extent: int, x: Tensor) -> None:
    for k in (kth,) if hasattr(kth, "__index__") else tuple(kth):
        if not -extent <= k < extent:
            reject(name, f"place {k} is out of range for {extent} elements", (to_node(x),))


def partition(x: Any, kth: Any, /, axis: int | None = -1) -> Tensor:
    """`x` with the element that sorting would put at `kth` there, no greater ones before, no lesser ones behind.

    Any such order will do; here `x` is sorted. `kth` is a number or several; with ``axis=None`` `x` is flattened.
    Raises: ShapeError for a place outside the axis.
    """
    value, axis = _flat(x, axis, "partition")
    _check_places("partition", kth, value.shape[axis], value)
    return sort(value, axis=axis)


def argpartition(x: Any, kth: Any, /, axis: int | None = -1) -> Tensor:
    """The indices, int64, that make a `partition` of `x`."""
    value, axis = _flat(x, axis, "argpartition")
    _check_places("argpartition", kth, value.shape[axis], value)
    return argsort(value, axis=axis)


def msort(x: Any, /) -> Tensor:
    """`x` sorted along its first axis."""
    return sort(x, axis=0)


def lexsort(keys: Any, /, axis: int = -1) -> Tensor:
    """The indices that order by several keys: by the last of them, where that is equal by the one before, and so on.

    Args: keys: a sequence of arrays of one shape, or one array whose first axis counts the keys.
    Returns: int64, the shape of one key. Stable; NaN last.
    Raises: ConfigError without keys; ShapeError where their shapes do not broadcast.
    Example:
        >>> import chainrule as cr
        >>> cr.lexsort(([9, 1, 5], [0, 1, 0]))
        tensor([2, 0, 1])
    """
    if isinstance(keys, Tensor):
        nodes = [to_node(part) for part in keys]
    else:
        nodes = [to_node(key, "lexsort") for key in keys]
    if not nodes:
        raise ConfigError(message("lexsort", "there are no keys", ()))
    for node in nodes:
        check_ordered("lexsort", node.dtype, nodes)
    shape = broadcast_shapes("lexsort", nodes)
    nodes = [broadcast(node, shape) for node in nodes]
    axis = normal_axis("lexsort", axis, len(shape), nodes[0])
    order = argsort(Tensor(nodes[0]), axis=axis)
    for node in nodes[1:]:
        by_key = argsort(take_along_axis(Tensor(node), order, axis=axis), axis=axis)
        order = take_along_axis(order, by_key, axis=axis)
    return order


def kthvalue(
    x: Any, k: int, /, axis: int = -1, keepdims: bool = False, *, dim: int | None = None, keepdim: bool = False
) -> ValuesIndices:
    """The `k`-th least element along `axis` (1 is the least), and its index; NaN counts as the greatest.

    Raises: ShapeError for k outside [1, n].
    """
    node = to_node(x, "kthvalue")
    keepdims = keepdims or keepdim
    axis = normal_axis("kthvalue", axis if dim is None else dim, len(node.shape), node)
    if not hasattr(k, "__index__") or not 1 <= k <= node.shape[axis]:
        reject("kthvalue", f"element {k} of the {node.shape[axis]} along axis {axis}", (node,))
    starts = tuple(k - 1 if a == axis else 0 for a in range(len(node.shape)))
    stops = tuple(k if a == axis else e for a, e in enumerate(node.shape))
    order = emit("first_places", node, attributes=(axis, k.__index__(), False))
    place = emit("slice", order, attributes=(starts, stops, (1,) * len(stops)))
    value = emit("take_along", node, place, attributes=(axis,))
    if not keepdims:
        shape = tuple(e for a, e in enumerate(node.shape) if a != axis)
        place, value = reshape(place, shape), reshape(value, shape)
    return ValuesIndices(Tensor(value), Tensor(place))


def mode(
    x: Any, /, axis: int = -1, keepdims: bool = False, *, dim: int | None = None, keepdim: bool = False
) -> ValuesIndices:
    """The most frequent value along `axis`, of equally frequent ones the least, and the index of its last occurrence.

    Raises: ShapeError for an axis without elements.
    """
    node = to_node(x, "mode")
    keepdims = keepdims or keepdim
    check_ordered("mode", node.dtype, (node,))
    axis = normal_axis("mode", axis if dim is None else dim, len(node.shape), node)
    extent = node.shape[axis]
    if not extent:
        reject("mode", f"axis {axis} has no elements", (node,))
    last = len(node.shape) - 1
    order = Tensor(emit("argsort", node, attributes=(axis,)))
    ordered = take_along_axis(Tensor(node), order, axis=axis)
    front = _last(to_node(ordered), axis)
    counts = emit("sub", *(emit("searchsorted", front, front, attributes=(s,)) for s in ("right", "left")))
    most = emit("argmax", counts, attributes=(last,))  # the start of the longest run
    column = (*most.shape, 1)
    run = emit("take_along", counts, reshape(most, column), attributes=(last,))
    end = emit("sub", emit("add", reshape(most, column), run), full(1, column, int64))
    place = emit("take_along", _last(to_node(order), axis), end, attributes=(last,))
    value = emit("take_along", _last(node, axis), place, attributes=(last,))
    shape = tuple(e for a, e in enumerate(node.shape) if a != axis)
    if keepdims:
        shape = tuple(1 if a == axis else e for a, e in enumerate(node.shape))
    return ValuesIndices(Tensor(reshape(value, shape)), Tensor(reshape(place, shape)))


def _last(node: Node, axis: int) -> Node:
    """`node` with `axis` moved to the end."""
    order = (*(a for a in range(len(node.shape)) if a != axis), axis)
    return node if order == tuple(range(len(order))) else emit("permute", node, attributes=(order,))


def digitize(x: Any, bins: Any, /, right: bool = False) -> Tensor:
    """Which bin each element falls into: i if bins[i-1] <= x < bins[i] (with `right`, bins[i-1] < x <= bins[i]).

    Args: bins: a vector, ascending or descending (then bins[i-1] > x >= bins[i], or with `right` the other way round).
    Returns: int64 in [0, n], the shape of x.
    """
    table, wanted = to_node(bins, "digitize"), to_node(x, "digitize")
    if len(table.shape) != 1:
        reject("digitize", "the bins are a vector", (wanted, table))
    count = table.shape[0]
    flat = reshape(wanted, (size_of(wanted.shape),))
    up = _searched(table, flat, "left" if right else "right")
    if count > 1:
        ends = [emit("slice", table, attributes=((i,), (i + 1,), (1,))) for i in (0, count - 1)]
        falling = emit("gt", ends[0], ends[1])
        down = _searched(emit("flip", table, attributes=((0,),)), flat, "left" if right else "right")
        down = emit("sub", full(count, down.shape, int64), down)
        up = emit("where", emit("broadcast", falling, attributes=(up.shape, (0,))), down, up)
    return Tensor(reshape(up, wanted.shape))


def _searched(table: Node, wanted: Node, side: str) -> Node:
    if table.dtype is not wanted.dtype:
        if "f" not in (table.dtype.kind, wanted.dtype.kind):
            reject(
                "digitize", "operands have different dtypes", (wanted, table), "convert with .astype(...)", DTypeError
            )
        dtype = table.dtype if table.dtype.kind == "f" else wanted.dtype
        table, wanted = (emit("cast", n, attributes=(dtype,)) if n.dtype is not dtype else n for n in (table, wanted))
    return emit("searchsorted", table, wanted, attributes=(side,))


def bucketize(x: Any, boundaries: Any, /, *, right: bool = False) -> Tensor:
    """PyTorch's `searchsorted` with its arguments the other way round: boundaries[i-1] < x <= boundaries[i]."""
    table, wanted = to_node(boundaries, "bucketize"), to_node(x, "bucketize")
    flat = reshape(wanted, (size_of(wanted.shape),))
    return Tensor(reshape(_searched(table, flat, "right" if right else "left"), wanted.shape))


def nanargmax(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """Index of the first greatest element that is not NaN; 0 where all are."""
    return _nanarg("nanargmax", "argmax", float("-inf"), x, axis, keepdims)


def nanargmin(x: Any, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """Index of the first least element that is not NaN; 0 where all are."""
    return _nanarg("nanargmin", "argmin", float("inf"), x, axis, keepdims)


def _nanarg(name: str, operation: str, fill: float, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    value, at = _flat(x, axis, name)
    node = to_node(value)
    if node.shape[at] == 0:
        reject(name, f"axis {at} has no elements", (node,))
    if node.dtype.kind == "f":
        # an infinity that is an element must not lose against the place of a NaN before it
        order = argsort(value, axis=at, descending=operation == "argmax")
        missing = Tensor(emit("sum", to_node(isnan(value).astype(int64)), attributes=((at,),)))
        first = missing if operation == "argmax" else missing * 0
        column = tuple(1 if a == at else e for a, e in enumerate(node.shape))
        some = first < node.shape[at]
        place = to_node(first * some.astype(int64))
        result = emit("take_along", to_node(order), reshape(place, column), attributes=(at,))
        result = reshape(result, tuple(e for a, e in enumerate(node.shape) if a != at))
        every = to_node(missing < node.shape[at])
        result = emit("where", every, result, full(0, result.shape, int64))
    else:
        result = emit(operation, node, attributes=(at,))
    if keepdims:
        shape = to_node(x).shape
        result = reshape(result, tuple(1 if axis is None or a == at else e for a, e in enumerate(shape)))
    return Tensor(result)

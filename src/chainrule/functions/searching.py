"""Functions that pick, place, order and look up elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..conversion import to_node
from ..dtypes import DType, bool_, int64
from ..errors import ConfigError, DTypeError, IndexOutOfRangeError, PlaceholderError
from ..graph.node import Node
from ..ops.base import emit, message
from ..ops.elementwise import CHECKED_WHEN_RECORDED
from ..recording import cast, constant, full, normal_axis, promoted, reject, reshape, size_of
from ..tensor import Tensor, evaluate_node, placeholder_below


def _indices(name: str, x: Any) -> Node:
    node = to_node(x, name)
    if node.dtype.kind not in "iu":
        reject(name, "indices are integers", (node,), "convert with .astype(chainrule.int64)", DTypeError)
    return cast(node, int64)


def check_range(name: str, node: Node, indices: Node, axis: int) -> None:
    """IndexOutOfRangeError under the user's name for indices that are present; others are checked when used."""
    value, extent = indices.value, node.shape[axis]
    if value is None or not 0 < value.size <= CHECKED_WHEN_RECORDED:
        return
    outside = value[(value < -extent) | (value >= extent)]
    if outside.size:
        problem = f"index {int(outside[0])} is out of range for axis {axis} of size {extent}"
        reject(name, problem, (node, indices), f"indices run from 0 to {extent - 1}", IndexOutOfRangeError)


def _same_rank(name: str, node: Node, indices: Node) -> None:
    if len(node.shape) != len(indices.shape):
        reject(name, f"x has {len(node.shape)} axes, the index {len(indices.shape)}", (node, indices))


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    """The slices of `x` at `indices` along `axis`, which may be left out for a vector.

    Raises IndexOutOfRangeError for an index outside the axis; negative ones count from the end.
    """
    node = to_node(x, "take")
    if axis is None:
        if len(node.shape) != 1:
            reject("take", "an axis has to be named for this many axes", (node,))
        axis = 0
    axis = normal_axis("take", axis, len(node.shape), node)
    return Tensor(emit("take", node, _indices("take", indices), attributes=(axis,)))


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Tensor:
    """One element of `x` for each of `indices`, along `axis`; beside it the shapes agree or broadcast."""
    node, index = to_node(x, "take_along_axis"), _indices("take_along_axis", indices)
    rank = len(node.shape)
    _same_rank("take_along_axis", node, index)
    axis = normal_axis("take_along_axis", axis, rank, node)
    shape = []
    for a, (m, n) in enumerate(zip(node.shape, index.shape)):
        if a != axis and m != n and 1 not in (m, n):
            reject("take_along_axis", f"axis {a} has {m} and {n} elements", (node, index))
        shape.append(n if m == 1 else m)
    check_range("take_along_axis", node, index, axis)
    node = _spread(node, tuple(node.shape[a] if a == axis else e for a, e in enumerate(shape)))
    index = _spread(index, tuple(index.shape[a] if a == axis else e for a, e in enumerate(shape)))
    return Tensor(emit("take_along", node, index, attributes=(axis,)))


def _spread(node: Node, shape: tuple[int, ...]) -> Node:
    return node if node.shape == shape else emit("broadcast", node, attributes=(shape, tuple(range(len(shape)))))


def gather(x: Any, dim: int, index: Any) -> Tensor:
    """PyTorch's gather: one element of `x` along `dim` for each of `index`, whose other extents may be smaller."""
    node, places = to_node(x, "gather"), _indices("gather", index)
    axis = normal_axis("gather", dim, len(node.shape), node)
    _same_rank("gather", node, places)
    check_range("gather", node, places, axis)
    stops = tuple(m if a == axis else n for a, (m, n) in enumerate(zip(node.shape, places.shape)))
    for a, (n, m) in enumerate(zip(stops, node.shape)):
        if n > m:
            reject("gather", f"the index has {n} elements along axis {a}, x has {m}", (node, places))
    if stops != node.shape:
        node = emit("slice", node, attributes=((0,) * len(stops), stops, (1,) * len(stops)))
    return Tensor(emit("take_along", node, places, attributes=(axis,)))


def scatter_add(x: Any, indices: Any, updates: Any, /, *, axis: int = 0) -> Tensor:
    """`x` with `updates` added to its slices at `indices` along `axis`, in index order: the transpose of `take`.

    The updates have the shape that ``take(x, indices, axis=axis)`` would have.
    """
    node, places, added = to_node(x, "scatter_add"), _indices("scatter_add", indices), to_node(updates, "scatter_add")
    axis = normal_axis("scatter_add", axis, len(node.shape), node)
    return Tensor(emit("scatter_add", node, places, cast(added, node.dtype), attributes=(axis,)))


def sort(
    x: Any, /, axis: int | None = -1, *, descending: bool = False, stable: bool = True, dim: int | None = None
) -> Tensor:
    """`x` in order along `axis` (flattened if None), equal elements in theirs; NaN is greater than every number.

    The values alone, as NumPy and the standard have it; `dim` is refused, as it gives a pair in PyTorch.
    """
    node = to_node(x, "sort")
    if dim is not None:
        help = "write sort(x, axis=...) for the values and argsort(x, axis=...) for their places"
        reject("sort", "dim= would return a pair in PyTorch", (node,), help, ConfigError)
    if axis is None:
        node, axis = reshape(node, (size_of(node.shape),)), 0
    if descending:
        return take_along_axis(Tensor(node), argsort(Tensor(node), axis=axis, descending=True), axis=axis)
    return Tensor(emit("sort", node, attributes=(normal_axis("sort", axis, len(node.shape), node),)))


def argsort(
    x: Any, /, axis: int | None = -1, *, descending: bool = False, stable: bool = True, dim: int | None = None
) -> Tensor:
    """The indices, int64, that put `x` in order along `axis` (flattened if None); equal elements keep theirs."""
    node = to_node(x, "argsort")
    axis = axis if dim is None else dim
    if axis is None:
        node, axis = reshape(node, (size_of(node.shape),)), 0
    axis = normal_axis("argsort", axis, len(node.shape), node)
    if not descending:
        return Tensor(emit("argsort", node, attributes=(axis,)))
    flipped = emit("argsort", emit("flip", node, attributes=((axis,),)), attributes=(axis,))
    order = emit("flip", flipped, attributes=((axis,),))  # equal elements are in their first order again
    return Tensor(emit("sub", full(node.shape[axis] - 1, order.shape, int64), order))


def _present(name: str, x: Any) -> np.ndarray:
    """The value of `x`, for functions whose result's shape depends on it."""
    node = to_node(x, name)
    if node.value is None and placeholder_below(node) is not None:
        problem = "the shape of the result depends on values, and the operand is a placeholder"
        help = "say how many there are at most with size=, use where(...), or call it outside"
        reject(name, problem, (node,), help, PlaceholderError)
    return evaluate_node(node, name)


def nonzero(x: Any, /, *, size: int | None = None, fill_value: int = 0) -> tuple[Tensor, ...]:
    """The indices of the elements that are not 0, in row-major order: one int64 vector for each axis.

    Args:
        size: how many indices to give, so that it works in compiled and batched functions; the first ones if there are
            more, `fill_value` after them if there are fewer.
    Raises: ShapeError for a number without axes; PlaceholderError for a placeholder without `size`.
    """
    node = to_node(x, "nonzero")
    if not node.shape:
        reject("nonzero", "at least one axis is needed", (node,))
    if size is None:
        value = _present("nonzero", x)
        return tuple(Tensor(constant(i.astype(np.int64))) for i in np.nonzero(value))
    count = size_of(node.shape)
    flat = reshape(node, (count,))
    mask = flat if flat.dtype is bool_ else emit("ne", flat, full(0, flat.shape, flat.dtype))
    chosen, valid = first_true(mask, size)
    results = []
    for extent in reversed(node.shape):
        divisor = full(max(extent, 1), (size,), int64)
        place = emit("remainder", chosen, divisor)
        chosen = emit("floor_divide", chosen, divisor)
        results.append(Tensor(emit("where", valid, place, full(fill_value, (size,), int64))))
    return tuple(reversed(results))


def first_true(mask: Node, size: int) -> tuple[Node, Node]:
    """Indices of the first `size` true elements of a bool vector (0 where there are fewer), and whether there are."""
    count = mask.shape[0]
    order = emit("argsort", emit("logical_not", mask), attributes=(0,))
    taken = min(size, count)
    order = emit("slice", order, attributes=((0,), (taken,), (1,)))
    if taken < size:
        order = emit("pad", order, full(0, (), int64), attributes=((0,), (size - taken,), (0,)))
    found = emit("sum", cast(mask, int64), attributes=((0,),))
    ranks = emit("iota", attributes=((size,), 0, int64))
    valid = emit("lt", ranks, emit("broadcast", found, attributes=((size,), ())))
    return emit("where", valid, order, full(0, (size,), int64)), valid


def searchsorted(x1: Any, x2: Any, /, side: str = "left", sorter: Any = None, *, right: bool = False) -> Tensor:
    """For each element of x2 the place in the ascending x1 before which it belongs, by binary search.

    Args:
        x1: a vector (n,), or (..., n) with the leading axes of x2: one table for each (PyTorch's meaning).
        x2: values, any shape; a Python number takes the table's dtype.
        side: "left" for the first such place, "right" for the last; ``right=True`` is PyTorch's spelling of the latter.
        sorter: integers (n,) that bring x1 into order.
    Returns: int64 in [0, n], the shape of x2. NaN belongs after every number.
    Raises: ShapeError where leading axes differ; ConfigError for another side; DTypeError for kinds that do not mix.
    Example:
        >>> import chainrule as cr
        >>> cr.searchsorted(cr.tensor([1.0, 2.0, 4.0]), cr.tensor([0.5, 2.0, 9.0]))
        tensor([0, 1, 3])
    """
    if side not in ("left", "right"):
        raise ConfigError(message("searchsorted", f"side is 'left' or 'right', not {side!r}", ()))
    side = "right" if right else side
    table = to_node(x1, "searchsorted")
    if isinstance(x2, (bool, int, float)):
        wanted = full(x2, (), table.dtype, "searchsorted")
    else:
        wanted = to_node(x2, "searchsorted")
    operands = (table, wanted)
    if not table.shape:
        reject("searchsorted", "the table has no axis", operands)
    dtype = promoted("searchsorted", operands)
    check_ordered("searchsorted", dtype, operands)
    if sorter is not None:
        if len(table.shape) > 1:
            table = emit("take_along", table, _indices("searchsorted", sorter), attributes=(len(table.shape) - 1,))
        else:
            table = emit("take", table, _indices("searchsorted", sorter), attributes=(0,))
    table, wanted = cast(table, dtype), cast(wanted, dtype)
    if len(table.shape) > 1:
        if table.shape[:-1] != wanted.shape[:-1] or len(table.shape) != len(wanted.shape):
            reject("searchsorted", "the tables and the values differ before the last axis", operands)
        return Tensor(emit("searchsorted", table, wanted, attributes=(side,)))
    flat = reshape(wanted, (size_of(wanted.shape),))
    return Tensor(reshape(emit("searchsorted", table, flat, attributes=(side,)), wanted.shape))


def check_ordered(name: str, dtype: DType, operands: Sequence[Node]) -> None:
    """Refuse complex numbers, which have no order."""
    if dtype.kind == "c":
        reject(name, "complex numbers have no order", operands, "compare their real parts or magnitudes", DTypeError)


#: elements of a table up to which each is compared with every value; more are sorted and searched
COMPARED = 16


def isin(x1: Any, x2: Any, /, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each element of x1 is among those of x2 (or is not, with `invert`); bool, the shape of x1.

    NaN equals nothing. `assume_unique` is accepted and changes nothing. Tables of more than 16 elements are sorted and
    searched in (n + m) log m steps.
    """
    value = full(x1, (), to_node(x2).dtype, "isin") if isinstance(x1, (bool, int, float)) else to_node(x1, "isin")
    table = full(x2, (), value.dtype, "isin") if isinstance(x2, (bool, int, float)) else to_node(x2, "isin")
    dtype = promoted("isin", (value, table))
    value, table = cast(value, dtype), cast(reshape(table, (size_of(table.shape),)), dtype)
    count, rank = table.shape[0], len(value.shape)
    if count <= COMPARED or dtype.kind in "cb":
        shape = (*value.shape, count)
        rows = emit("broadcast", table, attributes=(shape, (rank,)))
        sought = emit("broadcast", value, attributes=(shape, tuple(range(rank))))
        found = emit("any", emit("eq", rows, sought), attributes=((rank,),))
    else:
        ordered = emit("sort", table, attributes=(0,))
        place = to_node(searchsorted(Tensor(ordered), Tensor(value)))
        place = emit("minimum", place, full(count - 1, place.shape, int64))
        found = emit("eq", emit("take", ordered, place, attributes=(0,)), value)
    return Tensor(emit("logical_not", found) if invert else found)


class TopK(NamedTuple):
    """The greatest (or least) values along an axis, and their indices."""

    values: Tensor
    indices: Tensor


def topk(
    x: Any, k: int, /, axis: int = -1, largest: bool = True, sorted: bool = True, *, dim: int | None = None
) -> TopK:
    """The `k` greatest (or least) elements along `axis` in order, and their indices; of equal ones the first.

    NaN counts as greater than every number. The derivative goes to the elements chosen. They are in order whatever
    `sorted` says (PyTorch leaves their order open without it). The others are not sorted.

    Raises: ShapeError for more elements than there are, or an axis out of range.
    Example:
        >>> import chainrule as cr
        >>> cr.topk(cr.tensor([3.0, 1.0, 5.0, 3.0]), 2).indices
        tensor([2, 0])
    """
    node = to_node(x, "topk")
    axis = normal_axis("topk", axis if dim is None else dim, len(node.shape), node)
    if not hasattr(k, "__index__") or not 0 <= k <= node.shape[axis]:
        reject("topk", f"{k} elements of the {node.shape[axis]} along axis {axis}", (node,))
    order = emit("first_places", node, attributes=(axis, k.__index__(), bool(largest)))
    return TopK(Tensor(emit("take_along", node, order, attributes=(axis,))), Tensor(order))

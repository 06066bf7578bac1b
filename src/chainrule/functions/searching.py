"""Functions that pick, place, order and look up elements."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..conversion import to_node
from ..dtypes import int64
from ..errors import DTypeError, PlaceholderError
from ..graph.node import Node
from ..ops.base import emit
from ..recording import cast, constant, normal_axis, reject, reshape, size_of
from ..tensor import Tensor, evaluate_node, placeholder_below


def _indices(name: str, x: Any) -> Node:
    node = to_node(x, name)
    if node.dtype.kind not in "iu":
        reject(name, "indices are integers", (node,), "convert with .astype(chainrule.int64)", DTypeError)
    return cast(node, int64)


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
    if len(index.shape) != rank:
        reject("take_along_axis", "the operands have different numbers of axes", (node, index))
    axis = normal_axis("take_along_axis", axis, rank, node)
    shape = []
    for a, (m, n) in enumerate(zip(node.shape, index.shape)):
        if a != axis and m != n and 1 not in (m, n):
            reject("take_along_axis", f"axis {a} has {m} and {n} elements", (node, index))
        shape.append(n if m == 1 else m)
    node = _spread(node, tuple(node.shape[a] if a == axis else e for a, e in enumerate(shape)))
    index = _spread(index, tuple(index.shape[a] if a == axis else e for a, e in enumerate(shape)))
    return Tensor(emit("take_along", node, index, attributes=(axis,)))


def _spread(node: Node, shape: tuple[int, ...]) -> Node:
    return node if node.shape == shape else emit("broadcast", node, attributes=(shape, tuple(range(len(shape)))))


def gather(x: Any, dim: int, index: Any) -> Tensor:
    """PyTorch's gather: one element of `x` along `dim` for each of `index`, whose other extents may be smaller."""
    node, places = to_node(x, "gather"), _indices("gather", index)
    axis = normal_axis("gather", dim, len(node.shape), node)
    if len(node.shape) != len(places.shape):
        reject("gather", "the operands have different numbers of axes", (node, places))
    stops = tuple(m if a == axis else n for a, (m, n) in enumerate(zip(node.shape, places.shape)))
    if any(s > m for s, m in zip(stops, node.shape)):
        reject("gather", "the index is larger than the operand beside its axis", (node, places))
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


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """`x` in order along `axis`; NaN comes last."""
    if descending:
        return take_along_axis(x, argsort(x, axis=axis, descending=True), axis=axis)
    node = to_node(x, "sort")
    return Tensor(emit("sort", node, attributes=(normal_axis("sort", axis, len(node.shape), node),)))


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that put `x` in order along `axis`; equal elements keep theirs. int64."""
    node = to_node(x, "argsort")
    axis = normal_axis("argsort", axis, len(node.shape), node)
    if not descending:
        return Tensor(emit("argsort", node, attributes=(axis,)))
    flipped = emit("argsort", emit("flip", node, attributes=((axis,),)), attributes=(axis,))
    order = emit("flip", flipped, attributes=((axis,),))  # equal elements are in their first order again
    last = constant(np.full(order.shape, node.shape[axis] - 1, np.int64))
    return Tensor(emit("sub", last, order))


def _present(name: str, x: Any) -> np.ndarray:
    """The value of `x`, for functions whose result's shape depends on it."""
    node = to_node(x, name)
    if node.value is None and placeholder_below(node) is not None:
        problem = "the shape of the result depends on values, and the operand is a placeholder"
        reject(name, problem, (node,), "use where(...) with a fixed shape, or call it outside", PlaceholderError)
    return evaluate_node(node, name)


def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """The indices of the elements that are not 0, one vector for each axis."""
    value = _present("nonzero", x)
    if not value.ndim:
        reject("nonzero", "at least one axis is needed", (to_node(x),))
    return tuple(Tensor(constant(i.astype(np.int64))) for i in np.nonzero(value))


class UniqueAll(NamedTuple):
    """Distinct values, where each occurs first, how to rebuild the array, and how often each occurs."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Distinct values, and how often each occurs."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Distinct values, and how to rebuild the array from them."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Any, /) -> UniqueAll:
    """Distinct values in order, with their first places, the inverse, and their counts."""
    value = _present("unique_all", x)
    found = np.unique(value.reshape(-1), return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    values, first, inverse, counts = (Tensor(constant(np.ascontiguousarray(part))) for part in found)
    shaped = reshape(to_node(inverse), value.shape)
    return UniqueAll(values, first, Tensor(shaped), counts)


def unique_counts(x: Any, /) -> UniqueCounts:
    """Distinct values in order, and how often each occurs."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """Distinct values in order, and how to rebuild the array from them."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Any, /) -> Tensor:
    """Distinct values in order."""
    return unique_all(x).values


unique = unique_values


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    """For each element of x2 the place in the ascending vector x1 before which it belongs; int64."""
    table, wanted = to_node(x1, "searchsorted"), to_node(x2, "searchsorted")
    if len(table.shape) != 1:
        reject("searchsorted", "the table is a vector", (table, wanted))
    if table.dtype is not wanted.dtype:
        reject("searchsorted", "operands have different dtypes", (table, wanted), "", DTypeError)
    if sorter is not None:
        table = emit("take", table, _indices("searchsorted", sorter), attributes=(0,))
    rank, size = len(wanted.shape), table.shape[0]
    shape = (*wanted.shape, size)
    rows = emit("broadcast", table, attributes=(shape, (rank,)))
    sought = emit("broadcast", wanted, attributes=(shape, tuple(range(rank))))
    below = emit("lt" if side == "left" else "le", rows, sought)
    if size_of(shape) == 0:
        return Tensor(constant(np.zeros(wanted.shape, np.int64)))
    return Tensor(emit("sum", cast(below, int64), attributes=((rank,),)))


def isin(x1: Any, x2: Any, /) -> Tensor:
    """Whether each element of x1 is among those of x2."""
    value, table = to_node(x1, "isin"), to_node(x2, "isin")
    table = reshape(table, (size_of(table.shape),))
    rank = len(value.shape)
    shape = (*value.shape, table.shape[0])
    rows = emit("broadcast", table, attributes=(shape, (rank,)))
    sought = emit("broadcast", value, attributes=(shape, tuple(range(rank))))
    return Tensor(emit("any", emit("eq", rows, sought), attributes=((rank,),)))


class TopK(NamedTuple):
    """The greatest values in descending order, and their indices."""

    values: Tensor
    indices: Tensor


def topk(x: Any, k: int, /, axis: int = -1, *, dim: int | None = None, largest: bool = True) -> TopK:
    """The `k` greatest (or least) elements along `axis` in order, and their indices."""
    node = to_node(x, "topk")
    axis = normal_axis("topk", axis if dim is None else dim, len(node.shape), node)
    if not 0 <= k <= node.shape[axis]:
        reject("topk", f"{k} elements of the {node.shape[axis]} along axis {axis}", (node,))
    order = to_node(argsort(Tensor(node), axis=axis, descending=largest))
    stops = tuple(k if a == axis else e for a, e in enumerate(order.shape))
    order = emit("slice", order, attributes=((0,) * len(stops), stops, (1,) * len(stops)))
    return TopK(Tensor(emit("take_along", node, order, attributes=(axis,))), Tensor(order))

"""Indexing by integer arrays, its transpose (scatter with addition), and sorting.

Negative indices count from the end. An index out of range raises IndexOutOfRangeError: when recorded,
if the indices are present and few, else at execution. Repeated indices add up in the order of the indices.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..dtypes import DType, int64
from ..errors import DTypeError
from ..graph.node import Node
from .base import Primitive, apply, emit, same_dtype
from .elementwise import CHECKED_WHEN_RECORDED, check_bounds
from .movement import check_axes, check_numeric, check_ordered
from .rules import add, all_lead, cast, full, full_like, mul, permute, reshape, where


class Indexing(Primitive):
    """Family base: indices along `axis`."""

    family = "indexing"
    attributes: ClassVar[tuple[str, ...]] = ("axis",)

    def check_indices(self, x: Node, indices: Node) -> None:
        """Reject an axis that x lacks, indices that are no integers and, where they are present, out of range."""
        check_axes(self, (self.axis,), x)
        if indices.dtype.kind not in "iu":
            self.reject("needs integer indices", (x, indices), "convert with .astype(...)", DTypeError)
        value = indices.value
        if value is not None and 0 < value.size <= CHECKED_WHEN_RECORDED:
            check_bounds(self, value, x.shape[self.axis], f"axis {self.axis}", (x, indices))

    def positions(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """`indices`, checked, as non-negative int64."""
        extent = x.shape[self.axis]
        check_bounds(self, indices, extent, f"axis {self.axis}", ())
        if indices.dtype.kind == "u":
            return indices.astype(np.int64)
        return np.where(indices < 0, indices.astype(np.int64) + extent, indices.astype(np.int64))

    def check_same(self, a: Node, b: Node, axis: int | None, operands: tuple[Node, ...]) -> None:
        """Reject shapes that differ beside `axis`."""
        if len(a.shape) != len(b.shape):
            self.reject(f"ranks {len(a.shape)} and {len(b.shape)} differ", operands)
        for i, (m, n) in enumerate(zip(a.shape, b.shape)):
            if m != n and i != axis:
                self.reject(f"extents {m} and {n} of axis {i} differ", operands)

    def flat_rows(self, indices: Node, size: int, extent: int) -> Node:
        """Indices into `size` tables of `extent` rows laid end to end, from batched ones into each table."""
        name = f"axis {self.axis}"
        indices = emit("check_index", cast(indices, int64), attributes=(extent, name))
        rows = full_like(indices, extent)
        indices = where(emit("lt", indices, full_like(indices, 0)), add(indices, rows), indices)
        return add(indices, mul(emit("iota", attributes=(indices.shape, 0, int64)), rows))


class Take(Indexing):
    """The slices of x at `indices` along `axis`, whose place the indices' axes take."""

    name = "take"

    def infer(self, x, indices):
        """``x.shape[:axis] + indices.shape + x.shape[axis + 1:]``."""
        self.check_indices(x, indices)
        axis = self.axis
        return (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent added up at the indices."""
        x, indices = node.inputs
        zeros = full(0.0, x.shape, x.dtype)
        return emit("scatter_add", zeros, indices, cotangent, attributes=(self.axis,)), None

    def jvp(self, node, tangents):
        """The tangent's slices."""
        return apply(self, (tangents[0], node.inputs[1]))

    def batch(self, inputs, batched, size):
        """Batched indices into batched tables become indices into the tables laid end to end."""
        x, indices = inputs
        axis = self.axis
        if not batched[1]:
            return emit("take", x, indices, attributes=(axis + 1,))
        if not batched[0]:
            taken = emit("take", x, indices, attributes=(axis,))
            rank = len(taken.shape)
            return permute(taken, (axis, *(i for i in range(rank) if i != axis)))
        table = _end_to_end(x, axis)
        taken = emit("take", table, self.flat_rows(indices, size, x.shape[axis + 1]), attributes=(0,))
        return _axes_back(taken, axis, len(indices.shape))

    def numpy(self, x, indices):
        """`numpy.take`."""
        return np.take(x, self.positions(x, indices), self.axis)


def _end_to_end(x: Node, axis: int) -> Node:
    """(size, pre, n, post) to (size * n, pre, post), where n is axis + 1."""
    order = (0, axis + 1, *range(1, axis + 1), *range(axis + 2, len(x.shape)))
    moved = permute(x, order)
    return reshape(moved, (moved.shape[0] * moved.shape[1], *moved.shape[2:]))


def _axes_back(x: Node, axis: int, count: int) -> Node:
    """(size, indices, pre, post) to (size, pre, indices, post); `count` axes are size and the indices'."""
    pre = range(count, count + axis)
    return permute(x, (0, *pre, *range(1, count), *range(count + axis, len(x.shape))))


class TakeAlong(Indexing):
    """x at `indices` along `axis`, one index per element of the result, as ``numpy.take_along_axis``."""

    name = "take_along"

    def infer(self, x, indices):
        """The indices' shape, which agrees with x's beside `axis`."""
        self.check_indices(x, indices)
        self.check_same(x, indices, self.axis, (x, indices))
        return indices.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent added up at the indices."""
        x, indices = node.inputs
        zeros = full(0.0, x.shape, x.dtype)
        return emit("scatter_add_along", zeros, indices, cotangent, attributes=(self.axis,)), None

    def jvp(self, node, tangents):
        """The tangent at the indices."""
        return apply(self, (tangents[0], node.inputs[1]))

    def batch(self, inputs, batched, size):
        """The batch axis is one more axis that agrees."""
        return emit("take_along", *all_lead(inputs, batched, size), attributes=(self.axis + 1,))

    def numpy(self, x, indices):
        """`numpy.take_along_axis`."""
        return np.take_along_axis(x, self.positions(x, indices), self.axis)


class Scatter(Indexing):
    """Family base: linear in x and in the updates."""

    def check_updates(self, x: Node, indices: Node, updates: Node) -> None:
        """Reject updates of another dtype, and bool."""
        if x.dtype is not updates.dtype:
            same_dtype(self, (x, updates))
        check_numeric(self, x)

    def jvp(self, node, tangents):
        """The tangent of the updates added to that of x."""
        x, _, updates = tangents
        if updates is None:
            return x
        if x is None:
            x = full_like(node.inputs[0], 0.0)
        return apply(self, (x, node.inputs[1], updates))


class ScatterAdd(Scatter):
    """x with `updates` added to its slices at `indices` along `axis`: the transpose of `take`."""

    name = "scatter_add"

    def infer(self, x, indices, updates):
        """The type of x; the updates have the shape that ``take`` would give."""
        self.check_indices(x, indices)
        self.check_updates(x, indices, updates)
        axis = self.axis
        expected = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
        if updates.shape != expected:
            self.reject(f"updates of shape {list(updates.shape)} should have {list(expected)}", (x, indices, updates))
        return x.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent, and its slices at the indices."""
        taken = emit("take", cotangent, node.inputs[1], attributes=(self.axis,)) if needed[2] else None
        return cotangent, None, taken

    def batch(self, inputs, batched, size):
        """Batched indices become indices into the tables laid end to end."""
        axis = self.axis
        x, indices, updates = inputs
        x, updates = all_lead((x, updates), (batched[0], batched[2]), size)
        if not batched[1]:
            return emit("scatter_add", x, indices, updates, attributes=(axis + 1,))
        rank, count = len(x.shape), len(indices.shape)
        table = _end_to_end(x, axis)
        # (size, pre, indices, post) to (size, indices, pre, post)
        indexed = range(axis + 1, axis + count)
        front = permute(updates, (0, *indexed, *range(1, axis + 1), *range(axis + count, len(updates.shape))))
        flat = self.flat_rows(indices, size, x.shape[axis + 1])
        summed = emit("scatter_add", table, flat, front, attributes=(0,))
        order = (0, axis + 1, *range(1, axis + 1), *range(axis + 2, rank))
        apart = reshape(summed, tuple(x.shape[i] for i in order))
        return permute(apart, tuple(order.index(i) for i in range(rank)))

    def numpy(self, x, indices, updates):
        """`numpy.add.at`."""
        result = x.copy()
        axis, count = self.axis, indices.ndim
        front = np.moveaxis(updates, range(axis, axis + count), range(count))
        np.add.at(np.moveaxis(result, axis, 0), self.positions(x, indices), front)
        return result


class ScatterAddAlong(Scatter):
    """x with `updates` added at `indices` along `axis`, one index per update: the transpose of `take_along`."""

    name = "scatter_add_along"

    def infer(self, x, indices, updates):
        """The type of x; indices and updates have one shape, which agrees with x's beside `axis`."""
        self.check_indices(x, indices)
        self.check_updates(x, indices, updates)
        self.check_same(x, indices, self.axis, (x, indices, updates))
        self.check_same(indices, updates, None, (x, indices, updates))
        return x.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent, and its elements at the indices."""
        taken = emit("take_along", cotangent, node.inputs[1], attributes=(self.axis,)) if needed[2] else None
        return cotangent, None, taken

    def batch(self, inputs, batched, size):
        """The batch axis is one more axis that agrees."""
        return emit("scatter_add_along", *all_lead(inputs, batched, size), attributes=(self.axis + 1,))

    def numpy(self, x, indices, updates):
        """`numpy.add.at`."""
        result = x.copy()
        places = list(np.ogrid[tuple(map(slice, indices.shape))])
        places[self.axis] = self.positions(x, indices)
        np.add.at(result, tuple(places), updates)
        return result


class Ordering(Primitive):
    """Family base: along one axis in ascending order, equal elements in their order, NaN last."""

    family = "indexing"
    attributes = ("axis",)
    host = True
    result: ClassVar[DType | None] = None

    def infer(self, x):
        """The operand's shape."""
        check_axes(self, (self.axis,), x)
        check_ordered(self, x)
        return x.shape, self.result or x.dtype

    def batch(self, inputs, batched, size):
        """The batch axis is one more axis that is kept."""
        return emit(self.name, inputs[0], attributes=(self.axis + 1,))


def _both_zeros(x: np.ndarray) -> bool:
    """Whether 0.0 and -0.0 are among the elements."""
    minus = np.signbit(x[x == 0])
    return bool(minus.any()) and not minus.all()


class Sort(Ordering):
    """x in ascending order along `axis`, stable, NaN last."""

    name = "sort"

    def vjp(self, node, cotangent, needed):
        """The cotangent put back where the elements came from."""
        x = node.inputs[0]
        order = emit("argsort", x, attributes=(self.axis,))
        zeros = full(0.0, x.shape, x.dtype)
        return (emit("scatter_add_along", zeros, order, cotangent, attributes=(self.axis,)),)

    def jvp(self, node, tangents):
        """The tangent in the same order."""
        order = emit("argsort", node.inputs[0], attributes=(self.axis,))
        return emit("take_along", tangents[0], order, attributes=(self.axis,))

    def numpy(self, x):
        """`numpy.sort`; stable, which takes much longer, only where equal elements can be told apart."""
        alike = x.dtype.kind in "iub" or (x.dtype.kind == "f" and not _both_zeros(x))
        return np.sort(x, self.axis, kind=None if alike else "stable")


#: extent from which sorting in any order and then putting equal elements into theirs is faster than a stable sort
WORTH_TWO_SORTS = 64


def _stable_order(x: np.ndarray) -> np.ndarray:
    """The stable order of the last axis, by sorts that need not be stable, which NumPy has vectors for."""
    order = np.argsort(x, -1).astype(np.int64, copy=False)
    inner = np.take_along_axis(x, order, -1)
    another = inner[..., 1:] != inner[..., :-1]
    if x.dtype.kind == "f":
        another &= inner[..., :-1] == inner[..., :-1]  # all NaN are alike
    if another.all():
        return order
    run = np.zeros(x.shape, np.int64)  # number of the run of equal elements, times the extent
    np.cumsum(another, -1, out=run[..., 1:])
    run *= x.shape[-1]
    order += run
    order.sort(-1)
    order -= run
    return order


class ArgSort(Ordering):
    """The indices, int64, that bring x into ascending order along `axis`, stable, NaN last."""

    name = "argsort"
    result = int64
    differentiable = False

    def numpy(self, x):
        """`numpy.argsort`, stable."""
        if x.dtype.itemsize < 4 or x.shape[self.axis] < WORTH_TWO_SORTS:  # small numbers are sorted by digits
            return np.argsort(x, self.axis, kind="stable").astype(np.int64)
        order = _stable_order(np.ascontiguousarray(np.moveaxis(x, self.axis, -1)))
        return np.ascontiguousarray(np.moveaxis(order, -1, self.axis))

"""Reductions: many elements become one along `axes`, which are left out of the result.

The order of summation is fixed by the shape alone (see `docs/semantics.md`), whatever the backend.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..dtypes import bool_, int64
from ..errors import DTypeError
from ..graph.node import Node
from ..shapes import kept_axes, reduced, size
from .base import Primitive, apply, emit
from .movement import check_axes, check_numeric, check_ordered
from .rules import broadcast, cast, div, full, full_like, mul, permute, reshape, total, where


class Reduction(Primitive):
    """Family base: one operand, a sorted tuple of axes."""

    family = "reduction"
    attributes = ("axes",)

    def infer(self, x):
        """The operand's shape without `axes`, in its dtype."""
        axes, shape, dtype = self.axes, x.shape, x.dtype
        if dtype.kind == "b":
            check_numeric(self, x)
        check_axes(self, axes, x)
        if len(axes) == len(shape):
            return (), dtype
        return reduced(shape, axes), dtype

    def batch(self, inputs, batched, size):
        """The batch axis is kept."""
        return emit(self.name, inputs[0], attributes=(tuple(axis + 1 for axis in self.axes),))

    def spread(self, x: Node, shape: tuple[int, ...]) -> Node:
        """A result repeated over the reduced axes."""
        return broadcast(x, shape, kept_axes(self.axes, len(shape)))


class Sum(Reduction):
    """The sum; 0 of no elements."""

    name = "sum"

    def vjp(self, node, cotangent, needed):
        """The cotangent repeated."""
        return (self.spread(cotangent, node.inputs[0].shape),)

    def jvp(self, node, tangents):
        """The sum of the tangents."""
        return apply(self, (tangents[0],))

    def numpy(self, x):
        """`numpy.sum` in the operand's dtype."""
        return np.sum(x, self.axes, x.dtype)


class Prod(Reduction):
    """The product; 1 of no elements.

    The derivative multiplies the other elements up in a binary tree, so that it is right, to every
    order, where elements are 0.
    """

    name = "prod"

    def _others(self, x: Node, c: Node) -> Node:
        """c, of the result's shape, times the product of the other elements, for each element of x."""
        kept = kept_axes(self.axes, len(x.shape))
        front = permute(x, (*self.axes, *kept))
        count = size(x.shape[axis] for axis in self.axes)
        rest = tuple(x.shape[axis] for axis in kept)
        width = 1
        while width < count:
            width *= 2
        level = reshape(front, (count, *rest))
        if width > count:
            zeros = (0,) * len(rest)
            widths = ((0, *zeros), (width - count, *zeros), (0, *zeros))
            level = emit("pad", level, full(1.0, (), x.dtype), attributes=widths)
        halves = []
        while width > 1:
            width //= 2
            halves.append((_rows(level, 0, width), _rows(level, width, 2 * width)))
            level = mul(*halves[-1])
        outside = reshape(c, (1, *rest))
        for left, right in reversed(halves):
            outside = emit("concat", mul(outside, right), mul(outside, left), attributes=(0,))
        outside = reshape(_rows(outside, 0, count), front.shape)
        order = (*self.axes, *kept)
        return permute(outside, tuple(order.index(axis) for axis in range(len(order))))

    def vjp(self, node, cotangent, needed):
        """The cotangent times the product of the other elements."""
        return (self._others(node.inputs[0], cotangent),)

    def jvp(self, node, tangents):
        """The sum of tangents times the product of the other elements."""
        x = node.inputs[0]
        return total(mul(tangents[0], self._others(x, full_like(node, 1.0))), self.axes)

    def numpy(self, x):
        """`numpy.prod` in the operand's dtype."""
        return np.prod(x, self.axes, x.dtype)


def _rows(x: Node, start: int, stop: int) -> Node:
    """``x[start:stop]``."""
    if start == 0 and stop == x.shape[0]:
        return x
    rest = x.shape[1:]
    return emit("slice", x, attributes=((start, *(0 for _ in rest)), (stop, *rest), (1,) * len(x.shape)))


class Extreme(Reduction):
    """Family base: the largest or smallest element, NaN if one is; equal extremes share the derivative equally."""

    def infer(self, x):
        """As other reductions; an extreme of no elements does not exist."""
        check_ordered(self, x)
        shape, dtype = super().infer(x)
        if size(x.shape[axis] for axis in self.axes) == 0:
            self.reject(f"no elements along axes {self.axes}", (x,))
        return shape, dtype

    def _shares(self, node: Node) -> tuple[Node, Node]:
        """Where the extreme is, and how often."""
        x = node.inputs[0]
        mask = emit("eq", x, self.spread(node, x.shape))
        return mask, total(cast(mask, node.dtype), self.axes)

    def vjp(self, node, cotangent, needed):
        """The cotangent over the number of extremes, at each of them."""
        mask, count = self._shares(node)
        share = self.spread(div(cotangent, count), mask.shape)
        return (where(mask, share, full_like(share, 0.0)),)

    def jvp(self, node, tangents):
        """The mean tangent of the extremes."""
        mask, count = self._shares(node)
        taken = where(mask, tangents[0], full_like(tangents[0], 0.0))
        return div(total(taken, self.axes), count)


class Max(Extreme):
    """The largest element, NaN if one is NaN; equal ones share the derivative equally."""

    name = "max"

    def numpy(self, x):
        """`numpy.max`."""
        return np.max(x, self.axes)


class Min(Extreme):
    """The smallest element, NaN if one is NaN; equal ones share the derivative equally."""

    name = "min"

    def numpy(self, x):
        """`numpy.min`."""
        return np.min(x, self.axes)


class Quantifier(Reduction):
    """Family base: bool of bools."""

    differentiable = False

    def infer(self, x):
        """The operand's shape without `axes`; the operand is bool."""
        check_axes(self, self.axes, x)
        if x.dtype is not bool_:
            self.reject("needs bool", (x,), "compare with a number", DTypeError)
        return reduced(x.shape, self.axes), bool_


class Any(Quantifier):
    """Whether one element holds; False of no elements."""

    name = "any"

    def numpy(self, x):
        """`numpy.any`."""
        return np.any(x, self.axes)


class All(Quantifier):
    """Whether every element holds; True of no elements."""

    name = "all"

    def numpy(self, x):
        """`numpy.all`."""
        return np.all(x, self.axes)


class Position(Primitive):
    """Family base: the index of an extreme along one axis, the first of equal ones; NaN counts as extreme."""

    family = "reduction"
    attributes = ("axis",)
    differentiable = False
    function: ClassVar

    def infer(self, x):
        """The operand's shape without `axis`, in int64."""
        check_axes(self, (self.axis,), x)
        check_numeric(self, x)
        check_ordered(self, x)
        if x.shape[self.axis] == 0:
            self.reject(f"no elements along axis {self.axis}", (x,))
        return reduced(x.shape, (self.axis,)), int64

    def batch(self, inputs, batched, size):
        """The batch axis is kept."""
        return emit(self.name, inputs[0], attributes=(self.axis + 1,))

    def numpy(self, x):
        """NumPy's function of the same name."""
        return type(self).function(x, self.axis).astype(np.int64)


class ArgMax(Position):
    """The index of the largest element along `axis`, the first of equal ones; NaN counts as largest."""

    name = "argmax"
    function = staticmethod(np.argmax)


class ArgMin(Position):
    """The index of the smallest element along `axis`, the first of equal ones; NaN counts as smallest."""

    name = "argmin"
    function = staticmethod(np.argmin)

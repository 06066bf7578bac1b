"""Primitives that start a graph or pass a value through unchanged."""

from __future__ import annotations

import numpy as np

from ..dtypes import DType, as_dtype, converted
from ..errors import ShapeError
from ..graph.node import Node
from .base import Primitive, apply, primitive


class Leaf(Primitive):
    """Family base: no operands, hence no derivatives and nothing to batch."""

    family = "leaf"
    differentiable = False

    def batch(self, inputs, batched, size):
        """Never batched: there are no operands."""
        raise AssertionError(f"{self.name} has no operand that could be batched")


class Constant(Leaf):
    """A value that is present: user data, a parameter, the result of an evaluation."""

    name = "constant"

    def infer(self):
        """Constants are made from arrays by `constant`."""
        raise AssertionError("constant nodes are made by constant(array)")

    def numpy(self):
        """The value is the node's own."""
        raise AssertionError("a constant node without a value")


class Placeholder(Leaf):
    """Operand number `index` of a program or of a transformed function: a type without a value."""

    name = "placeholder"
    attributes = ("index",)

    def infer(self):
        """Placeholders are made with their type by `placeholder`."""
        raise AssertionError("placeholder nodes are made by placeholder(index, shape, dtype)")

    def numpy(self):
        """Placeholders are bound to arrays by whoever runs the graph."""
        raise AssertionError("a placeholder that is not bound to a value")


class Full(Leaf):
    """One number in every element; the number is an operand of programs, not a part of their code."""

    name = "full"
    attributes = ("value", "shape", "dtype")
    shared = False  # equal keys would confuse 0.0 with -0.0 and 1 with True

    def infer(self):
        """The attributes' shape and dtype."""
        return self.shape, self.dtype

    def numpy(self):
        """`numpy.full`."""
        if self.dtype.is_half:
            return converted(np.full(self.shape, self.value, np.float64), self.dtype)
        return np.full(self.shape, self.value, self.dtype.numpy)


class Iota(Leaf):
    """Each element's own index along `axis`: 0, 1, 2, ..."""

    name = "iota"
    attributes = ("shape", "axis", "dtype")

    def infer(self):
        """The attributes' shape and dtype; `axis` must be one of the shape's."""
        if not 0 <= self.axis < len(self.shape):
            self.reject(f"axis {self.axis} is out of range for shape {list(self.shape)}", ())
        return self.shape, self.dtype

    def numpy(self):
        """`numpy.arange`, repeated along the other axes."""
        extents = [1] * len(self.shape)
        extents[self.axis] = self.shape[self.axis]
        line = converted(np.arange(self.shape[self.axis]), self.dtype).reshape(extents)
        return np.broadcast_to(line, self.shape)


class Alias(Primitive):
    """x itself, as another node: what a derivative is taken with respect to."""

    name = "alias"
    family = "leaf"

    def infer(self, x):
        """The operand's type."""
        return x.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent."""
        return (cotangent,)

    def jvp(self, node, tangents):
        """The tangent."""
        return tangents[0]

    def batch(self, inputs, batched, size):
        """The same."""
        return apply(self, inputs)

    def numpy(self, x):
        """x."""
        return x

    def scalar(self, b, x):
        """x."""
        return x


class StopGradient(Primitive):
    """x itself, constant as far as derivatives are concerned."""

    name = "stop_gradient"
    family = "leaf"
    differentiable = False

    def infer(self, x):
        """The operand's type."""
        return x.shape, x.dtype

    def batch(self, inputs, batched, size):
        """The same."""
        return apply(self, inputs)

    def numpy(self, x):
        """x."""
        return x

    def scalar(self, b, x):
        """x."""
        return x


CONSTANT = primitive("constant")


def constant(array: np.ndarray, requires_grad: bool = False) -> Node:
    """A node whose value is `array`, made C-contiguous and read-only.

    The array is kept, not copied, if it is C-contiguous: the caller gives up writing to it.
    """
    array = np.asarray(array)
    dtype = as_dtype(array.dtype)
    if not array.flags.c_contiguous:
        array = np.array(array, dtype.numpy, order="C", copy=True)
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return Node(CONSTANT, (), array.shape, dtype, array, requires_grad)


def placeholder(index: int, shape: tuple[int, ...], dtype: DType, requires_grad: bool = False) -> Node:
    """A node without a value that stands for operand number `index`."""
    if any(extent < 0 for extent in shape):
        raise ShapeError(f"placeholder: extents must not be negative, got {shape}")
    return Node(primitive("placeholder", (index,)), (), shape, dtype, None, requires_grad)

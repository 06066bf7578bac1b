"""Short names for the nodes that derivative and batching rules emit."""

from __future__ import annotations

import numpy as np

from ..dtypes import DType
from ..graph.node import Node
from .base import emit, mode
from .leaf import CONSTANT

Shape = tuple[int, ...]


def add(a: Node, b: Node) -> Node:
    """a + b."""
    return emit("add", a, b)


def sub(a: Node, b: Node) -> Node:
    """a - b."""
    return emit("sub", a, b)


def mul(a: Node, b: Node) -> Node:
    """a * b."""
    return emit("mul", a, b)


def div(a: Node, b: Node) -> Node:
    """a / b."""
    return emit("div", a, b)


def neg(x: Node) -> Node:
    """-x."""
    return emit("neg", x)


def square(x: Node) -> Node:
    """x * x."""
    return emit("square", x)


def where(condition: Node, a: Node, b: Node) -> Node:
    """a where `condition`, else b."""
    return emit("where", condition, a, b)


def full_like(x: Node, value: complex) -> Node:
    """`value` in the shape and dtype of `x`."""
    return full(value, x.shape, x.dtype)


def full(value: complex, shape: Shape, dtype: DType) -> Node:
    """`value` everywhere: of a complex dtype a constant repeated, as the scalars of programs are real numbers."""
    if dtype.kind == "c":
        number = np.full((), value, dtype.numpy)
        number.flags.writeable = False
        return broadcast(Node(CONSTANT, (), (), dtype, number, False, mode.where), shape, ())
    return emit("full", attributes=(value, shape, dtype))


def cast(x: Node, dtype: DType) -> Node:
    """x in another dtype."""
    return x if x.dtype is dtype else emit("cast", x, attributes=(dtype,))


def reshape(x: Node, shape: Shape) -> Node:
    """x in another shape, nothing recorded if it has it already."""
    return x if x.shape == shape else emit("reshape", x, attributes=(shape,))


def permute(x: Node, axes: Shape) -> Node:
    """x with its axes reordered, nothing recorded if they are in order."""
    return x if axes == tuple(range(len(axes))) else emit("permute", x, attributes=(axes,))


def broadcast(x: Node, shape: Shape, axes: Shape) -> Node:
    """x repeated to `shape`, its axis i becoming ``axes[i]``."""
    return x if x.shape == shape else emit("broadcast", x, attributes=(shape, axes))


def total(x: Node, axes: Shape) -> Node:
    """Sum of x over `axes`, nothing recorded if there are none."""
    return emit("sum", x, attributes=(axes,)) if axes else x


def lead(x: Node, size: int) -> Node:
    """x with a leading batch axis of `size` along which it repeats."""
    if x.op.name == "full":
        value, shape, dtype = x.op.key[1:]
        return full(value, (size, *shape), dtype)
    return broadcast(x, (size, *x.shape), tuple(range(1, len(x.shape) + 1)))


def along(flags: Node, x: Node) -> Node:
    """`flags`, one for each example, in the shape of `x`, whose first axis counts examples."""
    return broadcast(flags, x.shape, (0,))


def all_lead(inputs: tuple[Node, ...], batched: tuple[bool, ...], size: int) -> tuple[Node, ...]:
    """`inputs`, each with the leading batch axis."""
    return tuple(x if done else lead(x, size) for x, done in zip(inputs, batched))


def sum_parts(*parts: Node | None) -> Node | None:
    """The sum of those `parts` that are not None, in order; None if all are."""
    result = None
    for part in parts:
        if part is not None:
            result = part if result is None else add(result, part)
    return result

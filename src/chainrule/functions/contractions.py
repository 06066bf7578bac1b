"""The contractions of two nodes that the matrix products and Einstein's summation share."""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import float32, int64
from ..graph.node import Node
from ..ops.base import emit
from ..recording import cast, permute, product, reshape


def contract(a: Node, b: Node, a_labels: Sequence[int], b_labels: Sequence[int], out: Sequence[int]) -> Node:
    """The contraction over the labels that `out` does not name, each of which both operands have."""
    return product("contract", a, b, (tuple(a_labels), tuple(b_labels), tuple(out)))


def product_sum(a: Node, b: Node, a_labels: Sequence[int], b_labels: Sequence[int], out: Sequence[int]) -> Node:
    """The contraction as multiplication and sum, which fuse with their neighbours: for vectors."""
    if a.dtype.is_half:  # products are not rounded before they are added
        return cast(product_sum(cast(a, float32), cast(b, float32), a_labels, b_labels, out), a.dtype)
    summed = [label for label in dict.fromkeys([*a_labels, *b_labels]) if label not in out]
    left, right = aligned(a, b, a_labels, b_labels, [*out, *summed])
    axes = tuple(range(len(out), len(out) + len(summed)))
    return emit("sum", emit("mul", left, right), attributes=(axes,))


def aligned(
    a: Node, b: Node, a_labels: Sequence[int], b_labels: Sequence[int], order: Sequence[int]
) -> tuple[Node, Node]:
    """Both operands with the axes `order`, repeated along those that they lack."""
    extents = dict(zip(a_labels, a.shape)) | dict(zip(b_labels, b.shape))
    shape = tuple(extents[label] for label in order)
    spread = []
    for node, labels in ((a, a_labels), (b, b_labels)):
        sorting = tuple(sorted(range(len(labels)), key=lambda i: order.index(labels[i])))
        axes = tuple(order.index(labels[i]) for i in sorting)
        node = permute(node, sorting)
        spread.append(node if node.shape == shape else emit("broadcast", node, attributes=(shape, axes)))
    return spread[0], spread[1]


def pair(a: Node, b: Node, a_labels: Sequence[int], b_labels: Sequence[int], out: Sequence[int]) -> Node:
    """One contraction of two operands; without a summed label it is a plain product."""
    summed = {*a_labels, *b_labels} - set(out)
    if not summed:
        return emit("mul", *aligned(a, b, a_labels, b_labels, out))
    if not out:
        return product_sum(a, b, a_labels, b_labels, out)
    return contract(a, b, a_labels, b_labels, out)


def diagonal_of(node: Node, first: int, second: int) -> Node:
    """Elements with equal indices on two axes of equal extent, at the place of the first."""
    extent = node.shape[first]
    order = [i for i in range(len(node.shape)) if i not in (first, second)]
    order[first:first] = [first]
    front = permute(node, (*order, second))
    shape = tuple(1 if i != first else extent for i in range(len(order)))
    index = emit("iota", attributes=((extent,), 0, int64))
    column, everywhere = (*front.shape[:-1], 1), tuple(range(len(order) + 1))
    spread = emit("broadcast", reshape(index, (*shape, 1)), attributes=(column, everywhere))
    return reshape(emit("take_along", front, spread, attributes=(len(order),)), front.shape[:-1])

"""What the functions of linear algebra check and unify before they record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import real_dtype
from ..errors import DTypeError
from ..graph.node import Node
from ..ops.base import emit
from ..recording import broadcast, cast, full, promoted, reject

Shape = tuple[int, ...]


def inexact(name: str, *values: Any) -> list[Node]:
    """Nodes of `values` in one floating or complex dtype that LAPACK has; DTypeError for others."""
    nodes = [to_node(value, name) for value in values]
    for node in nodes:
        if node.dtype.kind not in "fc" or node.dtype.is_half:
            problem = f"float32, float64, complex64 or complex128 is needed, not {node.dtype.name}"
            reject(name, problem, nodes, "convert with .astype(chainrule.float32)", DTypeError)
    dtype = promoted(name, nodes)
    return [cast(node, dtype) for node in nodes]


def matrices(name: str, value: Any, square: bool = False) -> Node:
    """The node of a stack of matrices, square ones if `square`; ShapeError and DTypeError for others."""
    (node,) = inexact(name, value)
    check_matrices(name, node, (node,), square)
    return node


def check_matrices(name: str, node: Node, operands: Sequence[Node], square: bool = False) -> None:
    """Reject a node without two axes, or with another number of rows than of columns if `square`."""
    if len(node.shape) < 2:
        reject(name, f"matrices are needed, which have two axes, not {len(node.shape)}", operands)
    rows, columns = node.shape[-2:]
    if square and rows != columns:
        reject(name, f"square matrices are needed, axis -2 has {rows} elements and axis -1 has {columns}", operands)


def common_batch(name: str, operands: Sequence[Node]) -> Shape:
    """The shape to which the leading axes of matrices broadcast; ShapeError with both extents."""
    rank = max(len(n.shape) for n in operands) - 2
    result = [1] * rank
    for node in operands:
        lead = node.shape[:-2]
        for axis, extent in enumerate(lead, rank - len(lead)):
            if extent != result[axis] and extent != 1:
                if result[axis] != 1:
                    problem = f"leading axis {axis - rank - 2} has {result[axis]} and {extent} elements"
                    reject(name, problem, operands)
                result[axis] = extent
    return tuple(result)


def spread(node: Node, batch: Shape) -> Node:
    """Matrices repeated over the leading axes `batch`."""
    return broadcast(node, (*batch, *node.shape[-2:]))


def relative_bound(name: str, rtol: Any, a: Node) -> Node:
    """`rtol` for each matrix, real: the default is max(m, n) times the distance from 1 to the next number."""
    dtype, batch = real_dtype(a.dtype), a.shape[:-2]
    if rtol is None:
        return full(max(a.shape[-2:]) * float(np.finfo(dtype.numpy).eps), batch, dtype)
    if isinstance(rtol, (int, float)):
        return full(float(rtol), batch, dtype)
    node = cast(to_node(rtol, name), dtype)
    if any(e not in (1, f) for e, f in zip(node.shape[::-1], batch[::-1])) or len(node.shape) > len(batch):
        reject(name, f"rtol of shape {list(node.shape)} does not broadcast to {list(batch)}", (a, node))
    return emit("stop_gradient", broadcast(node, batch))

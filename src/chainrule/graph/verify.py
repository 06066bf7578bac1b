"""The check of a graph's invariants, for tests and after rewriting passes."""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DType
from .node import Node, topological


def verify(outputs: Sequence[Node]) -> int:
    """Check every node that `outputs` depend on; returns their number.

    Types are what the primitives' rules say, operands are older than results, values have the nodes'
    types and are C-contiguous and read-only. Raises AssertionError that shows the first node that fails.
    """
    order = topological(outputs, stop_at_values=False)
    for node in order:
        problem = _problem(node)
        if problem:
            raise AssertionError(f"{problem}: {node!r}, recorded at {node.location}")
    return len(order)


def _problem(node: Node) -> str:
    if type(node.shape) is not tuple or any(type(extent) is not int or extent < 0 for extent in node.shape):
        return "the shape is not a tuple of non-negative integers"
    if type(node.dtype) is not DType:
        return "the dtype is not a DType"
    if type(node.inputs) is not tuple or any(operand.serial >= node.serial for operand in node.inputs):
        return "an operand is younger than its result"
    if node.requires_grad and node.dtype.kind not in "fc":
        return "a value that is not floating requires gradients"
    if node.value is not None:
        flags = node.value.flags
        if node.value.shape != node.shape or node.value.dtype != node.dtype.numpy:
            return "the value has another type"
        if not flags.c_contiguous or flags.writeable:
            return "the value is not contiguous or not read-only"
    if node.op.name not in ("constant", "placeholder"):
        if node.op.infer(*node.inputs) != (node.shape, node.dtype):
            return f"the type rule gives {node.op.infer(*node.inputs)}"
    elif node.inputs or (node.op.name == "constant" and node.value is None):
        return "a leaf has operands, or no value"
    return ""

"""Batching: a graph for one example becomes a graph for many, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..graph.node import Node
from ..ops.base import apply, mode
from ..ops.rules import lead
from .paths import dependents


def batch(outputs: Sequence[Node], inputs: Mapping[Node, Node], size: int) -> list[Node]:
    """`outputs` for `size` examples at once, each with a leading batch axis.

    Replays the graph between the inputs and the outputs by the primitives' batching rules, in linear
    time; the nodes emitted carry the source line of the node they replace. What does not depend on a
    batched input is used as it is.

    Args:
        outputs: nodes computed for one example.
        inputs: for each input (usually a placeholder) the node that takes its place: of shape
            ``(size, *shape)`` if it is batched, of the same shape if all examples share it.
        size: number of examples.

    Returns:
        For each output a node of shape ``(size, *shape)``.
    """
    replaced: dict[Node, Node] = {}
    is_batched: set[Node] = set()
    for old, new in inputs.items():
        if new.dtype is not old.dtype or new.shape not in (old.shape, (size, *old.shape)):
            raise AssertionError(f"{new!r} cannot take the place of {old!r} in a batch of {size}")
        replaced[old] = new
        if len(new.shape) > len(old.shape):
            is_batched.add(old)
    joint: dict[tuple, Sequence[Node]] = {}  # all results of batched operations
    before = mode.where
    try:
        for node in dependents(outputs, list(inputs), gradients=False):
            if node in inputs:
                continue
            mode.where = node.where
            operands = tuple([replaced.get(operand, operand) for operand in node.inputs])
            batched = tuple([operand in is_batched for operand in node.inputs])
            if True in batched:
                if node.op.rules is not None:
                    key = (node.op.joined, operands)
                    if key not in joint:
                        joint[key] = node.op.rules.batch(node.op.joined, operands, batched, size, batch)
                    replaced[node] = joint[key][node.op.index]
                else:
                    replaced[node] = node.op.batch(operands, batched, size)
                is_batched.add(node)
            else:
                replaced[node] = apply(node.op, operands)
    finally:
        mode.where = before
    return [
        replaced[output] if output in is_batched else lead(replaced.get(output, output), size) for output in outputs
    ]

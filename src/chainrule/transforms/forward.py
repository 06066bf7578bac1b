"""Forward mode: one forward sweep over nodes that emits nodes."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.node import Node
from ..ops.base import mode
from .paths import between


def jvp(outputs: Sequence[Node], primals: Sequence[Node], tangents: Sequence[Node | None]) -> list[Node | None]:
    """The Jacobian times the tangents, for each output.

    One forward sweep, in linear time, over the nodes between `primals` and `outputs` that require
    gradients; what it emits are ordinary nodes with the source line of the node they belong to.

    Args:
        outputs: nodes of any shapes.
        primals: the nodes to differentiate with respect to; none may depend on another.
        tangents: one for each primal, of its type; None means zero.

    Returns:
        For each output its tangent, None if that is zero because no path leads there.
    """
    path = between(outputs, primals)
    known: dict[Node, Node] = {}
    for primal, tangent in zip(primals, tangents):
        if tangent is not None:
            if tangent.shape != primal.shape or tangent.dtype is not primal.dtype:
                raise AssertionError(f"tangent {tangent!r} does not have the type of {primal!r}")
            known[primal] = tangent
    starts = set(primals)
    joint: dict[tuple, Sequence[Node | None]] = {}  # tangents of all results of an operation
    before = mode.where
    try:
        for node in path:
            if node in starts:
                continue
            parts = tuple([known.get(operand) for operand in node.inputs])
            if all(part is None for part in parts):
                continue
            mode.where = node.where
            if node.op.rules is not None:
                key = (node.op.joined, node.inputs)
                if key not in joint:
                    joint[key] = node.op.rules.jvp(node, parts, jvp)
                tangent = joint[key][node.op.index]
            else:
                tangent = node.op.jvp(node, parts)
            if tangent is not None:
                known[node] = tangent
    finally:
        mode.where = before
    return [known.get(output) for output in outputs]

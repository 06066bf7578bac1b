"""Reverse mode: one backward sweep over nodes that emits nodes."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.node import Node
from ..ops.base import credit, emit, mode
from .paths import between


def vjp(outputs: Sequence[Node], cotangents: Sequence[Node | None], wrt: Sequence[Node]) -> list[Node | None]:
    """The sum over outputs of cotangent times Jacobian, for each node of `wrt`.

    One backward sweep, in linear time, over the nodes between `wrt` and `outputs` that require
    gradients; what it emits are ordinary nodes, with the source line of the node they belong to, so
    that they can be differentiated again. Contributions are added in the order of the sweep, from the
    last recorded use to the first.

    Args:
        outputs: nodes of any shapes.
        cotangents: one for each output, of its type; None means zero.
        wrt: the nodes to differentiate with respect to; one may depend on another.

    Returns:
        For each node of `wrt` its cotangent, None if that is zero because no path leads there.
    """
    with credit("reverse"):
        return _sweep(outputs, cotangents, wrt)


def _sweep(
    outputs: Sequence[Node], cotangents: Sequence[Node | None], wrt: Sequence[Node]
) -> list[Node | None]:
    path = between(outputs, wrt)
    gathered: dict[Node, Node] = {}
    for output, cotangent in zip(outputs, cotangents):
        if cotangent is not None and output in path:
            if cotangent.shape != output.shape or cotangent.dtype is not output.dtype:
                raise AssertionError(f"cotangent {cotangent!r} does not have the type of {output!r}")
            other = gathered.get(output)
            gathered[output] = cotangent if other is None else emit("add", other, cotangent)
    ends = set(wrt)
    found: dict[Node, Node] = {}
    before = mode.where
    try:
        for node in reversed(path):
            cotangent = gathered.pop(node, None)
            if cotangent is None:
                continue
            if node in ends:
                found[node] = cotangent
            inputs = node.inputs
            needed = tuple([operand in path for operand in inputs])
            if True not in needed:
                continue
            mode.where = node.where
            for operand, wanted, part in zip(inputs, needed, node.op.vjp(node, cotangent, needed)):
                if wanted and part is not None:
                    other = gathered.get(operand)
                    gathered[operand] = part if other is None else emit("add", other, part)
    finally:
        mode.where = before
    return [found.get(node) for node in wrt]

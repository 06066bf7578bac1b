"""Reverse mode: one backward sweep over nodes that emits nodes."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph.node import Node
from ..ops import loop_rules
from ..ops.base import credit, emit, mode
from .checkpoint import recompute
from .paths import between


def vjp(outputs: Sequence[Node], cotangents: Sequence[Node | None], wrt: Sequence[Node]) -> list[Node | None]:
    """The sum over outputs of cotangent times Jacobian, for each node of `wrt`.

    One backward sweep, in linear time, over the nodes between `wrt` and `outputs` that require
    gradients; what it emits are ordinary nodes, with the source line of the node they belong to, so
    that they can be differentiated again. Contributions are added in the order of the sweep, from the
    last recorded use to the first. Rules of nodes inside a checkpointed region are given the same nodes computed again.

    Args:
        outputs: nodes of any shapes.
        cotangents: one for each output, of its type; None means zero.
        wrt: the nodes to differentiate with respect to; one may depend on another.

    Returns:
        For each node of `wrt` its cotangent, None if that is zero because no path leads there.
    """
    with credit("reverse"):
        return _sweep(outputs, cotangents, wrt)


def _sweep(outputs: Sequence[Node], cotangents: Sequence[Node | None], wrt: Sequence[Node]) -> list[Node | None]:
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
    again: dict[Node, Node] = {}  # nodes inside checkpointed regions -> the same computed again
    waiting: dict[Node, Node] = {}  # first result of a region -> a cotangent of one of its results
    before = mode.where
    try:
        siblings: list[tuple[Node, Node]] = []  # results of one loop with their cotangents, recorded one after another
        order = [*reversed(path), None]
        for node in order:
            if siblings and not (node is not None and _siblings(node, siblings[0][0])):
                first = siblings[0][0]
                needed = tuple([operand in path for operand in first.inputs])
                if True in needed:
                    mode.where = first.where
                    siblings.reverse()
                    nodes = [again.get(sibling, sibling) for sibling, _ in siblings]
                    parts = [part for _, part in siblings]
                    _gather(gathered, first.inputs, needed, loop_rules.vjp(nodes, parts, needed, _sweep))
                siblings = []
            if node is None:
                break
            cotangent = gathered.pop(node, None)
            if node.op.name == "checkpoint":
                first = node if node.op.count else node.inputs[1]
                if cotangent is not None:
                    waiting.setdefault(first, cotangent)
                if first is node and node in waiting:
                    again.update(recompute(node, waiting.pop(node), again))
            if cotangent is None:
                continue
            if node in ends:
                found[node] = cotangent
            if node.op.joint:
                siblings.append((node, cotangent))
                continue
            inputs = node.inputs
            needed = tuple([operand in path for operand in inputs])
            if True not in needed:
                continue
            mode.where = node.where
            actual = again.get(node, node)
            _gather(gathered, inputs, needed, actual.op.vjp(actual, cotangent, needed))
    finally:
        mode.where = before
    return [found.get(node) for node in wrt]


def _gather(
    gathered: dict[Node, Node], inputs: Sequence[Node], needed: Sequence[bool], parts: Sequence[Node | None]
) -> None:
    for operand, wanted, part in zip(inputs, needed, parts):
        if wanted and part is not None:
            other = gathered.get(operand)
            gathered[operand] = part if other is None else emit("add", other, part)


def _siblings(a: Node, b: Node) -> bool:
    """Whether two nodes are results of one loop."""
    return a.op.joint and b.op.joint and a.inputs == b.inputs and a.op.loop == b.op.loop

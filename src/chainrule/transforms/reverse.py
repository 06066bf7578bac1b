"""Reverse mode: one backward sweep over nodes that emits nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.node import Node
from ..ops.base import credit, emit, mode
from ..ops.rules import sum_parts
from .checkpoint import became, kept, recompute
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
    saved: set[Node] = set()  # of these, those that are kept
    pieces: dict[Node, list[tuple[Node, Node]]] = {}  # what slices of a node bring: (slice, cotangent)
    waiting: dict[Node, Node] = {}  # first result of a region -> a cotangent of one of its results
    before = mode.where
    try:
        siblings: list[tuple[Node, Node]] = []  # results of one operation with cotangents, recorded one after another
        order: list[Any] = [*reversed(path), None]
        for node in order:
            if siblings and not (node is not None and _siblings(node, siblings[0][0])):
                first = siblings[0][0]
                needed = tuple([operand in path for operand in first.inputs])
                if True in needed:
                    mode.where = first.where
                    siblings.reverse()
                    nodes = [again.get(sibling, sibling) for sibling, _ in siblings]
                    parts = [part for _, part in siblings]
                    rules: Any = first.op.rules
                    _gather(gathered, first.inputs, needed, rules.vjp(nodes, parts, needed, _sweep))
                    for (sibling, _), actual in zip(siblings, nodes):
                        sibling.op = actual.op  # a rule may note that it was asked, see `custom_vjp`
                        if sibling in saved:
                            became(actual, sibling)
                siblings = []
            if node is None:
                break
            cotangent = gathered.pop(node, None)
            if node in pieces:
                mode.where = node.where
                joined = _joined(node, pieces.pop(node))
                cotangent = joined if cotangent is None else emit("add", cotangent, joined)
            if node.op.name == "checkpoint":
                first = node if node.op.count else node.inputs[1]
                if cotangent is not None:
                    waiting.setdefault(first, cotangent)
                if first is node and node in waiting:
                    again.update(recompute(node, waiting.pop(node), again))
                    saved.update(kept(node))
            if cotangent is None:
                continue
            if node in ends:
                found[node] = cotangent
            if node.op.rules is not None:
                siblings.append((node, cotangent))
                continue
            inputs = node.inputs
            needed = tuple([operand in path for operand in inputs])
            if True not in needed:
                continue
            if node.op.name == "slice" and set(node.op.steps) <= {1}:
                pieces.setdefault(inputs[0], []).append((node, cotangent))
                continue
            mode.where = node.where
            actual = again.get(node, node)
            _gather(gathered, inputs, needed, actual.op.vjp(actual, cotangent, needed))
            if node in saved:
                became(actual, node)
    finally:
        mode.where = before
    return [found.get(node) for node in wrt]


def _joined(x: Node, pieces: Sequence[tuple[Node, Node]]) -> Node:
    """The cotangent of `x` from those of its slices: one concatenation if they lie side by side along one axis.

    Putting each between zeros and adding them up would take time for all of `x` for each of them.
    """
    same: dict[tuple, tuple[Node, Node]] = {}
    for node, part in pieces:
        key = (node.op.starts, node.op.stops)
        same[key] = (node, emit("add", same[key][1], part)) if key in same else (node, part)
    pieces = list(same.values())
    cut = {
        axis
        for node, _ in pieces
        for axis, (start, stop) in enumerate(zip(node.op.starts, node.op.stops))
        if (start, stop) != (0, x.shape[axis])
    }
    if len(pieces) > 1 and len(cut) == 1:
        (axis,) = cut
        parts: list[Node] = []
        end = 0
        for start, stop, part in sorted(
            ((node.op.starts[axis], node.op.stops[axis], part) for node, part in pieces), key=lambda entry: entry[:2]
        ):
            if start < end:
                break
            if start > end:
                parts.append(_zeros(x, axis, start - end))
            parts.append(part)
            end = stop
        else:
            if end < x.shape[axis]:
                parts.append(_zeros(x, axis, x.shape[axis] - end))
            return emit("concat", *parts, attributes=(axis,))
    spread = [node.op.vjp(node, part, (True,))[0] for node, part in pieces]
    total = sum_parts(*spread)
    assert total is not None
    return total


def _zeros(x: Node, axis: int, extent: int) -> Node:
    return emit("full", attributes=(0.0, (*x.shape[:axis], extent, *x.shape[axis + 1 :]), x.dtype))


def _gather(
    gathered: dict[Node, Node], inputs: Sequence[Node], needed: Sequence[bool], parts: Sequence[Node | None]
) -> None:
    for operand, wanted, part in zip(inputs, needed, parts):
        if wanted and part is not None:
            other = gathered.get(operand)
            gathered[operand] = part if other is None else emit("add", other, part)


def _siblings(a: Node, b: Node) -> bool:
    """Whether two nodes are results of one operation."""
    return a.op.rules is not None and a.op.rules is b.op.rules and a.inputs == b.inputs and a.op.joined == b.op.joined

"""Regions that are computed again in the reverse sweep instead of being kept for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..graph.node import Node
from ..ops.base import apply, emit, mode, primitive

_ALIAS = primitive("alias")


def inside(results: Iterable[Node], before: Iterable[Node]) -> list[Node]:
    """The nodes that `results` are computed from by way of none of `before`, in recorded order, without leaves."""
    ends = set(before)
    seen: set[Node] = set()
    stack = [node for node in results if node not in ends and node.inputs]
    seen.update(stack)
    while stack:
        for operand in stack.pop().inputs:
            if operand.inputs and operand not in ends and operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return sorted(seen, key=lambda node: node.serial)


def region(first: Node) -> list[Node]:
    """The nodes of a checkpointed region, given its first "checkpoint" node."""
    count, stop = first.op.count, len(first.inputs) - first.op.kept
    return inside(first.inputs[:count], first.inputs[count:stop])


def kept(first: Node) -> tuple[Node, ...]:
    """The nodes of a checkpointed region that are kept and not computed again."""
    return first.inputs[len(first.inputs) - first.op.kept :]


def hidden(order: Sequence[Node]) -> set[Node]:
    """The nodes of `order` that lie inside checkpointed regions: their values are not kept for a backward pass."""
    firsts = [node for node in order if node.op.name == "checkpoint" and node.op.count]
    return {node for first in firsts for node in region(first)}.difference(*map(kept, firsts))


def recompute(first: Node, cotangent: Node, again: Mapping[Node, Node]) -> dict[Node, Node]:
    """Record the nodes of a region once more, so that they wait for `cotangent`.

    A node that reads nothing computed again gets its smallest operand through a barrier, so that it waits, and is
    another node than the first one. Movements are free and stay as they are. Draws are functions of their key, and
    what a region writes to state is none of its nodes: neither is repeated.

    Args:
        first: the region's first "checkpoint" node.
        cotangent: of one of its results.
        again: nodes of regions around this one that are computed again already.

    Returns:
        For each node of the region the new one, or of one that is kept a stand-in (see `became`).
    """
    saved = set(kept(first))
    then = _corner(first.inputs[0] if cotangent.op.name == "full" and cotangent.value is None else cotangent)
    new: dict[Node, Node] = {}
    shadows: dict[Node, Node] = {}
    fresh: set[Node] = set()
    held: dict[Node, Node] = {}
    before = mode.where
    try:
        for node in region(first):
            mode.where = node.where
            operands = [new.get(operand, again.get(operand, operand)) for operand in node.inputs]
            if node in saved:
                shadows[node] = Node(node.op, tuple(operands), node.shape, node.dtype, None, node.requires_grad)
                continue
            waits = any(operand in fresh for operand in operands)
            if not waits and node.op.family != "movement" and then is not None:
                place = min(range(len(operands)), key=lambda n: (_bytes(operands[n]), n))
                x = operands[place]
                if x not in held:
                    moment = then if not x.shape else emit("broadcast", then, attributes=(x.shape, ()))
                    held[x] = emit("barrier", x, moment)
                operands[place] = held[x]
                waits = True
            new[node] = made = apply(node.op, tuple(operands))
            if waits:
                fresh.add(made)
    finally:
        mode.where = before
    return new | shadows


def became(shadow: Node, node: Node) -> None:
    """Let the stand-in of a kept node, whose rule has been asked for by now, stand for the node itself.

    A rule reads the operands of its node, which are computed again, and may use the node, which is not.
    """
    shadow.op, shadow.inputs = _ALIAS, (node,)


def _corner(x: Node) -> Node | None:
    """One element of `x`, None if it has none."""
    if 0 in x.shape:
        return None
    if x.shape and any(extent != 1 for extent in x.shape):
        ones = (1,) * len(x.shape)
        x = emit("slice", x, attributes=((0,) * len(x.shape), ones, ones))
    return x if not x.shape else emit("reshape", x, attributes=((),))


def _bytes(node: Node) -> int:
    total: int = node.dtype.itemsize
    for extent in node.shape:
        total *= extent
    return total

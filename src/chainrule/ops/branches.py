"""Branches in the graph: `Branches`, regions of which one runs.

Which region runs is decided by a number when the program runs; the others do not. Like a loop, a choice has several
results and is recorded as sibling nodes: the primitive `branch` with the same `Branches`, the
same operands and another `index`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..graph.node import Node
from .base import emit, mode
from .control import is_structural, ordered, structure_of
from .leaf import placeholder
from .rules import full


class Branches:
    """Regions over the same inputs, of which one runs; immutable, equal to all that compute the same.

    Attributes:
        inputs: placeholders that the regions read.
        outputs: for each region the nodes that it computes; result i has one shape and dtype in all of them.
        orders: for each region its nodes, operands first, placeholders included.
        memo: what transformations remember about them.
    """

    __slots__ = ("_hash", "inputs", "key", "memo", "orders", "outputs")
    primitive = "branch"

    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Sequence[Node]]):
        self.inputs = tuple(inputs)
        self.outputs = tuple([tuple(nodes) for nodes in outputs])
        self.orders = tuple([ordered(nodes, self.inputs) for nodes in self.outputs])
        self.memo: dict[Any, Any] = {}
        regions = [structure_of(order, nodes) for order, nodes in zip(self.orders, self.outputs)]
        self.key = ("branches", len(self.inputs), *regions)
        self._hash = hash(self.key)

    @property
    def inside(self) -> list[Node]:
        """The nodes of all regions without their inputs."""
        return [node for order in self.orders for node in order[len(self.inputs) :]]

    @property
    def root(self) -> Branches:
        """Itself, as the loop that a loop extends."""
        return self

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Branches) and self._hash == other._hash and self.key == other.key)

    def __repr__(self) -> str:
        return f"<one of {len(self.outputs)} regions: {', '.join(f'{len(o) - len(self.inputs)}' for o in self.orders)}>"


class Closed(NamedTuple):
    """Branches, and their operands as nodes of the graph around them."""

    branches: Branches
    operands: list[Node]


def close(
    outputs: Sequence[Sequence[Node]], inside: Callable[[Node], bool], given: Mapping[Node, Node] | None = None
) -> Closed:
    """The branches whose regions compute `outputs`.

    What else the outputs depend on becomes an operand, computed whichever region runs.

    Args:
        outputs: for each region the nodes that it computes.
        inside: whether a node belongs to the regions; one that has a value, or stands for one, never does.
        given: nodes and what stands for them outside.
    """
    given = given or {}
    operands: dict[Node, Node] = {}  # outside -> placeholder

    def read(node: Node) -> Node:
        if node not in operands:
            operands[node] = placeholder(len(operands), node.shape, node.dtype, node.requires_grad)
        return operands[node]

    def belongs(node: Node) -> bool:
        if node in given or node.value is not None or node.op.name == "placeholder":
            return False
        return node.op.name in ("full", "iota") or inside(node)

    regions = []
    before = mode.where
    try:
        for nodes in outputs:
            fresh: dict[Node, Node] = {}
            stack = [(node, False) for node in reversed(nodes)]
            while stack:
                node, expanded = stack.pop()
                if node in fresh:
                    continue
                mode.where = node.where
                op: Any = node.op
                if not belongs(node):
                    fresh[node] = read(given.get(node, node))
                elif op.name == "full" and not is_structural(op.value):
                    number = full(op.value, (), node.dtype)
                    inner = read(number)
                    fresh[node] = emit("broadcast", inner, attributes=(node.shape, ())) if node.shape else inner
                elif expanded or not node.inputs:
                    inputs = tuple([fresh[operand] for operand in node.inputs])
                    fresh[node] = Node(op, inputs, node.shape, node.dtype, None, node.requires_grad, node.where)
                else:
                    stack.append((node, True))
                    stack.extend((operand, False) for operand in reversed(node.inputs) if operand not in fresh)
            regions.append([fresh[node] for node in nodes])
    finally:
        mode.where = before
    return Closed(Branches(list(operands.values()), regions), list(operands))

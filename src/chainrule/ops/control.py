"""Loops in the graph: `Loop`, the region that is repeated, and what loops and choices have in common.

The primitives have their own files: `scan` repeats a region a number of times, `while_loop` as long as a condition
holds, `branch` chooses among regions.

A loop has several results and a node has one value, so a loop is recorded as sibling nodes: `scan` with the same
`Loop`, the same operands and another `index`. Transformations treat siblings together (`joint`), and the compiler
makes one native loop of them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np

from ..graph.node import Node
from .base import Primitive, apply, emit, mode, primitive
from .leaf import placeholder
from .rules import broadcast, full

#: numbers that are part of the structure of a program; another one inside a region becomes an operand of the loop
_STRUCTURAL = frozenset((-1, 0, 1, 2, 0.5))


def is_structural(value: Any) -> bool:
    """Whether a number inside a region is part of its structure."""
    return isinstance(value, bool) or (value in _STRUCTURAL and repr(value) != "-0.0")


class Loop:
    """A region of nodes and how often it is repeated; immutable, equal to every loop that computes the same.

    The region's inputs are placeholders: of values that stay the same (`constants`), of values handed from one
    iteration to the next (`carries`), and of the slices of stacks (`slices`). Its `outputs` are the next carries, then
    what is stacked. `length` iterations run, over the stacks from the back if `reverse`. With `length` 0 the loop runs
    as long as its first carry, a bool, is true; nothing is stacked then.

    Attributes:
        order: the nodes of the region, operands first, placeholders included.
        root: the loop that this one extends by further stacked outputs (`extended`), or itself.
        memo: what transformations remember about the loop.
    """

    __slots__ = (
        "_hash", "carries", "constants", "key", "length", "memo", "order", "outputs", "reverse", "root", "slices",
    )  # fmt: skip

    def __init__(
        self,
        constants: Sequence[Node],
        carries: Sequence[Node],
        slices: Sequence[Node],
        outputs: Sequence[Node],
        length: int,
        reverse: bool,
        root: Loop | None = None,
    ):
        self.constants = tuple(constants)
        self.carries = tuple(carries)
        self.slices = tuple(slices)
        self.outputs = tuple(outputs)
        self.length = length
        self.reverse = reverse
        self.root = self if root is None else root
        self.memo: dict[Any, Any] = {}
        self.order = ordered(self.outputs, self.inputs)
        self.key = self._structure()
        self._hash = hash(self.key)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """All placeholders, in the order of the primitive's operands."""
        return (*self.constants, *self.carries, *self.slices)

    @property
    def primitive(self) -> str:
        """The name of the primitive whose nodes are results of this loop."""
        return "scan" if self.length else "while_loop"

    @property
    def inside(self) -> list[Node]:
        """The nodes of the region without its inputs."""
        return list(self.order[len(self.inputs) :])

    def _structure(self) -> tuple:
        parts = (len(self.constants), len(self.carries), self.length, self.reverse)
        return (*parts, *structure_of(self.order, self.outputs), None if self.root is self else self.root.key)

    def extended(self, extra: Sequence[Node]) -> Loop:
        """The loop that also stacks the nodes `extra` of the region."""
        if not extra:
            return self
        outputs = (*self.outputs, *extra)
        return Loop(self.constants, self.carries, self.slices, outputs, self.length, self.reverse, self.root)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Loop) and self._hash == other._hash and self.key == other.key)

    def __repr__(self) -> str:
        times = f"{self.length} times" if self.length else "while true:"
        return f"<{times} {len(self.order) - len(self.inputs)} nodes>"


def structure_of(order: Sequence[Node], outputs: Sequence[Node]) -> tuple:
    """What is computed by the nodes of a region, without their identity."""
    place = {node: number for number, node in enumerate(order)}
    parts: list[Any] = []
    for node in order:
        parts += (node.requires_grad, node.shape, node.dtype)
        if node.op.name == "full":
            parts.append(repr(node.op.value))
        elif node.op.name != "placeholder":
            parts.append(node.op.key)
            parts += [place[operand] for operand in node.inputs]
    return (*parts, tuple([place[node] for node in outputs]))


def ordered(outputs: Iterable[Node], inputs: Sequence[Node]) -> tuple[Node, ...]:
    """`inputs`, then the nodes that `outputs` need, operands first."""
    order = list(inputs)
    seen = set(order)
    stack = [(node, False) for node in outputs]
    stack.reverse()
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.inputs) if operand not in seen)
    return tuple(order)


def with_bodies(order: Iterable[Node]) -> list[Node]:
    """`order`, and behind it the nodes inside of the loops and branches among it."""
    found = list(order)
    seen: set[tuple[Any, tuple[Node, ...]]] = set()
    for node in found:
        if node.op.joint and node.value is None and (node.op.joined, node.inputs) not in seen:
            seen.add((node.op.joined, node.inputs))
            found += node.op.joined.inside
    return found


def evaluate_region(order: Iterable[Node], values: dict[Node, np.ndarray]) -> None:
    """Add to `values`, which has those of its inputs, the values of the nodes of a region by NumPy."""
    joint: dict[tuple, list[np.ndarray]] = {}
    for node in order:
        if node in values:
            continue
        arrays = [values[operand] for operand in node.inputs]
        if node.op.joint:
            key = (node.op.joined, node.inputs)
            if key not in joint:
                joint[key] = node.op.numpy_all(*arrays)
            values[node] = joint[key][node.op.index]
        else:
            values[node] = np.asarray(node.op.evaluate(node.dtype, arrays), node.dtype.numpy)


_last: OrderedDict[tuple[Any, int], Primitive] = OrderedDict()
_MAXIMUM_LAST = 1024
_groups: WeakKeyDictionary[Node, tuple[ref[Node], ...]] = WeakKeyDictionary()


def results(joined: Any, operands: tuple[Node, ...], indices: Iterable[int]) -> list[Node]:
    """Record siblings: the results `indices` of a loop, or of branches.

    Equal loops share their primitives, which is how programs for them are found again; only the last ones are kept,
    because a loop holds the nodes of its region and of its derivatives.
    """
    ops = []
    for index in indices:
        key = (joined, index)
        op = _last.get(key)
        if op is None:
            op = _last[key] = primitive(joined.primitive, key)
            if len(_last) > _MAXIMUM_LAST:
                _last.popitem(last=False)
        else:
            with suppress(KeyError):  # another thread has just dropped it
                _last.move_to_end(key)
        ops.append(op)
    found = [apply(op, operands) for op in ops]
    if len(found) > 1:
        group = tuple([ref(node) for node in found])
        _groups.update((node, group) for node in found)
    return found


def siblings(node: Node) -> list[Node]:
    """The pending results that were recorded together with `node` and are still there, itself included."""
    found = (place() for place in _groups.get(node, ()))
    return [other for other in found if other is not None and other.value is None]


class Closed(NamedTuple):
    """A loop, and its constants as nodes of the graph around it."""

    loop: Loop
    constants: list[Node]


def close(
    outputs: Sequence[Node],
    carries: Sequence[Node],
    slices: Sequence[Node],
    length: int,
    reverse: bool,
    replaced: Mapping[Node, Node] | None = None,
) -> Closed:
    """The loop whose region computes `outputs` from the placeholders `carries` and `slices` (for `length` see `Loop`).

    Everything else that the outputs depend on becomes a constant: computed once, outside. `replaced` maps nodes to the
    slices that stand for them. A constant that is an operand of a contraction and is also used otherwise becomes two,
    so that its gradient as an operand can be computed after the loop.
    """
    mapped = {node: node for node in (*carries, *slices)} | dict(replaced or {})
    order = _ordered_from(outputs, mapped)
    varying = set(mapped)
    for node in order:
        if any(operand in varying for operand in node.inputs):
            varying.add(node)
    fresh: dict[Node, Node] = dict(mapped)
    constants: dict[tuple[Node, bool], Node] = {}

    def constant_for(node: Node, product: bool) -> Node:
        op: Any = node.op
        if op.name == "iota":
            return copied(node, ())
        if op.name == "full":
            value = op.value
            if is_structural(value):
                return copied(node, ())
            if node.shape:
                return emit("broadcast", constant_for(full(value, (), node.dtype), False), attributes=(node.shape, ()))
        key = (node, product)
        if key not in constants:
            number = len(constants)
            constants[key] = placeholder(number, node.shape, node.dtype, node.requires_grad)
        return constants[key]

    def copied(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node not in fresh:
            fresh[node] = Node(node.op, inputs, node.shape, node.dtype, None, node.requires_grad, node.where)
        return fresh[node]

    before = mode.where
    try:
        for node in order:
            if node in varying and node not in fresh:
                mode.where = node.where
                product = node.op.name == "contract"
                operands = tuple([fresh[i] if i in varying else constant_for(i, product) for i in node.inputs])
                copied(node, operands)
        results = [fresh[o] if o in varying else constant_for(o, False) for o in outputs]
    finally:
        mode.where = before
    loop = Loop(list(constants.values()), carries, slices, results, length, reverse)
    return Closed(loop, [node for node, _ in constants])


def _ordered_from(outputs: Iterable[Node], stops: Mapping[Node, Any]) -> list[Node]:
    """The nodes that `outputs` need, operands first, not looking behind `stops` and what is older than all of them."""
    oldest = min((node.serial for node in stops), default=math.inf)
    order: list[Node] = []
    seen: set[Node] = set(stops)
    stack = [(node, False) for node in outputs]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if node.serial > oldest:
                stack.extend((operand, False) for operand in node.inputs if operand not in seen)
    return order


def replay(nodes: Sequence[Node], bound: Mapping[Node, Node]) -> list[Node]:
    """`nodes` with what `bound` maps replaced: what does not depend on it is used as it is."""
    changed: dict[Node, Node] = dict(bound)
    before = mode.where
    try:
        for node in _ordered_from(nodes, bound):
            if any(operand in changed for operand in node.inputs):
                mode.where = node.where
                changed[node] = apply(node.op, tuple([changed.get(i, i) for i in node.inputs]))
    finally:
        mode.where = before
    return [changed.get(node, node) for node in nodes]


def stacked(node: Node, length: int) -> Node:
    """`node` repeated along a new leading axis."""
    return broadcast(node, (length, *node.shape), tuple(range(1, len(node.shape) + 1)))

"""Derivatives and batching of branches: each transformation of a choice is another choice by the same number.

A region of the reverse sweep computes again what it needs of the forward one: only the operands of a choice are kept
for it, whatever the regions do inside. The rules are given the transformation itself (`sweep`, `push`, `spread`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..graph.node import Node
from .base import emit, mode
from .branches import Branches, Closed, close
from .control import replay, results
from .leaf import placeholder
from .rules import along, full, full_like, lead, where

Parts = Sequence[Node | None]


def _inside(node: Node) -> bool:
    """Whether a node that is computed from a region's belongs to it: all do, since its inputs are placeholders."""
    return True


def vjp(
    nodes: Sequence[Node], cotangents: Sequence[Node], needed: tuple[bool, ...], sweep: Callable[..., list[Node | None]]
) -> tuple[Node | None, ...]:
    """Cotangents of the operands of sibling `nodes`."""
    branches: Branches = nodes[0].op.branches
    indices = tuple([node.op.index for node in nodes])
    key = ("vjp", indices, needed, mode.grad_enabled)
    plan: Any = branches.memo.get(key)
    if plan is None:
        plan = branches.memo[key] = _plan_reverse(branches, indices, needed[1:], sweep)
    parts: list[Node | None] = [None] * len(needed)
    if plan:
        closed, incoming, produced = plan
        number, *operands = nodes[0].inputs
        bound = dict(zip(branches.inputs, operands)) | dict(zip(incoming, cotangents))
        for place, part in zip(produced, _run(closed, number, bound)):
            parts[place] = part
    return tuple(parts)


def _plan_reverse(
    branches: Branches, indices: tuple[int, ...], needed: tuple[bool, ...], sweep: Callable[..., list[Node | None]]
) -> tuple[Closed, list[Node], list[int]] | tuple[()]:
    """The branches of the reverse sweep, the placeholders of its cotangents, and the operands of its results."""
    places = [i for i, (n, yes) in enumerate(zip(branches.inputs, needed)) if yes and n.dtype.kind in "fc"]
    wrt = [branches.inputs[i] for i in places]
    types = [branches.outputs[0][i] for i in indices]
    incoming = [placeholder(i, n.shape, n.dtype, mode.grad_enabled) for i, n in enumerate(types)]
    found = [sweep([outputs[i] for i in indices], incoming, wrt) for outputs in branches.outputs]
    some = [j for j in range(len(wrt)) if any(parts[j] is not None for parts in found)]
    if not some:
        return ()
    outputs = [[_or_zero(parts[j], wrt[j]) for j in some] for parts in found]
    return close(outputs, _inside), incoming, [places[j] + 1 for j in some]


def _or_zero(part: Node | None, like: Node) -> Node:
    return full_like(like, 0.0) if part is None else part


def _run(closed: Closed, number: Node, bound: Mapping[Node, Node]) -> list[Node]:
    """All results of branches whose operands are nodes in terms of placeholders that `bound` maps."""
    operands = (number, *replay(closed.operands, bound))
    return results(closed.branches, operands, range(len(closed.branches.outputs[0])))


def jvp(node: Node, tangents: Parts, push: Callable[..., list[Node | None]]) -> list[Node | None]:
    """Tangents of all results of the choice of `node`."""
    branches: Branches = node.op.branches
    given = [tangent is not None for tangent in tangents[1:]]
    key = ("jvp", tuple(given), mode.grad_enabled)
    plan: Any = branches.memo.get(key)
    if plan is None:
        plan = branches.memo[key] = _plan_forward(branches, given, push)
    moving, closed, produced = plan
    found: list[Node | None] = [None] * len(branches.outputs[0])
    if produced:
        number, *operands = node.inputs
        bound = dict(zip(branches.inputs, operands))
        bound |= dict(zip(moving, (tangent for tangent in tangents[1:] if tangent is not None)))
        for place, part in zip(produced, _run(closed, number, bound)):
            found[place] = part
    return found


def _plan_forward(
    branches: Branches, given: list[bool], push: Callable[..., list[Node | None]]
) -> tuple[list[Node], Closed, list[int]]:
    active = [node for node, moves in zip(branches.inputs, given) if moves]
    moving = [placeholder(i, n.shape, n.dtype, mode.grad_enabled) for i, n in enumerate(active)]
    parts = [push(outputs, active, moving) for outputs in branches.outputs]
    results = branches.outputs[0]
    produced = [i for i in range(len(results)) if any(region[i] is not None for region in parts)]
    outputs = [[_or_zero(region[i], results[i]) for i in produced] for region in parts]
    return moving, close(outputs, _inside), produced


def batch(
    branches: Branches,
    operands: tuple[Node, ...],
    batched: tuple[bool, ...],
    size: int,
    spread: Callable[[Sequence[Node], Mapping[Node, Node], int], list[Node]],
) -> list[Node]:
    """A choice that is the same for all examples stays one; otherwise all regions run, and each example selects."""
    number, *rest = operands
    if not batched[0]:
        wide = {
            node: placeholder(i, operand.shape, node.dtype, node.requires_grad)
            for i, (node, operand, is_) in enumerate(zip(branches.inputs, rest, batched[1:]))
            if is_
        }
        closed = close([spread(outputs, wide, size) for outputs in branches.outputs], _inside)
        bound = {wide.get(node, node): operand for node, operand in zip(branches.inputs, rest)}
        return _run(closed, number, bound)
    bound = dict(zip(branches.inputs, rest))
    found = [_spread_inline(outputs, bound, size, spread) for outputs in branches.outputs]
    chosen = found[-1]
    for k in reversed(range(len(found) - 1)):
        here = emit("eq", number, full(k, (size,), number.dtype))
        chosen = [where(along(here, new), new, old) for new, old in zip(found[k], chosen)]
    return chosen


def _spread_inline(
    outputs: Sequence[Node], bound: Mapping[Node, Node], size: int, spread: Callable[..., list[Node]]
) -> list[Node]:
    """The outputs of a region for all examples, in the graph around it."""
    if bound:
        return spread(outputs, bound, size)
    return [lead(node, size) for node in replay(outputs, {})]

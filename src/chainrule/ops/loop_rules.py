"""Derivatives and batching of loops: each transformation of a loop is another loop.

The rules are given the transformation itself (`sweep`, `push`, `spread`), which they apply to the loop's region.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..graph.node import Node
from .base import mode
from .control import Closed, Loop, close, replay, results
from .leaf import placeholder
from .rules import add, full_like, lead, permute, sum_parts, total

Parts = Sequence[Node | None]


def reached_by(loop: Loop, active: set[Node], gradients: bool) -> set[Node]:
    """`active` placeholders, those of carries that they reach, and all nodes of the region that depend on them."""
    while True:
        found = set(active)
        for node in loop.order:
            if node.inputs and (node.requires_grad or not gradients) and any(i in found for i in node.inputs):
                found.add(node)
        more = {
            carry
            for carry, output in zip(loop.carries, loop.outputs)
            if output in found and carry not in active and (carry.dtype.kind in "fc" or not gradients)
        }
        if not more:
            return found
        active = active | more


# --- reverse mode ---------------------------------------------------------------------------------


class _Product(NamedTuple):
    """A contraction of a constant with what varies: its gradient is computed after the loop, for all iterations."""

    node: Node
    constant: int  # position of the constant operand among the two
    stack: int  # which stacked output of the reverse loop holds the contraction's cotangent
    other: Node  # the stack of the other operand: an output of the extended loop, or a placeholder of a slice


class _Reverse(NamedTuple):
    """The plan of a loop's reverse sweep; see `vjp`."""

    forward: Loop  # the loop extended by what the sweep needs
    closed: Closed
    carries: list[int]  # numbers of the carries that have cotangents
    sums: list[tuple[int, Node]]  # constants whose gradient accumulates in a carry, with their placeholders
    given: list[int]  # outputs whose cotangents are slices
    residuals: list[Node]  # nodes of the region that are slices
    stacks: dict[int, int]  # constant or slice number -> stacked output
    products: list[_Product]


def vjp(
    nodes: Sequence[Node], cotangents: Sequence[Node], needed: tuple[bool, ...], sweep: Callable[..., list[Node | None]]
) -> tuple[Node | None, ...]:
    """Cotangents of the operands of sibling `nodes`: one loop in the other direction.

    The reverse loop carries the cotangents of the carries. What it needs of the iterations is stacked by the forward
    loop. Gradients of constants accumulate in carries, but those of operands of contractions are computed after the
    loop, from stacks, by one contraction: reading and writing a weight's gradient in each iteration would cost more
    than the iteration.
    """
    loop: Loop = nodes[0].op.loop
    operands = nodes[0].inputs
    indices = tuple(node.op.index for node in nodes)
    key = ("vjp", indices, needed, mode.grad_enabled)
    plan: Any = loop.memo.get(key)
    if plan is None:
        plan = loop.memo[key] = _plan_reverse(loop, indices, needed, sweep)
    if plan == ():
        return (None,) * len(operands)
    cotangent_of = dict(zip(indices, cotangents))
    bound = dict(zip(loop.inputs, operands))
    outer: dict[Node, Node] = {}
    wanted = [node for node in plan.residuals if node not in loop.slices]
    wanted += [p.other for p in plan.products if p.other not in loop.slices and p.other not in wanted]
    places = [plan.forward.outputs.index(node, len(loop.carries)) for node in wanted]
    for node, stack in zip(wanted, results(plan.forward, operands, places)):
        outer[node] = stack
    for node in loop.slices:
        outer[node] = bound[node]
    first = [cotangent_of.get(i) or full_like(loop.carries[i], 0.0) for i in plan.carries]
    first += [full_like(node, 0.0) for _, node in plan.sums]
    slices = [cotangent_of[i] for i in plan.given] + [outer[node] for node in plan.residuals]
    reverse = plan.closed.loop
    inputs = (*replay(plan.closed.constants, bound), *first, *slices)
    found = results(reverse, inputs, range(len(reverse.outputs)))
    carried, stacks = found[: len(first)], found[len(first) :]
    parts: list[Node | None] = [None] * len(operands)
    starts = len(loop.constants)
    for i, part in zip(plan.carries, carried):
        if needed[starts + i]:
            parts[starts + i] = part
    for (i, _), part in zip(plan.sums, carried[len(plan.carries) :]):
        parts[i] = part
    for i, place in plan.stacks.items():
        parts[i] = stacks[place] if i >= starts else total(stacks[place], (0,))
    for product in plan.products:
        i = loop.constants.index(product.node.inputs[product.constant])
        parts[i] = sum_parts(parts[i], _after(product, outer[product.other], stacks[product.stack]))
    return tuple(parts)


def _after(product: _Product, other: Node, cotangent: Node) -> Node:
    """The gradient of a product's constant operand: one contraction over iterations and summed labels."""
    op: Any = product.node.op
    step = max((-1, *op.a_labels, *op.b_labels)) + 1
    if product.constant:
        labels = ((step, *op.a_labels), (step, *op.out_labels), op.b_labels)
        return op.same("contract", other, cotangent, attributes=labels)
    labels = ((step, *op.out_labels), (step, *op.b_labels), op.a_labels)
    return op.same("contract", cotangent, other, attributes=labels)


def _plan_reverse(loop: Loop, indices: tuple[int, ...], needed: tuple[bool, ...], sweep: Any) -> _Reverse | tuple[()]:
    inputs = loop.inputs
    count = len(loop.carries)
    start = {node for node, wanted in zip(inputs, needed) if wanted and node.dtype.kind in "fc"}
    reached = reached_by(loop, start, gradients=True)
    carries = [i for i, node in enumerate(loop.carries) if node in reached]
    grad = mode.grad_enabled
    incoming: list[tuple[Node, Node]] = []  # outputs of the region, placeholders of their cotangents
    carried, given, slices = [], [], []
    for i in carries:
        carried.append(placeholder(i, loop.carries[i].shape, loop.carries[i].dtype, grad))
        incoming.append((loop.outputs[i], carried[-1]))
    for i in indices:
        output = loop.outputs[i]
        if i >= count and output in reached:
            given.append(i)
            slices.append(placeholder(i, output.shape, output.dtype, grad))
            incoming.append((output, slices[-1]))
    incoming = [(output, part) for output, part in incoming if output in reached]
    if not incoming:
        return ()  # nothing that is needed has a gradient
    constants = set(loop.constants)
    weights, contractions = set(), []
    for node in loop.order:
        if node.op.name == "contract" and node in reached:
            for position, operand in enumerate(node.inputs):
                if operand in constants and operand in start:
                    weights.add(operand)
                    contractions.append((node, position))
    wrt = [n for n in inputs if n in reached and n not in weights] + [node for node, _ in contractions]
    wrt = list(dict.fromkeys(wrt))
    cotangent = dict(zip(wrt, sweep([o for o, _ in incoming], [p for _, p in incoming], wrt)))
    sums: list[tuple[int, Node]] = []
    stacked: list[Node] = []
    stacks: dict[int, int] = {}
    products: list[_Product] = []

    def stack(node: Node) -> int:
        if node not in stacked:
            stacked.append(node)
        return stacked.index(node)

    for node, position in contractions:
        if cotangent[node] is not None:
            products.append(_Product(node, position, stack(cotangent[node]), node.inputs[1 - position]))
    first_slice = len(inputs) - len(loop.slices)
    for i, node in enumerate(inputs):
        part = cotangent.get(node)
        if part is not None and i >= first_slice:
            stacks[i] = stack(part)
    totals = []
    for i, node in enumerate(loop.constants):
        part = cotangent.get(node)
        if part is None:
            continue
        if part in stacked:
            stacks[i] = stacked.index(part)
        else:
            sums.append((i, placeholder(count + i, node.shape, node.dtype, grad)))
            totals.append(add(sums[-1][1], part))
    following = []
    for i in carries:
        part = cotangent[loop.carries[i]]
        following.append(full_like(loop.carries[i], 0.0) if part is None else part)
    outputs = [*following, *totals, *stacked]
    residuals = _residuals(loop, outputs)
    replaced = {}
    for number, node in enumerate(residuals):
        replaced[node] = placeholder(number, node.shape, node.dtype, node.requires_grad)
    closed = close(
        outputs, [*carried, *(node for _, node in sums)], [*slices, *replaced.values()], loop.length, not loop.reverse,
        replaced,
    )  # fmt: skip
    wanted = [*residuals, *(p.other for p in products)]
    present = {*loop.outputs[count:], *loop.slices}
    forward = loop.extended([n for n in dict.fromkeys(wanted) if n not in present])
    return _Reverse(forward, closed, carries, sums, given, residuals, stacks, products)


def _residuals(loop: Loop, outputs: Sequence[Node]) -> list[Node]:
    """The nodes of the region that `outputs` of its reverse sweep need; those that are only moved are moved again."""
    inside = set(loop.order) - set(loop.constants)
    found: dict[Node, None] = {}
    stack = list(outputs)
    seen = set(stack)
    while stack:
        node = stack.pop()
        if node in inside and not _cheap(node):
            found[node] = None
            continue
        for operand in node.inputs:
            if operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return sorted(found, key=lambda node: node.serial)


def _cheap(node: Node) -> bool:
    """Whether the reverse loop computes the node again instead of reading it from a stack."""
    if node.op.name == "full" or node.op.name == "iota":
        return True
    if node.op.family != "movement" or len(node.inputs) != 1:
        return False
    return _size(node.inputs[0]) <= _size(node)


def _size(node: Node) -> int:
    count = 1
    for extent in node.shape:
        count *= extent
    return count


# --- forward mode ---------------------------------------------------------------------------------


#: a loop of tangents reads what it needs of the values from stacks if these take at most so many times the bytes of
#: what the loop stacks anyway; otherwise it computes the values again
STACKED = 16


class _Forward(NamedTuple):
    """The plan of a loop's tangents; see `jvp`."""

    closed: Closed
    carries: list[Node]  # those whose tangents are carried
    moving: dict[Node, Node]  # placeholders of tangents
    produced: list[int]  # the numbers of the results whose tangents it gives
    forward: Loop | None  # the loop extended by what the tangents need, None if they are computed with the values
    residuals: list[Node]  # nodes of the region that are slices


def jvp(node: Node, tangents: Parts, push: Callable[..., list[Node | None]]) -> list[Node | None]:
    """Tangents of all results of the loop of `node`: one loop over tangents, and over values if these are not stacked.

    What the tangents need of the iterations is stacked by the loop itself if that takes little in comparison with what
    it stacks at any rate, so that nothing is computed twice. Otherwise memory counts: values and tangents go together.
    """
    loop: Loop = node.op.loop
    inputs = loop.inputs
    key = ("jvp", tuple(t is not None for t in tangents), mode.grad_enabled)
    plan: Any = loop.memo.get(key)
    if plan is None:
        plan = loop.memo[key] = _plan_forward(loop, [t is not None for t in tangents], push)
    bound = dict(zip(inputs, node.inputs))
    given = {n: t for n, t in zip(inputs, tangents) if t is not None}
    for n, inner in plan.moving.items():
        if n in given:
            bound[inner] = given[n]
    first = [given.get(c) or full_like(c, 0.0) for c in plan.carries]
    along = [given[s] for s in loop.slices if s in given]
    count = len(first)
    if plan.forward is None:
        first = [*(bound[c] for c in loop.carries), *first]
        along = [*(bound[s] for s in loop.slices), *along]
    else:
        wanted = [n for n in plan.residuals if n not in loop.slices]
        places = [plan.forward.outputs.index(n, len(loop.carries)) for n in wanted]
        stacks = dict(zip(wanted, results(plan.forward, node.inputs, places)))
        along += [stacks[n] if n in stacks else bound[n] for n in plan.residuals]
    operands = (*replay(plan.closed.constants, bound), *first, *along)
    numbers = range(len(first) - count, len(plan.closed.loop.outputs))
    found = dict(zip(plan.produced, results(plan.closed.loop, operands, numbers)))
    return [found.get(i) for i in range(len(loop.outputs))]


def _plan_forward(loop: Loop, given: list[bool], push: Any) -> _Forward:
    inputs, count = loop.inputs, len(loop.carries)
    start = {node for node, moves in zip(inputs, given) if moves}
    reached = reached_by(loop, start, gradients=True)
    active = [node for node in inputs if node in reached]
    grad = mode.grad_enabled
    moving = {node: placeholder(i, node.shape, node.dtype, grad) for i, node in enumerate(active)}
    parts = push(loop.outputs, active, [moving[node] for node in active])
    carries = [node for node in loop.carries if node in moving]
    outputs: list[Node] = []
    produced = []
    for i, node in enumerate(loop.carries):
        if node in moving:
            part = parts[i]
            outputs.append(full_like(node, 0.0) if part is None else part)
            produced.append(i)
    for i in range(count, len(parts)):
        if parts[i] is not None:
            outputs.append(parts[i])
            produced.append(i)
    slices = [moving[node] for node in loop.slices if node in start]
    moved = [moving[node] for node in carries]
    residuals = _residuals(loop, outputs)
    if loop.length and sum(map(_bytes, residuals)) <= STACKED * sum(map(_bytes, loop.outputs[count:])):
        replaced = {n: placeholder(i, n.shape, n.dtype, n.requires_grad) for i, n in enumerate(residuals)}
        slices += replaced.values()
        closed = close(outputs, moved, slices, loop.length, loop.reverse, replaced)
        present = {*loop.outputs[count:], *loop.slices}
        forward = loop.extended([n for n in residuals if n not in present])
        return _Forward(closed, carries, moving, produced, forward, residuals)
    outputs = [*loop.outputs[:count], *outputs]
    closed = close(outputs, [*loop.carries, *moved], [*loop.slices, *slices], loop.length, loop.reverse)
    return _Forward(closed, carries, moving, produced, None, [])


def _bytes(node: Node) -> int:
    return _size(node) * node.dtype.itemsize


# --- batching -------------------------------------------------------------------------------------


def batch(
    loop: Loop,
    operands: tuple[Node, ...],
    batched: tuple[bool, ...],
    size: int,
    spread: Callable[[Sequence[Node], Mapping[Node, Node], int], list[Node]],
) -> list[Node]:
    """All results of `loop` for `size` examples: one loop whose carries have the batch axis that need it."""
    inputs, count = loop.inputs, len(loop.carries)
    starts, first_slice = len(loop.constants), len(inputs) - len(loop.slices)
    start = {node for node, is_ in zip(inputs, batched) if is_}
    reached = reached_by(loop, start, gradients=False)
    wide = {
        node: placeholder(i, (size, *node.shape), node.dtype, node.requires_grad)
        for i, node in enumerate(inputs)
        if node in reached
    }
    moved = spread(loop.outputs, wide, size)
    outputs = [new if _in(old, i, loop, reached) else old for i, (old, new) in enumerate(zip(loop.outputs, moved))]
    carries = [wide.get(node, node) for node in loop.carries]
    slices = [wide.get(node, node) for node in loop.slices]
    closed = close(outputs, carries, slices, loop.length, loop.reverse)
    bound = {}
    given = []
    for i, (node, operand, is_) in enumerate(zip(inputs, operands, batched)):
        if i < starts:
            bound[wide.get(node, node)] = operand
        elif i < first_slice:
            given.append(lead(operand, size) if node in wide and not is_ else operand)
        else:
            given.append(permute(operand, (1, 0, *range(2, len(operand.shape)))) if is_ else operand)
    found = results(closed.loop, (*replay(closed.constants, bound), *given), range(len(outputs)))
    final = []
    for i, (node, old) in enumerate(zip(found, loop.outputs)):
        if not _in(old, i, loop, reached):
            final.append(lead(node, size))
        elif i < count:
            final.append(node)
        else:
            final.append(permute(node, (1, 0, *range(2, len(node.shape)))))
    return final


def _in(output: Node, index: int, loop: Loop, reached: set[Node]) -> bool:
    """Whether result `index` has the batch axis: an output that does, or the output of a carry that does."""
    return output in reached or (index < len(loop.carries) and loop.carries[index] in reached)

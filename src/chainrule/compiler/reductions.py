"""From reductions to kernels: the elements that go in, the axes that are walked as one, and what follows the result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .canonical import Item
from .elements import Bodies
from .grouping import Group, tree_of
from .kernel import SHORT_REDUCTION, Access, Body, Kernel
from .strides import walking_order
from .trees import LANE_BLOCK
from .views import collapse, contiguous

if TYPE_CHECKING:
    from .lowering import Lowering

#: bytes from which on what a reduction reads comes from the memory, and of a row that is long enough to walk along
FAR, LONG_ROW = 8 << 20, 2 << 10


def lower_reduction(lowering: Lowering, group: Group) -> None:
    """Add the kernel of a reduction, with what goes into it and what follows it."""
    item = group.anchor
    assert item is not None
    x = item.inputs[0]
    axes = (item.op.axis,) if item.kind in ("argmax", "argmin") else item.op.axes  # type: ignore[union-attr]
    if math.prod(item.shape) == 0:
        return
    if group.prologue:
        if _try_reduce(lowering, group, item, x, axes, group.prologue):
            return
        for inner in group.prologue:
            lowering.stored.add(inner.index)
        lowering.add_elementwise(group.prologue, x.shape)
    if _try_reduce(lowering, group, item, x, axes, []):
        return
    # The reduced axes do not lie one behind the other: reduce a copy in which they do.
    kept = [a for a in range(len(x.shape)) if a not in axes]
    lanes, _ = tree_of(item)
    order = kept + list(axes) if lanes > 1 else list(axes) + kept
    copy = Item("copy", None, (x,), tuple(x.shape[a] for a in order), x.dtype)
    copy.index = -2 - len(lowering.own)
    axis_of = [order.index(a) for a in range(len(order))]
    result = lowering.buffer(copy)
    lowering.write(x, copy.shape, result, 0, contiguous(copy.shape), axis_of, "permute")
    moved = tuple(order.index(a) for a in axes) if lanes > 1 else tuple(range(len(axes)))
    done = _try_reduce(lowering, group, item, copy, moved, [], lowering.buffer(copy).number)
    assert done


def _try_reduce(lowering: Lowering, group: Group, item: Item, x: Item, axes, prologue: list[Item], source=None) -> bool:
    """Emit the reduction if its reduced axes collapse to one; else leave nothing behind."""
    rank = len(x.shape)
    kept = [a for a in range(rank) if a not in axes]
    length = math.prod(x.shape[a] for a in axes)
    lanes, block = tree_of(item)
    bodies = Bodies(lowering, x.shape, [length, block])
    everywhere = list(range(rank))
    checks = len(lowering.checks)
    if prologue:
        inner, values = bodies.body(prologue, None, everywhere, lowering.stored)
        value = values[x.index]
    elif source is not None:
        inner, value = Body(), 0
        inner.code.append(("load", bodies.access(source, x.dtype, 0, contiguous(x.shape))))
    else:
        identity = Item("copy", None, (x,), x.shape, x.dtype)
        inner, values = bodies.body([identity], None, everywhere, set())
        value = values[identity.index]
    body, _ = bodies.body(group.items, item, kept, lowering.stored)
    first = next((bodies.accesses[i[1]].strides for i in inner.code if i[0] == "load"), (0,) * rank)
    walked = [a for a in walking_order(x.shape, first) if a in kept]
    kept_groups = _collapsed(x.shape, bodies, walked, lowering.baked)
    reduced_groups = _collapsed(x.shape, bodies, sorted(axes), lowering.baked) or [[]]
    groups = (kept_groups or [[]]) + reduced_groups
    sizes = [math.prod(x.shape[a] for a in g) for g in groups]
    accesses = [
        Access(a.buffer, a.dtype, a.offset, tuple(a.strides[g[-1]] if g else 0 for g in groups))
        for a in bodies.accesses
    ]
    reduced = len(sizes) - len(reduced_groups)
    arg = item.kind.startswith("arg")
    vector = _kept_vector(inner, accesses, reduced)
    if lanes > 1 and not arg:
        loads = [accesses[i[1]].strides for i in inner.code if i[0] == "load"]
        if not sum(s[vector] == 1 for s in loads) > sum(s[-1] == 1 for s in loads):
            vector = len(sizes) - 1
    if vector >= reduced and len(reduced_groups) > 1:
        del lowering.checks[checks:]
        return False
    short = lowering.baked and lanes == 1 and length <= SHORT_REDUCTION and not arg
    static = (item.kind, reduced, 1 if arg else lanes, short, value)
    kernel = Kernel("reduce", tuple(sizes), vector, accesses, body, inner, tuple(bodies.extra), static, lowering.baked)
    kernel.strips = _in_strips(kernel, x.dtype.itemsize)
    rows = x.shape[0] if kept and kept[0] == 0 and x.shape[0] > 1 else 0
    if rows and lowering.baked and lanes > 1 and vector >= reduced and length <= LANE_BLOCK:
        kernel.row = length
    lowering.add(kernel, rows, lowering.label([*prologue, item, *group.items]))
    return True


def _in_strips(kernel: Kernel, itemsize: int) -> bool:
    """Whether a plain reduction down the columns of many long rows, one behind the other, comes from the memory."""
    name, reduced, lanes, short, _ = kernel.static
    vector, last = kernel.vector, len(kernel.sizes) - 1
    if not kernel.baked or lanes > 1 or short or name.startswith("arg") or last != reduced or vector >= reduced:
        return False
    (kind, access, *_), *others = kernel.inner.code
    if others or kind != "load" or kernel.accesses[access].strides[vector] != 1:
        return False
    row = kernel.sizes[vector] * itemsize
    return row >= LONG_ROW and row * kernel.sizes[reduced] >= FAR


def _collapsed(shape: tuple[int, ...], bodies: Bodies, axes: list[int], by_chance: bool) -> list[list[int]]:
    """Groups of `axes`, in that order, that all operands walk as one."""
    strides = [tuple(a.strides[axis] for axis in axes) for a in bodies.accesses]
    groups = collapse(tuple(shape[axis] for axis in axes), strides, by_chance=by_chance)
    return [[axes[place] for place in group] for group in groups]


def _kept_vector(inner: Body, accesses: list[Access], reduced: int) -> int:
    """The kept axis along which most operands are contiguous, else the last."""
    loads = [accesses[i[1]] for i in inner.code if i[0] == "load"]
    score = [sum(a.strides[axis] == 1 for a in loads) for axis in range(reduced)]
    best = max(score)
    return max(axis for axis in range(reduced) if score[axis] == best)

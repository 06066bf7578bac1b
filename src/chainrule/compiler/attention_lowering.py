"""Kernels of attention: one for the result and what is kept of it, one for the gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..dtypes import bfloat16, float32
from ..ops.fused_attention import QUERIES, keeps_all
from .attention import RESULTS, sums_apart
from .elements import Bodies
from .kernel import Access, Attention, Body, Kernel
from .pairs import goes_by_pairs
from .views import collapse, contiguous

if TYPE_CHECKING:
    from .canonical import Item
    from .grouping import Group
    from .lowering import Lowering


#: the number of what is kept among the results of the forward kernel
KEPT = RESULTS["fused_attention_kept"]


def lower_attention(lowering: Lowering, group: Group) -> None:
    """One kernel over the leading axes, which computes the results that are used."""
    item = group.anchor
    assert item is not None
    op: Any = item.op
    q, k, v = item.inputs[:3]
    lead = q.shape[:-2]
    if 0 in lead:
        return
    accesses = [_operand(lowering, x) for x in item.inputs]
    parts = {part.value.number: part for part in item.users if part.kind == "part"}
    wanted = tuple(number in parts for number in range(3 if item.kind == "attention_grad" else 2))
    for number in sorted(parts):
        part = parts[number]
        view = lowering.views[part]
        strides = tuple(view.strides[axis] for axis in part.value.axes)
        accesses.append(Access(lowering.buffer(part).number, part.dtype, view.offset, strides))
    count, pairs = len(item.inputs), q.dtype is bfloat16
    m, n = q.shape[-2], k.shape[-2]
    plan = Attention(m, n, q.shape[-1], v.shape[-1], op.causal, op.scale, keeps_all(m, n), wanted, pairs)
    if pairs:
        accesses = [_in_pairs(access) for access in accesses]
        for _, features in sums_apart(plan):
            sums = lowering.new_buffer("arena", float32, (*lead, n, features))
            accesses.append(Access(sums.number, float32, 0, contiguous(sums.shape)))
    groups = collapse(lead, [a.strides[: len(lead)] for a in accesses]) or [[]]
    sizes = tuple(math.prod(lead[axis] for axis in axes) for axes in groups)
    for access in accesses:
        outer = tuple(access.strides[axes[-1]] if axes else 0 for axes in groups)
        access.strides = (*outer, *access.strides[len(lead) :])
    # The code says what is read and written; the loops are the emitter's.
    body = Body([("load", n) for n in range(count)], [(0, n) for n in range(count, len(accesses))])
    kernel = Kernel(item.kind, sizes, len(sizes), accesses, body, static=plan)
    returned = parts.get(KEPT) if item.kind == "attention" else None
    if returned is not None and lowering.buffer(returned).kind == "output":
        kept = returned.shape[len(lead) :]
        if op.causal and len(kept) > 1:
            _write_zeros(lowering, returned, (*lead, *kept), 0)
        lowering.add(kernel, sizes[0] if sizes[0] > 1 else 0, item.kind)
        rest = -m % QUERIES
        if rest:
            last = math.prod(kept[1:]) * (kept[0] - 1) + m % QUERIES if len(kept) > 1 else m
            _write_zeros(lowering, returned, (*lead, *kept[1:-1], rest), last)
        return
    lowering.add(kernel, sizes[0] if sizes[0] > 1 else 0, item.kind)


def _write_zeros(lowering: Lowering, part: Item, shape: tuple[int, ...], offset: int) -> None:
    """Zeros in places of a result that no derivative reads, but a user may: its axes, the blocks perhaps left out."""
    strides = contiguous(part.shape)
    if len(shape) < len(part.shape):
        strides = (*strides[: len(shape) - 2], *strides[-2:])
    bodies = Bodies(lowering, shape, [])
    body = Body([("const", 0, part.dtype)])
    access = bodies.access(lowering.buffer(part).number, part.dtype, lowering.views[part].offset + offset, strides)
    body.stores.append((0, access))
    lowering.add_map(bodies, body, shape, "zeros", baked=False)


def _operand(lowering: Lowering, x: Item) -> Access:
    """Where an operand lies, its features side by side; else a copy of it."""
    view = lowering.views[x]
    if x.dtype is bfloat16:
        fits = goes_by_pairs(view, x.shape, len(x.shape) - 1)
    else:
        fits = view.strides[-1] == 1 or x.shape[-1] == 1
    if fits:
        return Access(lowering.buffer(view.base).number, x.dtype, view.offset, view.strides)
    copy = lowering.new_buffer("arena", x.dtype, x.shape)
    lowering.write(x, x.shape, copy, 0, contiguous(x.shape))
    return Access(copy.number, x.dtype, 0, contiguous(x.shape))


def _in_pairs(access: Access) -> Access:
    """The same where an element is a pair of bfloat16."""
    strides = tuple(stride // 2 for stride in access.strides[:-1])
    return Access(access.buffer, float32, access.offset // 2, (*strides, 1))

"""Kernels of attention: one for the result and what is kept of it, one for the gradients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..ops.fused_attention import keeps_all
from .attention import Attention
from .kernel import Access, Body, Kernel
from .views import collapse, contiguous

if TYPE_CHECKING:
    from .canonical import Item
    from .grouping import Group
    from .lowering import Lowering


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
    count = len(item.inputs)
    m, n = q.shape[-2], k.shape[-2]
    plan = Attention(m, n, q.shape[-1], v.shape[-1], op.causal, op.scale, keeps_all(m, n), wanted)
    groups = collapse(lead, [a.strides[: len(lead)] for a in accesses]) or [[]]
    sizes = tuple(math.prod(lead[axis] for axis in axes) for axes in groups)
    for access in accesses:
        outer = tuple(access.strides[axes[-1]] if axes else 0 for axes in groups)
        access.strides = (*outer, *access.strides[len(lead) :])
    # The code says what is read and written; the loops are the emitter's.
    body = Body([("load", n) for n in range(count)], [(0, n) for n in range(count, len(accesses))])
    kernel = Kernel(item.kind, sizes, len(sizes), accesses, body, static=plan)
    lowering.add(kernel, sizes[0] if sizes[0] > 1 else 0, item.kind)


def _operand(lowering: Lowering, x: Item) -> Access:
    """Where an operand lies, its features side by side; else a copy of it."""
    view = lowering.views[x]
    if view.strides[-1] == 1 or x.shape[-1] == 1:
        return Access(lowering.buffer(view.base).number, x.dtype, view.offset, view.strides)
    copy = lowering.new_buffer("arena", x.dtype, x.shape)
    lowering.write(x, x.shape, copy, 0, contiguous(x.shape))
    return Access(copy.number, x.dtype, 0, contiguous(x.shape))

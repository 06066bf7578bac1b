"""Products of float16 and bfloat16 operands: on pairs of bfloat16 where the host can, else on copies in float32.

The sum of such a product is float32, and so is the item's result.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..dtypes import bfloat16, float32
from ..ops.base import primitive
from .canonical import Item
from .elements import Bodies, shift_accesses
from .grouping import Group
from .kernel import Access, Body, Kernel
from .scattered import copied
from .tiling import tiling
from .trees import blocks_in_order, contraction_chain
from .views import Layout, View, contiguous

if TYPE_CHECKING:
    from .lowering import Lowering

LANES = 16


def native(lowering: Lowering, group: Group) -> bool:
    """Whether the product of `group` runs on pairs of bfloat16."""
    assert group.anchor is not None
    return group.anchor.inputs[0].dtype is bfloat16 and lowering.tiles.pairs


def widen(lowering: Lowering, group: Group) -> None:
    """Let a product of float16 or bfloat16 operands read copies of them in float32."""
    item = group.anchor
    assert item is not None
    item.inputs = tuple(_wide(lowering, x) if x.dtype.is_half else x for x in item.inputs)


def _wide(lowering: Lowering, x: Item) -> Item:
    found = lowering.wide.get(x.index)
    if found is None:
        found = Item("cast", primitive("cast", (float32,)), (x,), x.shape, float32)
        found.index = -2 - len(lowering.buffers)
        lowering.views.add(found)
        bodies = Bodies(lowering, x.shape, [])
        body, _ = bodies.body([found], None, list(range(len(x.shape))), {found.index})
        if math.prod(x.shape):
            lowering.add_map(bodies, body, x.shape, "cast")
        lowering.wide[x.index] = found
    return found


def lower_pairs(lowering: Lowering, group: Group) -> None:
    """Add the kernels of a product of bfloat16 operands, with what follows it: a nest over pairs of neighbouring k."""
    item = group.anchor
    assert item is not None
    if 0 in item.shape:
        return
    a, b = item.inputs
    *lead, m, n = item.shape
    k = a.shape[-1]
    panel = _padded(k) // 2 * LANES  # all strides are in pairs
    packed_b = _pack(lowering, b, lowering.views[b], k, n, True)
    lead_b = [-(-n // LANES) * panel for _ in lead]
    whole, rest = m // LANES * LANES, m % LANES
    view = lowering.views[a]
    if k % 2 == 0 and goes_by_pairs(view, a.shape, len(item.shape) - 1):
        source, offset = lowering.buffer(view.base).number, view.offset // 2
        strides = [stride // 2 for stride in view.strides[:-1]]
        left = [_Rows(0, (m,), Access(source, item.dtype, offset, (*strides, 0, 1)))]
    else:
        flipped = View(view.base, view.offset, (*view.strides[:-2], view.strides[-1], view.strides[-2]))
        source, across = _pack(lowering, a, flipped, k, m, lowering.baked), -(-m // LANES)
        around = [across * panel for _ in lead]
        if lowering.baked:  # a vector of rows after the other; rows beyond the last whole one for themselves
            left = [
                _Rows(0, (whole // LANES, 2, 8), Access(source, item.dtype, 0, (*around, panel, 8, 1, 0, LANES))),
                _Rows(whole, (rest,), Access(source, item.dtype, whole * panel // LANES, (*around, 1, 0, LANES))),
            ]
        else:
            left = [_Rows(0, (m,), Access(source, item.dtype, 0, (*around, 1, 0, across * LANES)))]
    for rows in left:
        if 0 not in rows.extents:
            spread = [0] * (len(rows.extents) - 1)
            right = Access(packed_b, item.dtype, 0, (*lead_b, *spread, 0, panel, LANES))
            (_lower_nest if lowering.baked else _lower_generic)(lowering, group, rows, right)


class _Rows(NamedTuple):
    """Rows of a product: the first one, extents of the axes that walk them, and how the left operand is walked."""

    first: int
    extents: tuple[int, ...]
    access: Access


def goes_by_pairs(view: View, shape: tuple[int, ...], axis: int) -> bool:
    """Whether the elements that `view` shows are pairs side by side along `axis`."""
    even = all(stride % 2 == 0 for n, stride in enumerate(view.strides) if n != axis and shape[n] > 1)
    return view.strides[axis] == 1 and view.offset % 2 == 0 and even


def _lower_nest(lowering: Lowering, group: Group, rows: _Rows, right: Access) -> None:
    item = group.anchor
    assert item is not None
    *lead, _, n = item.shape
    pairs = -(-item.inputs[0].shape[-1] // 2)
    chain = contraction_chain((pairs,))
    bodies = Bodies(lowering, item.shape, [pairs, pairs, chain[1]])
    body, _ = bodies.body(group.items, item, list(range(len(item.shape))), lowering.stored)
    steps = [math.prod(rows.extents[place + 1 :]) for place in range(len(rows.extents))]
    for access in bodies.accesses:
        *around, across, along = access.strides
        access.offset += rows.first * across
        access.strides = (*around, *(step * across for step in steps), along)
    sizes = (*lead, *rows.extents, n)
    free = tuple(range(len(sizes) - 2, len(lead) + (len(rows.extents) > 1) - 1, -1))
    plan = tiling(
        lowering.tiles.registers(), LANES, sizes[:-1], n, (pairs,), chain, free=free, fixed=len(lead),
        itemsize=item.dtype.itemsize, strided=False, along=False, packed=True,
    )  # fmt: skip
    operands = [rows.access, right]
    if plan.blocks == "outside":
        partial = lowering.new_buffer("arena", item.dtype, sizes)
        operands.append(Access(partial.number, item.dtype, 0, contiguous(sizes)))
    shift_accesses(body, len(operands))
    extra, static = tuple(bodies.extra), plan._replace(pairs=True)
    kernel = Kernel("contract", sizes, len(sizes) - 1, operands + bodies.accesses, body, extra=extra, static=static)
    lowering.add(kernel, item.shape[0] if item.shape[0] > 1 else 0, lowering.label([item, *group.items]))


def _lower_generic(lowering: Lowering, group: Group, rows: _Rows, right: Access) -> None:
    item = group.anchor
    assert item is not None
    pairs = -(-item.inputs[0].shape[-1] // 2)
    view = lowering.views[item]
    result = Access(lowering.buffer(item).number, item.dtype, view.offset, view.strides)
    static = (len(item.shape) == 3, LANES, *lowering.tiles.generic(), True)
    extra, axis_n = (pairs, *blocks_in_order(pairs)), len(item.shape) - 1
    accesses = [rows.access, right, result]
    kernel = Kernel("contract", item.shape, axis_n, accesses, Body(), extra=extra, static=static, baked=False)
    lowering.add(kernel, item.shape[0] if item.shape[0] > 1 else 0, "bmm")


def _padded(k: int) -> int:
    """Elements of k that a packed operand has room for: whole blocks of 32."""
    return -(-k // (2 * LANES)) * 2 * LANES


def _pack(lowering: Lowering, x: Item, view: View, k: int, n: int, panels: bool) -> int:
    """A kernel that packs the (batch,) k, n elements that `view` of the item `x` shows; returns the buffer's number.

    The layout is [vector of n][pair of k][lane][2] with `panels`, else [pair of k][vector of n][lane][2].
    """
    *lead, stride_k, stride_n = view.strides
    source, offset = lowering.buffer(view.base).number, view.offset
    outer = x.shape[:-2]
    if stride_k != 1 and stride_n != 1 and n > 1 and k > 1:  # neither is contiguous: copy first
        source, offset = copied(lowering, x), 0
        *lead, stride_k, stride_n = contiguous(x.shape)
        if x.shape[-2:] != (k, n):
            stride_k, stride_n = stride_n, stride_k
    while source in getattr(lowering, "constant", ()):  # what stays the same in a loop is packed before it
        lowering = lowering.around  # type: ignore[attr-defined]
    unit = stride_k == 1 or k == 1
    key = ("pairs", source, offset, tuple(lead), stride_k, stride_n, k, n, outer, panels)
    if key in lowering.packed:
        return lowering.packed[key]
    vectors, row = -(-n // LANES), _padded(k)
    packed = lowering.new_buffer("arena", bfloat16, (*outer, vectors, row, LANES))
    panel = row * LANES
    steps = (panel, 2 * LANES) if panels else (2 * LANES, 2 * LANES * vectors)  # of vectors, and of pairs
    accesses = [
        Access(source, bfloat16, offset, (*lead, LANES * stride_n, stride_k, stride_n)),
        Access(packed.number, bfloat16, 0, (*(vectors * panel for _ in outer), *steps)),
    ]
    sizes = (*outer, vectors, row)
    static = (bool(outer), LANES, unit)
    kernel = Kernel("pack", sizes, len(sizes), accesses, Body(), extra=(k, n), static=static, baked=lowering.baked)
    lowering.add(kernel, 0, "pack")
    lowering.packed[key] = packed.number
    return packed.number


# --- convolutions ---------------------------------------------------------------------------------


def channel_pairs(lowering: Lowering, x: Item) -> tuple[int, int, tuple[int, ...]]:
    """Buffer, offset and strides, in pairs, of an item whose channels (axis 1) go by pairs; copied if need be."""
    view = lowering.views[x]
    number, offset, strides = lowering.buffer(view.base).number, view.offset, view.strides
    odd = any(s % 2 for axis, s in enumerate(strides) if axis != 1 and x.shape[axis] > 1)
    if strides[1] != 1 or offset % 2 or odd:
        number, offset, strides = _channels_last(lowering, x)
    return number, offset // 2, (strides[0] // 2, 1, *(s // 2 for s in strides[2:]))


def image_pairs(lowering: Lowering, x: Item) -> tuple[int, int, tuple[int, ...]]:
    """Buffer, offset and strides, in pairs, of a copy of an item with the elements of images 2i and 2i + 1 in turn.

    Images are copied with what lies around their elements.
    """
    view = lowering.views[x]
    whole = lowering.buffer(view.base)
    number, offset, strides = whole.number, view.offset, view.strides
    batch, size = x.shape[0], strides[0]
    last = sum((extent - 1) * stride for extent, stride in zip(x.shape[1:], strides[1:]))
    still = any(stride <= 0 for extent, stride in zip(x.shape, strides) if extent > 1)
    scattered = still or (strides[1] != 1 and x.shape[1] > 1) or offset % size + last >= size
    if scattered or (offset // size + batch) * size > math.prod(whole.shape):
        number, offset, strides = _channels_last(lowering, x)
        size = strides[0]
    first = offset - offset % size
    vectors = -(-size // LANES)
    key = ("pairs of images", number, first, size, batch)
    if key not in lowering.packed:
        packed = lowering.new_buffer("arena", bfloat16, (batch // 2, vectors, LANES, 2))
        lowering.packed[key] = packed.number
        accesses = [
            Access(number, bfloat16, first, (2 * size, LANES, size, 1)),
            Access(packed.number, bfloat16, 0, (2 * LANES * vectors, 2 * LANES, 2 * LANES)),
        ]
        sizes, static = (batch // 2, vectors, 2), (True, LANES, False)
        kernel = Kernel("pack", sizes, 3, accesses, Body(), extra=(2, size), static=static, baked=lowering.baked)
        lowering.add(kernel, 0, "pack")
    return lowering.packed[key], offset - first, (vectors * LANES, 1, *strides[2:])


def _channels_last(lowering: Lowering, x: Item) -> tuple[int, int, tuple[int, ...]]:
    """Buffer, offset and strides of a copy of an item with its channels last."""
    rank = len(x.shape)
    layout = Layout(x.shape, (0, *range(2, rank), 1), (0,) * rank, (0,) * rank)
    key = ("channels last", x.index)
    if key not in lowering.packed:
        buffer = lowering.new_buffer("arena", x.dtype, layout.allocated())
        lowering.packed[key] = buffer.number
        lowering.write(x, x.shape, buffer, 0, layout.strides(), label="channels last")
    return lowering.packed[key], 0, layout.strides()


def pack_kernel(lowering: Lowering, w: Item, groups: int, vector: int | None) -> tuple[int, tuple[int, ...]]:
    """A copy of a kernel (O, C / groups, *places) in vectors along O (0) or C (1), the other channels in pairs.

    Its layout is (group, vector, *places, pair of other channels, lane, 2). Returns the buffer's number and the strides
    of group, vector, places and pairs, counted in pairs.
    """
    assert vector is not None
    view = lowering.views[w]
    source, offset, strides = lowering.buffer(view.base).number, view.offset, view.strides
    outs, ins, places = w.shape[0] // groups, w.shape[1], w.shape[2:]
    width, other, across, along = (
        (outs, ins, strides[0], strides[1]) if vector == 0 else (ins, outs, strides[1], strides[0])
    )
    vectors = -(-width // LANES)
    shape = (groups, vectors, *places, other // 2, LANES, 2)
    whole = contiguous(shape)
    counted = tuple(s // 2 for s in whole[:-2])
    key = ("pairs of a kernel", source, offset, strides, w.shape, groups, vector)
    if key in lowering.packed:
        return lowering.packed[key], counted
    buffer = lowering.new_buffer("arena", w.dtype, shape)
    for first, count, used in ((0, width // LANES, LANES), (width // LANES, 1, width % LANES)):
        if not count or not used:
            continue
        box = (groups, count, *places, other // 2, used, 2)
        bodies = Bodies(lowering, box, [])
        steps = (outs * strides[0], LANES * across, *strides[2:], 2 * along, across, along)
        taken = bodies.access(source, w.dtype, offset + first * LANES * across, steps)
        put = bodies.access(buffer.number, w.dtype, first * whole[1], whole)
        lowering.add_map(bodies, Body([("load", taken)], [(0, put)]), box, "pack")
    lowering.packed[key] = buffer.number
    return buffer.number, counted

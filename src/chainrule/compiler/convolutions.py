"""From convolutions and their gradients to contraction kernels.

All three are one nest with other strides. The channels are the vectors: outputs are stored with their channels
last, the kernel is packed so that the channels it is multiplied into lie side by side, and an element of the input
is broadcast. A depthwise convolution has the channels of the input in vectors too.
A kernel of 3 by 3 with many channels goes by fewer multiplications instead (`winograd`).
With strides above 1, the input's gradient is a nest for every remainder of the positions, none of which meets a zero.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import pairs
from .canonical import Item
from .elements import Bodies, shift_accesses
from .few_outputs import few_outputs, few_outputs_nest
from .grouping import Group
from .images import classes, minimal
from .kernel import TILE_INPUTS, Access, Body, Kernel, Tiling, Window
from .narrow import along_rows, rows_nest, rows_tiling
from .planes import along_planes, planes_nest, planes_tiling
from .scattered import near_places
from .staging import turned
from .tiling import tiling
from .trees import contraction_chain
from .turned import lower_turned, near_operands
from .turning import turns_in_registers
from .views import Layout, contiguous
from .windows import Operand, Space, reads_windows, window_tiling
from .winograd import forward_tiling, gradient_tiling, partial_gradient, transformed_kernel

if TYPE_CHECKING:
    from .lowering import Lowering


#: positions of an image below which register tiles take in several images
SMALL_IMAGE = 8
#: elements apart at which addresses fall into the same sets of a cache
CLASHING = 512


def lower_convolution(lowering: Lowering, group: Group) -> None:
    """Add the kernels of a convolution or one of its gradients, with what follows it."""
    item = group.anchor
    assert item is not None
    shape = item.inputs[1].shape
    if item.kind == "convolution_weight_grad":
        few = minimal(item.kind, item.op, item.shape[1:], shape, item.inputs[0].dtype)
        (_minimal_weight_grad if few else _weight_grad)(lowering, group, item)
        return
    few = minimal(item.kind, item.op, shape, item.shape, item.inputs[0].dtype)
    if not few and along_rows(lowering, group):
        with turned(lowering, group, -1):
            _nest(lowering, group, item, *rows_nest(lowering, item), packed=False)
        return
    if along_planes(lowering, group):
        with turned(lowering, group, -1):
            space, a, b = planes_nest(lowering, item)
            plan = planes_tiling(lowering.tiles.lanes(item.dtype.itemsize), space)
            _contract(lowering, group, item, space, a, b, plan, space.summed[0])
        return
    with turned(lowering, group, 1):
        lower = _minimal if few else _forward if item.kind == "convolution" else _input_grad
        lower(lowering, group, item)


def _forward(lowering: Lowering, group: Group, item: Item) -> None:
    x, w = item.inputs
    op: Any = item.op
    groups, per_group, kernel = op.groups, w.shape[1], w.shape[2:]
    outs = w.shape[0] // groups
    rank = len(kernel)
    spatial = list(range(2, 2 + rank))
    depthwise = groups > 1 and per_group == 1 and outs == 1
    paired = x.dtype.is_half
    channels = per_group // 2 if paired else per_group
    place = pairs.channel_pairs if paired else _channels_last if depthwise else _place
    base, offset, strides = place(lowering, x)
    moves = [s * strides[a] for s, a in zip(op.strides, spatial)]
    taps = [d * strides[a] for d, a in zip(op.dilations, spatial)]
    pack = pairs.pack_kernel if paired else pack_kernel
    source, (lead, panel, *places) = pack(lowering, w, groups, 0 if not depthwise else None)
    if depthwise:
        space = Space(
            [item.shape[0], *item.shape[2:], groups], [0, *spatial, 1], [1] * (rank + 2), [0] * (rank + 2), [*kernel]
        )
        a = Operand(base, offset, [strides[0], *moves, 1], taps)
        b = Operand(source, 0, [0] * (rank + 1) + [panel], places[:-1])
        if reads_windows(item.kind, op, x.shape, w.shape, kernel):
            space.windows = tuple(
                Window(1 + n, n, op.strides[n], op.dilations[n], -op.low[n], x.shape[2 + n]) for n in range(rank)
            )
            a.offset -= sum(low * strides[axis] for low, axis in zip(op.low, spatial))
    else:
        split = [1] if groups > 1 else []
        space = Space(
            [item.shape[0], *(groups for _ in split), *item.shape[2:], outs],
            [0, *split, *spatial, 1],
            [1, *(outs for _ in split), *[1] * (rank + 1)],
            [0] * (rank + 2 + len(split)),
            [*kernel, channels],
            fixed=2 * len(split),
        )
        a = Operand(base, offset, [strides[0], *(channels * strides[1] for _ in split), *moves, 0], [*taps, strides[1]])
        b = Operand(source, 0, [0, *(lead for _ in split), *[0] * rank, panel], places)
    _nest(lowering, group, item, space, a, b, packed=True)


def _input_grad(lowering: Lowering, group: Group, item: Item) -> None:
    g, w = item.inputs
    op: Any = item.op
    groups, per_group, kernel = op.groups, w.shape[1], w.shape[2:]
    outs = w.shape[0] // groups
    rank = len(kernel)
    spatial = list(range(2, 2 + rank))
    depthwise = groups > 1 and per_group == 1 and outs == 1
    paired = g.dtype.is_half
    channels = outs // 2 if paired else outs
    place = pairs.channel_pairs if paired else _channels_last if depthwise else _place
    base, offset, strides = place(lowering, g)
    pack = pairs.pack_kernel if paired else pack_kernel
    source, (lead, panel, *places) = pack(lowering, w, groups, 1 if not depthwise else None)
    remainders = [classes(op.strides[n], op.low[n], op.dilations[n], kernel[n], item.shape[2 + n]) for n in range(rank)]
    for chosen in itertools.product(*remainders):
        firsts, counts, starts, steps, taps, meets, moves = map(list, zip(*chosen))
        here = offset + sum((m + z) * strides[a] for m, z, a in zip(meets, item.value, spatial))
        first_place = sum(k * s for k, s in zip(starts, places))
        along = [move * strides[a] for move, a in zip(moves, spatial)]
        jumps = [step * s for step, s in zip(steps, places)]
        if not all(taps):
            here, first_place = offset, 0
        if depthwise:
            space = Space(
                [item.shape[0], *counts, groups], [0, *spatial, 1], [1, *op.strides, 1], [0, *firsts, 0], taps
            )
            a = Operand(base, here, [strides[0], *(strides[s] for s in spatial), 1], along)
            b = Operand(source, first_place, [0] * (rank + 1) + [panel], jumps)
            if reads_windows(item.kind, op, g.shape, w.shape, kernel) and all(taps):
                space.windows = tuple(Window(1 + n, n, 1, moves[n], meets[n], g.shape[2 + n]) for n in range(rank))
        else:
            split = [1] if groups > 1 else []
            space = Space(
                [item.shape[0], *(groups for _ in split), *counts, per_group],
                [0, *split, *spatial, 1],
                [1, *(per_group for _ in split), *op.strides, 1],
                [0, *(0 for _ in split), *firsts, 0],
                [*taps, channels],
                fixed=2 * len(split),
            )
            a = Operand(
                base, here,
                [strides[0], *(channels * strides[1] for _ in split), *(strides[s] for s in spatial), 0],
                [*along, strides[1]],
            )  # fmt: skip
            b = Operand(source, first_place, [0, *(lead for _ in split), *[0] * rank, panel], [*jumps, places[-1]])
        _nest(lowering, group, item, space, a, b, packed=True)


def _weight_grad(lowering: Lowering, group: Group, item: Item) -> None:
    x, g = item.inputs
    op: Any = item.op
    groups = op.groups
    parts, outputs, per_group, *kernel = item.shape
    outs = outputs // groups
    rank = len(kernel)
    spatial = list(range(2, 2 + rank))
    depthwise = groups > 1 and per_group == 1 and outs == 1
    batch, apart, packed = x.shape[0] // parts, 1, False
    if x.dtype.is_half:
        (base, offset, strides), (other, shift, moves) = (pairs.image_pairs(lowering, y) for y in (x, g))
        batch //= 2
    else:
        sources = near_operands(lowering, item) if depthwise else None
        if sources is not None:
            lower_turned(lowering, group, item, sources, _contract)
            return
        if few_outputs(lowering, item):
            space, a, b = few_outputs_nest(item, _channels_last(lowering, x), _place(lowering, g))
            _nest(lowering, group, item, space, a, b, packed=False)
            return
        base, offset, strides = _channels_last(lowering, x) if depthwise else _place(lowering, x)
        turning = not depthwise and turns_in_registers(lowering, item)
        other, shift, moves = _place(lowering, g) if turning else _channels_last(lowering, g)
        if not (depthwise or turning):
            near = near_places(lowering, item, (base, offset, strides), (other, shift, moves))
            (base, offset, strides), (other, shift, moves), packed = near
        apart = moves[1]
    summed = [batch, *g.shape[2:]]
    along = [strides[0], *(s * strides[a] for s, a in zip(op.strides, spatial))]
    across = [moves[0], *(moves[a] for a in spatial)]
    taps = [d * strides[a] for d, a in zip(op.dilations, spatial)]
    split = [0] if parts > 1 else []
    places = [a + 1 for a in spatial]  # axes of the result, which has the parts in front
    if depthwise:
        space = Space(
            [parts, *kernel, groups],
            [0, *places, 1],
            [1] * (rank + 2),
            [0] * (rank + 2),
            summed,
            fixed=1,
        )
        a = Operand(base, offset, [batch * strides[0], *taps, 1], along)
        b = Operand(other, shift, [batch * moves[0], *[0] * rank, 1], across)
        if reads_windows(item.kind, op, x.shape, g.shape, kernel):
            space.windows = tuple(
                Window(1 + n, 1 + n, op.dilations[n], op.strides[n], -op.low[n], x.shape[2 + n]) for n in range(rank)
            )
            a.offset -= sum(low * strides[axis] for low, axis in zip(op.low, spatial))
    else:
        each = [1] if groups > 1 else []
        count = len(split) + len(each)
        space = Space(
            [*(parts for _ in split), *(groups for _ in each), per_group, *kernel, outs],
            [*split, *each, 2, *places, 1],
            [*(1 for _ in split), *(outs for _ in each), *[1] * (rank + 2)],
            [0] * (count + rank + 2),
            summed,
            fixed=count,
        )
        a = Operand(
            base, offset,
            [*(batch * strides[0] for _ in split), *(per_group * strides[1] for _ in each), strides[1], *taps, 0],
            along,
        )  # fmt: skip
        b = Operand(
            other, shift,
            [*(batch * moves[0] for _ in split), *(outs * apart for _ in each), *[0] * (rank + 1), apart],
            across,
        )  # fmt: skip
    _nest(lowering, group, item, space, a, b, packed)


# --- by fewer multiplications ----------------------------------------------------------------------


def _minimal(lowering: Lowering, group: Group, item: Item) -> None:
    """A convolution or the gradient of its input by `winograd`: the latter has the kernel's places backwards."""
    x, w = item.inputs
    flipped = item.kind == "convolution_input_grad"
    outputs, channels = (w.shape[1], w.shape[0]) if flipped else w.shape[:2]
    base, offset, strides = _channels_last(lowering, x)
    packed, _ = pack_kernel(lowering, w, 1, int(flipped))
    lanes = lowering.tiles.lanes(item.dtype.itemsize)
    source, (vector, element, channel) = transformed_kernel(
        lowering, packed, (-(-outputs // lanes), channels, lanes), flipped
    )
    plan = forward_tiling(lowering.tiles.registers(), lanes, channels, outputs, *item.shape[2:])
    space = Space([item.shape[0], *item.shape[2:], outputs], [0, 2, 3, 1], [1] * 4, [0] * 4, [3, 3, channels])
    if flipped:
        op: Any = item.op
        offset += sum((zeros + low - 2) * step for zeros, low, step in zip(item.value, op.low, strides[2:]))
    a = Operand(base, offset, [strides[0], *strides[2:], 0], [*strides[2:], 1])
    b = Operand(source, 0, [0, 0, 0, vector], [TILE_INPUTS * element, element, channel])
    _contract(lowering, group, item, space, a, b, plan, item.shape[0])


def _minimal_weight_grad(lowering: Lowering, group: Group, item: Item) -> None:
    """The gradient of a kernel by `winograd`."""
    x, g = item.inputs
    parts, outputs, channels = item.shape[:3]
    base, offset, strides = _channels_last(lowering, x)
    other, shift, moves = _channels_last(lowering, g)
    each = -(-x.shape[0] // parts)
    lanes = lowering.tiles.lanes(item.dtype.itemsize)
    plan = gradient_tiling(lowering.tiles.registers(), lanes, channels, outputs, *g.shape[2:])
    space = Space([parts, channels, 3, 3, outputs], [0, 2, 3, 4, 1], [1] * 5, [0] * 5, [each, *g.shape[2:]])
    # where the images of a part begin is computed from the extra words, so that another batch size finds the kernel
    a = Operand(base, offset, [0, 1, *strides[2:], 0], [strides[0], *strides[2:]])
    b = Operand(other, shift, [0, 0, 0, 0, 1], [moves[0], *moves[2:]])
    partial = partial_gradient(lowering, parts, channels, outputs)
    _contract(lowering, group, item, space, a, b, plan, x.shape[0], partial)


# --- operands -------------------------------------------------------------------------------------


def _place(lowering: Lowering, x: Item) -> tuple[int, int, tuple[int, ...]]:
    """Buffer, offset and strides of an item."""
    view = lowering.views[x]
    return lowering.buffer(view.base).number, view.offset, view.strides


def _channels_last(lowering: Lowering, x: Item) -> tuple[int, int, tuple[int, ...]]:
    """Buffer, offset and strides of an item whose channels (axis 1) lie side by side; a copy if they do not."""
    base, offset, strides = _place(lowering, x)
    if strides[1] == 1 or x.shape[1] == 1:
        return base, offset, (strides[0], 1, *strides[2:])
    key = ("channels last", x.index)
    found = lowering.packed.get(key)
    rank = len(x.shape)
    layout = Layout(x.shape, (0, *range(2, rank), 1), (0,) * rank, (0,) * rank)
    if found is None:
        buffer = lowering.new_buffer("arena", x.dtype, layout.allocated())
        found = lowering.packed[key] = buffer.number
        lowering.write(x, x.shape, buffer, 0, layout.strides(), label="channels last")
    return found, 0, layout.strides()


def pack_kernel(lowering: Lowering, w: Item, groups: int, vector: int | None) -> tuple[int, tuple[int, ...]]:
    """A copy of a kernel (O, C / groups, *places) in vectors along O (0) or C (1), or along the groups (None).

    Its layout is (group, vector, *places, the other channels, lane). Returns the buffer's number and the strides of
    group, vector, places and other channels.
    """
    lanes = lowering.tiles.lanes(w.dtype.itemsize)
    outs, ins, places = w.shape[0] // groups, w.shape[1], w.shape[2:]
    source, offset, strides = _place(lowering, w)
    while source in getattr(lowering, "constant", ()):  # what stays the same in a loop is packed before it
        lowering = lowering.around  # type: ignore[attr-defined]
    group_stride = outs * strides[0]
    if vector is None:
        lead, width, other, across, along = 1, groups, 1, strides[0], 0
    elif vector == 0:
        lead, width, other, across, along = groups, outs, ins, strides[0], strides[1]
    else:
        lead, width, other, across, along = groups, ins, outs, strides[1], strides[0]
    vectors = -(-width // lanes)
    shape = (lead, vectors, *places, other, lanes)
    whole = contiguous(shape)
    key = ("kernel", source, offset, strides, w.shape, groups, vector)
    if key in lowering.packed:
        return lowering.packed[key], whole[:-1]
    buffer = lowering.new_buffer("arena", w.dtype, shape)
    rest = width % lanes
    for first, count, used in ((0, width // lanes, lanes), (width // lanes, 1, rest)):
        if not count or not used:
            continue
        box = (lead, count, *places, other, used)
        bodies = Bodies(lowering, box, [])
        steps = (group_stride, lanes * across, *strides[2:], along, across)
        taken = bodies.access(source, w.dtype, offset + first * lanes * across, steps)
        put = bodies.access(buffer.number, w.dtype, first * whole[1], whole)
        body = Body([("load", taken)], [(0, put)])
        lowering.add_map(bodies, body, box, "pack")
    lowering.packed[key] = buffer.number
    return buffer.number, whole[:-1]


# --- the nest -------------------------------------------------------------------------------------


def _free_axes(item: Item, space: Space, a: Operand) -> tuple[int, ...]:
    """Axes along which a register tile may extend: positions first, images only if they are tiny.

    Places of a kernel that are a power of two apart would be fetched into the same few lines of the cache.
    """
    last = len(space.extents) - 1
    axes = tuple(reversed(range(space.fixed, last)))
    near = tuple(axis for axis in axes if a.strides[axis] % CLASHING)
    if item.kind == "convolution_weight_grad" and 1 in (a.strides[axis] for axis in near):
        return near
    if item.kind == "convolution_weight_grad" or math.prod(space.extents[1:last]) < SMALL_IMAGE:
        return axes
    return tuple(axis for axis in axes if axis)


def _nest(lowering: Lowering, group: Group, item: Item, space: Space, a: Operand, b: Operand, packed: bool) -> None:
    """Add one contraction kernel."""
    lanes = lowering.tiles.lanes(item.dtype.itemsize)
    chain = contraction_chain(tuple(space.summed))
    plan = window_tiling(lowering.tiles.registers(), lanes, space, packed) if space.windows else None
    if not packed and item.kind != "convolution_weight_grad":
        plan = rows_tiling(lowering.tiles.registers(), lanes, space)
    plan = plan or tiling(
        lowering.tiles.registers(), lanes, tuple(space.extents[:-1]), space.extents[-1], tuple(space.summed), chain,
        free=_free_axes(item, space, a), fixed=space.fixed, itemsize=item.dtype.itemsize,
        strided=item.kind == "convolution_weight_grad", along=a.strides[-1] != 0, packed=packed,
        across=not packed and b.strides[-1] != 1,
    )  # fmt: skip
    if item.inputs[0].dtype.is_half:
        plan = plan._replace(pairs=True)
    partial, waiting = None, []
    if plan.blocks == "outside":
        extents = tuple(space.extents)
        partial = lowering.new_buffer("arena", item.dtype, extents).number, contiguous(extents)
    if plan.pieces is not None:
        extents = (*space.extents[:-1], max(plan.panels) * lanes)
        number = lowering.new_buffer("arena", item.dtype, extents).number
        waiting = [Operand(number, 0, [*contiguous(extents)[:-1], 0], [0] * len(space.summed))]
    _contract(lowering, group, item, space, a, b, plan, chain[1], partial, waiting)


def _contract(
    lowering: Lowering,
    group: Group,
    item: Item,
    space: Space,
    a: Operand,
    b: Operand,
    plan: Tiling,
    third: int,
    partial: tuple[int, tuple[int, ...]] | None = None,
    others: Sequence[Operand] = (),
) -> None:
    """Add the kernel of a plan. `third`: its third extra word; `partial`: buffer and strides of partial sums.

    `others`: further operands behind those.
    """
    bodies = Bodies(lowering, item.shape, [])
    bodies.argument(math.prod(space.summed), space.summed[0], third)
    body, _ = bodies.body(group.items, item, list(range(len(item.shape))), lowering.stored)
    for access in bodies.accesses:
        strides = access.strides
        access.offset += sum(start * strides[axis] for start, axis in zip(space.starts, space.axes))
        access.strides = tuple(step * strides[axis] for step, axis in zip(space.steps, space.axes))
    operands = [Access(o.buffer, item.dtype, o.offset, (*o.strides, *o.summed)) for o in (a, b)]
    if partial is not None:
        operands.append(Access(partial[0], item.dtype, 0, partial[1]))
    operands += [Access(o.buffer, item.dtype, o.offset, (*o.strides, *o.summed)) for o in others]
    shift_accesses(body, len(operands))
    accesses, extents = operands + bodies.accesses, tuple(space.extents)
    kernel = Kernel("contract", extents, len(extents) - 1, accesses, body, extra=tuple(bodies.extra), static=plan)
    rows = item.shape[0] if item.kind != "convolution_weight_grad" and item.shape[0] > 1 else 0
    lowering.add(kernel, rows, lowering.label([item, *group.items]))

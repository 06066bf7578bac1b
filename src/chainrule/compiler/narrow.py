"""Convolutions with vectors of positions along the last axis instead of channels.

That is for few results at each position, and for images that are wanted with their channels second anyway: operands and
results that lie otherwise are copied, and the weights are broadcast.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .canonical import Item
from .grouping import Group
from .images import classes
from .kernel import Tiling
from .tiling import split_panels
from .trees import contraction_chain
from .views import contiguous
from .windows import Operand, Space

if TYPE_CHECKING:
    from .lowering import Lowering

#: cycles for an element of a copy that changes the order of axes; channels from which on reading their rows side by
#: side takes as long as that; sums of a tile with many registers
COPY, STREAMS, SUMS = 0.5, 64, 24


def along_rows(lowering: Lowering, group: Group) -> bool:
    """Whether a convolution or its input's gradient should have vectors of positions: by estimated cycles."""
    item = group.anchor
    assert item is not None
    x, w = item.inputs
    op: Any = item.op
    if op.groups > 1 or x.dtype.is_half or any(s > 1 for s in op.strides):
        return False
    lanes = lowering.tiles.lanes(item.dtype.itemsize)
    outputs, row = item.shape[1], item.shape[-1]
    terms = math.prod(w.shape) // outputs
    positions = item.shape[0] * math.prod(item.shape[2:-1])
    channels = positions * row * -(-outputs // lanes) * terms / 2
    rows = positions * outputs * -(-row // lanes) * terms / 2
    stored = [i for i in (item, *group.items) if i.index in lowering.stored]
    channels += COPY * sum(math.prod(i.shape) for i in stored if lowering.views[i].strides[1] != 1)
    rows += COPY * sum(math.prod(i.shape) for i in stored if lowering.views[i].strides[-1] != 1)
    if lowering.views[x].strides[-1] != 1 or x.shape[1] > STREAMS:
        rows += COPY * math.prod(x.shape)
    return rows < channels


def rows_nest(lowering: Lowering, item: Item) -> tuple[Space, Operand, Operand]:
    """The nest of such a convolution: the weights as a, the image as b."""
    x, w = item.inputs
    op: Any = item.op
    rank = len(w.shape) - 2
    view = lowering.views[w]
    places = view.strides[2:]
    image, here, strides = channels_second(lowering, x)
    spatial = strides[2:]
    if item.kind == "convolution":
        outputs, summed, shift = view.strides[0], view.strides[1], view.offset
        walked, moves = list(places), [d * s for d, s in zip(op.dilations, spatial)]
    else:
        outputs, summed = view.strides[1], view.strides[0]
        chosen = [classes(1, op.low[n], op.dilations[n], w.shape[2 + n], item.shape[2 + n])[0] for n in range(rank)]
        _, _, starts, steps, _, meets, along = map(list, zip(*chosen))
        shift = view.offset + sum(k * s for k, s in zip(starts, places))
        here += sum((m + z) * s for m, z, s in zip(meets, item.value, spatial))
        walked, moves = [step * s for step, s in zip(steps, places)], [m * s for m, s in zip(along, spatial)]
    extents = [item.shape[0], *item.shape[1:]]
    channels = x.shape[1]
    space = Space(extents, [*range(rank + 2)], [1] * (rank + 2), [0] * (rank + 2), [*w.shape[2:], channels], fixed=1)
    a = Operand(lowering.buffer(view.base).number, shift, [0, outputs, *[0] * rank], [*walked, summed])
    b = Operand(image, here, [strides[0], 0, *spatial], [*moves, strides[1]])
    return space, a, b


def channels_second(lowering: Lowering, x: Item) -> tuple[int, int, tuple[int, ...]]:
    """Buffer, offset and strides of an image whose rows lie side by side: a copy if they do not."""
    view = lowering.views[x]
    if view.strides[-1] == 1:
        return lowering.buffer(view.base).number, view.offset, view.strides
    key = ("channels second", x.index)
    strides = contiguous(x.shape)
    if key not in lowering.packed:
        buffer = lowering.new_buffer("arena", x.dtype, x.shape)
        lowering.packed[key] = buffer.number
        lowering.write(x, x.shape, buffer, 0, strides, label="channels second")
    return lowering.packed[key], 0, strides


def rows_tiling(registers: int, lanes: int, space: Space) -> Tiling:
    """The tiling: all channels, and as many rows as registers hold, evenly."""
    extents, reduced = space.extents[:-1], tuple(space.summed)
    first, chunk = contraction_chain(reduced)
    vectors = -(-space.extents[-1] // lanes)
    best: tuple[float, tuple[int, ...], tuple[int, ...]] | None = None
    for width in (1, 2, 4, 3):
        panels = split_panels(vectors, width)
        widest = max(panels)
        for parts in range(1, extents[1] + 1):
            outputs = -(-extents[1] // parts)
            most = min(SUMS, registers - 6) // (outputs * widest)
            if most < 1 or widest < width:
                continue
            rows = _evenly(extents[-1], most) if len(extents) > 2 else 1
            sums = outputs * rows * widest
            loads = outputs + rows * widest
            # weights are broadcast by loads of their own
            cycles = max(sums / 2, loads / 2, 4) / sums
            if best is None or cycles < best[0]:
                tile = [1] * len(extents)
                tile[1] = outputs
                if len(extents) > 2:
                    tile[-1] = rows
                best = cycles, tuple(tile), panels
            break
    assert best is not None
    blocks = "inside" if math.prod(reduced[:first]) > 1 or chunk < reduced[first] else "one"
    return Tiling(lanes, best[1], best[2], 1, reduced, first, blocks, False)


def _evenly(extent: int, most: int) -> int:
    """Rows of a tile, at most `most`, so that the last one has as few less as possible."""
    return -(-extent // -(-extent // most))

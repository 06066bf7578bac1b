"""Convolutions with few results at each position: vectors of positions along the last axis instead of channels.

The operand is copied with its channels second first, the weights are broadcast, and the result is turned back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .canonical import Item
from .images import classes
from .kernel import Tiling
from .tiling import split_panels
from .trees import contraction_chain
from .views import contiguous
from .windows import Operand, Space

if TYPE_CHECKING:
    from .lowering import Lowering

#: cycles for an element of a copy that changes the order of axes, and sums of a tile with many registers
COPY, SUMS = 0.5, 24


def along_rows(lowering: Lowering, item: Item) -> bool:
    """Whether a convolution or its input's gradient should have vectors of positions: by estimated cycles."""
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
    return rows + COPY * (math.prod(x.shape) + math.prod(item.shape)) < channels


def rows_nest(lowering: Lowering, item: Item) -> tuple[Space, Operand, Operand]:
    """The nest of such a convolution: the weights as a, the image as b."""
    x, w = item.inputs
    op: Any = item.op
    rank = len(w.shape) - 2
    view = lowering.views[w]
    places = view.strides[2:]
    image, strides = channels_second(lowering, x)
    spatial = strides[2:]
    if item.kind == "convolution":
        outputs, summed, shift, here = view.strides[0], view.strides[1], view.offset, 0
        walked, moves = list(places), [d * s for d, s in zip(op.dilations, spatial)]
    else:
        outputs, summed = view.strides[1], view.strides[0]
        chosen = [classes(1, op.low[n], op.dilations[n], w.shape[2 + n], item.shape[2 + n])[0] for n in range(rank)]
        _, _, starts, steps, _, meets, along = map(list, zip(*chosen))
        shift = view.offset + sum(k * s for k, s in zip(starts, places))
        here = sum((m + z) * s for m, z, s in zip(meets, item.value, spatial))
        walked, moves = [step * s for step, s in zip(steps, places)], [m * s for m, s in zip(along, spatial)]
    extents = [item.shape[0], *item.shape[1:]]
    channels = x.shape[1]
    space = Space(extents, [*range(rank + 2)], [1] * (rank + 2), [0] * (rank + 2), [*w.shape[2:], channels], fixed=1)
    a = Operand(lowering.buffer(view.base).number, shift, [0, outputs, *[0] * rank], [*walked, summed])
    b = Operand(image, here, [strides[0], 0, *spatial], [*moves, strides[1]])
    return space, a, b


def channels_second(lowering: Lowering, x: Item) -> tuple[int, tuple[int, ...]]:
    """Buffer and strides of an image whose rows lie side by side: a copy."""
    key = ("channels second", x.index)
    strides = contiguous(x.shape)
    if key not in lowering.packed:
        buffer = lowering.new_buffer("arena", x.dtype, x.shape)
        lowering.packed[key] = buffer.number
        lowering.write(x, x.shape, buffer, 0, strides, label="channels second")
    return lowering.packed[key], strides


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
